"""A window's arithmetic: when it grows, when it halves, and its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmgraph.registry.window import MOST, START, Window


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


def answer(window: Window, seconds: float, times: int = 1) -> int:
    """Let so many answers come after ``seconds`` each, the window in full use; return its size then."""
    for _ in range(times):
        window.answered("POST", seconds)
        full(window).grow()
    return window.size


def test_without_a_number_it_starts_small() -> None:
    """And can grow to what a link of a few hundred milliseconds needs."""
    window = Window()
    assert (START, MOST) == (window.size, window.cap)


def test_quick_answers_double_it_in_a_round_trip() -> None:
    """Each answer that comes as quickly as the first makes room for one more."""
    window = Window()
    assert 2 * START == answer(window, 0.04, START)


def test_it_finds_its_most() -> None:
    """However quickly a registry answers, there is a bound."""
    assert MOST == answer(Window(), 0.04, 1000)


def test_slow_answers_are_given_way_to() -> None:
    """When answers take four times as long, what was gained is given back, down to the start."""
    window = Window()
    answer(window, 0.04, 64)
    sizes = [answer(window, 0.2, 40), answer(window, 0.2, 2000)]
    assert (True, START) == (sizes[0] < 80, sizes[1])


def test_it_grows_again_when_answers_are_quick_again() -> None:
    """A link that was full of large blobs is not full of the small ones that follow."""
    window = Window()
    answer(window, 0.04, 16)
    answer(window, 0.4, 1000)
    assert MOST == answer(window, 0.04, 1000)


def test_a_registry_next_door_is_not_measured_by_its_milliseconds() -> None:
    """Five milliseconds instead of one are no sign of too much."""
    window = Window()
    answer(window, 0.001)
    assert answer(window, 0.005, 100) > START


def test_kinds_are_measured_by_themselves() -> None:
    """A POST that always takes longer than a HEAD is no strain."""
    window = Window()
    for _ in range(100):
        window.answered("HEAD", 0.01)
        window.answered("POST", 0.2)
        full(window).grow()
    assert START + 100 == window.size


def test_overload_ends_the_search() -> None:
    """Once something was too much, growth is additive, also for quick answers."""
    window = Window()
    answer(window, 0.04, 48)
    window.halve(began=1.0, now=2.0)
    assert 33 == answer(window, 0.04, 33)


def test_what_the_user_named_is_not_taken_away_by_slow_answers() -> None:
    """``-j 64`` is the user's word for what the registry bears."""
    window = Window(64)
    answer(window, 0.01, 10)
    assert 64 == answer(window, 10.0, 1000)


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
