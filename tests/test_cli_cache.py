"""``mmgraph cache info`` and ``clear``, and ``--cache-limit``, from wherever it is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet import Fleet
from mmgraph.cache import DiskCache
from mmgraph.cli import main
from mmgraph.names import Registry, Repository
from mmgraph.store import Seen
from tests.test_cache import manifests, on_day
from tests.test_cli_apply import mirror

PLACE = Repository(Registry("registry.example"), "team/app")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache would be; nothing is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mmgraph" / "manifests-1.sqlite"


def fill(path: Path) -> None:
    """Put 100 manifests and a name into the cache."""
    on_day(path, 20_000, put=manifests(60))
    on_day(path, 20_007, put=manifests(40, 60))
    with DiskCache(path, print) as cache:
        cache.note(PLACE, "1", Seen(None, 1_700_000_000))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What ``cache info`` says to programs."""
    code = main(["cache", "info", "--format", "json", *arguments])
    out, err = capsys.readouterr()
    assert (0, "") == (code, err)
    result: dict[str, Any] = json.loads(out)
    return result


def test_what_is_there_in_words(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Place, manifests, tags, disk and limit, with dates."""
    fill(path)
    code = main(["cache", "info"])
    lines = capsys.readouterr().out.splitlines()
    expected = [
        str(path),
        "  100 manifests of 391.7 KiB, last used from 2024-10-04 to 2024-10-11",
        "  1 tag remembered, last seen on 2023-11-14",
    ]
    assert (0, expected, "512.0 MiB at most (--cache-limit)") == (code, lines[:3], lines[3].split(" and ")[1])


def test_what_is_there_for_programs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same, exactly."""
    fill(path)
    expected = {
        "path": str(path),
        "manifests": 100,
        "manifest_bytes": sum(len(each.raw) for each in manifests(100).values()),
        "used": {"oldest": "2024-10-04", "newest": "2024-10-11"},
        "tags": 1,
        "seen": {"oldest": "2023-11-14T22:13:20Z", "newest": "2023-11-14T22:13:20Z"},
        "disk_bytes": path.stat().st_size,
        "limit": 512 << 20,
    }
    assert expected == told(capsys)


def test_where_nothing_is_nothing_is_made(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no failure, and leaves no trace."""
    held = told(capsys)
    assert (0, 0, None, False) == (held["manifests"], held["disk_bytes"], held["used"], path.parent.exists())


def test_the_terminal_is_safe_from_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """A directory may be called what a terminal obeys."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "\x1b[31m"))
    main(["cache", "info"])
    assert "\x1b" not in capsys.readouterr().out


def test_clear_says_what_it_freed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is there any more."""
    fill(path)
    code = main(["cache", "clear"])
    out = capsys.readouterr().out
    held = told(capsys)
    assert (0, " KiB freed\n", 0, 0) == (code, out[-11:], held["manifests"], held["tags"])


def test_a_damaged_file_is_cleared_away(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """info cannot count it, and says what to do; clear does it."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database" * 500)
    code = main(["cache", "info"])
    expected = f"mmgraph: {path}: file is not a database: mmgraph cache clear removes it\n"
    assert (1, expected) == (code, capsys.readouterr().err)
    assert (0, False) == (main(["cache", "clear"]), path.exists())


@pytest.mark.parametrize(
    ("arguments", "variables", "file", "limit"),
    [
        (["--cache-limit", "1000"], {}, "", 1000),
        (["--cache-limit", "2 GiB"], {"MMGRAPH_CACHE_LIMIT": "1MiB"}, "", 2 << 30),
        ([], {"MMGRAPH_CACHE_LIMIT": "1MiB"}, "cache-limit = '1KiB'", 1 << 20),
        ([], {}, "cache-limit = '64KiB'", 64 << 10),
        ([], {}, "cache-limit = 4096", 4096),
        ([], {}, "[cache]\ncache-limit = '3MiB'", 3 << 20),
    ],
)
def test_the_limit_can_be_said_anywhere(
    path: Path,
    arguments: list[str],
    variables: dict[str, str],
    file: str,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By a flag, a variable, or mmgraph.toml, the first of which counts."""
    Path("mmgraph.toml").write_text(file)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert limit == told(capsys, *arguments)["limit"]


@pytest.mark.parametrize("text", ["", "much", "-1", "1.5GiB", "1GB", "١"])
def test_a_limit_that_is_none_is_refused(path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to write."""
    code = main(["cache", "info", f"--cache-limit={text}"])
    assert (1, True) == (code, "--cache-limit" in capsys.readouterr().err)


async def test_a_run_keeps_to_its_limit(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """What is above it is gone at its end; with the default, nothing is; a bad one ends before any request."""
    async with mirror(tmp_path, tiny_fleet) as made:
        kept = []
        for limit in ("512MiB", "0"):
            done = await made.run("plan", "--cache-limit", limit)
            info = await made.run("cache", "info", "--format", "json")
            kept.append((done.code, json.loads(info.out)["manifests"] > 0))
        refused = await made.run("plan", "--cache-limit", "lots")
    assert [(0, True), (0, False)] == kept
    assert (1, '--cache-limit "lots": write bytes, or such as 512MiB or 2GiB') == (
        refused.code,
        refused.err.strip().removeprefix("mmgraph: "),
    )
