"""A clock whose time tests advance themselves, or that jumps when nothing else is left to do."""

from __future__ import annotations

import asyncio
import heapq
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class ManualClock:
    """Time that passes only when told to: an ``mmgraph.clock.Clock``.

    ``slept`` lists every wait that was asked for, in order.
    """

    def __init__(self, now: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self.slept: list[float] = []
        self._now = now
        self._epoch = wall - now
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the seconds that have been told to pass, from an arbitrary start."""
        return self._now

    def wall(self) -> float:
        """Return the seconds since 1970, running along with ``now``."""
        return self._epoch + self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the time has been advanced by ``seconds``; for none after one turn of the loop."""
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    @property
    def waiting(self) -> int:
        """How many sleep now."""
        return sum(1 for *_, future in self._sleepers if not future.done())

    @property
    def next_wake(self) -> float | None:
        """When the next sleeper wakes, None where nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():  # cancelled
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, waking sleepers one instant after the other, each with its turns to go on.

        Whoever goes to sleep again meanwhile, and would wake within the time, does.
        """
        until = self._now + seconds
        await self.settle()
        while (wake := self.next_wake) is not None and wake <= until:
            self._jump(wake)
            await self.settle()
        self._now = until

    async def settle(self, turns: int = 20) -> None:
        """Give everyone else ``turns`` turns of the event loop."""
        for _ in range(turns):
            await asyncio.sleep(0)

    @contextmanager
    def autojump(self, idle: float = 0.01) -> Iterator[Self]:
        """Jump to the next sleeper whenever the running loop has had nothing to do for ``idle`` real seconds.

        Sockets count as something to do, and so do threads that report back within ``idle``: it is in its
        selector, where the loop would block, that it is idle.
        """
        selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        select: Callable[[float | None], list[Any]] = selector.select

        def select_or_jump(timeout: float | None = None) -> list[Any]:
            if self.next_wake is None or (timeout is not None and timeout <= idle):
                return select(timeout)
            events = select(idle)
            if not events and (wake := self.next_wake) is not None:
                self._jump(wake)
            return events

        selector.select = select_or_jump
        try:
            yield self
        finally:
            del selector.select

    def _jump(self, to: float) -> None:
        self._now = max(self._now, to)
        while (wake := self.next_wake) is not None and wake <= self._now:
            heapq.heappop(self._sleepers)[2].set_result(None)
