"""Credential helpers: the ``docker-credential-*`` programs that keep logins outside of login files.

Owns their processes and what is believed of their answers (docker/docker-credential-helpers). Must not know
login files or HTTP. Nothing that a helper writes reaches a message: it may hold secrets.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
from asyncio import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmgraph.clock import within
from mmgraph.errors import SpecError
from mmgraph.flights import Flights
from mmgraph.names import Registry, quote
from mmgraph.registry.secrets import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgraph.clock import Clock

OUTPUT_LIMIT: Final = 64 << 10
"""Bytes that a helper may write; a login is far shorter, so what writes more is something else."""
TIMEOUT: Final = 60.0
"""Seconds; helpers of clouds ask a service of theirs, and start an interpreter for it."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_NOT_FOUND: Final = b"credentials not found in native keychain"
_IDENTITY: Final = "<token>"


class HelperError(SpecError):
    """A credential helper that did not do its work; names it and the registry."""


class Helpers:
    """Asks helpers found on the PATH of ``environ``, each once for a server in the life of this object."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._environ = environ
        self._clock = clock
        self._runs: Flights[tuple[str, str], Credential | HelperError | None] = Flights()
        self._answers: dict[tuple[str, str], Credential | HelperError | None] = {}

    async def get(self, name: str, registry: Registry, server: str) -> Credential | None:
        """Return what the helper ``name`` keeps for ``server``, a spelling of ``registry``; None for nothing.

        Raises ``HelperError`` for a helper that is not there, fails, hangs or answers with something else.
        """
        key = (name, server)
        if key not in self._answers:
            # A failure is kept too: a set of a thousand images is not to wait for it a thousand times.
            answer = await self._runs.join(key, lambda: self._settled(name, registry, server))
            self._answers[key] = answer
        found = self._answers[key]
        if isinstance(found, HelperError):
            raise HelperError(str(found))
        return found

    async def close(self) -> None:
        """Kill the helpers that still run."""
        await self._runs.close()

    async def _settled(self, name: str, registry: Registry, server: str) -> Credential | HelperError | None:
        try:
            return await self._ask(name, registry, server)
        except HelperError as error:
            return error

    async def _ask(self, name: str, registry: Registry, server: str) -> Credential | None:
        about = f"the credential helper {quote(name)} for {registry}"
        if not _NAME.fullmatch(name):
            raise HelperError(f"{about}: a helper's name has letters, digits, and . _ - alone")
        program = f"docker-credential-{name}"
        path = shutil.which(program, path=_absolute(self._environ.get("PATH", "")))
        if path is None:
            raise HelperError(f"{about}: there is no {program} on the PATH; {_way_out(registry)}")
        process = _Process()
        try:
            try:
                await process.start(path, self._environ, server)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it cannot be run"
                raise HelperError(f"{about}: {program} does not start: {reason}") from None
            in_time = True
            try:
                await within(self._clock, TIMEOUT, process.ended.wait())
            except TimeoutError:
                in_time = process.ended.is_set()
        finally:
            await process.end()
        if len(process.output) > OUTPUT_LIMIT:
            raise HelperError(f"{about} wrote more than {OUTPUT_LIMIT} bytes")
        if not in_time:
            raise HelperError(f"{about} did not answer within {TIMEOUT:.0f} seconds")
        output = bytes(process.output)
        if process.status != 0:
            # On failure the helper's words are on its standard output; this is the one phrase with a meaning
            # (docker-credential-helpers, credentials/error.go).
            if output.strip().endswith(_NOT_FOUND):
                return None
            raise HelperError(
                f"{about} failed with exit code {process.status}; what it says is not shown, since it may hold"
                f" secrets: echo {shlex.quote(server)} | {program} get; {_way_out(registry)}"
            )
        return _parse(output, registry, about)


def _parse(output: bytes, registry: Registry, about: str) -> Credential | None:
    try:
        document: Any = msgspec.json.decode(output)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise HelperError(f"{about} answered with something else than a login") from None
    texts = [document.get(name) or "" for name in ("Username", "Secret", "ServerURL")]
    if not all(isinstance(text, str) for text in texts):
        raise HelperError(f"{about} answered with something else than a login")
    username, secret, server = texts
    if server and _hostname(server) not in (_hostname(registry), ""):
        raise HelperError(f"{about} answered with the login for another host")
    if not secret:
        return None
    if username == _IDENTITY:
        return Credential(identity_token=Secret(secret))
    return Credential(username, Secret(secret))


def _hostname(server: str) -> str:
    """The host of a server URL as helpers spell them: with scheme and path or without."""
    name = server.partition("://")[2] or server
    name = name.partition("/")[0]
    with suppress(SpecError):
        name = Registry.parse(name)
    return re.sub(r":[0-9]+\Z", "", name).lower()


def _absolute(path: str) -> str:
    """The PATH without the directories that depend on where we are: what lies there may be anybody's."""
    return os.pathsep.join(part for part in path.split(os.pathsep) if os.path.isabs(part))  # noqa: PTH117


def _way_out(registry: Registry) -> str:
    return f"--anonymous {registry} does without a login"


class _Process(asyncio.SubprocessProtocol):
    """One helper as it runs; ``ended`` is set once there is no more of it to be read."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.ended = asyncio.Event()
        self._transport: asyncio.SubprocessTransport | None = None
        self._silent = False
        self._exited = asyncio.Event()

    @property
    def status(self) -> int | None:
        """The exit code."""
        return self._transport.get_returncode() if self._transport else None

    async def start(self, path: str, environ: Mapping[str, str], server: str) -> None:
        """Run ``path`` without a shell, and tell it ``server`` on its standard input."""
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            *(path, "get"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            # A session of its own: its children can be killed with it, and Ctrl-C, which lets a run drain,
            # does not reach it.
            start_new_session=True,
        )
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        stdin.write(server.encode())
        stdin.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, also where whoever started it is cancelled before it has returned."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep what comes, within the limit."""
        self.output += data[: OUTPUT_LIMIT + 1 - len(self.output)]
        if len(self.output) > OUTPUT_LIMIT:
            self.ended.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Take note of the end of its output."""
        if fd == 1:
            self._silent = True
            self._look()

    def process_exited(self) -> None:
        """Take note of its end."""
        self._exited.set()
        self._look()

    def _look(self) -> None:
        if self._silent and self._exited.is_set():
            self.ended.set()

    async def end(self) -> None:
        """Kill what still runs of it, its children too, and wait until the system has let go of it."""
        if self._transport is None:
            return
        try:
            if not (self._silent and self._exited.is_set()):
                with suppress(ProcessLookupError):
                    os.killpg(self._transport.get_pid(), signal.SIGKILL)
            # Before close(), which would compete with the event loop for the exit code.
            await self._exited.wait()
        except PermissionError:
            pass  # it runs as somebody else by now; its pipes are closed at least
        finally:
            self._transport.close()
