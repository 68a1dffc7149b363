"""The garbage collector, out of the way and back again."""

from __future__ import annotations

import gc
import weakref

import pytest

from mmgraph.collector import seldom, uncollected


def test_it_is_off_meanwhile_and_on_again() -> None:
    """Within it does not run, after it does."""
    with uncollected():
        within = gc.isenabled()
    assert (False, True) == (within, gc.isenabled())


def test_it_is_on_again_after_an_exception() -> None:
    """A plan that is refused leaves the process as it was."""
    with pytest.raises(ValueError, match="x"), uncollected():
        raise ValueError("x")
    assert gc.isenabled()


def test_what_was_off_stays_off() -> None:
    """Whoever has switched it off has a reason."""
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_looks_seldom_meanwhile_and_as_ever_again() -> None:
    """Within much more is made before it looks, and what was there is left alone; after it all is as it was."""
    before = (gc.get_threshold(), gc.get_freeze_count())
    with seldom():
        within = (gc.get_threshold()[0] > before[0][0], gc.get_freeze_count() > 0)
    assert ((True, True), before) == (within, (gc.get_threshold(), gc.get_freeze_count()))


def test_cycles_are_found_afterwards() -> None:
    """Whoever reads plan after plan in one process does not grow: what goes round in a circle is let go of again."""

    class Ring:
        def __init__(self) -> None:
            self.own = self

    lost = list[weakref.ref[Ring]]()
    for _ in range(50):
        with uncollected():
            rings = [Ring() for _ in range(1000)]
            lost += map(weakref.ref, rings[:10])
        del rings
    assert sum(each() is not None for each in lost) < len(lost) // 2
