"""Manifests by digest on disk, in sqlite: immutable, so never stale. Knows no tags and no registries.

A cache that is broken, full or locked is a cache that misses: it says so once and is not asked again. New entries
are written in batches of one short transaction each, so that several processes can share the file.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mmgraph.oci import digest_of
from mmgraph.store import RawManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mmgraph.names import Digest

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS manifest (digest TEXT PRIMARY KEY, media_type TEXT, raw BLOB) WITHOUT ROWID"
)
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
    """The ``ManifestCache`` behind a file; close it to keep what the last batch holds."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._unwritten: dict[Digest, RawManifest] = {}
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = sqlite3.connect(path, timeout=5)
            self._connection = connection
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_SCHEMA)
            connection.commit()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left and let go of the file."""
        self.flush()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

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
        return RawManifest(row[0], row[1])

    def put(self, digest: Digest, manifest: RawManifest) -> None:
        """Keep a manifest; what was there under that digest with other bytes is replaced."""
        if self._connection is not None:
            self._unwritten[digest] = manifest
            if len(self._unwritten) >= _BATCH:
                self.flush()

    def flush(self) -> None:
        """Write what has been put since the last batch, in one short transaction."""
        if self._connection is None or not self._unwritten:
            return
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO manifest VALUES (?, ?, ?)",
                    [(str(digest), kept.media_type, kept.raw) for digest, kept in self._unwritten.items()],
                )
            self._unwritten.clear()
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass
        self._warn(f"the manifest cache cannot be used ({error}); going on without it")


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

    def flush(self) -> None:
        """Do nothing: it is not meant to outlive the process."""
