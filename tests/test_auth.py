"""Tokens: who is asked for them, with what, how often, and who is not."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from mmgraph.errors import ContentError, RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.registry.auth import Authenticator
from mmgraph.registry.credentials import Credentials, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.clock import ManualClock

APP = Repository(Registry("registry.example.com"), "team/app")
URL = "https://registry.example.com/v2/team/app/manifests/v1"
PULL = ("repository:team/app:pull",)
MOUNT = ("repository:team/app:pull,push", "repository:team/base:pull")
BEARER = 'Bearer realm="https://auth.example.com/token",service="reg"'


class Asked(msgspec.Struct, frozen=True):
    """One request to a token service."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class Service:
    """A token service: numbered tokens, or the answers it is given."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[tuple[int, bytes]] = []
        self.extra: dict[str, Any] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        """Answer one request."""
        self.asked.append(Asked(method, url, headers, body))
        number = len(self.asked)
        await self.open.wait()
        if self.answers:
            return self.answers.pop(0)
        return 200, json.dumps({"token": f"t{number}", **self.extra}).encode()


class Rig:
    """An authenticator with a service, login files of its own, and the warnings it gave."""

    def __init__(self, clock: ManualClock, home: Path, login: Mapping[str, str] | None) -> None:
        self.service = Service()
        self.warnings: list[str] = []
        authfile = home / "auth.json"
        authfile.write_text(json.dumps({"auths": {"registry.example.com": login} if login else {}}))
        self.auth = Authenticator(Credentials({}, authfile), clock, self.service, self.warnings.append)

    def challenged(
        self, header: str = BEARER, scopes: tuple[str, ...] = PULL, sent: Secret | None = None
    ) -> bool:
        """Hand the authenticator a 401."""
        return self.auth.challenged(APP, scopes, URL, [header], sent)

    async def header(self, scopes: tuple[str, ...] = PULL) -> str | None:
        """Ask for a header, and see it."""
        secret = await self.auth.header(APP, scopes)
        return secret.reveal() if secret else None


@pytest.fixture
def anonymous(clock: ManualClock, tmp_path: Path) -> Rig:
    """Hand out a rig without a login."""
    return Rig(clock, tmp_path, None)


LOGIN = {"auth": base64.b64encode(b"me:secret").decode()}


@pytest.fixture
def known(clock: ManualClock, tmp_path: Path) -> Rig:
    """Hand out a rig that is logged in."""
    return Rig(clock, tmp_path, LOGIN)


async def test_nothing_is_sent_unasked(known: Rig) -> None:
    """Before a registry has asked for anything it gets nothing."""
    assert None is await known.header()
    assert not known.service.asked


async def test_an_anonymous_token(anonymous: Rig) -> None:
    """Without a login a token is asked for without one, with service and scopes in order."""
    anonymous.challenged()
    expected = "Bearer t1"
    assert expected == await anonymous.header(MOUNT)
    (asked,) = anonymous.service.asked
    query = parse_qsl(urlsplit(asked.url).query)
    assert (
        Asked("GET", asked.url, {}, None),
        [("service", "reg"), *(("scope", scope) for scope in MOUNT)],
    ) == (
        asked,
        query,
    )


async def test_a_token_with_a_login(known: Rig) -> None:
    """A login goes to the token service as Basic, and to the registry not at all."""
    known.challenged()
    expected = "Bearer t1"
    assert expected == await known.header()
    (asked,) = known.service.asked
    assert {"Authorization": f"Basic {LOGIN['auth']}"} == asked.headers
    assert "account=me" in asked.url


async def test_tokens_are_kept(anonymous: Rig) -> None:
    """The same scopes are asked for once, others once more."""
    anonymous.challenged()
    found = [await anonymous.header(scopes) for scopes in (PULL, PULL, MOUNT, PULL, MOUNT)]
    expected = ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t1", "Bearer t2"]
    assert expected == found


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        ({}, 50),
        ({"expires_in": 300}, 290),
        ({"expires_in": 4}, 2),
        ({"expires_in": 0}, 50),
        ({"expires_in": -5}, 50),
        ({"expires_in": "300"}, 50),
        ({"expires_in": True}, 50),
        ({"expires_in": 10**12}, 86_390),
        ({"expires_in": 300, "issued_at": "2099-01-01T00:00:00Z"}, 290),
    ],
)
async def test_tokens_grow_old(anonymous: Rig, clock: ManualClock, answer: dict[str, Any], life: int) -> None:
    """A token is renewed shortly before its end, whatever the service's clock and arithmetic."""
    anonymous.service.extra = answer
    anonymous.challenged()
    await anonymous.header()
    await clock.advance(life - 1)
    before = await anonymous.header()
    await clock.advance(1)
    expected = ("Bearer t1", "Bearer t2")
    assert expected == (before, await anonymous.header())


