"""What a place that keeps images can do, on one screen: Source, Destination, Writer, Limits; and what is kept of it.

Owns the interfaces between planning or executing and whatever stands behind them. Must not know HTTP, and hands no
``Writer`` to anything that only plans: planning cannot write by construction.

Every method raises ``RegistryError`` for an answer that refuses, ``ContentError`` for bytes that are not what was
asked for and ``NetworkError`` where no answer came; retries have been spent by then.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from mmgraph.names import Digest, Registry, Repository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping
    from contextlib import AbstractAsyncContextManager

    from mmgraph.quirks import Quirks


class Operation(StrEnum):
    """What a request asks of a registry; bills and reports count by it."""

    HEAD_MANIFEST = "HEAD manifest"
    GET_MANIFEST = "GET manifest"
    GET_TAGS = "GET tags"
    HEAD_BLOB = "HEAD blob"
    GET_BLOB = "GET blob"
    POST_UPLOAD = "POST upload"
    """Opens an upload session, or mounts: the same endpoint, one request."""
    PROBE = "POST probe"
    """The one self-mount per registry that shows whether it sees its own blobs."""
    PATCH_UPLOAD = "PATCH upload"
    GET_UPLOAD = "GET upload"
    """Where an upload session stands."""
    PUT_BLOB = "PUT blob"
    PUT_MANIFEST = "PUT manifest"
    """By digest or by tag."""
    DELETE_UPLOAD = "DELETE upload"
    PING = "GET ping"
    TOKEN = "token"  # noqa: S105 - a name, no secret
    REDIRECT = "redirect"


class RawManifest(msgspec.Struct, frozen=True):
    """A manifest or index as it was read: the body's bytes and its Content-Type without parameters."""

    raw: bytes
    media_type: str


class Resolved(msgspec.Struct, frozen=True):
    """What a tag or digest names: its digest, and the bytes where learning the digest took a GET."""

    digest: Digest
    manifest: RawManifest | None = None


Pieces: TypeAlias = tuple[bytes, ...]
"""A blob that is held, as it came: to join it would be to copy it."""
Body: TypeAlias = "bytes | Pieces | AsyncIterator[bytes]"
"""What an upload is sent: held, or as it comes."""


class Upload(msgspec.Struct, frozen=True):
    """An open upload session at a repository; ``location`` is the registry's own and opaque."""

    repository: Repository
    location: str


class Traffic(msgspec.Struct, frozen=True):
    """How it went at one registry so far: requests sent again, pauses and their seconds, the windows as of now."""

    retries: int = 0
    pauses: int = 0
    paused_seconds: float = 0.0
    read_window: int = 0
    write_window: int = 0


