"""The garbage collector, out of the way while very much is built that stays. Knows nothing of what is built."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_FEW = (50_000, 20, 100)
"""Thresholds of a run, which puts hardly anything into a cycle; each look goes through all that is young."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles meanwhile; what is in no cycle is freed as ever.

    Where millions of objects are made and none is dropped, looking takes a third of the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            # The next look goes through all that was built. To call it old, by gc.freeze and gc.unfreeze, would spare
            # that, and hide every cycle from it for good: the old are looked at when enough have grown old by looks.
            gc.enable()


@contextmanager
def seldom() -> Iterator[None]:
    """Look for cycles seldom meanwhile, and not at all among what is there already, such as modules.

    In a run with nothing to do looking takes an eighth of the time.
    """
    was = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_FEW)
    try:
        yield
    finally:
        gc.set_threshold(*was)
        gc.unfreeze()
