"""A source and destination that asks each question once."""

from __future__ import annotations

import pytest

from mmgraph.errors import RegistryError
from mmgraph.names import Digest, Repository
from mmgraph.recall import Recall
from mmgraph.registry.client import Client
from tests.support.mirror import NO_LOGINS, Pair, pair


async def ask(made: Pair, client: Client) -> list[object]:
    """Ask everything twice; return what the second round was told, requests being counted from there."""
    image = made.make.image("app", b"layer", tags=("1",))
    place = Repository.parse(f"{made.source.address}/app")
    blob = made.make.blob("app", b"layer")
    recall = Recall(client)
    told: list[object] = []
    for _ in range(2):
        asked = len(made.source.log)
        told = [
            (await recall.resolve(place, "1")).digest == image["digest"],
            (await recall.find(place, "1")) is not None,
            await recall.find(place, "2"),
            await recall.exists(place),
            await recall.has_blob(place, Digest(blob["digest"])),
            len(made.source.log) - asked,
        ]
    return told


async def test_what_was_answered_is_not_asked_again() -> None:
    """Tags, the lack of them, repositories and blobs."""
    async with pair() as made, Client(credentials=NO_LOGINS, clock=made.clock) as client:
        assert [True, True, None, True, True, 0] == await ask(made, client)


async def test_manifests_and_blobs_are_read_through_it() -> None:
    """They are somebody else's to keep."""
    async with pair() as made, Client(credentials=NO_LOGINS, clock=made.clock) as client:
        image, blob = made.make.image("app", b"layer"), made.make.blob("app", b"layer")
        place, recall = Repository.parse(f"{made.source.address}/app"), Recall(client)
        read = await recall.manifest(place, image["digest"])
        async with recall.blob(place, Digest(blob["digest"]), 5) as stream:
            content = b"".join([chunk async for chunk in stream])
    assert (image["size"], b"layer") == (len(read.raw), content)


async def test_a_failure_is_remembered_too() -> None:
    """Both sets then fail by the same cause."""
    async with pair() as made, Client(credentials=NO_LOGINS, clock=made.clock) as client:
        place, recall = Repository.parse(f"{made.source.address}/app"), Recall(client)
        causes, asked = [], []
        for _ in range(2):
            with pytest.raises(RegistryError) as caught:
                await recall.resolve(place, "1")
            causes.append(caught.value)
            asked.append(len(made.source.log))
    assert (asked[0], True) == (asked[1], causes[0] is causes[1])
