"""Doing many things at once: never too many, and nothing left behind."""

import asyncio
import gc

import pytest

from mmgraph.clock import SystemClock
from mmgraph.tasks import Ahead, Share, both, each
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


async def test_no_line_waits_for_another() -> None:
    """What takes for ever in one line keeps nothing of another from being done."""
    clock = ManualClock()

    async def work(item: int) -> None:
        await clock.sleep(1000 if item % 2 else 0)

    ahead = Ahead(range(8), work, 2, clock, lambda item: item % 2)
    with clock.autojump():
        found = [await anext(ahead) for _ in range(4)]
    await ahead.close()
    assert [0, 2, 4, 6] == found


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


async def in_share(share: Share, inside: list[int], number: int, until: asyncio.Event) -> None:
    """Be in it until told."""
    async with share:
        inside.append(number)
        await until.wait()


async def test_a_share_lets_in_as_many_as_there_are_places_for() -> None:
    """Two may be in; the third comes when one has left, and the number is asked anew then."""
    places, inside = [2], list[int]()
    share = Share(lambda: places[0])
    ends = [asyncio.Event() for _ in range(5)]
    tasks = [asyncio.create_task(in_share(share, inside, n, end)) for n, end in enumerate(ends)]
    await ManualClock().settle()
    before = list(inside)
    places[0] = 3
    ends[0].set()
    await ManualClock().settle()
    after = list(inside)
    for end in ends:
        end.set()
    await asyncio.gather(*tasks)
    assert ([0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]) == (before, after, inside)


async def test_a_share_is_never_less_than_one() -> None:
    """Where there is no place at all one is let in nonetheless: it waits further on, with a reason."""
    share = Share(lambda: 0)
    async with share:
        pass
    async with share:
        entered = True
    assert entered is True


async def test_who_is_cancelled_while_it_waits_leaves_no_trace() -> None:
    """The next in line comes in its place."""
    share, inside, ends = Share(lambda: 1), list[int](), [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(in_share(share, inside, n, end)) for n, end in enumerate(ends)]
    await ManualClock().settle()
    tasks[1].cancel()
    for end in ends:
        end.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [0, 2] == inside


async def test_who_is_cancelled_when_its_turn_has_come_passes_it_on() -> None:
    """Between being told and running, too."""
    share, inside, ends = Share(lambda: 1), list[int](), [asyncio.Event() for _ in range(3)]
    waiting: list[asyncio.Task[None]] = []

    async def first() -> None:
        await in_share(share, inside, 0, ends[0])
        waiting[0].cancel()  # it has been told, and has not run since

    tasks = [asyncio.create_task(first())]
    await asyncio.sleep(0)
    waiting += [asyncio.create_task(in_share(share, inside, n, ends[n])) for n in (1, 2)]
    await ManualClock().settle()
    for end in ends:
        end.set()
    await asyncio.gather(*tasks, *waiting, return_exceptions=True)
    assert [0, 2] == inside


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
