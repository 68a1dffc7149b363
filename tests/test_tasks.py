"""Doing many things at once: never too many, and nothing left behind."""

import asyncio
import gc

import pytest

from mmgraph.clock import SystemClock
from mmgraph.tasks import Ahead, both, each
from tests.support.clock import ManualClock


async def test_no_more_than_the_width_run_at_once() -> None:
    """Twenty items, three at a time: all are done, and never four at once."""
    running = peak = done = 0

    async def work(_: int) -> None:
        nonlocal running, peak, done
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        done += 1

    await each(range(20), work, 3)
    assert (3, 20) == (peak, done)


async def test_the_first_exception_cancels_the_rest_and_is_raised_as_it_is() -> None:
    """One item fails: the others are cancelled, those that wait never start, and no group wraps the error."""
    started: list[int] = []
    cancelled: list[int] = []

    async def work(item: int) -> None:
        started.append(item)
        if item == 1:
            raise KeyError(item)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    with pytest.raises(KeyError, match="1"):
        await each(range(10), work, 3)
    assert ([0, 1, 2], [0, 2]) == (started, sorted(cancelled))


async def test_cancelling_the_whole_cancels_every_part() -> None:
    """Whoever waits is cancelled: nothing of it goes on."""
    ended: list[int] = []

    async def work(item: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(item)

    task = asyncio.create_task(each(range(2), work, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [0, 1] == sorted(ended)


async def test_ahead_works_before_anybody_asks() -> None:
    """What is read ahead has begun when the first result is asked for, and comes in the order of the items."""
    begun: list[int] = []

    async def work(item: int) -> None:
        begun.append(item)
        await asyncio.sleep(0.001 * item)

    ahead = Ahead([3, 1, 2], work, 3, SystemClock())
    await asyncio.sleep(0)
    started = list(begun)
    done = [item async for item in ahead]
    await ahead.close()
    assert ([3, 1, 2], [3, 1, 2]) == (started, done)


async def test_what_is_read_ahead_waits_a_second_for_what_comes_before_it() -> None:
    """The first of three takes long: the others go before it, in their order, and it comes last."""
    clock = ManualClock()
    begun = clock.now()

    async def work(item: int) -> None:
        await clock.sleep(30 if item == 0 else 0.4 / item)

    ahead = Ahead(range(3), work, 3, clock)
    with clock.autojump():
        found = [(item, clock.now() - begun) async for item in ahead]
    await ahead.close()
    assert [(1, 1.2), (2, 1.2), (0, 30.0)] == [(item, round(at, 3)) for item, at in found]


async def test_ahead_is_never_wider_than_told() -> None:
    """Twenty items, three at a time: all come back, and never four at once."""
    running = peak = 0

    async def work(_: int) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1

    ahead = Ahead(range(20), work, 3, SystemClock())
    done = [item async for item in ahead]
    await ahead.close()
    assert (3, list(range(20))) == (peak, sorted(done))


async def test_what_fails_ahead_fails_who_asks() -> None:
    """An exception comes out of the iteration as it is."""

    async def work(item: int) -> None:
        raise KeyError(item)

    ahead = Ahead([7], work, 1, SystemClock())
    with pytest.raises(KeyError, match="7"):
        await anext(ahead)
    await ahead.close()


async def test_closing_cancels_what_is_left() -> None:
    """Whoever loses interest leaves nothing running."""
    ended: list[int] = []

    async def work(item: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(item)

    ahead = Ahead(range(5), work, 2, SystemClock())
    await asyncio.sleep(0)
    await ahead.close()
    assert [0, 1] == sorted(ended)


async def test_both_gives_what_both_came_to() -> None:
    """The results stand in the order of the arguments, whichever was ready first."""

    async def slow() -> str:
        await asyncio.sleep(0)
        return "slow"

    async def quick() -> int:
        return 1

    assert ("slow", 1) == await both(slow(), quick())


async def test_both_leaves_nothing_behind_where_the_work_fails() -> None:
    """What runs aside is cancelled, and the work's own error is raised."""
    ended = list[str]()

    async def aside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("aside")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        await both(aside(), fail())
    assert ["aside"] == ended


async def test_both_hears_of_two_failures(caplog: pytest.LogCaptureFixture) -> None:
    """Where both fail the work's error is raised, and nobody finds the other one lying about."""

    async def fail(error: Exception) -> None:
        raise error

    async def later() -> None:
        await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        await both(fail(ValueError()), later())
    gc.collect()
    assert [] == caplog.messages
