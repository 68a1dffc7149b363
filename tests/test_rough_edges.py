"""The rough edges on which other mirrors fall: broken connections, odd documents, answers that mislead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mmgraph.names import Digest
from mmgraph.oci import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from mmgraph.registry.credentials import Credentials
from mmgraph.server import (
    Basic,
    Bearer,
    Cut,
    Drop,
    Flip,
    Headers,
    MemoryStorage,
    Quirks,
    Refuse,
    Rule,
)
from mmgraph.specs import SpecErrors
from mmgraph.store import Operation
from tests.support.images import AMD64, ARM64, CONFIG, LAYER, attestation, digest
from tests.support.mirror import Pair, mirror, pair, spec

if TYPE_CHECKING:
    from pathlib import Path

    from mmgraph.server.storage import Upload

HEAD, GET, TAGS = Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.GET_TAGS
BLOB, POST, PUT, PUT_MANIFEST = (
    Operation.GET_BLOB,
    Operation.POST_UPLOAD,
    Operation.PUT_BLOB,
    Operation.PUT_MANIFEST,
)
MEDIUM = bytes(range(256)) * 8_192
"""Held whole, and more than aiohttp likes to send at once."""
LARGE = bytes(range(256)) * 20_480
"""More than is held whole: 5 MiB, so that it is streamed."""


# Connections that break


@pytest.mark.parametrize("effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", [HEAD, GET, BLOB])
async def test_source_hangs_up(kind: Operation, effect: bool) -> None:
    """A connection that the source drops once, whatever it was asked, costs nothing but another try."""
    async with pair() as p:
        p.make.index("app", p.make.image("app", b"one", platform=AMD64), tags=("v1",))
        p.source.faults.add(Rule(Drop(effect=effect), kind=kind, count=1))

        await p.mirror(p.spec("app:v1"))

        source, destination = await p.closures("app")
        assert source == destination


@pytest.mark.parametrize("effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", [HEAD, TAGS, POST, PUT, PUT_MANIFEST])
async def test_destination_hangs_up(kind: Operation, effect: bool) -> None:
    """A connection that the destination drops once, whatever it was asked, costs nothing but another try."""
    async with pair() as p:
        p.make.index("app", p.make.image("app", b"one", platform=AMD64), tags=("v1",))
        p.destination.faults.add(Rule(Drop(effect=effect), kind=kind, count=1))

        await p.mirror(p.spec("app:v1"))

        source, destination = await p.closures("app")
        assert source == destination


@pytest.mark.parametrize("content", [b"small", MEDIUM, LARGE], ids=["small", "medium", "large"])
async def test_lost_answer_costs_no_second_upload(content: bytes) -> None:
    """A blob whose commit was done and whose answer got lost is found, not sent again."""
    async with pair() as p:
        p.make.image("app", content, tags=("v1",))
        p.destination.faults.add(Rule(Drop(effect=True), kind=PUT, name=digest(content), count=1))

        await p.mirror(p.spec("app:v1"))

        assert 1 == p.destination.log.count(PUT, name=digest(content))


async def test_stream_cut_short_goes_on_by_range() -> None:
    """A large blob whose stream breaks in the middle is read on from there, and each byte arrives once."""
    async with pair() as p:
        p.make.image("app", LARGE, tags=("v1",))
        p.source.faults.add(Rule(Cut(3_000_000), kind=BLOB, name=digest(LARGE), count=1))

        await p.mirror(p.spec("app:v1"))

        reads = [request.range for request in p.source.log.select(BLOB, name=digest(LARGE))]
        sent = [request.bytes_received for request in p.destination.log.select(PUT, name=digest(LARGE))]
        assert (["", "bytes=3000000-"], [len(LARGE)]) == (reads, sent)


async def test_destination_cut_in_mid_body() -> None:
    """A destination that hangs up in the middle of an upload gets the blob in a new session."""
    async with pair() as p:
        p.make.image("app", LARGE, tags=("v1",))
        p.destination.faults.add(Rule(Cut(1_000_000, request=True), kind=PUT, name=digest(LARGE), count=1))

        await p.mirror(p.spec("app:v1"))

        source, destination = await p.closures("app")
        assert source == destination


# Bytes that are wrong


class LaxStorage(MemoryStorage):
    """A registry that believes whatever digest it is told."""

    def upload(self, repository: str, algorithm: str = "sha256") -> Upload:
        """Start an upload whose commit is never refused."""
        return _LaxUpload(self._make(repository).blobs)


class _LaxUpload:
    def __init__(self, blobs: dict[Digest, bytes]) -> None:
        self._blobs = blobs
        self._data = bytearray()

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, data: bytes) -> None:
        self._data += data

    def commit(self, digest: Digest) -> bool:
        self._blobs[digest] = bytes(self._data)
        return True

    def abandon(self) -> None:
        self._data.clear()


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("lax", [False, True], ids=["strict", "lax"])
async def test_wrong_bytes_are_never_committed(content: bytes, lax: bool) -> None:
    """A blob whose bytes are not its digest's is nowhere afterwards, not even where it would be accepted."""
    async with pair(storage=LaxStorage() if lax else None) as p:
        p.make.image("app", content, tags=("v1",))
        p.source.faults.add(Rule(Flip(len(content) - 1), kind=BLOB, name=digest(content)))

        run = await p.mirror(p.spec("app:v1"))

        size = p.destination.storage.blob_size("app", digest(content))
        assert ({"app:v1": "blocked"}, None, {}) == (run.ends, size, p.tags("app"))


