"""How much may be under way at each registry: its read window, its write window and its pause.

Owns ``Limits``' slots and the queue for small requests. Must not know what the slots are used for.

Invariants: a window's ``used`` never exceeds its size and equals the slots not yet released; who waits here
holds nothing; a cancelled waiter leaves no trace. A registry that is paused grants nothing, and nobody who
asks later gets ahead of who waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mmgraph.clock import Clock
    from mmgraph.names import Registry


class _Window:
    """Slots of one kind at one registry."""

    __slots__ = ("size", "used", "waiting")

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class _Limit:
    """One registry's windows, and until when it is paused."""

    __slots__ = ("paused_until", "read", "timer", "write")

    def __init__(self, jobs: int) -> None:
        self.read = _Window(jobs)
        self.write = _Window(jobs)
        self.paused_until = float("-inf")
        self.timer: asyncio.Task[None] | None = None


class Ticket:
    """Slots taken together; a context manager that gives them back."""

    __slots__ = ("_gate", "_held")

    def __init__(self, gate: Gate, held: list[tuple[_Limit, _Window]]) -> None:
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
    """The windows of all registries of a run.

    ``jobs`` is the size of each window. ``close`` ends the timers of pauses.
    """

    def __init__(self, clock: Clock, jobs: int = 16) -> None:
        self._clock = clock
        self._jobs = max(1, jobs)
        self._limits: dict[Registry, _Limit] = {}
        self._wakes: list[Callable[[], None]] = []

    def take(self, reads: Collection[Registry], writes: Collection[Registry]) -> Ticket | None:
        """Take one slot for each named registry now, all or none; None too while others wait for one."""
        held: list[tuple[_Limit, _Window]] = []
        for registries, writing in ((reads, False), (writes, True)):
            for registry in registries:
                limit = self._limit(registry)
                window = limit.write if writing else limit.read
                if window.waiting or window.used >= window.size or self._paused(limit):
                    for _, taken in held:
                        taken.used -= 1
                    return None
                window.used += 1
                held.append((limit, window))
        return Ticket(self, held)

    async def acquire(self, registry: Registry, *, write: bool) -> Ticket:
        """Take one slot, in the order of asking."""
        limit = self._limit(registry)
        window = limit.write if write else limit.read
        if not window.waiting and window.used < window.size and not self._paused(limit):
            window.used += 1
            return Ticket(self, [(limit, window)])
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
        return Ticket(self, [(limit, window)])

    async def passed(self, registry: Registry) -> None:
        """Return once the registry is not paused: for requests under slots taken earlier."""
        limit = self._limits.get(registry)
        while limit is not None and (seconds := limit.paused_until - self._clock.now()) > 0:
            await self._clock.sleep(seconds)

    def pause(self, registry: Registry, seconds: float) -> None:
        """Grant nothing at the registry for ``seconds``; the longest pause asked for holds."""
        limit = self._limit(registry)
        limit.paused_until = max(limit.paused_until, self._clock.now() + seconds)
        if limit.timer is None:
            limit.timer = asyncio.create_task(self._resume(limit, registry))

    def on_room(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever a slot has come free or a pause has ended."""
        self._wakes.append(wake)

    def in_use(self, registry: Registry) -> tuple[int, int]:
        """Return the read and write slots that are taken."""
        limit = self._limit(registry)
        return limit.read.used, limit.write.used

    async def close(self) -> None:
        """End the timers; waiters are their callers' to cancel."""
        timers = [limit.timer for limit in self._limits.values() if limit.timer is not None]
        for timer in timers:
            timer.cancel()
        await asyncio.gather(*timers, return_exceptions=True)

    def _limit(self, registry: Registry) -> _Limit:
        limit = self._limits.get(registry)
        if limit is None:
            limit = self._limits[registry] = _Limit(self._jobs)
        return limit

    def _paused(self, limit: _Limit) -> bool:
        return limit.timer is not None and limit.paused_until > self._clock.now()

    async def _resume(self, limit: _Limit, registry: Registry) -> None:
        try:
            await self.passed(registry)
        finally:
            limit.timer = None
        self._grant(limit, limit.read)
        self._grant(limit, limit.write)
        self._room()

    def _grant(self, limit: _Limit, window: _Window) -> None:
        while window.waiting and window.used < window.size and not self._paused(limit):
            turn = window.waiting.popleft()
            if not turn.done():
                window.used += 1
                turn.set_result(None)

    def _room(self) -> None:
        for wake in self._wakes:
            wake()
