"""A server of raw bytes that can lie about lengths, hang up and fall silent. Knows HTTP's heads alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.listener import Listener

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable


class Request:
    """One request: its head, and its body for who wants to read it."""

    def __init__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.split("\r\n")
        self.method, self.target, _ = first.split(" ", 2)
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)
        }
        self.reader = reader
        self.writer = writer
        self.body = b""

    async def read(self) -> bytes:
        """Return the body, as long as it says to be."""
        self.body += await self.reader.readexactly(
            int(self.headers.get("content-length", "0")) - len(self.body)
        )
        return self.body


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer with an honest Content-Length, unless told another; underscores stand for dashes."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    named.setdefault("content-length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


def script(*answers: bytes | None) -> Callable[[Request], Awaitable[bytes | None]]:
    """Return a handler that reads each request whole and gives the next answer, the last one again and again.

    None hangs up.
    """
    left = list(answers)

    async def handle(request: Request) -> bytes | None:
        await request.read()
        return left.pop(0) if len(left) > 1 else left[0]

    return handle


class Raw(Listener):
    """A server on loopback as a context manager; ``requests`` are those that it has read the heads of.

    What a handler returns is sent as it is; None, or ``connection: close`` in it, ends the connection.
    """

    def __init__(
        self, handler: Callable[[Request], Awaitable[bytes | None]], *, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(tls=tls)
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        self._handler = handler

    @property
    def seen(self) -> list[str]:
        """Methods and targets so far."""
        return [f"{request.method} {request.target}" for request in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                first = await reader.readexactly(1)
                if first == b"\x16" and self._tls is None:  # a TLS handshake: servers hang up on it
                    return
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request = Request(head, reader, writer)
                self.requests.append(request)
                found = await self._handler(request)
                if found is None:
                    return
                writer.write(found)
                await writer.drain()
                if b"connection: close" in found:
                    return
        except (
            OSError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            asyncio.CancelledError,
            ValueError,
        ):
            return
        finally:
            self.open -= 1
            writer.close()
