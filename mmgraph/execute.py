"""Carrying out a plan: what starts when, within which limits, and what becomes of each spec. Decides nothing that the
plan could, and moves no bytes itself.

Concurrency. One task a transfer or manifest, all started by ``_fill`` and by nobody else. ``_fill`` runs after
anything that may have made room: the end of a task, a free slot, a retry that is due; it never awaits. A transfer
takes all its slots and its share of the byte budget at once, or waits in the queue holding neither. Nothing starts
once ``_stopping`` is set; what runs then ends or is cancelled, and a cancelled transfer cancels its sessions.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from mmgraph.account import Account, Book, End
from mmgraph.behalf import behalf
from mmgraph.clock import within
from mmgraph.commits import Commits
from mmgraph.errors import InternalError, MmgraphError, RegistryError
from mmgraph.events import (
    Draining,
    Ended,
    Finished,
    Landed,
    Landing,
    Moved,
    Planned,
    Reporter,
    Retried,
    Started,
    Surprise,
)
from mmgraph.graph import Kind, Node
from mmgraph.meter import Meter
from mmgraph.plan import Action, Goal, Plan, Result
from mmgraph.quirks import Quirk
from mmgraph.ready import ReadyQueue, Route
from mmgraph.sharing import Lateness, sharing
from mmgraph.tasks import each
from mmgraph.transfer import How, Outcome, Target, Transfer, run
from mmgraph.work import Ledger, State, Work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence

    from mmgraph.clock import Clock
    from mmgraph.evidence import Look
    from mmgraph.names import Digest, Registry, Repository
    from mmgraph.store import Transport

BUDGET = 48 * 1024 * 1024
"""Bytes that all buffers of a run may hold."""
DRAIN_SECONDS = 25.0
"""How long what runs may go on after the first signal: Kubernetes kills after 30."""
_RETRY_BASE, _RETRY_CAP = 0.5, 30.0
_CLOSING_SECONDS = 10.0
_CLOSINGS = 16
"""Sessions that are cancelled at a time, at the end."""
_JITTER = random.Random()  # noqa: S311


class Execution:
    """One plan, carried out once.

    ``looks`` is when and what each destination name was last seen to point at. ``growth`` adds to the plan while it is
    carried out, and yields the nodes that it has added. ``max_failures``: stop starting new work after so many specs
    have failed.
    """

    def __init__(
        self,
        plan: Plan,
        transport: Transport,
        clock: Clock,
        report: Reporter,
        looks: Mapping[tuple[Repository, str], Look],
        growth: AsyncGenerator[Sequence[Node], None] | None = None,
        *,
        budget: int = BUDGET,
        max_failures: int | None = None,
    ) -> None:
        self._plan = plan
        self._transport = transport
        self._clock = clock
        self._report = report
        self._budget = self._whole_budget = budget
        self._max_failures = max_failures
        self._ledger = Ledger(plan, self._enqueue, self._ended)
        self._queue: ReadyQueue[tuple[Work, ...]] = ReadyQueue()
        """Works of one digest at distinct registries, that share a GET."""
        self._fresh: dict[Digest, list[Work]] = {}
        """Blobs that became ready since the last look, not yet queued."""
        self._writes: list[Work] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.Task[None]] = set()
        self._crash: BaseException | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._lateness = Lateness(transport)
        self._probed: set[Registry] = set()
        self._not_empty: set[Repository] = set()
        """Repositories that were taken to hold nothing, and turned out to hold something."""
        self._bereft: set[Repository] = set()
        """Repositories that lack a blob which none of its sources gave."""
        self._goals: dict[Node, Goal] = {}
        self._taken = 0
        """How many of the plan's goals have been taken note of."""
        self._growth = growth
        self._growing: asyncio.Task[None] | None = None
        self._failures = 0
        self._book = Book(plan, transport, clock)
        self._efforts = self._book.efforts
        self._commits = Commits(
            plan, self._ledger, transport, clock, looks, self._goals, report, self._surprise
        )
        self._admit(plan.steps)

    async def run(self) -> Account:
        """Do all that can be done, and account for it. Cancelling cancels what runs and raises ``CancelledError``."""
        self._transport.on_room(self._wake.set)
        if self._growth is not None:
            await anext(self._growth)  # begun: from here on closing it leaves the rest of its specs open
        self._settle_goals(self._plan.goals)
        if self._growth is not None and not self._stopping:
            self._growing = self._spawn(self._grow(self._growth), self._timers)
        try:
            while True:
                self._fill()
                if not self._tasks and (self._stopping or not (self._timers or len(self._queue))):
                    break
                await self._wake.wait()
                self._wake.clear()
                if self._crash is not None:
                    raise self._crash
        finally:
            await self._cancel(self._tasks | self._timers)
            if self._growth is not None:
                await self._growth.aclose()
            await self._close_sessions()
        if not self._stopping and not all(work.settled for work in self._ledger):
            raise InternalError("nothing is under way, and not everything is done")
        return self.account()

    def account(self) -> Account:
        """What it has come to so far: of a run that was cancelled, what is not done was stopped."""
        ends = [self._end(goal) for goal in self._plan.goals]
        return self._book.account(ends, self._transport.quirks.learned)

    def drain(self) -> None:
        """Start nothing new; what runs may end within ``DRAIN_SECONDS``. A second call changes nothing."""
        if self._stopping:
            return
        self._stopping = True
        if self._growing is not None:
            self._growing.cancel()
        self._report(Draining(len(self._tasks), DRAIN_SECONDS))
        self._spawn(self._time_out(set(self._tasks)), self._timers)
        self._wake.set()

    # What is to be done

    def _admit(self, nodes: Iterable[Node]) -> Sequence[Goal]:
        """Take note of what the plan has gained: ``nodes`` in their order, and the goals, which are returned."""
        goals = self._plan.goals[self._taken :]
        self._taken += len(goals)
        new = {goal.node: goal for goal in goals if goal.node is not None}
        self._goals.update(new)
        for node, goal in new.items():
            if goal.spec.destination.repository in self._bereft:
                self._ledger.offer(node, goal.spec.source.repository)
        self._ledger.extend(nodes)
        return goals

    def _settle_goals(self, goals: Sequence[Goal]) -> None:
        """Tell of the specs for which nothing is to be done."""
        for goal in goals:
            if goal.result in (Result.UNCHANGED, Result.FAILED):
                self._finish(goal)

    async def _grow(self, growth: AsyncGenerator[Sequence[Node], None]) -> None:
        """Admit what the plan gains. Cancelling closes ``growth``, which leaves the rest of its specs open."""
        async with aclosing(growth):
            async for nodes in growth:
                self._settle_goals(self._admit(nodes))
                steps = (self._plan.steps[node] for node in nodes)
                uploads = sum(step.size for step in steps if step.action is Action.UPLOAD)
                self._report(Planned(uploads, complete=False))
        self._report(Planned(0, complete=True))

    # What starts when

    def _fill(self) -> None:
        """Start all that may start now: manifests and tags before any blob."""
        if self._stopping:
            return
        writes, self._writes = self._writes, []
        for work in sorted(writes, key=lambda work: work.rank):
            work.state = State.RUNNING
            self._spawn(self._write(work))
        self._queue_fresh()
        while any(self._start_from(route) for route in self._queue.routes()):
            self._queue_fresh()  # what failed at once may have elected another landing

    def _queue_fresh(self) -> None:
        """Queue the blobs that became ready; uploads of one digest to several registries as one."""
        fresh, self._fresh = self._fresh, {}
        for ready in fresh.values():
            for works in sharing(ready):
                reads = () if works[0].action is Action.MOUNT else (self._source(works[0]).registry,)
                self._push(reads, works)

    def _push(self, reads: tuple[Registry, ...], works: Sequence[Work]) -> None:
        writes = tuple(sorted(work.registry for work in works))
        first = works[0]
        # A mount moves no bytes; where it is refused it comes back as an upload.
        size = first.step.size if reads else 0
        self._queue.push(Route(reads, writes), first.rank, tuple(works), size)

    def _start_from(self, route: Route) -> bool:
        """Start the route's most urgent transfer, if there is room for it."""
        works = self._queue.head(route)
        if works is None:
            return False
        if self._fail_closed(route, works):
            return True
        transfer = self._transfer(works)
        if transfer.buffer > self._budget:
            return len(works) > 1 and transfer.buffer > self._whole_budget and self._part(route, works)
        slots = self._transport.take(route.reads, route.writes)
        if slots is None:
            late = self._lateness.look(route, works)
            if not late:
                return False
            self._queue.pop(route)  # the others do not wait for those, which get a GET of their own later
            self._push(route.reads, late)
            self._push(route.reads, [work for work in works if work not in late])
            return True
        lane = self._queue.start(route)
        for work in works:
            work.state = State.RUNNING
            work.attempts += 1
            self._efforts.begin(work.node)
        self._budget -= transfer.buffer

        def give_back(_: asyncio.Task[None]) -> None:
            lane.end()
            slots.release()
            self._budget += transfer.buffer

        # Not a ``finally`` of the task: one that is cancelled before its first step would not run it.
        self._spawn(self._move(transfer, works)).add_done_callback(give_back)
        return True

    def _part(self, route: Route, works: Sequence[Work]) -> bool:
        """Let each have a GET of its own: together they would hold more than a run may."""
        self._queue.pop(route)
        for work in works:
            self._push(route.reads, [work])
        return True

    def _fail_closed(self, route: Route, works: Sequence[Work]) -> bool:
        """Fail what is to be written to registries that are closed, or read from one, with that one cause."""
        causes = [self._transport.closed(work.registry, write=True) for work in works]
        of_source = next(
            (c for read in route.reads if (c := self._transport.closed(read, write=False))), None
        )
        if of_source is None and not any(causes):
            return False
        self._queue.pop(route)
        if of_source is None and not all(causes):
            self._push(route.reads, [work for work, cause in zip(works, causes, strict=True) if not cause])
        source = self._source(works[0])
        for work, cause in zip(works, causes, strict=True):
            if cause:
                self._ledger.fail(work, cause)
            elif of_source and not self._turn_to_another_source(work, source):
                self._ledger.fail(work, of_source)
        return True

    def _enqueue(self, work: Work) -> None:
        """Take note of a node that may start."""
        self._wake.set()
        if work.node.kind is Kind.BLOB:
            self._fresh.setdefault(work.digest, []).append(work)
        else:
            self._writes.append(work)

    def _source(self, work: Work) -> Repository:
        assert work.source is not None
        return work.source

    def _transfer(self, works: Sequence[Work]) -> Transfer:
        first = works[0]
        return Transfer(first.digest, first.step.size, self._source(first), tuple(map(self._target, works)))

    def _target(self, work: Work) -> Target:
        repository, mount_from = work.node.repository, work.mount_from
        asks = mount_from == repository and work.session is None
        blind = asks and self._transport.quirks.has(work.registry, Quirk.BLIND)
        return Target(
            repository,
            None if blind else mount_from,
            proven_absent=work.step.proven_absent and repository not in self._not_empty and not blind,
            ask_first=blind,
            session=work.session,
            chunk=self._chunk(work),
        )

    def _chunk(self, work: Work) -> int:
        try:
            return self._transport.chunk(work.registry, work.step.size)
        except RegistryError:
            return 0  # a refusal of uploads, where this turns out to be one

    async def _write(self, work: Work) -> None:
        self._efforts.begin(work.node)
        with behalf(self._efforts.counter(work.node)):
            await self._commits.write(work)

    # One transfer

    async def _move(self, transfer: Transfer, works: Sequence[Work]) -> None:
        started = not transfer.mount_only
        if started:
            targets = tuple(target.repository for target in transfer.targets)
            self._report(Started(transfer.digest, transfer.size, targets))
        nodes = [work.node for work in sorted(works, key=lambda work: work.rank)]

        def moved(read: int, sent: int) -> None:
            self._efforts.read(nodes[0], read)
            self._report(Moved(transfer.digest, read, sent))

        meter = Meter(moved, self._clock)
        try:
            with behalf(self._efforts.counter(*nodes)):
                outcomes = await run(transfer, self._transport, meter, self._clock)
        finally:
            meter.close()
            if started:
                self._report(Ended(transfer.digest))
        failed = []
        for work, outcome in zip(works, outcomes, strict=True):
            work.session = None
            if outcome.target.is_mount and outcome.how in (How.MOUNTED, How.REFUSED):
                self._efforts.mount(work.registry, granted=outcome.how is How.MOUNTED)
            if outcome.how is not How.FAILED:
                self._settle(work, outcome)
            elif (outcome.waits and work.sent_back()) or work.attempts < self._attempts(
                work, outcome, transfer
            ):
                failed.append((work, outcome))
            elif not (outcome.of_source and self._turn_to_another_source(work, transfer.source)):
                tries = f" (after {work.attempts} tries)" if work.attempts > 1 else ""
                self._ledger.fail(work, f"{outcome.error}{tries}")
        if failed:
            self._retry(failed)
        for outcome in outcomes:
            if outcome.how is How.UPLOADED:  # under the slot that this upload still holds
                await self._probe(outcome.target.repository, transfer.digest)

    def _turn_to_another_source(self, work: Work, failed: Repository) -> bool:
        """Another image may have the blob from elsewhere: one that cannot be read says nothing of the others (I6)."""
        work.tried.add(failed)
        if work.source in work.tried:
            wanted_by = self._plan.graph.dependants([work.node])
            ends = sorted(wanted_by & self._goals.keys(), key=self._ledger.rank)
            sources = (self._goals[node].spec.source.repository for node in ends)
            work.source = next((source for source in sources if source not in work.tried), None)
        if work.source is None:
            self._bereft.add(work.node.repository)
            return False
        work.attempts = 0
        self._ledger.again(work)
        return True

    def _settle(self, work: Work, outcome: Outcome) -> None:
        """Let one target's outcome take effect that is no failure."""
        repository, size = work.node.repository, work.step.size
        if outcome.how is How.REFUSED:
            work.action, work.session, work.attempts = Action.UPLOAD, outcome.session, 0
            self._surprise(work, f"the mount from {work.mount_from} was not granted: uploading")
            work.mount_from = repository  # a later attempt does not ask for it again
            self._ledger.again(work)
            return
        how = Landing(outcome.how)
        self._efforts.landed(work.node, size, how)
        if how is Landing.FOUND:
            self._book.surprise(work.node, "it was there already")
            self._not_empty.update({repository} if work.step.proven_absent else ())
        self._report(Landed(repository, work.digest, size, how))
        self._ledger.done(work)

    def _attempts(self, work: Work, outcome: Outcome, transfer: Transfer) -> int:
        """How often this work is tried; once, where it went along with another image's source that failed."""
        return 1 if outcome.of_source and work.source != transfer.source else outcome.attempts

    def _retry(self, failed: Sequence[tuple[Work, Outcome]]) -> None:
        """Try again a little later, those that failed together together, so that they share a GET again."""
        attempts = max(work.attempts for work, _ in failed)
        seconds = _JITTER.uniform(0, min(_RETRY_CAP, _RETRY_BASE * 2**attempts))
        seconds = max(seconds, *(outcome.error.seconds for _, outcome in failed if outcome.error), 0.0)
        for work, outcome in failed:
            self._report(Retried(work.node.repository, work.node.name, str(outcome.error), seconds))
        self._spawn(self._later(seconds, [work for work, _ in failed]), self._timers)

    async def _later(self, seconds: float, works: Sequence[Work]) -> None:
        await self._clock.sleep(seconds)
        for work in works:
            self._ledger.again(work)

    # The one probe

    async def _probe(self, repository: Repository, digest: Digest) -> None:
        """After its first committed blob, learn whether a registry sees its own blobs (one request, once)."""
        if repository.registry in self._probed or digest.algorithm != "sha256":  # which a probe might harm
            return
        self._probed.add(repository.registry)
        with suppress(MmgraphError):
            await self._transport.probe(repository, digest)

    # The end

    def _ended(self, work: Work) -> None:
        """A node is done, failed or blocked: tell of the spec whose goal it is."""
        self._efforts.end(work.node)
        if (goal := self._goals.get(work.node)) is not None:
            self._finish(goal)

    def _finish(self, goal: Goal) -> None:
        """Tell of a spec that came to its end; enough failures stop the rest."""
        end = self._end(goal)
        self._report(Finished(goal.spec.destination, goal.root, end.outcome, end.cause))
        if end.bad:
            self._failures += 1
            if self._max_failures is not None and self._failures >= self._max_failures:
                self.drain()

    def _end(self, goal: Goal) -> End:
        node = goal.node if goal.result is not Result.FAILED else None
        work = self._ledger.get(node) if node is not None else None
        if work is None:
            return End.planned(goal)
        return End.written(goal) if work.state is State.DONE else End(goal, *work.failure)

    def _surprise(self, work: Work, text: str) -> None:
        self._book.surprise(work.node, text)
        self._report(Surprise(work.node.repository, work.node.name, text))

    # Tasks

    def _spawn(
        self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]] | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        kept = self._tasks if tasks is None else tasks
        kept.add(task)

        def reap(_: asyncio.Task[None]) -> None:
            kept.discard(task)
            self._wake.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                self._crash = error

        task.add_done_callback(reap)
        return task

    async def _time_out(self, running: set[asyncio.Task[None]]) -> None:
        await self._clock.sleep(DRAIN_SECONDS)
        for task in running:
            task.cancel()

    async def _close_sessions(self) -> None:
        """Cancel the sessions that refused mounts left open and that nothing has used."""
        sessions = [work.session for work in self._ledger if work.session is not None]
        if sessions:
            with suppress(TimeoutError):  # of all together, where a registry has fallen silent
                await within(self._clock, _CLOSING_SECONDS, each(sessions, self._transport.cancel, _CLOSINGS))

    async def _cancel(self, tasks: set[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
