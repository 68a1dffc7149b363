"""Windows, the queue and the pause: who gets in when, and that nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mmgraph.errors import RegistryError
from mmgraph.names import Registry
from mmgraph.registry.gate import WRITING, Allowance, Gate, PausedError, Ticket
from mmgraph.store import Operation, Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import ManualClock

A = Registry("a.example.com")
B = Registry("b.example.com")


@pytest.fixture
async def gate(clock: ManualClock) -> AsyncIterator[Gate]:
    """Hand out a gate of two slots a window."""
    gate = Gate(clock, jobs=2)
    yield gate
    await gate.close()


async def turns(count: int = 5) -> None:
    """Let everybody else run."""
    for _ in range(count):
        await asyncio.sleep(0)


def in_use(gate: Gate, registry: Registry) -> tuple[int, int]:
    """Return how many of two read and of two write slots cannot be had, and take none."""

    def taken(reads: list[Registry], writes: list[Registry]) -> int:
        tickets = [ticket for _ in range(2) if (ticket := gate.take(reads, writes)) is not None]
        for ticket in tickets:
            ticket.release()
        return 2 - len(tickets)

    return taken([registry], []), taken([], [registry])


async def test_reading_starts_wider_than_writing(clock: ManualClock) -> None:
    """Where the user names no number a look costs a registry less than an upload does."""
    gate = Gate(clock)
    windows = gate.traffic({}) if gate.places(A) else {}
    assert Traffic(0, 0, 0.0, 32, 16) == windows[A]


async def test_take_is_all_or_nothing(gate: Gate) -> None:
    """Where one window is full, no slot is taken in the others."""
    assert gate.take([], [B]) is not None
    assert gate.take([], [B]) is not None
    assert gate.take([A], [B]) is None
    expected = (0, 0)
    assert expected == in_use(gate, A)


async def test_reads_and_writes_are_apart(gate: Gate) -> None:
    """A full read window does not stop a write."""
    gate.take([A, A], [])
    assert gate.take([], [A]) is not None


async def test_one_registry_named_twice(gate: Gate) -> None:
    """Each mention takes a slot of its own."""
    gate.take([A, A], [])
    expected = (2, 0)
    assert expected == in_use(gate, A)


async def test_release_is_once(gate: Gate) -> None:
    """A second release gives nothing back."""
    first, second = gate.take([A], []), gate.take([A], [])
    assert first is not None
    assert second is not None
    first.release()
    first.release()
    expected = (1, 0)
    assert expected == in_use(gate, A)


async def test_acquire_in_order(gate: Gate) -> None:
    """Who waits is served in the order of asking."""
    held = gate.take([A, A], [])
    served: list[int] = []

    async def ask(number: int) -> None:
        with await gate.acquire(A, write=False):
            served.append(number)
            await turns()

    tasks = [asyncio.create_task(ask(number)) for number in range(5)]
    await turns()
    assert held is not None
    held.release()
    await asyncio.gather(*tasks)
    expected = [0, 1, 2, 3, 4]
    assert expected == served


async def test_take_does_not_overtake(gate: Gate) -> None:
    """A transfer does not take the slot that somebody waits for."""
    held = [gate.take([A], []), gate.take([A], [])]
    waiter = asyncio.create_task(gate.acquire(A, write=False))
    await turns()
    assert isinstance(held[0], Ticket)
    held[0].release()
    assert gate.take([A], []) is None
    (await waiter).release()


async def test_room_is_told(gate: Gate) -> None:
    """Whoever asked is woken when a slot comes free."""
    woken: list[int] = []
    gate.on_room(lambda: woken.append(1))
    ticket = gate.take([A], [])
    assert ticket is not None
    ticket.release()
    expected = [1]
    assert expected == woken


async def test_a_cancelled_waiter_leaves_nothing(gate: Gate) -> None:
    """A waiter that is cancelled holds no slot and no place in the queue."""
    held = gate.take([A, A], [])
    waiters = [asyncio.create_task(gate.acquire(A, write=False)) for _ in range(3)]
    await turns()
    for waiter in waiters[:2]:
        waiter.cancel()
    assert held is not None
    held.release()
    last = await waiters[2]
    expected = (1, 0)
    assert expected == in_use(gate, A)
    last.release()
    expected = (0, 0)
    assert expected == in_use(gate, A)


async def test_a_waiter_cancelled_while_granted(gate: Gate) -> None:
    """A slot granted in the same step as the cancellation goes to the next in line."""
    held = gate.take([A, A], [])
    first, second = (asyncio.create_task(gate.acquire(A, write=False)) for _ in range(2))
    await turns()
    assert held is not None
    held.release()
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    expected = (0, 0)
    assert expected == in_use(gate, A)
    assert gate.take([A, A], []) is not None


async def test_a_pause_stops_everybody(gate: Gate, clock: ManualClock) -> None:
    """While a registry is paused nothing is granted there; after it, all go on."""
    gate.pause(A, 30)
    waiter = asyncio.create_task(gate.acquire(A, write=True))
    passing = asyncio.create_task(gate.passed(A))
    await clock.advance(29)
    expected = [False, False, None]
    assert expected == [waiter.done(), passing.done(), gate.take([A], [])]
    await clock.advance(1)
    expected = [True, True]
    assert expected == [waiter.done(), passing.done()]
    waiter.result().release()


async def test_a_pause_stops_nobody_elsewhere(gate: Gate) -> None:
    """Another registry is not paused with it."""
    gate.pause(A, 30)
    assert gate.take([B], [B]) is not None
    await gate.passed(B)


async def test_the_longest_pause_holds(gate: Gate, clock: ManualClock) -> None:
    """A shorter pause asked for later does not end a longer one, and a longer one extends it."""
    gate.pause(A, 20)
    gate.pause(A, 5)
    await clock.advance(10)
    gate.pause(A, 20)
    await clock.advance(19)
    assert gate.take([A], []) is None
    await clock.advance(1)
    assert gate.take([A], []) is not None


async def test_the_end_of_a_pause_is_told(gate: Gate, clock: ManualClock) -> None:
    """Whoever takes slots at once learns when that is worth another attempt."""
    woken: list[int] = []
    gate.on_room(lambda: woken.append(1))
    gate.pause(A, 10)
    await clock.advance(10)
    expected = [1]
    assert expected == woken


async def test_never_more_than_the_window(gate: Gate) -> None:
    """However many ask, and however they are cancelled, no more than the window are in."""
    inside = most = 0

    async def ask(number: int) -> None:
        nonlocal inside, most
        with await gate.acquire(A, write=False):
            inside += 1
            most = max(most, inside)
            await turns(number % 4)
            inside -= 1

    tasks = [asyncio.create_task(ask(number)) for number in range(200)]
    for number in range(0, 200, 3):
        await asyncio.sleep(0)
        tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    expected = (2, (0, 0))
    assert expected == (most, in_use(gate, A))


# Pauses of one class, closures


GET, HEAD, PUT = Operation.GET_MANIFEST, Operation.HEAD_MANIFEST, Operation.PUT_MANIFEST


def closed() -> RegistryError:
    """Return the error of a registry that is closed."""
    return RegistryError("closed", status=429)


async def test_a_pause_of_one_class(gate: Gate, clock: ManualClock) -> None:
    """Only requests of that class wait; others and transfers go on, also with every slot asked for."""
    gate.pause(A, 30, GET)
    waiting = [asyncio.create_task(gate.acquire(A, write=False, operation=GET)) for _ in range(5)]
    await turns()
    with await gate.acquire(A, write=False, operation=HEAD):
        taken = gate.take([A], [A])
        assert (True, False) == (taken is not None, any(task.done() for task in waiting))
    for task in waiting:
        task.cancel()


async def test_the_end_of_a_class_pause(gate: Gate, clock: ManualClock) -> None:
    """Who waited for it goes on in turn, within the window."""
    gate.pause(A, 30, GET)
    waiting = [asyncio.create_task(gate.acquire(A, write=False, operation=GET)) for _ in range(3)]
    await clock.advance(30)
    expected = [True, True, False]
    assert expected == [task.done() for task in waiting]
    for task in waiting[:2]:
        task.result().release()
    await turns()
    waiting[2].result().release()


async def test_impatience(gate: Gate) -> None:
    """Who holds slots and cannot wait so long is told at once."""
    gate.pause(A, 30)
    with pytest.raises(PausedError, match="for 30 seconds"):
        await gate.passed(A, GET, patience=15)


async def test_closing_fails_all_that_wait(gate: Gate) -> None:
    """Those in the queue, those at the pause and those to come get the error it was closed with."""
    gate.pause(A, 30)
    waiting = [asyncio.create_task(gate.acquire(A, write=write)) for write in (False, True)]
    waiting.append(asyncio.create_task(gate.passed(A)))  # type: ignore[arg-type]
    await turns()
    gate.close_for(A, closed)
    found = await asyncio.gather(*waiting, gate.acquire(A, write=False), return_exceptions=True)
    assert (["closed"] * 4, (0, 0)) == ([str(error) for error in found], in_use(gate, A))


async def test_closing_fails_those_behind_others(gate: Gate) -> None:
    """Who waits for a slot is failed too, and every slot is free in the end."""
    held = gate.take([A, A], [])
    waiting = [asyncio.create_task(gate.acquire(A, write=False)) for _ in range(3)]
    await turns()
    gate.close_for(A, closed)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert held is not None
    held.release()
    assert (["closed"] * 3, (0, 0)) == ([str(error) for error in found], in_use(gate, A))


async def test_closed_for_writes(gate: Gate) -> None:
    """What takes no writes can be read."""
    gate.close_for(A, closed, WRITING)
    (await gate.acquire(A, write=False, operation=GET)).release()
    with pytest.raises(RegistryError, match="closed"):
        await gate.acquire(A, write=True, operation=PUT)
    assert ("closed", None, None) == (
        gate.closed(A, write=True),
        gate.closed(A, write=False),
        gate.closed(B, write=True),
    )


async def test_closed_for_a_while(gate: Gate, clock: ManualClock) -> None:
    """Once the time is over, requests go out again."""
    gate.close_for(A, closed, seconds=60)
    await clock.advance(60)
    (await gate.acquire(A, write=False)).release()


async def test_a_shrunken_window(gate: Gate) -> None:
    """After overload one request at a time is let in, whoever waits."""
    held = [gate.take([A], []), gate.take([A], [])]
    waiting = [asyncio.create_task(gate.acquire(A, write=False)) for _ in range(2)]
    await turns()
    gate.settle(A, Operation.GET_BLOB, 1.0, overloaded=True)
    granted = []
    for ticket in held:
        assert ticket is not None
        ticket.release()
        await turns()
        granted.append([waiter.done() for waiter in waiting])
    expected = [[False, False], [True, False]]
    assert expected == granted
    waiting[0].result().release()
    await turns()
    waiting[1].result().release()


async def test_the_pace(clock: ManualClock) -> None:
    """Requests leave one after the other at the rate that is allowed, and at once after a while of none."""
    gate = Gate(clock, allowances={A: Allowance(per_second=10)})
    with clock.autojump():
        began = clock.now()
        await asyncio.gather(*(gate.paced(A) for _ in range(5)))
        took = clock.now() - began
        await clock.sleep(100)
        before = clock.now()
        await gate.paced(A)
    assert (0.4, 0.0) == (round(took, 6), clock.now() - before)


async def test_traffic_counts_pauses(gate: Gate, clock: ManualClock) -> None:
    """A pause that is extended is one, and its seconds are those that it lasted."""
    gate.pause(A, 20)
    await clock.advance(10)
    gate.pause(A, 30)
    gate.pause(A, 5)
    await clock.advance(30)
    gate.pause(A, 1)
    expected = {A: Traffic(7, 2, 41.0, 2, 2)}
    assert expected == gate.traffic({A: 7})


async def test_free_takes_nothing(clock: ManualClock) -> None:
    """Whether slots could be taken is told without taking any: not where one is full, waited for, or paused."""
    gate = Gate(clock, 1)
    told = [gate.free([A], [B]), gate.free([A], [B])]
    with gate.take([A], []) or pytest.fail("no room"):
        told += [gate.free([A], [B]), gate.free([], [A, B])]
    gate.pause(B, 5)
    told += [gate.free([A], [B]), gate.free([A], [])]
    await gate.close()
    assert [True, True, False, True, False, True] == told


async def test_how_long_it_was_paused(clock: ManualClock) -> None:
    """Seconds count once they have passed, those of pauses that overlap once."""
    gate = Gate(clock)
    told = [gate.held_up(A)]
    gate.pause(A, 10)
    told.append(gate.held_up(A))
    await clock.advance(4)
    gate.pause(A, 8)
    told.append(gate.held_up(A))
    await clock.advance(100)
    told.append(gate.held_up(A))
    assert [0.0, 0.0, 4.0, 12.0] == told
