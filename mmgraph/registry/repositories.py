"""Repositories that must be created before they are written to, as at ECR: by a program that the user names.

Owns when that program runs, once a repository, and what is said where it fails. Must not know how a registry is
asked; what runs comes from ``mmgraph.toml`` alone, never from a plan.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from mmgraph.errors import RegistryError, SpecError
from mmgraph.flights import Flights
from mmgraph.registry import programs, wire
from mmgraph.registry.refusals import RefusedError
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Registry, Repository

    Takes = Callable[[Repository], Awaitable[bool]]
    """Asks a registry whether an upload may begin in a repository."""

T = TypeVar("T")

KEY: Final = "create-repository"
"""What it is called in ``mmgraph.toml``."""
EXAMPLE: Final = '["aws", "ecr", "create-repository", "--repository-name", "{repository}"]'
TIMEOUT: Final = 300.0
"""Seconds; services of clouds answer in a few, and ask to wait when many ask."""
_AT_ONCE: Final = 4
"""Programs at a time: each may be an interpreter, and such services allow few requests a second."""
_LINES: Final = 3
_SHOWN: Final = 200
_LOOKED_AT: Final = 1000
_PROGRAM_SHOWN: Final = 80
_FIRST: Final = frozenset({Operation.POST_UPLOAD, Operation.PUT_MANIFEST})
"""What can be the first to be written to a repository."""
_FIELD: Final = re.compile(r"\{(registry|repository)\}")


class Command(msgspec.Struct, frozen=True):
    """A program with its arguments; ``{repository}`` in one stands for the path, ``{registry}`` for the host."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return the command that a list of words is; raises ``SpecError``."""
        words = value if isinstance(value, list) else []
        if (
            not all(isinstance(word, str) and "\0" not in word for word in words)
            or not any("{repository}" in word for word in words[1:])
            or not words[0].strip()
            or _FIELD.search(words[0])
        ):
            raise SpecError(
                f"write a list of words, the program first, and {{repository}} in one after it: {EXAMPLE}"
            )
        return cls(tuple(words))

    @property
    def program(self) -> str:
        """The program's name, fit to be shown."""
        return wire.escape(self.words[0], _PROGRAM_SHOWN)

    def arguments(self, repository: Repository) -> tuple[str, ...]:
        """Return what follows the program. Each word stays one word, whatever a name has in it."""
        values = {"registry": str(repository.registry), "repository": repository.path}
        return tuple(_FIELD.sub(lambda found: values[found[1]], word) for word in self.words[1:])


