"""The fleets, the real registry and the oracle that other tests stand on."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from benchmarks.fleet import TINY, A, Fleet, Shape, W
from mmgraph.store import Operation
from tests.support import oracle, skopeo
from tests.support.distribution import Distribution, Request, count, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    StartRegistry = Callable[..., Distribution]


def test_a_fleet_is_the_same_for_the_same_seed(small_fleet: Fleet) -> None:
    """The digests of all tags of SMALL are pinned, so that a benchmark means the same thing everywhere."""
    tags = "".join(f"{repository}:{tag}@{root}\n" for repository, tag, root in small_fleet.images())
    golden = "0bfc9025f33d419616664724525f61aeed809962f92298bb1857d1ccd105bf32"
    assert golden == hashlib.sha256(tags.encode()).hexdigest()


def test_another_seed_shares_no_content() -> None:
    """Two seeds make fleets that have no blob and no document in common."""
    one, two = Fleet(TINY, seed=1), Fleet(TINY, seed=2)
    contents = [set(fleet.content) | set(fleet.documents) for fleet in (one, two)]
    assert set() == set.intersection(*contents)


def test_one_more_tag_keeps_the_others(tiny_fleet: Fleet) -> None:
    """A fleet with a tag more has all tags of the smaller one but latest, which moves to the newest."""
    grown = Fleet(Shape(TINY.name, TINY.repositories, TINY.tags + 1, TINY.platforms, TINY.scale, TINY.tiny))
    kept = {(repository, tag, root) for repository, tag, root in tiny_fleet.images() if tag != "latest"}
    assert kept == set(tiny_fleet.images()) & set(grown.images())


def test_small_has_what_real_fleets_have(small_fleet: Fleet) -> None:
    """SMALL is 40 images and 10 aliases with shared layers, in a few megabytes."""
    truth = small_fleet.truth()
    numbers = truth.repositories, truth.tags, truth.manifests, truth.blobs, truth.mounts, truth.unique_bytes
    expected = (10, 50, 176, 392, 30, 4_345_878)
    assert expected == numbers


@pytest.mark.parametrize(
    ("shape", "expected"), [(A, (40, 200, 471, 33, 1223)), (W, (140, 936, 2112, 140, 5460))]
)
def test_the_measured_fleets_have_the_measured_numbers(
    shape: Shape, expected: tuple[int, int, int, int, int]
) -> None:
    """The fleets of the performance tables are as large, and need as many requests, as those tables say."""
    truth = Fleet(msgspec.structs.replace(shape, scale=0.00001)).truth()
    requests = sum(truth.destination.values())
    assert expected == (truth.tags, truth.manifests, truth.blobs, truth.mounts, requests)


def test_the_fewest_requests_follow_from_the_fleet(small_fleet: Fleet) -> None:
    """A destination needs a HEAD a tag, a POST and a PUT a blob, a POST a mount, a PUT a manifest or tag."""
    expected = {
        Operation.HEAD_MANIFEST: 50,
        Operation.POST_UPLOAD: 392 + 30,
        Operation.PUT_BLOB: 392,
        Operation.PUT_MANIFEST: 176 - 40 + 50,
    }
    assert expected == small_fleet.truth().destination


def test_blobs_on_disk_are_those_in_memory(tiny_fleet: Fleet, tmp_path: Path) -> None:
    """A fleet whose blobs are kept as files has the same blobs as one that keeps them in memory."""
    assert dict(tiny_fleet.content) == dict(Fleet(TINY, directory=tmp_path).content)


async def test_distribution_serves_a_fleet_laid_into_its_storage(
    start_registry: StartRegistry, small_fleet: Fleet, tmp_path: Path
) -> None:
    """A real registry serves every tag of a fleet that was laid into its storage, whole."""
    small_fleet.write_distribution_storage(tmp_path)
    registry = start_registry(tmp_path)
    assert small_fleet.closures() == await oracle.walk(registry.address)


async def test_linked_storage_is_served_too(
    start_registry: StartRegistry, tiny_fleet: Fleet, tmp_path: Path
) -> None:
    """A registry serves the same where its blobs are links to the files of the fleet, under a prefix."""
    Fleet(TINY, directory=tmp_path / "blobs").write_distribution_storage(tmp_path / "storage", "mirror/")
    registry = start_registry(tmp_path / "storage")
    assert tiny_fleet.closures("mirror/") == await oracle.walk(registry.address)


async def test_a_pushed_fleet_is_whole(start_registry: StartRegistry, tiny_fleet: Fleet) -> None:
    """A fleet pushed over HTTP is the one that the oracle reads back."""
    registry = start_registry()
    await asyncio.to_thread(tiny_fleet.push, registry.address, "mirror/")
    assert tiny_fleet.closures("mirror/") == await oracle.walk(registry.address)


async def test_a_push_needs_no_more_than_the_fewest_requests(
    start_registry: StartRegistry, tiny_fleet: Fleet
) -> None:
    """Pushing to an empty registry takes the fewest requests, less the HEADs that a mirror sends first."""
    registry = start_registry()
    await asyncio.to_thread(tiny_fleet.push, registry.address)
    expected = {**tiny_fleet.truth().destination}
    del expected[Operation.HEAD_MANIFEST]
    assert expected == registry.counts()


async def test_skopeo_reads_every_image_of_small(
    start_registry: StartRegistry, small_fleet: Fleet, tmp_path: Path
) -> None:
    """Each tag of SMALL that skopeo reads from a real registry has the bytes that the fleet says."""
    small_fleet.write_distribution_storage(tmp_path)
    registry = start_registry(tmp_path)
    limit = asyncio.Semaphore(4)

    async def read(repository: str, tag: str) -> bytes:
        async with limit:
            return await skopeo.inspect_raw(f"{registry.address}/{repository}:{tag}")

    images = list(small_fleet.images())
    read_back = await asyncio.gather(*(read(repository, tag) for repository, tag, _ in images))
    assert [small_fleet.documents[root].raw for *_, root in images] == read_back


async def test_skopeo_copies_an_image_of_either_family(
    start_registry: StartRegistry, tiny_fleet: Fleet, tmp_path: Path
) -> None:
    """skopeo takes the images of both media type families, attestations included, as they are."""
    tiny_fleet.write_distribution_storage(tmp_path)
    source, destination = start_registry(tmp_path), start_registry()
    for repository in ("team-0/service-0", "team-0/service-2"):
        await skopeo.copy(
            f"{source.address}/{repository}:latest", f"{destination.address}/{repository}:latest"
        )
    expected = {
        repository: {"latest": tags["latest"]}
        for repository, tags in tiny_fleet.closures().items()
        if repository != "team-0/service-1"
    }
    assert expected == await oracle.walk(destination.address)


async def test_skopeo_errors_are_raised(start_registry: StartRegistry) -> None:
    """What skopeo cannot read is an error with its words."""
    registry = start_registry()
    with pytest.raises(skopeo.SkopeoError, match="manifest unknown"):
        await skopeo.inspect_raw(f"{registry.address}/nothing:here")


async def test_the_oracle_misses_an_absent_blob(
    start_registry: StartRegistry, tiny_fleet: Fleet, tmp_path: Path
) -> None:
    """A blob that a repository does not have fails the oracle, even where the registry has it elsewhere."""
    tiny_fleet.write_distribution_storage(tmp_path)
    _, blobs = tiny_fleet.held("team-0/service-2")
    shared = next(digest for digest in blobs if digest in tiny_fleet.held("team-0/service-0")[1])
    home = tmp_path / "docker/registry/v2/repositories/team-0/service-2/_layers/sha256" / shared[7:]
    (home / "link").unlink()
    registry = start_registry(tmp_path)
    with pytest.raises(oracle.OracleError, match=f"blobs/{shared}: 404"):
        await oracle.walk(registry.address)


async def test_the_oracle_sees_a_flipped_bit(
    start_registry: StartRegistry, tiny_fleet: Fleet, tmp_path: Path
) -> None:
    """A blob with other bytes of the same length fails the oracle."""
    tiny_fleet.write_distribution_storage(tmp_path)
    digest = next(iter(tiny_fleet.held("team-0/service-0")[1]))
    path = tmp_path / f"docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    registry = start_registry(tmp_path)
    with pytest.raises(oracle.OracleError, match="other bytes than its digest says"):
        await oracle.walk(registry.address)


def test_the_access_log_counts_what_was_asked(start_registry: StartRegistry) -> None:
    """Each operation of a known script of requests is counted once, under its own name."""
    registry = start_registry()
    content = b"hello"
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    connection = http.client.HTTPConnection(registry.address)

    def ask(method: str, target: str, body: bytes = b"") -> str:
        connection.request(method, target, body, {"Content-Type": "application/octet-stream"})
        answer = connection.getresponse()
        answer.read()
        location = answer.headers.get("Location", "")
        return location.removeprefix(f"http://{registry.address}")

    upload = ask("POST", "/v2/a/uploads/blobs/uploads/")
    upload = ask("PATCH", upload, content[:2])
    ask("PUT", f"{upload}&digest={digest}", content[2:])
    ask("DELETE", ask("POST", f"/v2/b/blobs/uploads/?mount=sha256:{'0' * 64}&from=a%2Fuploads"))
    ask("HEAD", f"/v2/a/uploads/blobs/{digest}")
    ask("GET", f"/v2/a/uploads/blobs/{digest}")
    ask("PUT", "/v2/b/manifests/latest", b"{}")
    ask("HEAD", "/v2/b/manifests/latest")
    ask("GET", f"/v2/b/manifests/{digest}")
    ask("GET", "/v2/b/tags/list?n=1")
    ask("GET", "/v2/")
    connection.close()
    expected = {
        Operation.POST_UPLOAD: 2,
        Operation.PATCH_UPLOAD: 1,
        Operation.PUT_BLOB: 1,
        Operation.DELETE_UPLOAD: 1,
        Operation.HEAD_BLOB: 1,
        Operation.GET_BLOB: 1,
        Operation.PUT_MANIFEST: 1,
        Operation.HEAD_MANIFEST: 1,
        Operation.GET_MANIFEST: 1,
        Operation.GET_TAGS: 1,
        Operation.PING: 1,
    }
    assert expected == registry.counts()


def test_a_line_of_the_access_log_is_parsed_whole() -> None:
    """A mount's line gives its repository, its digest, where it mounts from, status, size, agent and time."""
    target = "/v2/team/app/blobs/uploads/?mount=sha256:ab&from=team%2Fbase"
    line = (
        f'127.0.0.1 - - [24/Nov/2026:08:16:09 +0000] "POST {target} HTTP/1.1" 202 7 "" "a \\"quoted\\" agent"'
    )
    expected = Request(
        "POST",
        target,
        Operation.POST_UPLOAD,
        "team/app",
        "sha256:ab",
        202,
        7,
        "team/base",
        'a \\"quoted\\" agent',
        datetime(2026, 11, 24, 8, 16, 9, tzinfo=UTC).timestamp(),
    )
    assert expected == parse(line)


