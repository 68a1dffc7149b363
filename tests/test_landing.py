"""Failure and landing: repositories that refuse, mounts that are not granted, evidence that has lied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mmgraph.errors import NetworkError
from mmgraph.events import Event, Landed, Started
from mmgraph.names import Registry
from mmgraph.ready import LARGE
from mmgraph.server import Cut, MemoryStorage, Quirks, Refuse, RegistryServer, Rule
from mmgraph.store import Operation
from tests.support import oracle
from tests.support.images import AMD64, ARM64, digest
from tests.support.mirror import Pair, bill_requests, pair, spec

if TYPE_CHECKING:
    from mmgraph.execute import Execution
    from mmgraph.plan import Plan
    from mmgraph.registry.client import Client

HEAD_BLOB, BLOB = Operation.HEAD_BLOB, Operation.GET_BLOB
POST, PUT, PUT_MANIFEST = Operation.POST_UPLOAD, Operation.PUT_BLOB, Operation.PUT_MANIFEST
SHARED = b"a layer that all of them have"
MANY = bytes(range(256)) * 20_480


def three(p: Pair, shared: bytes = SHARED) -> list[str]:
    """Make an image in each of three repositories, with one layer in common; return specs for them."""
    for name in ("a", "b", "c"):
        p.make.image(name, shared, name.encode(), config=f'{{"of":"{name}"}}'.encode(), tags=("v1",))
    return [p.spec(f"{name}:v1") for name in ("a", "b", "c")]


def memory(p: Pair) -> MemoryStorage:
    """Return the destination's storage, to take things away behind its back."""
    assert isinstance(p.destination.storage, MemoryStorage)
    return p.destination.storage


# Repositories that refuse


REFUSALS = [(kind, status) for kind in (POST, PUT, PUT_MANIFEST) for status in (403, 405, 500)]


@pytest.mark.parametrize(("kind", "status"), REFUSALS)
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
async def test_landing_refuses(kind: Operation, status: int, large: bool) -> None:
    """Where the first repository refuses for good, its own image alone is lost."""
    async with pair() as p:
        specs = three(p, MANY if large else SHARED)
        code = "DENIED" if status == 403 else "UNSUPPORTED" if status == 405 else "UNKNOWN"
        p.destination.faults.add(Rule(Refuse(status, code), kind=kind, repository="a"))

        run = await p.mirror(*specs)

        ends = {name: end in {"failed", "blocked"} for name, end in run.ends.items()}
        assert {"a:v1": True, "b:v1": False, "c:v1": False} == ends


@pytest.mark.parametrize("status", [403, 500])
async def test_elected_anew(status: int) -> None:
    """What could not land in the first repository lands in the second and is mounted in the third."""
    async with pair() as p:
        specs = three(p)
        p.destination.faults.add(Rule(Refuse(status, "DENIED"), kind=POST, repository="a"))

        await p.mirror(*specs)

        uploads = [request.repository for request in p.destination.log.select(PUT, name=digest(SHARED))]
        mounts = [
            (request.repository, request.mount_from)
            for request in p.destination.log.select(POST, name=digest(SHARED), status=201)
        ]
        assert (["b"], [("c", "b")]) == (uploads, [mount for mount in mounts if mount[0] != mount[1]])


async def test_two_landings_refuse() -> None:
    """Where the first two repositories refuse, the third gets the blob by an upload of its own."""
    async with pair() as p:
        specs = three(p)
        for name in ("a", "b"):
            p.destination.faults.add(Rule(Refuse(403, "DENIED"), kind=POST, repository=name))

        run = await p.mirror(*specs)

        assert "copied" == run.ends["c:v1"]


@pytest.mark.parametrize("kind", [POST, PUT_MANIFEST])
async def test_landing_refuses_where_mounts_need_manifests(kind: Operation) -> None:
    """Where mounts wait for a manifest that cannot be, they find another way too."""
    async with pair(quirks=Quirks(mount_needs_manifest=True)) as p:
        specs = three(p)
        p.destination.faults.add(Rule(Refuse(403, "DENIED"), kind=kind, repository="a"))

        run = await p.mirror(*specs, committed_only=[Registry(p.destination.address)])

        assert ["copied", "copied"] == [run.ends["b:v1"], run.ends["c:v1"]]


