"""The registry's behaviour on the wire, over memory and over a directory of layouts."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import aiohttp
import pytest
import trustme
import yarl

from mmgraph.errors import InternalError, SpecError
from mmgraph.names import Digest
from mmgraph.server import (
    FaultPlan,
    LayoutStorage,
    MemoryStorage,
    Quirks,
    RegistryServer,
    RequestLog,
    serve,
)
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mmgraph.server import Storage

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"


TIMEOUT = aiohttp.ClientTimeout(total=20)


class Reply(NamedTuple):
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The first error's code."""
        return str(json.loads(self.body)["errors"][0]["code"])

    @property
    def details(self) -> list[Any]:
        """Every error's detail."""
        return [error["detail"] for error in json.loads(self.body)["errors"]]


class Client:
    """Requests to one server, nothing added and nothing followed."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request; ``path`` is sent as it is."""
        url = yarl.URL(path if "://" in path else self.base + path, encoded=True)
        async with self.session.request(
            method,
            url,
            data=None if body is None else io.BytesIO(body),
            headers=headers,
            allow_redirects=False,
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def push_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> str:
        """POST, PUT; return the digest."""
        digest = digest_of(data, algorithm)
        opened = await self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        joint = "&" if "?" in opened.headers["Location"] else "?"
        done = await self.ask("PUT", f"{opened.headers['Location']}{joint}digest={digest}", data)
        assert 201 == done.status
        return digest

    async def push_manifest(
        self, repository: str, name: str, document: Mapping[str, Any], media_type: str = MANIFEST
    ) -> Reply:
        """PUT a document as it is written by ``json.dumps``; ``@`` stands for its own digest."""
        raw = json.dumps(document).encode()
        name = digest_of(raw) if name == "@" else name
        return await self.ask("PUT", f"/v2/{repository}/manifests/{name}", raw, {"Content-Type": media_type})

    async def push_image(self, repository: str, tag: str, layer: bytes = b"layer") -> dict[str, Any]:
        """Push an image of one layer; return its manifest."""
        document = image(await self.push_blob(repository, b"{}"), await self.push_blob(repository, layer))
        assert 201 == (await self.push_manifest(repository, tag, document)).status
        return document


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of ``data``."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def image(config: str, layer: str, **fields: Any) -> dict[str, Any]:
    """Return an image manifest; sizes are not looked at by registries."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config, "size": 2},
        "layers": [{"mediaType": LAYER, "digest": layer, "size": 5}],
        **fields,
    }


@asynccontextmanager
async def talk(server: RegistryServer, **options: Any) -> AsyncIterator[Client]:
    """Open a client of a started server."""
    async with aiohttp.ClientSession(auto_decompress=False, timeout=TIMEOUT, **options) as session:
        yield Client(session, server.url)


@pytest.fixture(params=["memory", "layout"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Make each kind of storage in turn."""
    return MemoryStorage() if request.param == "memory" else LayoutStorage(tmp_path / "registry")


@pytest.fixture
async def server(storage: Storage) -> AsyncIterator[RegistryServer]:
    """Start a registry without faults."""
    async with RegistryServer(storage) as started:
        yield started


@pytest.fixture
async def client(server: RegistryServer) -> AsyncIterator[Client]:
    """Open a client of it."""
    async with talk(server) as opened:
        yield opened


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_ping(client: Client, method: str) -> None:
    """The root of the API says that it is one."""
    reply = await client.ask(method, "/v2/")

    assert 200 == reply.status
    assert "registry/2.0" == reply.headers["Docker-Distribution-API-Version"]


async def test_pushed_blob(client: Client) -> None:
    """A blob pushed by POST and PUT is read back whole, with its digest."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("GET", f"/v2/lib/base/blobs/{digest}")

    assert (200, b"content", digest) == (reply.status, reply.body, reply.headers["Docker-Content-Digest"])


async def test_blob_head(client: Client) -> None:
    """HEAD of a blob tells its length and sends no byte of it."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("HEAD", f"/v2/lib/base/blobs/{digest}")

    assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, "7", b"")


async def test_encoded_colon(client: Client) -> None:
    """A percent-encoded colon in a digest is a colon."""
    digest = await client.push_blob("lib/base", b"content")

    assert 200 == (await client.ask("HEAD", f"/v2/lib/base/blobs/{quote(digest)}")).status


async def test_monolithic_post(client: Client) -> None:
    """A POST with a digest and the bytes is a whole upload."""
    path = f"/v2/lib/base/blobs/uploads/?digest={digest_of(b'content')}"
    reply = await client.ask("POST", path, b"content")

    assert 201 == reply.status
    assert (await client.ask("GET", reply.headers["Location"])).body == b"content"


