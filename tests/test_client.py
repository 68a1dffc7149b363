"""The client's operations, against real registries, our own with its quirks, and servers that lie."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.clock import SystemClock
from mmgraph.errors import ContentError, NetworkError, RegistryError
from mmgraph.names import Digest, Registry, Repository
from mmgraph.quirks import Learned, Quirk
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.watch import TICK
from mmgraph.server import (
    Bearer,
    Drop,
    FaultPlan,
    Flip,
    Headers,
    MemoryStorage,
    Quirks,
    Refuse,
    RegistryServer,
    Rule,
)
from mmgraph.store import Operation, RawManifest, Resolved, Upload
from tests.support.raw import Raw, Request, answer, script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mmgraph.store import Destination, Transport
    from tests.support.clock import ManualClock
    from tests.support.distribution import Distribution

BLOB = random.Random(1).randbytes(300_000)
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class JumpClock(SystemClock):
    """A clock on which every wait is over after one turn of the loop, and its time has passed then.

    But for the watchdog's, which would see a minute pass in sixty turns.
    """

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Real time, and what was slept."""
        return super().now() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Return after one turn of the loop."""
        if seconds == TICK:
            await asyncio.sleep(seconds)
            return
        self._ahead += max(0.0, seconds)
        await asyncio.sleep(0)


def digest_of(data: bytes) -> Digest:
    """Return the data's digest."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def manifest_of(*layers: bytes, config: bytes = b"{}") -> RawManifest:
    """Return an image manifest."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(config),
            "size": 2,
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest_of(each),
                "size": len(each),
            }
            for each in layers
        ],
    }
    return RawManifest(json.dumps(document).encode(), MANIFEST_TYPE)


IMAGE = manifest_of(BLOB)


def client(clock: Any = None, **options: Any) -> Client:
    """Return a client without logins whose jitter is repeatable."""
    options.setdefault(
        "credentials", Credentials({"XDG_RUNTIME_DIR": "/nonexistent", "HOME": "/nonexistent"})
    )
    return Client(clock=clock or JumpClock(), chance=random.Random(1), **options)


async def chunks(data: bytes, size: int = 64 << 10) -> AsyncIterator[bytes]:
    """Yield the data in pieces."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def push(registry: Client, repository: Repository, data: bytes) -> None:
    """Upload a blob."""
    upload = await registry.start(repository, digest_of(data), repository)
    if upload is not None:
        await registry.send(upload, digest_of(data), len(data), data)


async def push_image(registry: Client, repository: Repository, tag: str = "v1") -> Digest:
    """Upload an image."""
    await push(registry, repository, BLOB)
    await push(registry, repository, b"{}")
    await registry.put_manifest(repository, tag, digest_of(IMAGE.raw), IMAGE)
    return digest_of(IMAGE.raw)


async def read(registry: Client, repository: Repository, data: bytes, start: int = 0) -> bytes:
    """Download a blob."""
    async with registry.blob(repository, digest_of(data), len(data), start) as stream:
        return b"".join([chunk async for chunk in stream])


@pytest.fixture
async def ours() -> AsyncIterator[RegistryServer]:
    """Run a registry of our own."""
    async with RegistryServer(MemoryStorage()) as server:
        yield server


def at(server: RegistryServer | Raw, path: str = "team/app") -> Repository:
    """Return a repository there."""
    return Repository(Registry(server.address), path)


# All of it


async def test_against_distribution(start_registry: Callable[..., Distribution]) -> None:
    """Everything works against a real registry: upload, mount, tag, read, resume, and what is absent."""
    registry = Registry(start_registry().address)
    app, base = Repository(registry, "team/app"), Repository(registry, "team/base")
    async with client() as wire:
        assert False is await wire.exists(app)
        assert None is await wire.find(app, "v1")
        digest = await push_image(wire, app)
        assert Resolved(digest) == await wire.resolve(app, "v1")
        assert Resolved(digest) == await wire.find(app, digest)
        for name in ("v1", digest):
            assert await wire.manifest(app, name) == IMAGE
        assert await wire.has_blob(app, digest_of(BLOB))
        assert await wire.probe(app, digest_of(BLOB))
        assert None is await wire.start(base, digest_of(BLOB), app)
        for start in (0, 1000):
            rest = BLOB[start:]
            assert rest == await read(wire, base, BLOB, start)
        assert True is await wire.exists(app)