def test_a_strange_line_is_refused() -> None:
    """A line that is none of an access log raises, so that nothing goes uncounted."""
    with pytest.raises(ValueError, match="not a line of an access log"):
        parse('time="2026-11-24T08:16:09Z" level=error msg="boom"')


def test_an_operation_of_somebody_else_is_refused() -> None:
    """Counting stops at a request that mmgraph never sends."""
    catalog = parse('127.0.0.1 - - [24/Nov/2026:08:16:09 +0000] "GET /v2/_catalog HTTP/1.1" 200 2 "" "x"')
    with pytest.raises(ValueError, match="not an operation of mmgraph"):
        count([catalog])


def test_a_registry_comes_back_where_it_was(
    start_registry: StartRegistry, tiny_fleet: Fleet, tmp_path: Path
) -> None:
    """After a kill and a start the registry has its address, its storage and its count of requests."""
    registry = start_registry(tmp_path)
    tiny_fleet.push(registry.address)
    before = registry.address, registry.blobs(), registry.counts()
    registry.kill()
    registry.start()
    assert before == (registry.address, registry.blobs(), registry.counts())


def test_a_missing_registry_is_a_failure() -> None:
    """Where no registry is installed the tests fail; they never skip."""
    with pytest.raises(FileNotFoundError, match="no-such-registry is not installed"):
        Distribution(binary="no-such-registry")