async def test_wrong_bytes_once_heal() -> None:
    """A blob that is spoilt on one reading is read again and arrives."""
    async with pair() as p:
        p.make.image("app", LARGE, tags=("v1",))
        p.source.faults.add(Rule(Flip(17), kind=BLOB, name=digest(LARGE), count=1))

        run = await p.mirror(p.spec("app:v1"))

        assert {"app:v1": "copied"} == run.ends


async def test_wrong_manifest_is_refused() -> None:
    """A manifest whose bytes are not its digest's fails the image, and nothing of it is written."""
    async with pair() as p:
        p.make.image("app", b"one", tags=("v1",))
        p.source.faults.add(Rule(Flip(20), kind=GET))

        run = await p.mirror(p.spec("app:v1"))

        writes = [request for request in p.destination.log if request.method not in {"GET", "HEAD"}]
        assert ({"app:v1": "failed"}, []) == (run.ends, writes)


async def test_lying_length_is_refused() -> None:
    """A blob of another length than its descriptor says fails before a byte of it leaves."""
    async with pair() as p:
        layer = p.make.blob("app", b"three")
        body = {
            "schemaVersion": 2,
            "config": p.make.blob("app", b"{}", CONFIG),
            "layers": [layer | {"size": 6}],
        }
        p.make.document("app", json.dumps(body).encode(), OCI_MANIFEST, "v1")

        run = await p.mirror(p.spec("app:v1"))

        assert ({"app:v1": "blocked"}, 0) == (run.ends, p.destination.log.count(PUT, name=layer["digest"]))


# Documents that are unusual


async def test_manifest_that_ends_in_a_newline() -> None:
    """The bytes around the JSON belong to a manifest: its digest stays."""
    async with pair() as p:
        config = p.make.blob("app", b"{}", CONFIG)
        body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
        raw = b"\n  " + json.dumps(body).encode() + b"\n\n"
        p.make.document("app", raw, OCI_MANIFEST, "v1")

        await p.mirror(p.spec("app:v1"))

        held = p.destination.storage.manifest("app", digest(raw))
        assert ({"v1": digest(raw)}, raw) == (p.tags("app"), held and held.raw)


@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)], ids=["all", "limited"])
async def test_index_with_one_child_stays_an_index(platforms: tuple[str, ...]) -> None:
    """An index with a single image is copied as the index that it is."""
    async with pair() as p:
        root = p.make.index("app", p.make.image("app", b"one", platform=AMD64), tags=("v1",))

        await p.mirror(p.spec("app:v1", "app:v1", *platforms))

        assert {"v1": root["digest"]} == p.tags("app")


async def test_limited_index_with_one_child_left_stays_an_index() -> None:
    """Limiting an index to one of its platforms leaves an index with one entry, that entry unchanged."""
    async with pair() as p:
        kept = p.make.image("app", b"one", platform=AMD64)
        p.make.index("app", kept, p.make.image("app", b"two", platform=ARM64), tags=("v1",))

        await p.mirror(p.spec("app:v1", "app:v1", "linux/amd64"))

        held = p.destination.storage.manifest("app", Digest(p.tags("app")["v1"]))
        assert [kept] == (json.loads(held.raw)["manifests"] if held else None)