async def test_requests_are_counted(start_registry: Callable[..., Distribution]) -> None:
    """What the client counts is what the registry's access log shows."""
    distribution = start_registry()
    app = Repository(Registry(distribution.address), "team/app")
    async with client() as wire:
        await push_image(wire, app)
        await wire.resolve(app, "v1")
        counts = dict(wire.counts()[app.registry])
    logged: dict[Operation, int] = {}
    for request in distribution.requests():
        operation = Operation.PING if request.target == "/v2/" else request.operation
        assert operation is not None
        logged[operation] = logged.get(operation, 0) + 1
    assert logged == counts


async def test_a_stream_is_uploaded(start_registry: Callable[..., Distribution]) -> None:
    """A blob whose bytes come one after the other is committed whole."""
    app = Repository(Registry(start_registry().address), "team/app")
    async with client() as wire:
        upload = await wire.start(app, digest_of(BLOB), None)
        assert upload is not None
        await wire.send(upload, digest_of(BLOB), len(BLOB), chunks(BLOB))
        expected = BLOB
        assert expected == await read(wire, app, BLOB)


async def test_a_large_body_held_whole(ours: RegistryServer) -> None:
    """A blob of some MiB that is held whole goes out piece by piece, again after a failure too."""
    ours.faults.add(Rule(Refuse(500), kind=Operation.PUT_BLOB, count=1))
    large = BLOB * 10
    async with client() as wire:
        await push(wire, at(ours), large)
        assert large == await read(wire, at(ours), large)


async def test_an_empty_blob(ours: RegistryServer) -> None:
    """A blob of no bytes is uploaded and read like any other."""
    async with client() as wire:
        upload = await wire.start(at(ours), digest_of(b""), None)
        assert upload is not None
        await wire.send(upload, digest_of(b""), 0, chunks(b""))
        expected = b""
        assert expected == await read(wire, at(ours), b"")


async def test_it_is_what_store_asks_for() -> None:
    """A client is a Transport and a Destination: the assignment is mypy's to check."""
    wire = client()
    roles: tuple[Transport, Destination] = (wire, wire)
    assert (wire, wire) == roles


async def test_outside_of_its_context() -> None:
    """A client that is not open says so."""
    with pytest.raises(Exception, match="outside of its context"):
        await client().exists(Repository(Registry("127.0.0.1:1"), "a"))


# Reading


@pytest.mark.parametrize("quirks", [Quirks(head_unsupported=True), Quirks(no_digest_header=True)])
async def test_head_that_does_not_tell(quirks: Quirks) -> None:
    """Where HEAD is not served, or has no digest, one GET tells, and its bytes are handed on."""
    async with RegistryServer(MemoryStorage(), faults=FaultPlan(quirks=quirks)) as server, client() as wire:
        digest = await push_image(wire, at(server))
        expected = Resolved(digest, IMAGE)
        assert [expected, expected] == [
            await wire.resolve(at(server), "v1"),
            await wire.find(at(server), "v1"),
        ]


@pytest.mark.parametrize("action", [Refuse(405), Refuse(501), Headers({"Docker-Content-Digest": None})])
async def test_a_dumb_head_is_one_repository_s(ours: RegistryServer, action: Refuse | Headers) -> None:
    """It is reported once, and every lookup asks by HEAD first as before: the next repository may answer it."""
    ours.faults.add(Rule(action, kind=Operation.HEAD_MANIFEST, repository="team/app"))
    async with client() as wire:
        for name in ("team/app", "team/other"):
            await push_image(wire, at(ours, name))
        before = dict(wire.counts()[at(ours).registry])
        for name in ("team/app", "team/app", "team/other"):
            await wire.resolve(at(ours, name), "v1")
        after = wire.counts()[at(ours).registry]
        asked = [
            after[each] - before.get(each, 0) for each in (Operation.HEAD_MANIFEST, Operation.GET_MANIFEST)
        ]
    assert ([3, 2], (Learned(at(ours).registry, Quirk.DUMB_HEAD),)) == (asked, wire.quirks.learned)


