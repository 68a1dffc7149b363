"""Random fault schedules: a fifth of all requests goes wrong, and everything arrives all the same.

What happens to a request follows from the seed, from what it asks for and from how often that was asked before, and
and from nothing else: so a schedule is the same again however the requests of a run are interleaved.

Two of three are carried out as ``apply`` does with specs, images being copied while others are read; a third is planned
first, and that plan saved. Now and then a run is drained or stops after a failure, blobs are sent in chunks, a program
creates repositories, a registry mounts only what is committed, or the source has lost a blob: then all but the images
that list it are there in the end.

``SCHEDULE_SECONDS=100`` runs what fits into that time, ``SCHEDULES=10000`` runs so many however long
it takes, and ``SCHEDULE_SEED=123`` runs that one alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import AsyncExitStack
from itertools import count
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as parent_gone
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mmgraph import saved, staleness
from mmgraph.cache import MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.compile import Compiler
from mmgraph.events import Finished, Outcome
from mmgraph.execute import Execution
from mmgraph.names import Registry
from mmgraph.registry.client import Client
from mmgraph.registry.repositories import Command, Repositories
from mmgraph.server import (
    Cut,
    Delay,
    Drop,
    FaultPlan,
    Flip,
    Headers,
    MemoryStorage,
    Quirks,
    Refuse,
    RegistryServer,
    RequestLog,
    Stall,
)
from mmgraph.specs import read_specs
from mmgraph.store import Operation
from tests.support import audit
from tests.support.clock import ManualClock
from tests.support.images import AMD64, ARM64, Maker, digest
from tests.support.mirror import NO_LOGINS, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mmgraph.account import Account
    from mmgraph.events import Event
    from mmgraph.server import Kind, Request
    from mmgraph.server.faults import Action

SECONDS: Final = 15.0
"""How long schedules are run where nobody says; CI says longer."""
RATE: Final = 0.2
"""The part of all requests that goes wrong."""
DISTURBED: Final = 2
"""Runs that may be drained, or stop after a failure; the later ones do all they can."""
RUNS: Final = DISTURBED + 6
"""Runs that a schedule may take. A request is tried 8 times in a run, so that 0.2^8 of them fail for good, one in
400,000, and a manifest whose bytes are wrong twice fails its image. The next run does what is left, and the requests
that went well are not made again."""
IDLE: Final = 0.001
"""Seconds without an event after which the clock jumps; a stall takes sixty jumps, and its peer is in this loop."""
PATIENCE: Final = 60
CONTENTS: Final = tuple(bytes([number]) * (7**number % 49_999 + 1) for number in range(8))
STREAMED: Final = bytes(range(256)) * 16_400
READS: Final = {Operation.GET_BLOB, Operation.GET_MANIFEST}
WRITES: Final = {Operation.PUT_BLOB, Operation.PUT_MANIFEST}
DONE: Final = {Outcome.COPIED, Outcome.MOVED, Outcome.REPAIRED, Outcome.UNCHANGED}


class Schedule(FaultPlan):
    """Lets a fifth of all requests go wrong, as the seed says."""

    def __init__(self, seed: int, server: int, created_in: str = "") -> None:
        chance = random.Random(f"quirks {seed}/{server}")
        super().__init__(
            quirks=Quirks(
                # At one that checks nothing, only mmgraph's own order keeps a tag from naming what is not whole.
                accepts_missing=bool(seed % 2),
                mount_needs_manifest=chance.random() < 0.15,
                blind_self_mount=chance.random() < 0.15,
                no_mounts=chance.random() < 0.1,
                least_chunk=chance.choice([0, 0, 1_000, 100_000]),
                patch_status=chance.choice([201, 202]),
                created_in=created_in,
            )
        )
        self.requests = self.faults = 0
        self._of = f"{seed}/{server}"
        self._times: Counter[tuple[Kind, str, str, bool]] = Counter()
        self._flipped: set[tuple[str, str]] = set()

    def actions(
        self, method: str, kind: Kind, repository: str = "", name: str = "", *, mount: bool = False
    ) -> tuple[Action, ...]:
        """Return what goes wrong with this request, if anything."""
        # A session's name is drawn anew by the server each time.
        name = "" if kind == Operation.DELETE_UPLOAD else name
        key = kind, repository, name, mount
        chance = random.Random(f"{self._of}/{kind}/{repository}/{name}/{mount}/{self._times[key]}")
        self._times[key] += 1
        self.requests += 1
        if chance.random() >= RATE:
            return ()
        self.faults += 1
        return (self._fault(chance, kind, repository, name),)

    def _fault(self, chance: random.Random, kind: Kind, repository: str, name: str) -> Action:
        refusals = [
            Refuse(429, "TOOMANYREQUESTS", {"Retry-After": str(chance.randint(1, 5))}),
            Refuse(429, "TOOMANYREQUESTS"),
            Refuse(500),
            Refuse(503, headers={"Retry-After": "2"}),
            Refuse(502, body=b"<html>bad gateway</html>"),
        ]
        choices: list[Action] = [
            chance.choice(refusals),
            Drop(),
            Drop(effect=True),
            Delay(chance.choice([0.1, 3.0, 20.0])),
        ]
        if kind in READS:
            choices += [Cut(chance.randint(0, 300)), Stall(chance.randint(0, 300))]
            if (repository, name) not in self._flipped:
                self._flipped.add((repository, name))
                choices.append(Flip(chance.randint(0, 20)))
        if kind in WRITES:
            choices += [Cut(chance.randint(1, 300), request=True), Drop(effect=True)]
        if kind == Operation.HEAD_MANIFEST:
            choices.append(Headers({"Docker-Content-Digest": None}))
        return chance.choice(choices)


class Auditor(RequestLog):
    """A log that looks, after each manifest, at whether any tag names what is not whole at that moment."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__()
        self.found: list[str] = []
        self._storage = storage

    def keep(self, request: Request) -> None:
        """Append a request."""
        super().keep(request)
        if request.kind == Operation.PUT_MANIFEST:
            self.found += audit.broken(self._storage, unread=True)


