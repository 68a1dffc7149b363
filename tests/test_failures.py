"""What a failed exchange means: whose fault it is where this machine has no socket to give."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from mmgraph.registry.failures import ExhaustedError, failed
from mmgraph.server import MemoryStorage, RegistryServer
from tests.support.command import Command, end
from tests.support.images import Maker
from tests.support.mirror import spec

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = 60


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.EMFILE, "raise the limit (ulimit -n)"), (errno.ENFILE, "fs.file-max")]
)
def test_our_own_machine_is_to_blame(number: int, hint: str) -> None:
    """Without a socket the error names no registry, is the same for all specs, and says what helps."""
    key = ConnectionKey("reg.example", 443, True, True, None, None, None)
    error = failed(
        "GET",
        "https://reg.example/v2/",
        aiohttp.ClientConnectorError(key, OSError(number, os.strerror(number))),
    )
    assert (True, True, False) == (
        isinstance(error, ExhaustedError) and error.common,
        str(error).startswith("this machine, not the registry, is in the way: ") and hint in str(error),
        "reg.example" in str(error),
    )


async def limited(command: Command, limit: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start Python under a limit of open files, as ``ulimit`` is told it."""
    return await asyncio.create_subprocess_exec(
        *("sh", "-c", f'ulimit {limit}; exec "$@"', "sh", sys.executable, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=command.directory,
        env=command.environment,
    )


async def test_few_files_are_no_reason_to_give_up(tmp_path: Path) -> None:
    """Where there are fewer sockets than requests, less is asked for at once, and no registry is held to be gone."""
    async with (
        RegistryServer(MemoryStorage()) as source,
        RegistryServer(MemoryStorage()) as destination,
    ):
        make, command = Maker(source.storage), Command(tmp_path)
        for number in range(IMAGES):
            make.image(f"a{number}", b"layer %d" % number, tags=("1",))
        names = [f"a{number}:1" for number in range(IMAGES)]
        lines = [spec(f"{source.address}/{name}", f"{destination.address}/{name}") for name in names]
        command.write("specs.json", "".join(lines))
        done = await end(await limited(command, "-n 24", "-m", "mmgraph", "apply"))
        found = sum("1" in destination.storage.tags(f"a{number}") for number in range(IMAGES))
    assert (0, IMAGES) == (done.code, found), done


async def test_the_soft_limit_is_raised(tmp_path: Path) -> None:
    """As far as the hard one, which stays: what is left at 1024 is there for programs that use select(2)."""
    program = (
        "import resource; from mmgraph.cli import main; main(['--version']);"
        " print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = await end(await limited(Command(tmp_path), "-Sn 64; ulimit -Hn 300", "-c", program))
    assert (0, "(300, 300)") == (done.code, done.out.splitlines()[-1])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 5999)"),
            "nothing listens there: check host and port",
        ),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 5999, 0, 0),"
                " [Errno 111] Connect call failed ('127.0.0.1', 5999)"
            ),
            "nothing listens there: check host and port",
        ),
        (OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 5999)"), "No route to host"),
    ],
)
def test_no_connection_is_told_in_words(error: OSError, told: str) -> None:
    """Without asyncio's own, which are a tuple."""
    key = ConnectionKey("host.example", 5999, False, True, None, None, None)
    failure = failed("GET", "http://host.example:5999/v2/", aiohttp.ClientConnectorError(key, error))
    assert f"GET http://host.example:5999/v2/: {told}" == str(failure)
