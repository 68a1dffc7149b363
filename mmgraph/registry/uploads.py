"""The bytes of a blob into an upload session that is open, and its commit: whole or in chunks.

Owns what becomes of a commit without an answer. Must not know how a session is opened or a blob found: it is told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from mmgraph.errors import ContentError, MmgraphError, NetworkError, RegistryError
from mmgraph.quirks import Quirk
from mmgraph.registry import wire
from mmgraph.registry.bodies import Stream
from mmgraph.registry.connection import Call
from mmgraph.registry.guard import LandedError
from mmgraph.registry.policy import Verdict, unclear
from mmgraph.registry.refusals import refuse_commit
from mmgraph.registry.retries import Request
from mmgraph.store import Body, Operation, Pieces, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mmgraph.names import Digest, Repository
    from mmgraph.quirks import Quirks
    from mmgraph.registry.bodies import Answer
    from mmgraph.registry.chunks import Chunks
    from mmgraph.registry.connection import Connections


class _Holds(Protocol):
    """HEAD the blob; of another length it is not there."""

    async def __call__(
        self, repository: Repository, digest: Digest, size: int | None, *, held: bool
    ) -> bool: ...


class Uploads:
    """Sends blobs into sessions. ``reopen`` opens another session in a repository, ``cancel`` ends one."""

    def __init__(
        self,
        connections: Connections,
        quirks: Quirks,
        chunks: Chunks,
        holds: _Holds,
        reopen: Callable[[Repository], Awaitable[Upload]],
        cancel: Callable[[Upload], Awaitable[None]],
    ) -> None:
        self._wire = connections
        self._quirks = quirks
        self._chunks = chunks
        self._holds = holds
        self._open = reopen
        self._cancel = cancel

    async def send(self, upload: Upload, digest: Digest, size: int, body: Body, chunk: int) -> None:
        """See ``Writer.send``."""
        if 0 < chunk < size:
            await self._send_chunks(upload, digest, size, body, chunk)
        elif isinstance(body, bytes | tuple):
            await self._send_held(upload, digest, body, size)
        else:
            await self._send_stream(upload, digest, size, body)

    async def _send_stream(
        self, upload: Upload, digest: Digest, size: int, body: AsyncIterator[bytes]
    ) -> None:
        stream = Stream(body, size)
        retrying = self._wire.retrying
        try:
            answer = await self._wire.once(_put(upload, digest, stream, size))
        except NetworkError as error:
            if stream.failure is not None:
                raise stream.failure from error
            if stream.handed == size and await self._holds(upload.repository, digest, size, held=True):
                return  # the answer was lost, not the blob
            retrying.spend(error, upload.repository, Operation.PUT_BLOB)
            raise
        lost = stream.handed == size and answer.verdict is Verdict.AGAIN and unclear(answer.status)
        if lost and await self._holds(upload.repository, digest, size, held=True):
            return
        seconds = retrying.asked_elsewhere(answer, upload.repository, digest)
        try:
            await self._committed(upload, answer, digest, size)
        except RegistryError as error:
            retrying.spend(error, upload.repository, Operation.PUT_BLOB)
            error.seconds = seconds or 0.0
            if seconds == 0:
                error.waits, error.final = False, True
            raise
        if stream.handed < size:
            raise ContentError(
                f"{answer.shown}: committed after {stream.handed} of {size} bytes", status=answer.status
            )

    async def _send_held(self, upload: Upload, digest: Digest, body: bytes | Pieces, size: int) -> None:
        """Commit a blob that is held whole; what fails is looked at, and goes into a new session.

        distribution ends the session of a commit that failed (``blobupload.go``), and the answer that got
        lost may have been a 201.
        """
        session = upload
        call = _put(upload, digest, body, size)

        async def look(going_on: bool) -> None:
            nonlocal session, call
            if await self._holds(upload.repository, digest, size, held=True):
                raise LandedError
            if going_on:
                await self._cancel(session)  # one that its registry has forgotten costs a 404
                session = await self._open(upload.repository)
                call = _put(session, digest, body, size)

        async def once(repeat: bool) -> Answer:
            return await self._wire.once(call, repeat=repeat)

        request = Request(Operation.PUT_BLOB, upload.repository, digest)
        try:
            answer = await self._wire.retrying.ask(request, once, look=look, held=True)
            await self._committed(upload, answer, digest, size)
        except LandedError:
            pass
        except BaseException:
            if session is not upload:
                await asyncio.shield(self._cancel(session))
            raise

    async def _send_chunks(self, upload: Upload, digest: Digest, size: int, body: Body, chunk: int) -> None:
        """Send all of it by PATCH, then commit it; a session that gets lost is the caller's to begin anew."""
        try:
            await self._chunks.send(upload, size, body, chunk)
            await self._commit(upload, digest, size)
        except MmgraphError as error:
            self._wire.retrying.spend(error, upload.repository, Operation.PATCH_UPLOAD)
            raise
        self._chunks.forget(upload)

    async def _commit(self, upload: Upload, digest: Digest, size: int) -> None:
        """Commit what a session holds already, by a PUT without a body; repeated while the session still holds it."""

        async def once(repeat: bool) -> Answer:
            return await self._wire.once(_put(self._chunks.current(upload), digest, b"", 0), repeat=repeat)

        async def look(going_on: bool) -> None:
            if await self._holds(upload.repository, digest, size, held=True):
                raise LandedError
            if going_on:
                await self._chunks.holding(upload, size)

        request = Request(Operation.PUT_BLOB, upload.repository, digest)
        try:
            answer = await self._chunks.patiently(request, once, look)
            await self._committed(upload, answer, digest, size)
        except LandedError:
            pass

    async def _committed(self, upload: Upload, answer: Answer, digest: Digest, size: int) -> None:
        if refuse_commit(answer, digest):
            self._quirks.learn(upload.repository.registry, Quirk.OTHER_ALGORITHM)
            if not await self._holds(upload.repository, digest, size, held=True):
                raise ContentError(f"{answer.shown}: committed, and {digest} is not there", status=201)


def _put(upload: Upload, digest: Digest, data: bytes | Pieces | Stream, size: int) -> Call:
    return Call(
        Operation.PUT_BLOB,
        upload.repository,
        wire.with_digest(upload.location, digest),
        wire.push_scopes(upload.repository),
        headers={"Content-Type": wire.OCTETS, "Content-Length": str(size)},
        data=data,
    )
