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
            if not gc.get_freeze_count():
                # What has been built is old now: the next look at what is young would go through all of it.
                gc.freeze()
                gc.unfreeze()
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
