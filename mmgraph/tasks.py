"""Doing many things at once, but not too many. Knows nothing of what is done."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Self, TypeVar

from mmgraph.clock import within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator
    from typing import Any

    from mmgraph.clock import Clock

S = TypeVar("S")
T = TypeVar("T")


_HELD: Final = 1.0
"""Seconds for which what is done waits for what comes before it."""


class Ahead(Generic[T]):
    """Awaits ``work`` for every item from the moment it is made; iterating yields what is done.

    Of the items of one ``line`` (all, by default) ``width`` are worked on at a time: no line waits for another. They
    come in the order of the items, so that another run comes to the same; but what has waited for earlier ones for a
    second goes before them. What ``work`` raises is raised by the iteration. ``close`` cancels what is left, and must
    be called at the end.
    """

    def __init__(
        self,
        items: Iterable[T],
        work: Callable[[T], Awaitable[object]],
        width: int,
        clock: Clock,
        line: Callable[[T], Hashable] = lambda item: None,
    ) -> None:
        self._work = work
        self._clock = clock
        self._done: asyncio.Queue[tuple[int, T] | _End] = asyncio.Queue()
        self._held: dict[int, tuple[T, float]] = {}
        """What is done by its place, and when it goes on its way at the latest."""
        self._places: list[int] = []
        """The places of what is held, the first one first."""
        self._gone: set[int] = set()
        self._next = 0
        lines: dict[Hashable, list[tuple[int, T]]] = {}
        for place, item in enumerate(items):
            lines.setdefault(line(item), []).append((place, item))
        self._workers = [
            asyncio.ensure_future(self._run(left))
            for waiting in lines.values()
            for left in repeat(iter(waiting), min(width, len(waiting)))
        ]
        self._running = len(self._workers)

    async def _run(self, left: Iterator[tuple[int, T]]) -> None:
        try:
            for place, item in left:
                await self._work(item)
                self._done.put_nowait((place, item))
        except Exception as error:
            self._done.put_nowait(_End(error))
        else:
            self._done.put_nowait(_End(None))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while self._next not in self._held and self._running:
            try:
                await self._hear()
            except TimeoutError:
                break
        if not self._held:
            raise StopAsyncIteration
        place = heapq.heappop(self._places)
        self._gone.add(place)
        while self._next in self._gone:
            self._gone.discard(self._next)
            self._next += 1
        return self._held.pop(place)[0]

    async def _hear(self) -> None:
        """Take in what is done next; ``TimeoutError`` where something has waited long enough for that."""
        if not self._held or not self._done.empty():
            done = await self._done.get()
        else:
            latest = next(iter(self._held.values()))[1]  # they were noted in the order of time
            done = await within(self._clock, latest - self._clock.now(), self._done.get())
        if not isinstance(done, _End):
            place, item = done
            self._held[place] = item, self._clock.now() + _HELD
            heapq.heappush(self._places, place)
            return
        self._running -= 1
        if done.error is not None:
            raise done.error

    async def close(self) -> None:
        """Cancel what has not been done."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)


class _End(NamedTuple):
    """A worker has nothing more to do, or failed."""

    error: Exception | None


class Share:
    """A share of the places at something: at most ``most()`` at once, which is asked anew at each beginning and end.

    Who waits has a turn in the order of coming, and leaves no trace where it is cancelled.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if not self._waiting and self._used < max(1, self._most()):
            self._used += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(turn)
            else:  # its turn had come already: it is the next one's
                self._leave()
            raise

    async def __aexit__(self, *exc: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._used -= 1
        while self._waiting and self._used < max(1, self._most()):
            turn = self._waiting.popleft()
            if not turn.done():  # else it is cancelled, and has not run since
                self._used += 1
                turn.set_result(None)


async def each(items: Iterable[T], work: Callable[[T], Awaitable[object]], width: int) -> None:
    """Await ``work`` for every item, ``width`` at a time, in the order of the items.

    The first exception cancels the rest and is raised as it is.
    """
    work_left = list(items)
    queue = iter(work_left)

    async def worker() -> None:
        for item in queue:
            await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(min(width, len(work_left)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def both(aside: Coroutine[Any, Any, T], work: Awaitable[S]) -> tuple[T, S]:
    """Await both at once, with a task for ``aside`` alone; where ``work`` fails ``aside`` is cancelled.

    What ``aside`` raises is raised when ``work`` is over. ``asyncio.gather`` makes two tasks, and leaves one running.
    """
    task = asyncio.ensure_future(aside)
    try:
        done = await work
        return await task, done
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
