"""One blob on its way: one GET, teed to the uploads of every registry that wants it, hashed as it passes.

Owns the proof (I2): the last chunk is withheld until length and digest agree, so that a destination never gets to
commit wrong bytes. Knows one attempt; what is tried again, and when, is decided by who asked. A transfer is a plain
value and its outcomes are plain values, failures included, so that another process could carry it out. How one
stream becomes several is the tee's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mmgraph.clock import within
from mmgraph.errors import ContentError, MmgraphError, NetworkError, RegistryError
from mmgraph.names import Digest, Repository
from mmgraph.store import Pieces, Transport, Upload
from mmgraph.tee import Branch, SourceFailed, Tee, together

if TYPE_CHECKING:
    from mmgraph.clock import Clock

T = TypeVar("T")
SMALL = 4 * 1024 * 1024
"""Blobs up to this size are held whole and proven before a byte is sent, so that a repeated PUT costs no GET."""
_PIECE = 4096
"""Bytes below which a piece of such a blob is joined with the next: a source that sends two at a time would have us
hold, and send, two million of them, at fifty bytes each."""
_STREAM_BUFFER = 1024 * 1024
_TEE_BUFFER = 1024 * 1024
_BREAKS = 3
"""Breaks in a row without ``_PROGRESS`` between them that end it (containers' ``body_reader.go`` has that MiB)."""
_PROGRESS = 1024 * 1024
_NO_RANGE = frozenset({200, 206, 416})
"""Statuses of a registry that cannot go on in the middle: it ignored the range, sent another, or refused it."""
_PACE = 1024 * 1024
"""Bytes a second at which a chunk goes on its way while the others of a tee wait for it; a slower one is cut loose."""
_ABANDON_SECONDS = 5.0
_ATTEMPTS = 6
"""What is streamed is sent anew from the start: where every fifth upload fails, six attempts lose one in 15,000."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """A repository that wants the blob."""

    repository: Repository
    mount_from: Repository | None
    """Where the registry may take it from: another repository, itself ("is it there?"), None: do not ask."""
    proven_absent: bool = False
    ask_first: bool = False
    """HEAD before the POST: the registry is blind to its own blobs."""
    session: Upload | None = None
    """A session that is open already: what a refused mount left behind."""
    chunk: int = 0
    """Bytes of the chunks in which it is sent a blob that is streamed; 0: whole."""

    @property
    def is_mount(self) -> bool:
        """Whether it is meant to be mounted, so that its start alone may be enough."""
        return self.session is None and self.mount_from not in (None, self.repository)


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """What to move: which digest and size, from which place, to which places. Targets are of distinct registries."""

    digest: Digest
    size: int
    source: Repository
    targets: tuple[Target, ...]

    @property
    def mount_only(self) -> bool:
        """Whether no byte is meant to be read: every target is to be mounted."""
        return all(target.is_mount for target in self.targets)

    @property
    def buffer(self) -> int:
        """Bytes of memory it may hold at once."""
        if self.mount_only:
            return 0
        if self.size <= SMALL:
            return self.size
        tee = _TEE_BUFFER + _STREAM_BUFFER // 2 if len(self.targets) > 1 else 0
        return _STREAM_BUFFER + tee + sum(target.chunk for target in self.targets)


class How(StrEnum):
    """What became of a blob at one target."""

    UPLOADED = "uploaded"
    MOUNTED = "mounted"
    FOUND = "found"
    """It was there already."""
    REFUSED = "refused"
    """The mount was not granted; a session is open instead."""
    FAILED = "failed"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a transfer at one target."""

    target: Target
    how: How
    session: Upload | None = None
    error: MmgraphError | None = None
    of_source: bool = False
    """Whether the source is to blame for the failure, so that no other target would have fared better."""

    @property
    def waits(self) -> bool:
        """Whether nothing is wrong but the moment."""
        return self.error is not None and self.error.waits

    @property
    def attempts(self) -> int:
        """How many attempts a failure like this is worth in all; one, where the client has given up repeating."""
        if self.error is None or self.error.final:
            return 1
        return 2 if isinstance(self.error, ContentError) else _ATTEMPTS


Meter = Callable[[int, int], None]
"""Told of bytes as they pass: read from the source, sent to destinations."""


async def run(transfer: Transfer, transport: Transport, meter: Meter, clock: Clock) -> tuple[Outcome, ...]:
    """Carry out ``transfer`` once, under slots that the caller holds; never raises but for cancellation.

    On cancellation every session opened here is cancelled too. ``clock`` tells which destination holds others up.
    """
    attempt = _Attempt(transfer, transport, meter, clock)
    try:
        return await attempt.run()
    except BaseException:
        await asyncio.shield(attempt.abandon())
        raise


@asynccontextmanager
async def _closing(stream: AsyncGenerator[bytes, None]) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """``aclosing``, but for a stream that the task which writes an upload's body is still reading.

    That one is closed when the connection ends that task, which is on its way; closing it here is a RuntimeError,
    that would stand in for a cancellation.
    """
    try:
        yield stream
    finally:
        if not getattr(stream, "ag_running", False):
            await stream.aclose()


class _Attempt:
    def __init__(self, transfer: Transfer, transport: Transport, meter: Meter, clock: Clock) -> None:
        self._transfer = transfer
        self._transport = transport
        self._meter = meter
        self._clock = clock
        self._left = False
        """Whether bytes have been handed on: then a stream that begins at zero again must first catch up."""
        self._sessions: dict[Repository, Upload] = {}
        """Open, and nobody else's to close."""
        self._starts: dict[Repository, asyncio.Task[Upload | None]] = {}
        """POSTs without an answer yet: each may become a session."""

    async def run(self) -> tuple[Outcome, ...]:
        transfer = self._transfer
        early: asyncio.Task[Pieces] | None = None
        if transfer.size <= SMALL and all(target.proven_absent for target in transfer.targets):
            # Nothing can make this GET useless but a registry that has what it said it has not.
            early = asyncio.create_task(self._whole())
        try:
            started = await self._together(transfer.targets, self._start)
            waiting = [
                (t, o) for t, o in zip(transfer.targets, started, strict=True) if isinstance(o, Upload)
            ]
            sent: dict[Repository, Outcome] = {}
            if waiting:
                targets = [target for target, _ in waiting]
                sent = {outcome.target.repository: outcome for outcome in await self._send(targets, early)}
        finally:
            if early is not None and not early.done():
                early.cancel()
                await asyncio.gather(early, return_exceptions=True)
            elif early is not None and not early.cancelled():
                early.exception()  # looked at, so that nobody is told of an exception never retrieved
        for outcome in started:
            if isinstance(outcome, Outcome) and outcome.session is not None:
                del self._sessions[outcome.target.repository]  # the caller's from here on
        return tuple(
            sent[target.repository] if isinstance(outcome, Upload) else outcome
            for target, outcome in zip(transfer.targets, started, strict=True)
        )

    async def abandon(self) -> None:
        """Cancel what is still open; best effort (I3 allows it, nothing depends on it)."""
        if self._starts:  # what a registry has begun to open cannot be closed before it has a name
            starts = list(self._starts.values())
            with suppress(TimeoutError):
                await within(self._clock, _ABANDON_SECONDS, asyncio.wait(starts))
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
        sessions, self._sessions = self._sessions, {}
        await asyncio.gather(*(self._transport.cancel(session) for session in sessions.values()))

    async def _start(self, target: Target) -> Upload | Outcome:
        """An open session, or the outcome where there is nothing left to send."""
        digest, repository = self._transfer.digest, target.repository
        if target.session is not None:
            self._sessions[repository] = target.session
            return await self._fitting(target, target.session)
        try:
            if target.ask_first and await self._transport.holds(repository, digest):
                return Outcome(target, How.FOUND)
            session = await self._open(target)
        except MmgraphError as error:
            return Outcome(target, How.FAILED, error=error)
        if session is None:
            return Outcome(target, How.MOUNTED if target.is_mount else How.FOUND)
        if target.is_mount:
            return Outcome(target, How.REFUSED, session=session)
        return await self._fitting(target, session)

    async def _fitting(self, target: Target, session: Upload) -> Upload | Outcome:
        """The session, unless its registry asks for longer chunks by now than memory was taken for."""
        registry = target.repository.registry
        try:
            chunk = self._transport.chunk(registry, self._transfer.size)
            if self._transfer.size <= SMALL or chunk <= target.chunk:
                return session
            error = RegistryError(
                f"{registry} asks for chunks of {chunk} bytes at least: begun anew with such"
            )
            error.final = False
        except RegistryError as refusal:
            error = refusal
        del self._sessions[target.repository]
        await self._transport.cancel(session)
        return Outcome(target, How.FAILED, error=error)

    async def _open(self, target: Target) -> Upload | None:
        """POST, and take note of the session also where this attempt is cancelled before the answer is there."""
        digest, repository = self._transfer.digest, target.repository
        start = asyncio.ensure_future(self._transport.start(repository, digest, target.mount_from))

        def keep(done: asyncio.Task[Upload | None]) -> None:
            self._starts.pop(repository, None)
            if not done.cancelled() and done.exception() is None and (session := done.result()) is not None:
                self._sessions[repository] = session

        self._starts[repository] = start
        start.add_done_callback(keep)
        return await asyncio.shield(start)

    async def _send(self, targets: list[Target], early: asyncio.Task[Pieces] | None) -> list[Outcome]:
        transfer = self._transfer
        if transfer.size <= SMALL:
            try:
                whole = await (early if early is not None else self._whole())
            except MmgraphError as error:
                return await self._none(targets, error)
            return await self._together(targets, lambda target: self._put(target, whole))
        async with _closing(self._proven()) as stream:
            try:
                # Before the PUT opens: a destination drops an upload that idles while a slow source makes up its
                # mind (containers/skopeo#2101).
                first = await anext(stream)
            except SourceFailed as failure:
                return await self._none(targets, failure.error)
            if len(targets) == 1:
                return [await self._put(targets[0], self._metered(stream, first))]
            tee = Tee(stream, len(targets), _TEE_BUFFER, first)
            helpers = [asyncio.create_task(tee.pump()), asyncio.create_task(tee.watch(self._clock))]
            try:
                branches = dict(zip(targets, tee.branches, strict=True))
                return await self._together(
                    targets, lambda target: self._put_branch(target, branches[target])
                )
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)

    async def _together(
        self, targets: Sequence[Target], work: Callable[[Target], Coroutine[Any, Any, T]]
    ) -> list[T | Outcome]:
        """``work`` for all; those that only wait for a pause of their registry do not keep the others for long."""
        found = await together(
            [work(target) for target in targets],
            lambda number: self._transport.held_up(targets[number].repository.registry),
            self._clock,
        )
        return [
            await self._leave_out(target) if each is None else each
            for target, each in zip(targets, found, strict=True)
        ]

    async def _leave_out(self, target: Target) -> Outcome:
        """End what is open at a target that was cut loose: it comes back alone, once its registry lets it."""
        repository = target.repository
        start = self._starts.get(repository)
        if start is not None:
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
        session = self._sessions.pop(repository, None)
        if session is not None:
            await self._transport.cancel(session)
        error = NetworkError(
            f"{repository.registry} asks to wait again and again, while others wait with it for"
            f" {self._transfer.digest}: it gets the blob on its own"
        )
        error.waits = True
        return Outcome(target, How.FAILED, error=error)

    async def _none(self, targets: list[Target], error: MmgraphError) -> list[Outcome]:
        """The source failed before anything was sent."""
        await self.abandon()
        return [Outcome(target, How.FAILED, error=error, of_source=True) for target in targets]

    async def _put_branch(self, target: Target, branch: Branch) -> Outcome:
        branch.slack = target.chunk / _PACE
        try:
            async with asyncio.timeout(None) as branch.patience:
                return await self._put(target, self._metered(branch.read()))
        except TimeoutError:
            session = self._sessions.pop(target.repository, None)
            if session is not None:
                await self._transport.cancel(session)
            error = NetworkError(
                f"{target.repository.registry} holds up the upload of {self._transfer.digest} to others"
                f" ({branch.accepted} of {self._transfer.size} bytes so far): it gets the blob on its own"
            )
            return Outcome(target, How.FAILED, error=error)
        finally:
            branch.close()

    async def _put(self, target: Target, body: Pieces | AsyncIterator[bytes]) -> Outcome:
        session, size = self._sessions[target.repository], self._transfer.size
        try:
            chunk = self._transport.chunk(target.repository.registry, size)
            if size > SMALL:
                chunk = min(chunk, target.chunk)
            await self._transport.send(session, self._transfer.digest, size, body, chunk)
        except (MmgraphError, SourceFailed) as error:
            self._sessions.pop(target.repository)
            await self._transport.cancel(session)
            if isinstance(error, SourceFailed):
                return Outcome(target, How.FAILED, error=error.error, of_source=True)
            return Outcome(target, How.FAILED, error=error)
        self._sessions.pop(target.repository)
        if isinstance(body, tuple):
            self._meter(0, size)
        return Outcome(target, How.UPLOADED)

    async def _metered(self, stream: AsyncIterator[bytes], first: bytes = b"") -> AsyncGenerator[bytes, None]:
        if first:
            yield first
            self._meter(0, len(first))
        async for chunk in stream:
            yield chunk
            self._meter(0, len(chunk))

    async def _whole(self) -> Pieces:
        try:
            async with aclosing(self._proven()) as stream:
                pieces = [b""]
                async for chunk in stream:
                    if len(pieces[-1]) < _PIECE:
                        pieces[-1] += chunk
                    else:
                        pieces.append(chunk)
                return tuple(filter(None, pieces))
        except SourceFailed as failure:
            raise failure.error from failure

    async def _proven(self) -> AsyncGenerator[bytes, None]:
        """The blob's bytes, one chunk late: the last one only leaves when length and digest are right.

        Raises ``SourceFailed``.
        """
        digest = self._transfer.digest
        proof, length, held = hashlib.new(digest.algorithm), 0, b""
        async with aclosing(self._resumed()) as stream:
            async for offset, chunk in stream:
                if offset < length:  # it begins anew, and nothing of what came before has left
                    proof, length, held = hashlib.new(digest.algorithm), 0, b""
                proof.update(chunk)
                length += len(chunk)
                self._meter(len(chunk), 0)
                if held:
                    self._left = True
                    yield held
                held = chunk
        if length != self._transfer.size or proof.hexdigest() != digest.hex:
            raise SourceFailed(
                ContentError(
                    f"{self._transfer.source} sent other bytes for {digest} ({length} of {self._transfer.size},"
                    f" {digest.algorithm}:{proof.hexdigest()}): it or the way is broken; push it there again"
                )
            )
        if held:
            yield held

    async def _resumed(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """The blob's bytes as they come, each piece with its offset; a stream that breaks goes on where it broke.

        By Range, always at the registry: the signed URL of a redirect is good for minutes only. Where the registry
        cannot go on from there (200, another range, another length), from zero: what has been handed on already is
        read again and dropped, and the hash, which goes on, proves the splice. Given up after three breaks without
        a MiB of progress between them.
        """
        transfer = self._transfer
        offset = mark = breaks = 0
        ranges = True
        while True:
            start = offset if ranges else 0
            skip = offset - start
            try:
                async with self._transport.blob(
                    transfer.source, transfer.digest, transfer.size, start
                ) as stream:
                    async for chunk in stream:
                        if skip:
                            dropped = min(skip, len(chunk))
                            skip -= dropped
                            self._meter(dropped, 0)
                            if dropped == len(chunk):
                                continue
                            chunk = chunk[dropped:]  # noqa: PLW2901
                        yield offset, chunk
                        offset += len(chunk)
                return
            except NetworkError as error:
                if error.final:  # the client has repeated it as often as it will
                    raise SourceFailed(error) from error
                if offset == transfer.size:
                    return  # only the end of the framing got lost, and the proof needs none
                breaks = 1 if offset - mark >= _PROGRESS else breaks + 1
                mark = offset
                if breaks >= _BREAKS:
                    raise SourceFailed(
                        NetworkError(
                            f"{error}; given up after {offset} of {transfer.size} bytes: it broke {breaks} times"
                            " with hardly a byte in between"
                        )
                    ) from error
            except RegistryError as error:
                if not start or error.status not in _NO_RANGE:
                    raise SourceFailed(error) from error
                ranges = False
                if not self._left:
                    offset = mark = 0
            except MmgraphError as error:
                raise SourceFailed(error) from error
