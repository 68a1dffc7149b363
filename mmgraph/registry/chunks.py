"""A blob into an upload session chunk by chunk (distribution-spec, "Pushing a blob in chunks").

Owns how long a chunk is, and where a session stands after each of them. Must not know how sessions are opened or
committed, nor what the bytes are.

A chunk is held until the session has all of it, so that it can go on from the session's own offset.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.errors import ContentError, InternalError, RegistryError, SpecError
from mmgraph.quirks import Quirk, evidence
from mmgraph.registry import wire
from mmgraph.registry.connection import Call
from mmgraph.registry.gate import PausedError
from mmgraph.registry.guard import LandedError
from mmgraph.registry.origins import upload_location
from mmgraph.registry.policy import PATIENCE
from mmgraph.registry.refusals import refused
from mmgraph.registry.retries import Request
from mmgraph.store import Body, Operation, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from mmgraph.names import Registry
    from mmgraph.quirks import Quirks
    from mmgraph.registry.bodies import Answer
    from mmgraph.registry.connection import Connections
    from mmgraph.registry.gate import Gate

LARGEST: Final = 32 << 20
"""Bytes of a chunk at most: each upload holds one, and all that a run holds has to fit into 48 MiB."""
_ACCEPTED: Final = frozenset({201, 202, 204})
"""202 by the distribution-spec, 201 from ECR (regclient, ``blob.go``)."""
_RANGE: Final = re.compile(r"(?:bytes[ =])?0-(-1|[0-9]{1,19})")
"""With a unit from Quay, without by the distribution-spec; ``0--1`` from zot of a session without bytes."""
_LENGTH: Final = re.compile(r"[0-9]{1,19}")


class Position(msgspec.Struct, frozen=True):
    """Where a session stands: the bytes that it holds, and where it goes on."""

    offset: int
    location: str


def offset(header: str | None, sent: int) -> int | None:
    """Return how many bytes a session holds by its Range, of ``sent`` ones; None for junk.

    Of none distribution says ``0-0`` (``blobUploadResponse``), which would be one by the letter.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None:
        return None
    last = int(match[1])
    return 0 if last == 0 and sent != 1 else last + 1


def taken(header: str | None, first: int, end: int) -> int | None:
    """Return where a session stands once it accepted the bytes from ``first`` to before ``end``, by its Range.

    All of them where it does not say; None where that is outside of what it was sent.
    """
    found = end if header is None else offset(header, end)
    return found if found is not None and first <= found <= end else None


def least(header: str | None) -> int:
    """Return the bytes that an OCI-Chunk-Min-Length asks for; 0 where it asks for none or is junk."""
    text = (header or "").strip()
    return int(text) if _LENGTH.fullmatch(text) else 0


async def cut(body: AsyncIterator[bytes], size: int, chunk: int) -> AsyncGenerator[memoryview, None]:
    """Yield ``body`` in pieces of ``chunk`` bytes, the last one only when the body has ended well.

    Raises ``InternalError`` for a body of another length than ``size``. One piece is held, until the next is asked for.
    """
    start = filled = 0
    held = bytearray(min(chunk, size))
    async for piece in body:
        rest = memoryview(piece)
        if start + filled + len(rest) > size:
            raise InternalError(f"the body of an upload is longer than its {size} bytes")
        while rest:
            if filled == len(held):
                yield memoryview(held)
                start, filled, held = start + filled, 0, bytearray()  # gone before the next is made
                held = bytearray(min(chunk, size - start))
            count = min(len(rest), len(held) - filled)
            held[filled : filled + count] = rest[:count]
            filled, rest = filled + count, rest[count:]
    if start + filled < size:
        raise InternalError(f"the body of an upload ended after {start + filled} of {size} bytes")
    yield memoryview(held)


