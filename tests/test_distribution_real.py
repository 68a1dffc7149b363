"""What is rare, at a real registry of distribution 2.8: digests by sha512, documents that say no version.

It keeps blobs by sha256, answers with that, and has other digests as names for them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mmgraph.oci import OCI_INDEX, OCI_MANIFEST
from mmgraph.server import MemoryStorage, RegistryServer
from mmgraph.store import Operation
from tests.support import oracle
from tests.support.clock import ManualClock
from tests.support.distribution import Distribution, count
from tests.support.images import AMD64, CONFIG, Maker
from tests.support.mirror import Mirrored, mirror, spec

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = bytes(range(256)) * 16_500
"""More than is held whole, so that it is streamed."""


async def test_blobs(start_registry: Callable[..., Distribution]) -> None:
    """Its 201 names the blob by sha256: a HEAD at the digest asked for is what proves each, once, and they arrive."""
    storage = MemoryStorage()
    make = Maker(storage)
    blobs = [make.blob("app", content, algorithm="sha512") for content in (b"{}", b"one", LARGE)]
    raw = json.dumps({"schemaVersion": 2, "config": blobs[0], "layers": blobs[1:]}).encode()
    make.document("app", raw, OCI_MANIFEST, "v1")
    destination = start_registry()
    async with RegistryServer(storage) as source:
        run = await mirror(spec(f"{source.address}/app:v1", f"{destination.address}/app:v1"))
        here = await oracle.walk(source.address, ["app"])
    counted = count(destination.requests())
    there = await oracle.walk(destination.address, ["app"])
    assert here == there
    asked = counted[Operation.PUT_BLOB], counted[Operation.HEAD_BLOB]
    assert ({"app:v1": "copied"}, [], (3, 6)) == (run.ends, run.account.surprises, asked)


async def test_blobs_that_are_there(start_registry: Callable[..., Distribution]) -> None:
    """A mount by sha512 would be answered with 201 and lose the blob: what is there is found by HEAD, and stays."""
    storage = MemoryStorage()
    make = Maker(storage)
    blob = make.blob("app", b"one", algorithm="sha512")
    for tag in ("v1", "v2"):
        config = make.blob("app", json.dumps({"tag": tag}).encode(), algorithm="sha512")
        raw = json.dumps({"schemaVersion": 2, "config": config, "layers": [blob]}).encode()
        make.document("app", raw, OCI_MANIFEST, tag)
    destination = start_registry()
    async with RegistryServer(storage) as source:
        for tag, repository in (("v1", "app"), ("v2", "app"), ("v1", "other")):
            await mirror(spec(f"{source.address}/app:{tag}", f"{destination.address}/{repository}:{tag}"))
        here = await oracle.walk(source.address, ["app"])
    requests = destination.requests()
    there = await oracle.walk(destination.address, ["app", "other"])
    asked = [one.mount_from for one in requests if one.name.startswith("sha512:") and one.mount_from]
    sent = count(requests)[Operation.PUT_BLOB]
    assert ([], 5, here["app"], {"v1": here["app"]["v1"]}) == (asked, sent, there["app"], there["other"])


async def manifest_by_sha512(destination: Distribution, *, listed: bool) -> Mirrored:
    """Mirror an image known by sha512: asked for by that, or ``listed`` in an index that has the tag."""
    storage = MemoryStorage()
    make = Maker(storage)
    raw = json.dumps({"schemaVersion": 2, "config": make.blob("app", b"{}"), "layers": []}).encode()
    image = make.document("app", raw, OCI_MANIFEST, algorithm="sha512", platform=AMD64)
    if listed:
        make.index("app", image, tags=("v1",))
    name = "app:v1" if listed else f"app@{image['digest']}"
    async with RegistryServer(storage) as source:
        return await mirror(spec(f"{source.address}/{name}", f"{destination.address}/app:v1"))


async def test_a_root(start_registry: Callable[..., Distribution]) -> None:
    """An image asked for by sha512 gets its tag, and its 201 that names it by sha256 is proof of the same bytes."""
    destination = start_registry()

    run = await manifest_by_sha512(destination, listed=False)

    held = await oracle.walk(destination.address, ["app"])
    assert ({"app:v1": "copied"}, ["v1"]) == (run.ends, list(held["app"]))


async def test_a_child(start_registry: Callable[..., Distribution]) -> None:
    """It takes no manifest by sha512: the index that needs it is not put, the registry's words say why, once."""
    destination = start_registry()

    run = await manifest_by_sha512(destination, listed=True)

    (end,) = run.account.ends
    puts = count(destination.requests())[Operation.PUT_MANIFEST]
    refusal = f"{destination.address} does not accept the push to app (400 DIGEST_INVALID)"
    assert ({"app:v1": "blocked"}, 1, True) == (run.ends, puts, refusal in end.cause), end.cause


@pytest.mark.parametrize("kind", ["image", "index"])
async def test_no_schema_version(start_registry: Callable[..., Distribution], kind: str) -> None:
    """A document without a schemaVersion is read; distribution takes none, says 500, and its log is pointed to."""
    storage = MemoryStorage()
    make = Maker(storage)
    config = make.blob("app", b"{}", CONFIG)
    if kind == "image":
        make.document("app", json.dumps({"config": config, "layers": []}).encode(), OCI_MANIFEST, "v1")
    else:
        child = make.image("app", b"one", platform=AMD64)
        make.document("app", json.dumps({"manifests": [child]}).encode(), OCI_INDEX, "v1")
    destination = start_registry()
    async with RegistryServer(storage) as source:
        with (clock := ManualClock()).autojump(0.1):
            run = await mirror(spec(f"{source.address}/app:v1", f"{destination.address}/app:v1"), clock=clock)
    (end,) = run.account.ends
    words = f"{destination.address} failed with app (500 UNKNOWN, after 8 tries): its log says why"
    assert ({"app:v1": "failed"}, True) == (run.ends, words in end.cause), end.cause
