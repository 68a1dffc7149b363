"""The manifest cache: it keeps, it never lies, and it never stops a run."""

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import pytest

from mmgraph.cache import DiskCache, MemoryCache, default_path
from mmgraph.cachefile import DAY
from mmgraph.names import Digest, Registry, Repository
from mmgraph.oci import OCI_MANIFEST, digest_of
from mmgraph.store import RawManifest, Seen
from tests.support.clock import ManualClock
from tests.support.command import ROOT

NONE: Mapping[Digest, RawManifest] = MappingProxyType({})

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


def manifests(count: int, start: int = 0, size: int = 4000) -> dict[Digest, RawManifest]:
    """Different manifests of about ``size`` bytes."""
    raws = [f'{{"number":{number:0{size}}}}'.encode() for number in range(start, start + count)]
    return {digest_of(raw): RawManifest(raw, OCI_MANIFEST) for raw in raws}


def on_day(
    path: Path,
    day: int,
    limit: int | None = None,
    *,
    put: Mapping[Digest, RawManifest] = NONE,
    get: Iterable[Digest] = (),
) -> list[str]:
    """One run that puts and gets manifests; return what was warned of."""
    warnings: list[str] = []
    clock = ManualClock(wall=day * DAY)
    with DiskCache(path, warnings.append, limit=limit, clock=clock) as cache:
        for digest in get:
            assert cache.get(digest) is not None
        for digest, manifest in put.items():
            cache.put(digest, manifest)
    return warnings


def kept(path: Path, wanted: Iterable[Digest]) -> int:
    """How many of the manifests are there."""
    with DiskCache(path, print) as cache:
        return sum(cache.get(digest) is not None for digest in wanted)


def test_above_the_limit_goes_what_was_of_use_longest_ago(tmp_path: Path) -> None:
    """Not what was written first, where that has been read since."""
    path = tmp_path / "m.sqlite"
    first, second, third = manifests(50), manifests(300, 100), manifests(50, 400)
    on_day(path, 1, put=first)
    on_day(path, 2, put=second)
    on_day(path, 3, get=first)
    on_day(path, 4, 1 << 20, put=third)
    assert (50, 50, True) == (kept(path, first), kept(path, third), kept(path, second) < 100)


def test_below_the_limit_all_stays(tmp_path: Path) -> None:
    """However old it is."""
    path = tmp_path / "m.sqlite"
    on_day(path, 1, put=manifests(100))
    on_day(path, 9000, 1 << 20)
    assert 100 == kept(path, manifests(100))


def test_without_a_limit_all_stays(tmp_path: Path) -> None:
    """As for a command that only looks, and has not been told one."""
    path = tmp_path / "m.sqlite"
    on_day(path, 1, put=manifests(300))
    on_day(path, 2)
    assert 300 == kept(path, manifests(300))


def test_of_one_day_the_same_stay_run_after_run(tmp_path: Path) -> None:
    """A set that is too large for the limit still finds a part of it."""
    path, wanted = tmp_path / "m.sqlite", manifests(400)
    found = set(wanted)
    for _ in range(3):
        on_day(path, 1, 1 << 20, put=wanted)
        with DiskCache(path, print, clock=ManualClock(wall=DAY)) as cache:
            found = {each for each in found if cache.get(each)}
    assert 50 < len(found) < 400


def test_reading_again_on_the_same_day_writes_nothing(tmp_path: Path) -> None:
    """So a warm run is one that reads."""
    path = tmp_path / "m.sqlite"
    on_day(path, 1, put=manifests(10))
    on_day(path, 2, get=manifests(10))
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute("PRAGMA data_version").fetchone()
        on_day(path, 2, get=manifests(10))
        assert before == connection.execute("PRAGMA data_version").fetchone()


WRITER = """
import sys
from pathlib import Path
from mmgraph.cache import DiskCache
from tests.test_cache import manifests

start, count = map(int, sys.argv[2:4])
sys.stdin.readline()
with DiskCache(Path(sys.argv[1]), print, limit=1 << 30) as cache:
    for number, (digest, manifest) in enumerate(manifests(count, start).items(), 1):
        cache.put(digest, manifest)
        if number % 10 == 0:
            cache.flush()
            print(number, flush=True)
"""