async def test_limited_image_is_unchanged_on_the_second_run() -> None:
    """A limited index is recognised at the destination: the second run finds nothing to do."""
    async with pair() as p:
        images = [p.make.image("app", name, platform=where) for name, where in ((b"1", AMD64), (b"2", ARM64))]
        p.make.index("app", *images, tags=("v1",))
        await p.mirror(p.spec("app:v1", "app:v1", "linux/amd64"))

        run = await p.mirror(p.spec("app:v1", "app:v1", "linux/amd64"))

        assert {"app:v1": "unchanged"} == run.ends


async def test_descriptor_without_platform_is_left_out_of_a_limited_index() -> None:
    """A descriptor without a platform is of none of the wanted ones, and no reason to stop."""
    async with pair() as p:
        kept = p.make.image("app", b"one", platform=AMD64)
        p.make.index("app", p.make.image("app", b"none"), kept, tags=("v1",))

        await p.mirror(p.spec("app:v1", "app:v1", "linux/amd64"))

        held = p.destination.storage.manifest("app", Digest(p.tags("app")["v1"]))
        assert [kept] == (json.loads(held.raw)["manifests"] if held else None)


async def test_attestations_follow_their_images() -> None:
    """Limiting platforms keeps the attestation of each image that is kept, and those alone."""
    async with pair() as p:
        images = [p.make.image("app", name, platform=where) for name, where in ((b"1", AMD64), (b"2", ARM64))]
        statements = [p.make.image("app", b"for " + child["digest"].encode()) for child in images]
        attests = [one | attestation(child) for one, child in zip(statements, images, strict=True)]
        p.make.index("app", *images, *attests, tags=("v1",))

        await p.mirror(p.spec("app:v1", "app:v1", "linux/arm64"))

        held = p.destination.storage.manifest("app", Digest(p.tags("app")["v1"]))
        assert [images[1], attests[1]] == (json.loads(held.raw)["manifests"] if held else None)


async def test_none_of_the_platforms() -> None:
    """An image with none of the platforms fails, and the cause lists those that it has."""
    async with pair() as p:
        p.make.index("app", p.make.image("app", b"one", platform=AMD64), tags=("v1",))

        run = await p.mirror(p.spec("app:v1", "app:v1", "linux/s390x"))

        cause = f"{p.source.address}/app:v1: it has none of linux/s390x; it has linux/amd64"
        assert (cause, {}) == (run.causes, p.tags("app"))


async def test_some_of_the_platforms() -> None:
    """An image that lacks one of the platforms is copied, and the plan names the one that is missing."""
    async with pair() as p:
        p.make.index("app", p.make.image("app", b"one", platform=AMD64), tags=("v1",))

        run = await p.mirror(p.spec("app:v1", "app:v1", "linux/amd64", "linux/s390x"))

        missing = [str(one) for one in run.plan.goals[0].missing]
        assert ({"app:v1": "copied"}, ["linux/s390x"]) == (run.ends, missing)


