"""Doing many things at once, but not too many. Knows nothing of what is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")


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
