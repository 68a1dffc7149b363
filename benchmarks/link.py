"""A wide-area link in front of a registry: a relay on loopback with a round trip, and one rate for all.

Each direction is one queue that all connections share. A new connection waits a round trip before its first
byte, as TCP's handshake does; slow start, loss and TLS are left out, so a real link is slower.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections import deque

CHUNK = 64 << 10
WINDOW = 4 << 20
"""Bytes of one connection under way in one direction: more than rate times round trip, so no limit."""


class Direction:
    """One direction of the link: when the next byte may leave, and how long it is on its way."""

    def __init__(self, bytes_per_second: float, delay: float) -> None:
        self._rate = bytes_per_second
        self._delay = delay
        self._free = 0.0

    def arrival(self, size: int) -> float:
        """Take the link for ``size`` bytes and return when the last of them arrives, in the loop's time."""
        self._free = max(self._free, asyncio.get_running_loop().time()) + size / self._rate
        return self._free + self._delay


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
    """Carry bytes from ``reader`` to ``writer``, each at its time, and then the end of the stream."""
    loop = asyncio.get_running_loop()
    under_way: deque[tuple[float, bytes]] = deque()
    changed = asyncio.Condition()
    flying = 0

    def has_room() -> bool:
        return flying < WINDOW

    async def take() -> None:
        nonlocal flying
        while True:
            chunk = await reader.read(CHUNK)
            async with changed:
                under_way.append((direction.arrival(len(chunk)), chunk))
                flying += len(chunk)
                changed.notify_all()
                if not chunk:
                    return
                await changed.wait_for(has_room)

    async def deliver() -> None:
        nonlocal flying
        while True:
            async with changed:
                await changed.wait_for(lambda: bool(under_way))
                arrival, chunk = under_way.popleft()
            await asyncio.sleep(arrival - loop.time())
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
            async with changed:
                flying -= len(chunk)
                changed.notify_all()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        group.create_task(deliver())


async def serve(target: str, round_trip: float, megabits: float) -> None:
    """Relay to ``target`` until told to stop; the address to connect to goes to standard output."""
    host, _, port = target.rpartition(":")
    up = Direction(megabits * 125_000, round_trip / 2)
    down = Direction(megabits * 125_000, round_trip / 2)

    # asyncio holds tasks and readers weakly: without this, one whose client has gone is collected half-way.
    relays: set[asyncio.Task[None] | None] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.add(asyncio.current_task())
        with contextlib.suppress(OSError, ExceptionGroup):
            await asyncio.sleep(round_trip)
            there, back = await asyncio.open_connection(host, int(port), limit=CHUNK)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(pump(reader, back, up))
                    group.create_task(pump(there, writer, down))
            finally:
                back.close()
        writer.close()
        relays.discard(asyncio.current_task())

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(relay, "127.0.0.1", 0, limit=CHUNK)
    address = server.sockets[0].getsockname()
    print(f"{address[0]}:{address[1]}", flush=True)
    await stop.wait()
    server.close()


def main(arguments: list[str]) -> None:
    """Put a slow link in front of a registry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.link", description=main.__doc__)
    parser.add_argument("target", help="host:port")
    parser.add_argument("--round-trip", type=float, default=40, help="milliseconds (40)")
    parser.add_argument("--rate", type=float, default=400, help="Mbit/s each way (400)")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.target, options.round_trip / 1000, options.rate))


if __name__ == "__main__":
    main(sys.argv[1:])
