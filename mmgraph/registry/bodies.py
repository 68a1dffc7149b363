"""Bodies: what is sent once and what is read within a limit, on their way through aiohttp.

Owns both directions of one exchange's bytes. Must not know which request they belong to, nor repeat it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Self

from mmgraph.errors import ContentError, InternalError, NetworkError
from mmgraph.registry import wire
from mmgraph.registry.failures import cause, failed, shown
from mmgraph.registry.lean import aiohttp
from mmgraph.registry.policy import Verdict, classify
from mmgraph.registry.watch import COMMIT, READING, SENDING, StalledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from mmgraph.registry.watch import Watch, Watchdog
    from mmgraph.store import Operation, Pieces

_PIECE: Final = 256 << 10
"""Bytes that are handed to the socket at once."""


class _Body(aiohttp.Payload):
    """A body that is sent once, never replayed. ``watch`` hears when the peer is waited for.

    aiohttp repeats a PUT whose connection was closed; with an iterator already read that sent an empty body
    (aio-libs/aiohttp#13330).
    """

    def __init__(self, body: object, size: int) -> None:
        super().__init__(body, content_type=wire.OCTETS)
        self._size = size
        self.handed = 0
        self.watch: Watch | None = None
        self.failure: Exception | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: what is sent is nobody's text."""
        raise TypeError("a body has no text")

    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        """Send all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: aiohttp.abc.AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Send all of it, and tell the watch."""
        if self._consumed:
            self._fail(InternalError("the body of a request was asked for twice"))
        self._consumed = True
        watch = self.watch
        if watch is None:
            await self._write(writer, lambda: None, lambda: None)
            self._let_go()
            return
        transport = getattr(writer, "transport", None)
        watch.total = self._size or 0

        def sent() -> int:
            """Without what still waits here to be taken."""
            return self.handed - (transport.get_write_buffer_size() if transport is not None else 0)

        watch.progress = sent
        await self._write(writer, watch.go, partial(watch.wait, SENDING))
        self._let_go()
        watch.wait(COMMIT)

    def _let_go(self) -> None:
        """Hold the bytes no longer: body, watch and request refer to each other, and wait for the collector."""
        self._value = None

    async def _write(
        self, writer: aiohttp.abc.AbstractStreamWriter, ours: Callable[[], None], theirs: Callable[[], None]
    ) -> None:
        """Send the pieces; call ``theirs`` before the peer is waited for, ``ours`` after it."""
        raise NotImplementedError

    def _fail(self, error: InternalError) -> None:
        self.failure = error
        raise error


class Whole(_Body):
    """A body that is held, in pieces that neither copy it nor hide how far it is."""

    def __init__(self, data: bytes | memoryview | Pieces) -> None:
        self._pieces: Sequence[bytes | memoryview] = data if isinstance(data, tuple) else (data,)
        super().__init__(data, sum(map(len, self._pieces)))

    async def _write(
        self, writer: aiohttp.abc.AbstractStreamWriter, ours: Callable[[], None], theirs: Callable[[], None]
    ) -> None:
        theirs()
        for data in self._pieces:
            for start in range(0, len(data), _PIECE):
                piece = data if len(data) <= _PIECE else memoryview(data)[start : start + _PIECE]
                self.handed += len(piece)
                await writer.write(piece)

    def _let_go(self) -> None:
        super()._let_go()
        self._pieces = ()


class Stream(_Body):
    """A body that comes piece by piece, exactly as long as promised; ``failure`` is what it raised.

    aiohttp cuts silently what is longer than Content-Length.
    """

    def __init__(self, body: AsyncIterator[bytes], size: int) -> None:
        super().__init__(body, size)
        self._body = body

    async def _write(
        self, writer: aiohttp.abc.AbstractStreamWriter, ours: Callable[[], None], theirs: Callable[[], None]
    ) -> None:
        """Send all of it; a body of another length than promised fails before its last byte leaves."""
        size = self._size or 0
        while True:
            ours()
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
            theirs()
            await writer.write(chunk)
        if self.handed < size:
            self._fail(InternalError(f"the body of an upload ended after {self.handed} of {size} bytes"))


class Answer:
    """A response. Its body has been read, or, with one of the call's ``open`` statuses, is still to come.

    ``tries`` is how often it was asked for until repeating was given up; 0 where nobody has repeated it.
    ``advice`` is what a person can do about a refusal. ``own``: it is of the registry's own origin.
    """

    __slots__ = (
        "_response", "_watch", "advice", "body", "method", "operation", "own", "status", "tries", "url",
    )  # fmt: skip

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        url: str,
        body: bytes,
        operation: Operation,
        watch: Watch | None = None,
    ) -> None:
        self._response = response
        self._watch = watch
        self.operation = operation
        self.tries = 0
        self.advice = ""
        self.own = True
        self.method = response.method
        self.status = response.status
        self.url = url
        self.body = body

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        return self._response.headers.get(name)

    def every(self, name: str) -> Sequence[str]:
        """Return all headers of that name."""
        return self._response.headers.getall(name, ())

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
        return wire.refusal(self.body, self.url)

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
        watch = self._watch
        if watch is not None:
            watch.wait(READING)
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError, StalledError) as error:
            raise failed(self.method, self.url, error) from cause(self.url, error)
        finally:
            if watch is not None:
                watch.go()

    def close(self) -> None:
        """Give the connection back where the body has been read to its end, else close it."""
        if self._watch is not None:
            self._watch.close()
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


def watched(dog: Watchdog, response: aiohttp.ClientResponse) -> Watch:
    """Watch what comes of a response's body; where nothing does, whoever reads it gets a ``StalledError``."""
    content = response.content

    def end(error: StalledError) -> None:
        content.set_exception(error)
        response.close()

    watch = dog.watch(READING, end, response)
    watch.progress = lambda: content.total_bytes
    return watch


async def read(
    response: aiohttp.ClientResponse, limit: int, url: str, dog: Watchdog, *, sending: bool = False
) -> bytes:
    """Return the body; of one longer than ``limit`` one byte more, and the connection is closed.

    ``sending``: the request has a body, of which some may still be on its way.
    """
    # What came with the headers, as most that is small does, is waited for by nobody.
    watch = None if response.content.is_eof() and not sending else watched(dog, response)
    try:
        length = response.content_length
        if length is not None and length <= limit:
            return await response.read()
        parts, size = list[bytes](), 0
        while size <= limit and (part := await response.content.readany()):
            parts.append(part)
            size += len(part)
        return b"".join(parts)[: limit + 1]
    except (aiohttp.ClientError, OSError, TimeoutError, StalledError) as error:
        raise failed(response.method, url, error) from cause(url, error)
    finally:
        if watch is not None:
            watch.close()
        else:
            dog.tell(response, response.content.total_bytes)
        response.close()  # after the end of the body the connection has gone back already
