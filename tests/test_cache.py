"""The manifest cache: it keeps, it never lies, and it never stops a run."""

import sqlite3
from pathlib import Path

import pytest

from mmgraph.cache import DiskCache, MemoryCache, default_path
from mmgraph.names import Registry, Repository
from mmgraph.oci import OCI_MANIFEST, digest_of
from mmgraph.store import RawManifest, Seen

MANIFEST = RawManifest(b'{"schemaVersion":2}\n', OCI_MANIFEST)
DIGEST = digest_of(MANIFEST.raw)


def test_what_is_put_is_there_for_the_next_process(tmp_path: Path) -> None:
    """A closed cache, opened again, has what it was given."""
    warnings: list[str] = []
    with DiskCache(tmp_path / "c" / "m.sqlite", warnings.append) as cache:
        cache.put(DIGEST, MANIFEST)
    with DiskCache(tmp_path / "c" / "m.sqlite", warnings.append) as cache:
        assert (MANIFEST, []) == (cache.get(DIGEST), warnings)


def test_what_is_put_is_there_at_once(tmp_path: Path) -> None:
    """Reading back needs no batch to be full."""
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.put(DIGEST, MANIFEST)
        assert MANIFEST == cache.get(DIGEST)


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    """An open cache with unwritten entries does not keep another from writing."""
    warnings: list[str] = []
    other = RawManifest(b"{}", OCI_MANIFEST)
    with (
        DiskCache(tmp_path / "m.sqlite", warnings.append) as one,
        DiskCache(tmp_path / "m.sqlite", warnings.append) as two,
    ):
        one.put(DIGEST, MANIFEST)
        two.put(digest_of(other.raw), other)
        two.close()
        assert (other, []) == (one.get(digest_of(other.raw)), warnings)


def test_bytes_that_changed_on_disk_are_a_miss(tmp_path: Path) -> None:
    """An entry whose bytes no longer have its digest is not believed."""
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.put(DIGEST, RawManifest(b"something else", OCI_MANIFEST))
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        assert cache.get(DIGEST) is None


def test_a_file_that_is_no_database_is_a_notice_and_a_miss(tmp_path: Path) -> None:
    """A corrupt cache says so once and the run goes on without it."""
    path = tmp_path / "m.sqlite"
    path.write_bytes(b"this is no database, and long enough to be looked at as one" * 100)
    warnings: list[str] = []
    with DiskCache(path, warnings.append) as cache:
        cache.put(DIGEST, MANIFEST)
        assert (None, 1) == (cache.get(DIGEST), len(warnings))


def test_a_place_that_cannot_be_written_is_a_notice_and_a_miss(tmp_path: Path) -> None:
    """A cache below a file instead of a folder is given up at once."""
    (tmp_path / "file").write_bytes(b"")
    warnings: list[str] = []
    with DiskCache(tmp_path / "file" / "m.sqlite", warnings.append) as cache:
        assert (None, 1) == (cache.get(DIGEST), len(warnings))


def test_the_place_follows_the_environment() -> None:
    """``XDG_CACHE_HOME`` where it is absolute, the home directory otherwise."""
    name = "manifests-1.sqlite"
    assert (Path("/x/mmgraph") / name, Path.home() / ".cache" / "mmgraph" / name) == (
        default_path({"XDG_CACHE_HOME": "/x"}),
        default_path({"XDG_CACHE_HOME": "relative"}),
    )


def test_a_cache_in_memory_keeps_and_misses() -> None:
    """``--no-cache`` behaves as a cache that ends with the process."""
    cache = MemoryCache()
    cache.put(DIGEST, MANIFEST)
    assert (MANIFEST, None) == (cache.get(DIGEST), cache.get(digest_of(b"")))


def test_an_entry_without_a_type_is_a_miss(tmp_path: Path) -> None:
    """A row that somebody spoilt is no reason to fail."""
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.put(DIGEST, MANIFEST)
    with sqlite3.connect(tmp_path / "m.sqlite") as connection:
        connection.execute("UPDATE manifest SET media_type = NULL")
    connection.close()
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        assert cache.get(DIGEST) is None


