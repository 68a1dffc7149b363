"""Compiles and executes copy specs in this process, and hands back all there is to see. Judges nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmgraph.cache import MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.compile import Compiler
from mmgraph.execute import BUDGET, Execution
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.server import FaultPlan, MemoryStorage, Quirks, RegistryServer
from mmgraph.specs import read_specs
from tests.support import oracle
from tests.support.clock import ManualClock
from tests.support.images import Maker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

    from mmgraph.account import Account
    from mmgraph.clock import Clock
    from mmgraph.events import Event
    from mmgraph.names import Registry
    from mmgraph.plan import Plan
    from mmgraph.server import Auth, Storage
    from mmgraph.store import ManifestCache, Operation

NO_LOGINS = Credentials({}, None, Path("/nonexistent"))
_PATIENCE = 60
"""Seconds after which a run that jumps over every wait can only be one that waits for ever."""
Requests = dict[str, dict[str, int]]
"""How many requests of each operation, by registry."""


class Mirrored(NamedTuple):
    """One run: what was planned, what came of it, and the requests that the client counted in each half."""

    plan: Plan
    account: Account
    events: list[Event]
    planning: Requests
    applying: Requests
    retries: int

    @property
    def ends(self) -> dict[str, str]:
        """The outcome of each spec by the path and name of its destination."""
        return {str(end.goal.spec.destination).partition("/")[2]: end.outcome for end in self.account.ends}

    @property
    def causes(self) -> str:
        """Why specs failed, one a line."""
        return "\n".join(end.cause for end in self.account.ends if end.cause)


def spec(source: str, destination: str, *platforms: str) -> str:
    """Return one copy spec as a line of JSON."""
    line: dict[str, Any] = {"src": source, "dst": destination}
    if platforms:
        line["transform"] = {"limitPlatforms": platforms}
    return json.dumps(line) + "\n"


async def mirror(
    specs: str,
    *,
    exact: bool = False,
    cache: ManifestCache | None = None,
    clock: Clock | None = None,
    committed_only: Collection[Registry] = (),
    credentials: Credentials = NO_LOGINS,
    between: Callable[[Plan], Awaitable[None]] | None = None,
    started: Callable[[Execution, Client], None] | None = None,
    report: Callable[[Event], None] | None = None,
    jobs: int = 16,
    budget: int = BUDGET,
) -> Mirrored:
    """Plan ``specs`` and carry the plan out; ``between`` is awaited after the one and before the other.

    ``started`` is handed the execution and its client before it runs.
    """
    parsed = read_specs([("specs", specs.encode())])
    clock = clock or SystemClock()
    events: list[Event] = []

    def note(event: Event) -> None:
        events.append(event)
        if report is not None:
            report(event)

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(credentials=credentials, clock=clock, jobs=jobs))
        compiler = Compiler(
            parsed,
            client,
            client,
            cache if cache is not None else MemoryCache(),
            clock,
            note,
            exact=exact,
            committed_only=committed_only,
        )
        stack.push_async_callback(compiler.close)
        # A saved plan is carried out as it was made, specs are while they are still being read.
        plan = await compiler.begin() if between is None else await compiler.plan()
        growing = compiler.growing
        planning = _counted(client.counts())
        if between is not None:
            await between(plan)
        execution = Execution(
            plan,
            client,
            clock,
            note,
            compiler.evidence.looks,
            growth=compiler.growth() if growing else None,
            budget=budget,
        )
        if started is not None:
            started(execution, client)
        account = await execution.run()
        if growing:
            plan = compiler.finish()
        applying = _less(_counted(client.counts()), planning)
        return Mirrored(plan, account, events, planning, applying, client.retries.total())


def _counted(counts: Mapping[Registry, Mapping[Operation, int]]) -> Requests:
    return {str(registry): {str(kind): n for kind, n in kinds.items()} for registry, kinds in counts.items()}


def _less(all_of_them: Requests, some: Requests) -> Requests:
    left = {
        registry: {
            kind: n - some.get(registry, {}).get(kind, 0)
            for kind, n in kinds.items()
            if n > some.get(registry, {}).get(kind, 0)
        }
        for registry, kinds in all_of_them.items()
    }
    return {registry: kinds for registry, kinds in left.items() if kinds}


def bill_requests(plan: Plan) -> Requests:
    """Return the requests of a plan's bill, by registry."""
    return _counted(plan.bill.requests)


class Pair(NamedTuple):
    """Two registries in this process, with fault plans to add to, and a clock that jumps over every wait."""

    source: RegistryServer
    destination: RegistryServer
    make: Maker
    """What puts images into the source."""
    clock: ManualClock

    def spec(self, source: str, destination: str = "", *platforms: str) -> str:
        """Return a spec from ``source`` to ``destination``, both without their hosts, or to the same name."""
        return spec(
            f"{self.source.address}/{source}",
            f"{self.destination.address}/{destination or source}",
            *platforms,
        )

    async def mirror(self, *specs: str, **options: Any) -> Mirrored:
        """Mirror as ``mirror`` does, on the pair's clock; one that hangs is a ``TimeoutError``."""
        async with asyncio.timeout(_PATIENCE):
            with self.clock.autojump():
                return await mirror("".join(specs), clock=self.clock, **options)

    def tags(self, repository: str) -> dict[str, str]:
        """Return what the destination's tags name."""
        return {tag: str(named) for tag, named in self.destination.storage.tags(repository).items()}

    async def closures(self, *repositories: str) -> list[dict[str, dict[str, oracle.Closure]]]:
        """Return what the oracle reads at the source and at the destination."""
        return [
            await oracle.walk(server.address, list(repositories))
            for server in (self.source, self.destination)
        ]


@asynccontextmanager
async def pair(
    *,
    quirks: Quirks | None = None,
    source_quirks: Quirks | None = None,
    storage: Storage | None = None,
    source_auth: Auth | None = None,
    destination_auth: Auth | None = None,
) -> AsyncIterator[Pair]:
    """Start a source and a destination over memory; ``quirks`` and ``storage`` are the destination's."""
    held = MemoryStorage()
    source = RegistryServer(held, faults=FaultPlan(quirks=source_quirks), auth=source_auth)
    destination = RegistryServer(
        storage or MemoryStorage(), faults=FaultPlan(quirks=quirks), auth=destination_auth
    )
    async with source, destination:
        yield Pair(source, destination, Maker(held), ManualClock())