async def test_one_failure_leaves_others_untouched() -> None:
    """A blob that the source has lost costs the images that need it, and no other."""
    async with pair() as p:
        specs = three(p)
        p.make.storage.remove_blob("b", digest(b"b"))  # type: ignore[attr-defined]

        run = await p.mirror(*specs)

        assert {"a:v1": "copied", "b:v1": "blocked", "c:v1": "copied"} == run.ends


async def test_source_of_the_landing_lacks_the_blob() -> None:
    """Where the first image's source has lost a shared blob, the others bring theirs."""
    async with pair() as p:
        specs = three(p)
        p.make.storage.remove_blob("a", digest(SHARED))  # type: ignore[attr-defined]

        run = await p.mirror(*specs)

        assert {"a:v1": "blocked", "b:v1": "copied", "c:v1": "copied"} == run.ends


async def test_two_destinations_share_a_get_of_what_one_source_lacks() -> None:
    """A blob wanted by two registries that one image's source has lost is read from the other image's source."""
    async with pair() as p, RegistryServer(MemoryStorage()) as other:
        three(p)
        p.make.storage.remove_blob("a", digest(SHARED))  # type: ignore[attr-defined]
        more = spec(f"{p.source.address}/b:v1", f"{other.address}/b:v1")

        run = await p.mirror(p.spec("a:v1"), more)

        assert {"a:v1": "blocked", "b:v1": "copied"} == run.ends


async def test_two_sources_of_one_blob() -> None:
    """A blob that two registries want from different sources costs the GETs that the bill says."""
    async with pair() as p, RegistryServer(MemoryStorage()) as other, RegistryServer(MemoryStorage()) as more:
        p.make.image("a", SHARED, tags=("v1",))
        type(p.make)(other.storage).image("a", SHARED, tags=("v1",))
        second = spec(f"{other.address}/a:v1", f"{more.address}/a:v1")

        run = await p.mirror(p.spec("a:v1"), second, exact=True)

        reads = [server.log.count(BLOB) for server in (p.source, other)]
        bills = [bill_requests(run.plan)[s.address].get("GET blob", 0) for s in (p.source, other)]
        assert bills == reads


@pytest.mark.parametrize("content", [SHARED, MANY], ids=["small", "large"])
async def test_one_of_two_registries_refuses(content: bytes) -> None:
    """What one registry refuses reaches the other one all the same, from one GET."""
    async with pair() as p, RegistryServer(MemoryStorage()) as other:
        specs = three(p, content)
        more = [
            spec(f"{p.source.address}/{name}:v1", f"{other.address}/{name}:v1") for name in ("a", "b", "c")
        ]
        p.destination.faults.add(Rule(Refuse(403, "DENIED"), kind=PUT))

        await p.mirror(*specs, *more)

        expected = await oracle.walk(p.source.address, ["a", "b", "c"])
        assert expected == await oracle.walk(other.address, ["a", "b", "c"])


async def test_one_of_two_registries_hangs_up() -> None:
    """A registry that always hangs up in mid-body does not keep the blob from the other one."""
    async with pair() as p, RegistryServer(MemoryStorage()) as other:
        p.make.image("a", MANY, tags=("v1",))
        p.destination.faults.add(Rule(Cut(100_000, request=True), kind=PUT, name=digest(MANY)))
        more = spec(f"{p.source.address}/a:v1", f"{other.address}/a:v1")

        await p.mirror(p.spec("a:v1"), more)

        assert await oracle.walk(p.source.address, ["a"]) == await oracle.walk(other.address, ["a"])


# Registries that mount only what a manifest refers to