PLACE = Repository(Registry("registry.example"), "team/app")


def test_what_a_name_was_seen_to_point_at_outlives_the_process(tmp_path: Path) -> None:
    """A digest, or nothing, each with its date."""
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.note(PLACE, "1", Seen(DIGEST, 7))
        cache.note(PLACE, "2", Seen(None, 8))
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        assert {"1": Seen(DIGEST, 7), "2": Seen(None, 8)} == cache.names(PLACE)


def test_the_last_look_counts(tmp_path: Path) -> None:
    """Also where the machine's clock has been put back in between."""
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.note(PLACE, "1", Seen(None, 9))
        cache.flush()
        cache.note(PLACE, "1", Seen(DIGEST, 8))
        assert Seen(DIGEST, 8) == cache.last(PLACE, "1")


def test_many_notes_are_written_in_batches(tmp_path: Path) -> None:
    """Without a flush, most of them are there for another process already."""
    with DiskCache(tmp_path / "m.sqlite", print) as one, DiskCache(tmp_path / "m.sqlite", print) as two:
        for number in range(300):
            one.note(PLACE, str(number), Seen(DIGEST, number))
        assert 256 == len(two.names(PLACE))


def test_a_file_of_an_older_mmgraph_goes_on_working(tmp_path: Path) -> None:
    """It has manifests alone; they are still known, and notes can be added, with no word about it."""
    path = tmp_path / "m.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE manifest (digest TEXT PRIMARY KEY, media_type TEXT, raw BLOB) WITHOUT ROWID"
        )
        connection.execute(
            "INSERT INTO manifest VALUES (?, ?, ?)", (str(DIGEST), MANIFEST.media_type, MANIFEST.raw)
        )
    connection.close()
    warnings: list[str] = []
    with DiskCache(path, warnings.append) as cache:
        cache.note(PLACE, "1", Seen(DIGEST, 7))
        assert (MANIFEST, Seen(DIGEST, 7), []) == (cache.get(DIGEST), cache.last(PLACE, "1"), warnings)


def test_an_older_mmgraph_goes_on_with_our_file(tmp_path: Path) -> None:
    """What it reads and writes, the table of manifests, is as it was."""
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.note(PLACE, "1", Seen(DIGEST, 7))
        cache.put(DIGEST, MANIFEST)
    with sqlite3.connect(tmp_path / "m.sqlite") as connection:
        connection.execute("INSERT OR REPLACE INTO manifest VALUES (?, ?, ?)", (str(DIGEST), "x", b""))
        columns = [column for _, column, *_ in connection.execute("PRAGMA table_info(manifest)")]
    connection.close()
    assert ["digest", "media_type", "raw"] == columns


@pytest.mark.parametrize(("digest", "at"), [("sha256:1", 7), (b"x", 7), (5, 7), (str(DIGEST), "then")])
def test_a_spoilt_note_is_none(tmp_path: Path, digest: object, at: object) -> None:
    """What cannot have been noted is not known."""
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.note(PLACE, "1", Seen(DIGEST, 7))
    with sqlite3.connect(tmp_path / "m.sqlite") as connection:
        connection.execute("UPDATE seen SET digest = ?, at = ?", (digest, at))
    connection.close()
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        assert cache.last(PLACE, "1") is None


def test_a_broken_file_knows_no_names(tmp_path: Path) -> None:
    """As with manifests, it is said once, and everything is a miss."""
    path = tmp_path / "m.sqlite"
    path.write_bytes(b"this is no database, and long enough to be looked at as one" * 100)
    warnings: list[str] = []
    with DiskCache(path, warnings.append) as cache:
        cache.note(PLACE, "1", Seen(DIGEST, 7))
        assert (None, {}, 1) == (cache.last(PLACE, "1"), cache.names(PLACE), len(warnings))
