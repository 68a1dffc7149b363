"""Programs as processes: where they are found, what of them is heard, and how their end is told."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from mmgraph.clock import SystemClock
from mmgraph.registry.programs import OUTPUT_LIMIT, STDERR, STDOUT, Ended, StartError, find, run

ENVIRON = {"PATH": "/usr/bin:/bin", "LEFT": "alone"}


async def sh(script: str, heard: int, stdin: bytes | None = None) -> Ended:
    """Run a script of sh."""
    return await run(("/bin/sh", "-c", script), ENVIRON, SystemClock(), seconds=60, heard=heard, stdin=stdin)


@pytest.mark.parametrize(
    ("script", "heard", "expected"),
    [
        ("echo out; echo err >&2", STDOUT, Ended(0, b"out\n", True, False)),
        ("echo out; echo err >&2; exit 3", STDERR, Ended(3, b"err\n", True, False)),
        ("cat; echo $LEFT", STDOUT, Ended(0, b"inalone\n", True, False)),
        ("kill -9 $$", STDERR, Ended(-9, b"", True, False)),
    ],
)
async def test_what_is_heard(script: str, heard: int, expected: Ended) -> None:
    """One of the two streams, whole, and the exit code."""
    assert expected == await sh(script, heard, b"in")


async def test_no_input() -> None:
    """Where nothing is to be told the standard input is empty."""
    assert Ended(0, b"", True, False) == await sh("cat", STDOUT)


async def test_too_much_of_a_result() -> None:
    """A program that goes on writing a result is killed."""
    ended = await sh("exec yes", STDOUT)
    assert (True, OUTPUT_LIMIT) == (ended.too_long, len(ended.output))


async def test_too_much_of_complaints() -> None:
    """Of what is long the end is kept, and the program goes on to its own end."""
    ended = await sh("yes | head -c 200000 >&2; echo the end >&2; exit 5", STDERR)
    assert (5, True, True, OUTPUT_LIMIT) == (
        ended.status,
        ended.too_long,
        ended.output.endswith(b"\nthe end\n"),
        len(ended.output),
    )


async def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """A program that has succeeded is over, though a child holds its standard error; the child lives on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ended = await sh(f"cat {fifo} >{tmp_path}/said & exit 0", STDERR)
    await asyncio.to_thread(fifo.write_text, "alive")
    assert Ended(0, b"", True, False) == ended


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("/nonexistent",), "No such file or directory"),
        (("/",), "Permission denied"),
        (("/bin/a\0b",), "run"),
    ],
)
async def test_what_does_not_start(arguments: tuple[str, ...], reason: str) -> None:
    """The system's reason is told."""
    with pytest.raises(StartError, match=reason):
        await run(arguments, ENVIRON, SystemClock(), seconds=60, heard=STDERR)


def test_where_a_program_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked for in absolute directories alone; a path is a path."""
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    expected = [str(tmp_path / "tool"), None, None, "./tool", sys.executable]
    assert expected == [
        find("tool", {"PATH": f".:{tmp_path}"}),
        find("tool", {"PATH": ".::"}),
        find("tool", {}),
        find("./tool", {}),
        find(sys.executable, {}),
    ]


def children() -> list[str]:
    """Return the processes that we have started and whose end nobody has seen yet."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_again_and_again(turns: int) -> None:
    """However often whoever waits is cancelled, the exit code of what was killed has been fetched at the end."""
    before = children()
    task = asyncio.create_task(sh("exec sleep 1000", STDOUT))
    for _ in range(turns):
        await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert before == children()
