"""What a run needs, built from options: the client, the cache, who is told of progress."""

import asyncio
import importlib
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from mmgraph.account import CONFIRMED
from mmgraph.cache import DiskCache, MemoryCache, default_path
from mmgraph.cli.cache import limit_of
from mmgraph.cli.creation import commands
from mmgraph.cli.options import Colour, Network
from mmgraph.cli.output import say, wants_colour
from mmgraph.cli.routes import allowances, cautioned, chunks, routes
from mmgraph.clock import Clock, SystemClock
from mmgraph.collector import seldom
from mmgraph.compile import Compiler
from mmgraph.errors import RegistryError, SpecError
from mmgraph.events import Event, Finished, Notice, Reporter
from mmgraph.graph import prepare
from mmgraph.memory import Noting
from mmgraph.names import Registry, quote
from mmgraph.plan import Plan
from mmgraph.quirks import Quirk, Quirks
from mmgraph.recall import Recall
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.repositories import Command, Repositories
from mmgraph.registry.trace import Exchange, TraceFile
from mmgraph.report.lines import Lines
from mmgraph.report.terminal import animated
from mmgraph.report.words import number
from mmgraph.rules import NONE, Rules
from mmgraph.specs import CopySpec
from mmgraph.staleness import Looks
from mmgraph.store import Notes, Place, Seen

if TYPE_CHECKING:
    from mmgraph.report.progress import Progress


_MANY: Final = 1024
"""Files to have open: with fewer, connections may leave none for what is imported later."""


class View(Protocol):
    """Shows on standard error how things go."""

    def __call__(self, event: Event) -> None:
        """Take note of ``event``."""
        ...

    def begin(self, plan: Plan, more: int = 0) -> None:
        """``plan`` is carried out now; ``more`` specs are still being read, and enter it later."""
        ...


@dataclass(frozen=True)
class Session:
    """A run's tools, while its context is open."""

    network: Network
    client: Client
    cache: DiskCache | MemoryCache
    clock: Clock
    view: View
    credentials: Credentials
    creators: Mapping[Registry, Command]
    """What creates repositories."""

    @property
    def notes(self) -> list[str]:
        """What to say under a plan or a summary: what is left of quotas, which repositories are new."""
        quotas = [f"{registry}: {quota.words}" for registry, quota in sorted(self.client.quotas().items())]
        created = len(self.client.repositories.created)
        return quotas + ([f"{number(created, 'repository', 'repositories')} created."] if created else [])

    @property
    def programs(self) -> dict[Registry, str]:
        """The programs that create repositories."""
        return {registry: command.program for registry, command in self.creators.items()}

    def warn(self, message: str) -> None:
        """Tell what a person should know."""
        self.view(Notice(None, message))

    def chunk(self, registry: Registry, size: int) -> int:
        """Return the bytes of the chunks in which ``registry`` is sent a blob of ``size`` bytes; 0: it goes whole."""
        try:
            return self.client.chunk(registry, size)
        except RegistryError:
            return 0  # it takes no blob of that size, and the run says so

    def noting(self, specs: Iterable[CopySpec], place: Place | None = None) -> Noting:
        """Return what is asked about ``specs``, ``place`` or else the client, so that the answers are noted."""
        names = {(spec.destination.repository, spec.destination.name) for spec in specs}
        return Noting(place or self.client, self.cache, self.clock, names)

    async def compile(
        self,
        specs: Sequence[CopySpec],
        *,
        exact: bool,
        require_platforms: bool,
        repair: bool = False,
        recall: Recall | None = None,
        rules: Rules = NONE,
    ) -> tuple[Plan, Looks]:
        """Read what must be read; return the plan, and what the destinations were seen to name.

        ``recall``: what is asked there is what other sets were told. ``rules``: what breaks one fails.
        """
        compiler = self.compiler(
            specs,
            exact=exact,
            require_platforms=require_platforms,
            repair=repair,
            recall=recall,
            rules=rules,
        )
        return cautioned(self.network, await compiler.plan()), compiler.evidence.looks

    def compiler(
        self,
        specs: Sequence[CopySpec],
        *,
        exact: bool,
        require_platforms: bool,
        repair: bool = False,
        recall: Recall | None = None,
        rules: Rules = NONE,
    ) -> Compiler:
        """Return what makes a plan of ``specs`` as ``compile`` does, and has asked nothing yet."""
        registries = {spec.destination.repository.registry for spec in specs}
        quirks = self.client.quirks
        place = self.noting(specs, recall)
        return Compiler(
            specs,
            place,
            place,
            self.cache,
            self.clock,
            self.view,
            exact=exact,
            repair=repair,
            require_platforms=require_platforms,
            committed_only={each for each in registries if quirks.has(each, Quirk.MOUNTS_COMMITTED)},
            repository_first={
                each
                for each in registries
                if each in self.creators or quirks.has(each, Quirk.REPOSITORY_FIRST)
            },
            chunk=self.chunk,
            places=self.client.places,
            rules=rules,
        )