async def test_monolithic_post_of_other_bytes(client: Client) -> None:
    """A POST whose bytes have another digest leaves nothing."""
    digest = digest_of(b"content")
    reply = await client.ask("POST", f"/v2/lib/base/blobs/uploads/?digest={digest}", b"other")

    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert 404 == (await client.ask("HEAD", f"/v2/lib/base/blobs/{digest}")).status


async def test_sha512(client: Client) -> None:
    """Blobs with sha512 digests are kept, without having been announced."""
    digest = await client.push_blob("lib/base", b"content", "sha512")

    assert (await client.ask("GET", f"/v2/lib/base/blobs/{digest}")).body == b"content"


async def test_wrong_bytes_end_the_session(client: Client, server: RegistryServer) -> None:
    """A PUT whose bytes have another digest is refused and its session is gone."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    reply = await client.ask("PUT", f"{opened.headers['Location']}?digest={digest_of(b'content')}", b"other")

    assert (reply.status, reply.code, server.open_sessions) == (400, "DIGEST_INVALID", 0)


async def test_blobs_belong_to_repositories(client: Client) -> None:
    """What one repository holds, another does not show."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("GET", f"/v2/lib/other/blobs/{digest}")

    assert (404, "BLOB_UNKNOWN", [digest]) == (reply.status, reply.code, reply.details)


async def test_mount(client: Client) -> None:
    """A mount makes the other repository's blob readable here, in one request."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("POST", f"/v2/lib/other/blobs/uploads/?mount={digest}&from=lib/base")

    assert (201, digest) == (reply.status, reply.headers["Docker-Content-Digest"])
    assert (await client.ask("GET", f"/v2/lib/other/blobs/{digest}")).body == b"content"


@pytest.mark.parametrize("query", ["&from=lib%2Fother", "&from=lib/none", "&from=lib/base", ""])
async def test_mount_not_granted(client: Client, server: RegistryServer, query: str) -> None:
    """A mount of what is not there, or from nowhere, opens a session."""
    await client.push_blob("lib/other", b"content")
    reply = await client.ask("POST", f"/v2/lib/base/blobs/uploads/?mount={digest_of(b'absent')}{query}")

    assert (reply.status, server.open_sessions) == (202, 1)


async def test_mount_from_itself(client: Client) -> None:
    """A mount from the repository itself is granted where the blob is there already."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("POST", f"/v2/lib/base/blobs/uploads/?mount={digest}&from=lib/base")

    assert 201 == reply.status


@pytest.mark.parametrize(
    ("wanted", "body", "content_range"),
    [
        ("bytes=2-", b"ntent", "bytes 2-6/7"),
        ("bytes=2-3", b"nt", "bytes 2-3/7"),
        ("bytes=2-99", b"ntent", "bytes 2-6/7"),
        ("bytes=-3", b"ent", "bytes 4-6/7"),
        ("bytes=-99", b"content", "bytes 0-6/7"),
    ],
)
async def test_range(client: Client, wanted: str, body: bytes, content_range: str) -> None:
    """A single range of a blob is answered with 206 and its place."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("GET", f"/v2/lib/base/blobs/{digest}", headers={"Range": wanted})

    assert (206, body, content_range) == (reply.status, reply.body, reply.headers["Content-Range"])


@pytest.mark.parametrize("wanted", ["bytes=7-", "bytes=3-2", "bytes=-0"])
async def test_range_that_is_not_there(client: Client, wanted: str) -> None:
    """A range outside the blob is 416 and tells the blob's length."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("GET", f"/v2/lib/base/blobs/{digest}", headers={"Range": wanted})

    assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */7")


@pytest.mark.parametrize("wanted", ["bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=a-b", "bytes=1"])
async def test_range_that_is_ignored(client: Client, wanted: str) -> None:
    """A range of another kind is answered with the whole blob."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.ask("GET", f"/v2/lib/base/blobs/{digest}", headers={"Range": wanted})

    assert (reply.status, reply.body) == (200, b"content")


async def test_chunks(client: Client) -> None:
    """Chunks in order, the last one with the PUT, make a blob."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    first = await client.ask("PATCH", opened.headers["Location"], b"con", {"Content-Range": "0-2"})
    digest = digest_of(b"content")
    last = await client.ask(
        "PUT", f"{first.headers['Location']}?digest={digest}", b"tent", {"Content-Range": "3-6"}
    )

    assert (first.status, first.headers["Range"], last.status) == (202, "0-2", 201)
    assert (await client.ask("GET", f"/v2/lib/base/blobs/{digest}")).body == b"content"