def nested(p: Pair) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make an index as ghcr.io/goauthentik/server has it: each platform is an index of its own."""
    entries = []
    for name, where in ((b"one", AMD64), (b"two", ARM64)):
        image = p.make.image("app", name)
        statement = p.make.image("app", b"for " + name) | attestation(image)
        entries.append(p.make.index("app", image, statement, platform=where))
    return p.make.index("app", *entries, tags=("v1",)), entries[1]


async def test_nested_index() -> None:
    """An index of indexes is copied with all that is in it."""
    async with pair() as p:
        nested(p)

        await p.mirror(p.spec("app:v1"))

        source, destination = await p.closures("app")
        assert source == destination


async def test_nested_index_hands_its_platform_on() -> None:
    """What is in a nested index is of the platform that the outer descriptor says."""
    async with pair() as p:
        _, kept = nested(p)

        await p.mirror(p.spec("app:v1", "app:v1", "linux/arm64"))

        held = p.destination.storage.manifest("app", Digest(p.tags("app")["v1"]))
        assert [kept] == (json.loads(held.raw)["manifests"] if held else None)


async def test_missing_media_type() -> None:
    """OCI documents need not say what they are: the Content-Type does, and is sent on."""
    async with pair() as p:
        body = {"schemaVersion": 2, "config": p.make.blob("app", b"{}", CONFIG), "layers": []}
        image = p.make.document("app", json.dumps(body).encode(), OCI_MANIFEST, platform=AMD64)
        index = {"schemaVersion": 2, "manifests": [image]}
        root = p.make.document("app", json.dumps(index).encode(), OCI_INDEX, "v1")

        await p.mirror(p.spec("app:v1"))

        digests = [root["digest"], image["digest"]]
        held = [p.destination.storage.manifest("app", one) for one in digests]
        assert [OCI_INDEX, OCI_MANIFEST] == [one and one.media_type for one in held]


async def test_content_type_with_parameters() -> None:
    """A Content-Type may have parameters; they are no part of the type."""
    async with pair() as p:
        root = p.make.image("app", b"one", tags=("v1",))
        spoilt = Headers({"Content-Type": f"{OCI_MANIFEST}; charset=utf-8"})
        p.source.faults.add(Rule(spoilt, kind=GET))

        await p.mirror(p.spec("app:v1"))

        held = p.destination.storage.manifest("app", root["digest"])
        assert OCI_MANIFEST == (held and held.media_type)


async def test_docker_documents() -> None:
    """Docker's manifest lists and manifests keep their types."""
    async with pair() as p:
        body = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": p.make.blob("app", b"{}", CONFIG)}
        body["layers"] = [p.make.blob("app", b"one")]
        image = p.make.document("app", json.dumps(body).encode(), DOCKER_MANIFEST, platform=AMD64)
        index = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [image]}
        root = p.make.document("app", json.dumps(index).encode(), DOCKER_LIST, "v1")

        await p.mirror(p.spec("app:v1"))

        held = [p.destination.storage.manifest("app", one["digest"]) for one in (root, image)]
        assert [DOCKER_LIST, DOCKER_MANIFEST] == [one and one.media_type for one in held]


async def test_foreign_layer_is_not_fetched() -> None:
    """A layer with URLs of its own is neither read, nor sent, nor in the way."""
    async with pair() as p:
        foreign = {
            "mediaType": LAYER,
            "digest": digest(b"elsewhere"),
            "size": 9,
            "urls": ["https://example.com/"],
        }
        config, layer = p.make.blob("app", b"{}", CONFIG), p.make.blob("app", b"one")
        body = {"schemaVersion": 2, "config": config, "layers": [foreign, layer]}
        root = p.make.document("app", json.dumps(body).encode(), OCI_MANIFEST, "v1")

        await p.mirror(p.spec("app:v1"))

        read = {request.name for request in p.source.log.select(BLOB)}
        assert ({"v1": root["digest"]}, {config["digest"], layer["digest"]}) == (p.tags("app"), read)


async def test_empty_layers() -> None:
    """A blob of no bytes is a blob, and a manifest without layers is one too."""
    async with pair() as p:
        p.make.image("app", b"", tags=("zero",))
        p.make.image("app", tags=("none",))

        await p.mirror(p.spec("app:zero"), p.spec("app:none"))

        source, destination = await p.closures("app")
        assert source == destination


async def test_blob_listed_twice() -> None:
    """A layer that a manifest lists twice is one blob."""
    async with pair() as p:
        p.make.image("app", b"one", b"one", tags=("v1",))

        await p.mirror(p.spec("app:v1"))

        assert 1 == p.destination.log.count(PUT, name=digest(b"one"))


async def test_config_that_is_a_layer_too() -> None:
    """A manifest whose config and only layer are the same blob, as artifacts have it, is copied."""
    async with pair() as p:
        p.make.image("app", b"{}", config=b"{}", tags=("v1",))

        await p.mirror(p.spec("app:v1"))

        source, destination = await p.closures("app")
        assert source == destination


@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)], ids=["all", "limited"])
async def test_sha512(platforms: tuple[str, ...]) -> None:
    """Blobs and children with sha512 digests are copied under these."""
    async with pair() as p:
        layer = p.make.blob("app", b"one", algorithm="sha512")
        large = p.make.blob("app", LARGE, algorithm="sha512")
        config = p.make.blob("app", b"{}", CONFIG, algorithm="sha512")
        body = {"schemaVersion": 2, "config": config, "layers": [layer, large]}
        raw = json.dumps(body).encode()
        image = p.make.document("app", raw, OCI_MANIFEST, algorithm="sha512", platform=AMD64)
        root = p.make.index("app", image, tags=("v1",))

        await p.mirror(p.spec("app:v1", "app:v1", *platforms))

        held = p.destination.storage.manifest("app", image["digest"])
        assert ({"v1": root["digest"]}, raw) == (p.tags("app"), held and held.raw)


