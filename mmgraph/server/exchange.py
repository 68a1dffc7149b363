"""One request and its answer on the wire: body in, body out, and the faults done to them. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from mmgraph.server.answer import Answer, Code, Refusal, Slice
from mmgraph.server.faults import Action, Cut, Delay, Drop, Flip, Headers, Redirect, Refuse, Stall
from mmgraph.server.log import Request, RequestLog, shown_headers

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator

    from mmgraph.clock import Clock
    from mmgraph.server.routes import Target

_PIECE: Final = 256 * 1024


class Exchange:
    """One request, from its head to the last byte of its answer."""

    def __init__(
        self, request: web.BaseRequest, target: Target, clock: Clock, closing: asyncio.Event, log: RequestLog
    ) -> None:
        self.request = request
        self.target = target
        self.actions: tuple[Action, ...] = ()
        self.scopes: tuple[str, ...] = ()
        self.received = 0
        self.sent = 0
        self.status = 0
        self._clock = clock
        self._closing = closing
        self._log = log
        self._response: web.StreamResponse | None = None
        self._logged = False

    @property
    def name(self) -> str:
        """What the request is about: the digest of its query where it has one, else the end of its path."""
        query = self.request.query
        return query.get("digest") or query.get("mount") or self.target.name

    @property
    def is_mount(self) -> bool:
        """Whether the request asks for a mount."""
        return "mount" in self.request.query

    def log(self) -> None:
        """Write what has happened to the log, once: at the end, or when the plan falls silent for good."""
        if self._logged:
            return
        self._logged = True
        entry = Request(
            method=self.request.method,
            path=self.request.path,
            kind=self.target.kind,
            repository=self.target.repository,
            name=self.name,
            query=dict(self.request.query),
            status=self.status,
            bytes_received=self.received,
            bytes_sent=self.sent,
            headers=shown_headers(self.request.headers),
            fault=",".join(type(action).__name__ for action in self.actions),
            scopes=self.scopes,
        )
        self._log.keep(entry)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body in pieces. Raises ``ConnectionResetError`` where it ends early."""
        if self.request.headers.get("Expect", "").lower() == "100-continue":
            await self.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.request.writer.output_size = 0
        limit = min(
            (one.after for one in self.actions if isinstance(one, Cut | Stall) and one.request), default=None
        )
        while True:
            if limit is not None and self.received >= limit:
                await self._end_badly(request=True)
            try:
                piece = await self.request.content.readany()
            except Exception as error:  # aiohttp raises whatever its parser or its transport met
                raise ConnectionResetError("the request's body ended early") from error
            if not piece:
                return
            if limit is not None:
                piece = piece[: limit - self.received]
            self.received += len(piece)
            yield piece

    async def read(self, limit: int) -> bytes:
        """Return the request's whole body, or refuse it where it is longer than ``limit`` bytes (413)."""
        refusal = Refusal(413, Code.SIZE_INVALID, f"the body is longer than {limit} bytes")
        if (self.request.content_length or 0) > limit:
            raise refusal
        data = bytearray()
        async for piece in self.body():
            data += piece
            if len(data) > limit:
                raise refusal
        return bytes(data)

    def hang_up(self) -> web.StreamResponse:
        """Close the connection after what has been written; return an answer that nobody will get."""
        self.status = 0
        if self.request.transport is not None:
            # What a client does not read is never flushed, and would keep a stopping server's socket open.
            if self._closing.is_set():
                self.request.transport.abort()
            self.request.transport.close()
        return self._response or web.Response()

    async def before(self) -> Answer | None:
        """Do the faults that come before the handler; an answer stands in for the handler's."""
        for action in self.actions:
            match action:
                case Delay(seconds=seconds):
                    await self._clock.sleep(seconds)
                case Drop(effect=False):
                    self._close()
                case Stall(after=0, request=True):
                    await self._end_badly(request=True)
                case Refuse(status=status, code=code, headers=headers, body=None):
                    return Refusal(status, code, "refused by the fault plan", headers=headers).answer()
                case Refuse(status=status, headers=headers, body=bytes(body)):
                    return Answer(status, headers, body)
                case Redirect(to=to, status=status):
                    where = {
                        "path": self.request.path,
                        "repository": self.target.repository,
                        "name": self.name,
                    }
                    return Answer(status, {"Location": to.format_map(where)})
                case _:
                    pass
        return None

    async def send(self, answer: Answer) -> web.StreamResponse:
        """Send ``answer`` as the faults leave it. Raises ``ConnectionResetError`` where they cut it short."""
        try:
            if any(isinstance(action, Drop) for action in self.actions):
                self._close()
            headers = {"Server": "mmgraph", **answer.headers}
            for action in self.actions:
                if isinstance(action, Headers):
                    headers |= {key: value for key, value in action.values.items() if value is not None}
                    absent = {key.lower() for key, value in action.values.items() if value is None}
                    headers = {key: value for key, value in headers.items() if key.lower() not in absent}
            response = self._response = web.StreamResponse(status=answer.status, headers=headers)
            response.content_length = answer.content_length
            await response.prepare(self.request)
            self.status = answer.status
            if self.request.method != "HEAD":
                await self._send_body(response, answer.body)
            await response.write_eof()
            return response
        finally:
            if isinstance(answer.body, Slice):
                answer.body.file.close()

    async def _send_body(self, response: web.StreamResponse, body: bytes | Slice) -> None:
        ends = [one.after for one in self.actions if isinstance(one, Cut | Stall) and not one.request]
        limit = min(ends, default=None)
        flips = {one.offset for one in self.actions if isinstance(one, Flip)}
        for piece in _pieces(body):
            for offset in flips:
                if 0 <= offset - self.sent < len(piece):
                    spoilt = bytearray(piece)
                    spoilt[offset - self.sent] ^= 1
                    piece = bytes(spoilt)  # noqa: PLW2901 - the piece is what is sent
            if limit is not None and self.sent + len(piece) > limit:
                await response.write(piece[: limit - self.sent])
                self.sent = limit
                await self._end_badly(request=False)
            await response.write(piece)
            self.sent += len(piece)

    async def _end_badly(self, *, request: bool) -> None:
        """Stall until the server closes, or close the connection at once: what the plan says of this side."""
        self.status = 0
        if any(isinstance(action, Stall) and action.request == request for action in self.actions):
            self.log()
            await self._closing.wait()
        self._close()

    def _close(self) -> None:
        raise ConnectionResetError("closed by the fault plan")


def _pieces(body: bytes | Slice) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield from (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
        return
    body.file.seek(body.start)
    left = body.length
    while left > 0:
        piece = body.file.read(min(left, _PIECE))
        if not piece:
            raise ConnectionResetError("the blob's file is shorter than it was")
        left -= len(piece)
        yield piece