@pytest.mark.parametrize("content_range", ["0-2", "4-6", "99-101"])
async def test_chunk_out_of_order(client: Client, content_range: str) -> None:
    """A chunk that does not continue the session is 416 and tells how far the session has got."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    await client.ask("PATCH", opened.headers["Location"], b"con")
    reply = await client.ask("PATCH", opened.headers["Location"], b"ten", {"Content-Range": content_range})

    assert (reply.status, reply.headers["Range"]) == (416, "0-2")


async def test_session_status(client: Client) -> None:
    """GET of a session tells how far it has got."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    await client.ask("PATCH", opened.headers["Location"], b"con")
    reply = await client.ask("GET", opened.headers["Location"])

    assert (reply.status, reply.headers["Range"]) == (204, "0-2")


async def test_cancelled_session(client: Client, server: RegistryServer) -> None:
    """A deleted session is gone, and so is what was written to it."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    await client.ask("PATCH", opened.headers["Location"], b"con")
    reply = await client.ask("DELETE", opened.headers["Location"])
    later = await client.ask("GET", opened.headers["Location"])

    assert (reply.status, later.status, later.code) == (204, 404, "BLOB_UPLOAD_UNKNOWN")
    assert 0 == server.open_sessions


async def test_session_cancelled_while_written_to(client: Client, server: RegistryServer) -> None:
    """A chunk that is under way when its session is cancelled is refused, and the session stays gone."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    location = opened.headers["Location"]
    received, cancelled = asyncio.Event(), asyncio.Event()

    async def chunk() -> AsyncIterator[bytes]:
        yield b"con"
        received.set()
        await cancelled.wait()
        yield b"tent"

    writing = asyncio.create_task(client.session.patch(client.base + location, data=chunk()))
    await received.wait()
    while (await client.ask("GET", location)).headers["Range"] != "0-2":
        pass
    await client.ask("DELETE", location)
    cancelled.set()
    async with await writing as answer:
        assert 404 == answer.status
    assert 0 == server.open_sessions


async def test_two_writers_of_one_session(client: Client) -> None:
    """A chunk is refused while another one is under way."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    location = opened.headers["Location"]
    refused = asyncio.Event()

    async def chunk() -> AsyncIterator[bytes]:
        yield b"con"
        await refused.wait()
        yield b"tent"

    writing = asyncio.create_task(client.session.patch(client.base + location, data=chunk()))
    while (await client.ask("GET", location)).headers["Range"] != "0-2":
        pass
    reply = await client.ask("PATCH", location, b"other")
    refused.set()
    async with await writing as answer:
        assert (416, 202) == (reply.status, answer.status)


async def test_session_of_another_repository(client: Client) -> None:
    """A session is known in its own repository only."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    reply = await client.ask("GET", opened.headers["Location"].replace("lib/base", "lib/other"))

    assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_upload_that_breaks_off(client: Client, server: RegistryServer) -> None:
    """What arrived before a client hung up stays in the session, so that the upload can go on."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    host, port = server.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"PATCH {opened.headers['Location']} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 7\r\n\r\n"
    writer.write(head.encode() + b"con")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await server.log.reached(Operation.PATCH_UPLOAD)
    rest = {"Content-Range": "3-6"}
    reply = await client.ask(
        "PUT", f"{opened.headers['Location']}?digest={digest_of(b'content')}", b"tent", rest
    )

    assert 201 == reply.status


async def test_expected_continue(server: RegistryServer) -> None:
    """A client that waits for leave to send its body gets it."""
    host, port = server.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = f"/v2/lib/base/blobs/uploads/?digest={digest_of(b'content')}"
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    leave = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"content")
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == leave
    assert answer.startswith(b"HTTP/1.1 201 ")


async def test_content_encoding_is_not_decoded(client: Client) -> None:
    """Bytes are kept as they were sent, whatever Content-Encoding says of them."""
    data = gzip.compress(b"content")
    path = f"/v2/lib/base/blobs/uploads/?digest={digest_of(data)}"
    reply = await client.ask("POST", path, data, {"Content-Encoding": "gzip"})

    assert 201 == reply.status


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_manifest(client: Client, by: str) -> None:
    """A manifest is read back byte for byte with its type and digest, by tag and by digest."""
    raw = json.dumps(await client.push_image("lib/base", "1"), indent=None).encode()
    reply = await client.ask("GET", f"/v2/lib/base/manifests/{'1' if by == 'tag' else digest_of(raw)}")

    assert (200, raw) == (reply.status, reply.body)
    assert MANIFEST == reply.headers["Content-Type"]
    assert digest_of(raw) == reply.headers["Docker-Content-Digest"]


async def test_manifest_head(client: Client) -> None:
    """HEAD of a manifest tells its length, type and digest and sends no byte of it."""
    raw = json.dumps(await client.push_image("lib/base", "1")).encode()
    reply = await client.ask("HEAD", "/v2/lib/base/manifests/1")

    assert (200, b"", str(len(raw))) == (reply.status, reply.body, reply.headers["Content-Length"])
    assert digest_of(raw) == reply.headers["Docker-Content-Digest"]


async def test_absent_manifest(client: Client) -> None:
    """A tag that is not there is MANIFEST_UNKNOWN."""
    reply = await client.ask("GET", "/v2/lib/base/manifests/1")

    assert (reply.status, reply.code) == (404, "MANIFEST_UNKNOWN")


async def test_blob_is_not_a_manifest(client: Client) -> None:
    """The digest of a blob is no manifest."""
    digest = await client.push_blob("lib/base", b"content")

    assert 404 == (await client.ask("GET", f"/v2/lib/base/manifests/{digest}")).status


async def test_manifest_type_without_parameters(client: Client) -> None:
    """The type is kept without its parameters."""
    document = image(await client.push_blob("lib/base", b"{}"), await client.push_blob("lib/base", b"layer"))
    await client.push_manifest("lib/base", "1", document, f"{MANIFEST}; charset=utf-8")

    assert (await client.ask("HEAD", "/v2/lib/base/manifests/1")).headers["Content-Type"] == MANIFEST


@pytest.mark.parametrize("media_type", [INDEX, "text", "a/b/c", "*/*"])
async def test_manifest_of_another_type(client: Client, media_type: str) -> None:
    """A type that is none, or not the document's own, is refused."""
    document = image(await client.push_blob("lib/base", b"{}"), await client.push_blob("lib/base", b"layer"))
    reply = await client.push_manifest("lib/base", "1", document, media_type)

    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


