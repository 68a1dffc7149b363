"""The source side of planning, where it is broken off."""

from __future__ import annotations

import asyncio

from mmgraph.cache import MemoryCache
from mmgraph.closure import Documents
from mmgraph.discover import Discovery
from mmgraph.names import Registry, Repository
from tests.support.clock import ManualClock
from tests.support.making import spec
from tests.support.raw import Raw, Request
from tests.test_client import client


async def test_nothing_goes_on_once_all_who_wait_are_cancelled() -> None:
    """A tag that two specs wait for is no longer asked for when both have been cancelled."""
    asked = asyncio.Event()

    async def silent(request: Request) -> bytes | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    async with Raw(silent) as server:
        place = Repository(Registry(server.address), "app")
        async with client(ManualClock(), plain_http=[place.registry]) as source:
            discovery = Discovery(source, Documents(MemoryCache()))
            before = asyncio.all_tasks()
            wanted = [spec(f"{place}:v1", f"dst.example/{name}:v1") for name in "ab"]
            waiting = [asyncio.create_task(discovery.image(each)) for each in wanted]
            await asked.wait()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await ManualClock().settle()
            left = [str(task.get_coro()) for task in asyncio.all_tasks() - before]
            ours = [name for name in left if "Watchdog" not in name and "Listener." not in name]
            assert ([], 1) == (ours, len(server.requests))
