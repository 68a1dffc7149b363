"""The source side of planning, where it is broken off."""

from __future__ import annotations

import asyncio

import pytest

from mmgraph.cache import MemoryCache
from mmgraph.closure import Documents
from mmgraph.discover import Discovery, beside
from mmgraph.errors import RegistryError
from mmgraph.names import Registry, Repository
from tests.support.clock import ManualClock
from tests.support.making import spec
from tests.support.raw import Raw, Request, answer
from tests.test_client import client


@pytest.mark.parametrize(("places", "expected"), [(0, 1), (1, 1), (5, 2), (32, 16), (128, 16)])
def test_manifests_beside_transfers_leave_places_free(places: int, expected: int) -> None:
    """At most half of a source's places, sixteen at most, and one at least."""
    assert expected == beside(places)


async def test_a_source_is_asked_for_no_more_than_its_share() -> None:
    """Of four places two are for manifests that are read aside, whatever another source has."""
    most, now = 0, 0
    images = {f"sha256:{number:064x}" for number in range(6)}

    async def busy(request: Request) -> bytes | None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return answer(404)

    async with Raw(busy) as server:
        place = Repository(Registry(server.address), "app")
        async with client(ManualClock(), plain_http=[place.registry], jobs=4) as source:
            discovery = Discovery(source, Documents(MemoryCache()), source.places)
            wanted = [spec(f"{place}@{digest}", f"dst.example/app@{digest}") for digest in sorted(images)]
            found = [await discovery.image(each) for each in wanted]
            reading = [discovery.read(image, aside=True) for image in found]
            failures = await asyncio.gather(*reading, return_exceptions=True)
    assert (2, 6) == (most, len([each for each in failures if isinstance(each, RegistryError)]))


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
