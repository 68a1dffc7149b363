"""Bytes as they pass: nothing is lost, and nobody hears of every chunk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmgraph.meter import Meter
from tests.support.clock import ManualClock

MIB = 1 << 20


async def test_small_steps_are_told_together(clock: ManualClock) -> None:
    """What is less than a MiB waits for the rest of it, and for the end."""
    told = list[tuple[int, int]]()
    meter = Meter(lambda read, sent: told.append((read, sent)), clock)
    for _ in range(3):
        meter(MIB // 2 - 1, 1)
    meter.close()
    meter.close()
    assert [(MIB - 2, 2), (MIB // 2 - 1, 1)] == told


async def test_slow_ones_are_told_in_time(clock: ManualClock) -> None:
    """Of a transfer that drips one hears four times a second."""
    told = list[tuple[int, int]]()
    meter = Meter(lambda read, sent: told.append((read, sent)), clock)
    for _ in range(5):
        meter(10, 0)
        await clock.advance(0.125)
    assert [(30, 0), (20, 0)] == told


@given(st.lists(st.tuples(st.integers(0, 2 * MIB), st.integers(0, 2 * MIB))))
def test_nothing_is_lost(steps: list[tuple[int, int]]) -> None:
    """What is told adds up to what has passed."""
    told = list[tuple[int, int]]()
    meter = Meter(lambda read, sent: told.append((read, sent)), ManualClock())
    for step in steps:
        meter(*step)
    meter.close()
    expected = [sum(read for read, _ in steps), sum(sent for _, sent in steps)]
    assert expected == [sum(read for read, _ in told), sum(sent for _, sent in told)]
