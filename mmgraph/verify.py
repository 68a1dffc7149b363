"""Whether the destinations hold what their specs say, down to the last blob. Asks and reads; cannot write.

Believes no evidence: every manifest and blob of every closure is asked for, each once a repository.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from mmgraph.closure import Documents, Image, blobs, walk
from mmgraph.discover import Discovery
from mmgraph.errors import ContentError, MmgraphError, NetworkError, RegistryError
from mmgraph.events import Read, Reporter
from mmgraph.flights import Once
from mmgraph.names import Repository
from mmgraph.specs import CopySpec
from mmgraph.store import Destination, Limits, Source
from mmgraph.tasks import each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmgraph.names import Digest
    from mmgraph.store import ManifestCache

_WIDTH = 64
"""Specs that are looked at at once."""
_REMOVE = "; before it can be sent again the registry must remove it (its own delete, or garbage collection)"
"""HEAD says that it is there, so nothing sends it; and mmgraph deletes nothing."""


class Level(StrEnum):
    """How closely is looked."""

    HEAD = "head"
    """The registry says that it is there."""
    READ = "read"
    """Manifests are read and hashed, and of each blob the last byte: a stale answer to HEAD does not pass."""
    FULL = "full"
    """Everything is read and hashed."""


class Place(Source, Destination, Limits, Protocol):
    """A destination that is read like a source."""


class Fault(StrEnum):
    """What is wrong with a thing, by what helps."""

    NAME = "name"
    """The tag is not there, or names something else: writing it is plain work."""
    MISSING = "missing"
    """It is not there: a repair sends it."""
    SPOILED = "spoiled"
    """Other bytes are there in its place: nothing is sent until the registry has removed them."""
    UNKNOWN = "unknown"
    """It could not be looked at."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be, for one spec."""

    spec: CopySpec
    what: str
    """The tag, manifest or blob, in full."""
    cause: str
    fault: Fault = Fault.UNKNOWN


class Verdict(msgspec.Struct, frozen=True):
    """What a verification found; ``manifests`` and ``blobs`` were asked for, ``bytes`` of blobs were read."""

    specs: int
    manifests: int
    blobs: int
    bytes: int
    findings: Sequence[Finding]
    bare: frozenset[Repository] = frozenset()
    """Repositories in which nothing of what was asked for is there."""

    @property
    def whole(self) -> bool:
        """Whether everything is there."""
        return not self.findings

    @property
    def broken(self) -> list[CopySpec]:
        """The specs that something is missing of, each once: a set that ``apply --repair`` takes."""
        return list(dict.fromkeys(finding.spec for finding in self.findings))

    @property
    def spoiled(self) -> bool:
        """Whether something is found that only its registry can mend."""
        return any(finding.fault is Fault.SPOILED for finding in self.findings)

    @property
    def unnamed(self) -> frozenset[CopySpec]:
        """The specs whose destination does not name its image, so that plain work looks at all that they need."""
        return frozenset(finding.spec for finding in self.findings if finding.fault is Fault.NAME)


