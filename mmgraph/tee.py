"""One stream into several: each consumer at most a buffer ahead of the slowest, and none may hold up the rest for ever.

Owns who is waited for and who is cut loose. Must not know what the bytes are, nor where they go.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mmgraph.clock import within
from mmgraph.errors import InternalError, MmgraphError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence

    from mmgraph.clock import Clock

T = TypeVar("T")

PATIENCE: Final = 15.0
"""Seconds for which a branch may hold up others without accepting anything: as many as a transfer waits for a
registry's pause while it holds slots (``registry.policy.PATIENCE``). What goes on before a GET together is begun is
another matter (``sharing``)."""
FLOOR: Final = 1024
"""Bytes a second below which a branch that holds up others counts as stuck, on the average of ``WINDOW``."""
WINDOW: Final = 60.0
MOMENT: Final = 5.0
"""Seconds of pauses in all for which those that are done wait for one whose registry asks to wait."""
_TICK: Final = 1.0


async def together(
    works: Sequence[Coroutine[Any, Any, T]], held: Callable[[int], float], clock: Clock
) -> list[T | None]:
    """Return what all the works come to, in their order; None for one that was cut loose.

    That is one that was ``held`` up for ``MOMENT`` seconds since another was done; ``held`` tells for how long it was
    in all so far.
    """
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.ensure_future(work) for work in works]
    cut = set[int]()
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        before = [held(number) for number in range(len(tasks))]
        while left := [task for task in tasks if not task.done()]:
            with suppress(TimeoutError):
                await within(clock, _TICK, asyncio.wait(left))
            for number, task in enumerate(tasks):
                if not task.done() and number not in cut and held(number) - before[number] >= MOMENT:
                    cut.add(number)
                    task.cancel()
        return [
            None if number in cut and task.cancelled() else task.result() for number, task in enumerate(tasks)
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SourceFailed(Exception):
    """Carries a failure of the source through the body of an upload, so that the two sides are not mixed up."""

    def __init__(self, error: MmgraphError) -> None:
        super().__init__(str(error))
        self.error = error


class Tee:
    """One stream into several, each at most ``buffer`` bytes ahead of the slowest. ``first`` has been read before.

    Invariant: a chunk is handed to every branch that is still read, or to none; a branch that is closed no longer
    holds anybody up; when all are closed, the stream is not read on.
    """

    def __init__(self, stream: AsyncIterator[bytes], count: int, buffer: int, first: bytes = b"") -> None:
        self._stream = stream
        self._buffer = buffer
        self._room = asyncio.Event()
        self.branches = [Branch(self) for _ in range(count)]
        """One for each consumer; each must be read to its end or closed."""
        if first:
            for branch in self.branches:
                branch.give(first)

    async def pump(self) -> None:
        """Read the stream and hand it on; never raises but for cancellation: a failure reaches every branch."""
        failure: SourceFailed | None = None
        try:
            while not all(branch.closed for branch in self.branches):
                while any(branch.held >= self._buffer for branch in self.branches):
                    self._room.clear()
                    await self._room.wait()
                chunk = await anext(self._stream, None)
                if chunk is None:
                    break
                for branch in self.branches:
                    branch.give(chunk)
        except SourceFailed as error:
            failure = error
        except Exception as error:
            failure = SourceFailed(InternalError(f"reading a blob failed in an unforeseen way: {error!r}"))
        for branch in self.branches:
            branch.end(failure)

    async def watch(self, clock: Clock) -> None:
        """Cut loose, once a second, what is stuck while another could go on; cancel it at the end.

        Nobody is cut loose where all are stuck: then nothing is gained by it.
        """
        then = clock.now()
        while True:
            await clock.sleep(_TICK)
            now = clock.now()
            for branch in self.branches:
                if branch.stuck(self._full(branch), now - then) and any(
                    not (other is branch or other.closed or self._full(other)) for other in self.branches
                ):
                    branch.cut()
            then = now

    def taken(self) -> None:
        """A branch has made room."""
        self._room.set()

    def _full(self, branch: Branch) -> bool:
        return branch.held >= self._buffer


class Branch:
    """One consumer's side of a ``Tee``. ``accepted`` is the bytes that it has done with."""

    def __init__(self, tee: Tee) -> None:
        self.held = 0
        self.accepted = 0
        self.closed = False
        self.slack = 0.0
        """Seconds that it may hold up others for besides ``PATIENCE``: it takes much at once, and works that off."""
        self.patience: asyncio.Timeout | None = None
        """The consumer's: it expires when the branch is cut loose."""
        self._tee = tee
        self._chunks: list[bytes] = []
        self._failure: SourceFailed | None = None
        self._ended = False
        self._news = asyncio.Event()
        self._silent = self._slow = 0.0
        """Seconds for which it has held up others: since it last accepted something, and in this window."""
        self._last = self._mark = 0

    def give(self, chunk: bytes) -> None:
        """Queue a chunk, unless nobody reads any more."""
        if not self.closed:
            self._chunks.append(chunk)
            self.held += len(chunk)
            self._news.set()

    def end(self, failure: SourceFailed | None) -> None:
        """Nothing more comes: the stream has ended, or failed."""
        self._ended, self._failure = True, failure
        self._news.set()

    def close(self) -> None:
        """Nobody reads this branch any more."""
        self.closed, self._chunks, self.held = True, [], 0
        self._tee.taken()

    def cut(self) -> None:
        """Close it, and let the consumer's patience expire."""
        self.close()
        if self.patience is not None:
            self.patience.reschedule(asyncio.get_running_loop().time())

    def stuck(self, full: bool, seconds: float) -> bool:
        """Whether it has held up others for too long; told each ``seconds`` whether it is ``full``."""
        if not full or self.accepted != self._last:
            self._silent, self._last = 0.0, self.accepted
        if not full:
            return False
        self._silent += seconds
        self._slow += seconds
        if self._silent >= PATIENCE + self.slack:
            return True
        if self._slow < WINDOW:
            return False
        slow = self.accepted - self._mark < FLOOR * self._slow
        self._slow, self._mark = 0.0, self.accepted
        return slow

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The chunks, then the end or the failure."""
        while True:
            chunks, self._chunks, self.held = self._chunks, [], 0
            self._tee.taken()
            for chunk in chunks:
                yield chunk
                self.accepted += len(chunk)
            if self._chunks:
                continue
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()
