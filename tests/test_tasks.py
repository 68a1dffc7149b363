"""Doing many things at once: never too many, and nothing left behind."""

import asyncio

import pytest

from mmgraph.tasks import each


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
