"""A directory of OCI layouts as the server writes it, and as others write it for the server."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import resource
import sys
import tracemalloc
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.clock import Clock
from mmgraph.errors import SpecError
from mmgraph.names import Digest
from mmgraph.server import LayoutStorage, MemoryStorage, RegistryServer
from tests.support import skopeo
from tests.support.clock import ManualClock
from tests.test_server import INDEX, MANIFEST, ODD, Client, digest_of, image, index_of_one, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


RESERVED = ("oci-layout", "index.json", "blobs")


@asynccontextmanager
async def serving(
    directory: Path, clock: Clock | None = None
) -> AsyncIterator[tuple[RegistryServer, Client]]:
    """Serve a directory and open a client."""
    async with RegistryServer(LayoutStorage(directory), clock=clock) as server, talk(server) as client:
        yield server, client


async def push_index(client: Client, repository: str, name: str) -> tuple[str, list[str]]:
    """Push an index of two images by digest, itself as ``name``; return the digests."""
    config, children = await client.push_blob(repository, b"{}"), []
    for layer in (b"one", b"two"):
        document = image(config, await client.push_blob(repository, layer))
        await client.push_manifest(repository, "@", document)
        children.append(json.dumps(document).encode())
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {"mediaType": MANIFEST, "digest": digest_of(child), "size": len(child)} for child in children
        ],
    }
    assert 201 == (await client.push_manifest(repository, name, document, INDEX)).status
    return digest_of(json.dumps(document).encode()), [digest_of(child) for child in children]


def index_of(directory: Path, repository: str) -> list[dict[str, Any]]:
    """Return the entries of a repository's index.json."""
    entries: list[dict[str, Any]] = json.loads((directory / repository / "index.json").read_bytes())[
        "manifests"
    ]
    return entries


def files(directory: Path) -> Iterator[str]:
    """Yield all files under a directory, sorted, but the lock of its server."""
    found = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    yield from sorted(path for path in found if path != ".uploads/lock")


async def test_what_skopeo_pushed(tmp_path: Path) -> None:
    """An image that skopeo pushed is read from the directory by skopeo."""
    async with serving(tmp_path / "one") as (source, client), serving(tmp_path / "two") as (target, _):
        document = await client.push_image("lib/base", "1")
        await skopeo.copy(f"{source.address}/lib/base:1", f"{target.address}/team/app:v1")
    raw = await skopeo.run("inspect", "--raw", f"oci:{tmp_path / 'two' / 'team/app'}:v1")

    assert json.dumps(document).encode() == raw


async def test_index_that_skopeo_pushed(tmp_path: Path) -> None:
    """An index and its children that skopeo pushed are copied out of the directory by skopeo."""
    async with serving(tmp_path / "one") as (source, client), serving(tmp_path / "two") as (target, _):
        digest, _ = await push_index(client, "lib/base", "1")
        await skopeo.copy(f"{source.address}/lib/base:1", f"{target.address}/team/app:v1")
    here = f"oci:{tmp_path / 'two' / 'team/app'}:v1"
    await skopeo.run("copy", "--all", here, f"oci:{tmp_path / 'there'}:x")

    assert digest == digest_of(await skopeo.run("inspect", "--raw", here))


async def test_layout_that_skopeo_made(tmp_path: Path) -> None:
    """A layout that skopeo wrote into the directory while it was served is served, and pulled by skopeo."""
    async with serving(tmp_path / "one") as (source, client), serving(tmp_path / "two") as (target, reader):
        await push_index(client, "lib/base", "1")
        assert 404 == (await reader.ask("GET", "/v2/team/app/tags/list")).status
        (tmp_path / "two" / "team").mkdir(parents=True)
        for tag in ("v1", "v2"):
            origin = f"docker://{source.address}/lib/base:1"
            there = f"oci:{tmp_path / 'two' / 'team/app'}:{tag}"
            await skopeo.run("copy", "--all", "--src-tls-verify=false", origin, there)
            raw = await skopeo.run("inspect", "--raw", there)
            assert raw == await skopeo.inspect_raw(f"{target.address}/team/app:{tag}")
        await skopeo.copy(f"{target.address}/team/app:v2", f"{source.address}/back:1")

        assert ["v1", "v2"] == json.loads((await reader.ask("GET", "/v2/team/app/tags/list")).body)["tags"]


