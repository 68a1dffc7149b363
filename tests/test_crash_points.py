"""Every wire event of a small run, and at each of them the end of the run. The registry is the only truth afterwards.

A clean run's requests, as the servers log them, give the points: for each request the moment in which it has come and
nothing is done, the middle of its body where it or its answer has one, and the moment in which it has had its effect
and its answer is lost. At each point a run of its own ends, and what is at the destination is what a re-run finds.

A killed client is one of whom no registry hears any more: from the point on both servers drop all that comes, so that
nothing which cancelled tasks still do on their way out counts. What was under way breaks off in mid-body. A few points
are done to a real process, with real signals.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from mmgraph import staleness
from mmgraph.cache import MemoryCache
from mmgraph.compile import Compiler
from mmgraph.execute import Execution
from mmgraph.names import Registry
from mmgraph.registry.client import Client
from mmgraph.server import Cut, Drop, FaultPlan, MemoryStorage, Quirks, RegistryServer, RequestLog
from mmgraph.specs import read_specs
from mmgraph.store import Operation
from tests.support import audit
from tests.support.clock import ManualClock
from tests.support.command import Command, end
from tests.support.images import AMD64, ARM64, Maker, digest
from tests.support.mirror import NO_LOGINS, spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mmgraph.account import Account
    from mmgraph.plan import Plan
    from mmgraph.server import Kind, Request
    from mmgraph.server.faults import Action

IDLE: Final = 0.004
"""Seconds without an event after which the clock jumps."""
PATIENCE: Final = 60
"""Seconds after which a run that jumps over every wait can only be one that waits for ever."""
SHARED, ONE, TWO, THREE = (bytes([number]) * (number * 4000) for number in (7, 8, 9, 10))
STREAMED: Final = bytes(range(256)) * 16_400
"""A little more than what is held whole, so that its last chunk is withheld."""
CONFIGS: Final = tuple(b'{"of":%d}' % number for number in range(4))
DIGESTS: Final = {str(digest(each)) for each in (SHARED, ONE, TWO, THREE, STREAMED, *CONFIGS)}
BODIES: Final = {
    Operation.GET_MANIFEST,
    Operation.GET_BLOB,
    Operation.PUT_BLOB,
    Operation.PUT_MANIFEST,
}


class Point(NamedTuple):
    """A request of a clean run by what it asks for, how many such came before it, and where in it the run ends."""

    server: int
    kind: Kind
    repository: str
    name: str
    earlier: int
    stage: str
    half: int


class Trap(FaultPlan):
    """Waits for one point at one server and springs there; both servers share what has become of the run."""

    def __init__(self, fate: Fate) -> None:
        # A registry that checks nothing: only mmgraph's own order keeps a tag from naming what is not whole.
        super().__init__(quirks=Quirks(accepts_missing=True))
        self.point: Point | None = None
        self.armed = False
        """Whether the request under way is that of the point."""
        self._fate = fate
        self._numbers: Counter[tuple[Kind, str, str]] = Counter()

    def set(self, point: Point) -> None:
        """Wait for ``point`` from here on."""
        self.point = point
        self._numbers.clear()

    def actions(
        self, method: str, kind: Kind, repository: str = "", name: str = "", *, mount: bool = False
    ) -> tuple[Action, ...]:
        """Drop everything of a client that is dead, and the request of the point as its stage says."""
        if self._fate.dead:
            return (Drop(),)
        key = kind, repository, name
        number, self._numbers[key] = self._numbers[key], self._numbers[key] + 1
        point = self.point
        if point is None or (*key, number) != point[1:5]:
            return ()
        if not self._fate.deadly:
            if point.stage == "before":
                self._fate.spring()
            else:
                self.armed = True
            return ()
        self.armed = True
        if point.stage == "middle":
            return (Cut(point.half, request=method == "PUT"),)
        return (Drop(effect=point.stage == "after"),)


class Fate:
    """What becomes of a run: ``deadly`` that nothing of it is heard any more."""

    def __init__(self, *, deadly: bool) -> None:
        self.deadly = deadly
        self.dead = False
        self.sprung = asyncio.Event()

    def spring(self) -> None:
        """The point has been reached."""
        self.dead = self.deadly
        self.sprung.set()


class Diary(RequestLog):
    """A log that springs the trap once the request of the point is over."""

    def __init__(self, trap: Trap, fate: Fate) -> None:
        super().__init__()
        self._trap, self._fate = trap, fate

    def keep(self, request: Request) -> None:
        """Append a request."""
        super().keep(request)
        key = request.kind, request.repository, request.name
        point = self._trap.point
        if self._trap.armed and point is not None and key == point[1:4]:
            self._trap.armed = False
            self._fate.spring()


class Site(NamedTuple):
    """A source, a destination with a trap, and three images to be mirrored."""

    servers: tuple[RegistryServer, RegistryServer]
    fate: Fate
    clock: ManualClock

    @property
    def destination(self) -> RegistryServer:
        """Where the images shall be."""
        return self.servers[1]

    @property
    def specs(self) -> str:
        """Return the specs of all three."""
        here, there = (server.address for server in self.servers)
        return "".join(spec(f"{here}/{name}:v1", f"{there}/{name}:v1") for name in "abc")

    def set(self, point: Point) -> None:
        """Set the trap, and count from here on."""
        trap = self.servers[point.server].faults
        assert isinstance(trap, Trap)
        trap.set(point)

    def client(self) -> Client:
        """Return a client that tries no TLS: loading the system's authorities takes longer than a run."""
        registries = frozenset(Registry(server.address) for server in self.servers)
        return Client(credentials=NO_LOGINS, clock=self.clock, jobs=4, plain_http=registries)

    async def quiet(self) -> None:
        """Return once no request is being answered."""
        while any(server.log.running for server in self.servers):
            await asyncio.sleep(0.001)

    def revive(self) -> None:
        """Let the servers hear the next client."""
        self.fate.dead = self.fate.deadly = False
        for server in self.servers:
            server.log.clear()