async def test_sha512_root() -> None:
    """An image asked for by a sha512 digest gets its tag, whatever digest the registry names it by."""
    async with pair() as p:
        config = p.make.blob("app", b"{}", CONFIG)
        raw = json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode()
        image = p.make.document("app", raw, OCI_MANIFEST, algorithm="sha512")

        run = await p.mirror(p.spec(f"app@{image['digest']}", "app:v1"))

        held = p.destination.storage.manifest("app", Digest(p.tags("app").get("v1", "")))
        assert ({"app:v1": "copied"}, raw) == (run.ends, held and held.raw)


async def test_index_that_lists_a_blob() -> None:
    """An index may list what is no manifest: that is a blob, and comes along."""
    async with pair(quirks=Quirks(accepts_missing=True)) as p:
        p.make.index(
            "app", p.make.image("app", b"one"), p.make.blob("app", b"two", "text/plain"), tags=("v1",)
        )

        run = await p.mirror(p.spec("app:v1"))

        size = p.destination.storage.blob_size("app", digest(b"two"))
        assert (3, "") == (size, run.causes)


# Names that are unusual


async def test_tag_and_digest() -> None:
    """A destination with tag and digest gets the tag, also where the content is there under another name."""
    async with pair() as p:
        root = p.make.image("app", b"one", tags=("v1",))
        name = root["digest"]
        await p.mirror(p.spec("app:v1", "app:old"))

        await p.mirror(p.spec(f"app:v1@{name}", f"app:new@{name}"))

        assert {"old": name, "new": name} == p.tags("app")


async def test_digest_alone() -> None:
    """A destination with a digest and no tag gets the manifest and no tag; a second run finds it there."""
    async with pair() as p:
        root = p.make.index("app", p.make.image("app", b"one", platform=AMD64))
        name = f"app@{root['digest']}"

        runs = [(await p.mirror(p.spec(name))).ends for _ in range(2)]

        assert ([{name: "copied"}, {name: "unchanged"}], {}) == (runs, p.tags("app"))


@pytest.mark.parametrize("key", ["limitPlatform", "source", "transforms"])
async def test_unknown_keys_are_refused(key: str) -> None:
    """A key that means nothing is an error, before anything is asked."""
    async with pair() as p:
        line = json.loads(p.spec("app:v1")) | {key: ["linux/amd64"]}

        with pytest.raises(SpecErrors, match=key):
            await mirror(json.dumps(line))


# Answers that mislead


class Case(NamedTuple):
    """A refusal of a look at a destination's tag, and the words that must be in the cause."""

    status: int
    code: str
    words: str


CASES = [
    Case(400, "UNKNOWN", "400"),
    Case(401, "UNAUTHORIZED", "401"),
    Case(403, "DENIED", "403"),
    Case(429, "TOOMANYREQUESTS", "429"),
    Case(500, "UNKNOWN", "500"),
    Case(503, "UNAVAILABLE", "503"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.status))
async def test_errors_are_not_absence(case: Case) -> None:
    """A destination that cannot say what a tag names is not taken to lack it: nothing is written."""
    async with pair() as p:
        p.make.image("app", b"one", tags=("v1",))
        for kind in (HEAD, GET):
            p.destination.faults.add(Rule(Refuse(case.status, case.code), kind=kind))

        run = await p.mirror(p.spec("app:v1"))

        writes = [request for request in p.destination.log if request.method not in {"GET", "HEAD"}]
        assert ({"app:v1": "failed"}, True, []) == (run.ends, case.words in run.causes, writes)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "apply"])
async def test_head_that_is_not_supported(exact: bool) -> None:
    """Where HEAD of a manifest is not supported, GET decides, on both sides."""
    odd = Quirks(head_unsupported=True)
    async with pair(quirks=odd, source_quirks=odd) as p:
        p.make.image("app", b"one", tags=("v1",))

        ends = [(await p.mirror(p.spec("app:v1"), exact=exact)).ends for _ in range(2)]

        assert [{"app:v1": "copied"}, {"app:v1": "unchanged"}] == ends


async def test_no_digest_in_any_answer() -> None:
    """Registries that never say a digest are read back instead of believed."""
    odd = Quirks(no_digest_header=True)
    async with pair(quirks=odd, source_quirks=odd) as p:
        p.make.index("app", p.make.image("app", b"one", platform=AMD64), tags=("v1",))

        ends = [(await p.mirror(p.spec("app:v1"))).ends for _ in range(2)]

        assert [{"app:v1": "copied"}, {"app:v1": "unchanged"}] == ends