async def test_manifest_without_a_media_type(client: Client) -> None:
    """A document that does not name its type has the one that it was put with."""
    document = image(await client.push_blob("lib/base", b"{}"), await client.push_blob("lib/base", b"layer"))
    del document["mediaType"]
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    await client.push_manifest("lib/base", "@", document, docker)
    digest = digest_of(json.dumps(document).encode())

    assert docker == (await client.ask("HEAD", f"/v2/lib/base/manifests/{digest}")).headers["Content-Type"]


async def test_missing_references(client: Client) -> None:
    """A manifest whose blobs are missing is refused with each of their digests."""
    reply = await client.push_manifest("lib/base", "1", image(digest_of(b"config"), digest_of(b"layer")))

    assert (reply.status, reply.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert [digest_of(b"config"), digest_of(b"layer")] == reply.details


async def test_missing_children(client: Client) -> None:
    """An index whose manifest is missing is refused with its digest, a blob of that digest or not."""
    child = {"mediaType": MANIFEST, "digest": await client.push_blob("lib/base", b"content"), "size": 7}
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
    reply = await client.push_manifest("lib/base", "1", document, INDEX)

    assert (404, "MANIFEST_BLOB_UNKNOWN", [child["digest"]]) == (reply.status, reply.code, reply.details)


ODD = "application/vnd.example.sbom+json"


def index_of_one(digest: str, media_type: str) -> dict[str, Any]:
    """Return an index with one entry."""
    entry = {"mediaType": media_type, "digest": digest, "size": 7}
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}


async def test_blob_that_an_index_lists(client: Client) -> None:
    """An entry whose type is no manifest's needs a blob, which does not become a manifest by that."""
    digest = await client.push_blob("lib/base", b"content")
    reply = await client.push_manifest("lib/base", "1", index_of_one(digest, ODD), INDEX)

    assert 201 == reply.status
    assert 404 == (await client.ask("GET", f"/v2/lib/base/manifests/{digest}")).status
    assert 200 == (await client.ask("GET", f"/v2/lib/base/blobs/{digest}")).status


async def test_missing_blob_that_an_index_lists(client: Client) -> None:
    """An index is refused where it lists a blob that is not there."""
    document = index_of_one(digest_of(b"content"), ODD)
    reply = await client.push_manifest("lib/base", "1", document, INDEX)

    assert (404, [digest_of(b"content")]) == (reply.status, reply.details)


async def test_manifest_of_an_odd_type_that_an_index_lists(client: Client) -> None:
    """An entry whose type is no known manifest's may also be what was put as a manifest of that type."""
    config = await client.push_blob("lib/base", b"{}")
    document = image(config, config) | {"mediaType": ODD}
    assert 201 == (await client.push_manifest("lib/base", "@", document, ODD)).status
    digest = digest_of(json.dumps(document).encode())

    assert 201 == (await client.push_manifest("lib/base", "1", index_of_one(digest, ODD), INDEX)).status
    assert ODD == (await client.ask("GET", f"/v2/lib/base/manifests/{digest}")).headers["Content-Type"]


async def test_foreign_layer_and_subject_may_be_missing(client: Client) -> None:
    """Layers with URLs and subjects are not required, and the subject is confirmed."""
    subject = {"mediaType": MANIFEST, "digest": digest_of(b"subject"), "size": 7}
    document = image(await client.push_blob("lib/base", b"{}"), digest_of(b"foreign"), subject=subject)
    document["layers"][0]["urls"] = ["https://example.com/foreign"]
    reply = await client.push_manifest("lib/base", "1", document)

    assert (201, digest_of(b"subject")) == (reply.status, reply.headers["OCI-Subject"])


