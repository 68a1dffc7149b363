"""mmgraph serve as a process: its first line, what it keeps, how it ends."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from mmgraph.cli.serve import serve
from tests.support.command import Command, end
from tests.support.oracle import walk


async def address(process: asyncio.subprocess.Process) -> str:
    """What the first line of a server's output says."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("listening on 127.0.0.1:"), line
    return line.removeprefix("listening on ").strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_well(number: signal.Signals, tmp_path: Path) -> None:
    """Exit 0, since there is no other way to end it, and nothing on standard error."""
    process = await Command(tmp_path).start("serve")
    await address(process)
    process.send_signal(number)
    assert (0, "", "") == await end(process)


async def test_a_directory_outlives_the_server(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """What was pushed to one server is read from the next one over the same directory."""
    command = Command(tmp_path)
    first = await command.start("serve", "images")
    await asyncio.to_thread(tiny_fleet.push, await address(first))
    first.terminate()
    await end(first)
    second = await command.start("serve", "images", "--listen", "127.0.0.1:0")
    found = await walk(await address(second), list(tiny_fleet.tags))
    second.terminate()
    await end(second)
    assert tiny_fleet.closures() == found


async def test_a_port_that_is_taken_is_told_of(tmp_path: Path) -> None:
    """Exit 1 and one line."""
    command = Command(tmp_path)
    first = await command.start("serve")
    done = await command.run("serve", "--listen", await address(first))
    first.terminate()
    await end(first)
    assert (1, "", True, 1) == (done.code, done.out, "in use" in done.err, len(done.err.splitlines())), (
        done.err
    )


async def test_a_directory_has_one_server(tmp_path: Path) -> None:
    """A second server exits 1 with one line; one killed without warning locks nobody out and leaves nothing."""
    command = Command(tmp_path)
    first = await command.start("serve", "images")
    await address(first)
    (tmp_path / "images" / ".uploads" / "left").write_bytes(b"x")
    done = await command.run("serve", "images")
    first.kill()
    await end(first)
    second = await command.start("serve", "images")
    await address(second)
    left = [path.name for path in (tmp_path / "images" / ".uploads").iterdir()]
    second.terminate()
    await end(second)
    assert (1, "", "mmgraph: images is served by another mmgraph\n") == (done.code, done.out, done.err)
    assert ["lock"] == left


async def test_a_file_is_not_served(tmp_path: Path) -> None:
    """Exit 1, and what is wrong in words."""
    (tmp_path / "mine.json").write_text("{}")
    done = await Command(tmp_path).run("serve", "mine.json")
    assert (1, "", "mmgraph: mine.json is not a directory\n") == (done.code, done.out, done.err)


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("127.0.0.1:5000", False),
        ("[::1]:5000", False),
        ("127.8.8.8:5000", False),
        ("0.0.0.0:5000", True),
        ("[::]:5000", True),
        ("[fe80::1%eth0]:5000", True),
        ("192.0.2.1:5000", True),
    ],
)
def test_an_open_door_is_warned_of(
    address: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever listens on more than loopback is told that anyone may push."""

    async def tell(_: object, __: str, ___: int, ready: Callable[[str], None], ____: object) -> None:
        ready(address)

    monkeypatch.setattr("mmgraph.server.serve", tell)  # no test opens a door to the network
    assert 0 == serve()
    shown = capsys.readouterr()
    expected = f"mmgraph: warning: whoever reaches {address} may push to it: it asks nobody who they are\n"
    assert (f"listening on {address}\n", expected if warned else "") == (shown.out, shown.err)