class Verifier:
    """Verifies one set of specs."""

    def __init__(
        self,
        specs: Sequence[CopySpec],
        source: Source,
        place: Place,
        cache: ManifestCache,
        report: Reporter,
        level: Level = Level.HEAD,
    ) -> None:
        self._specs = specs
        self._place = place
        self._level = level
        self._report = report
        self._documents = Documents(cache)
        self._discovery = Discovery(source, self._documents)
        self._checks: Once[tuple[Repository, Digest], tuple[Fault, str] | None] = Once()
        self._found: dict[CopySpec, list[Finding]] = {}
        self._settled: set[Repository] = set()
        """Repositories in which something is there, or may be."""
        self._room = asyncio.Event()
        place.on_room(self._room.set)
        self._manifests = self._blobs = self._bytes = 0

    async def verify(self) -> Verdict:
        """Look at every closure; what cannot be looked at is a finding too."""
        await each(self._specs, self._verify, _WIDTH)
        findings = [finding for spec in self._specs for finding in self._found[spec]]
        places = {spec.destination.repository for spec in self._specs if self._asked(spec)}
        bare = frozenset(places - self._settled)
        return Verdict(len(self._specs), self._manifests, self._blobs, self._bytes, findings, bare)

    def _asked(self, spec: CopySpec) -> bool:
        """Whether anything was found missing where ``spec`` is to be."""
        return any(finding.fault is not Fault.UNKNOWN for finding in self._found[spec])

    async def _verify(self, spec: CopySpec) -> None:
        self._found[spec] = []
        try:
            image = await self._discovery.image(spec)
            await self._discovery.read(image)
        except MmgraphError as error:
            self._note(spec, str(spec.source), str(error))
        else:
            await self._verify_name(image)
            await asyncio.gather(
                *(self._note_check(image, digest, size) for digest, size in self._parts(image))
            )
        self._report(Read(len(self._found), len(self._specs)))

    async def _verify_name(self, image: Image) -> None:
        destination = image.spec.destination
        if not destination.tag:
            return
        try:
            resolved = await self._place.find(destination.repository, destination.tag)
        except MmgraphError as error:
            self._settled.add(destination.repository)
            self._note(image.spec, str(destination), str(error))
            return
        if resolved is None:
            self._note(image.spec, str(destination), "there is no such tag", Fault.NAME)
            return
        self._settled.add(destination.repository)
        if resolved.digest != image.root:
            cause = f"names {resolved.digest}, and should name {image.root}"
            self._note(image.spec, str(destination), cause, Fault.NAME)

    def _parts(self, image: Image) -> list[tuple[Digest, int | None]]:
        """The closure as digests; of blobs with their sizes, of manifests without."""
        documents: list[tuple[Digest, int | None]] = [
            (document.digest, None) for document in walk(image.root, self._documents)
        ]
        return documents + [
            (digest, blob.size) for digest, blob in blobs(image.root, self._documents).items()
        ]

    async def _note_check(self, image: Image, digest: Digest, size: int | None) -> None:
        repository = image.spec.destination.repository
        work = (
            partial(self._check_manifest, repository, digest)
            if size is None
            else partial(self._check_blob, repository, digest, size)
        )
        found = await self._checks.get((repository, digest), partial(self._cause, work))
        if found is None or found[0] is not Fault.MISSING:
            self._settled.add(repository)
        if found is not None:
            fault, cause = found
            if (
                fault is Fault.MISSING
                and image.spec.destination.digest == digest
                and not image.spec.destination.tag
            ):
                fault = Fault.NAME  # the root by its digest is what such a destination is called
            self._note(image.spec, f"{repository}@{digest}", cause, fault)

    async def _cause(self, check: Callable[[], Awaitable[str]]) -> tuple[Fault, str] | None:
        try:
            missing = await check()
        except RegistryError as error:
            return _fault(error), f"{error}{_REMOVE if _fault(error) is Fault.SPOILED else ''}"
        except MmgraphError as error:
            return Fault.UNKNOWN, str(error)
        return (Fault.MISSING, missing) if missing else None

    async def _check_manifest(self, repository: Repository, digest: Digest) -> str:
        """What is to be said where it is not there; raises where it is not what it should be."""
        self._manifests += 1
        if self._level is Level.HEAD:
            return "" if await self._place.find(repository, digest) else "the manifest is not there"
        await self._place.manifest(repository, digest)
        return ""

    async def _check_blob(self, repository: Repository, digest: Digest, size: int) -> str:
        """As ``_check_manifest``."""
        self._blobs += 1
        if self._level is Level.HEAD or (self._level is Level.READ and not size):
            return "" if await self._place.has_blob(repository, digest) else "the blob is not there"
        start = 0 if self._level is Level.FULL else size - 1
        proof = hashlib.new(digest.algorithm)
        while (slots := self._place.take([repository.registry], [])) is None:
            self._room.clear()
            await self._room.wait()
        try:
            async with self._place.blob(repository, digest, size, start) as stream:
                async for chunk in stream:
                    proof.update(chunk)
                    self._bytes += len(chunk)
        except ContentError as error:
            if (
                start and error.status == 200
            ):  # the registry knows no ranges, and that says nothing of the bytes
                raise NetworkError(str(error)) from None
            raise
        finally:
            slots.release()
        if self._level is Level.FULL and proof.hexdigest() != digest.hex:
            raise ContentError(f"the blob has other bytes: {digest.algorithm}:{proof.hexdigest()}")
        return ""

    def _note(self, spec: CopySpec, what: str, cause: str, fault: Fault = Fault.UNKNOWN) -> None:
        self._found[spec].append(Finding(spec, what, cause, fault))


def _fault(error: RegistryError) -> Fault:
    """What a refusal to show a manifest or blob says about it."""
    if error.absent:
        return Fault.MISSING
    spoiled = (
        isinstance(error, ContentError) or error.status == 416
    )  # it ends before the last byte that was asked for
    return Fault.SPOILED if spoiled else Fault.UNKNOWN
