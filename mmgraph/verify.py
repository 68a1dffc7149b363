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
from mmgraph.errors import MmgraphError
from mmgraph.events import Read, Reporter
from mmgraph.flights import Once
from mmgraph.specs import CopySpec
from mmgraph.store import Destination, Limits, Source
from mmgraph.tasks import each

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmgraph.names import Digest, Repository
    from mmgraph.store import ManifestCache

_WIDTH = 64
"""Specs that are looked at at once."""


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


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be, for one spec."""

    spec: CopySpec
    what: str
    """The tag, manifest or blob, in full."""
    cause: str


class Verdict(msgspec.Struct, frozen=True):
    """What a verification found; ``manifests`` and ``blobs`` were asked for, ``bytes`` of blobs were read."""

    specs: int
    manifests: int
    blobs: int
    bytes: int
    findings: Sequence[Finding]

    @property
    def whole(self) -> bool:
        """Whether everything is there."""
        return not self.findings

    @property
    def broken(self) -> list[CopySpec]:
        """The specs that something is missing of, each once: a set that ``apply --repair`` takes."""
        return list(dict.fromkeys(finding.spec for finding in self.findings))


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
        self._checks: Once[tuple[Repository, Digest], str] = Once()
        self._found: dict[CopySpec, list[Finding]] = {}
        self._room = asyncio.Event()
        place.on_room(self._room.set)
        self._manifests = self._blobs = self._bytes = 0

    async def verify(self) -> Verdict:
        """Look at every closure; what cannot be looked at is a finding too."""
        await each(self._specs, self._verify, _WIDTH)
        findings = [finding for spec in self._specs for finding in self._found[spec]]
        return Verdict(len(self._specs), self._manifests, self._blobs, self._bytes, findings)

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
            self._note(image.spec, str(destination), str(error))
            return
        if resolved is None:
            self._note(image.spec, str(destination), "there is no such tag")
        elif resolved.digest != image.root:
            self._note(image.spec, str(destination), f"names {resolved.digest}, and should name {image.root}")

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
        cause = await self._checks.get((repository, digest), partial(self._cause, work))
        if cause:
            self._note(image.spec, f"{repository}@{digest}", cause)

    async def _cause(self, check: Callable[[], Awaitable[str]]) -> str:
        try:
            return await check()
        except MmgraphError as error:
            return str(error)

    async def _check_manifest(self, repository: Repository, digest: Digest) -> str:
        self._manifests += 1
        if self._level is Level.HEAD:
            return "" if await self._place.find(repository, digest) else "the manifest is not there"
        await self._place.manifest(repository, digest)
        return ""

    async def _check_blob(self, repository: Repository, digest: Digest, size: int) -> str:
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
        finally:
            slots.release()
        if self._level is Level.FULL and proof.hexdigest() != digest.hex:
            return f"the blob has other bytes: {digest.algorithm}:{proof.hexdigest()}"
        return ""

    def _note(self, spec: CopySpec, what: str, cause: str) -> None:
        self._found[spec].append(Finding(spec, what, cause))
