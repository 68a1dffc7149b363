"""A proxy that records who asks it for what, and leads every name to servers of the test."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Mapping


class RecordingProxy(Listener):
    """A proxy on loopback as a context manager; ``requests`` are first lines and headers.

    ``targets`` says where ``host:port`` really is; others answer 502. ``status`` answers everything instead.
    """

    def __init__(self, targets: Mapping[str, str], *, status: int = 200) -> None:
        super().__init__()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._targets = dict(targets)
        self._status = status

    @property
    def seen(self) -> list[str]:
        """Methods and targets so far."""
        return [first.rpartition(" ")[0] for first, _ in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._converse(reader, writer)
        writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.requests.append((first, headers))
        method, target, _ = first.split(" ")
        place = target if method == "CONNECT" else target.partition("://")[2].partition("/")[0]
        place = place if place.rpartition(":")[2].isdigit() else f"{place}:80"
        if self._status != 200 or place not in self._targets:
            status = 502 if self._status == 200 else self._status
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        host, _, port = self._targets[place].rpartition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                path = target.partition("://")[2].partition("/")[2]
                kept = [line for line in lines if not line.lower().startswith("proxy-")]
                head = "\r\n".join([f"{method} /{path} HTTP/1.1", *kept, "connection: close"])
                inner_writer.write(head.encode() + b"\r\n\r\n")
            back = asyncio.create_task(_pump(inner_reader, writer))
            forth = asyncio.create_task(_pump(reader, inner_writer))
            try:
                await asyncio.wait({back, forth}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                back.cancel()
                forth.cancel()
                await asyncio.gather(back, forth, return_exceptions=True)
        finally:
            inner_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