async def test_mounts_that_need_manifests_are_all_granted() -> None:
    """A plan that knows of the rule gets every mount, and reads no blob twice."""
    async with pair(quirks=Quirks(mount_needs_manifest=True)) as p:
        specs = three(p)

        run = await p.mirror(*specs, committed_only=[Registry(p.destination.address)])

        mounts = [r for r in p.destination.log.select(POST) if r.mount_from not in {"", r.repository}]
        reads = [request.name for request in p.source.log.select(BLOB)]
        assert ([201, 201], len(set(reads)), True) == (
            [request.status for request in mounts],
            len(reads),
            run.account.complete,
        )


async def test_repositories_that_could_wait_for_each_other() -> None:
    """Two repositories, each of which has first what the other one needs, do not wait for each other."""
    async with pair(quirks=Quirks(mount_needs_manifest=True)) as p:
        p.make.image("a", b"x", tags=("1",))
        p.make.image("b", b"y", tags=("1",))
        p.make.index("a", p.make.image("a", b"y", b"z", platform=AMD64), tags=("2",))
        p.make.index("b", p.make.image("b", b"z", b"x", platform=AMD64), tags=("2",))
        names = ("a:1", "b:1", "a:2", "b:2")

        run = await p.mirror(*map(p.spec, names), committed_only=[Registry(p.destination.address)])

        assert (dict.fromkeys(names, "copied"), []) == (run.ends, list(run.account.surprises))


async def test_mounts_that_need_manifests_fall_back() -> None:
    """A plan that does not know of the rule uploads what is not mounted, and comes to the same."""
    async with pair(quirks=Quirks(mount_needs_manifest=True)) as p:
        specs = three(p)

        await p.mirror(*specs)

        source, destination = await p.closures("a", "b", "c")
        assert source == destination


# Mounts that are refused


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 429, 500, 503])
async def test_refused_mounts_are_uploads(status: int) -> None:
    """Whatever a registry answers when asked to mount, the blob is uploaded instead."""
    async with pair() as p:
        specs = three(p)
        p.destination.faults.add(Rule(Refuse(status, "DENIED"), kind=POST, mount=True))

        await p.mirror(*specs)

        source, destination = await p.closures("a", "b", "c")
        assert source == destination


async def test_mounts_are_never_granted() -> None:
    """A registry that answers every mount with a session gets the bytes in that session."""
    async with pair(quirks=Quirks(no_mounts=True)) as p:
        run = await p.mirror(*three(p))

        # All nine blobs, as the client counts: the server cannot tell the probe from a session about the same blob.
        counts = run.applying[p.destination.address]
        uploads = p.destination.log.count(PUT, name=digest(SHARED))
        assert (9, 9, 3) == (counts[POST], counts[PUT], uploads)


async def test_no_session_is_left_open() -> None:
    """Refused mounts leave no upload session behind."""
    async with pair(quirks=Quirks(no_mounts=True)) as p:
        await p.mirror(*three(p))

        assert 0 == p.destination.open_sessions


async def test_a_source_that_has_gone_fails_all_that_it_was_to_give() -> None:
    """Where each new landing of a shared blob fails at once, every image ends with the cause, and the run with it."""
    async with pair() as p:
        names = ["a", "b", "c", "d"]
        for name in names:
            p.make.image(name, SHARED, tags=("v1",))

        async def nothing(plan: Plan) -> None:
            """Let the plan be made before anything is carried out."""

        def gone(_: Execution, client: Client) -> None:
            client._gate.close_for(Registry(p.source.address), lambda: NetworkError("the source has gone"))

        run = await p.mirror(*map(p.spec, (f"{name}:v1" for name in names)), between=nothing, started=gone)

        assert dict.fromkeys([f"{name}:v1" for name in names], "blocked") == run.ends


# What goes beside what


async def test_large_and_small_blobs_go_side_by_side() -> None:
    """Of three places one is a large blob's and two are small ones', though all the large ones come first."""
    async with pair() as p:
        large = [bytes([number]) * LARGE for number in range(3)]
        small = [bytes([number]) * 10 for number in range(3)]
        p.make.image("a", *large, *small, tags=("v1",))

        run = await p.mirror(p.spec("a:v1"), jobs=3, exact=True)

        started = [event.size >= LARGE for event in run.events if isinstance(event, Started)]
        assert [False, False, True] == sorted(started[:3])


