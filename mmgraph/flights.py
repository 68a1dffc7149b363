"""Flights: one piece of work under way for all who want its result at the same time.

Owns sharing and its end: a flight goes on while one of its passengers waits, and not longer. Must not know what is
shared.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")


class Flights(Generic[K, T]):
    """Work by key, each key's at most once at a time; keeps no results."""

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[T]] = {}
        self._passengers: dict[asyncio.Task[T], int] = {}

    def __len__(self) -> int:
        return len(self._passengers)

    async def join(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the flight ``key`` comes to; ``work`` is called where there is none.

        One passenger's cancellation takes nothing away from the others; that of the last one ends the work.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(work())
            self._passengers[flight] = 0
            flight.add_done_callback(lambda done: self._landed(key, done))
        self._passengers[flight] += 1
        try:
            return await asyncio.shield(flight)
        finally:
            if flight in self._passengers:
                self._passengers[flight] -= 1
                if not self._passengers[flight] and not flight.done():
                    self._leave(key, flight)
                    flight.cancel()

    async def close(self) -> None:
        """Cancel all flights, and return when each has come to its end."""
        flights = list(self._passengers)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _landed(self, key: K, flight: asyncio.Task[T]) -> None:
        self._leave(key, flight)
        del self._passengers[flight]
        if not flight.cancelled():
            flight.exception()  # seen: whoever wanted it may have left

    def _leave(self, key: K, flight: asyncio.Task[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class Once(Generic[K, T]):
    """Work by key, each key's once in all: what it came to is kept for who asks later, a failure too."""

    def __init__(self) -> None:
        self._flights: Flights[K, tuple[T, None] | tuple[None, Exception]] = Flights()
        self._outcomes: dict[K, tuple[T, None] | tuple[None, Exception]] = {}

    async def get(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return or raise what ``work`` came to; where all who waited for it have left, it is done anew."""

        async def settled() -> tuple[T, None] | tuple[None, Exception]:
            outcome: tuple[T, None] | tuple[None, Exception]
            try:
                outcome = await work(), None
            except Exception as error:
                outcome = None, error
            # Before the flight ends: who comes between its end and its passengers' turn would begin another.
            self._outcomes[key] = outcome
            return outcome

        if key not in self._outcomes:
            await self._flights.join(key, settled)
        result, error = self._outcomes[key]
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
