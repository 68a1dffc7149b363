"""A window: how many requests of one kind may be under way at one registry, growing while that goes well.

Owns the arithmetic and the queue for a place. Must not know the registry, nor what is asked.

Invariants: ``used`` is the number of places taken and not given back; ``1 <= size <= cap``. A window that shrank
below ``used`` takes nobody in until enough have left.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Window:
    """Places of one kind at one registry.

    Additive increase, multiplicative decrease, as TCP does it. It starts at its cap: ``jobs`` is what the user holds
    the registry capable of, most are, and a run of a few images would be over before a slow start had grown.
    """

    __slots__ = ("_halved_at", "_size", "cap", "used", "waiting")

    def __init__(self, cap: int) -> None:
        self.cap = max(1, cap)
        self.used = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._size = float(self.cap)
        self._halved_at = float("-inf")

    @property
    def size(self) -> int:
        """How many may be in."""
        return int(self._size)

    @property
    def room(self) -> bool:
        """Whether one more may come in."""
        return self.used < self.size

    def grow(self) -> None:
        """A request went well: by one place for each window full of them, and only where the window was in full use."""
        if self.used >= self.size:
            self._size = min(float(self.cap), self._size + 1 / self._size)

    def halve(self, began: float, now: float) -> None:
        """A request that ``began`` then was too much: half the places, once a round trip.

        Those that were under way already when the window was last halved say nothing about its present size.
        """
        if began > self._halved_at:
            self._size, self._halved_at = max(1.0, self._size / 2), now
