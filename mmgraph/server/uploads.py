"""Uploads: the files of a directory that are not yet what they will be. Knows no repository and no HTTP.

They lie together in ``.uploads`` beside the repositories, none of which starts with a dot, so that a rename
brings them to their place whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mmgraph.errors import SpecError

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mmgraph.names import Digest

_NAME: Final = ".uploads"
_LOCK: Final = "lock"


class FileUpload:
    """Bytes on their way to be a blob, in a file; ``place`` makes room for the blob and says where."""

    def __init__(self, path: Path, algorithm: str, place: Callable[[Digest], Path]) -> None:
        self._path = path
        self._algorithm = algorithm
        self._place = place
        self._hash = hashlib.new(algorithm)
        self._file: io.FileIO | None = None
        self._size = 0

    @property
    def size(self) -> int:
        """The bytes written so far."""
        return self._size

    def _opened(self) -> io.FileIO:
        if self._file is None:
            self._path.parent.mkdir(exist_ok=True)
            # Without a buffer, so that what has been written is in the file, and close() writes nothing more.
            self._file = self._path.open("xb", buffering=0)
        return self._file

    def write(self, data: bytes) -> None:
        """Append ``data``. Where that fails the upload has ended: the file may have taken a part of it."""
        try:
            left = memoryview(data)
            while left:
                left = left[self._opened().write(left) :]
        except BaseException:
            self.abandon()
            raise
        self._hash.update(data)
        self._size += len(data)

    def commit(self, digest: Digest) -> bool:
        """Keep the bytes as the blob ``digest``, or drop them and say False; where that fails, drop them."""
        try:
            file = self._opened()
            length = os.fstat(file.fileno()).st_size
            file.close()
            if length != self._size:
                raise OSError(errno.EIO, "an upload's file is not as long as what was written to it")
            right = self._actual(digest.algorithm) == digest.hex
            if right:
                self._path.replace(self._place(digest))
        except BaseException:
            self.abandon()
            raise
        if not right:
            self.abandon()
        return right

    def _actual(self, algorithm: str) -> str:
        if algorithm == self._algorithm:
            return self._hash.hexdigest()
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()

    def abandon(self) -> None:
        """Drop the bytes."""
        if self._file is not None:
            try:
                self._file.close()
            finally:
                self._path.unlink(missing_ok=True)


class Uploads:
    """``.uploads`` in ``directory``, called ``shown``, and the lock that lets one server at a time use it."""

    def __init__(self, directory: Path, shown: str) -> None:
        self._shown = shown
        self._directory = directory / _NAME
        self._lock: int | None = None

    def open(self) -> None:
        """Take the directory, and remove what a killed server left there: its sessions cannot go on.

        Raises ``SpecError`` where another server has it. A directory that cannot be written to is shared.
        """
        if self._directory.is_symlink():
            raise SpecError(f"{self._shown}/{_NAME} is a symbolic link")
        try:
            self._directory.mkdir(exist_ok=True)
            lock = os.open(
                self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
            )
        except OSError as error:
            if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
                return
            raise
        try:
            # The kernel releases it however the process ends, so a lock that is left behind locks nobody out.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno == errno.EWOULDBLOCK:
                raise SpecError(f"{self._shown} is served by another mmgraph") from None
            raise
        self._lock = lock
        for left in self._directory.iterdir():
            if left.name != _LOCK and (left.is_symlink() or not left.is_dir()):
                left.unlink()

    def close(self) -> None:
        """Leave the directory to others. More calls do nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def path(self) -> Path:
        """Return a path that nobody else has."""
        return self._directory / uuid.uuid4().hex

    @contextmanager
    def replacing(self, place: Path) -> Iterator[Path]:
        """Yield a path to write to; what is there at the end takes ``place`` in one step, else is dropped."""
        self._directory.mkdir(exist_ok=True)
        half = self.path()
        try:
            yield half
            half.replace(place)
        except BaseException:
            half.unlink(missing_ok=True)
            raise
