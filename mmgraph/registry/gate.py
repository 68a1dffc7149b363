"""How much may be under way at each registry: its windows, its pace, its pauses, and whether it is closed.

Owns ``Limits``' slots, the queue for small requests and all waiting for a registry's sake. Must not know what the
slots are used for, nor judge an answer.

Invariants: a window's ``used`` never exceeds the size it was granted at and equals the slots not yet released; who
waits here holds nothing; a cancelled waiter leaves no trace. A registry that is paused grants nothing, and nobody who
asks later gets ahead of who waits. A pause can be of one class of requests alone; a class that is closed raises the
error it was closed with, at once, for all that wait and all that come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

import msgspec

from mmgraph.errors import MmgraphError, RegistryError
from mmgraph.registry.policy import MAX_WAIT, WRITES
from mmgraph.registry.window import START_READING, Window
from mmgraph.store import Operation, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Registry

ALL: Final = "all requests"
WRITING: Final = "all writes"
_QUICK: Final = frozenset(
    {Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.GET_BLOB, Operation.POST_UPLOAD}
)
"""Operations whose answers begin after a round trip and a little work, whatever they are about."""


class Allowance(msgspec.Struct, frozen=True):
    """What the user allows at one registry: the size of each window, and the requests a second (None: any number)."""

    jobs: int | None = None
    per_second: float | None = None


class PausedError(RegistryError):
    """The registry is paused for longer than who asks can wait: to be tried again later, holding nothing."""

    final = False
    waits = True


class _Stop:
    """Why one class of requests does not go out: a pause with those that wait for its end, or a closure."""

    __slots__ = ("closed", "timer", "turns", "until")

    def __init__(self) -> None:
        self.until = float("-inf")
        self.timer: asyncio.Task[None] | None = None
        self.turns: list[asyncio.Future[None]] = []
        self.closed: Callable[[], MmgraphError] | None = None


class _Limit:
    """One registry."""

    __slots__ = ("free_at", "interval", "paused_seconds", "pauses", "read", "stops", "write")

    def __init__(self, jobs: int | None, interval: float) -> None:
        self.read = Window(jobs, START_READING)
        self.write = Window(jobs)
        self.stops: dict[str, _Stop] = {}
        self.interval = interval
        self.free_at = float("-inf")
        self.pauses = 0
        self.paused_seconds = 0.0

    def window(self, *, write: bool) -> Window:
        return self.write if write else self.read


class Ticket:
    """Slots taken together; a context manager that gives them back."""

    __slots__ = ("_gate", "_held")

    def __init__(self, gate: Gate, held: list[tuple[_Limit, Window]]) -> None:
        self._gate = gate
        self._held = held

    def release(self) -> None:
        """Give all slots back; a second call does nothing."""
        held, self._held = self._held, []
        for limit, window in held:
            window.used -= 1
            self._gate._grant(limit, window)  # noqa: SLF001 - a ticket is the gate's own half
        if held:
            self._gate._room()  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


class Gate:
    """The windows, paces and pauses of all registries of a run.

    ``jobs`` is the cap of each window (None: they find out themselves), ``allowances`` what differs at one registry,
    ``max_wait`` the seconds of the longest pause. ``close`` ends the timers of pauses.
    """

    def __init__(
        self,
        clock: Clock,
        jobs: int | None = None,
        *,
        max_wait: float = MAX_WAIT,
        allowances: Mapping[Registry, Allowance] | None = None,
    ) -> None:
        self._clock = clock
        self._jobs = jobs
        self._allowances = dict(allowances or {})
        self._limits: dict[Registry, _Limit] = {}
        self._wakes: list[Callable[[], None]] = []
        self.max_wait = max_wait

    # Slots

    def take(self, reads: Collection[Registry], writes: Collection[Registry]) -> Ticket | None:
        """Take one slot for each named registry now, all or none; None too while others wait for one.

        At a registry that is closed nothing is paused: who goes there learns why at once.
        """
        held: list[tuple[_Limit, Window]] = []
        for registries, write in ((reads, False), (writes, True)):
            for registry in registries:
                limit = self._limit(registry)
                window = limit.window(write=write)
                if window.waiting or not window.room or self._left(limit, ALL) > 0:
                    for _, taken in held:
                        taken.used -= 1
                    return None
                window.used += 1
                held.append((limit, window))
        return Ticket(self, held)

    def free(self, reads: Collection[Registry], writes: Collection[Registry]) -> bool:
        """Whether ``take`` would take them; takes none."""
        for registries, write in ((reads, False), (writes, True)):
            for registry in registries:
                limit = self._limit(registry)
                window = limit.window(write=write)
                if window.waiting or not window.room or self._left(limit, ALL) > 0:
                    return False
        return True

    def places(self, registry: Registry) -> int:
        """Return the present size of the registry's window of reads."""
        return self._limit(registry).read.size

    async def acquire(self, registry: Registry, *, write: bool, operation: Operation | None = None) -> Ticket:
        """Take one slot, in the order of asking, once neither the registry nor the operation is paused.

        Raises what the registry was closed with.
        """
        limit = self._limit(registry)
        window = limit.window(write=write)
        if not limit.stops and not window.waiting and window.room:
            window.used += 1
            return Ticket(self, [(limit, window)])
        classes = self._classes(operation, write=write)
        while True:
            if limit.stops:
                await self._wait(limit, [name for name in classes if name != ALL])
                self._refuse_closed(limit, classes)
            if not window.waiting and window.room and self._left(limit, ALL) <= 0:
                window.used += 1
                return Ticket(self, [(limit, window)])
            await self._queue(limit, window)
            ticket = Ticket(self, [(limit, window)])
            if not limit.stops:  # as nearly always
                return ticket
            try:
                self._refuse_closed(limit, classes)
            except MmgraphError:
                ticket.release()
                raise
            if all(self._left(limit, name) <= 0 for name in classes):
                return ticket
            ticket.release()  # its class was paused meanwhile: the slot goes to the next in line

    async def passed(
        self, registry: Registry, operation: Operation | None = None, patience: float = float("inf")
    ) -> None:
        """Return once nothing stands in the way of ``operation``: for requests under slots taken earlier.

        Raises ``PausedError`` where that would take more than ``patience`` seconds, and what it was closed with.
        """
        limit = self._limits.get(registry)
        if limit is None or not limit.stops:  # as nearly always
            return
        classes = self._classes(operation, write=operation in WRITES)
        while True:
            self._refuse_closed(limit, classes)
            left = max(self._left(limit, name) for name in classes)
            if left <= 0:
                return
            if left > patience:
                raise PausedError(
                    f"{registry} has asked to wait, for {left:.0f} seconds from now", status=429
                )
            await self._wait(limit, classes)

    def paces(self, registry: Registry) -> bool:
        """Whether the user allows so many requests a second there."""
        return self._limit(registry).interval > 0

    async def paced(self, registry: Registry) -> None:
        """Return when the next request may leave, by the requests a second that the user allows there."""
        limit = self._limits.get(registry) or self._limit(registry)
        if not limit.interval:
            return
        now = self._clock.now()
        limit.free_at = max(now, limit.free_at + limit.interval)
        if limit.free_at > now:
            await self._clock.sleep(limit.free_at - now)

    # Stops

    def pause(self, registry: Registry, seconds: float, name: str = ALL) -> None:
        """Let no request of the class ``name`` out for ``seconds``; the longest pause asked for holds."""
        limit = self._limit(registry)
        stop = limit.stops.setdefault(name, _Stop())
        now = self._clock.now()
        until = now + seconds
        if until <= stop.until or seconds <= 0:
            return
        limit.pauses += stop.timer is None
        limit.paused_seconds += until - max(stop.until, now)
        stop.until = until
        if stop.timer is None:
            stop.timer = asyncio.create_task(self._resume(limit, stop))

    def close_for(
        self,
        registry: Registry,
        error: Callable[[], MmgraphError],
        name: str = ALL,
        seconds: float = float("inf"),
    ) -> None:
        """From now on, for ``seconds``, raise ``error()`` for all of the class ``name`` that wait here or come."""
        limit = self._limit(registry)
        stop = limit.stops.setdefault(name, _Stop())
        stop.closed, stop.until = error, self._clock.now() + seconds
        if stop.timer is not None:
            stop.timer.cancel()
            stop.timer = None
        self._wake(stop)
        for window in (limit.read, limit.write):  # who waits for a slot looks again, and finds it closed
            if name in self._classes(None, write=window is limit.write):
                waiting, window.waiting = window.waiting, type(window.waiting)()
                for turn in waiting:
                    if not turn.done():
                        window.used += 1
                        turn.set_result(None)
        self._room()

    def stopped(self, registry: Registry, operation: Operation | None = None) -> bool:
        """Whether a request would have to wait for a pause, or be refused."""
        limit = self._limit(registry)
        classes = self._classes(operation, write=operation in WRITES)
        return self._closed(limit, classes) is not None or self.left(registry, operation) > 0

    def left(self, registry: Registry, operation: Operation | None = None) -> float:
        """Return the seconds that a request would have to wait for pauses."""
        limit = self._limit(registry)
        classes = self._classes(operation, write=operation in WRITES)
        return max(0.0, *(self._left(limit, name) for name in classes))

    def closed(self, registry: Registry, *, write: bool) -> str | None:
        """Return why the registry is closed, None where it is not."""
        limit = self._limits.get(registry)
        if limit is None or not limit.stops:
            return None
        error = self._closed(limit, self._classes(None, write=write))
        return str(error()) if error else None

    def paused(self, registry: Registry) -> float:
        """Return the seconds until the registry's pause ends; 0 where it is not paused, or closed."""
        limit = self._limits.get(registry)
        return 0.0 if limit is None else max(0.0, self._left(limit, ALL))

    def held_up(self, registry: Registry) -> float:
        """Return the seconds for which the registry has been paused so far."""
        limit = self._limits.get(registry)
        if limit is None:
            return 0.0
        return limit.paused_seconds - sum(max(0.0, self._left(limit, name)) for name in limit.stops)

    # How it went

    def settle(self, registry: Registry, operation: Operation, began: float, *, overloaded: bool) -> None:
        """Let the window learn from a request that ``began`` then: it went well, or it was too much."""
        window = self._limit(registry).window(write=operation in WRITES)
        now = self._clock.now()
        if overloaded:
            window.halve(began, now)
            return
        window.grow()

    def answered(self, registry: Registry, operation: Operation, seconds: float) -> None:
        """Let the window know how long after a request was on its way its answer began."""
        if operation in _QUICK:
            self._limit(registry).window(write=operation in WRITES).answered(operation, seconds)

    def on_room(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever a slot has come free or a pause has ended."""
        self._wakes.append(wake)

    def traffic(self, retries: Mapping[Registry, int]) -> Mapping[Registry, Traffic]:
        """Return how it went at each registry; ``retries`` is counted elsewhere."""
        return {
            registry: Traffic(
                retries.get(registry, 0),
                limit.pauses,
                limit.paused_seconds,
                limit.read.size,
                limit.write.size,
            )
            for registry, limit in self._limits.items()
        }

    async def close(self) -> None:
        """End the timers; waiters are their callers' to cancel."""
        stops = [stop for limit in self._limits.values() for stop in limit.stops.values()]
        timers = [stop.timer for stop in stops if stop.timer is not None]
        for timer in timers:
            timer.cancel()
        await asyncio.gather(*timers, return_exceptions=True)

    # Within

    def _limit(self, registry: Registry) -> _Limit:
        limit = self._limits.get(registry)
        if limit is None:
            allowance = self._allowances.get(registry, Allowance())
            interval = 1 / allowance.per_second if allowance.per_second else 0.0
            limit = self._limits[registry] = _Limit(allowance.jobs or self._jobs, interval)
        return limit

    def _classes(self, operation: Operation | None, *, write: bool) -> list[str]:
        names = [ALL, WRITING] if write else [ALL]
        return names if operation is None else [*names, operation]

    def _left(self, limit: _Limit, name: str) -> float:
        """The seconds that a pause has left."""
        stop = limit.stops.get(name)
        return stop.until - self._clock.now() if stop is not None and stop.timer is not None else 0.0

    def _closed(self, limit: _Limit, names: Collection[str]) -> Callable[[], MmgraphError] | None:
        for name in names:
            stop = limit.stops.get(name)
            if stop is not None and stop.closed is not None:
                if stop.until > self._clock.now():
                    return stop.closed
                stop.closed = None
        return None

    def _refuse_closed(self, limit: _Limit, names: Collection[str]) -> None:
        error = self._closed(limit, names)
        if error is not None:
            raise error()

    async def _wait(self, limit: _Limit, names: Collection[str]) -> None:
        """Return when the pauses of the classes have ended, or one of them has been closed."""
        for name in names:
            stop = limit.stops.get(name)
            while stop is not None and stop.timer is not None:
                turn = asyncio.get_running_loop().create_future()
                stop.turns.append(turn)
                await turn

    async def _queue(self, limit: _Limit, window: Window) -> None:
        """Return with a slot taken, in the order of asking."""
        turn = asyncio.get_running_loop().create_future()
        window.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # granted in the same step: the slot goes to the next
                Ticket(self, [(limit, window)]).release()
            elif turn in window.waiting:
                window.waiting.remove(turn)
            raise

    async def _resume(self, limit: _Limit, stop: _Stop) -> None:
        while (seconds := stop.until - self._clock.now()) > 0:
            await self._clock.sleep(seconds)
        stop.timer = None
        self._wake(stop)
        self._grant(limit, limit.read)
        self._grant(limit, limit.write)
        self._room()

    def _wake(self, stop: _Stop) -> None:
        turns, stop.turns = stop.turns, []
        for turn in turns:
            if not turn.done():
                turn.set_result(None)

    def _grant(self, limit: _Limit, window: Window) -> None:
        while window.waiting and window.room and (not limit.stops or self._left(limit, ALL) <= 0):
            turn = window.waiting.popleft()
            if not turn.done():
                window.used += 1
                turn.set_result(None)

    def _room(self) -> None:
        for wake in self._wakes:
            wake()
