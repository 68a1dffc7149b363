"""Authorization over sockets: registries and token services as they are found, each an opponent of raw bytes."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.clock import Clock, SystemClock
from mmgraph.errors import RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.oci import digest_of
from mmgraph.quirks import Learned, Quirk
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.server import Basic, Bearer, FaultPlan, MemoryStorage, RegistryServer
from mmgraph.store import RawManifest
from tests.support.clock import ManualClock
from tests.support.raw import Raw, Request, answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CANARY = "correct-horse-battery"
MANIFEST = b'{"schemaVersion":2}'
TYPE = "application/vnd.oci.image.manifest.v1+json"


def client(
    home: Path, address: str = "", login: dict[str, str] | None = None, clock: Clock | None = None
) -> Client:
    """Return a client with one login, or none."""
    path = home / "auth.json"
    path.write_text(json.dumps({"auths": {address: login} if login else {}}))
    return Client(
        credentials=Credentials({"PATH": "/usr/bin:/bin"}, path, home),
        clock=clock or SystemClock(),
        chance=random.Random(1),
    )


PASSWORD = {"auth": base64.b64encode(f"me:{CANARY}".encode()).decode()}
IDENTITY = {"identitytoken": CANARY}


class Place:
    """A registry with its token service: ``manifest`` answers what needs a token, ``token`` the rest."""

    def __init__(self, **options: Any) -> None:
        self.post: int = options.get("post", 200)
        self.silent: bool = options.get("silent", False)
        self.hides: bool = options.get("hides", False)
        self.server = Raw(self._answer)
        self.forms: list[bytes] = []

    async def _answer(self, request: Request) -> bytes:
        body = await request.read()
        if request.target.startswith("/token"):
            self.forms.append(body)
            if request.method == "POST" and self.post != 200:
                return answer(self.post)
            known = request.method == "POST" or "authorization" in request.headers
            name = "access_token" if request.method == "POST" else "token"
            return answer(200, json.dumps({name: "good" if known else "stranger"}).encode())
        if request.headers.get("authorization") == "Bearer good":
            return answer(200, MANIFEST, content_type=TYPE)
        challenge = f'Bearer realm="http://{self.server.address}/token",service="s"'
        if request.target == "/v2/":
            return answer(401, www_authenticate=challenge)
        if self.hides:
            return answer(404)
        return answer(401) if self.silent else answer(401, www_authenticate=challenge)

    def repository(self) -> Repository:
        """A repository there."""
        return Repository(Registry(self.server.address), "app")

    @property
    def tokens(self) -> list[str]:
        """How the token service was asked."""
        return [each.method for each in self.server.requests if each.target.startswith("/token")]


@pytest.mark.parametrize(
    ("options", "login", "expected"),
    [
        ({}, PASSWORD, ["GET"]),
        ({}, IDENTITY, ["POST"]),
        ({"post": 404}, IDENTITY, ["POST", "GET"]),
        ({"post": 400}, IDENTITY, ["POST", "GET"]),
        ({"post": 401}, IDENTITY, ["POST", "GET"]),
        ({"silent": True}, PASSWORD, ["GET"]),
        ({"hides": True}, PASSWORD, ["GET"]),
    ],
    ids=["GET", "POST", "GCR", "ACR", "Artifactory", "no challenge", "404 to strangers"],
)
async def test_registries(
    tmp_path: Path, options: dict[str, Any], login: dict[str, str], expected: list[str]
) -> None:
    """Each kind of registry hands its manifest to who has a login, and sees the password at one path alone."""
    place = Place(**options)
    async with place.server as server, client(tmp_path, server.address, login) as wire:
        found = await wire.manifest(place.repository(), "v1")
        saw = {each.target.partition("?")[0] for each in server.requests if _secret(each)}
    assert (MANIFEST, expected) == (found.raw, place.tokens)
    assert saw <= {"/token"}


@pytest.mark.parametrize(
    ("options", "login", "expected"),
    [
        ({}, PASSWORD, []),
        ({}, IDENTITY, []),
        ({"post": 404}, IDENTITY, [Quirk.TOKEN_BY_GET]),
        ({"silent": True}, PASSWORD, []),
    ],
    ids=["by GET", "by POST", "no POST", "no 401 comes of it"],
)
async def test_what_is_learned_of_registries(
    tmp_path: Path, options: dict[str, Any], login: dict[str, str], expected: list[Quirk]
) -> None:
    """What was odd about letting us in is known of the registry then, once for all that was read."""
    place = Place(**options)
    async with place.server as server, client(tmp_path, server.address, login) as wire:
        for tag in ("v1", "v2"):
            await wire.manifest(place.repository(), tag)
        await wire.manifest(Repository(Registry(server.address), "other"), "v1")
        learned = {(each.registry, each.quirk) for each in wire.quirks.learned}
        known = {(Registry(server.address), quirk) for quirk in expected}
    assert known == learned


async def test_a_challenge_that_had_to_be_asked_for_is_learned(tmp_path: Path) -> None:
    """A stranger is answered 401 and nothing else; it is told by a ping how to have a token."""
    place = Place(silent=True)
    async with place.server as server, client(tmp_path) as wire:
        with pytest.raises(RegistryError):
            await wire.manifest(place.repository(), "v1")
        expected = (Learned(Registry(server.address), Quirk.SILENT_401),)
    assert (expected, ["GET"]) == (wire.quirks.learned, place.tokens)


async def test_a_service_that_refused_post_is_not_asked_so_again(tmp_path: Path) -> None:
    """The second token, for another repository, is asked for by GET alone."""
    place = Place(post=404)
    async with place.server as server, client(tmp_path, server.address, IDENTITY) as wire:
        await wire.manifest(place.repository(), "v1")
        await wire.manifest(Repository(Registry(server.address), "other"), "v1")
    assert ["POST", "GET", "GET"] == place.tokens


def _secret(request: Request) -> bool:
    shown = f"{request.target} {request.headers} {request.body!r}"
    return CANARY in shown or PASSWORD["auth"] in shown


async def test_nobody_is_told_why(tmp_path: Path) -> None:
    """Who is refused without a login reads that there is none, and how to have one."""
    place = Place()
    async with place.server as server, client(tmp_path) as wire:
        with pytest.raises(RegistryError) as caught:
            await wire.manifest(place.repository(), "v1")
        expected = f"there is no credential for {server.address}: docker login {server.address}"
    assert expected in str(caught.value)


@pytest.mark.parametrize("auth", [Basic("me", CANARY), Bearer("me", CANARY, anonymous=False)])
async def test_a_wrong_password_is_told(tmp_path: Path, auth: Basic | Bearer) -> None:
    """Who is refused with a login reads which file and key it is from, and nothing of what is secret."""
    async with RegistryServer(MemoryStorage(), auth=auth) as server:
        wrong = {"auth": base64.b64encode(f"me:not-{CANARY}".encode()).decode()}
        async with client(tmp_path, server.address, wrong) as wire:
            with pytest.raises(RegistryError) as caught:
                await wire.manifest(Repository(Registry(server.address), "app"), "v1")
    text = str(caught.value)
    assert (True, False, 401) == (
        f"the credential for {server.address} from ~/auth.json" in text,
        CANARY in text,
        caught.value.status,
    )


async def test_a_login_that_may_not_push(tmp_path: Path) -> None:
    """Who may not push reads so, with the credential that may not."""
    async with RegistryServer(MemoryStorage(), auth=Bearer("me", CANARY, denied=["app"])) as server:
        repository = Repository(Registry(server.address), "app")
        async with client(tmp_path, server.address, PASSWORD) as wire:
            with pytest.raises(RegistryError) as caught:
                await wire.put_manifest(repository, "v1", digest_of(MANIFEST), RawManifest(MANIFEST, TYPE))
    assert f"the credential for {server.address} from ~/auth.json may not push there" in str(caught.value)


async def test_a_login_that_may_pull_and_not_push(tmp_path: Path) -> None:
    """At a registry with user and password, too, who was let in to pull reads that it is the push that is refused."""

    async def handle(request: Request) -> bytes:
        await request.read()
        if "authorization" not in request.headers:
            return answer(401, www_authenticate="Basic realm=x")
        return answer(403) if request.method == "PUT" else answer(200, MANIFEST, content_type=TYPE)

    async with Raw(handle) as server, client(tmp_path, server.address, PASSWORD) as wire:
        repository = Repository(Registry(server.address), "app")
        await wire.manifest(repository, "v1")
        with pytest.raises(RegistryError) as caught:
            await wire.put_manifest(repository, "v1", digest_of(MANIFEST), RawManifest(MANIFEST, TYPE))
    words = f"the credential for {repository.registry} from ~/auth.json may pull but not push there"
    assert words in str(caught.value)


@pytest.mark.parametrize("life", [2.0, 60.0, 300.0])
async def test_short_lives(tmp_path: Path, life: float) -> None:
    """A token is renewed before its end: no request is refused for one that has ended."""
    clock = ManualClock()
    async with RegistryServer(MemoryStorage(), auth=Bearer("me", CANARY, life=life, clock=clock)) as server:
        repository = Repository(Registry(server.address), "app")
        async with client(tmp_path, server.address, PASSWORD, clock) as wire:
            for number in range(20):
                await wire.has_blob(repository, digest_of(b"%d" % number))
                await clock.advance(life * 0.3)
        expected = 1
        assert expected == server.log.count(status=401)


async def test_first_scope_only(tmp_path: Path) -> None:
    """A service that grants the first scope alone grants the push, since that stands first."""
    auth = Bearer("me", CANARY, first_scope_only=True)
    async with RegistryServer(MemoryStorage(), auth=auth) as server:
        target, source = (Repository(Registry(server.address), path) for path in ("app", "base"))
        async with client(tmp_path, server.address, PASSWORD) as wire:
            upload = await wire.start(target, digest_of(b"x"), source)
            assert upload is not None
            await wire.send(upload, digest_of(b"x"), 1, b"x")
            assert await wire.has_blob(target, digest_of(b"x"))


async def test_a_token_ends_in_mid_upload(tmp_path: Path) -> None:
    """A 401 in mid-upload is an error that says that another try is worth it, and the next one has a new token."""
    auth = Bearer("me", CANARY)
    content = b"x" * 100_000
    async with RegistryServer(MemoryStorage(), auth=auth, faults=FaultPlan()) as server:
        repository = Repository(Registry(server.address), "app")

        async def body() -> Any:
            yield content[:50_000]
            yield content[50_000:]

        async with client(tmp_path, server.address, PASSWORD) as wire:
            upload = await wire.start(repository, digest_of(content), None)
            assert upload is not None
            auth.revoke()
            with pytest.raises(RegistryError) as caught:
                await wire.send(upload, digest_of(content), len(content), body())
            again = await wire.start(repository, digest_of(content), None)
            assert again is not None
            await wire.send(again, digest_of(content), len(content), body())
            assert await wire.has_blob(repository, digest_of(content))
    expected = 401
    assert expected == caught.value.status


def behaviours() -> list[tuple[str, Callable[[Place, Request], Awaitable[bytes | None]]]]:
    """Return ways in which a token service never answers."""

    async def silent(place: Place, request: Request) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def drip(place: Place, request: Request) -> bytes | None:
        request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        await asyncio.Event().wait()
        return None

    return [("silent", silent), ("drip", drip)]


@pytest.mark.parametrize(("name", "behave"), behaviours())
async def test_cancelled_while_a_token_is_fetched(
    tmp_path: Path, name: str, behave: Callable[[Place, Request], Awaitable[bytes | None]]
) -> None:
    """Cancelling a request that waits for a token leaves no task and no connection behind."""
    place = Place()
    asked = asyncio.Event()
    honest = place.server._handler

    async def handler(request: Request) -> bytes | None:
        if request.target.startswith("/token"):
            asked.set()
            return await behave(place, request)
        return await honest(request)

    place.server._handler = handler
    async with place.server as server:
        before = asyncio.all_tasks()
        async with client(tmp_path, server.address, PASSWORD) as wire:
            tasks = [asyncio.create_task(wire.manifest(place.repository(), "v1")) for _ in range(5)]
            await asked.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            expected = (1, 0)
            assert expected == (len(place.tokens), len(wire._wire._auth._flights))
        left = {task for task in asyncio.all_tasks() - before if "Listener._accept" not in repr(task)}
        assert not left