async def test_push_into_a_layout_that_skopeo_made(tmp_path: Path) -> None:
    """A push keeps what skopeo has listed, and skopeo keeps what was pushed."""
    async with serving(tmp_path) as (server, client):
        await client.push_image("lib/base", "1")
        (tmp_path / "team").mkdir()
        origin, layout = f"docker://{server.address}/lib/base:1", f"oci:{tmp_path / 'team/app'}"
        await skopeo.run("copy", "--src-tls-verify=false", origin, f"{layout}:first")
        await client.push_image("team/app", "second", b"other")
        await skopeo.run("copy", "--src-tls-verify=false", origin, f"{layout}:third")

        tags = json.loads((await client.ask("GET", "/v2/team/app/tags/list")).body)["tags"]
        assert ["first", "second", "third"] == tags


async def test_restart(tmp_path: Path) -> None:
    """Tags, untagged manifests and children are found again by another server."""
    async with serving(tmp_path) as (_, client):
        tagged, children = await push_index(client, "lib/base", "1")
        untagged, _ = await push_index(client, "lib/other", "@")
    async with serving(tmp_path) as (server, client):
        found = [
            (await client.ask("HEAD", f"/v2/lib/base/manifests/{one}")).status for one in ("1", *children)
        ]

        assert [200, 200, 200] == found
        assert {"1": tagged} == server.storage.tags("lib/base")
        assert 200 == (await client.ask("HEAD", f"/v2/lib/other/manifests/{untagged}")).status
        assert ["lib/base", "lib/other"] == list(server.storage.repositories())


async def test_moved_tag_after_restart(tmp_path: Path) -> None:
    """What a tag named before it moved is found again by its digest."""
    async with serving(tmp_path) as (_, client):
        old, children = await push_index(client, "lib/base", "1")
        await client.push_image("lib/base", "1", b"new")
    async with serving(tmp_path) as (_, client):
        for digest in (old, *children):
            assert 200 == (await client.ask("HEAD", f"/v2/lib/base/manifests/{digest}")).status


@pytest.mark.parametrize("name", ["1", "@"])
async def test_media_type_after_restart(tmp_path: Path, name: str) -> None:
    """A document that does not name its type keeps the one that it was put with."""
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    async with serving(tmp_path) as (_, client):
        document = image(await client.push_blob("a", b"{}"), await client.push_blob("a", b"layer"))
        del document["mediaType"]
        await client.push_manifest("a", name, document, docker)
    async with serving(tmp_path) as (_, client):
        digest = digest_of(json.dumps(document).encode())

        assert docker == (await client.ask("HEAD", f"/v2/a/manifests/{digest}")).headers["Content-Type"]


async def test_odd_entries_after_restart(tmp_path: Path) -> None:
    """Of what an index lists by odd types, a blob is no manifest and a manifest is one for the next server too."""
    async with serving(tmp_path) as (_, client):
        blob = await client.push_blob("a", b"content")
        document = image(blob, blob) | {"mediaType": ODD}
        await client.push_manifest("a", "@", document, ODD)
        manifest = digest_of(json.dumps(document).encode())
        index = index_of_one(blob, ODD)
        index["manifests"].append(index["manifests"][0] | {"digest": manifest})
        assert 201 == (await client.push_manifest("a", "1", index, INDEX)).status
    async with serving(tmp_path) as (_, client):
        replies = [await client.ask("HEAD", f"/v2/a/manifests/{digest}") for digest in (blob, manifest)]

        assert [404, 200] == [reply.status for reply in replies]


async def test_untyped_entry(tmp_path: Path) -> None:
    """A listed document without any media type is what its fields say."""
    async with serving(tmp_path) as (_, client):
        digest, _ = await push_index(client, "a", "1")
    path = tmp_path / "a" / "index.json"
    path.write_text(path.read_text().replace(f'"mediaType":"{INDEX}"', '"mediaType":""'))
    async with serving(tmp_path) as (_, client):
        assert INDEX == (await client.ask("HEAD", f"/v2/a/manifests/{digest}")).headers["Content-Type"]


async def test_children_are_not_listed(tmp_path: Path) -> None:
    """index.json lists an index that was pushed, and not the manifests that it leads to."""
    async with serving(tmp_path) as (_, client):
        digest, _ = await push_index(client, "a", "1")

    assert [digest] == [entry["digest"] for entry in index_of(tmp_path, "a")]


