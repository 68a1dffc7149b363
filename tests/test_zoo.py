"""Everything that the OCI conformance suite leaves behind at one server, mirrored to another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mmgraph.names import Digest
from mmgraph.oci import OCI_INDEX, OCI_MANIFEST
from mmgraph.server import FaultPlan, LayoutStorage, MemoryStorage, Quirks, RegistryServer
from tests.conformance import run_conformance
from tests.support.mirror import Mirrored, mirror, spec

if TYPE_CHECKING:
    from pathlib import Path

    from mmgraph.server import Storage


class Zoo(NamedTuple):
    """What was at the source, what came to the destination, and the run between."""

    source: Storage
    destination: Storage
    run: Mirrored


async def visit(destination: Storage, results: Path, *, sparse: bool = False) -> Zoo:
    """Let the suite fill a server, then mirror each tag, and each manifest by its digest."""
    options = {"OCI_DATA_SPARSE": "true"} if sparse else {}
    source = MemoryStorage()
    plan = FaultPlan(quirks=Quirks(accepts_missing=sparse))
    async with RegistryServer(source, faults=plan) as first, RegistryServer(destination) as second:
        await run_conformance(first.address, results, options=options)
        names = [
            f"{repository}{separator}{name}"
            for repository in source.repositories()
            for separator, found in ((":", source.tags(repository)), ("@", source.manifests(repository)))
            for name in found
        ]
        specs = "".join(spec(f"{first.address}/{name}", f"{second.address}/{name}") for name in names)
        return Zoo(source, destination, await mirror(specs))


def tags(storage: Storage) -> dict[str, str]:
    """Return what every tag names."""
    return {
        f"{repository}:{tag}": str(digest)
        for repository in storage.repositories()
        for tag, digest in storage.tags(repository).items()
    }


def documents(storage: Storage) -> dict[str, tuple[bytes, str]]:
    """Return the bytes and type of every manifest by repository and digest."""
    return {
        f"{repository}@{digest}": (held.raw, held.media_type)
        for repository in storage.repositories()
        for digest in storage.manifests(repository)
        if (held := storage.manifest(repository, digest)) is not None
    }


def blobs(storage: Storage) -> dict[str, bytes | None]:
    """Return the bytes of every blob that a manifest lists, None where they are not there."""
    found: dict[str, bytes | None] = {}
    for name, (raw, _) in documents(storage).items():
        repository = name.partition("@")[0]
        body: dict[str, Any] = json.loads(raw)
        for entry in (*([body["config"]] if "config" in body else []), *body.get("layers", ())):
            digest = Digest(entry["digest"])
            found[f"{repository}@{digest}"] = None
            if storage.blob_size(repository, digest) is not None:
                with storage.open_blob(repository, digest) as file:
                    found[f"{repository}@{digest}"] = file.read()
    return found


def whole(storage: Storage, repository: str, digest: Digest) -> bool:
    """Whether the storage holds all that a manifest or index needs."""
    held = storage.manifest(repository, digest)
    if held is None:
        return False
    body: dict[str, Any] = json.loads(held.raw)
    listed = (*([body["config"]] if "config" in body else []), *body.get("layers", ()))
    return all(
        whole(storage, repository, Digest(one["digest"])) for one in body.get("manifests", ())
    ) and all(
        one.get("urls") or storage.blob_size(repository, Digest(one["digest"])) is not None for one in listed
    )


@pytest.fixture(params=["memory", "layout"])
async def zoo(request: pytest.FixtureRequest, tmp_path: Path) -> Zoo:
    """Visit the zoo, with each kind of storage as the destination."""
    destination = MemoryStorage() if request.param == "memory" else LayoutStorage(tmp_path / "destination")
    return await visit(destination, tmp_path / "results")


async def test_zoo_arrives(zoo: Zoo) -> None:
    """Every tag, manifest and blob is at the destination as it is at the source, byte for byte."""
    here, there = ((tags(one), documents(one), blobs(one)) for one in (zoo.source, zoo.destination))

    assert here == there


async def test_zoo_is_worth_a_visit(zoo: Zoo) -> None:
    """There are images under digests of both kinds, and all of them are created."""
    held = documents(zoo.source)
    kinds = {media_type for _, media_type in held.values()}
    algorithms = {name.partition("@")[2].partition(":")[0] for name in held}

    found = (kinds, algorithms, set(zoo.run.ends.values()))
    assert ({OCI_MANIFEST, OCI_INDEX}, {"sha256", "sha512"}, {"copied"}) == found


async def test_sparse_images_fail_alone(tmp_path: Path) -> None:
    """Of the suite's sparse images those that the source does not hold whole fail, and all others arrive."""
    zoo = await visit(MemoryStorage(), tmp_path, sparse=True)

    expected: dict[str, bool] = {}
    for repository in zoo.source.repositories():
        named = {f"{repository}:{tag}": digest for tag, digest in zoo.source.tags(repository).items()}
        named |= {f"{repository}@{digest}": digest for digest in zoo.source.manifests(repository)}
        expected |= {name: whole(zoo.source, repository, digest) for name, digest in named.items()}
    assert expected == {name: end == "copied" for name, end in zoo.run.ends.items()}
