"""Where a registry keeps repositories: the Storage interface, and MemoryStorage. Knows nothing of HTTP.

Blobs belong to a repository: what one holds, another does not show until it is mounted or uploaded there.
Calls do not wait: they read and write local files or memory, a piece at a time.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO, Protocol

from mmgraph.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mmgraph.names import Digest
    from mmgraph.store import RawManifest


class BrokenError(SpecError):
    """What is kept is no repository; the message says what to mend. Before a start it is the user's to mend."""


class Upload(Protocol):
    """Bytes on their way to be a blob of one repository."""

    @property
    def size(self) -> int:
        """The bytes written so far."""
        ...

    def write(self, data: bytes) -> None:
        """Append ``data``; where that raises, the upload has ended as if it were abandoned."""
        ...

    def commit(self, digest: Digest) -> bool:
        """End the upload: keep the bytes as the blob ``digest``, or drop them and say False (or raise)."""
        ...

    def abandon(self) -> None:
        """End the upload and drop its bytes."""
        ...


class Storage(Protocol):
    """All that a registry keeps. Repositories come into being with their first blob or manifest."""

    def open(self) -> None:
        """Get ready for a server, which calls this at its start. Raises ``SpecError`` with what is amiss."""
        ...

    def close(self) -> None:
        """Undo ``open``; more calls do nothing."""
        ...

    def repositories(self) -> Iterable[str]:
        """Return the repositories that hold anything, sorted."""
        ...

    def holds(self, repository: str) -> bool:
        """Whether the repository holds a blob or a manifest."""
        ...

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Return the blob's size in bytes, None where the repository does not hold it."""
        ...

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO:
        """Open a blob that the repository holds; the caller closes it. Raises ``FileNotFoundError``."""
        ...

    def mount(self, source: str, target: str, digest: Digest) -> bool:
        """Make the blob of ``source`` one of ``target`` too; False where ``source`` does not hold it."""
        ...

    def upload(self, repository: str, algorithm: str = "sha256") -> Upload:
        """Start an upload whose digest will most likely be an ``algorithm`` one."""
        ...

    def manifest(self, repository: str, digest: Digest) -> RawManifest | None:
        """Return the manifest and the media type it was put with, None where it is not there."""
        ...

    def manifests(self, repository: str) -> Iterable[Digest]:
        """Return the digests of the repository's manifests and indexes."""
        ...

    def tags(self, repository: str) -> Mapping[str, Digest]:
        """Return what each tag names."""
        ...

    def put_manifest(
        self, repository: str, digest: Digest, manifest: RawManifest, tags: Collection[str] = ()
    ) -> None:
        """Keep a manifest and make each of ``tags`` name it, in one step."""
        ...


class _MemoryUpload:
    def __init__(self, blobs: dict[Digest, bytes], algorithm: str) -> None:
        self._blobs = blobs
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._data = bytearray()

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, data: bytes) -> None:
        self._data += data
        self._hash.update(data)

    def commit(self, digest: Digest) -> bool:
        same = digest.algorithm == self._algorithm
        actual = self._hash if same else hashlib.new(digest.algorithm, self._data)
        data = bytes(self._data)
        self.abandon()
        if actual.hexdigest() != digest.hex:
            return False
        self._blobs[digest] = data
        return True

    def abandon(self) -> None:
        self._data = bytearray()


class _MemoryRepository:
    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.manifests: dict[Digest, RawManifest] = {}
        self.tags: dict[str, Digest] = {}


class MemoryStorage:
    """Repositories in memory; finished blobs are kept whole, a mounted blob is kept once."""

    def __init__(self) -> None:
        self._repositories: dict[str, _MemoryRepository] = {}

    def _get(self, repository: str) -> _MemoryRepository:
        return self._repositories.get(repository) or _MemoryRepository()

    def _make(self, repository: str) -> _MemoryRepository:
        return self._repositories.setdefault(repository, _MemoryRepository())

    def open(self) -> None:
        """Do nothing: memory may have several servers."""

    def close(self) -> None:
        """Do nothing."""

    def repositories(self) -> Iterable[str]:
        """Return the repositories that hold anything, sorted."""
        return sorted(name for name in self._repositories if self.holds(name))

    def holds(self, repository: str) -> bool:
        """Whether the repository holds a blob or a manifest."""
        found = self._get(repository)
        return bool(found.blobs or found.manifests)

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Return the blob's size in bytes, None where the repository does not hold it."""
        data = self._get(repository).blobs.get(digest)
        return None if data is None else len(data)

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO:
        """Open a blob that the repository holds; the caller closes it."""
        data = self._get(repository).blobs.get(digest)
        if data is None:
            raise FileNotFoundError(digest)
        return io.BytesIO(data)

    def mount(self, source: str, target: str, digest: Digest) -> bool:
        """Make the blob of ``source`` one of ``target`` too; False where ``source`` does not hold it."""
        data = self._get(source).blobs.get(digest)
        if data is None:
            return False
        self._make(target).blobs[digest] = data
        return True

    def upload(self, repository: str, algorithm: str = "sha256") -> Upload:
        """Start an upload."""
        return _MemoryUpload(self._make(repository).blobs, algorithm)

    def manifest(self, repository: str, digest: Digest) -> RawManifest | None:
        """Return the manifest and the media type it was put with, None where it is not there."""
        return self._get(repository).manifests.get(digest)

    def manifests(self, repository: str) -> Iterable[Digest]:
        """Return the digests of the repository's manifests and indexes."""
        return tuple(self._get(repository).manifests)

    def tags(self, repository: str) -> Mapping[str, Digest]:
        """Return what each tag names."""
        return self._get(repository).tags

    def put_manifest(
        self, repository: str, digest: Digest, manifest: RawManifest, tags: Collection[str] = ()
    ) -> None:
        """Keep a manifest and make each of ``tags`` name it."""
        held = self._make(repository)
        held.manifests[digest] = manifest
        held.tags.update(dict.fromkeys(tags, digest))

    def remove_blob(self, repository: str, digest: Digest) -> None:
        """Forget a blob, as a registry's garbage collection does."""
        self._get(repository).blobs.pop(digest, None)

    def remove_manifest(self, repository: str, digest: Digest) -> None:
        """Forget a manifest and the tags that name it, as garbage collection or an operator does."""
        held = self._get(repository)
        held.manifests.pop(digest, None)
        held.tags = {tag: named for tag, named in held.tags.items() if named != digest}