class World(NamedTuple):
    """A source, two destinations, and what shall be mirrored to them."""

    seed: int
    servers: list[RegistryServer]
    specs: str
    wanted: list[audit.Tags]
    """What the tags shall name, by server."""
    lost: set[str]
    """Destinations of images that list a blob which the source has lost."""
    creators: dict[Registry, Command]
    clock: ManualClock
    ways: Counter[str]
    """How runs went."""

    @property
    def registries(self) -> list[Registry]:
        """Where the servers are."""
        return [Registry(server.address) for server in self.servers]

    def client(self, chance: random.Random) -> Client:
        """Return the client of one run."""
        chunked = [each for each in self.registries[1:] if chance.random() < 0.25]
        self.ways["in chunks"] += bool(chunked)
        return Client(
            credentials=NO_LOGINS,
            clock=self.clock,
            plain_http=frozenset(self.registries),
            chance=random.Random(1),
            jobs=chance.choice([2, 16, 16]),
            chunks={each: chance.choice([20_000, 50_000, 1 << 20]) for each in chunked},
            # A program takes real time, in which the clock of the others may jump.
            repositories=Repositories(self.creators, os.environ, SystemClock(), lambda _: None),
        )

    async def run(self, number: int) -> Account:
        """Carry the specs out once, as the ``number``-th run; one that hangs is a ``TimeoutError``."""
        chance = random.Random(f"run {self.seed}/{number}")
        async with asyncio.timeout(PATIENCE):
            with self.clock.autojump(IDLE):
                async with self.client(chance) as client, AsyncExitStack() as stack:
                    heard = Heard()
                    if number < DISTURBED and chance.random() < 0.3:
                        heard.drain_at = chance.randint(1, 40)
                    most = chance.choice([1, 2]) if number < DISTURBED and chance.random() < 0.2 else None
                    is_saved = random.Random(f"way {self.seed}").random() < 1 / 3
                    prepare = self.from_a_saved_plan if is_saved else self.from_specs
                    heard.execution = await prepare(client, heard, most, stack)
                    account = await heard.execution.run()
        heard.check(account)
        self.ways["drained"] += heard.drained
        self.ways["limited"] += most is not None
        assert [str(each.destination) for each in read_specs([("specs.json", self.specs.encode())])] == [
            str(end.goal.spec.destination) for end in account.ends
        ]
        return account

    def compiler(self, client: Client, heard: Heard, *, exact: bool) -> Compiler:
        """Return what makes a plan of the specs."""
        plans = [server.faults for server in self.servers]
        return Compiler(
            read_specs([("specs.json", self.specs.encode())]),
            client,
            client,
            MemoryCache(),
            self.clock,
            heard,
            exact=exact,
            committed_only=[
                each
                for each, plan in zip(self.registries, plans, strict=True)
                if plan.quirks.mount_needs_manifest
            ],
            repository_first=list(self.creators),
            chunk=client.chunk,
        )

    async def from_specs(
        self, client: Client, heard: Heard, most: int | None, stack: AsyncExitStack
    ) -> Execution:
        """Begin to copy what is settled, while the rest is read."""
        compiler = self.compiler(client, heard, exact=False)
        stack.push_async_callback(compiler.close)
        plan = await compiler.begin()
        growth = compiler.growth() if compiler.growing else None
        self.ways["whole" if growth is None else "grown"] += 1
        looks = compiler.evidence.looks
        return Execution(plan, client, self.clock, heard, looks, growth, max_failures=most)

    async def from_a_saved_plan(
        self, client: Client, heard: Heard, most: int | None, stack: AsyncExitStack
    ) -> Execution:
        """Plan all of it, save the plan, and carry that out with another client."""
        async with self.client(random.Random(0)) as planning:
            plan = await self.compiler(planning, heard, exact=True).plan()
        self.ways["saved"] += 1
        plan = saved.read(saved.write(plan, "a test"))
        looks, stale = await staleness.check(plan, client, self.clock, keep_going=True)
        plan = staleness.settle(staleness.skip(plan, stale), looks)
        return Execution(plan, client, self.clock, heard, looks, max_failures=most)