class Repositories:
    """The repositories of one run; ``commands`` create them, each by registry, in the environment ``environ``.

    ``warn`` hears of each that was created.
    """

    def __init__(
        self,
        commands: Mapping[Registry, Command],
        environ: Mapping[str, str],
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self._commands = commands
        self._environ = environ
        self._clock = clock
        self._warn = warn
        self._absent: set[Repository] = set()
        self._flights: Flights[Repository, None] = Flights()
        self._outcomes: dict[Repository, str] = {}
        """What came of each command that has run: nothing, or why it is no use to go on."""
        self._created: list[Repository] = []
        self._room = asyncio.Semaphore(_AT_ONCE)

    @property
    def created(self) -> tuple[Repository, ...]:
        """What has been created, in that order."""
        return tuple(self._created)

    def seen(self, repository: Repository, there: bool | None) -> None:
        """A registry said whether the repository is ``there``; None: it did not tell."""
        if there is False and repository.registry in self._commands:
            self._absent.add(repository)
        else:
            self._absent.discard(repository)

    def may_create(self, repository: Repository) -> bool:
        """Whether there is a command for it."""
        return repository.registry in self._commands

    async def write(self, repository: Repository, takes: Takes, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, which writes to the repository; create that first where it was seen to be absent.

        Where the registry says only now that there is no such repository, it is created and ``work`` done once more.
        No repository is created twice. A command that fails has not failed where the registry ``takes`` uploads
        there, since somebody else was faster. Raises what ``work`` raises, and for a repository that could not be
        created ``RegistryError``, the same for all that write there.
        """
        last = repository in self._absent or repository in self._outcomes
        if last:
            await self._create(self._commands[repository.registry], repository, takes)
        while True:
            try:
                return await work()
            except RegistryError as error:
                command = self._commands.get(repository.registry)
                if command is None or not _lacking(error):
                    raise
                if last:
                    self._outcomes[repository] = f"{error}; {command.program} has been run to create it"
            await self._create(command, repository, takes)
            last = True

    async def _create(self, command: Command, repository: Repository, takes: Takes) -> None:
        """See that the command has run once; raise what came of it."""
        if repository not in self._outcomes:
            await self._flights.join(repository, lambda: self._run(command, repository, takes))
        self._absent.discard(repository)
        if failure := self._outcomes[repository]:
            error = RegistryError(failure, status=404)
            error.common = True
            raise error

    async def close(self) -> None:
        """Kill the programs that still run."""
        await self._flights.close()

    async def _run(self, command: Command, repository: Repository, takes: Takes) -> None:
        async with self._room:
            failure = await self._failure(command, repository)
        if not failure:
            self._created.append(repository)
            self._warn(f"created repository {repository} with {command.program}")
        elif await takes(repository):
            self._warn(
                f"{repository}: {command.program} {failure}, and yet the repository is there: going on"
            )
            failure = ""
        else:
            failure = (
                f"{repository.registry} has no repository {repository.path}, and {command.program}, the {KEY} of"
                f" mmgraph.toml, {failure}"
            )
        self._outcomes[repository] = failure

    async def _failure(self, command: Command, repository: Repository) -> str:
        """Run the command; return what went wrong, as the end of a sentence."""
        program = programs.find(command.words[0], self._environ)
        if program is None:
            return "is not there" if "/" in command.words[0] else "is not on the PATH"
        arguments = (program, *command.arguments(repository))
        try:
            ended = await programs.run(
                arguments, self._environ, self._clock, seconds=TIMEOUT, heard=programs.STDERR
            )
        except programs.StartError as error:
            return f"does not start: {error}"
        if ended.status == 0 and ended.in_time:
            return ""
        how = f"failed with exit code {ended.status}" if ended.in_time else "did not end within 5 minutes"
        words = said(ended.output, self._environ)
        return f'{how}; it said "{words}"' if words else how


def _lacking(error: RegistryError) -> bool:
    """Whether a refused write says that there is no such repository, and not that something in it is missing."""
    if not isinstance(error, RefusedError) or error.operation not in _FIRST:
        return False
    if error.codes:
        return "NAME_UNKNOWN" in error.codes
    return error.absent


_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s\"'<>]+")
_NAMES: Final = r"[\w-]*(?:password|passwd|secret|token|credential|signature|authorization|api[_-]?key)[\w-]*"
_ASSIGNED: Final = re.compile(rf"({_NAMES}[\"']?\s*[:=]\s*[\"']?(?:bearer\s+|basic\s+)?)[^\s\"',;&]+", re.I)
_OPTION: Final = re.compile(rf"(--{_NAMES}\s+)\S+", re.I)
_SCHEME: Final = re.compile(r"\b((?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}", re.I)
_LOOKS: Final = re.compile(r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|eyJ[A-Za-z0-9_.-]{16,})")
"""Access keys of AWS, and JSON web tokens."""
_SECRET_VARIABLE: Final = re.compile(r"passw|secret|token|credential|key", re.I)
_PLACE_VARIABLE: Final = re.compile(r"(?:file|path|sock|ur[il]|dir)$", re.I)
_SECRET_LENGTH: Final = 8


def said(output: bytes, environ: Mapping[str, str]) -> str:
    """Return the last lines of what a program wrote, fit for a message, without what looks like a secret.

    So does the value of a variable of ``environ`` that is called like one: a program may show how it was called.
    """
    text = output.decode("utf-8", "replace")
    for name, value in environ.items():
        if (
            len(value) >= _SECRET_LENGTH
            and _SECRET_VARIABLE.search(name)
            and not _PLACE_VARIABLE.search(name)
        ):
            text = text.replace(value, "***")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    # Cut first: the patterns take a time that grows with the square of a word's length.
    shown = " / ".join([line for line in lines if line][-_LINES:])[:_LOOKED_AT]
    shown = _URL.sub(lambda found: wire.redact(found[0]), shown)
    for pattern in (_ASSIGNED, _OPTION, _SCHEME):
        shown = pattern.sub(r"\1***", shown)
    return wire.escape(_LOOKS.sub("***", shown), _SHOWN)