async def test_head_404_get_200(ours: RegistryServer) -> None:
    """A source whose HEAD says 404 is asked by GET (Nexus); a destination is believed."""
    ours.faults.add(Rule(Refuse(404), kind=Operation.HEAD_MANIFEST))
    async with client() as wire:
        digest = await push_image(wire, at(ours))
        assert Resolved(digest, IMAGE) == await wire.resolve(at(ours), "v1")
        assert None is await wire.find(at(ours), "v1")
        assert wire.quirks.has(at(ours).registry, Quirk.DUMB_HEAD)


async def test_an_absent_source(ours: RegistryServer) -> None:
    """A tag that neither HEAD nor GET finds is an absent one, and says nothing of its registry."""
    async with client() as wire:
        with pytest.raises(RegistryError) as caught:
            await wire.resolve(at(ours), "v1")
    assert (True, ()) == (caught.value.absent, wire.quirks.learned)


async def test_other_bytes_by_digest(ours: RegistryServer) -> None:
    """A manifest whose bytes are not the digest asked for is refused after two readings, whatever its header says."""
    async with client() as wire:
        digest = await push_image(wire, at(ours))
        ours.faults.add(Rule(Flip(20), kind=Operation.GET_MANIFEST))
        with pytest.raises(ContentError, match=r"sent other bytes than asked for as .*, after 2 tries"):
            await wire.manifest(at(ours), digest)
        key = Registry(ours.address), Operation.GET_MANIFEST
        found = ours.log.count(Operation.GET_MANIFEST), wire.counts()[key[0]][key[1]], wire.retries[key]
        assert (2, 1, 1) == found


async def test_other_bytes_once(ours: RegistryServer) -> None:
    """Bytes that were spoiled on the way once are read once more, and the second reading counts as a retry."""
    async with client() as wire:
        digest = await push_image(wire, at(ours))
        ours.faults.add(Rule(Flip(20), kind=Operation.GET_MANIFEST, count=1))
        found = await wire.manifest(at(ours), digest)
        assert (IMAGE, 1) == (found, wire.retries[Registry(ours.address), Operation.GET_MANIFEST])


@pytest.mark.parametrize(("count", "expected"), [(1, True), (None, False)])
async def test_other_bytes_of_a_tag(ours: RegistryServer, count: int | None, expected: bool) -> None:
    """Bytes that are neither what the header says nor known by their own digest are no answer, nor no tag."""
    async with client() as wire:
        digest = await push_image(wire, at(ours))
        ours.faults.add(Rule(Refuse(405), kind=Operation.HEAD_MANIFEST))
        ours.faults.add(Rule(Flip(20), kind=Operation.GET_MANIFEST, name="v1", count=count))
        if expected:
            assert Resolved(digest, IMAGE) == await wire.find(at(ours), "v1")
        else:
            with pytest.raises(ContentError, match="sent other bytes than asked for as team/app:v1"):
                await wire.find(at(ours), "v1")


async def test_a_wrong_header_on_a_tag(ours: RegistryServer) -> None:
    """On a tag the bytes are believed and the header is warned of."""
    warnings: list[str] = []
    wrong = f"sha256:{'0' * 64}"
    async with client(warn=warnings.append) as wire:
        digest = await push_image(wire, at(ours))
        ours.faults.add(Rule(Refuse(405), kind=Operation.HEAD_MANIFEST))
        ours.faults.add(Rule(Headers({"Docker-Content-Digest": wrong}), kind=Operation.GET_MANIFEST))
        assert Resolved(digest, IMAGE) == await wire.resolve(at(ours), "v1")
    assert 1 == sum(wrong in warning for warning in warnings)


@pytest.mark.parametrize(
    "body",
    [
        answer(200, b"x" * ((4 << 20) + 1)),
        answer(200, content_length="", connection="close") + b"x" * (5 << 20),
    ],
)
async def test_a_manifest_over_the_limit(body: bytes) -> None:
    """A manifest of more than 4 MiB is refused, with and without a length."""
    async with Raw(script(body)) as server, client(plain_http=[Registry(server.address)]) as wire:
        with pytest.raises(ContentError, match="longer than 4194304 bytes"):
            await wire.manifest(at(server), "v1")


