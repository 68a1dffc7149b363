"""The bare loop: GET to PUT with sha256 over aiohttp, N blobs at a time, no manifests: a mirror's measure.

It decides nothing, knows beforehand what is missing, and hashes what it moves: no mirror in Python does less.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READ_SIZE = 256 << 10


async def copy(
    session: aiohttp.ClientSession, source: str, destination: str, repository: str, digest: str, size: int
) -> None:
    """Copy one blob from one registry to the other, in the same repository, and prove it on the way."""
    async with session.post(f"http://{destination}/v2/{repository}/blobs/uploads/") as answer:
        if answer.status != 202:
            raise RuntimeError(f"POST at {destination}: {answer.status}")
        location = answer.headers["Location"]
    async with session.get(f"http://{source}/v2/{repository}/blobs/{digest}") as blob:
        if blob.status != 200:
            raise RuntimeError(f"GET {digest}: {blob.status}")

        async def body() -> AsyncIterator[bytes]:
            hasher = hashlib.sha256()
            async for chunk in blob.content.iter_any():
                hasher.update(chunk)
                yield chunk
            if f"sha256:{hasher.hexdigest()}" != digest:
                raise RuntimeError(f"{digest} has other bytes")

        target = URL(f"{location}{'&' if '?' in location else '?'}digest={digest}", encoded=True)
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        async with session.put(target, data=body(), headers=headers) as answer:
            if answer.status != 201:
                raise RuntimeError(f"PUT {digest}: {answer.status}")


async def run(source: str, destination: str, blobs: list[tuple[str, str, int]], jobs: int) -> None:
    """Copy all ``blobs``, given as (repository, digest, size), ``jobs`` at a time in the order given."""
    waiting = iter(blobs)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        auto_decompress=False,
        read_bufsize=READ_SIZE,
        timeout=aiohttp.ClientTimeout(total=None, sock_read=60),
    ) as session:

        async def work() -> None:
            for repository, digest, size in waiting:
                await copy(session, source, destination, repository, digest, size)

        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work())


def main(arguments: list[str]) -> None:
    """Copy the blobs of a JSON file from one registry to the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare", description=main.__doc__)
    parser.add_argument("source", help="host:port")
    parser.add_argument("destination", help="host:port")
    parser.add_argument("blobs", type=Path, help="JSON: a list of [repository, digest, size]")
    parser.add_argument("-j", "--jobs", type=int, default=16, help="blobs at a time (16)")
    parser.add_argument("--largest-first", action="store_true")
    options = parser.parse_args(arguments)
    blobs = [(repository, digest, size) for repository, digest, size in json.loads(options.blobs.read_text())]
    if options.largest_first:
        blobs.sort(key=lambda blob: -blob[2])
    asyncio.run(run(options.source, options.destination, blobs, options.jobs))


if __name__ == "__main__":
    main(sys.argv[1:])