class Heard:
    """Counts what the end of each spec was told as, and drains the run after so many events."""

    def __init__(self) -> None:
        self.execution: Execution | None = None
        self.drain_at = 0
        self.drained = False
        self._events = 0
        self._ends: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        """Take note of ``event``."""
        if isinstance(event, Finished):
            self._ends[str(event.destination)] += 1
        if self.execution is not None:
            self._events += 1
            if self._events == self.drain_at:
                self.drained = True
                self.execution.drain()

    def check(self, account: Account) -> None:
        """Assert that each spec was told of once, but for what was never begun."""
        for end in account.ends:
            place = str(end.goal.spec.destination)
            told = self._ends[place]
            least = 0 if end.outcome is Outcome.STOPPED else 1
            assert least <= told <= 1, f"{place}, {end.outcome}, was told of {told} times"


async def arrange(seed: int, stack: AsyncExitStack) -> World:
    """Draw images and their destinations, and start the servers."""
    chance = random.Random(f"world {seed}")
    clock = ManualClock()
    storages = [MemoryStorage() for _ in range(3)]
    created_in = _created_in(stack) if chance.random() < 0.2 else ""
    servers = [
        await stack.enter_async_context(
            RegistryServer(
                storage,
                faults=Schedule(seed, number, created_in if number == 2 else ""),
                clock=clock,
                log=Auditor(storage),
            )
        )
        for number, storage in enumerate(storages)
    ]
    creators = {}
    if created_in:
        words = ["/bin/sh", "-c", 'echo "$1" >>"$2"', "sh", "{repository}", created_in]
        creators[Registry(servers[2].address)] = Command.parse(words)
    make, lines, wanted = Maker(storages[0]), [], [dict[tuple[str, str], str]() for _ in storages]
    lost, listing = _lost(chance), set[str]()
    for number in range(chance.randint(2, 5)):
        name = f"image{number}"
        layers = chance.sample(CONTENTS, chance.randint(1, 4))
        if chance.random() < 0.25:
            layers.append(STREAMED)
        configs = [CONTENTS[number]]
        if chance.random() < 0.5:
            configs = [CONTENTS[0], CONTENTS[1]]
            children = [
                make.image(name, *layers, config=configs[0], platform=AMD64),
                make.image(name, layers[0], config=configs[1], platform=ARM64),
            ]
            root = make.index(name, *children, tags=("v1",))
        else:
            root = make.image(name, *layers, config=configs[0], tags=("v1",))
        for server in chance.choice([[1], [2], [1, 2]]):
            place = f"mirror{chance.randint(0, 2)}", f"t{number}"
            destination = f"{servers[server].address}/{':'.join(place)}"
            lines.append(spec(f"{servers[0].address}/{name}:v1", destination))
            wanted[server][place] = str(root["digest"])
            if lost in (*layers, *configs):
                listing.add(destination)
        if lost is not None:
            storages[0].remove_blob(name, digest(lost))
    for server in (1, 2):
        if chance.random() < 0.5:
            Maker(storages[server]).image("mirror0", *chance.sample(CONTENTS, 2), tags=("t0",))
    return World(seed, servers, "".join(lines), wanted, listing, creators, clock, Counter())


def _created_in(stack: AsyncExitStack) -> str:
    """Return the file that lists the repositories of a registry where each must be created first."""
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmgraph-"))) / "created"
    path.write_text("mirror0\n")
    return str(path)


def _lost(chance: random.Random) -> bytes | None:
    """Draw a blob that the source has lost, mostly none."""
    return chance.choice(CONTENTS) if chance.random() < 0.15 else None


class Lived(NamedTuple):
    """What a schedule came to."""

    runs: int
    requests: int
    faults: int
    ways: Counter[str]