@pytest.fixture(scope="module")
def stock() -> MemoryStorage:
    """Make an index of two images, an image that shares a layer with it, and one with a layer that is streamed."""
    storage = MemoryStorage()
    make = Maker(storage)
    one = make.image("a", SHARED, ONE, config=CONFIGS[0], platform=AMD64)
    two = make.image("a", SHARED, config=CONFIGS[1], platform=ARM64)
    make.index("a", one, two, tags=("v1",))
    make.image("b", SHARED, TWO, config=CONFIGS[2], tags=("v1",))
    make.image("c", STREAMED, SHARED, config=CONFIGS[2], tags=("v1",))
    return storage


@asynccontextmanager
async def site(stock: MemoryStorage, *, deadly: bool = False) -> AsyncIterator[Site]:
    """Start both servers; at the destination one of the tags names another image already."""
    there = MemoryStorage()
    Maker(there).image("a", THREE, config=CONFIGS[3], tags=("v1",))
    fate = Fate(deadly=deadly)
    traps = [Trap(fate), Trap(fate)]
    servers = [
        RegistryServer(storage, faults=trap, log=Diary(trap, fate))
        for storage, trap in zip((stock, there), traps, strict=True)
    ]
    async with servers[0], servers[1]:
        yield Site((servers[0], servers[1]), fate, ManualClock())


async def plan(s: Site) -> Plan:
    """Plan exactly, as ``mmgraph plan`` does."""
    async with s.client() as client:
        return await Compiler(
            read_specs([("specs.json", s.specs.encode())]),
            client,
            client,
            MemoryCache(),
            s.clock,
            lambda _: None,
            exact=True,
        ).plan()


async def apply(
    s: Site, saved: Plan | None, started: Callable[[Execution], None] = lambda _: None
) -> Account:
    """Carry out the specs, or a saved plan, as ``mmgraph apply`` does."""
    async with s.client() as client:
        if saved is None:
            specs = read_specs([("specs.json", s.specs.encode())])
            compiler = Compiler(specs, client, client, MemoryCache(), s.clock, lambda _: None, exact=False)
            made, looks = await compiler.plan(), compiler.evidence.looks
        else:
            looks, stale = await staleness.check(saved, client, s.clock)
            assert () == stale
            made = staleness.settle(saved, looks)
        execution = Execution(made, client, s.clock, lambda _: None, looks)
        started(execution)
        return await execution.run()


async def points(stock: MemoryStorage, *, of_plan: bool, bodies: bool) -> list[Point]:
    """Run once undisturbed, and return all points that the logs of the two servers show."""
    async with site(stock) as s:
        saved = await plan(s) if of_plan else None
        s.revive()
        with s.clock.autojump(IDLE):
            account = await apply(s, saved)
        await s.quiet()
        assert account.complete
        found = []
        for number, server in enumerate(s.servers):
            seen = Counter[tuple["Kind", str, str]]()
            for request in server.log:
                key = request.kind, request.repository, request.name
                half = (request.bytes_received or request.bytes_sent) // 2 if request.kind in BODIES else 0
                stages = ("before", "middle", "after") if bodies and half else ("before", "after")
                found += [Point(number, *key, seen[key], stage, half) for stage in stages]
                seen[key] += 1
        return found


class Story(NamedTuple):
    """One run that ended at a point, and the re-run."""

    reached: bool
    broken: list[str]
    """What was not whole when the run had ended."""
    strange: audit.Tags
    """Tags that then named neither what they had named nor what they should."""
    open_sessions: int
    """Upload sessions that the run had left open at the destination; 0 where it was killed, which can end none."""
    complete: bool
    again: set[str]
    """Blobs that were there, and were sent again."""
    left: list[str]
    """What is not whole, or not there, at the end."""


GOOD: Final = Story(True, [], {}, 0, True, set(), [])


