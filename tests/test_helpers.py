"""Credential helpers as processes: what they are asked, what is believed, and that none is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from mmgraph.names import Registry
from mmgraph.registry.helpers import TIMEOUT, HelperError, Helpers
from mmgraph.registry.programs import OUTPUT_LIMIT
from mmgraph.registry.secrets import Credential, Secret
from tests.support.clock import ManualClock

HOST = Registry("registry.example.com")
CANARY = "correct-horse-battery"


class Place:
    """A directory with helpers in it, which is the whole PATH."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.directory = directory
        self.environ = {"PATH": f"{directory}:/usr/bin:/bin", "LEFT_ALONE": "yes"}
        self.helpers = Helpers(self.environ, clock)

    def write(self, script: str, name: str = "test", head: str = "#!/bin/sh") -> None:
        """Write an executable."""
        path = self.directory / f"docker-credential-{name}"
        path.write_text(f"{head}\n{script}\n")
        path.chmod(0o755)

    async def get(self, name: str = "test", server: str = HOST) -> Credential | None:
        """Ask for the host."""
        return await self.helpers.get(name, HOST, server)

    async def pid(self) -> int:
        """Return the number that a helper wrote into the file ``pid``, once it is there."""
        path = self.directory / "pid"
        while not (path.exists() and path.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
        return int(path.read_text())


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def gone(pid: int) -> bool:
    """Whether a process ends; what has been killed needs a moment for it."""
    for _ in range(500):
        if not alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


def children() -> list[int]:
    """Return the processes that we have started and that still run."""
    pids = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return [pid for pid in pids if alive(pid)]


def descriptors() -> int:
    """Return how many files and pipes are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def place(tmp_path: Path, clock: ManualClock) -> Place:
    """Hand out an empty PATH."""
    return Place(tmp_path, clock)


async def test_what_a_helper_sees(place: Place) -> None:
    """It is run with "get", the server alone on its standard input, and the environment as it is."""
    place.write(
        f'echo "$# $1 $LEFT_ALONE $(cat)" >{place.directory}/seen; echo \'{{"Username":"me","Secret":"s"}}\''
    )
    found = await place.get()
    expected = (Credential("me", Secret("s")), f"1 get yes {HOST}\n")
    assert expected == (found, (place.directory / "seen").read_text())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"Username":"me","Secret":"s"}', Credential("me", Secret("s"))),
        (
            '{"ServerURL":"https://registry.example.com/v2/","Username":"me","Secret":"s"}',
            Credential("me", Secret("s")),
        ),
        ('{"Username":"<token>","Secret":"i"}', Credential(identity_token=Secret("i"))),
        ('{"Secret":"s"}', Credential("", Secret("s"))),
        ('{"Username":"","Secret":""}', None),
        ("{}", None),
    ],
)
async def test_answers(place: Place, answer: str, expected: Credential | None) -> None:
    """A login is user and secret, with the user "<token>" an identity token, and empty it is none."""
    place.write(f"cat >/dev/null; echo '{answer}'")
    assert expected == await place.get()


async def test_not_found_is_nobody(place: Place) -> None:
    """The known phrase, on a failure, means that there is no login."""
    place.write("cat >/dev/null; echo credentials not found in native keychain; exit 1")
    assert None is await place.get()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"echo {CANARY}; echo {CANARY} >&2; exit 1", "failed with exit code 1"),
        ("kill -9 $$", "failed with exit code -9"),
        (f"echo {CANARY}", "answered with something else than a login"),
        (f"echo '[\"{CANARY}\"]'", "answered with something else than a login"),
        (f'echo \'{{"Secret":["{CANARY}"]}}\'', "answered with something else than a login"),
        ("printf '\\377'", "answered with something else than a login"),
        (
            f'echo \'{{"ServerURL":"evil.example.net","Username":"me","Secret":"{CANARY}"}}\'',
            "answered with the login for another host",
        ),
        ("yes", f"wrote more than {OUTPUT_LIMIT} bytes"),
        ("exec cat /dev/zero", f"wrote more than {OUTPUT_LIMIT} bytes"),
    ],
)
async def test_failures(place: Place, script: str, expected: str) -> None:
    """What goes wrong is said with the helper's and the registry's name, and nothing of what it wrote."""
    place.write(script)
    with pytest.raises(HelperError) as caught:
        await place.get()
    message = str(caught.value)
    assert (True, False) == (
        message.startswith('the credential helper "test" for registry.example.com') and expected in message,
        CANARY in message,
    )


async def test_a_helper_that_is_not_there(place: Place) -> None:
    """A helper that is not on the PATH is named, and the way to do without it."""
    with pytest.raises(HelperError, match="no docker-credential-test on the PATH; --anonymous registry"):
        await place.get()


async def test_a_helper_that_does_not_start(place: Place) -> None:
    """A file that cannot be run is an error like the others."""
    place.write("", head="#!/nonexistent/interpreter")
    with pytest.raises(HelperError, match="does not start: No such file"):
        await place.get()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x;y", "$(x)", "a\n", "é"])
async def test_names(place: Place, name: str) -> None:
    """A name that could be more than a name is refused."""
    with pytest.raises(HelperError, match="letters, digits"):
        await place.get(name)


async def test_the_directory_we_are_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies where we happen to be is not run, whatever the PATH says."""
    place.write("echo {}")
    monkeypatch.chdir(place.directory)
    place.environ["PATH"] = ":.:"
    with pytest.raises(HelperError, match="on the PATH"):
        await place.get()


async def test_once(place: Place) -> None:
    """However many ask and how often, a helper runs once for a server."""
    place.write(
        f'cat >/dev/null; echo run >>{place.directory}/runs; echo \'{{"Username":"me","Secret":"s"}}\''
    )
    await asyncio.gather(*(place.get() for _ in range(20)))
    await place.get()
    expected = ["run"]
    assert expected == (place.directory / "runs").read_text().splitlines()


async def test_a_failure_once(place: Place) -> None:
    """A helper that fails is not run again for each image."""
    place.write(f"echo run >>{place.directory}/runs; exit 1")
    for _ in range(3):
        with pytest.raises(HelperError, match="exit code 1"):
            await place.get()
    expected = ["run"]
    assert expected == (place.directory / "runs").read_text().splitlines()


async def test_time(place: Place, clock: ManualClock) -> None:
    """A helper that does not answer is killed when its time is over, with its children."""
    place.write(f"sleep 1000 & echo $! >{place.directory}/pid; wait")
    task = asyncio.create_task(place.get())
    child = await place.pid()
    await clock.advance(TIMEOUT)
    with pytest.raises(HelperError, match="did not answer within 60 seconds"):
        await task
    assert await gone(child)


async def test_a_child_that_holds_the_pipe(place: Place, clock: ManualClock) -> None:
    """A helper that ends and leaves a child with its output open is given its time, and both are gone then."""
    place.write(f"sleep 1000 & echo $! >{place.directory}/pid; exit 0")
    task = asyncio.create_task(place.get())
    child = await place.pid()
    await clock.advance(TIMEOUT)
    with pytest.raises(HelperError, match="did not answer"):
        await task
    assert await gone(child)


async def test_a_cancelled_helper(place: Place) -> None:
    """When nobody waits for a helper any more it is killed."""
    place.write(f"echo $$ >{place.directory}/pid; exec sleep 1000")
    task = asyncio.create_task(place.get())
    pid = await place.pid()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await place.helpers.close()
    assert await gone(pid)


async def test_close(place: Place) -> None:
    """Closing kills what still runs."""
    place.write(f"echo $$ >{place.directory}/pid; exec sleep 1000")
    task = asyncio.create_task(place.get())
    pid = await place.pid()
    await place.helpers.close()
    await asyncio.gather(task, return_exceptions=True)
    assert await gone(pid)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_moment(place: Place, turns: int) -> None:
    """Wherever a start is cancelled, no process and no descriptor is left."""
    place.write("exec sleep 1000")
    before = descriptors()
    task = asyncio.create_task(place.get())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await place.helpers.close()
    await asyncio.sleep(0.01)
    assert (before, []) == (descriptors(), children())


async def test_one_that_does_not_read(place: Place) -> None:
    """A helper that never reads its input works all the same."""
    place.write(
        'import os; os.close(0); print(\'{"Username":"me","Secret":"s"}\')', head=f"#!{sys.executable} -IS"
    )
    expected = Credential("me", Secret("s"))
    assert expected == await place.get()
