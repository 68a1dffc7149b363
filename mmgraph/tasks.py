"""Doing many things at once, but not too many. Knows nothing of what is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")


class Ahead(Generic[T]):
    """Awaits ``work`` for every item from the moment it is made, ``width`` at a time; iterating yields what is done.

    In the order in which it is done. What ``work`` raises is raised by the iteration. ``close`` cancels what is left,
    and must be called at the end.
    """

    def __init__(self, items: Iterable[T], work: Callable[[T], Awaitable[object]], width: int) -> None:
        self._work = work
        self._left = iter(items)
        self._done: asyncio.Queue[T | _End] = asyncio.Queue()
        self._workers = [asyncio.ensure_future(self._run()) for _ in range(width)]
        self._running = width

    async def _run(self) -> None:
        try:
            for item in self._left:
                await self._work(item)
                self._done.put_nowait(item)
        except Exception as error:
            self._done.put_nowait(_End(error))
        else:
            self._done.put_nowait(_End(None))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while self._running:
            item = await self._done.get()
            if not isinstance(item, _End):
                return item
            self._running -= 1
            if item.error is not None:
                raise item.error
        raise StopAsyncIteration

    async def close(self) -> None:
        """Cancel what has not been done."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)


class _End(NamedTuple):
    """A worker has nothing more to do, or failed."""

    error: Exception | None


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