async def test_manifest_by_another_digest(client: Client) -> None:
    """A manifest put by a digest that it has not is refused."""
    document = image(await client.push_blob("lib/base", b"{}"), await client.push_blob("lib/base", b"layer"))
    reply = await client.push_manifest("lib/base", digest_of(b"other"), document)

    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


async def test_manifest_that_is_too_long(client: Client) -> None:
    """A manifest over 4 MiB is 413."""
    reply = await client.ask("PUT", "/v2/lib/base/manifests/1", b" " * (4 * 1024 * 1024 + 1))

    assert 413 == reply.status


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"1e999",
        b"{",
        b'{"layers":1}',
        b'{"layers":[{}]}',
        b'{"layers":[{"digest":"sha256:../../etc"}]}',
        b'{"layers":[{"digest":"md5:00"}]}',
        b'{"subject":{"digest":"sha256:A\\r\\nX-Header: 1"}}',
        b'{"layers":[],"manifests":[]}',
        b"[" * 100_000,
        b'{"x":' * 100_000,
    ],
)
async def test_hostile_manifest(client: Client, raw: bytes) -> None:
    """What is no manifest is refused as such, whatever it is."""
    reply = await client.ask("PUT", "/v2/lib/base/manifests/1", raw, {"Content-Type": MANIFEST})

    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


async def test_tag_moves(client: Client) -> None:
    """A tag put again names the new manifest, and the old one stays readable by digest."""
    old = digest_of(json.dumps(await client.push_image("lib/base", "1", b"old")).encode())
    new = digest_of(json.dumps(await client.push_image("lib/base", "1", b"new")).encode())
    reply = await client.ask("HEAD", "/v2/lib/base/manifests/1")

    assert new == reply.headers["Docker-Content-Digest"]
    assert 200 == (await client.ask("HEAD", f"/v2/lib/base/manifests/{old}")).status


async def test_tags_of_nothing(client: Client) -> None:
    """A repository that holds nothing is not known, an open session or not."""
    await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    reply = await client.ask("GET", "/v2/lib/base/tags/list?n=1")

    assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")


async def test_tags_of_blobs_only(client: Client) -> None:
    """A repository with blobs and no tag has an empty list."""
    await client.push_blob("lib/base", b"content")
    reply = await client.ask("GET", "/v2/lib/base/tags/list")

    assert (reply.status, json.loads(reply.body)) == (200, {"name": "lib/base", "tags": []})


@pytest.mark.parametrize(
    ("query", "tags", "link"),
    [
        ("", ["A", "a", "b"], None),
        ("?n=2", ["A", "a"], '</v2/lib/base/tags/list?n=2&last=a>; rel="next"'),
        ("?n=2&last=a", ["b"], None),
        ("?last=A", ["a", "b"], None),
        ("?n=3", ["A", "a", "b"], None),
        ("?n=0", [], None),
    ],
)
async def test_tag_pages(client: Client, query: str, tags: list[str], link: str | None) -> None:
    """Tags come in the order of their bytes, in pages that link to the next."""
    for tag in ("b", "a", "A"):
        await client.push_image("lib/base", tag)
    reply = await client.ask("GET", f"/v2/lib/base/tags/list{query}")

    assert (tags, link) == (json.loads(reply.body)["tags"], reply.headers.get("Link"))


@pytest.mark.parametrize("count", ["-1", "x", "1e3", "9" * 5000])
async def test_page_that_is_no_number(client: Client, count: str) -> None:
    """A page length that is no sensible number is 400."""
    await client.push_image("lib/base", "1")

    assert 400 == (await client.ask("GET", f"/v2/lib/base/tags/list?n={count}")).status


@pytest.mark.parametrize(
    ("query", "count", "applied"), [("", 2, None), ("?artifactType=a/x", 1, "artifactType")]
)
async def test_referrers(client: Client, query: str, count: int, applied: str | None) -> None:
    """Manifests that name a subject are listed for it, all or of one artifact type."""
    subject = {"mediaType": MANIFEST, "digest": digest_of(b"subject"), "size": 7}
    config, layer = await client.push_blob("lib/base", b"{}"), await client.push_blob("lib/base", b"layer")
    for kind in ("a/x", "a/y"):
        await client.push_manifest(
            "lib/base", "@", image(config, layer, subject=subject, artifactType=kind, annotations={"k": kind})
        )
    reply = await client.ask("GET", f"/v2/lib/base/referrers/{digest_of(b'subject')}{query}")
    found = json.loads(reply.body)["manifests"]

    assert count == len(found)
    assert (
        {"a/x", "a/y"} >= {one["artifactType"] for one in found} == {one["annotations"]["k"] for one in found}
    )
    assert (INDEX, applied) == (reply.headers["Content-Type"], reply.headers.get("OCI-Filters-Applied"))


