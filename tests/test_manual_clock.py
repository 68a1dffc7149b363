"""The clock of the tests, which other tests trust with every wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgraph.clock import Clock
    from tests.support.clock import ManualClock
    from tests.support.distribution import Distribution


async def _sleep_and_tell(clock: Clock, log: list[tuple[str, float]], name: str, *naps: float) -> None:
    for nap in naps:
        await clock.sleep(nap)
        log.append((name, clock.now()))


async def test_time_stands_still_until_advanced(clock: ManualClock) -> None:
    """A sleeper sleeps as long as nobody advances the time to its end."""
    log: list[tuple[str, float]] = []
    task = asyncio.create_task(_sleep_and_tell(clock, log, "a", 10))
    await clock.advance(9.5)
    asleep = clock.waiting
    await clock.advance(0.5)
    await task
    assert (asleep, log) == (1, [("a", 1010.0)])


async def test_sleepers_wake_in_order_at_their_own_time(clock: ManualClock) -> None:
    """One long advance wakes each sleeper at its instant, and again where it goes back to sleep."""
    log: list[tuple[str, float]] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_sleep_and_tell(clock, log, "a", 2, 2))
        group.create_task(_sleep_and_tell(clock, log, "b", 3))
        await clock.advance(100)
    expected = [("a", 1002.0), ("b", 1003.0), ("a", 1004.0)]
    assert expected == log


async def test_both_times_advance_together(clock: ManualClock) -> None:
    """The wall clock runs along with the other."""
    before = clock.wall()
    await clock.advance(90)
    expected = 90.0
    assert expected == clock.wall() - before


async def test_a_cancelled_sleeper_is_forgotten(clock: ManualClock) -> None:
    """Who was cancelled is not waited for and disturbs nobody."""
    task = asyncio.create_task(clock.sleep(5))
    await clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(10)
    expected = (0, None)
    assert expected == (clock.waiting, clock.next_wake)


async def test_autojump_passes_an_hour_at_once(clock: ManualClock) -> None:
    """With nothing else to do the clock jumps from sleeper to sleeper."""
    log: list[tuple[str, float]] = []
    with clock.autojump():
        async with asyncio.TaskGroup() as group:
            group.create_task(_sleep_and_tell(clock, log, "a", 3600, 3600))
            group.create_task(_sleep_and_tell(clock, log, "b", 5000))
    expected = [("a", 4600.0), ("b", 6000.0), ("a", 8200.0)]
    assert expected == log


async def test_autojump_lets_real_timers_be(clock: ManualClock) -> None:
    """A real time-out that is far off is no reason to wait for it."""
    with clock.autojump():
        async with asyncio.timeout(600):
            await clock.sleep(3600)
    expected = 4600.0
    assert expected == clock.now()


async def test_autojump_waits_for_sockets(
    clock: ManualClock, start_registry: Callable[..., Distribution]
) -> None:
    """While a server has yet to answer, and does so promptly, the clock stands still."""
    registry = start_registry()
    sleeper = asyncio.create_task(clock.sleep(3600))
    async with aiohttp.ClientSession() as session:
        with clock.autojump(idle=1.0):
            for _ in range(20):
                async with session.get(f"http://{registry.address}/v2/") as answer:
                    await answer.read()
            asleep = clock.waiting
    sleeper.cancel()
    expected = 1
    assert expected == asleep


async def test_autojump_ends_with_its_block(clock: ManualClock) -> None:
    """After the block the clock stands still again."""
    with clock.autojump():
        await clock.sleep(1)
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0.05)
    asleep = clock.waiting
    task.cancel()
    expected = 1
    assert expected == asleep
