"""What is remembered of registries between runs: noted while they are asked, and answered from when nobody is.

Owns what can be said without asking, how old that is, and what could not be said. Opens no socket, knows no
credentials; what it answers is for people to read, and never for a run that writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import msgspec

from mmgraph.errors import MmgraphError, NetworkError, RegistryError
from mmgraph.names import Digest, Registry, Repository
from mmgraph.oci import Index, parse
from mmgraph.store import Resolved, Seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from contextlib import AbstractAsyncContextManager

    from mmgraph.clock import Clock
    from mmgraph.store import Notes, Place, RawManifest

UNKNOWN: Final = "not known offline: run mmgraph plan once without --offline"
"""What every failure for lack of knowledge says."""


class Span(msgspec.Struct, frozen=True):
    """From when to when something was seen: seconds since 1970 UTC."""

    oldest: int
    newest: int


class Basis(msgspec.Struct, frozen=True):
    """What a plan rests on for which nobody was asked."""

    spans: Mapping[Registry, Span]
    """When the names of each registry were looked at; sorted."""
    names: tuple[str, ...]
    """Names of which nothing is known; sorted."""
    manifests: tuple[Digest, ...]
    """Manifests and indexes of which only the digest is known; sorted."""
    blobs: int
    """Blobs of which it is not known whether a repository has them: they count as missing."""

    @property
    def span(self) -> Span | None:
        """When all of it was seen; None where nothing is known."""
        spans = self.spans.values()
        if not spans:
            return None
        return Span(min(span.oldest for span in spans), max(span.newest for span in spans))


class Records(Protocol):
    """What is kept between runs, for reading."""

    def get(self, digest: Digest) -> RawManifest | None:
        """Return the manifest, or None."""
        ...

    def last(self, repository: Repository, name: str) -> Seen | None:
        """Return what ``name`` was last seen to point at, or None."""
        ...

    def names(self, repository: Repository) -> Mapping[str, Seen]:
        """Return the same for all names of ``repository``."""
        ...


class Memory:
    """A ``Place`` that answers from records, and raises ``NetworkError`` for what is not in them."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._spans: dict[Registry, Span] = {}
        self._names: set[str] = set()
        self._manifests: set[Digest] = set()
        self._blobs = 0
        self._held: dict[Repository, set[Digest]] = {}

    @property
    def basis(self) -> Basis:
        """What its answers so far rest on."""
        return Basis(
            dict(sorted(self._spans.items())),
            tuple(sorted(self._names)),
            tuple(sorted(self._manifests)),
            self._blobs,
        )

    async def resolve(self, repository: Repository, name: str) -> Resolved:
        """As ``Source.resolve``."""
        seen = self._last(repository, name)
        if seen is None:
            raise _lacking("what the source names is")
        if seen.digest is None:
            raise RegistryError("there was no such tag when it was last looked at", status=404)
        return Resolved(seen.digest)

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """As ``Destination.find``."""
        seen = self._last(repository, name)
        if seen is None:
            raise _lacking("what the destination names is")
        return None if seen.digest is None else Resolved(seen.digest)

    async def exists(self, repository: Repository) -> bool | None:
        """As ``Destination.exists``: never known."""
        return None

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """As ``Destination.has_blob``: True where a name there leads to it."""
        if repository not in self._held:
            self._held[repository] = self._reached(repository)
        if digest not in self._held[repository]:
            self._blobs += 1
            raise _lacking(f"whether {repository} has {digest} is")
        return True

    async def manifest(self, repository: Repository, name: str) -> RawManifest:
        """As ``Source.manifest``."""
        kept = self._records.get(Digest(name))
        if kept is None:
            self._manifests.add(Digest(name))
            raise _lacking(f"what {name} lists is")
        return kept

    def blob(
        self, repository: Repository, digest: Digest, size: int, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """As ``Source.blob``: never known."""
        _refuse(repository, digest)

    def _last(self, repository: Repository, name: str) -> Seen | None:
        seen = self._records.last(repository, name)
        if seen is None:
            self._names.add(_full(repository, name))
            return None
        span = self._spans.get(repository.registry, Span(seen.at, seen.at))
        self._spans[repository.registry] = Span(min(span.oldest, seen.at), max(span.newest, seen.at))
        return seen

    def _reached(self, repository: Repository) -> set[Digest]:
        """All blobs that the names of ``repository`` lead to, as far as their manifests are known."""
        roots = {seen.digest for seen in self._records.names(repository).values() if seen.digest is not None}
        found: set[Digest] = set()
        stack, known = [*roots], {*roots}
        while stack:
            digest = stack.pop()
            kept = self._records.get(digest)
            if kept is None:
                continue
            try:
                document = parse(kept.raw, kept.media_type, digest)
            except MmgraphError:
                continue  # an old tag may name what mmgraph does not copy
            found.update(blob.digest for blob in document.blobs)
            children = document.children if isinstance(document, Index) else ()
            fresh = {child.digest for child in children} - known
            known |= fresh
            stack += fresh
        return found


class Noting:
    """Passes questions on to ``place``, and notes what names were seen to point at.

    Of destinations, only ``names``: a repair asks for each manifest by its digest, and nobody asks for that again.
    """

    def __init__(
        self, place: Place, notes: Notes, clock: Clock, names: Collection[tuple[Repository, str]]
    ) -> None:
        self._place = place
        self._notes = notes
        self._clock = clock
        self._wanted = names

    async def resolve(self, repository: Repository, name: str) -> Resolved:
        """As ``Source.resolve``."""
        try:
            resolved = await self._place.resolve(repository, name)
        except RegistryError as error:
            if error.absent:
                self.note(repository, name, None)
            raise
        self.note(repository, name, resolved.digest)
        return resolved

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """As ``Destination.find``."""
        found = await self._place.find(repository, name)
        if (repository, name) in self._wanted:
            self.note(repository, name, found.digest if found else None)
        return found

    async def exists(self, repository: Repository) -> bool | None:
        """As ``Destination.exists``."""
        return await self._place.exists(repository)

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """As ``Destination.has_blob``."""
        return await self._place.has_blob(repository, digest)

    async def manifest(self, repository: Repository, name: str) -> RawManifest:
        """As ``Source.manifest``."""
        return await self._place.manifest(repository, name)

    def blob(
        self, repository: Repository, digest: Digest, size: int, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """As ``Source.blob``."""
        return self._place.blob(repository, digest, size, start)

    def note(self, repository: Repository, name: str, digest: Digest | None) -> None:
        """Note that ``name`` points at ``digest`` now, as one sees who has written it."""
        self._notes.note(repository, name, Seen(digest, int(self._clock.wall())))


def _full(repository: Repository, name: str) -> str:
    return f"{repository}{'@' if ':' in name else ':'}{name}"


def _lacking(what: str) -> NetworkError:
    error = NetworkError(f"{what} {UNKNOWN}")
    error.common = True  # the same for all, so that one sentence says it of hundreds of specs
    return error


def _refuse(repository: Repository, digest: Digest) -> NoReturn:
    raise NetworkError(f"the bytes of {repository}@{digest} are kept nowhere: nobody is asked offline")
