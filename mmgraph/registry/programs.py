"""Programs of the user's that are run on the way: found, fed, heard within limits, and never left behind.

Owns their processes. Must not know what they are for, and shows nothing of what they write.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from mmgraph.clock import within
from mmgraph.errors import MmgraphError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any

    from mmgraph.clock import Clock

OUTPUT_LIMIT: Final = 64 << 10
"""Bytes of what a program writes that are kept; what is of use is far shorter."""
STDOUT: Final = 1
STDERR: Final = 2


class StartError(MmgraphError):
    """A program could not be started; its text is the reason."""


class Ended(NamedTuple):
    """How a program came to its end."""

    status: int | None
    """The exit code; that of a signal is negative."""
    output: bytes
    in_time: bool
    too_long: bool
    """Whether it wrote more than ``OUTPUT_LIMIT``."""


def find(program: str, environ: Mapping[str, str]) -> str | None:
    """Return where ``program`` lies, None where it is not; a name is looked for on the PATH of ``environ``.

    Directories of the PATH that depend on where we are do not count: what lies there may be anybody's.
    """
    parts = environ.get("PATH", "").split(os.pathsep)
    path = os.pathsep.join(part for part in parts if os.path.isabs(part))  # noqa: PTH117
    return shutil.which(program, path=path)


async def run(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    clock: Clock,
    *,
    seconds: float,
    heard: int,
    stdin: bytes | None = None,
) -> Ended:
    """Run a program without a shell and return how it ended; of what it writes, ``heard`` is listened to.

    Of ``STDOUT`` the beginning counts, and a program that writes more than is kept is killed; of ``STDERR`` the
    end counts. After ``seconds``, and on cancellation, it is killed with its children. Raises ``StartError``.
    """
    process = _Process(heard)
    try:
        try:
            await _uncancelled(process.start(arguments, environ, stdin))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise StartError(reason or "it cannot be run") from None
        try:
            await within(clock, seconds, process.ended.wait())
        except TimeoutError:
            in_time = process.ended.is_set()
        else:
            in_time = True
    finally:
        await process.end()
    return Ended(process.status, bytes(process.output), in_time, process.too_long)


async def _uncancelled(work: Coroutine[Any, Any, object]) -> None:
    """Do brief work to its end, however often we are cancelled meanwhile, and pass a cancellation on after it.

    A process whose start or exit code nobody waits for would be left behind, running or as a zombie.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:
            break
    if cancelled is not None:
        task.exception()
        raise cancelled
    task.result()


class _Process(asyncio.SubprocessProtocol):
    """One program as it runs; ``ended`` is set once there is no more of it to be read."""

    def __init__(self, heard: int) -> None:
        self.output = bytearray()
        self.too_long = False
        self.ended = asyncio.Event()
        self._heard = heard
        self._transport: asyncio.SubprocessTransport | None = None
        self._silent = False
        self._exited = asyncio.Event()

    @property
    def status(self) -> int | None:
        """The exit code."""
        return self._transport.get_returncode() if self._transport else None

    async def start(self, arguments: Sequence[str], environ: Mapping[str, str], stdin: bytes | None) -> None:
        """Run ``arguments`` without a shell, and write ``stdin``, where there is any, to its standard input."""
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            *arguments,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE if self._heard == STDOUT else subprocess.DEVNULL,
            stderr=subprocess.PIPE if self._heard == STDERR else subprocess.DEVNULL,
            env=dict(environ),
            # A session of its own: its children can be killed with it, and Ctrl-C, which lets a run drain,
            # does not reach it.
            start_new_session=True,
        )
        if stdin is not None:
            pipe = transport.get_pipe_transport(0)
            assert isinstance(pipe, asyncio.WriteTransport)
            pipe.write(stdin)
            pipe.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep what comes, within the limit."""
        self.output += data
        if len(self.output) <= OUTPUT_LIMIT:
            return
        self.too_long = True
        if self._heard == STDERR:
            del self.output[:-OUTPUT_LIMIT]
        else:
            del self.output[OUTPUT_LIMIT:]
            self.ended.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Take note of the end of its output."""
        if fd == self._heard:
            self._silent = True
            self._look()

    def process_exited(self) -> None:
        """Take note of its end."""
        self._exited.set()
        self._look()

    @property
    def _over(self) -> bool:
        """Whether nothing of it matters any more.

        Of complaints nothing does once it has succeeded: what it has left running, such as an agent, may hold the
        pipe open for ever.
        """
        succeeded = self._heard == STDERR and self.status == 0
        return self._exited.is_set() and (self._silent or succeeded)

    def _look(self) -> None:
        if self._over:
            self.ended.set()

    async def end(self) -> None:
        """Kill what still runs of it, its children too, and wait until the system has let go of it."""
        if self._transport is None:
            return
        try:
            if not self._over:
                with suppress(ProcessLookupError):
                    os.killpg(self._transport.get_pid(), signal.SIGKILL)
            # Before close(), which would compete with the event loop for the exit code.
            await _uncancelled(self._exited.wait())
        except PermissionError:
            pass  # it runs as somebody else by now; its pipes are closed at least
        finally:
            self._transport.close()