# Registries that do not show what they have by mounting


async def test_blind_registry_is_probed_once() -> None:
    """A registry is asked once whether it sees its own blobs, after the first that it got."""
    async with pair(quirks=Quirks(blind_self_mount=True)) as p:
        run = await p.mirror(*three(p), jobs=1)

        assert 1 == run.applying[p.destination.address]["POST probe"]


async def test_blind_registry_is_asked_by_head() -> None:
    """Once a registry is known to be blind, each session is preceded by a HEAD and asks for no self-mount."""
    async with pair(quirks=Quirks(blind_self_mount=True)) as p:
        p.make.image("a", *(bytes([number]) for number in range(12)), tags=("v1",))

        await p.mirror(p.spec("a:v1"), jobs=1)

        plain = [r for r in p.destination.log.select(POST) if not r.mount]
        heads = [request.name for request in p.destination.log.select(HEAD_BLOB)]
        assert (True, len(plain)) == (len(plain) >= 10, len(heads))


async def test_blind_registry_keeps_what_it_has() -> None:
    """A blob that is there already is found by that HEAD, and not sent."""
    async with pair(quirks=Quirks(blind_self_mount=True)) as p:
        p.make.image("a", *(bytes([number]) for number in range(12)), tags=("v1",))
        upload = p.destination.storage.upload("a")
        upload.write(bytes([11]))
        upload.commit(digest(bytes([11])))

        await p.mirror(p.spec("a:v1"), jobs=1)

        assert 0 == p.destination.log.count(PUT, name=digest(bytes([11])))


async def test_seeing_registry_keeps_what_it_has() -> None:
    """What is there already is found by the self-mount that starts an upload, and neither read nor sent."""
    async with pair() as p:
        p.make.image("a", SHARED, tags=("v1",))
        upload = p.destination.storage.upload("a")
        upload.write(SHARED)
        upload.commit(digest(SHARED))

        await p.mirror(p.spec("a:v1"))

        reads, sent = (
            log.log.count(kind, name=digest(SHARED)) for log, kind in ((p.source, BLOB), (p.destination, PUT))
        )
        assert (0, 0) == (reads, sent)


async def test_unchanged_image_is_mounted_from() -> None:
    """What an unchanged image holds is mounted, also by a run that has never read that image (after a crash)."""
    async with pair() as p:
        specs = three(p)
        await p.mirror(specs[0])
        p.destination.log.clear()

        await p.mirror(*specs)

        assert 0 == p.destination.log.count(PUT, name=digest(SHARED))


# Evidence that has lied


async def two_versions(p: Pair) -> list[str]:
    """Mirror a first version, and make a second that shares a layer and a child with it; return its specs."""
    old = p.make.image("app", SHARED, b"1", platform=AMD64)
    p.make.index("app", old, tags=("v1",))
    await p.mirror(p.spec("app:v1", "app:stable"))
    p.make.index("app", old, p.make.image("app", SHARED, b"2", platform=ARM64), tags=("v2",))
    return [p.spec("app:v2", "app:stable")]


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "apply"])
async def test_blob_that_is_gone_is_sent_again(exact: bool) -> None:
    """A blob that an old manifest lists and the registry has lost is uploaded when the registry says so."""
    async with pair() as p:
        specs = await two_versions(p)

        async def collect_garbage(_: Plan) -> None:
            memory(p).remove_blob("app", digest(SHARED))

        run = await p.mirror(*specs, exact=exact, between=collect_garbage)

        named = next(iter((await oracle.walk(p.destination.address, ["app"]))["app"].values()))[0]
        assert ({"app:stable": "moved"}, run.plan.goals[0].root) == (run.ends, named)