async def test_two_tags_of_one_manifest(tmp_path: Path) -> None:
    """index.json lists a manifest once for each of its tags."""
    async with serving(tmp_path) as (_, client):
        for tag in ("1", "2", "1"):
            await client.push_image("a", tag)
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index_of(tmp_path, "a")]

    assert ["1", "2"] == sorted(names)


async def test_foreign_entries_are_kept(tmp_path: Path) -> None:
    """What others wrote into index.json is still there after a push."""
    async with serving(tmp_path) as (_, client):
        await client.push_image("a", "1")
        path = tmp_path / "a" / "index.json"
        index = json.loads(path.read_bytes())
        index["annotations"] = {"k": "v"}
        index["manifests"][0]["platform"] = {"os": "linux", "architecture": "amd64"}
        index["manifests"][0]["annotations"]["k"] = "v"
        name = {"org.opencontainers.image.ref.name": "docker.io/library/x:1"}
        index["manifests"].append(index["manifests"][0] | {"annotations": name})
        path.write_text(json.dumps(index))
        await client.push_image("a", "2", b"other")
    later = json.loads(path.read_bytes())

    assert index["manifests"] == later["manifests"][:2]
    assert {"k": "v"} == later["annotations"]


async def test_files(tmp_path: Path) -> None:
    """A repository is exactly the files of an OCI layout."""
    async with serving(tmp_path) as (_, client):
        document = await client.push_image("lib/base", "1")
    digests = [digest_of(json.dumps(document).encode()), digest_of(b"{}"), digest_of(b"layer")]
    blobs = [f"lib/base/blobs/sha256/{digest.partition(':')[2]}" for digest in digests]

    assert sorted([*blobs, "lib/base/index.json", "lib/base/oci-layout"]) == list(files(tmp_path))


async def test_mount_is_a_hard_link(tmp_path: Path) -> None:
    """A mounted blob takes no room of its own."""
    async with serving(tmp_path) as (_, client):
        digest = await client.push_blob("a", b"content")
        await client.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")
    name = f"blobs/sha256/{Digest(digest).hex}"

    assert (tmp_path / "a" / name).samefile(tmp_path / "b" / name)


