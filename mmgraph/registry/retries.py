"""Repetition: how often a request is sent, and how long is waited in between.

Owns the one policy of the whole client. Must not know sockets: what is to be repeated comes as a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmgraph.errors import NetworkError
from mmgraph.registry import wire
from mmgraph.registry.failures import LimitedError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from mmgraph.clock import Clock
    from mmgraph.registry.bodies import Answer

ATTEMPTS: Final = 5
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0


class Retries:
    """Sends what it is handed until repeating cannot better the answer."""

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self._clock = clock
        self._chance = chance

    async def ask(
        self,
        once: Callable[[bool], Awaitable[Answer]],
        final: Callable[[Answer], bool] = lambda answer: False,
    ) -> Answer:
        """Call ``once`` until its answer is not temporary or ``final``; it is told whether it is a repeat."""
        attempt = 1
        while True:
            try:
                answer = await once(attempt > 1)
            except NetworkError as error:
                if attempt >= attempts(error):
                    raise
            else:
                if attempt == ATTEMPTS or not answer.temporary or final(answer):
                    return answer
            await self.back_off(attempt)
            attempt += 1

    async def token(self, once: Callable[[bool], Awaitable[tuple[int, bytes]]]) -> tuple[int, bytes]:
        """The same for a request to a token service: its status and body."""
        attempt = 1
        while True:
            try:
                status, content = await once(attempt > 1)
            except NetworkError as error:
                if attempt >= attempts(error):
                    raise
            else:
                if attempt == ATTEMPTS or not wire.temporary(status):
                    return status, content
            await self.back_off(attempt)
            attempt += 1

    async def back_off(self, attempt: int) -> None:
        """Wait with full jitter below a doubling bound: who failed together does not return together."""
        bound = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (attempt - 1))
        await self._clock.sleep(self._chance.uniform(0, bound))


def attempts(error: NetworkError) -> int:
    """Return how often a request that fails like this is sent in all."""
    return error.attempts if isinstance(error, LimitedError) else ATTEMPTS
