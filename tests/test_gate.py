"""Windows, the queue and the pause: who gets in when, and that nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mmgraph.names import Registry
from mmgraph.registry.gate import Gate, Ticket

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


async def test_take_is_all_or_nothing(gate: Gate) -> None:
    """Where one window is full, no slot is taken in the others."""
    assert gate.take([], [B]) is not None
    assert gate.take([], [B]) is not None
    assert gate.take([A], [B]) is None
    expected = (0, 0)
    assert expected == gate.in_use(A)


async def test_reads_and_writes_are_apart(gate: Gate) -> None:
    """A full read window does not stop a write."""
    gate.take([A, A], [])
    assert gate.take([], [A]) is not None


async def test_one_registry_named_twice(gate: Gate) -> None:
    """Each mention takes a slot of its own."""
    gate.take([A, A], [])
    expected = (2, 0)
    assert expected == gate.in_use(A)


async def test_release_is_once(gate: Gate) -> None:
    """A second release gives nothing back."""
    first, second = gate.take([A], []), gate.take([A], [])
    assert first is not None
    assert second is not None
    first.release()
    first.release()
    expected = (1, 0)
    assert expected == gate.in_use(A)


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
    assert expected == gate.in_use(A)
    last.release()
    expected = (0, 0)
    assert expected == gate.in_use(A)


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
    assert expected == gate.in_use(A)
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
    assert expected == (most, gate.in_use(A))
