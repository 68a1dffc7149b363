"""The command line as a process of its own, in a directory of its own, with nothing of the user's around it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
NOTHING: Mapping[str, str] = MappingProxyType({})


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


class Command:
    """Runs mmgraph in ``directory``; what it caches and reads of a home is in there too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory / "home"),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "XDG_RUNTIME_DIR": str(directory / "home"),
        }

    async def start(
        self,
        *arguments: str,
        stdin: int = asyncio.subprocess.DEVNULL,
        stdout: int = asyncio.subprocess.PIPE,
        variables: Mapping[str, str] = NOTHING,
    ) -> asyncio.subprocess.Process:
        """Start a command and return its process."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "mmgraph", *arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.directory,
            env={**self.environment, **variables},
        )

    async def run(
        self, *arguments: str, stdin: str | None = None, variables: Mapping[str, str] = NOTHING
    ) -> Done:
        """Run a command to its end; ``stdin`` None is /dev/null, else it comes out of a pipe."""
        source = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        process = await self.start(*arguments, stdin=source, variables=variables)
        return await end(process, stdin)

    def write(self, name: str, text: str) -> Path:
        """Write a file into the directory."""
        path = self.directory / name
        path.write_text(text)
        return path


async def end(process: asyncio.subprocess.Process, stdin: str | None = None) -> Done:
    """Wait for a process; it is killed where the test gives up."""
    try:
        out, err = await process.communicate(None if stdin is None else stdin.encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())
