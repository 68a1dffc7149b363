"""The blobs that may start now, in the order in which they should. Knows keys, routes and sizes; starts nothing.

A route is what a transfer needs room at: the source to read from and the registries to write to. One whose window is
full holds nobody on another up.

On each route there are two lanes, since a large blob costs the wire's time and a small one round trips: where both are
ready, a third of what is under way is large and the rest is small. Were it all small the link would be idle, were it
all large the small ones would come last, one round trip after the other. Within a lane the order is that of the images,
so that they finish one after another.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from mmgraph.names import Registry

T = TypeVar("T")

LARGE: Final = 64 * 1024
"""Bytes from which on a blob is a large one: at 100 Mbit/s they take five milliseconds, at 400 a fraction of a round
trip. Nothing hangs on its exact value, since configs are smaller and layers that matter are larger."""
_SMALL_FOR_LARGE: Final = 2
"""Small blobs under way for each large one, where both are ready. Through a link of 40 ms and 400 Mbit/s one for one
left small ones over at the end, and three for one left the link idle at the beginning, when few places are open."""


class Route(NamedTuple):
    """The windows that a transfer takes a slot of."""

    reads: tuple[Registry, ...]
    writes: tuple[Registry, ...]


class Lane(Generic[T]):
    """What is ready of one size on one route, the smallest priority first, and how many of it are under way."""

    __slots__ = ("_heap", "under_way")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self.under_way = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def first(self) -> tuple[int, int, T]:
        """The most urgent item with its priority and its arrival, left where it is."""
        return self._heap[0]

    def push(self, priority: int, arrival: int, item: T) -> None:
        """Add ``item``."""
        heapq.heappush(self._heap, (priority, arrival, item))

    def pop(self) -> T:
        """Take the most urgent item."""
        return heapq.heappop(self._heap)[2]

    def start(self) -> None:
        """Take the most urgent item, which is under way from here on."""
        self.pop()
        self.under_way += 1

    def end(self) -> None:
        """One that was under way is no longer."""
        self.under_way -= 1


class _Lanes(Generic[T]):
    """The two lanes of a route."""

    __slots__ = ("large", "small")

    def __init__(self) -> None:
        self.large: Lane[T] = Lane()
        self.small: Lane[T] = Lane()

    def __len__(self) -> int:
        return len(self.large) + len(self.small)

    @property
    def next(self) -> Lane[T]:
        """The lane whose turn it is."""
        large, small = self.large, self.small
        if not large or not small:
            return large or small
        return large if large.under_way * _SMALL_FOR_LARGE <= small.under_way else small


class ReadyQueue(Generic[T]):
    """Items by route; within a lane the smallest priority first, ties by the order of arrival."""

    def __init__(self) -> None:
        self._routes: dict[Route, _Lanes[T]] = {}
        self._arrivals = 0

    def push(self, route: Route, priority: int, item: T, size: int = 0) -> None:
        """Add ``item``, which moves ``size`` bytes over the wire."""
        self._arrivals += 1
        lanes = self._routes.get(route)
        if lanes is None:
            lanes = self._routes[route] = _Lanes()
        (lanes.large if size >= LARGE else lanes.small).push(priority, self._arrivals, item)

    def routes(self) -> list[Route]:
        """The routes that have items, the one with the most urgent next item first."""
        waiting = [(lanes.next.first[:2], route) for route, lanes in self._routes.items() if lanes]
        return [route for _, route in sorted(waiting)]

    def head(self, route: Route) -> T | None:
        """The route's next item, left where it is."""
        lanes = self._routes.get(route)
        return lanes.next.first[2] if lanes else None

    def pop(self, route: Route) -> T:
        """Take the route's next item, not to start it."""
        return self._routes[route].next.pop()

    def start(self, route: Route) -> Lane[T]:
        """Take the route's next item, and return the lane that it is under way in, until ``Lane.end``."""
        lane = self._routes[route].next
        lane.start()
        return lane

    def __len__(self) -> int:
        return sum(map(len, self._routes.values()))