async def test_an_encoded_manifest() -> None:
    """A content encoding that nobody asked for is refused."""
    async with Raw(script(answer(200, b"x", content_encoding="gzip"))) as server, client() as wire:
        with pytest.raises(ContentError, match="encoded as gzip"):
            await wire.manifest(at(server), "v1")


@pytest.mark.parametrize(
    ("status", "expected"), [(200, True), (404, False), (401, None), (403, None), (405, None), (400, None)]
)
async def test_exists(ours: RegistryServer, status: int, expected: bool | None) -> None:
    """A tag list says that a repository is there or not; all other answers say nothing."""
    async with client() as wire:
        await push_image(wire, at(ours))
        if status != 200:
            ours.faults.add(Rule(Refuse(status), kind=Operation.GET_TAGS))
        assert expected is await wire.exists(at(ours))


async def test_a_refused_blob(ours: RegistryServer) -> None:
    """An error says what was asked, what came and which codes, and hands on the digests it names."""
    ours.faults.add(Rule(Refuse(403, "DENIED"), kind=Operation.HEAD_BLOB))
    async with client() as wire:
        with pytest.raises(
            RegistryError, match=r"refused the pull from .* \(403\): .*HEAD http://.*/blobs/sha256:"
        ) as caught:
            await wire.has_blob(at(ours), digest_of(BLOB))
    assert not caught.value.absent


# Blobs


SHORT = b"0123456789"
DIGEST = digest_of(SHORT)


async def download(first: bytes, start: int = 0) -> bytes:
    """Read ``SHORT`` from a server that answers just so."""
    async with Raw(script(first)) as server, client(plain_http=[Registry(server.address)]) as wire:
        return await read(wire, at(server), SHORT, start)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (answer(200, SHORT + b"x"), "11 bytes, not 10"),
        (answer(200, SHORT[:9]), "9 bytes, not 10"),
        (
            answer(200, content_length="", transfer_encoding="chunked") + b"b\r\n0123456789x\r\n0\r\n\r\n",
            "more bytes",
        ),
        (answer(200, SHORT, content_encoding="gzip"), "encoded as gzip"),
    ],
)
async def test_a_blob_of_another_size(sent: bytes, message: str) -> None:
    """A blob that is longer or shorter than its descriptor, or encoded, is refused."""
    with pytest.raises(ContentError, match=message):
        await download(sent)


@pytest.mark.parametrize(
    "sent",
    [
        answer(200, SHORT[:5], content_length="10", connection="close"),
        answer(200, content_length="", transfer_encoding="chunked", connection="close") + b"5\r\n01234\r\n",
        answer(200, content_length="", connection="close") + SHORT[:5],
    ],
)
async def test_a_blob_that_breaks_off(sent: bytes) -> None:
    """A stream that ends early is an error of the network, with and without a length."""
    with pytest.raises(NetworkError):
        await download(sent)


async def test_a_blob_goes_on() -> None:
    """From an offset the rest is read, by one Range."""
    handler = script(answer(206, SHORT[4:], content_range="bytes 4-9/10"))
    async with Raw(handler) as server, client(plain_http=[Registry(server.address)]) as wire:
        expected = SHORT[4:]
        assert expected == await read(wire, at(server), SHORT, 4)
        expected_range = "bytes=4-"
        assert expected_range == server.requests[0].headers["range"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (answer(200, SHORT), 200),
        (answer(206, SHORT[5:], content_range="bytes 5-9/10"), 206),
        (answer(206, SHORT[4:]), 206),
        (answer(206, SHORT[4:], content_range="bytes 4-9/11"), 206),
        (answer(206, SHORT[5:], content_range="bytes 4-9/10"), 206),
    ],
)
async def test_another_range(sent: bytes, status: int) -> None:
    """A range that is ignored or is another one tells to begin again."""
    with pytest.raises(ContentError) as caught:
        await download(sent, 4)
    assert status == caught.value.status