async def test_one_flight(anonymous: Rig) -> None:
    """However many need a token, it is asked for once."""
    anonymous.challenged()
    anonymous.service.open.clear()
    tasks = [asyncio.create_task(anonymous.header()) for _ in range(500)]
    await asyncio.sleep(0)
    anonymous.service.open.set()
    found = set(await asyncio.gather(*tasks))
    assert ({"Bearer t1"}, 1) == (found, len(anonymous.service.asked))


async def test_a_cancelled_caller_takes_nothing_away(anonymous: Rig) -> None:
    """The others who wait for a token get it although the first of them was cancelled."""
    anonymous.challenged()
    anonymous.service.open.clear()
    first, second = (asyncio.create_task(anonymous.header()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    anonymous.service.open.set()
    expected = ("Bearer t1", 1)
    assert expected == (await second, len(anonymous.service.asked))


async def test_close_ends_flights(anonymous: Rig) -> None:
    """Closing cancels token requests under way, and their waiters with them."""
    anonymous.challenged()
    anonymous.service.open.clear()
    waiter = asyncio.create_task(anonymous.header())
    await asyncio.sleep(0)
    await anonymous.auth.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_a_failed_flight_is_not_kept(anonymous: Rig) -> None:
    """After a failure the next caller asks again."""
    anonymous.challenged()
    anonymous.service.answers = [(403, b'{"errors":[{"code":"DENIED","message":"no"}]}')]
    with pytest.raises(RegistryError, match=r"403 without a login .* DENIED") as caught:
        await anonymous.header()
    expected = "Bearer t2"
    assert expected == await anonymous.header()
    wanted = (403, ("DENIED",))
    assert wanted == (caught.value.status, caught.value.codes)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'"t"',
        b'{"token":""}',
        b'{"token":7}',
        b'{"token":"a\\r\\nb"}',
        b"[" * 60_000,
        b"\xff",
    ],
)
async def test_an_answer_without_a_token(anonymous: Rig, body: bytes) -> None:
    """What is no token, or could smuggle a header, is an error."""
    anonymous.challenged()
    anonymous.service.answers = [(200, body)]
    with pytest.raises(ContentError, match="without a token"):
        await anonymous.header()


async def test_a_huge_answer(anonymous: Rig) -> None:
    """An answer over the limit is an error, although it may begin with a token."""
    anonymous.challenged()
    anonymous.service.answers = [(200, b'{"token":"t"}' + b" " * (128 << 10))]
    with pytest.raises(ContentError, match="more than 131072 bytes"):
        await anonymous.header()


async def test_access_token(anonymous: Rig) -> None:
    """OAuth2's name for the token is understood too."""
    anonymous.challenged()
    anonymous.service.answers = [(200, b'{"access_token":"a"}')]
    expected = "Bearer a"
    assert expected == await anonymous.header()


