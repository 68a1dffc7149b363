"""Whether a peer still moves: silence, drips, and time that is not the peer's."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mmgraph.collector import uncollected
from mmgraph.registry.watch import (
    ANSWER,
    COMMIT,
    CONNECT,
    FLOOR,
    READING,
    SENDING,
    TLS,
    Phase,
    StalledError,
    Watch,
    Watchdog,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import ManualClock


class Peer:
    """An exchange whose progress a test decides; ``ended`` is what it was ended by."""

    def __init__(self) -> None:
        self.bytes = 0
        self.ended: list[StalledError] = []

    def progress(self) -> int:
        """Return how far it has come."""
        return self.bytes


@pytest.fixture
async def dog(clock: ManualClock) -> AsyncIterator[Watchdog]:
    """Keep a watchdog for the length of a test."""
    dog = Watchdog(clock)
    yield dog
    await dog.close()


async def drip(clock: ManualClock, watch: Watch, peer: Peer, seconds: int, rate: int) -> None:
    """Let so many bytes come each second."""
    for _ in range(seconds):
        watch.wait(READING)
        await clock.advance(1)
        watch.go()
        peer.bytes += rate


@pytest.mark.parametrize(
    "phase", [CONNECT, TLS, ANSWER, SENDING, COMMIT, READING], ids=lambda phase: phase.text
)
async def test_silence_is_ended_in_time(dog: Watchdog, clock: ManualClock, phase: Phase) -> None:
    """Each phase has its seconds, and ends once, and not before."""
    peer = Peer()
    with closing(dog.watch(phase, peer.ended.append)):
        await clock.advance(phase.seconds - 1)
        before = len(peer.ended)
        await clock.advance(100)
    assert (0, 1) == (before, len(peer.ended))


async def test_a_drip_is_ended_by_the_floor(dog: Watchdog, clock: ManualClock) -> None:
    """A byte a second is progress, and too little of it after a minute."""
    peer = Peer()
    with closing(dog.watch(READING, peer.ended.append)) as watch:
        watch.progress = peer.progress
        await drip(clock, watch, peer, 50, 1)
        before = len(peer.ended)
        await drip(clock, watch, peer, 12, 1)
    assert (0, 1) == (before, len(peer.ended))


async def test_a_slow_line_is_let_be(dog: Watchdog, clock: ManualClock) -> None:
    """Whoever keeps above the floor may take hours."""
    peer = Peer()
    with closing(dog.watch(READING, peer.ended.append)) as watch:
        watch.progress = peer.progress
        await drip(clock, watch, peer, 600, FLOOR * 11 // 10)
    assert [] == peer.ended


async def test_our_own_time_is_not_the_peers(dog: Watchdog, clock: ManualClock) -> None:
    """A destination that lets the source wait for an hour is not held against the source."""
    peer = Peer()
    with closing(dog.watch(READING, peer.ended.append)) as watch:
        watch.progress = peer.progress
        for _ in range(10):
            watch.wait(READING)
            await clock.advance(5)
            watch.go()
            await clock.advance(360)
    assert [] == peer.ended


async def test_another_phase_begins_its_time_anew(dog: Watchdog, clock: ManualClock) -> None:
    """What was waited for an answer is not counted against the body."""
    peer = Peer()
    with closing(dog.watch(ANSWER, peer.ended.append)) as watch:
        await clock.advance(50)
        watch.wait(READING)
        await clock.advance(50)
    assert [] == peer.ended


async def test_what_is_over_is_not_ended(dog: Watchdog, clock: ManualClock) -> None:
    """After the exchange nobody is called, and with none left the watchdog sleeps."""
    peer = Peer()
    with closing(dog.watch(ANSWER, peer.ended.append)):
        await clock.advance(10)
    await clock.advance(100)
    assert ([], 0) == (peer.ended, clock.waiting)


async def test_one_task_for_all(dog: Watchdog, clock: ManualClock) -> None:
    """A thousand exchanges are looked at by one task, and each is ended by itself."""
    peers = [Peer() for _ in range(1000)]
    tasks = len(asyncio.all_tasks())
    watches = [dog.watch(ANSWER, peer.ended.append) for peer in peers]
    added = len(asyncio.all_tasks()) - tasks
    await clock.advance(61)
    for watch in watches:
        watch.close()
    assert (1, 1000) == (added, sum(len(peer.ended) for peer in peers))


async def test_an_exchange_that_is_over_holds_nothing(clock: ManualClock) -> None:
    """What its ends lead to is free at once: a blob's bytes hung on it until the collector came."""

    class Exchange:
        def __init__(self, dog: Watchdog) -> None:
            self.watch = dog.watch(CONNECT, self.end)
            self.watch.linked = self.linked
            self.watch.progress = self.progress

        def end(self, error: StalledError) -> None:
            raise error

        def linked(self) -> bool:
            return True

        def progress(self) -> int:
            return 0

    dog = Watchdog(clock)
    with uncollected():
        exchange = Exchange(dog)
        kept = weakref.ref(exchange)
        exchange.watch.close()
        del exchange
        gone = kept() is None
    await dog.close()
    assert gone