async def test_a_blob_left_early() -> None:
    """Who leaves a stream in its middle leaves no connection behind."""
    handler = script(answer(200, SHORT[:5], content_length="10"))
    async with Raw(handler) as server, client(plain_http=[Registry(server.address)]) as wire:
        async with wire.blob(at(server), DIGEST, 10) as stream:
            await anext(stream)
        await until(lambda: server.open == 0)


async def until(reached: Callable[[], bool]) -> None:
    """Return when something has come true; the test's own time-out is pytest's."""
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.005)


# Writing


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500])
async def test_a_refused_mount(ours: RegistryServer, status: int) -> None:
    """Whatever a mount is refused with, a plain session is opened, at once."""
    ours.faults.add(Rule(Refuse(status), kind=Operation.POST_UPLOAD, mount=True))
    async with client() as wire:
        upload = await wire.start(at(ours), digest_of(BLOB), at(ours, "team/base"))
        assert upload is not None
        await wire.send(upload, digest_of(BLOB), len(BLOB), BLOB)
        posts = wire.counts()[at(ours).registry][Operation.POST_UPLOAD]
        assert (posts, await read(wire, at(ours), BLOB)) == (2, BLOB)


@pytest.mark.parametrize(
    ("status", "expected"), [(400, True), (403, True), (404, True), (401, False), (429, False), (500, False)]
)
async def test_a_registry_that_refuses_mounts(ours: RegistryServer, status: int, expected: bool) -> None:
    """An error for a mount where an upload may begin is a trait of the registry; a token or its bad moments are not."""
    ours.faults.add(Rule(Refuse(status), kind=Operation.POST_UPLOAD, mount=True))
    async with client(clock=JumpClock()) as wire:
        for name in ("x", "y"):
            await wire.start(at(ours), digest_of(name.encode()), at(ours, "team/base"))
        learned = [Learned(at(ours).registry, Quirk.REFUSES_MOUNTS)] if expected else []
    mounts = sum(bool(request.query) for request in ours.log.select(Operation.POST_UPLOAD))
    assert (learned, True) == (list(wire.quirks.learned), mounts >= 2)


async def test_a_commit_named_by_another_algorithm(ours: RegistryServer) -> None:
    """Which proves nothing, so that the blob is looked for; distribution 2.8 is such a registry."""
    named = f"sha512:{hashlib.sha512(BLOB).hexdigest()}"
    ours.faults.add(Rule(Headers({"Docker-Content-Digest": named}), kind=Operation.PUT_BLOB))
    async with client() as wire:
        await push(wire, at(ours), BLOB)
        heads = wire.counts()[at(ours).registry][Operation.HEAD_BLOB]
        expected = (1, (Learned(at(ours).registry, Quirk.OTHER_ALGORITHM),))
        assert expected == (heads, wire.quirks.learned)


async def test_no_mount_asked_for(ours: RegistryServer) -> None:
    """Without a repository to mount from the POST is bare."""
    async with client() as wire:
        await wire.start(at(ours), digest_of(BLOB), None)
    (request,) = ours.log.select(Operation.POST_UPLOAD)
    assert not request.query


async def test_a_blind_registry() -> None:
    """A probe of a registry that does not see its own blobs says so, and leaves no session."""
    faults = FaultPlan(quirks=Quirks(blind_self_mount=True))
    async with RegistryServer(MemoryStorage(), faults=faults) as server, client() as wire:
        await push(wire, at(server), BLOB)
        expected = (False, 0)
        assert expected == (await wire.probe(at(server), digest_of(BLOB)), server.open_sessions)


@pytest.mark.parametrize("location", ["/u?_state=a%2Bb%3D&x=", "/u%2f1?a=%7E%2f%3A+==", "/u"])
async def test_a_location_keeps_its_bytes(location: str) -> None:
    """A Location comes back as it was sent, byte for byte, with the digest behind it."""
    handler = script(answer(200), answer(202, location=location), answer(201))
    async with Raw(handler) as server, client() as wire:
        await push(wire, at(server), SHORT)
        expected = f"PUT {location}{'&' if '?' in location else '?'}digest={DIGEST}"
        assert expected == server.seen[-1]


