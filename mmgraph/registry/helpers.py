"""Credential helpers: the ``docker-credential-*`` programs that keep logins outside of login files.

Owns what they are asked and what is believed of their answers (docker/docker-credential-helpers). Must not know
login files or HTTP. Nothing that a helper writes reaches a message: it may hold secrets.
"""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmgraph.errors import SpecError
from mmgraph.flights import Flights
from mmgraph.names import Registry, quote
from mmgraph.registry import programs
from mmgraph.registry.programs import OUTPUT_LIMIT
from mmgraph.registry.secrets import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgraph.clock import Clock

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
        path = programs.find(program, self._environ)
        if path is None:
            raise HelperError(f"{about}: there is no {program} on the PATH; {_way_out(registry)}")
        try:
            ended = await programs.run(
                (path, "get"),
                self._environ,
                self._clock,
                seconds=TIMEOUT,
                heard=programs.STDOUT,
                stdin=server.encode(),
            )
        except programs.StartError as error:
            raise HelperError(f"{about}: {program} does not start: {error}") from None
        if ended.too_long:
            raise HelperError(f"{about} wrote more than {OUTPUT_LIMIT} bytes")
        if not ended.in_time:
            raise HelperError(f"{about} did not answer within {TIMEOUT:.0f} seconds")
        if ended.status != 0:
            # On failure the helper's words are on its standard output; this is the one phrase with a meaning
            # (docker-credential-helpers, credentials/error.go).
            if ended.output.strip().endswith(_NOT_FOUND):
                return None
            raise HelperError(
                f"{about} failed with exit code {ended.status}; what it says is not shown, since it may hold"
                f" secrets: echo {shlex.quote(server)} | {program} get; {_way_out(registry)}"
            )
        return _parse(ended.output, registry, about)


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


def _way_out(registry: Registry) -> str:
    return f"--anonymous {registry} does without a login"
