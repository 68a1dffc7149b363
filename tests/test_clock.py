"""Time as something handed in: work that may take only so much of it."""

from __future__ import annotations

import asyncio

import pytest

from mmgraph.clock import within
from tests.support.clock import ManualClock


async def nothing() -> str:
    """Return at once."""
    return "done"


async def test_what_ends_in_time_is_returned() -> None:
    """The result comes, and nobody sleeps on."""
    clock = ManualClock()
    assert ("done", 0) == (await within(clock, 5, nothing()), clock.waiting)


async def test_what_fails_in_time_is_raised() -> None:
    """An exception of the work is the caller's, as it is."""

    async def fail() -> None:
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await within(ManualClock(), 5, fail())


async def test_what_does_not_end_is_cancelled_to_its_end() -> None:
    """After so many seconds of the clock the work is cancelled, and has cleaned up when the caller is told."""
    clock, ended = ManualClock(), []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(clock.now())

    task = asyncio.create_task(within(clock, 5, stubborn()))
    await clock.advance(4.9)
    early = list(ended)
    await clock.advance(0.2)
    with pytest.raises(TimeoutError):
        await task
    assert ([], [1005.0]) == (early, ended)


async def test_a_cancelled_caller_leaves_nothing_behind() -> None:
    """Cancelling who waits ends the work and the alarm before the cancellation is told."""
    clock, ended = ManualClock(), []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    task = asyncio.create_task(within(clock, 5, stubborn()))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ([1], 0) == (ended, clock.waiting)
