"""What is kept on disk between runs, in sqlite: manifests by digest, immutable, so never stale; and beside them what
each name was last seen to point at, which is as old as it is dated, and which only ``memory`` reads.

A cache that is broken is a cache that misses: it says so once and is not asked again; one that cannot be written, as
its disk is full, is still read. New entries are written in batches of one short transaction each, so that several
processes can share the file, which ``cachefile`` knows.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mmgraph import cachefile
from mmgraph.clock import SystemClock
from mmgraph.errors import SpecError
from mmgraph.names import Digest
from mmgraph.oci import digest_of
from mmgraph.store import RawManifest, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Repository

_BATCH = 256


def default_path(environ: Mapping[str, str]) -> Path:
    """Where the cache is kept: ``$XDG_CACHE_HOME/mmgraph`` or ``~/.cache/mmgraph``."""
    root = environ.get("XDG_CACHE_HOME", "")
    return (
        (Path(root) if Path(root).is_absolute() else Path.home() / ".cache")
        / "mmgraph"
        / "manifests-1.sqlite"
    )


class DiskCache:
    """The ``ManifestCache`` behind a file; close it to keep what the last batch holds.

    ``limit``: bytes on disk above which the manifests that were of use longest ago go when it is closed; None: none go.
    """

    def __init__(
        self,
        path: Path,
        warn: Callable[[str], None],
        *,
        limit: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._warn = warn
        self._limit = limit
        self._today = int((clock or SystemClock()).wall() // cachefile.DAY)
        self._unwritten: dict[Digest, RawManifest] = {}
        self._unnoted: dict[tuple[Repository, str], Seen] = {}
        self._read: set[Digest] = set()
        self._written = 0
        self._writable = True
        self._identity = cachefile.identity(path)
        self._connection: sqlite3.Connection | None = None
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left, make room where there is too much, and let go of the file."""
        self.flush()
        self._tidy()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        try:
            return self._connected()
        except (OSError, sqlite3.Error) as error:
            failure = error
        try:
            if cachefile.is_damage(failure) and cachefile.discard(self._path, self._identity):
                self._warn(f"the manifest cache was damaged ({failure}), and is begun anew")
                return self._connected()
            if not cachefile.is_damage(failure) and not cachefile.is_busy(failure):
                connection = cachefile.connect_to_read(self._path)
                self._stop_writing(failure)
                return connection
        except (OSError, sqlite3.Error):
            pass  # what was in the way first is what is told
        self._give_up(failure)
        return None

    def _connected(self) -> sqlite3.Connection:
        connection = cachefile.connect(self._path)
        self._identity = cachefile.identity(self._path)
        return connection

    def get(self, digest: Digest) -> RawManifest | None:
        """Return the manifest if it is there and its bytes still have that digest."""
        if self._connection is None:
            return None
        if digest in self._unwritten:
            return self._unwritten[digest]
        try:
            row = self._connection.execute(
                "SELECT raw, media_type FROM manifest WHERE digest = ?", (str(digest),)
            ).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        if row is None or not isinstance(row[0], bytes) or not isinstance(row[1], str):
            return None
        if digest_of(row[0], digest.algorithm) != digest:
            return None
        self._read.add(digest)
        return RawManifest(row[0], row[1])

    def put(self, digest: Digest, manifest: RawManifest) -> None:
        """Keep a manifest; what was there under that digest with other bytes is replaced."""
        if self._writable:
            self._unwritten[digest] = manifest
            if len(self._unwritten) >= _BATCH:
                self.flush()

    def note(self, repository: Repository, name: str, seen: Seen) -> None:
        """Keep what ``name`` was seen to point at, in place of what was seen earlier."""
        if self._writable:
            self._unnoted[repository, name] = seen
            if len(self._unnoted) >= _BATCH:
                self.flush()

    def last(self, repository: Repository, name: str) -> Seen | None:
        """Return what ``name`` was last seen to point at; None where nobody has looked."""
        rows = self._rows("SELECT name, digest, at FROM seen WHERE registry = ? AND repository = ? AND name = ?",
            (str(repository.registry), repository.path, name))  # fmt: skip
        return rows.get(name)

    def names(self, repository: Repository) -> dict[str, Seen]:
        """Return what each name of ``repository`` was last seen to point at."""
        return self._rows("SELECT name, digest, at FROM seen WHERE registry = ? AND repository = ?",
            (str(repository.registry), repository.path))  # fmt: skip

    def _rows(self, query: str, values: tuple[str, ...]) -> dict[str, Seen]:
        self.flush()
        if self._connection is None:
            return {}
        try:
            rows = self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return {}
        return {str(name): seen for name, digest, at in rows if (seen := _seen(digest, at)) is not None}

    def flush(self) -> None:
        """Write what has come since the last batch, in one short transaction."""
        if self._connection is None or not (self._unwritten or self._unnoted):
            return
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO manifest VALUES (?, ?, ?)",
                    [(str(digest), kept.media_type, kept.raw) for digest, kept in self._unwritten.items()],
                )
                cachefile.mark(self._connection, self._unwritten, self._today)
                self._connection.executemany(
                    "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)",
                    [
                        (str(place.registry), place.path, name, seen.digest and str(seen.digest), seen.at)
                        for (place, name), seen in self._unnoted.items()
                    ],
                )
        except sqlite3.Error as error:
            if cachefile.is_damage(error):
                self._give_up(error)
            else:
                self._stop_writing(error)
        self._written += len(self._unwritten)
        self._unwritten.clear()
        self._unnoted.clear()

    def _tidy(self) -> None:
        """Keep which manifests were of use, and make room; that neither can be done is no harm to anybody."""
        if self._connection is None or not self._writable:
            return
        try:
            with self._connection:
                cachefile.mark(self._connection, self._read, self._today)
            if self._limit is not None:
                cachefile.trim(self._connection, self._limit, self._written)
        except sqlite3.Error as error:
            if cachefile.is_damage(error):
                self._give_up(error)

    def _stop_writing(self, error: Exception) -> None:
        self._writable = False
        self._warn(f"the manifest cache cannot be written ({error}); going on with what is in it")

    def _give_up(self, error: Exception) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        more = ""
        if cachefile.is_damage(error):
            # Where it is only read, others may be writing it, and what looks like damage may be their work.
            begun = self._writable and cachefile.discard(self._path, self._identity)
            more = "; the next run begins it anew" if begun else "; mmgraph cache clear removes it"
        self._writable = False
        self._warn(f"the manifest cache cannot be used ({error}); going on without it{more}")


class MemoryCache:
    """A ``ManifestCache`` that ends with the process: ``--no-cache``, and tests."""

    def __init__(self) -> None:
        self._manifests: dict[Digest, RawManifest] = {}

    def get(self, digest: Digest) -> RawManifest | None:
        """Return the manifest, or None where it is not known."""
        return self._manifests.get(digest)

    def put(self, digest: Digest, manifest: RawManifest) -> None:
        """Keep a manifest."""
        self._manifests[digest] = manifest

    def note(self, repository: Repository, name: str, seen: Seen) -> None:
        """Do nothing: only a later process would ask."""

    def flush(self) -> None:
        """Do nothing: it is not meant to outlive the process."""


def _seen(digest: object, at: object) -> Seen | None:
    """Return what a row says; None where somebody has spoilt it."""
    if not isinstance(at, int) or not isinstance(digest, str | None):
        return None
    try:
        return Seen(None if digest is None else Digest.parse(digest), at)
    except SpecError:
        return None
