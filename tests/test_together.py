"""Several at once: who is only held up by pauses is cut loose, and nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mmgraph.tee import MOMENT, together

if TYPE_CHECKING:
    from tests.support.clock import ManualClock


async def after(clock: ManualClock, seconds: float) -> float:
    """Return the time after ``seconds``."""
    await clock.sleep(seconds)
    return clock.now() - 1000


async def test_who_is_held_up_is_cut_loose(clock: ManualClock) -> None:
    """After a moment of pauses in all, counted from when another was done, the work is cancelled."""
    held = {0: lambda: 0.0, 1: lambda: (clock.now() - 1000) / 2}
    works = [after(clock, 3), after(clock, 100)]
    with clock.autojump(0.001):
        found = await together(works, lambda number: held[number](), clock)
    assert ([3.0, None], 3 + 2 * MOMENT, 0) == (found, clock.now() - 1000, clock.waiting)


async def test_who_is_slow_is_waited_for(clock: ManualClock) -> None:
    """Work that no pause holds up takes as long as it takes."""
    with clock.autojump(0.001):
        found = await together([after(clock, 0), after(clock, 100)], lambda number: 0.0, clock)
    assert [0.0, 100.0] == found


async def test_where_all_are_held_up_nobody_is_cut(clock: ManualClock) -> None:
    """Nothing is gained by it as long as none is done."""
    with clock.autojump(0.001):
        found = await together(
            [after(clock, 100), after(clock, 101)], lambda number: clock.now() - 1000, clock
        )
    assert [100.0, 101.0] == found


async def test_one_alone_is_never_cut(clock: ManualClock) -> None:
    """There is nobody who waits for it."""
    with clock.autojump(0.001):
        assert [50.0] == await together([after(clock, 50)], lambda number: clock.now(), clock)


async def test_cancelled_it_leaves_nothing_behind(clock: ManualClock) -> None:
    """Cancelling the whole cancels every part."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(together([after(clock, 9), after(clock, 9)], lambda number: 0.0, clock))
    await clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (set(), 0) == (asyncio.all_tasks() - before, clock.waiting)