async def test_an_identity_token(clock: ManualClock, tmp_path: Path) -> None:
    """A refresh token goes out by POST, in the body and not in the URL."""
    rig = Rig(clock, tmp_path, {"identitytoken": "refresh"})
    rig.challenged()
    await rig.header(MOUNT)
    (asked,) = rig.service.asked
    assert Asked("POST", "https://auth.example.com/token", asked.headers, asked.body) == asked
    assert asked.body is not None
    expected = [
        ("grant_type", "refresh_token"),
        ("service", "reg"),
        ("client_id", "mmgraph"),
        ("scope", " ".join(MOUNT)),
        ("refresh_token", "refresh"),
    ]
    assert expected == parse_qsl(asked.body.decode())


@pytest.mark.parametrize("status", [400, 401, 404, 405])
async def test_an_identity_token_that_is_not_taken(clock: ManualClock, tmp_path: Path, status: int) -> None:
    """A service that knows no POST is asked by GET where there is a password."""
    rig = Rig(clock, tmp_path, {**LOGIN, "identitytoken": "refresh"})
    rig.service.answers = [(status, b"")]
    rig.challenged()
    await rig.header()
    expected = ["POST", "GET"]
    assert expected == [asked.method for asked in rig.service.asked]


async def test_a_registry_token(clock: ManualClock, tmp_path: Path) -> None:
    """A finished token is used as it is; refused once, it is not sent again."""
    rig = Rig(clock, tmp_path, {"registrytoken": "done"})
    assert rig.challenged()
    expected = "Bearer done"
    assert expected == await rig.header()
    assert not rig.service.asked
    assert not rig.challenged(sent=Secret("Bearer done"))


async def test_basic(known: Rig) -> None:
    """Where Basic is asked for, the login is sent, and not a second time after a refusal."""
    assert known.challenged('Basic realm="x"')
    expected = f"Basic {LOGIN['auth']}"
    assert expected == await known.header()
    assert not known.challenged('Basic realm="x"', sent=Secret(expected))


async def test_basic_without_a_login(anonymous: Rig) -> None:
    """Where Basic is asked for and there is no login, repeating is of no use."""
    assert not anonymous.challenged('Basic realm="x"')
    assert None is await anonymous.header()


async def test_bearer_before_basic(known: Rig) -> None:
    """Offered both, the token is taken, since it can do less."""
    known.challenged(f'Basic realm="x", {BEARER}')
    expected = "Bearer t1"
    assert expected == await known.header()


async def test_a_refused_token_is_renewed(anonymous: Rig) -> None:
    """A 401 to a token makes it old; a 401 to an older one leaves the new one alone."""
    anonymous.challenged()
    old = await anonymous.auth.header(APP, PULL)
    assert anonymous.challenged(sent=old)
    expected = "Bearer t2"
    assert expected == await anonymous.header()
    assert anonymous.challenged(sent=old)
    assert expected == await anonymous.header()


async def test_a_401_without_a_challenge(anonymous: Rig) -> None:
    """A 401 that says nothing renews a token where tokens are wanted (GCR), and is final elsewhere."""
    assert not anonymous.auth.challenged(APP, PULL, URL, [], None)
    anonymous.challenged()
    sent = await anonymous.auth.header(APP, PULL)
    assert anonymous.auth.challenged(APP, PULL, URL, [], sent)


async def test_a_foreign_realm_gets_no_password(known: Rig) -> None:
    """A realm elsewhere is asked anonymously, and a person is told, once."""
    known.challenged('Bearer realm="https://evil.net/token"')
    await known.header(PULL)
    await known.header(MOUNT)
    expected: list[dict[str, str]] = [{}, {}]
    assert expected == [asked.headers for asked in known.service.asked]
    assert not any("account" in asked.url for asked in known.service.asked)
    (warning,) = known.warnings
    assert "https://evil.net:443" in warning


@pytest.mark.parametrize("realm", ["http://auth.example.com/token", "file:///etc/passwd", "https://u:p@h/"])
async def test_a_realm_not_to_be_asked(known: Rig, realm: str) -> None:
    """A realm without TLS, or that is no address, is an error and asked nothing."""
    with pytest.raises(RegistryError, match="not to be asked"):
        known.challenged(f'Bearer realm="{realm}"')
    assert not known.service.asked
