"""Basic and Bearer authentication as the server asks for it."""

from __future__ import annotations

import base64
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from mmgraph.names import Digest
from mmgraph.server import Basic, Bearer, MemoryStorage, RegistryServer
from mmgraph.store import Operation
from tests.support import skopeo
from tests.support.clock import ManualClock
from tests.test_server import Client, digest_of, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mmgraph.server import Auth

DIGEST = digest_of(b"content")


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header that sends a user and a password."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


RIGHT = basic("user", "secret")


@asynccontextmanager
async def guarded(auth: Auth) -> AsyncIterator[tuple[RegistryServer, Client]]:
    """Start a registry with ``auth`` that holds a blob in the repository ``a``."""
    storage = MemoryStorage()
    upload = storage.upload("a")
    upload.write(b"content")
    upload.commit(Digest.parse(DIGEST))
    async with RegistryServer(storage, auth=auth) as server, talk(server) as client:
        yield server, client


async def token(client: Client, *scopes: str, headers: dict[str, str] | None = None) -> dict[str, str]:
    """Get a token for ``scopes`` and return the header that sends it."""
    query = "&".join(["service=mmgraph", *(f"scope={scope}" for scope in scopes)])
    reply = await client.ask("GET", f"/token?{query}", headers=RIGHT if headers is None else headers)
    return {"Authorization": f"Bearer {json.loads(reply.body)['token']}"}


async def test_basic_challenge() -> None:
    """A request without credentials is told to send some."""
    async with guarded(Basic("user", "secret")) as (_, client):
        reply = await client.ask("GET", "/v2/")

        assert (401, "UNAUTHORIZED") == (reply.status, reply.code)
        assert 'Basic realm="mmgraph"' == reply.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (RIGHT, 200),
        (basic("user", "wrong"), 401),
        (basic("other", "secret"), 401),
        ({"Authorization": "Basic !"}, 401),
        ({"Authorization": "Basic \xff"}, 401),
        ({"Authorization": "Basic /w=="}, 401),
        ({"Authorization": "Bearer x"}, 401),
    ],
)
async def test_basic(headers: dict[str, str], status: int) -> None:
    """A request passes with the right user and password only."""
    async with guarded(Basic("user", "secret")) as (_, client):
        assert status == (await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=headers)).status


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", f"/v2/a/blobs/{DIGEST}", ',scope="repository:a:pull"'),
        ("HEAD", "/v2/a/manifests/1", ',scope="repository:a:pull"'),
        ("POST", "/v2/a/blobs/uploads/", ',scope="repository:a:pull,push"'),
        ("PUT", "/v2/a/manifests/1", ',scope="repository:a:pull,push"'),
        ("GET", "/v2/", ""),
    ],
)
async def test_bearer_challenge(method: str, path: str, scope: str) -> None:
    """A request without a token is told where to get one and with which scope."""
    async with guarded(Bearer("user", "secret")) as (server, client):
        reply = await client.ask(method, path)

        assert 401 == reply.status
        assert (
            f'Bearer realm="{server.url}/token",service="mmgraph"{scope}' == reply.headers["WWW-Authenticate"]
        )


async def test_bearer_token() -> None:
    """A token is good for its scope and its repository only."""
    async with guarded(Bearer("user", "secret")) as (_, client):
        header = await token(client, "repository:a:pull")
        push = await client.ask("POST", "/v2/a/blobs/uploads/", headers=header)

        assert 200 == (await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=header)).status
        assert 401 == (await client.ask("GET", f"/v2/b/blobs/{DIGEST}", headers=header)).status
        assert 401 == push.status
        assert push.headers["WWW-Authenticate"].endswith(',error="insufficient_scope"')


async def test_token_expires() -> None:
    """A token is worthless after its life."""
    clock = ManualClock()
    async with guarded(Bearer("user", "secret", life=60, clock=clock)) as (_, client):
        header = await token(client, "repository:a:pull")
        await clock.advance(59)
        assert 200 == (await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=header)).status
        await clock.advance(1)
        reply = await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=header)

        assert 401 == reply.status
        assert reply.headers["WWW-Authenticate"].endswith(',error="invalid_token"')


async def test_revoked_token() -> None:
    """A revoked token is worthless."""
    auth = Bearer("user", "secret")
    async with guarded(auth) as (_, client):
        header = await token(client, "repository:a:pull")
        auth.revoke()

        assert 401 == (await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=header)).status


async def test_token_answer() -> None:
    """A token comes with its life and its date."""
    clock = ManualClock(wall=0)
    async with guarded(Bearer("user", "secret", life=60, clock=clock)) as (_, client):
        body = json.loads((await client.ask("GET", "/token?scope=repository:a:pull")).body)

        assert body["token"] == body["access_token"]
        assert (60, "1970-01-01T00:00:00Z") == (body["expires_in"], body["issued_at"])


async def test_anonymous_token() -> None:
    """Without credentials a token is for reading only."""
    async with guarded(Bearer("user", "secret")) as (_, client):
        header = await token(client, "repository:a:pull,push", headers={})

        assert 200 == (await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=header)).status
        assert 401 == (await client.ask("POST", "/v2/a/blobs/uploads/", headers=header)).status