@pytest.mark.parametrize("path", ["manifests/1", "manifests/" + digest_of(b""), "blobs/" + digest_of(b"")])
async def test_nothing_is_deleted(client: Client, path: str) -> None:
    """DELETE of tags, manifests and blobs is not supported."""
    reply = await client.ask("DELETE", f"/v2/lib/base/{path}")

    assert (reply.status, reply.code) == (405, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", "GET, HEAD"),
        ("PATCH", "/v2/a/tags/list", "GET"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
    ],
)
async def test_wrong_method(client: Client, method: str, path: str, allowed: str) -> None:
    """A known path asked in the wrong way says which ways there are."""
    reply = await client.ask(method, path)

    assert (405, allowed) == (reply.status, reply.headers["Allow"])


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/a/b", "/v2//tags/list/", "/v2/_catalog", "/favicon.ico"])
async def test_unknown_path(client: Client, path: str) -> None:
    """Anything else is 404 in the distribution-spec's JSON."""
    reply = await client.ask("GET", path)

    assert (reply.status, reply.code) == (404, "UNSUPPORTED")


BAD_NAMES = [
    "UPPER",
    "..",
    "a/../b",
    "a//b",
    "/a",
    "a/",
    ".a",
    "a..b",
    "a%00b",
    "%2e%2e%2f%2e%2e%2fetc",
    "a%0d%0aX-Header:1",
    "a:b",
    "a@b",
    "a%20b",
    "%C3%A4",
    "a" * 256,
    "a/" * 200 + "a",
    "localhost:5000/a%3Ab",
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "tags/list"), ("PUT", "manifests/1"), ("POST", "blobs/uploads/")]
)
async def test_bad_repository(client: Client, name: str, method: str, path: str) -> None:
    """What is no repository is NAME_INVALID, whatever is asked of it."""
    reply = await client.ask(method, f"/v2/{name}/{path}")

    assert (reply.status, reply.code) == (400, "NAME_INVALID")


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_mount_from_bad_repository(client: Client, name: str) -> None:
    """What is no repository cannot be mounted from."""
    reply = await client.ask("POST", f"/v2/a/blobs/uploads/?mount={digest_of(b'')}&from={name}")

    assert (reply.status, reply.code) == (400, "NAME_INVALID")


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:",
        "sha256:00",
        "sha256:..%2f..%2fetc",
        "md5:" + "0" * 32,
        "sha256:" + "A" * 64,
        "sha256:%0d%0a",
        ":",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "blobs/{}"),
        ("HEAD", "blobs/{}"),
        ("GET", "manifests/{}"),
        ("PUT", "manifests/{}"),
        ("GET", "referrers/{}"),
        ("POST", "blobs/uploads/?digest={}"),
        ("POST", "blobs/uploads/?mount={}&from=a"),
    ],
)
async def test_bad_digest(client: Client, digest: str, method: str, path: str) -> None:
    """What is no digest is 400, or no path at all where it has slashes."""
    reply = await client.ask(method, f"/v2/lib/base/{path.format(digest)}")

    assert reply.status in ({400, 404} if "%2f" in digest else {400})


@pytest.mark.parametrize("tag", ["a" * 129, "-a", ".a", "a%20b", "%C3%A4", "a%0d%0ab", "a%00"])
async def test_bad_tag(client: Client, tag: str) -> None:
    """What is no tag is TAG_INVALID."""
    reply = await client.ask("PUT", f"/v2/lib/base/manifests/{tag}", b"{}")

    assert (reply.status, reply.code) == (400, "TAG_INVALID")


async def test_log(client: Client, server: RegistryServer) -> None:
    """The log counts requests and bytes by what was asked, and forgets when told to."""
    digest = await client.push_blob("lib/base", b"content")
    await client.ask("GET", f"/v2/lib/base/blobs/{digest}")
    await client.ask("POST", f"/v2/lib/other/blobs/uploads/?mount={digest}&from=lib/base")
    log = server.log
    mount = log.select(Operation.POST_UPLOAD, repository="lib/other")[0]

    assert (
        log.count(Operation.GET_BLOB, name=digest, status=200),
        log.bytes_sent(Operation.GET_BLOB),
    ) == (1, 7)
    assert (log.count(Operation.PUT_BLOB), log.bytes_received(Operation.PUT_BLOB)) == (1, 7)
    assert (digest, "lib/base", 201) == (mount.mount, mount.mount_from, mount.status)
    log.clear()
    assert 0 == len(log)


