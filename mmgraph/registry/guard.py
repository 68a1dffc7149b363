"""Keeps a tag that somebody else has moved from being moved back. Knows how to look, not how to write.

The protocol has no compare-and-swap on a tag (distribution, zot: no If-Match), so that a look just before each sending
narrows the window to about a round trip and cannot close it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmgraph.errors import DriftError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmgraph.clock import Clock
    from mmgraph.names import Digest, Repository
    from mmgraph.store import Resolved

_FRESH: Final = 5.0
"""Seconds for which a look is good enough to send by: a request that has waited longer looks again. Shorter than what
``commits`` takes a look for when it hands over a tag: it spares a request for each tag that nothing has held up, this
one is for what has been held up, where another request counts for little."""


class LandedError(Exception):
    """Ends the asking for a write that need not be sent again: it took effect."""


class TagGuard:
    """Watches one write of a tag that is to name ``digest`` and named ``old`` (None: nothing) a moment ago."""

    def __init__(
        self,
        find: Callable[[Repository, str], Awaitable[Resolved | None]],
        clock: Clock,
        repository: Repository,
        tag: str,
        digest: Digest,
        old: Digest | None,
    ) -> None:
        self._find = find
        self._clock = clock
        self._repository = repository
        self._tag = tag
        self._digest = digest
        self._old = old
        self._fresh_until = clock.now() + _FRESH

    async def look(self, _: bool) -> None:
        """Raise ``LandedError`` where the tag names what it shall, ``DriftError`` where it names a third thing."""
        found = await self._find(self._repository, self._tag)
        named = found.digest if found else None
        if named == self._digest:
            raise LandedError
        if named != self._old:
            raise DriftError.moved(f"{self._repository}:{self._tag}", self._old, named)
        self._fresh_until = self._clock.now() + _FRESH

    async def before(self) -> None:
        """Look again where the write has waited, for a slot or a pause, since the last look."""
        if self._clock.now() > self._fresh_until:
            await self.look(True)