async def test_mount_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk has no hard links, a mounted blob is a copy."""

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    async with serving(tmp_path) as (_, client):
        digest = await client.push_blob("a", b"content")
        reply = await client.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")

        assert 201 == reply.status
        assert b"content" == (await client.ask("GET", f"/v2/b/blobs/{digest}")).body


@pytest.mark.parametrize("end", ["wrong", "cancel", "stop"])
async def test_unfinished_uploads_leave_nothing(tmp_path: Path, end: str) -> None:
    """An upload that fails, is cancelled or is open when the server stops leaves no file and no repository."""
    async with serving(tmp_path) as (server, client):
        opened = await client.ask("POST", "/v2/a/blobs/uploads/")
        await client.ask("PATCH", opened.headers["Location"], b"content")
        if end == "wrong":
            await client.ask("PUT", f"{opened.headers['Location']}?digest={digest_of(b'other')}")
        if end == "cancel":
            await client.ask("DELETE", opened.headers["Location"])
        assert not server.storage.holds("a")

    assert [] == list(files(tmp_path))


async def test_idle_session(tmp_path: Path) -> None:
    """A session that nobody goes on with for an hour is dropped with its bytes, by itself."""
    clock = ManualClock()
    async with serving(tmp_path, clock) as (server, client):
        location = (await client.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
        await client.ask("PATCH", location, b"content")
        await clock.advance(3599)
        assert 1 == server.open_sessions
        await clock.advance(1)

        assert (0, []) == (server.open_sessions, list(files(tmp_path)))
        assert 404 == (await client.ask("PATCH", location, b"more")).status


async def test_session_that_is_gone_on_with(tmp_path: Path) -> None:
    """An hour counts from the last request of a session, and each has its own."""
    clock = ManualClock()
    async with serving(tmp_path, clock) as (server, client):
        location = (await client.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
        await clock.advance(1800)
        await client.ask("POST", "/v2/a/blobs/uploads/")
        for _ in range(3):
            await clock.advance(1799)
            await client.ask("PATCH", location, b"content")

        assert 1 == server.open_sessions
        data = b"content" * 3
        assert 201 == (await client.ask("PUT", f"{location}?digest={digest_of(data)}")).status


async def test_session_that_expires_while_written_to(tmp_path: Path) -> None:
    """A body of which no byte came for an hour is refused, and leaves nothing."""
    clock, expired = ManualClock(), asyncio.Event()

    async def chunk() -> AsyncIterator[bytes]:
        yield b"con"
        await expired.wait()
        yield b"tent"

    async with serving(tmp_path, clock) as (server, client):
        location = (await client.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
        writing = asyncio.create_task(client.session.patch(client.base + location, data=chunk()))
        while (await client.ask("GET", location)).headers["Range"] != "0-2":
            pass
        await clock.advance(3600)
        expired.set()
        async with await writing as answer:
            assert (404, 0) == (answer.status, server.open_sessions)
    assert [] == list(files(tmp_path))


async def test_forgotten_uploads(tmp_path: Path) -> None:
    """What a killed server left behind is removed at the next start."""
    (tmp_path / ".uploads").mkdir()
    (tmp_path / ".uploads" / "left").write_bytes(b"x")
    async with serving(tmp_path):
        assert [] == list(files(tmp_path))


async def test_second_server(tmp_path: Path) -> None:
    """A directory has one server; another is refused and touches nothing of the first one's."""
    async with serving(tmp_path) as (_, client):
        location = (await client.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
        await client.ask("PATCH", location, b"content")
        with pytest.raises(SpecError, match="is served by another mmgraph"):
            await RegistryServer(LayoutStorage(tmp_path)).start()

        assert 201 == (await client.ask("PUT", f"{location}?digest={digest_of(b'content')}")).status


async def test_server_after_one_that_could_not_listen(tmp_path: Path) -> None:
    """A server that could not listen leaves the directory to the next one."""
    async with RegistryServer(MemoryStorage()) as taken:
        port = int(taken.address.split(":")[1])
        with pytest.raises(SpecError, match="cannot listen"):
            await RegistryServer(LayoutStorage(tmp_path), port=port).start()
    async with serving(tmp_path) as (_, client):
        assert 200 == (await client.ask("GET", "/v2/")).status


async def test_directory_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory on a disk that is read-only has no lock, and is served by as many as like."""
    async with serving(tmp_path) as (_, client):
        await client.push_image("a", "1")

    system = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system")
        return system(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    async with RegistryServer(LayoutStorage(tmp_path)), serving(tmp_path) as (_, client):
        assert 200 == (await client.ask("GET", "/v2/a/manifests/1")).status


async def test_uploads_behind_a_symbolic_link(tmp_path: Path) -> None:
    """Nothing is kept, and nothing removed, in a directory that a link called .uploads leads to."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".uploads").symlink_to(tmp_path / "precious")
    with pytest.raises(SpecError, match="is a symbolic link"):
        await RegistryServer(LayoutStorage(tmp_path / "root")).start()

    assert ["file"] == [path.name for path in (tmp_path / "precious").iterdir()]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_directory_that_is_a_file(tmp_path: Path, name: str) -> None:
    """A file, or what would lie below one, cannot be served."""
    (tmp_path / "file").write_bytes(b"{}")

    with pytest.raises(SpecError, match=f"{name} is not a directory$"):
        LayoutStorage(tmp_path / name)


def test_directory_that_is_a_layout(tmp_path: Path) -> None:
    """A directory that is itself a layout is not served as one of layouts."""
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    with pytest.raises(SpecError, match="is one OCI layout"):
        LayoutStorage(tmp_path)


@pytest.mark.parametrize("name", ["a/blobs", "a/blobs/sha256", "a/index.json", "a/oci-layout/b", *RESERVED])
async def test_reserved_repository(tmp_path: Path, name: str) -> None:
    """A repository called like a part of a layout, or lying in one, is refused."""
    async with serving(tmp_path) as (_, client):
        reply = await client.ask("POST", f"/v2/{name}/blobs/uploads/")

        assert (400, "NAME_INVALID") == (reply.status, reply.code)


def test_directory_called_like_the_file_of_a_layout(tmp_path: Path) -> None:
    """A directory called oci-layout makes no layout of the directory that it lies in."""
    (tmp_path / "oci-layout").mkdir()

    assert [] == LayoutStorage(tmp_path).repositories()


@pytest.mark.parametrize("name", ["../out", "/etc", "a/../../out", ".uploads", ""])
def test_storage_checks_names_itself(tmp_path: Path, name: str) -> None:
    """No path is made of what is no repository, whoever asks."""
    with pytest.raises(SpecError):
        LayoutStorage(tmp_path).upload(name)


def test_storage_checks_digests_itself(tmp_path: Path) -> None:
    """No path is made of what is no digest, whoever asks."""
    with pytest.raises(SpecError):
        LayoutStorage(tmp_path).blob_size("a", Digest("sha256:../../../etc/passwd"))


@pytest.mark.parametrize("link", ["a/blobs/sha256/{}", "a/blobs/sha256", "a/blobs", "a"])
async def test_symbolic_links_are_not_followed(tmp_path: Path, link: str) -> None:
    """A blob behind a symbolic link at any level is not there."""
    async with serving(tmp_path / "root") as (_, client):
        digest = await client.push_blob("a", b"content")
        place = tmp_path / "root" / link.format(Digest(digest).hex)
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")

        assert 404 == (await client.ask("GET", f"/v2/a/blobs/{digest}")).status


@pytest.mark.parametrize("link", ["a", "a/sub", "a/sub/blobs", "a/sub/blobs/sha256"])
@pytest.mark.parametrize("end", ["outside", "nowhere"])
async def test_nothing_is_written_through_a_symbolic_link(tmp_path: Path, link: str, end: str) -> None:
    """A push into a repository behind a symbolic link is refused, and makes no file or directory there."""
    (tmp_path / "outside").mkdir()
    async with serving(tmp_path / "root") as (_, client):
        place = tmp_path / "root" / link
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(tmp_path / end)
        path = f"/v2/a/sub/blobs/uploads/?digest={digest_of(b'content')}"

        assert 400 == (await client.ask("POST", path, b"content")).status
    assert [] == list((tmp_path / "outside").iterdir())
    assert not (tmp_path / "nowhere").exists()


async def test_index_that_is_a_symbolic_link(tmp_path: Path) -> None:
    """A push into a repository whose index.json is a symbolic link is refused, and the link's end is left alone."""
    async with serving(tmp_path / "root") as (_, client):
        document = await client.push_image("a", "1")
        path = tmp_path / "root" / "a" / "index.json"
        before = path.read_bytes()
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")

        assert 400 == (await client.push_manifest("a", "2", document)).status
    assert before == (tmp_path / "elsewhere").read_bytes()


BROKEN = (b"", b"{", b"[]", b'{"manifests":1}', b"\xff", b'{"annotations":' + b"[" * 200_000)


@pytest.mark.parametrize("content", BROKEN)
async def test_broken_index(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A repository whose index.json breaks is an error of the server, in one line, and others go on."""
    async with serving(tmp_path) as (_, client):
        document = await client.push_image("a", "1")
        (tmp_path / "a" / "index.json").write_bytes(content)
        replies = [
            await client.ask("GET", "/v2/a/manifests/1"),
            await client.push_manifest("a", "2", document),
        ]

        assert [(500, "UNKNOWN")] * 2 == [(reply.status, reply.code) for reply in replies]
        assert b"a/index.json is no index of an OCI layout" in replies[0].body
        assert [None, None] == [record.exc_info for record in caplog.records]
        assert 200 == (await client.ask("GET", "/v2/")).status


@pytest.mark.parametrize("content", BROKEN)
async def test_broken_index_at_the_start(tmp_path: Path, content: bytes) -> None:
    """A directory with a repository whose index.json is broken is not served, and left to the next server."""
    (tmp_path / "lib" / "base").mkdir(parents=True)
    (tmp_path / "lib" / "base" / "index.json").write_bytes(content)
    with pytest.raises(SpecError, match=r"^lib/base/index\.json is no index of an OCI layout: "):
        await RegistryServer(LayoutStorage(tmp_path)).start()
    (tmp_path / "lib" / "base" / "index.json").unlink()

    async with serving(tmp_path) as (_, client):
        assert 200 == (await client.ask("GET", "/v2/")).status


async def test_hostile_index(tmp_path: Path) -> None:
    """Entries whose digests are paths, or lead in circles, are not followed."""
    async with serving(tmp_path) as (server, client):
        digest, children = await push_index(client, "a", "1")
        (tmp_path / "secret").write_text("secret")
        path = tmp_path / "a" / "index.json"
        entries = [
            {"mediaType": media_type, "digest": name, "size": 1}
            for media_type in (INDEX, "", MANIFEST)
            for name in ("sha256:../../../secret", digest, "")
        ]
        path.write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))

        assert {digest, *children} == set(server.storage.manifests("a"))


async def test_blobs_are_not_held_in_memory(tmp_path: Path) -> None:
    """A blob passes through in pieces, in both directions."""
    piece = bytes(1 << 20)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield piece

    async with serving(tmp_path) as (_, client):
        digest = digest_of(piece * 64)
        tracemalloc.start()
        url = f"{client.base}/v2/a/blobs/uploads/?digest={digest}"
        async with client.session.post(url, data=pieces()) as answer:
            assert 201 == answer.status
        async with client.session.get(f"{client.base}/v2/a/blobs/{digest}") as answer:
            async for _ in answer.content.iter_any():
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert peak < 16 << 20


@contextmanager
def room(length: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``length``: a write takes a part and fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    compiles, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # modules would be cut short as well
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = compiles


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_upload_that_does_not_fit(
    tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A session whose write failed is gone with its bytes, so that nobody goes on in the middle of a piece."""
    async with serving(tmp_path) as (server, client):
        location = (await client.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
        data = os.urandom(300_000)
        with room(100_001), caplog.at_level(logging.CRITICAL, "mmgraph.server"):
            reply = await client.ask(method, f"{location}?digest={digest_of(data)}", data)

        assert (500, "UNKNOWN", 0) == (reply.status, reply.code, server.open_sessions)
        assert 404 == (await client.ask("GET", location)).status
        assert [] == list(files(tmp_path))


async def test_whole_blob_that_does_not_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A POST with its bytes that fails leaves nothing, and can be repeated."""
    async with serving(tmp_path) as (_, client):
        data = os.urandom(300_000)
        path = f"/v2/a/blobs/uploads/?digest={digest_of(data)}"
        with room(100_001), caplog.at_level(logging.CRITICAL, "mmgraph.server"):
            assert 500 == (await client.ask("POST", path, data)).status
        assert [] == list(files(tmp_path))

        assert 201 == (await client.ask("POST", path, data)).status


async def test_file_of_another_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An upload whose file is not as long as what was sent is no blob, whatever its hash was to be."""
    async with serving(tmp_path) as (_, client):
        location = (await client.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
        await client.ask("PATCH", location, b"content")
        next(path for path in (tmp_path / ".uploads").iterdir() if path.stat().st_size).write_bytes(b"con")
        with caplog.at_level(logging.CRITICAL, "mmgraph.server"):
            reply = await client.ask("PUT", f"{location}?digest={digest_of(b'content')}")

        assert 500 == reply.status
        assert 404 == (await client.ask("HEAD", f"/v2/a/blobs/{digest_of(b'content')}")).status


async def test_blob_that_finds_no_place(tmp_path: Path) -> None:
    """An upload that cannot be brought to its place leaves no file behind."""
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    async with serving(tmp_path) as (server, client):
        location = (await client.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
        reply = await client.ask("PUT", f"{location}?digest={digest_of(b'content')}", b"content")

        assert (400, 0) == (reply.status, server.open_sessions)
        assert [] == list(files(tmp_path))


async def test_manifest_that_does_not_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A manifest that could not be written leaves no file behind."""
    async with serving(tmp_path) as (_, client):
        config = await client.push_blob("a", b"{}")
        before = list(files(tmp_path))
        document = image(config, config, annotations={"k": "v" * 20_000})
        with room(10_000), caplog.at_level(logging.CRITICAL, "mmgraph.server"):
            assert 500 == (await client.push_manifest("a", "1", document)).status

    assert before == list(files(tmp_path))


async def test_failing_files_are_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the system says of a full disk is logged without a traceback."""
    async with serving(tmp_path) as (_, client):
        with room(0):
            await client.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'content')}", b"content")

    assert ["cannot answer POST POST upload: File too large"] == [one.getMessage() for one in caplog.records]
    assert [None] == [one.exc_info for one in caplog.records]