async def test_log_with_a_limit() -> None:
    """A log with a limit keeps the last requests."""
    log = RequestLog(limit=2)
    async with RegistryServer(MemoryStorage(), log=log) as server, talk(server) as client:
        for number in range(4):
            await client.ask("GET", f"/v2/r/tags/list?n={number}")

    assert ["2", "3"] == [request.query["n"] for request in log]


async def test_serve_keeps_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """``serve`` remembers no request, so that its memory does not grow with them."""
    servers: list[RegistryServer] = []
    start = RegistryServer.start

    async def remember(server: RegistryServer) -> None:
        servers.append(server)
        await start(server)

    monkeypatch.setattr(RegistryServer, "start", remember)
    stop = asyncio.Event()
    told: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(serve(None, "127.0.0.1", 0, told.put_nowait, stop))
    async with aiohttp.ClientSession() as session, session.get(f"http://{await told.get()}/v2/"):
        pass
    stop.set()
    await task

    assert [0] == [len(server.log) for server in servers]


async def test_log_keeps_no_secret(client: Client, server: RegistryServer) -> None:
    """Of credentials the log keeps that there were some, and their scheme."""
    await client.ask("GET", "/v2/", headers={"Authorization": "Basic canary", "Cookie": "canary"})
    entry = server.log.select(Operation.PING)[0]

    assert "Basic" == entry.authorization
    assert "canary" not in repr(entry)


async def test_log_of_a_session_status(client: Client, server: RegistryServer) -> None:
    """What is no operation of mmgraph has a kind of its own."""
    opened = await client.ask("POST", "/v2/lib/base/blobs/uploads/")
    await client.ask("GET", opened.headers["Location"])

    assert 1 == server.log.count(Operation.GET_UPLOAD)


@asynccontextmanager
async def quirky(quirks: Quirks) -> AsyncIterator[Client]:
    """Start a registry with quirks and open a client of it."""
    async with (
        RegistryServer(MemoryStorage(), faults=FaultPlan(quirks=quirks)) as server,
        talk(server) as client,
    ):
        yield client


async def _mount(client: Client, source: str, target: str, digest: str) -> int:
    return (await client.ask("POST", f"/v2/{target}/blobs/uploads/?mount={digest}&from={source}")).status


async def test_quirk_blind_self_mount() -> None:
    """A registry can be blind to its own blobs and mount those of others."""
    async with quirky(Quirks(blind_self_mount=True)) as client:
        digest = await client.push_blob("a", b"content")

        assert 202 == await _mount(client, "a", "a", digest)
        assert 201 == await _mount(client, "a", "b", digest)


async def test_quirk_no_mounts() -> None:
    """A registry can grant no mount at all."""
    async with quirky(Quirks(no_mounts=True)) as client:
        assert 202 == await _mount(client, "a", "b", await client.push_blob("a", b"content"))


async def test_quirk_mount_needs_manifest() -> None:
    """A registry can mount only what a manifest refers to."""
    async with quirky(Quirks(mount_needs_manifest=True)) as client:
        digest = await client.push_blob("a", b"layer")

        assert 202 == await _mount(client, "a", "b", digest)
        await client.push_image("a", "1", b"layer")
        assert 201 == await _mount(client, "a", "b", digest)


async def test_quirk_mount_needs_manifest_with_an_index() -> None:
    """What an index lists as a blob is referred to."""
    async with quirky(Quirks(mount_needs_manifest=True)) as client:
        digest = await client.push_blob("a", b"content")
        assert 202 == await _mount(client, "a", "b", digest)
        await client.push_manifest("a", "1", index_of_one(digest, ODD), INDEX)

        assert 201 == await _mount(client, "a", "b", digest)


async def test_quirk_created_in(tmp_path: Path) -> None:
    """A registry can take nothing for a repository that nobody has created, and show one that holds nothing."""
    created = tmp_path / "created"
    async with quirky(Quirks(created_in=str(created))) as client:

        async def asked() -> list[int]:
            asks = (
                ("POST", "/v2/a/blobs/uploads/"),
                ("PUT", "/v2/a/manifests/1"),
                ("GET", "/v2/a/tags/list"),
            )
            return [(await client.ask(*ask)).status for ask in asks]

        before = await asked()
        created.write_text("b\na\n")
        assert ([404, 404, 404], [202, 400, 200]) == (before, await asked())


async def test_quirk_head_unsupported() -> None:
    """A registry can refuse HEAD of manifests and still answer GET."""
    async with quirky(Quirks(head_unsupported=True)) as client:
        await client.push_image("a", "1")

        assert 405 == (await client.ask("HEAD", "/v2/a/manifests/1")).status
        assert 200 == (await client.ask("GET", "/v2/a/manifests/1")).status


