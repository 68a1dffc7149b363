"""Authorization against distribution itself: htpasswd, and signed tokens of a service of our own."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.clock import SystemClock
from mmgraph.errors import RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.oci import digest_of
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.origins import Opening, Trust
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from mmgraph.store import Operation, RawManifest
from tests.support.distribution import Distribution
from tests.support.tokens import TokenService

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Distribution]

CANARY = "correct-horse-battery"
HASH = "$2y$04$aaaaaaaaaaaaaaaaaaaaaeV9cAZFM8hPjNXpoeHwc3JXzUrWcw4IK"
"""bcrypt of the canary, with as little work as it allows."""
TYPE = "application/vnd.oci.image.manifest.v1+json"
ALL = frozenset({"pull", "push"})
PASSWORD = {"auth": base64.b64encode(f"me:{CANARY}".encode()).decode()}


def client(home: Path, address: str, login: dict[str, Any], trust: Trust | None = None) -> Client:
    """Return a client with a login file of its own."""
    path = home / "auth.json"
    path.write_text(json.dumps(login))
    return Client(
        credentials=Credentials({"PATH": f"{home}:/usr/bin:/bin"}, path, home),
        clock=SystemClock(),
        chance=random.Random(1),
        routes=Routes(Tls({}), Proxies({}), trust or Trust()),
    )


def image() -> tuple[bytes, RawManifest]:
    """Return a blob, and a manifest of it alone."""
    blob = b"{}"
    descriptor = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(blob), "size": 2}
    document = {"schemaVersion": 2, "mediaType": TYPE, "config": descriptor, "layers": [descriptor]}
    return blob, RawManifest(json.dumps(document).encode(), TYPE)


async def push(wire: Client, repository: Repository, mount_from: Repository | None = None) -> bool:
    """Push the image; whether its blob was mounted."""
    blob, manifest = image()
    upload = await wire.start(repository, digest_of(blob), mount_from)
    if upload is not None:
        await wire.send(upload, digest_of(blob), len(blob), blob)
    await wire.put_manifest(repository, "v1", digest_of(manifest.raw), manifest)
    return upload is None


def opened(registry: str, service: TokenService) -> Trust:
    """Trust the service with the registry's login: it is on another port, without TLS."""
    return Trust(realms=(Opening.parse(f"{registry}={service.server.address}", "--trust-realm"),))


async def test_htpasswd(tmp_path: Path, start_registry: Start) -> None:
    """A registry with user and password is pushed to and read from, with one refusal in all."""
    users = tmp_path / "users"
    users.write_text(f"me:{HASH}\n")
    registry = start_registry(settings={"auth": {"htpasswd": {"realm": "r", "path": str(users)}}})
    repository = Repository(Registry(registry.address), "team/app")
    async with client(tmp_path, registry.address, {"auths": {f"{registry.address}/team": PASSWORD}}) as wire:
        await push(wire, repository)
        found = await wire.manifest(repository, "v1")
    assert (image()[1].raw, 1) == (found.raw, sum(each.status == 401 for each in registry.requests()))


async def test_a_helper(tmp_path: Path, start_registry: Start) -> None:
    """A login that a credential helper keeps is taken as one from a file."""
    users = tmp_path / "users"
    users.write_text(f"me:{HASH}\n")
    registry = start_registry(settings={"auth": {"htpasswd": {"realm": "r", "path": str(users)}}})
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\ncat >/dev/null; echo \'{{"Username":"me","Secret":"{CANARY}"}}\'\n')
    helper.chmod(0o755)
    async with client(tmp_path, registry.address, {"credsStore": "test"}) as wire:
        await push(wire, Repository(Registry(registry.address), "app"))


@pytest.mark.parametrize(
    ("login", "post", "expected"),
    [
        (PASSWORD, 200, {"GET"}),
        ({"identitytoken": f"refresh-{CANARY}"}, 404, {"POST", "GET"}),
        ({"identitytoken": f"refresh-{CANARY}"}, 200, {"POST"}),
    ],
)
async def test_tokens(
    tmp_path: Path, start_registry: Start, login: dict[str, str], post: int, expected: set[str]
) -> None:
    """Signed tokens for a push, a mount and a read, by password and by identity token."""
    service = TokenService(
        tmp_path, password=CANARY, refresh=f"refresh-{CANARY}", post=post, rights={"app": ALL, "base": ALL}
    )
    async with service.server:
        registry = start_registry(settings=service.settings())
        app, base = (Repository(Registry(registry.address), path) for path in ("app", "base"))
        trust = opened(registry.address, service)
        async with client(tmp_path, registry.address, {"auths": {registry.address: login}}, trust) as wire:
            mounted = [await push(wire, base), await push(wire, app, base)]
            found = await wire.manifest(app, "v1")
    assert ([False, True], image()[1].raw, expected) == (mounted, found.raw, set(service.asked))


@pytest.mark.parametrize("life", [2, 60])
async def test_a_token_ends(tmp_path: Path, start_registry: Start, life: int) -> None:
    """Over the end of a token's life requests go on, and none of them is refused for it."""
    service = TokenService(tmp_path, password=CANARY, life=life, rights={"app": ALL})
    async with service.server:
        registry = start_registry(settings=service.settings())
        app = Repository(Registry(registry.address), "app")
        trust = opened(registry.address, service)
        async with client(tmp_path, registry.address, {"auths": {registry.address: PASSWORD}}, trust) as wire:
            await push(wire, app)
            for _ in range(5):
                await asyncio.sleep(0.5)
                await wire.manifest(app, "v1")
    statuses = [each.status for each in registry.requests() if each.operation is not Operation.PING]
    assert 401 not in statuses


async def test_a_right_that_is_missing(tmp_path: Path, start_registry: Start) -> None:
    """A token that grants less than was asked for ends in a message that says who may not do what."""
    service = TokenService(tmp_path, password=CANARY, rights={"app": frozenset({"pull"})})
    async with service.server:
        registry = start_registry(settings=service.settings())
        app = Repository(Registry(registry.address), "app")
        trust = opened(registry.address, service)
        async with client(tmp_path, registry.address, {"auths": {registry.address: PASSWORD}}, trust) as wire:
            grants = [(await wire.authorize(app, push=push)).granted for push in (False, True)]
            with pytest.raises(RegistryError) as caught:
                await push(wire, app)
    expected = f"the credential for {registry.address} from ~/auth.json may pull but not push there"
    assert ([True, False], True) == (grants, expected in str(caught.value))


async def test_a_service_that_is_not_trusted(tmp_path: Path, start_registry: Start) -> None:
    """A service that is not the registry's own gets no password, and the message names the way to open it."""
    service = TokenService(tmp_path, password=CANARY, rights={"app": ALL})
    async with service.server as server:
        registry = start_registry(settings=service.settings())
        app = Repository(Registry(registry.address), "app")
        async with client(tmp_path, registry.address, {"auths": {registry.address: PASSWORD}}) as wire:
            with pytest.raises(RegistryError) as caught:
                await push(wire, app)
        shown = [each for each in server.requests if "authorization" in each.headers]
        expected = f"--trust-realm {registry.address}={server.address}"
    assert (True, []) == (expected in str(caught.value), shown)
