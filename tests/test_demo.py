"""The demo: runs from nothing, says each command before its output, leaves no process, works again."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, Done, end


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the demo needs to a place of its own, with an mmgraph on its PATH."""
    place = tmp_path_factory.mktemp("demo")
    shutil.copy(ROOT / "demo.sh", place)
    shutil.copytree(ROOT / "benchmarks", place / "benchmarks")
    (place / "bin").mkdir()
    for name, arguments in (("mmgraph", "-m mmgraph"), ("python", "")):
        program = place / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        program.chmod(0o755)
    return place


@pytest.fixture(scope="module")
def runs(copy: Path) -> list[tuple[Done, bool]]:
    """Run the demo twice; each time its end, and whether it left a process."""
    return [asyncio.run(run(copy)) for _ in range(2)]


async def start(directory: Path) -> asyncio.subprocess.Process:
    """Start the demo in a process group of its own, as a terminal would."""
    return await asyncio.create_subprocess_exec(
        str(directory / "demo.sh"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory),
        },
        start_new_session=True,
    )


def left(group: int) -> bool:
    """Whether a process group still has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def run(directory: Path) -> tuple[Done, bool]:
    """Run the demo to its end; also whether it left a process behind."""
    process = await start(directory)
    return await end(process), left(process.pid)


@pytest.mark.parametrize("number", [0, 1])
def test_the_demo_runs_again_and_again(number: int, runs: list[tuple[Done, bool]]) -> None:
    """Each time from the start, ending in nothing to do, with no process left."""
    done, behind = runs[number]
    assert (0, "mmgraph: nothing to do", False) == (done.code, done.out.splitlines()[-1], behind), done.err


def test_the_demo_says_what_it_runs(runs: list[tuple[Done, bool]]) -> None:
    """Every command stands before its output, so that it can be repeated by hand."""
    lines = [line.split() for line in runs[0][0].out.splitlines()]
    commands = [words[2] for words in lines if words[:2] == ["$", "mmgraph"]]
    drawn = ["graph"] * (2 if shutil.which("dot") else 1)
    assert ["serve", "serve", "plan", *drawn, "apply", "apply"] == commands


async def test_an_interrupted_demo_leaves_no_process(copy: Path) -> None:
    """Ctrl-C reaches the script and its servers; all of them end."""
    process = await start(copy)
    assert process.stdout is not None
    while b"benchmarks.demo" not in await process.stdout.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    await end(process)
    assert (130, False) == (process.returncode, left(process.pid))