def writer(path: Path, start: int, count: int) -> subprocess.Popen[str]:
    """A process that writes manifests, ten a transaction, as soon as it is told to."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(start), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_processes_write_at_once(tmp_path: Path) -> None:
    """From a file that none of them finds: all that each wrote is there, and none complains."""
    path = tmp_path / "m.sqlite"
    processes = [writer(path, number * 500, 500) for number in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0].split() for process in processes]
    assert ([[str(10 * number) for number in range(1, 51)]] * 3, 1500) == (said, kept(path, manifests(1500)))


def test_a_process_that_is_killed_leaves_what_it_had_written(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: the file is whole, and nobody hears of it."""
    path = tmp_path / "m.sqlite"
    with writer(path, 0, 5000) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        while (line := process.stdout.readline()) != "200\n":
            assert line
        process.kill()
    warnings = on_day(path, 1, put=manifests(1, 9999), get=manifests(200))
    assert [] == warnings


def in_a_process(code: str, *arguments: str) -> str:
    """What a program prints that may have less than we have."""
    begin = "import sys; from pathlib import Path; from mmgraph.cache import DiskCache\n"
    begin += "from tests.test_cache import manifests, on_day, kept\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ("", 0) == (done.stderr, done.returncode)
    return done.stdout


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size + 100_000,) * 2)
print(len(on_day(Path(sys.argv[1]), 2, 1 << 30, put=manifests(2000, 100), get=manifests(100))))
print(kept(Path(sys.argv[1]), manifests(100)))
"""


def test_a_file_that_cannot_grow_is_still_read(tmp_path: Path) -> None:
    """As on a full disk: one notice for all that cannot be kept, and what was kept before is there."""
    path = tmp_path / "m.sqlite"
    on_day(path, 1, put=manifests(100))
    assert "1\n100\n" == in_a_process(FULL, str(path))


READ_ONLY = """
import os
if os.getuid() == 0:
    os.setuid(65534)
[notice] = on_day(Path(sys.argv[1]), 2, 1 << 30, put=manifests(1, 500), get=manifests(100))
print("cannot be written" in notice, notice.endswith("; going on with what is in it"))
"""


def test_a_directory_that_cannot_be_written_is_still_read() -> None:
    """As one that came with an image: one notice, and what it holds is there."""
    with tempfile.TemporaryDirectory() as name:  # that of pytest is for its owner alone
        directory = Path(name)
        on_day(directory / "m.sqlite", 1, put=manifests(100))
        (directory / "m.sqlite").chmod(0o444)
        directory.chmod(0o555)
        try:
            assert "True True\n" == in_a_process(READ_ONLY, str(directory / "m.sqlite"))
        finally:
            directory.chmod(0o755)


def spoil(path: Path, start: int, length: int, byte: bytes = b"\xa5") -> None:
    """Write over a part of a file."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(byte * length)


@pytest.mark.parametrize(("start", "byte"), [(16, b"\xa5"), (0, b"\0")])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, start: int, byte: bytes) -> None:
    """With a notice; and the same run can use it."""
    path = tmp_path / "m.sqlite"
    on_day(path, 1, put=manifests(100))
    spoil(path, start, 4000, byte)
    warnings = on_day(path, 2, put=manifests(10))
    assert (["the manifest cache was damaged"], 10) == (
        [warning[:30] for warning in warnings],
        kept(path, manifests(100)),
    )


def test_damage_that_is_found_late_ends_the_cache_and_not_the_run(tmp_path: Path) -> None:
    """One notice, all else is a miss, and the next run begins anew."""
    path, wanted = tmp_path / "m.sqlite", manifests(100)
    on_day(path, 1, put=wanted)
    spoil(path, 16384, path.stat().st_size - 16384)
    warnings: list[str] = []
    with DiskCache(path, warnings.append, limit=1 << 20) as cache:
        found = [each for each in wanted if cache.get(each)]
        cache.put(DIGEST, MANIFEST)
    assert ([], 1, False) == (found, len(warnings), path.exists())
    assert warnings[0].endswith("; going on without it; the next run begins it anew")
    assert [] == on_day(path, 2, put=wanted)


def test_what_was_never_a_cache_is_left_alone(tmp_path: Path) -> None:
    """Whoever put it there may need it."""
    path, content = tmp_path / "m.sqlite", b"somebody's letters" * 500
    path.write_bytes(content)
    warnings = on_day(path, 1, put=manifests(10))
    assert (content, 1) == (path.read_bytes(), len(warnings))
    assert warnings[0].endswith("; going on without it; mmgraph cache clear removes it")


def test_what_another_process_has_locked_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One notice, once waiting was in vain."""
    monkeypatch.setattr("mmgraph.cachefile._BUSY_SECONDS", 0)
    path = tmp_path / "m.sqlite"
    on_day(path, 1, put=manifests(100))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        warnings = on_day(path, 2, 0, put=manifests(300, 100), get=manifests(100))
    assert [
        "the manifest cache cannot be written (database is locked); going on with what is in it"
    ] == warnings
