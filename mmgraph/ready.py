"""The blobs that may start now, in the order in which they should. Knows keys and lanes; starts nothing.

A lane is what a transfer needs room in: the source to read from and the registries to write to. A lane whose window is
full holds nobody in another lane up.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.names import Registry

T = TypeVar("T")


class Lane(NamedTuple):
    """The windows that a transfer takes a slot of."""

    reads: tuple[Registry, ...]
    writes: tuple[Registry, ...]


class ReadyQueue(Generic[T]):
    """Items by lane; within a lane the smallest priority first, ties by the order of arrival."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, list[tuple[int, int, T]]] = {}
        self._arrivals = 0

    def push(self, lane: Lane, priority: int, item: T) -> None:
        """Add ``item``."""
        self._arrivals += 1
        heapq.heappush(self._lanes.setdefault(lane, []), (priority, self._arrivals, item))

    def lanes(self) -> Iterator[Lane]:
        """The lanes that have items, the one with the most urgent item first."""
        return iter(
            sorted(
                (lane for lane, heap in self._lanes.items() if heap), key=lambda lane: self._lanes[lane][0]
            )
        )

    def head(self, lane: Lane) -> T | None:
        """The lane's most urgent item, left where it is."""
        heap = self._lanes.get(lane)
        return heap[0][2] if heap else None

    def pop(self, lane: Lane) -> T:
        """Take the lane's most urgent item."""
        return heapq.heappop(self._lanes[lane])[2]

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))