async def test_quirk_accepts_missing() -> None:
    """A registry can take manifests whose blobs are missing."""
    async with quirky(Quirks(accepts_missing=True)) as client:
        document = image(digest_of(b"config"), digest_of(b"layer"))

        assert 201 == (await client.push_manifest("a", "1", document)).status


async def test_quirk_no_digest_header() -> None:
    """A registry can leave Docker-Content-Digest out of every answer."""
    async with quirky(Quirks(no_digest_header=True)) as client:
        await client.push_image("a", "1")

        assert "Docker-Content-Digest" not in (await client.ask("GET", "/v2/a/manifests/1")).headers


async def test_quirk_blobs_are_nothing() -> None:
    """A registry can know no tag list where there is no manifest."""
    async with quirky(Quirks(blobs_are_nothing=True)) as client:
        await client.push_blob("a", b"content")

        assert 404 == (await client.ask("GET", "/v2/a/tags/list")).status


async def test_quirk_location() -> None:
    """A registry can send absolute Locations with a query, and takes them back."""
    async with quirky(Quirks(location_prefix="http://other:1", location_query="_state=a%2Bb")) as client:
        opened = await client.ask("POST", "/v2/a/blobs/uploads/")
        location = opened.headers["Location"]

        assert location.startswith("http://other:1/v2/a/blobs/uploads/")
        assert location.endswith("?_state=a%2Bb")


async def test_tls() -> None:
    """The server speaks TLS where it is given a certificate."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with (
        RegistryServer(MemoryStorage(), tls=context) as server,
        talk(server, connector=aiohttp.TCPConnector(ssl=trust)) as client,
    ):
        assert server.url.startswith("https://127.0.0.1:")
        assert 200 == (await client.ask("GET", "/v2/")).status


@pytest.mark.parametrize("kind", ["memory", "layout"])
async def test_serve(kind: str, tmp_path: Path) -> None:
    """``serve`` tells its address once it listens and returns once it is told to stop."""
    told: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()
    directory = tmp_path if kind == "layout" else None
    task = asyncio.create_task(serve(directory, "127.0.0.1", 0, told.put_nowait, stop))
    address = await told.get()
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/v2/") as answer:
        assert 200 == answer.status
    stop.set()
    await task

    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*address.split(":"))


async def test_port_that_is_taken() -> None:
    """A server that cannot listen says so in words."""
    async with RegistryServer(MemoryStorage()) as server:
        port = int(server.address.split(":")[1])
        with pytest.raises(SpecError, match=r"^cannot listen on 127\.0\.0\.1:"):
            await RegistryServer(MemoryStorage(), port=port).start()


@pytest.mark.parametrize("before", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("head", [b"", b"GET /v2/ HTTP/1.1\r\nX"])
async def test_head_that_does_not_come(before: bytes, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no whole head comes is closed, the first one or a later one."""
    monkeypatch.setattr("mmgraph.server.app._HEAD", 0.2)
    async with RegistryServer(MemoryStorage()) as server:
        reader, writer = await asyncio.open_connection(*server.address.split(":"))
        writer.write(before + head)
        answers = (await asyncio.wait_for(reader.read(), 20)).count(b"HTTP/1.1 200 OK")
        writer.close()

    assert before.count(b"GET") == answers


async def test_body_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for heads is none for bodies."""
    monkeypatch.setattr("mmgraph.server.app._HEAD", 0.2)
    async with RegistryServer(MemoryStorage()) as server, talk(server) as client:

        async def slow() -> AsyncIterator[bytes]:
            yield b"con"
            await asyncio.sleep(0.5)
            yield b"tent"

        url = f"{client.base}/v2/a/blobs/uploads/?digest={digest_of(b'content')}"
        async with client.session.post(url, data=slow()) as answer:
            assert 201 == answer.status


async def test_server_that_was_not_started() -> None:
    """There is no address before the start."""
    with pytest.raises(InternalError):
        _ = RegistryServer(MemoryStorage()).address


async def test_collected_blob() -> None:
    """A blob that garbage collection took is gone from its repository, and from no other."""
    storage = MemoryStorage()
    async with RegistryServer(storage) as server, talk(server) as client:
        digest = Digest(await client.push_blob("a", b"content"))
        await client.push_blob("b", b"content")
        storage.remove_blob("a", digest)

        assert 404 == (await client.ask("HEAD", f"/v2/a/blobs/{digest}")).status
        assert 200 == (await client.ask("HEAD", f"/v2/b/blobs/{digest}")).status


async def test_removed_manifest() -> None:
    """A manifest that was removed is gone with its tags."""
    storage = MemoryStorage()
    async with RegistryServer(storage) as server, talk(server) as client:
        await client.push_image("a", "1")
        storage.remove_manifest("a", storage.tags("a")["1"])

        assert 404 == (await client.ask("HEAD", "/v2/a/manifests/1")).status
        assert {} == storage.tags("a")