class Chunks:
    """Sends blobs in chunks where ``sizes`` says so: the bytes of one, by registry.

    Raises ``SpecError`` for a registry that takes none, or for more bytes than can be held.
    """

    def __init__(
        self, connections: Connections, gate: Gate, quirks: Quirks, sizes: Mapping[Registry, int]
    ) -> None:
        self._wire = connections
        self._retrying = connections.retrying
        self._gate = gate
        self._quirks = quirks
        self._sizes = dict(sizes)
        self._latest: dict[Upload, str] = {}
        """Where sessions under way go on, which changes with each chunk."""
        for registry, size in self._sizes.items():
            if quirks.has(registry, Quirk.WHOLE_UPLOADS):
                raise SpecError(
                    f"upload-chunk of {registry}: it {Quirk.WHOLE_UPLOADS}"
                    f" ({evidence(registry, Quirk.WHOLE_UPLOADS)}); leave upload-chunk out"
                )
            if not 0 < size <= LARGEST:
                raise SpecError(
                    f"upload-chunk of {registry}: write bytes, {LARGEST} at most, instead of {size}"
                )

    def size(self, registry: Registry, blob: int) -> int:
        """Return the bytes of the chunks of a blob of ``blob`` bytes; 0: it goes whole.

        Raises ``RegistryError`` where the registry asks for longer ones than are held.
        """
        wanted = self._sizes.get(registry, 0)
        if not 0 < wanted < blob:
            return 0
        minimum = self._quirks.value(registry, Quirk.LEAST_CHUNK)
        if minimum > LARGEST:
            error = RegistryError(
                f"{registry} asks for chunks of at least {minimum} bytes (OCI-Chunk-Min-Length), and {LARGEST} are"
                f" held at most; without upload-chunk blobs go there whole"
            )
            error.common = True
            raise error
        wanted = max(wanted, minimum)
        return wanted if wanted < blob else 0

    def heard(self, registry: Registry, answer: Answer) -> None:
        """Learn the least length of a chunk from an answer to POST or PATCH, where chunks are sent."""
        asked = least(answer.header("OCI-Chunk-Min-Length"))
        if asked > self._sizes.get(registry, asked):
            self._quirks.learn(registry, Quirk.LEAST_CHUNK, asked)

    def current(self, upload: Upload) -> Upload:
        """Return a session that was opened as ``upload`` as it is now."""
        return Upload(upload.repository, self._latest.get(upload, upload.location))

    def forget(self, upload: Upload) -> Upload:
        """Return it as it is now, for the last time."""
        return Upload(upload.repository, self._latest.pop(upload, upload.location))

    async def send(self, upload: Upload, size: int, body: Body, chunk: int) -> None:
        """Send all of ``body`` in chunks of ``chunk`` bytes; the session is to be committed then."""
        at = Position(0, upload.location)
        if isinstance(body, tuple):
            body = b"".join(body)
        chunks = _slices(body, chunk) if isinstance(body, bytes) else cut(body, size, chunk)
        async with aclosing(chunks) as pieces:
            async for held in pieces:
                if at.offset + len(held) < size:  # the last may be shorter (distribution-spec, end-5)
                    self._refuse_short(upload.repository.registry, size, chunk)
                at = await self._send(upload, at, held)
                held.release()

    def _refuse_short(self, registry: Registry, size: int, chunk: int) -> None:
        """Raise where the registry has meanwhile asked for longer chunks than ``chunk``, for which memory was taken."""
        self.size(registry, size)
        minimum = self._quirks.value(registry, Quirk.LEAST_CHUNK)
        if minimum > chunk:
            error = RegistryError(
                f"{registry} asks for chunks of at least {minimum} bytes: begun anew with such"
            )
            error.final = False
            raise error

    async def _send(self, upload: Upload, at: Position, held: memoryview) -> Position:
        """Send one chunk until the session has all of it; return where it stands then."""
        first, end = at.offset, at.offset + len(held)
        registry = upload.repository.registry
        request = Request(Operation.PATCH_UPLOAD, upload.repository, upload.location)
        ask = self.patiently if first else self._ask

        async def once(repeat: bool) -> Answer:
            return await self._wire.once(_patch(upload, at, held[at.offset - first :]), repeat=repeat)

        async def look(going_on: bool) -> None:
            nonlocal at
            if going_on:
                at = await self._look(upload, at, first, end)
                if at.offset == end:
                    raise LandedError

        try:
            while at.offset < end:
                answer = await ask(request, once, look)
                if answer.status not in _ACCEPTED:
                    raise refused(answer)
                self.heard(registry, answer)
                found = taken(answer.header("Range"), first, end)
                if found is None:
                    shown = wire.escape(answer.header("Range") or "", 60)
                    raise ContentError(
                        f"{answer.shown}: {answer.status} with the range {shown!r} after the bytes"
                        f" {at.offset}-{end - 1}",
                        status=answer.status,
                    )
                at = self._stands(upload, answer, at, found)
                if found < end and not await self._retrying.again(request):
                    error = ContentError(
                        f"{answer.shown}: holds {found} bytes after {request.tries} tries to send it {end}",
                        status=answer.status,
                    )
                    error.tries, error.final = request.tries, True
                    raise error
        except LandedError:
            pass
        return at

    async def holding(self, upload: Upload, size: int) -> None:
        """Ask a session whether it still holds all ``size`` bytes; raises where it is lost."""
        await self._look(upload, Position(size, self.current(upload).location), size, size)

    async def _look(self, upload: Upload, at: Position, first: int, end: int) -> Position:
        """Ask a session where it stands, which must be from ``first`` to ``end``; else it is lost.

        distribution binds a Location to an offset, and ends a session that is asked for at another one (2.8,
        ``ResumeBlobUpload``): there only what never arrived can be sent again.
        """
        call = Call(Operation.GET_UPLOAD, upload.repository, at.location, wire.push_scopes(upload.repository))
        answer = await self._wire.ask(call, held=True)
        if answer.status == 429 or answer.status >= 500:
            raise refused(answer)
        found = offset(answer.header("Range"), end) if answer.status in (200, 202, 204) else None
        if found is None or not first <= found <= end:
            where = f"{answer.status}" if found is None else f"{found} bytes there, of {end} sent"
            error = RegistryError(
                f"{answer.shown}: the upload session is lost ({where})", status=answer.status
            )
            error.final = False
            raise error
        return self._stands(upload, answer, at, found)

    def _stands(self, upload: Upload, answer: Answer, at: Position, found: int) -> Position:
        """Take note of where a session goes on: as before where the answer does not say."""
        location = answer.header("Location")
        if location is not None:
            self._latest[upload] = location = upload_location(answer.url, location)
        return Position(found, location or at.location)

    async def _ask(
        self,
        request: Request,
        once: Callable[[bool], Awaitable[Answer]],
        look: Callable[[bool], Awaitable[None]],
        patience: float = PATIENCE,
    ) -> Answer:
        return await self._retrying.ask(request, once, look=look, held=True, patience=patience)

    async def patiently(
        self,
        request: Request,
        once: Callable[[bool], Awaitable[Answer]],
        look: Callable[[bool], Awaitable[None]],
    ) -> Answer:
        """``Retries.ask``, but a pause is waited for here: in the queue all that a session holds would be lost."""
        unsure = False

        async def looking(going_on: bool) -> None:
            nonlocal unsure
            unsure = going_on
            await look(going_on)
            unsure = False

        while True:
            try:
                if unsure:
                    await looking(True)
                return await self._ask(request, once, looking, float("inf"))
            except PausedError:
                await self._gate.passed(request.registry, request.operation, self._gate.max_wait)


async def _slices(body: bytes, chunk: int) -> AsyncGenerator[memoryview, None]:
    """What is held already is not held twice."""
    for start in range(0, len(body), chunk):
        yield memoryview(body)[start : start + chunk]


def _patch(upload: Upload, at: Position, data: memoryview) -> Call:
    return Call(
        Operation.PATCH_UPLOAD,
        upload.repository,
        at.location,
        wire.push_scopes(upload.repository),
        headers={
            "Content-Type": wire.OCTETS,
            "Content-Length": str(len(data)),
            "Content-Range": f"{at.offset}-{at.offset + len(data) - 1}",
        },
        data=data,
    )