@pytest.mark.parametrize("headers", [{}, basic("user", "wrong")])
async def test_no_token(headers: dict[str, str]) -> None:
    """A registry can refuse tokens to those it does not know."""
    async with guarded(Bearer("user", "secret", anonymous=False)) as (_, client):
        reply = await client.ask("GET", "/token?scope=repository:a:pull", headers=headers)

        assert (401, "UNAUTHORIZED") == (reply.status, reply.code)


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        (("repository:b:pull,push", "repository:a:pull"), 201),
        (("repository:b:pull,push%20repository:a:pull",), 201),
        (("repository:b:pull,push",), 202),
    ],
)
async def test_mount_needs_pull_there(scopes: tuple[str, ...], status: int) -> None:
    """A mount is granted to a token that may read the other repository, and is an upload otherwise."""
    async with guarded(Bearer("user", "secret")) as (_, client):
        header = await token(client, *scopes)
        path = f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a"

        assert status == (await client.ask("POST", path, headers=header)).status


async def test_denied_repository() -> None:
    """No token is ever good for a denied repository."""
    async with guarded(Bearer("user", "secret", denied=["a*"])) as (_, client):
        header = await token(client, "repository:a:pull")

        assert 401 == (await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=header)).status


async def test_first_scope_only() -> None:
    """A registry can read nothing but the first scope."""
    async with guarded(Bearer("user", "secret", first_scope_only=True)) as (_, client):
        header = await token(client, "repository:b:pull", "repository:a:pull")

        assert 401 == (await client.ask("GET", f"/v2/a/blobs/{DIGEST}", headers=header)).status


@pytest.mark.parametrize(("cancel", "status"), [("push", 204), ("delete", 401)])
async def test_cancelling_can_need_more(cancel: str, status: int) -> None:
    """Ending a session needs the right to push, or as in distribution to delete."""
    async with guarded(Bearer("user", "secret", cancel=cancel)) as (_, client):
        header = await token(client, "repository:a:pull,push")
        opened = await client.ask("POST", "/v2/a/blobs/uploads/", headers=header)

        assert status == (await client.ask("DELETE", opened.headers["Location"], headers=header)).status


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("grant_type=password&username=user&password=secret", 200),
        ("grant_type=password&username=user&password=wrong", 401),
        ("grant_type=refresh_token&refresh_token=again", 200),
        ("grant_type=refresh_token&refresh_token=wrong", 401),
        ("", 401),
    ],
)
async def test_token_by_post(form: str, status: int) -> None:
    """A token is also had by POST, for a password or for a refresh token."""
    async with guarded(Bearer("user", "secret", refresh_token="again")) as (_, client):
        body = f"service=mmgraph&scope=repository:a:pull&{form}".encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}

        assert status == (await client.ask("POST", "/token", body, headers)).status


async def test_no_token_by_post() -> None:
    """A registry can have no POST at its token endpoint."""
    async with guarded(Bearer("user", "secret", post_status=404)) as (_, client):
        assert 404 == (await client.ask("POST", "/token", b"grant_type=password")).status


@pytest.mark.parametrize("auth", [None, Basic("user", "secret")])
async def test_no_token_endpoint(auth: Auth | None) -> None:
    """Without Bearer there is no token endpoint."""
    async with RegistryServer(MemoryStorage(), auth=auth) as server, talk(server) as client:
        assert 404 == (await client.ask("GET", "/token")).status


async def test_other_realm() -> None:
    """A challenge can name any realm and service."""
    auth = Bearer("user", "secret", realm="https://auth.example/t", service="r.example")
    async with guarded(auth) as (_, client):
        challenge = (await client.ask("GET", "/v2/")).headers["WWW-Authenticate"]

        assert 'Bearer realm="https://auth.example/t",service="r.example"' == challenge


async def test_token_log() -> None:
    """Requests for tokens are logged with their scopes, and without any secret."""
    async with guarded(Bearer("user", "secret")) as (server, client):
        header = await token(client, "repository:b:pull,push", "repository:a:pull")
        entry = server.log.select(Operation.TOKEN)[0]

        assert ("repository:b:pull,push", "repository:a:pull") == entry.scopes
        assert "Basic" == entry.authorization
        assert not re.search(f"secret|{header['Authorization'].split()[1]}", repr(entry))


@pytest.mark.parametrize("auth", [Basic("user", "secret"), Bearer("user", "secret", anonymous=False)])
async def test_skopeo_logs_in(auth: Auth) -> None:
    """skopeo copies an image within a registry that wants credentials."""
    storage = MemoryStorage()
    async with RegistryServer(storage) as server, talk(server) as client:
        await client.push_image("a", "1")
    async with RegistryServer(storage, auth=auth) as server:
        options = ("--src-tls-verify=false", "--dest-tls-verify=false")
        logins = ("--src-creds=user:secret", "--dest-creds=user:secret")
        source, target = f"docker://{server.address}/a:1", f"docker://{server.address}/b:2"
        await skopeo.run("copy", *options, *logins, "--preserve-digests", source, target)

    assert storage.tags("a")["1"] == storage.tags("b")["2"]