async def test_head_404_where_get_finds() -> None:
    """A source whose HEAD of a manifest says 404 is asked by GET too, as Nexus needed."""
    async with pair() as p:
        p.make.image("app", b"one", tags=("v1",))
        p.source.faults.add(Rule(Refuse(404, "MANIFEST_UNKNOWN"), kind=HEAD))

        run = await p.mirror(p.spec("app:v1"))

        assert {"app:v1": "copied"} == run.ends


async def test_absent_source() -> None:
    """A tag that the source does not have fails its spec, in the registry's words."""
    async with pair() as p:
        run = await p.mirror(p.spec("app:v1"))

        assert ({"app:v1": "failed"}, True) == (run.ends, "MANIFEST_UNKNOWN" in run.causes)


async def test_tag_list_that_fails() -> None:
    """A repository whose tag list cannot be had is simply not known, and written to."""
    async with pair() as p:
        p.make.image("app", b"one", tags=("v1",))
        p.destination.faults.add(Rule(Refuse(500), kind=TAGS))

        run = await p.mirror(p.spec("app:v1"))

        assert {"app:v1": "copied"} == run.ends


async def test_odd_location() -> None:
    """An upload goes where Location says, its query kept as it is."""
    async with pair(quirks=Quirks(location_query="_state=a%2Bb%3D&x=")) as p:
        p.make.image("app", b"one", LARGE, tags=("v1",))

        await p.mirror(p.spec("app:v1"))

        queries = [dict(request.query) for request in p.destination.log.select(PUT)]
        rest = [{key: value for key, value in one.items() if key != "digest"} for one in queries]
        assert [{"_state": "a+b=", "x": ""}] * 3 == rest


# Who we are


def login(path: Path, address: str, password: str) -> Credentials:
    """Write a login file and read it."""
    path.write_text(json.dumps({"auths": {address: {"username": "user", "password": password}}}))
    return Credentials({}, path, path.parent)


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
async def test_login(tmp_path: Path, bearer: bool) -> None:
    """With the right password, a registry that wants one is written to."""
    auth = Bearer("user", "right", anonymous=False) if bearer else Basic("user", "right")
    async with pair(destination_auth=auth) as p:
        p.make.image("app", b"one", LARGE, tags=("v1",))
        p.make.image("lib", b"one", tags=("v1",))
        credentials = login(tmp_path / "auth.json", p.destination.address, "right")

        run = await p.mirror(p.spec("app:v1"), p.spec("lib:v1"), credentials=credentials)

        assert {"app:v1": "copied", "lib:v1": "copied"} == run.ends


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
async def test_wrong_login(tmp_path: Path, bearer: bool) -> None:
    """A wrong password fails the spec, is not repeated, and is in no message."""
    auth = Bearer("user", "right", anonymous=False) if bearer else Basic("user", "right")
    async with pair(source_auth=auth) as p:
        p.make.image("app", b"one", tags=("v1",))
        credentials = login(tmp_path / "auth.json", p.source.address, "wr0ng")

        run = await p.mirror(p.spec("app:v1"), credentials=credentials)

        assert ({"app:v1": "failed"}, False) == (run.ends, "wr0ng" in f"{run.account}{run.events}")


async def test_helper_that_cannot_be_asked(tmp_path: Path) -> None:
    """A login that a helper keeps is never replaced by asking as nobody."""
    async with pair(source_auth=Bearer("user", "right", anonymous=True)) as p:
        p.make.image("app", b"one", tags=("v1",))
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"credHelpers": {p.source.address: "nowhere"}}))

        run = await p.mirror(p.spec("app:v1"), credentials=Credentials({}, path, tmp_path))

        assert ({"app:v1": "failed"}, 0) == (run.ends, p.source.log.count(GET))


async def test_source_and_destination_are_one_registry() -> None:
    """Within one registry, everything is mounted and no blob is read, also one request at a time."""
    async with pair() as p:
        p.make.index("app", p.make.image("app", b"one", platform=AMD64), tags=("v1",))
        text = spec(f"{p.source.address}/app:v1", f"{p.source.address}/copy:v1")

        run = await p.mirror(text, jobs=1)

        assert ({"copy:v1": "copied"}, 0) == (run.ends, p.source.log.count(BLOB))