async def live(stock: MemoryStorage, point: Point, how: str, *, of_plan: bool) -> Story:
    """Let a run end at ``point``, by what ``how`` says, and run it again."""
    async with site(stock, deadly=how == "killed") as s, asyncio.timeout(PATIENCE):
        wanted = audit.tags(stock)
        old = audit.tags(s.destination.storage)
        with s.clock.autojump(IDLE):
            saved = await plan(s) if of_plan else None
            s.set(point)
            reached = await _ended(s, how, saved)
            await s.quiet()
            there = s.destination.storage
            strange = {
                key: name
                for key, name in audit.tags(there).items()
                if name not in {old.get(key), wanted.get(key)}
            }
            broken, committed = audit.broken(there), audit.held(there, DIGESTS)
            open_sessions = s.destination.open_sessions if how != "killed" else 0
            s.revive()
            account = await apply(s, saved)
            await s.quiet()
            again = {request.name for request in s.destination.log.select(Operation.PUT_BLOB)} & committed
            left = audit.broken(there) + [
                f"{key}" for key in wanted if audit.tags(there).get(key) != wanted[key]
            ]
        return Story(reached, broken, strange, open_sessions, account.complete, again, left)


async def _ended(s: Site, how: str, saved: Plan | None) -> bool:
    """Run until the point; return whether it was reached."""
    executions: list[Execution] = []
    run = asyncio.create_task(apply(s, saved, executions.append))
    watch = asyncio.create_task(s.fate.sprung.wait())
    await asyncio.wait({run, watch}, return_when=asyncio.FIRST_COMPLETED)
    if how == "drained" and executions:
        executions[0].drain()
    else:
        run.cancel()  # a signal before there is a plan cancels too
    with suppress(asyncio.CancelledError):
        await run
    watch.cancel()
    return s.fate.sprung.is_set()


@pytest.mark.parametrize(
    ("how", "of_plan"), [("killed", False), ("killed", True), ("cancelled", False), ("drained", False)]
)
async def test_every_point(
    tell: Callable[[str], None], stock: MemoryStorage, how: str, of_plan: bool
) -> None:
    """Wherever a run ends, no tag names an incomplete image, and one re-run completes and repeats no blob."""
    all_points = await points(stock, of_plan=of_plan, bodies=how == "killed")
    stories = {point: await live(stock, point, how, of_plan=of_plan) for point in all_points}

    tell(f"crash points: {len(all_points)} of {'a saved plan' if of_plan else 'specs'}: {how} and run again")
    assert {} == {point: story for point, story in stories.items() if story != GOOD}


async def test_points_are_those_of_the_log(stock: MemoryStorage) -> None:
    """There are two points for each request in the logs, and one more for each body under way."""
    async with site(stock) as s:
        await apply(s, None)
        await s.quiet()
        requests = [request for server in s.servers for request in server.log]
        bodies = [request for request in requests if request.bytes_received + request.bytes_sent > 1]
        expected = 2 * len(requests) + sum(request.kind in BODIES for request in bodies)

    found = await points(stock, of_plan=False, bodies=True)
    assert (expected, expected) == (len(found), len(set(found)))


# Real processes and real signals


class Tripwire(FaultPlan):
    """Signals a process when the first request of a kind for a repository comes in, or is over."""

    def __init__(self, moment: Moment, number: signal.Signals) -> None:
        super().__init__()
        self.process: asyncio.subprocess.Process | None = None
        self._moment = moment
        self._number = number

    def actions(
        self, method: str, kind: Kind, repository: str = "", name: str = "", *, mount: bool = False
    ) -> tuple[Action, ...]:
        """Answer as always."""
        if (kind, repository) == self._moment and self.process is not None:
            process, self.process = self.process, None
            process.send_signal(self._number)
        return ()


Moment = tuple[Operation, str]
MOMENTS: Final[list[Moment]] = [
    (Operation.POST_UPLOAD, "b"),
    (Operation.PUT_BLOB, "c"),
    (Operation.PUT_MANIFEST, "a"),
]
EXITS: Final = {signal.SIGKILL: {-signal.SIGKILL}, signal.SIGINT: {130, 0}}
"""What a process may end with; 0 where all that was left to do was under way."""


@pytest.mark.parametrize("number", EXITS)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[0]} {moment[1]}")
async def test_a_real_process(
    stock: MemoryStorage, tmp_path: Path, moment: Moment, number: signal.Signals
) -> None:
    """A process that gets a real signal leaves nothing broken, and the next one ends it and repeats no blob.

    Unless it is killed it leaves no upload session open either.
    """
    command = Command(tmp_path)
    wire = Tripwire(moment, number)
    async with RegistryServer(stock) as source, RegistryServer(MemoryStorage(), faults=wire) as destination:
        s = Site((source, destination), Fate(deadly=False), ManualClock())
        command.write("specs.json", s.specs)
        options = [f"--plain-http={server.address}" for server in s.servers]
        wire.process = process = await command.start("apply", *options)
        first = await end(process)
        await s.quiet()
        broken, committed = audit.broken(destination.storage), audit.held(destination.storage, DIGESTS)
        open_sessions = destination.open_sessions if number != signal.SIGKILL else 0
        destination.log.clear()

        second = await command.run("apply", *options)

        again = {request.name for request in destination.log.select(Operation.PUT_BLOB)} & committed
        there = audit.tags(destination.storage) == audit.tags(stock), audit.broken(destination.storage)
        assert first.code in EXITS[number], first.err
        assert ([], 0, 0, set(), (True, [])) == (broken, open_sessions, second.code, again, there), second.err