async def test_a_location_elsewhere_gets_no_token(tmp_path: Path) -> None:
    """An upload that goes on at another origin goes there without authorization."""
    home = tmp_path / "auth.json"
    async with Raw(script(answer(201))) as other:
        quirks = Quirks(location_prefix=f"http://{other.address}")
        auth = Bearer("me", "secret")
        async with RegistryServer(MemoryStorage(), faults=FaultPlan(quirks=quirks), auth=auth) as server:
            home.write_text(json.dumps({"auths": {server.address: {"username": "me", "password": "secret"}}}))
            async with client(credentials=Credentials({}, home)) as wire:
                await push(wire, at(server), BLOB)
    (request,) = other.requests
    assert "authorization" not in request.headers


async def test_a_small_blob_is_sent_again(ours: RegistryServer) -> None:
    """A small blob whose commit fails goes into a new session."""
    ours.faults.add(Rule(Refuse(500), kind=Operation.PUT_BLOB, count=2))
    async with client() as wire:
        await push(wire, at(ours), BLOB)
        retries = wire.retries[at(ours).registry, Operation.PUT_BLOB]
        assert (retries, await read(wire, at(ours), BLOB)) == (2, BLOB)


async def test_a_lost_answer(ours: RegistryServer) -> None:
    """A small blob whose answer got lost is looked for and not sent twice."""
    ours.faults.add(Rule(Drop(effect=True), kind=Operation.PUT_BLOB, count=1))
    async with client() as wire:
        await push(wire, at(ours), BLOB)
    expected = 1
    assert expected == ours.log.count(Operation.PUT_BLOB)


async def test_a_session_that_is_gone(ours: RegistryServer) -> None:
    """A small blob whose session the registry has forgotten goes into a new one."""
    async with client() as wire:
        upload = await wire.start(at(ours), digest_of(BLOB), None)
        assert upload is not None
        await wire.cancel(upload)
        await wire.send(upload, digest_of(BLOB), len(BLOB), BLOB)
        expected = BLOB
        assert expected == await read(wire, at(ours), BLOB)


async def test_a_stream_is_not_sent_again(ours: RegistryServer) -> None:
    """A stream that fails is the caller's to begin again: one request goes out."""
    ours.faults.add(Rule(Refuse(503), kind=Operation.PUT_BLOB))
    async with client() as wire:
        upload = await wire.start(at(ours), digest_of(BLOB), None)
        assert upload is not None
        with pytest.raises(RegistryError) as caught:
            await wire.send(upload, digest_of(BLOB), len(BLOB), chunks(BLOB))
    expected = (503, 1)
    assert expected == (caught.value.status, ours.log.count(Operation.PUT_BLOB))


@pytest.mark.parametrize("status", [200, 202])
async def test_a_web_server_is_no_registry(status: int) -> None:
    """What answers 200 to everything has committed nothing."""
    async with Raw(script(answer(status))) as server, client() as wire:
        upload = Upload(at(server), f"http://{server.address}/upload")
        with pytest.raises(RegistryError):
            await wire.send(upload, DIGEST, 10, SHORT)
        with pytest.raises(RegistryError):
            await wire.put_manifest(at(server), "v1", digest_of(IMAGE.raw), IMAGE)


async def test_a_commit_as_another_blob() -> None:
    """A commit that the registry confirms with another digest has failed."""
    other = answer(201, docker_content_digest=digest_of(b"other"))
    async with Raw(script(answer(200), other)) as server, client() as wire:
        with pytest.raises(ContentError, match="another blob"):
            await wire.send(Upload(at(server), f"http://{server.address}/u"), DIGEST, 10, SHORT)


async def test_cancel_never_raises() -> None:
    """Cancelling a session is an attempt: a refusal and a dead registry are both taken in silence."""
    async with Raw(script(answer(403))) as server, client() as wire:
        await wire.cancel(Upload(at(server), f"http://{server.address}/u"))
        await wire.cancel(Upload(at(server), "http://127.0.0.1:1/u"))
        await wire.cancel(Upload(at(server), "nonsense"))