class Source(Protocol):
    """Where images are read."""

    async def resolve(self, repository: Repository, name: str) -> Resolved:
        """Return what the tag or digest ``name`` points at, by HEAD; by GET where HEAD does not tell."""
        ...

    async def manifest(self, repository: Repository, name: str) -> RawManifest:
        """GET the manifest or index ``name``; a digest's bytes have been proven."""
        ...

    def blob(
        self, repository: Repository, digest: Digest, size: int, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """GET the blob's bytes from offset ``start``; the stream fails rather than end short of ``size`` or pass it.

        The bytes are not hashed here: who consumes them proves them.
        """
        ...


class Destination(Protocol):
    """What can be learnt of a place without changing it."""

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """Return what the tag or digest ``name`` points at, None where there is no such name (404)."""
        ...

    async def manifest(self, repository: Repository, name: str) -> RawManifest:
        """GET a manifest or index, as ``Source.manifest`` does."""
        ...

    async def exists(self, repository: Repository) -> bool | None:
        """Ask for one tag of the list: False for 404, True for 200, None for any other answer."""
        ...

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """HEAD the blob: False for 404."""
        ...


class Place(Source, Destination, Protocol):
    """Where images are read, and what can be learnt of it."""


class Writer(Protocol):
    """What changes a place."""

    async def start(
        self, repository: Repository, digest: Digest, mount_from: Repository | None
    ) -> Upload | None:
        """POST an upload that asks for a mount from ``mount_from`` (the repository itself: "is it there already?").

        ``mount_from=None`` asks for a plain session: for a blob that the registry said to hold, and does not.

        None: 201, the blob is in ``repository`` now. Otherwise an open session; where the registry dislikes the
        question (any answer but 201 and 202), a plain session is opened instead.
        """
        ...

    async def probe(self, repository: Repository, digest: Digest) -> bool:
        """POST the self-mount of a blob known to be there: whether the registry answers 201.

        One that does not is ``BLIND`` from then on.
        """
        ...

    async def send(self, upload: Upload, digest: Digest, size: int, body: Body, chunk: int = 0) -> None:
        """PUT the whole blob into the session and commit it as ``digest``. A stream is consumed once, never replayed.

        With ``chunk`` it goes in PATCHes of so many bytes, one of which is held at a time.
        Whatever ``body`` raises aborts the request before its last byte and is raised from here.
        """
        ...

    async def cancel(self, upload: Upload) -> None:
        """DELETE the session, at best effort: never raises, never asks for wider rights (I3)."""
        ...

    async def put_manifest(
        self,
        repository: Repository,
        name: str,
        digest: Digest,
        manifest: RawManifest,
        old: Digest | None = None,
    ) -> None:
        """PUT ``manifest`` by tag or digest and see it confirmed: by the answer's digest, else by reading it back.

        Where the answer to a PUT by tag is lost, the tag is read: the new digest is done, ``old`` (None: no such tag)
        is put again, anything else raises ``DriftError``.
        """
        ...


class Slots(Protocol):
    """Places taken in the windows of one or more registries."""

    def release(self) -> None:
        """Give all of them back; a second call does nothing."""
        ...


class Limits(Protocol):
    """How much may be under way at each registry; reading and writing have separate windows.

    Slots for a transfer are taken all at once or not at all, so nobody waits while holding any (no deadlock).
    """

    def take(self, reads: Collection[Registry], writes: Collection[Registry]) -> Slots | None:
        """Take one slot in each named window now, or None where one of them is full or paused."""
        ...

    def free(self, reads: Collection[Registry], writes: Collection[Registry]) -> bool:
        """Whether ``take`` would take them now; takes none."""
        ...

    def on_room(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever a window may have got room; it must not block."""
        ...

    def counts(self) -> Mapping[Registry, Mapping[Operation, int]]:
        """Requests sent so far."""
        ...

    def traffic(self) -> Mapping[Registry, Traffic]:
        """Repetitions, pauses and windows so far."""
        ...

    def closed(self, registry: Registry, *, write: bool) -> str | None:
        """Why nothing that is asked of the registry will be answered any more; None where it may be."""
        ...

    def paused(self, registry: Registry) -> float:
        """Seconds until the registry's pause ends; 0 where it is not paused."""
        ...

    def held_up(self, registry: Registry) -> float:
        """Seconds for which the registry has been paused so far."""
        ...


class Transport(Source, Writer, Limits, Protocol):
    """All that execution needs of the wire."""

    @property
    def quirks(self) -> Quirks:
        """What differs at each registry, as far as is known."""
        ...

    def chunk(self, registry: Registry, size: int) -> int:
        """Return the bytes of the chunks in which the registry is sent a blob of ``size`` bytes now; 0: whole.

        Raises ``RegistryError`` where it asks for longer ones than are held.
        """
        ...

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """As ``Destination.find``: the last look at a tag before it is written."""
        ...

    async def holds(self, repository: Repository, digest: Digest) -> bool:
        """As ``Destination.has_blob``, under slots that were taken: for registries blind to self-mounts."""
        ...


class ManifestCache(Protocol):
    """Manifests by digest: immutable, so never stale; a miss costs a GET and nothing else."""

    def get(self, digest: Digest) -> RawManifest | None:
        """Return the manifest, or None where it is not known."""
        ...

    def put(self, digest: Digest, manifest: RawManifest) -> None:
        """Keep a manifest whose bytes have been proven to have ``digest``."""
        ...

    def flush(self) -> None:
        """Make sure that what was put outlives the process."""
        ...


class Seen(msgspec.Struct, frozen=True):
    """What a name was last seen to point at (None: nothing), and when: seconds since 1970 UTC."""

    digest: Digest | None
    at: int


class Notes(Protocol):
    """Where is noted what names were seen to point at. Nobody who asks registries can read it: it may be stale."""

    def note(self, repository: Repository, name: str, seen: Seen) -> None:
        """Keep what the tag or digest ``name`` was seen to point at, in place of what was seen earlier."""
        ...