async def test_blob_and_child_that_are_gone_are_sent_again() -> None:
    """A child that the registry has lost with all its blobs is pushed again, and then its index."""
    async with pair() as p:
        specs = await two_versions(p)

        async def collect_garbage(plan: Plan) -> None:
            for manifest in list(p.destination.storage.manifests("app")):
                memory(p).remove_manifest("app", manifest)
            for content in (SHARED, b"1", b"{}"):
                memory(p).remove_blob("app", digest(content))

        run = await p.mirror(*specs, between=collect_garbage)

        named = next(iter((await oracle.walk(p.destination.address, ["app"]))["app"].values()))[0]
        assert ({"app:stable": "moved"}, run.plan.goals[0].root) == (run.ends, named)


async def test_head_that_lies() -> None:
    """A blob that HEAD said is there, and the registry then misses, is uploaded."""
    async with pair() as p:
        p.make.image("app", b"first", tags=("v1",))
        p.make.image("app", SHARED, tags=("v2",))
        await p.mirror(p.spec("app:v1"))
        p.destination.faults.add(Rule(Refuse(200), kind=HEAD_BLOB))

        run = await p.mirror(p.spec("app:v2"), exact=True)

        assert {"app:v2": "copied"} == run.ends


async def test_registry_that_does_not_say_what_is_missing() -> None:
    """Where the answer names no digest, everything that was only observed is sent again."""
    async with pair() as p:
        specs = await two_versions(p)
        body = json.dumps({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown"}]}).encode()
        p.destination.faults.add(Rule(Refuse(400, body=body), kind=PUT_MANIFEST, count=2))

        run = await p.mirror(*specs)

        assert {"app:stable": "moved"} == run.ends


async def test_registry_that_always_misses_something() -> None:
    """A registry that goes on missing blobs is given up honestly, and its tag stays what it was."""
    async with pair() as p:
        specs = await two_versions(p)
        before = p.tags("app")
        p.destination.faults.add(Rule(Refuse(404, "MANIFEST_BLOB_UNKNOWN"), kind=PUT_MANIFEST))

        run = await p.mirror(*specs)

        assert (True, before) == (run.ends["app:stable"] in {"failed", "blocked"}, p.tags("app"))


async def test_mount_that_is_gone_again() -> None:
    """A blob that was mounted and is gone when its manifest comes is uploaded."""
    async with pair() as p:

        def collect_garbage(event: Event) -> None:
            if isinstance(event, Landed) and event.how == "mounted":
                memory(p).remove_blob(event.repository.path, event.digest)

        await p.mirror(*three(p), report=collect_garbage)

        source, destination = await p.closures("a", "b", "c")
        assert source == destination


async def test_garbage_collection_that_never_rests() -> None:
    """A registry that throws every config away at once is given up, and the run ends."""
    async with pair() as p:
        p.make.image("app", SHARED, tags=("v1",))

        def collect_garbage(event: Event) -> None:
            if isinstance(event, Landed):
                memory(p).remove_blob(event.repository.path, digest(b"{}"))

        run = await p.mirror(p.spec("app:v1"), report=collect_garbage)

        assert ({"app:v1": "failed"}, {}) == (run.ends, p.tags("app"))


async def test_repository_that_was_not_empty() -> None:
    """Blobs in a repository without a tag list are found by the upload that begins, and not sent."""
    async with pair(quirks=Quirks(blobs_are_nothing=True)) as p:
        contents = [bytes([number]) for number in range(12)]
        p.make.image("app", *contents, tags=("v1",))
        for content in contents:
            upload = p.destination.storage.upload("app")
            upload.write(content)
            upload.commit(digest(content))

        await p.mirror(p.spec("app:v1"))

        assert [digest(b"{}")] == [request.name for request in p.destination.log.select(PUT)]


# Tags


async def test_tag_moved_meanwhile() -> None:
    """A tag that somebody else has moved since the look is left alone, and its spec fails."""
    async with pair() as p:
        p.make.image("app", b"one", tags=("v1",))
        third = p.make.image("app", b"third")

        async def move(_: Plan) -> None:
            await p.clock.advance(31)
            copy = type(p.make)(p.destination.storage)
            copy.image("app", b"third", tags=("v1",))

        run = await p.mirror(p.spec("app:v1"), between=move)

        puts = p.destination.log.count(PUT_MANIFEST)
        moved = "moved meanwhile" in run.causes
        assert ({"app:v1": "failed"}, True, {"v1": third["digest"]}, 0) == (
            run.ends,
            moved,
            p.tags("app"),
            puts,
        )


async def test_tag_moved_meanwhile_to_what_it_shall_be() -> None:
    """A tag that somebody else has made what it shall be is no reason to fail."""
    async with pair() as p:
        root = p.make.image("app", b"one", tags=("v1",))

        async def move(_: Plan) -> None:
            await p.clock.advance(31)
            copy = type(p.make)(p.destination.storage)
            copy.image("app", b"one", tags=("v1",))

        run = await p.mirror(p.spec("app:v1"), between=move)

        assert (True, {"v1": root["digest"]}) == (run.account.complete, p.tags("app"))


async def test_tag_moved_meanwhile_leaves_the_others() -> None:
    """Of two tags of one image, the one that was moved meanwhile fails and the other is written."""
    async with pair() as p:
        root = p.make.image("app", b"one", tags=("v1",))

        async def move(_: Plan) -> None:
            await p.clock.advance(31)
            copy = type(p.make)(p.destination.storage)
            copy.image("app", b"third", tags=("first",))

        run = await p.mirror(p.spec("app:v1", "app:first"), p.spec("app:v1", "app:second"), between=move)

        ends = {"app:first": "failed", "app:second": "copied"}
        assert (ends, root["digest"]) == (run.ends, p.tags("app").get("second"))


@pytest.mark.parametrize("refused", ["first", "second"])
async def test_immutable_tag(refused: str) -> None:
    """Of two tags of one image, the one that the registry refuses fails and the other is written."""
    async with pair() as p:
        root = p.make.image("app", b"one", tags=("v1",))
        p.destination.faults.add(Rule(Refuse(400, "TAG_INVALID"), kind=PUT_MANIFEST, name=refused))

        run = await p.mirror(p.spec("app:v1", "app:first"), p.spec("app:v1", "app:second"))

        other = {"first": "second", "second": "first"}[refused]
        ends = {f"app:{refused}": "failed", f"app:{other}": "copied"}
        assert (ends, {other: root["digest"]}) == (run.ends, p.tags("app"))


async def test_source_tag_moved_meanwhile() -> None:
    """What was planned is copied, also where the source's tag has gone on since."""
    async with pair() as p:
        root = p.make.image("app", b"one", tags=("v1",))

        async def move(_: Plan) -> None:
            p.make.image("app", b"two", tags=("v1",))

        await p.mirror(p.spec("app:v1"), between=move)

        assert {"v1": root["digest"]} == p.tags("app")


async def test_root_that_is_a_child_too() -> None:
    """An image with a tag of its own that a tagged index lists is put once, by its tag."""
    async with pair() as p:
        child = p.make.image("app", b"one", platform=AMD64, tags=("amd64",))
        root = p.make.index("app", child, tags=("v1",))

        run = await p.mirror(p.spec("app:v1"), p.spec("app:amd64"))

        named = [request.path.rpartition("/")[2] for request in p.destination.log.select(PUT_MANIFEST)]
        tags = {"v1": root["digest"], "amd64": child["digest"]}
        assert (True, tags, ["amd64", "v1"]) == (run.account.complete, p.tags("app"), sorted(named))


@pytest.mark.parametrize("refused", ["amd64", "v1"])
async def test_refused_tag_of_a_child(refused: str) -> None:
    """An index whose child has a tag that is refused gets that child by its digest."""
    async with pair() as p:
        child = p.make.image("app", b"one", platform=AMD64, tags=("amd64",))
        p.make.index("app", child, tags=("v1",))
        p.destination.faults.add(Rule(Refuse(400, "TAG_INVALID"), kind=PUT_MANIFEST, name=refused))

        run = await p.mirror(p.spec("app:amd64"), p.spec("app:v1"))

        other = {"amd64": "v1", "v1": "amd64"}[refused]
        assert {f"app:{refused}": "failed", f"app:{other}": "copied"} == run.ends