async def test_a_manifest_that_is_not_confirmed(ours: RegistryServer) -> None:
    """A manifest whose answer names no digest is read back."""
    ours.faults.add(Rule(Headers({"Docker-Content-Digest": None}), kind=Operation.PUT_MANIFEST))
    async with client() as wire:
        await push_image(wire, at(ours))
    expected = 1
    assert expected == ours.log.count(Operation.HEAD_MANIFEST)


async def test_a_manifest_that_is_read_back_as_another() -> None:
    """A tag that names something else after its PUT is an error."""
    other = answer(200, docker_content_digest=digest_of(b"other"), content_length="5")
    async with Raw(script(answer(200), answer(201), other)) as server, client() as wire:
        with pytest.raises(ContentError, match="read back as"):
            await wire.put_manifest(at(server), "v1", digest_of(IMAGE.raw), IMAGE)


async def test_a_manifest_without_its_blobs(start_registry: Callable[..., Distribution]) -> None:
    """A manifest refused for its missing blobs names them all."""
    app = Repository(Registry(start_registry().address), "team/app")
    async with client() as wire:
        with pytest.raises(RegistryError) as caught:
            await wire.put_manifest(app, "v1", digest_of(IMAGE.raw), IMAGE)
    assert {"MANIFEST_BLOB_UNKNOWN"} == set(caught.value.codes)
    assert {digest_of(BLOB), digest_of(b"{}")} == set(caught.value.detail)


# Streams that fail


class OwnFailure(Exception):
    """What a body raises."""


async def failing(count: int) -> AsyncIterator[bytes]:
    """Yield some pieces and fail."""
    for _ in range(count):
        yield b"x" * 1000
    raise OwnFailure


@pytest.mark.parametrize("count", [0, 1, 9])
async def test_a_body_that_fails(count: int) -> None:
    """What a body raises comes out of send, and the registry never gets the last byte."""
    received = 0

    async def swallow(request: Request) -> bytes | None:
        nonlocal received
        if request.method == "GET":
            return answer(200)
        while data := await request.reader.read(1 << 16):
            received += len(data)
        return None

    async with Raw(swallow) as server, client() as wire:
        await wire.exists(at(server))
        with pytest.raises(OwnFailure):
            await wire.send(Upload(at(server), f"http://{server.address}/u"), DIGEST, 10_000, failing(count))
        await until(lambda: server.open == 0)
    assert count * 1000 == received


@pytest.mark.parametrize(("size", "message"), [(299_999, "longer than"), (300_001, "ended after")])
async def test_a_body_of_another_size(ours: RegistryServer, size: int, message: str) -> None:
    """A body that is not as long as promised is an error of ours, and commits nothing."""
    async with client() as wire:
        upload = await wire.start(at(ours), digest_of(BLOB), None)
        assert upload is not None
        with pytest.raises(Exception, match=message):
            await wire.send(upload, digest_of(BLOB), size, chunks(BLOB))
    assert None is ours.storage.blob_size("team/app", digest_of(BLOB))


@pytest.mark.parametrize("status", [401, 403, 413])
async def test_an_early_refusal(status: int) -> None:
    """A refusal in mid-body is returned at once: the rest of the body is neither read nor sent."""
    told = asyncio.Event()

    async def refuse(request: Request) -> bytes | None:
        if request.method == "GET":
            return answer(200)
        await request.reader.readexactly(1000)
        told.set()
        return answer(status, b'{"errors":[{"code":"TOO_MUCH"}]}')

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await told.wait()
        await asyncio.Event().wait()

    async with Raw(refuse) as server, client() as wire:
        await wire.exists(at(server))
        with pytest.raises(RegistryError, match="TOO_MUCH") as caught:
            await wire.send(Upload(at(server), f"http://{server.address}/u"), DIGEST, 1 << 30, endless())
        await until(lambda: server.open == 0)
    assert status == caught.value.status


async def test_a_hasty_commit() -> None:
    """A registry that says 201 before it has the whole body has not got it."""
    handler = script(answer(200), answer(201))

    async def hasty(request: Request) -> bytes | None:
        if request.method == "PUT":
            await request.reader.readexactly(1000)
            return answer(201)
        return await handler(request)

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await asyncio.Event().wait()

    async with Raw(hasty) as server, client() as wire:
        with pytest.raises(ContentError, match="committed after 1000 of 5000 bytes"):
            await wire.send(Upload(at(server), f"http://{server.address}/u"), DIGEST, 5000, slow())


