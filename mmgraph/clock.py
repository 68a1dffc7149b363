"""Time as something handed in: every wait of mmgraph goes through a Clock. Knows nothing of what is waited for."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Clock(Protocol):
    """What can tell and pass time; tests hand in one whose time they advance themselves."""

    def now(self) -> float:
        """Seconds on a clock that only runs forward; only differences mean anything."""
        ...

    def wall(self) -> float:
        """Seconds since 1970 UTC, for dates that registries send (Retry-After, token expiry)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return or raise what ``work`` comes to; after ``seconds`` it is cancelled, and ``TimeoutError`` raised.

    Nothing of it goes on once this returns, whichever way.
    """
    working = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((working, alarm), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise TimeoutError
    finally:
        for task in (working, alarm):
            task.cancel()
        await asyncio.gather(working, alarm, return_exceptions=True)
