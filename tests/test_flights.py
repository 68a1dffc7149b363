"""Work shared by whoever wants it, and what becomes of it when they leave."""

from __future__ import annotations

import asyncio

import pytest

from mmgraph.flights import Flights, Once


class Work:
    """Work that waits until it is told to go on, and counts what happens to it."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        """Return the number of the start."""
        self.started += 1
        number = self.started
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


async def boarded(flights: Flights[str, int], work: Work, count: int) -> list[asyncio.Task[int]]:
    """Let ``count`` passengers board."""
    tasks = [asyncio.create_task(flights.join("key", work)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_one_flight_for_all() -> None:
    """All who come while work is under way share it, and nothing is kept of it."""
    flights, work = Flights[str, int](), Work()
    tasks = await boarded(flights, work, 50)
    work.go.set()
    found = [*await asyncio.gather(*tasks), await flights.join("key", work)]
    assert ([*[1] * 50, 2], 0) == (found, len(flights))


async def test_a_passenger_leaves() -> None:
    """One who is cancelled takes nothing away from the others."""
    flights, work = Flights[str, int](), Work()
    first, second = await boarded(flights, work, 2)
    first.cancel()
    await asyncio.sleep(0)
    work.go.set()
    expected = (1, 1, 0)
    assert expected == (await second, work.started, work.cancelled)


async def test_the_last_passenger_ends_it() -> None:
    """When nobody waits for it any more the work is cancelled, and nothing is left behind."""
    flights, work = Flights[str, int](), Work()
    tasks = await boarded(flights, work, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await flights.close()
    expected = (1, 0)
    assert expected == (work.cancelled, len(flights))


async def test_who_comes_after_the_last_left() -> None:
    """A flight that is being cancelled takes nobody on board: the next one starts anew."""
    flights, work = Flights[str, int](), Work()
    (first,) = await boarded(flights, work, 1)
    first.cancel()
    second = asyncio.create_task(flights.join("key", work))
    await asyncio.gather(first, return_exceptions=True)
    work.go.set()
    expected = 2
    assert expected == await second


async def test_a_failure_is_everybodys() -> None:
    """All passengers get the exception, and the next flight starts anew."""
    flights = Flights[str, int]()

    async def fail() -> int:
        raise ValueError("no")

    found = await asyncio.gather(*(flights.join("key", fail) for _ in range(3)), return_exceptions=True)
    assert [ValueError] * 3 == [type(each) for each in found]


async def test_close() -> None:
    """Closing ends the work and its passengers with it."""
    flights, work = Flights[str, int](), Work()
    (task,) = await boarded(flights, work, 1)
    await flights.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    expected = (1, 0)
    assert expected == (work.cancelled, len(flights))


async def test_once_keeps_what_it_came_to() -> None:
    """Who asks later gets the same, without another start."""
    once: Once[str, int] = Once()
    work = Work()
    work.go.set()
    assert ([1, 1], 1) == ([await once.get("key", work) for _ in range(2)], work.started)


async def test_once_keeps_a_failure() -> None:
    """What failed is not tried again."""
    once: Once[str, int] = Once()
    calls: list[int] = []

    async def fail() -> int:
        calls.append(1)
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            await once.get("key", fail)
    assert [1] == calls


async def test_once_leaves_nothing_behind() -> None:
    """When all who wait are cancelled the work is too, and whoever asks later starts it anew."""
    once: Once[str, int] = Once()
    work = Work()
    tasks = [asyncio.create_task(once.get("key", work)) for _ in range(2)]
    for _ in range(3):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    work.go.set()
    assert ([], 2) == (left, await once.get("key", work))


async def test_once_goes_on_without_the_first() -> None:
    """Where whoever does the work is cancelled, the next one who waits does it."""
    once: Once[str, int] = Once()
    work = Work()
    first, second = (asyncio.create_task(once.get("key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    work.go.set()
    assert (2, 2) == (await second, work.started)


async def test_once_is_once_for_whoever_comes_when_it_ends() -> None:
    """Somebody asks at each turn of the loop, so that one does right between the work's end and its passengers'."""
    once: Once[str, int] = Once()
    calls: list[int] = []

    async def work() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return 1

    tasks = []
    for _ in range(12):
        tasks.append(asyncio.create_task(once.get("key", work)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert [1] == calls


async def test_a_failure_that_is_kept_does_not_grow() -> None:
    """Each who is told of it hears of his own call, and not of all the others'."""
    once: Once[str, int] = Once()

    async def fail() -> int:
        raise KeyError

    lengths = []
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            await once.get("key", fail)
        lengths.append(len(caught.traceback))
    assert lengths[1] == lengths[2]
