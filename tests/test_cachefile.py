"""The file behind the manifest cache: what is counted, how it is trimmed and emptied, what is removed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmgraph import cachefile
from mmgraph.cache import DiskCache
from mmgraph.cachefile import Contents
from mmgraph.names import Registry, Repository
from mmgraph.store import Seen
from tests.test_cache import kept, manifests, on_day

PLACE = Repository(Registry("registry.example"), "team/app")
OLD_SCHEMA = "CREATE TABLE manifest (digest TEXT PRIMARY KEY, media_type TEXT, raw BLOB) WITHOUT ROWID"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with 100 manifests and two names."""
    path = tmp_path / "m.sqlite"
    on_day(path, 20_000, put=manifests(60))
    on_day(path, 20_007, put=manifests(40, 60))
    with DiskCache(path, print) as cache:
        cache.note(PLACE, "1", Seen(None, 1_700_000_000))
        cache.note(PLACE, "2", Seen(None, 1_700_000_001))
    return path


def test_what_is_in_it_is_counted(path: Path) -> None:
    """Manifests and their bytes, names, days and dates, and what the disk gives for it."""
    length = sum(len(manifest.raw) for manifest in manifests(100).values())
    disk = path.stat().st_size
    expected = Contents(100, length, 2, disk, (20_000, 20_007), (1_700_000_000, 1_700_000_001))
    assert expected == cachefile.contents(path)


def test_of_no_file_nothing_is_counted_and_none_is_made(tmp_path: Path) -> None:
    """Looking leaves nothing behind."""
    assert Contents(0, 0, 0, 0, None, None) == cachefile.contents(tmp_path / "x" / "m.sqlite")
    assert [] == list(tmp_path.iterdir())


def test_a_file_of_an_older_mmgraph_is_counted_trimmed_and_emptied(tmp_path: Path) -> None:
    """It says of no manifest when it was of use: those go first."""
    path, old = tmp_path / "m.sqlite", manifests(300)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(OLD_SCHEMA)
        rows = [(str(digest), each.media_type, each.raw) for digest, each in old.items()]
        connection.executemany("INSERT INTO manifest VALUES (?, ?, ?)", rows)
    assert 300 == cachefile.contents(path).manifests
    assert [] == on_day(path, 1, 1 << 20, put=manifests(50, 300))
    assert (50, True) == (kept(path, manifests(50, 300)), 0 < kept(path, old) < 300)
    cachefile.clear(path)
    with closing(sqlite3.connect(path)) as connection:
        layouts = [
            sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE name = 'manifest'")
        ]
        modes = connection.execute("PRAGMA auto_vacuum").fetchone()
    assert (0, [False], (2,)) == (
        cachefile.contents(path).manifests,
        ["WITHOUT ROWID" in sql for sql in layouts],
        modes,
    )


def test_trimming_ends_soon(tmp_path: Path) -> None:
    """However much there is too much: the next run goes on."""
    path = tmp_path / "m.sqlite"
    on_day(path, 1, put=manifests(5000, size=1))
    with closing(cachefile.connect(path)) as connection:
        removed = [cachefile.trim(connection, 0, written) for written in (0, 2500)]
    assert [4096, 904] == removed


def test_the_disk_gets_back_what_is_above_the_limit(path: Path) -> None:
    """Not only do later manifests find room in the file."""
    on_day(path, 20_008, 200_000)
    assert 0 < cachefile.contents(path).disk_bytes <= 200_000


def test_clearing_frees_what_it_says(path: Path) -> None:
    """All that the file took, but for an empty one."""
    before = path.stat().st_size
    freed = cachefile.clear(path)
    held = cachefile.contents(path)
    assert (before - freed, 0, 0) == (held.disk_bytes, held.manifests, held.names)


def test_clearing_nothing_frees_nothing(tmp_path: Path) -> None:
    """Nor does it make a file."""
    assert (0, False) == (cachefile.clear(tmp_path / "m.sqlite"), (tmp_path / "m.sqlite").exists())


def test_who_uses_it_goes_on_after_a_clear(path: Path) -> None:
    """A run under way misses what is gone, and keeps what it reads from then on."""
    warnings: list[str] = []
    [(first, _), *_] = manifests(1).items()
    [(new, manifest)] = manifests(1, 500).items()
    with DiskCache(path, warnings.append, limit=1 << 20) as cache:
        assert cache.get(first) is not None
        cachefile.clear(path)
        cache.put(new, manifest)
        cache.flush()
        assert (None, []) == (cache.get(first), warnings)
    assert 1 == kept(path, [new])


@pytest.mark.parametrize("content", [b"nothing of sqlite's" * 500, b"SQLite format 3\0" + b"?" * 9000])
def test_what_cannot_be_emptied_is_removed(tmp_path: Path, content: bytes) -> None:
    """Whoever clears the cache wants the place that it is at to be fit for one."""
    path = tmp_path / "m.sqlite"
    path.write_bytes(content)
    assert (len(content), False) == (cachefile.clear(path), path.exists())


def test_what_is_locked_is_not_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor emptied by halves."""
    monkeypatch.setattr("mmgraph.cachefile._BUSY_SECONDS", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            cachefile.clear(path)
    assert 100 == cachefile.contents(path).manifests


def test_a_file_that_another_process_has_put_there_meanwhile_is_kept(path: Path) -> None:
    """Two find the same file damaged: the second must not remove what the first has begun."""
    assert (True, 100) == (cachefile.discard(path, (0, 0)), cachefile.contents(path).manifests)
