"""A window: how many requests of one kind may be under way at one registry, growing while that goes well.

Owns the arithmetic and the queue for a place. Must not know the registry, nor what is asked.

Invariants: ``used`` is the number of places taken and not given back; ``1 <= size <= cap``. A window that shrank
below ``used`` takes nobody in until enough have left.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

START: Final = 16
"""Places where the user names no number."""
START_READING: Final = 32
"""The same, for reading: a name that is looked at costs a registry next to nothing, and through a link of 40 ms a run
that finds nothing to do is over a round trip earlier."""
MOST: Final = 128
"""Places that such a window grows to: with a round trip of 100 ms and a POST and a PUT for each, that is 640 blobs a
second; each place is a connection."""
_EASY: Final = 0.5
_HARD: Final = 2.0
"""Strains below which there is room for more at once, and above which there was too much."""
_MEMORY: Final = 1 / 8
"""What one answer counts for in the strain."""
_GRAIN: Final = 0.01
"""Seconds of delay that say nothing: a registry next door answers in one millisecond, or in five."""


class Window:
    """Places of one kind at one registry.

    Additive increase, multiplicative decrease, as TCP does it. With a ``cap`` it starts there: that is what the user
    holds the registry capable of, and a run of a few images would be over before a slow start had grown. Without one
    it starts at ``start`` and finds out: each answer that comes as quickly as ever makes room for one more, so that the
    window doubles in a round trip, until answers begin to wait in the link or in the registry, or one of them is
    "too much". Then it grows slowly, and gives back what only makes answers wait, down to where it started.
    """

    __slots__ = ("_best", "_halved_at", "_least", "_size", "_strain", "cap", "used", "waiting")

    def __init__(self, cap: int | None = None, start: int = START) -> None:
        self.cap = MOST if cap is None else max(1, cap)
        self.used = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._size = self._least = float(start if cap is None else self.cap)
        self._halved_at = float("-inf")
        self._best: dict[str, float] = {}
        self._strain = 0.0
        """How much longer than the quickest one an answer takes of late, in multiples of that one's time."""

    @property
    def size(self) -> int:
        """How many may be in."""
        return int(self._size)

    @property
    def room(self) -> bool:
        """Whether one more may come in."""
        return self.used < self.size

    def answered(self, kind: str, seconds: float) -> None:
        """An answer took so long to begin; those of one ``kind`` should take equally long."""
        best = self._best[kind] = min(seconds, self._best.get(kind, seconds))
        strain = (seconds - best) / (best + _GRAIN)
        self._strain += (strain - self._strain) * _MEMORY
        if self._strain > _HARD and self._size > self._least:
            self._size = max(self._least, self._size - _MEMORY)

    def grow(self) -> None:
        """A request went well; only where the window was in full use does that say anything about more."""
        if self.used < self.size or self._strain > _HARD:
            return
        searching = self._halved_at == float("-inf") and self._strain < _EASY
        self._size = min(float(self.cap), self._size + (1.0 if searching else 1 / self._size))

    def halve(self, began: float, now: float) -> None:
        """A request that ``began`` then was too much: half the places, once a round trip.

        Those that were under way already when the window was last halved say nothing about its present size.
        """
        if began > self._halved_at:
            self._size, self._halved_at = max(1.0, self._size / 2), now
            self._least = min(self._least, self._size)