@asynccontextmanager
async def open_session(
    network: Network, colour: Colour, stream: Reporter | None = None
) -> AsyncIterator[Session]:
    """Open connections, the cache and the view of progress; all are closed at the end.

    ``stream`` hears all events too; then progress is shown in lines.
    """
    if network.authfile is not None and not network.authfile.exists():  # a pipe will do
        raise SpecError(f"--authfile {quote(str(network.authfile))}: there is no such file")
    creators = commands()
    limit = limit_of(network.cache_limit)
    clock = SystemClock()
    async with _open_view(clock, colour, network.verbose, stream) as view, AsyncExitStack() as stack:
        stack.enter_context(seldom())
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < _MANY:
            prepare(now=True)
            importlib.import_module("mmgraph.execute")

        def warn(message: str) -> None:
            view(Notice(None, message))

        trace = None
        if network.trace is not None:
            trace = TraceFile(network.trace, warn)
            stack.callback(trace.close)
        heard = None
        if trace is not None or network.verbose:
            heard = partial(_hear, trace, network.verbose)
        credentials = Credentials(
            os.environ, network.authfile, clock=clock, anonymous=network.strangers(), warn=warn
        )
        client = Client(
            credentials=credentials,
            clock=clock,
            jobs=network.jobs,
            max_wait=network.max_wait,
            plain_http=network.plain(),
            warn=warn,
            allowances=allowances(network),
            routes=routes(network, os.environ, warn),
            heard=heard,
            chunks=chunks(network),
            quirks=Quirks(
                {Quirk.MOUNTS_COMMITTED: network.committed_only()}, lambda learned: warn(str(learned))
            ),
            repositories=Repositories(creators, os.environ, clock, warn),
        )
        for registry in sorted(network.unchecked()):
            warn(f"the certificate of {registry} is not checked (--insecure)")
        cache = (
            MemoryCache()
            if network.no_cache
            else DiskCache(default_path(os.environ), warn, limit=limit, clock=clock)
        )
        try:
            async with client:
                seen = _Both(view, partial(_note, cache, clock))
                yield Session(network, client, cache, clock, seen, credentials, creators)
        finally:
            if isinstance(cache, DiskCache):
                cache.close()


@asynccontextmanager
async def _open_view(
    clock: Clock, colour: Colour, verbose: int, stream: Reporter | None
) -> AsyncIterator[View]:
    with _view(clock, colour, verbose, lines=stream is not None) as view:
        ticking = asyncio.create_task(view.run())
        try:
            yield view if stream is None else _Both(view, stream)
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking


def _note(notes: Notes, clock: Clock, event: Event) -> None:
    """Note what a destination has been confirmed to name, so that it is known offline."""
    if isinstance(event, Finished) and event.outcome in CONFIRMED:
        destination = event.destination
        notes.note(destination.repository, destination.name, Seen(event.digest, int(clock.wall())))


def _hear(trace: TraceFile | None, verbose: int, exchange: Exchange) -> None:
    if trace is not None:
        trace(exchange)
    if verbose > 1 or (verbose and exchange.failed):
        say(exchange.line())


class _Both:
    """A view, and something else that hears the same events."""

    def __init__(self, view: View, stream: Reporter) -> None:
        self._view = view
        self._stream = stream
        self.begin = view.begin

    def __call__(self, event: Event) -> None:
        self._view(event)
        self._stream(event)


def _view(clock: Clock, colour: Colour, verbose: int, *, lines: bool) -> "Progress | Lines":
    shown = wants_colour(sys.stderr, colour)
    if lines or verbose or not animated(os.environ, sys.stderr.isatty()):
        return Lines(sys.stderr, clock, colour=shown)
    from mmgraph.report.progress import Progress

    return Progress(sys.stderr, clock, colour=shown)
