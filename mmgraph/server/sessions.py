"""Sessions: uploads under way, by name, until they end or nobody goes on with them. Knows no HTTP."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmgraph.clock import Clock
    from mmgraph.server.storage import Upload

IDLE: Final = 3600.0
"""Seconds without a request or a byte after which a session has been given up by its client.

The distribution-spec leaves the time to the registry; the bytes take room until then, and each a descriptor.
"""


class Session:
    """An upload to ``repository``; ``busy`` while a request writes to it."""

    def __init__(self, repository: str, upload: Upload) -> None:
        self.name = uuid.uuid4().hex
        self.repository = repository
        self.upload = upload
        self.busy = False
        self.touched = 0.0


class Sessions:
    """The sessions of a server, which expire by its clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._watch: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, repository: str, upload: Upload) -> Session:
        """Return a new session."""
        session = Session(repository, upload)
        session.touched = self._clock.now()
        self._sessions[session.name] = session
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._expire())
        return session

    def find(self, name: str) -> Session | None:
        """Return the session, which lives on with that, or None where it has ended."""
        session = self._sessions.get(name)
        if session is not None:
            session.touched = self._clock.now()
        return session

    def take(self, session: Session) -> Upload:
        """End a session; its upload is the caller's."""
        self._sessions.pop(session.name, None)
        return session.upload

    def close(self) -> None:
        """Drop all sessions and their bytes."""
        if self._watch is not None:
            self._watch.cancel()
        for session in list(self._sessions.values()):
            self.take(session).abandon()

    async def _expire(self) -> None:
        """Drop sessions that have been idle too long, for as long as there are any."""
        while self._sessions:
            oldest = min(session.touched for session in self._sessions.values())
            await self._clock.sleep(oldest + IDLE - self._clock.now())
            for session in list(self._sessions.values()):
                if session.touched + IDLE <= self._clock.now():
                    self.take(session).abandon()