async def live(seed: int) -> Lived:
    """Run a schedule until all is done, and assert after each run all that must hold."""
    async with AsyncExitStack() as stack:
        world = await arrange(seed, stack)
        old = [audit.tags(server.storage) for server in world.servers]
        runs, complete, causes = 0, False, ""
        while not complete and runs < RUNS:
            account = await world.run(runs)
            runs += 1
            left = [end for end in account.ends if str(end.goal.spec.destination) not in world.lost]
            complete = all(end.outcome in DONE for end in left)
            causes = "\n".join(end.cause for end in left if end.cause)
            check(world, old, account)
        assert complete, f"not done after {runs} runs:\n{causes}"
        plans = [server.faults for server in world.servers if isinstance(server.faults, Schedule)]
        requests, faults = sum(plan.requests for plan in plans), sum(plan.faults for plan in plans)
        world.ways["creating"] += bool(world.creators)
        world.ways["with a lost blob"] += bool(world.lost)
        return Lived(runs, requests, faults, world.ways)


def check(world: World, old: list[audit.Tags], account: Account) -> None:
    """Assert what holds after every run, whatever went wrong in it."""
    for number, server in enumerate(world.servers):
        now = audit.tags(server.storage)
        lost = {key for key in old[number] if key not in now}
        strange = {
            key
            for key, name in now.items()
            if name not in {old[number].get(key), world.wanted[number].get(key)}
        }
        deleted = [
            request.path
            for request in server.log
            if request.method == "DELETE" and request.kind != Operation.DELETE_UPLOAD
        ]
        assert isinstance(server.log, Auditor)
        broken = audit.broken(server.storage) if number else []  # the source may have lost something
        assert ([], set(), set(), []) == (
            broken + server.log.found,
            lost,
            strange,
            deleted,
        )
    addresses = {server.address: server for server in world.servers}
    for end in account.ends:
        if end.outcome in DONE:
            place = end.goal.spec.destination
            named = addresses[place.repository.registry].storage.tags(place.repository.path)
            assert end.goal.root == named.get(place.tag or ""), f"{place} is said to be {end.outcome}"


def lived(seed: int) -> Lived:
    """Run a schedule in a loop of its own; what it raises says how to have it again."""
    try:
        return asyncio.run(live(seed))
    except BaseException as error:
        error.add_note(f"reproduce it with SCHEDULE_SEED={seed} pytest {__file__}")
        raise


def end_with_parent() -> None:
    """Let no worker outlive a test that was killed."""
    parent = parent_process()
    assert parent is not None
    sentinel = parent.sentinel
    threading.Thread(target=lambda: (parent_gone([sentinel]), os._exit(1)), daemon=True).start()


def spread(seeds: Iterable[int], until: float) -> list[Lived]:
    """Run schedules on every core until a time, in processes of their own; what fails is run again here."""
    found: list[Lived] = []
    cores = len(os.sched_getaffinity(0))
    # Half of a schedule is a thousandth of a second here and there in which its loop sees that nothing happens.
    with ProcessPoolExecutor(2 * cores, get_context("spawn"), end_with_parent) as pool:
        under_way: dict[Future[Lived], int] = {}
        for seed in seeds:
            if len(under_way) == 4 * cores:
                found += _ended(under_way, FIRST_COMPLETED)
            if time.monotonic() > until:
                break
            under_way[pool.submit(lived, seed)] = seed
        return found + _ended(under_way, ALL_COMPLETED)


def _ended(under_way: dict[Future[Lived], int], when: str) -> list[Lived]:
    ended = wait(under_way, return_when=when).done
    for schedule in ended:
        seed = under_way.pop(schedule)
        if schedule.exception() is not None:
            lived(seed)  # pytest says more of an assertion that fails here
    return [schedule.result() for schedule in ended]


def test_schedules(tell: Callable[[str], None]) -> None:
    """Where a fifth of all requests fails, nothing breaks on the way and all images are there in the end."""
    if "SCHEDULE_SEED" in os.environ:
        all_lived = [lived(int(os.environ["SCHEDULE_SEED"]))]
    elif "SCHEDULES" in os.environ:
        all_lived = spread(range(int(os.environ["SCHEDULES"])), float("inf"))
    else:
        seconds = float(os.environ.get("SCHEDULE_SECONDS", SECONDS))
        all_lived = spread(count(), time.monotonic() + seconds)
    requests, faults = sum(one.requests for one in all_lived), sum(one.faults for one in all_lived)
    runs = Counter(one.runs for one in all_lived)
    tell(
        f"fault schedules: {len(all_lived)}, {faults} of {requests} requests failed;"
        f" done after so many runs: {dict(sorted(runs.items()))};"
        f" kinds of runs: {dict(sorted(sum((one.ways for one in all_lived), Counter[str]()).items()))}"
    )
    assert all_lived
