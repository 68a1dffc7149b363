"""The manifest cache: it keeps, it never lies, and it never stops a run."""

from pathlib import Path

from mmgraph.cache import DiskCache, MemoryCache, default_path
from mmgraph.oci import OCI_MANIFEST, digest_of
from mmgraph.store import RawManifest

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
    import sqlite3

    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        cache.put(DIGEST, MANIFEST)
    with sqlite3.connect(tmp_path / "m.sqlite") as connection:
        connection.execute("UPDATE manifest SET media_type = NULL")
    connection.close()
    with DiskCache(tmp_path / "m.sqlite", print) as cache:
        assert cache.get(DIGEST) is None
