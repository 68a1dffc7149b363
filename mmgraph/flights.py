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


class Turns(Generic[K]):
    """Who is at work on what: one at a time by key, without a task of its own. Keeps no results."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Event] = {}

    async def begin(self, key: K) -> bool:
        """Return True where it is the caller's turn, until ``end``; False once whoever had it has come to an end.

        Then it is to be looked at again what has come of it: where that one was cancelled, the next one takes over.
        """
        done = self._under_way.get(key)
        if done is not None:
            await done.wait()
            return False
        self._under_way[key] = asyncio.Event()
        return True

    def end(self, key: K) -> None:
        """The caller's turn is over, whatever came of it."""
        self._under_way.pop(key).set()


class Once(Generic[K, T]):
    """Work by key, each key's once in all: what it came to is kept for who asks later, a failure too.

    Whoever asks first does it, without a task of its own; where that one is cancelled, the next one who waits does it.
    """

    def __init__(self) -> None:
        self._outcomes: dict[K, tuple[T, None] | tuple[None, Exception]] = {}
        self._turns: Turns[K] = Turns()

    async def get(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return or raise what ``work`` came to."""
        while (outcome := self._outcomes.get(key)) is None:
            if not await self._turns.begin(key):
                continue
            try:
                self._outcomes[key] = await work(), None
            except Exception as error:
                self._outcomes[key] = None, error
            finally:
                self._turns.end(key)
        result, failure = outcome
        if failure is not None:
            raise failure.with_traceback(None)  # each who is told would make it longer
        return result  # type: ignore[return-value]
