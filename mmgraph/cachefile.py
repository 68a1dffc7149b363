"""The sqlite file behind the manifest cache: how it is opened, what is in it, how it is kept small and thrown away.

Knows rows and pages, and not what they mean to a run.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

LIMIT: Final = 512 << 20
"""Bytes on disk, where nothing else is said."""
DAY: Final = 86400
"""Seconds of the unit in which is kept when a manifest was of use: so most reads change nothing."""

_BUSY_SECONDS: Final = 5
# An older mmgraph goes on with such a file: it puts three values into ``manifest``, and knows neither ``seen`` nor
# ``used``. A file of its own gets what it lacks. Manifests have rowids, as sqlite.org/withoutrowid.html advises for
# rows of such a size: half the pages to write, and half the time to read one.
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS manifest (digest TEXT PRIMARY KEY, media_type TEXT, raw BLOB)",
    """CREATE TABLE IF NOT EXISTS seen (
        registry TEXT, repository TEXT, name TEXT, digest TEXT, at INTEGER,
        PRIMARY KEY (registry, repository, name)
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS used (digest TEXT PRIMARY KEY, day INTEGER) WITHOUT ROWID",
)
_USE: Final = """INSERT INTO used VALUES (?, ?)
    ON CONFLICT (digest) DO UPDATE SET day = excluded.day WHERE day < excluded.day"""
_MAGIC: Final = b"SQLite format 3\0"
_BATCH: Final = 64
"""Manifests that one transaction removes, so that nobody waits for long."""
_MOST: Final = 4096
"""Manifests that are removed at one go at least, if there are as many too many."""
_PAGES: Final = 16384
"""Pages that are given back at one go."""


class Contents(msgspec.Struct, frozen=True):
    """What a file holds."""

    manifests: int
    manifest_bytes: int
    names: int
    """Names of which is kept what they were last seen to point at."""
    disk_bytes: int
    """What it takes on disk, all its parts together."""
    used: tuple[int, int] | None
    """The first and the last day on which one of the manifests was last of use: days since 1970 UTC."""
    seen: tuple[int, int] | None
    """The first and the last time at which one of the names was last seen: seconds since 1970 UTC."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for reading and writing; make what it lacks. Raises ``OSError`` and ``sqlite3.Error``."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    try:
        if not _pragma(connection, "page_count"):  # elsewhere it does nothing, and waits for who writes
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        _share(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _share(connection: sqlite3.Connection) -> None:
    """Let readers and one writer go on side by side."""
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        # Whoever else opens the new file at this moment does the same, and sqlite does not wait for them here.
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            if not is_busy(error):
                raise


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a file that cannot be written, nor anything beside it. Raises ``sqlite3.Error``."""
    # "immutable": without, sqlite would make files beside it. Should somebody change it all the same, then what is
    # read may be wrong, and manifests are compared with their digests.
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True)
    try:
        connection.execute("SELECT 1 FROM manifest LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: Exception) -> bool:
    """Whether it says that the file is not what sqlite has written."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_busy(error: Exception) -> bool:
    """Whether another process is what is in the way."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def identity(path: Path) -> tuple[int, int] | None:
    """Tell one file at ``path`` from the next one; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def discard(path: Path, known: tuple[int, int] | None) -> bool:
    """Remove the damaged file ``known``, unless it was never sqlite's; whether a new one can be begun."""
    if identity(path) != known:
        return True  # another process has been here before
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
        if head not in (_MAGIC, bytes(len(_MAGIC))):  # zeros: what a power failure leaves
            return False
        _remove(path)
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    for part in _parts(path):
        part.unlink(missing_ok=True)


def _parts(path: Path) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in ("-wal", "-shm", "")]


def mark(connection: sqlite3.Connection, digests: Collection[str], day: int) -> None:
    """Keep that manifests were of use on ``day``, unless a later one is known; begins a transaction."""
    connection.executemany(_USE, [(str(digest), day) for digest in sorted(digests)])


def trim(connection: sqlite3.Connection, limit: int, written: int) -> int:
    """Remove the manifests that were of use longest ago, if the file takes more than ``limit``; return how many.

    A quarter more goes than must, so that not every run comes here; and at most twice as many as the run has
    ``written``, or 4,096, so that it ends soon. Of those of one day it is always the same that go, and the others
    stay known to a set that is too large for the limit. Each transaction is short.
    """
    if bytes_in_use(connection) <= limit:
        return 0
    with connection:  # what an older mmgraph has written
        connection.execute("INSERT OR IGNORE INTO used SELECT digest, 0 FROM manifest")
    oldest = connection.execute(
        "SELECT digest FROM used ORDER BY day, digest LIMIT ?", (max(2 * written, _MOST),)
    ).fetchall()
    removed = 0
    while removed < len(oldest) and bytes_in_use(connection) > limit - limit // 4:
        batch = oldest[removed : removed + _BATCH]
        with connection:
            connection.executemany("DELETE FROM manifest WHERE digest = ?", batch)
            connection.executemany("DELETE FROM used WHERE digest = ?", batch)
        removed += len(batch)
    pages, free, size = (_pragma(connection, each) for each in ("page_count", "freelist_count", "page_size"))
    if (beyond := min(pages - limit // size, free, _PAGES)) > 0:
        # Not execute: that stops at the first row, and here each page is one.
        connection.executescript(f"PRAGMA incremental_vacuum({beyond})")
    return removed


def bytes_in_use(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something; the others are used before the file grows."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def contents(path: Path) -> Contents:
    """Count what a file holds: nothing where there is none. Raises ``sqlite3.Error``."""
    if not path.exists():
        return Contents(0, 0, 0, 0, None, None)
    disk_bytes = _disk_bytes(path)  # before it is opened, which makes another part
    try:
        connection = connect(path)
    except (OSError, sqlite3.Error) as error:
        if is_damage(error) or is_busy(error):
            raise
        connection = connect_to_read(path)
    with closing(connection):
        manifests, length = connection.execute("SELECT count(*), total(length(raw)) FROM manifest").fetchone()
        names = _span(connection, "at", "seen")
        days = _span(connection, "day", "used")
        return Contents(manifests, int(length), names[0], disk_bytes, days[1], names[1])


def _span(connection: sqlite3.Connection, column: str, table: str) -> tuple[int, tuple[int, int] | None]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        return 0, None
    count, first, last = connection.execute(
        f"SELECT count(*), min({column}), max({column}) FROM {table}"  # noqa: S608 - names of ours
    ).fetchone()
    return count, (first, last) if isinstance(first, int) and isinstance(last, int) else None


def clear(path: Path) -> int:
    """Remove all that a file holds, under the hands of whoever uses it; return the bytes freed on disk.

    What cannot be emptied, being damaged or on a full disk, is removed as a whole. Raises ``OSError`` where it cannot
    be, and ``sqlite3.Error`` where another process has it locked.
    """
    before = _disk_bytes(path)
    if before:
        try:
            with closing(connect(path)) as connection:
                _empty(connection)
        except (OSError, sqlite3.Error) as error:
            if is_busy(error):
                raise
            _remove(path)
    return before - _disk_bytes(path)


def _empty(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        for table in ("manifest", "used", "seen"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _SCHEMA:  # instead of what an older mmgraph has made, which is larger
            connection.execute(statement)
    with suppress(sqlite3.OperationalError):  # one who reads keeps the pages, which are free now all the same
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _disk_bytes(path: Path) -> int:
    total = 0
    for part in _parts(path):
        with suppress(OSError):
            total += part.stat().st_size
    return total
