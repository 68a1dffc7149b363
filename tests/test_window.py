"""A window's arithmetic: when it grows, when it halves, and its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmgraph.registry.window import Window


def full(window: Window) -> Window:
    """Return the window with all its places taken."""
    window.used = window.size
    return window


def test_it_starts_at_its_cap() -> None:
    """What the user allows is what it begins with."""
    assert 16 == Window(16).size


def test_overload_halves() -> None:
    """A request that was too much takes half the places, down to one."""
    window = Window(16)
    sizes = []
    for now in range(6):
        window.halve(began=now + 0.5, now=now + 1.0)
        sizes.append(window.size)
    expected = [8, 4, 2, 1, 1, 1]
    assert expected == sizes


def test_once_a_round_trip() -> None:
    """Requests that were under way when it was halved do not halve it again."""
    window = Window(16)
    for began in (0.0, 1.0, 5.0):
        window.halve(began, now=5.0)
    assert 8 == window.size


def test_a_window_full_of_successes_is_one_place_more() -> None:
    """Growth is additive: as many successes as it has places make one place."""
    window = Window(16)
    window.halve(began=1.0, now=2.0)
    for _ in range(9):
        full(window).grow()
    assert 9 == window.size


def test_a_window_that_is_not_full_learns_nothing() -> None:
    """Successes while places are free do not show that more could be under way."""
    window = Window(16)
    window.halve(began=1.0, now=2.0)
    window.used = 7
    for _ in range(100):
        window.grow()
    assert 8 == window.size


def test_it_never_passes_its_cap() -> None:
    """However well it goes, no more than the user allows."""
    window = Window(3)
    window.halve(began=1.0, now=2.0)
    for _ in range(1000):
        full(window).grow()
    assert 3 == window.size


@given(st.integers(-3, 64), st.lists(st.booleans(), max_size=200))
def test_bounds(cap: int, steps: list[bool]) -> None:
    """Whatever happens, at least one place and at most the cap."""
    window = Window(cap)
    sizes = []
    for now, good in enumerate(steps):
        if good:
            full(window).grow()
        else:
            window.halve(began=now + 0.5, now=now + 1.0)
        sizes.append(window.size)
    assert all(1 <= size <= max(1, cap) for size in sizes)
