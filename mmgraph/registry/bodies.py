"""Bodies: what is sent once and what is read within a limit, on their way through aiohttp.

Owns both directions of one exchange's bytes. Must not know which request they belong to, nor repeat it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import aiohttp

from mmgraph.errors import ContentError, InternalError, NetworkError
from mmgraph.registry import wire
from mmgraph.registry.failures import cause, failed, shown
from mmgraph.registry.policy import Verdict, classify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.abc import AbstractStreamWriter

    from mmgraph.store import Operation


class Stream(aiohttp.Payload):
    """A body that is sent once, never replayed, exactly as long as promised; ``failure`` is what it raised.

    aiohttp repeats a PUT whose connection was closed; with an iterator already read that sent an empty body
    (aio-libs/aiohttp#13330). It also cuts silently what is longer than Content-Length.
    """

    def __init__(self, body: AsyncIterator[bytes], size: int) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._body = body
        self._size = size
        self.handed = 0
        self.failure: Exception | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: the body is not held."""
        raise TypeError("a stream has no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send all of it; a body of another length than promised fails before its last byte leaves."""
        size = self._size or 0
        if self._consumed:
            self._fail(InternalError("the body of an upload was asked for twice"))
        self._consumed = True
        while True:
            try:
                chunk = await anext(self._body)
            except StopAsyncIteration:
                break
            except Exception as error:
                self.failure = error
                raise
            if self.handed + len(chunk) > size:
                self._fail(InternalError(f"the body of an upload is longer than its {size} bytes"))
            self.handed += len(chunk)
            await writer.write(chunk)
        if self.handed < size:
            self._fail(InternalError(f"the body of an upload ended after {self.handed} of {size} bytes"))

    def _fail(self, error: InternalError) -> None:
        self.failure = error
        raise error


class Answer:
    """A response. Its body has been read, or, with one of the call's ``open`` statuses, is still to come.

    ``tries`` is how often it was asked for until repeating was given up; 0 where nobody has repeated it.
    ``advice`` is what a person can do about a refusal.
    """

    __slots__ = ("_response", "advice", "body", "method", "operation", "status", "tries", "url")

    def __init__(self, response: aiohttp.ClientResponse, url: str, body: bytes, operation: Operation) -> None:
        self._response = response
        self.operation = operation
        self.tries = 0
        self.advice = ""
        self.method = response.method
        self.status = response.status
        self.url = url
        self.body = body

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        return self._response.headers.get(name)

    @property
    def length(self) -> int | None:
        """The Content-Length."""
        return self._response.content_length

    @property
    def shown(self) -> str:
        """Method and URL, fit for a message."""
        return shown(self.method, self.url)

    @property
    def said(self) -> wire.Refusal:
        """What the error body says."""
        return wire.refusal(self.body)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names in any case."""
        return self._response.headers

    @property
    def verdict(self) -> Verdict | None:
        """What is to be done about it; None for one that is no error."""
        return classify(self.operation, self.status, self.said.codes) if self.status >= 400 else None

    async def more(self) -> bytes:
        """Return what has arrived of an open body, waiting for some; empty at its end."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise failed(self.method, self.url, error) from cause(self.url, error)

    def close(self) -> None:
        """Give the connection back where the body has been read to its end, else close it."""
        self._response.close()


class Download:
    """A blob's bytes as they come: exactly as many as promised, or an error."""

    __slots__ = ("_answer", "_left")

    def __init__(self, answer: Answer, size: int) -> None:
        self._answer = answer
        self._left = size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._answer.more()
        self._left -= len(chunk)
        if self._left < 0:
            raise ContentError(
                f"{self._answer.shown}: more bytes than the blob has", status=self._answer.status
            )
        if chunk:
            return chunk
        if self._left:
            raise NetworkError(f"{self._answer.shown}: ended {self._left} bytes early")
        raise StopAsyncIteration


async def read(response: aiohttp.ClientResponse, limit: int, url: str) -> bytes:
    """Return the body; of one longer than ``limit`` one byte more, and the connection is closed."""
    try:
        length = response.content_length
        if length is not None and length <= limit:
            return await response.read()
        parts, size = list[bytes](), 0
        while size <= limit and (part := await response.content.readany()):
            parts.append(part)
            size += len(part)
        return b"".join(parts)[: limit + 1]
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise failed(response.method, url, error) from cause(url, error)
    finally:
        response.close()  # after the end of the body the connection has gone back already