async def test_a_server_that_hangs_up() -> None:
    """A connection that dies in mid-body is one request and an error of the network; nothing is replayed."""

    async def hang_up(request: Request) -> bytes | None:
        if request.method == "PUT":
            await request.reader.readexactly(1000)
            return None
        return answer(200)

    async with Raw(hang_up) as server, client() as wire:
        with pytest.raises(NetworkError):
            await wire.send(Upload(at(server), f"http://{server.address}/u"), DIGEST, len(BLOB), chunks(BLOB))
        expected = 1
        assert expected == sum(request.method == "PUT" for request in server.requests)


# Cancellation


async def test_a_silent_registry_holds_no_cancel_up(clock: ManualClock) -> None:
    """The DELETE of a session that is never answered is given up after ten seconds of the clock, and ends."""

    async def silent(request: Request) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async with Raw(silent) as server, client(clock, plain_http=[Registry(server.address)]) as wire:
        before = asyncio.all_tasks()
        began = clock.now()
        with clock.autojump():
            await wire.cancel(Upload(at(server), f"http://{server.address}/u"))
        left = [str(task.get_coro()) for task in asyncio.all_tasks() - before]
        ours = [name for name in left if "Watchdog" not in name and "Listener." not in name]
        assert (10.0, ["DELETE /u"], []) == (clock.now() - began, server.seen, ours)


async def test_cancelled_in_mid_upload() -> None:
    """An upload that is cancelled ends its connection."""
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        started.set()
        await asyncio.Event().wait()

    async def silent(request: Request) -> bytes | None:
        if request.method == "GET":
            return answer(200)
        while await request.reader.read(1 << 16):
            pass
        return None

    async with Raw(silent) as server, client() as wire:
        task = asyncio.create_task(
            wire.send(Upload(at(server), f"http://{server.address}/u"), DIGEST, 5000, endless())
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.open == 0)


OPERATIONS: list[Callable[[Client, Repository], Any]] = [
    lambda wire, app: wire.resolve(app, "v1"),
    lambda wire, app: wire.find(app, "v1"),
    lambda wire, app: wire.manifest(app, "v1"),
    lambda wire, app: wire.exists(app),
    lambda wire, app: wire.has_blob(app, DIGEST),
    lambda wire, app: wire.put_manifest(app, "v1", digest_of(IMAGE.raw), IMAGE),
]


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
async def test_cancelled_while_waiting(number: int) -> None:
    """Whatever is cancelled while a registry is silent gives its slot and its connection back."""
    asked = asyncio.Event()

    async def silent(request: Request) -> bytes | None:
        asked.set()
        await request.reader.read()
        return None

    async with Raw(silent) as server, client(plain_http=[Registry(server.address)], jobs=1) as wire:
        task = asyncio.create_task(OPERATIONS[number](wire, at(server)))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        registry = Registry(server.address)
        slots = wire.take([registry], [registry])
        assert slots is not None
        await until(lambda: server.open == 0)


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
async def test_cancelled_at_any_point(ours: RegistryServer, number: int) -> None:
    """Whenever an operation is cancelled, its slot is free afterwards and the next one works."""
    registry = Registry(ours.address)
    async with client(jobs=1) as wire:
        await push_image(wire, at(ours))
        for turns in range(40):
            task = asyncio.create_task(OPERATIONS[number](wire, at(ours)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            slots = wire.take([registry], [registry])
            assert slots is not None
            slots.release()
        await OPERATIONS[number](wire, at(ours))


async def test_operations_wait_their_turn(ours: RegistryServer) -> None:
    """However many ask, no more requests are under way than there are jobs."""
    async with client(jobs=3) as wire:
        await push_image(wire, at(ours))
        ours.log.clear()
        await asyncio.gather(*(wire.resolve(at(ours), "v1") for _ in range(50)))
    assert ours.log.peak <= 3
