"""Whether a peer still moves: one look a second at all exchanges under way, which ends those that stand still.

Owns how long a peer may take. Must not know sockets: how far an exchange has come, and how it is ended, are functions.

Only time counts in which we wait for the peer: not that in which our own slower side lets it wait. A read time-out
of sockets would do neither: one byte each few seconds keeps it quiet, and it never looks at what is sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgraph.clock import Clock

FLOOR: Final = 1024
"""Bytes a second on the average of ``WINDOW``; slower than any line that carries images, faster than a drip."""
WINDOW: Final = 60.0
TICK: Final = 1.0


class Phase(msgspec.Struct, frozen=True):
    """What a peer is waited for, for how many ``seconds`` without any progress, and whether the floor applies."""

    text: str
    seconds: float
    flows: bool = False


CONNECT: Final = Phase("no connection", 30.0)
"""The name's addresses, and one of them that answers; through a proxy all that it does."""
TLS: Final = Phase("no end of the TLS handshake", 30.0)
ANSWER: Final = Phase("no answer", 60.0)
"""The headers of an answer."""
SENDING: Final = Phase("it took nothing of what was sent", 60.0, flows=True)
COMMIT: Final = Phase("no answer to what was sent", 300.0)
"""The body is out: a registry over an object store copies a large blob before it answers."""
READING: Final = Phase("nothing more came", 60.0, flows=True)


class StalledError(NetworkError):
    """A peer stood still, or nearly so, in this phase."""

    def __init__(self, words: str, phase: Phase) -> None:
        super().__init__(words)
        self.phase = phase


class Watch:
    """One exchange. ``wait`` and ``go`` frame the time that is the peer's; all other time is ours."""

    __slots__ = (
        "_clock", "_dog", "_end", "_phase", "_quiet", "_reached", "_seen", "_since", "_subject", "_waited",
        "_window", "linked", "progress", "stalled", "total",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        phase: Phase,
        end: Callable[[StalledError], None],
        dog: Watchdog | None = None,
        subject: object = None,
    ) -> None:
        self.total = 0
        """Bytes that are to be sent in all."""
        self.linked: Callable[[], bool] | None = None
        """Whether the connection is there that TLS is to be spoken on."""
        self.progress: Callable[[], int] | None = None
        """Bytes that have moved so far."""
        self.stalled: StalledError | None = None
        """Why the exchange was ended."""
        self._clock = clock
        self._end = end
        self._dog = dog
        self._subject = subject
        self._phase = phase
        self._since: float | None = clock.now()
        self._waited = self._quiet = self._window = 0.0
        self._seen = self._reached = 0

    def wait(self, phase: Phase) -> None:
        """From now on the peer is waited for."""
        if phase is not self._phase:
            self.go()
            self._phase, self._quiet, self._window = phase, self._waited, self._waited
        if self._since is None:
            self._since = self._clock.now()

    def go(self) -> None:
        """The peer has moved: what comes next is up to us."""
        if self._since is not None:
            self._waited += self._clock.now() - self._since
            self._since = None

    def close(self) -> None:
        """The exchange is over."""
        self._since = None
        # Both lead back here: each exchange would be a cycle, and its task keep the bytes that it has read.
        self.linked, self._end = None, _nothing
        dog, self._dog = self._dog, None
        if dog is not None:
            dog.forget(self)
            if self._subject is not None:
                dog.tell(self._subject, self.progress() if self.progress is not None else 0)
        self.progress = None

    def look(self, now: float) -> None:
        """End the exchange where the peer has been waited for too long."""
        if self._since is None or self.stalled is not None:
            return
        if self._phase is CONNECT and self.linked is not None and self.linked():
            self.wait(TLS)
        waited = self._waited + now - self._since
        moved = self.progress() if self.progress is not None else 0
        phase = SENDING if self._phase is COMMIT and moved < self.total else self._phase
        if moved != self._seen:
            self._seen, self._quiet = moved, waited
        text = ""
        if waited - self._quiet >= phase.seconds:
            text = f"{phase.text} for {phase.seconds:.0f} s"
        elif waited - self._window >= WINDOW:
            if phase.flows and moved - self._reached < FLOOR * (waited - self._window):
                text = f"only {moved - self._reached} bytes in {waited - self._window:.0f} s"
            self._window, self._reached = waited, moved
        if text:
            self.stalled = StalledError(text, phase)
            self._end(self.stalled)


def _nothing(_: StalledError) -> None:
    """What ends an exchange that is over."""


class Watchdog:
    """All exchanges of a run. It sleeps where there are none; ``close`` ends it."""

    def __init__(self, clock: Clock) -> None:
        self.over: Callable[[object, int], None] | None = None
        """Told of each exchange that is over, by what it was watched for, and how many bytes moved."""
        self._clock = clock
        self._watches: set[Watch] = set()
        self._task: asyncio.Task[None] | None = None

    def watch(self, phase: Phase, end: Callable[[StalledError], None], subject: object = None) -> Watch:
        """Watch an exchange that waits for its peer until it is closed; ``end`` is called at most once."""

        watch = Watch(self._clock, phase, end, self, subject)
        self._watches.add(watch)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return watch

    def forget(self, watch: Watch) -> None:
        """Look at it no more."""
        self._watches.discard(watch)

    def tell(self, subject: object, moved: int) -> None:
        """An exchange is over in which so many bytes moved; of one that nothing was waited for there is no watch."""
        if self.over is not None:
            self.over(subject, moved)

    async def close(self) -> None:
        """End the looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._watches:
                await self._clock.sleep(TICK)
                now = self._clock.now()
                for watch in tuple(self._watches):
                    watch.look(now)
        finally:
            self._task = None
