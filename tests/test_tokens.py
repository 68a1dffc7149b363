"""Token services as they are: how each is asked, and how long its tokens are believed to live."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ContentError, RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.quirks import Quirks
from mmgraph.registry.secrets import Credential, Secret
from mmgraph.registry.tokens import Demand, Reply, Token, TokenServices
from tests.support.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = Repository(Registry("registry.example.com"), "team/app")
SCOPES = ("repository:team/app:pull,push", "repository:team/base:pull")
DEMAND = Demand("bearer", "https://auth.example.com/token", "reg", trusted=True)
WALL = 1_800_000_000
PASSWORD = Credential("me", Secret("p"))
IDENTITY = Credential("me", identity_token=Secret("i"))


def header(password: str) -> dict[str, str]:
    """Return Basic's header."""
    return {"Authorization": f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"}


class Asked(msgspec.Struct, frozen=True):
    """One request to a token service."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def form(self) -> list[tuple[str, str]]:
        """What is in the body."""
        return parse_qsl((self.body or b"").decode())


class Service:
    """A token service that answers by method."""

    def __init__(self, **answers: tuple[int, Any]) -> None:
        self.asked: list[Asked] = []
        self._answers = answers
        self._services = TokenServices(ManualClock(wall=WALL), self, Quirks())

    async def __call__(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Answer one request."""
        self.asked.append(Asked(method, url, headers, body))
        status, content = self._answers[method]
        return Reply(status, content if isinstance(content, bytes) else json.dumps(content).encode())

    async def token(self, credential: Credential | None = None) -> Token:
        """Ask for a token."""
        return await self._services.token(DEMAND, APP, SCOPES, credential, "advice")

    async def life(self) -> float:
        """Return the seconds that a token is used for."""
        token = await self.token()
        return token.old - token.born

    @property
    def methods(self) -> list[str]:
        """What it was asked by."""
        return [asked.method for asked in self.asked]


async def test_get() -> None:
    """A password goes out as Basic; service, account and scopes in the query, the push scope first."""
    service = Service(GET=(200, {"token": "t"}))
    token = await service.token(PASSWORD)
    (asked,) = service.asked
    query = [("service", "reg"), ("account", "me"), *(("scope", scope) for scope in SCOPES)]
    assert (Secret("Bearer t"), header("p"), query) == (
        token.header,
        asked.headers,
        parse_qsl(urlsplit(asked.url).query),
    )


async def test_post() -> None:
    """An identity token goes out by POST, in the body and not in the URL."""
    service = Service(POST=(200, {"access_token": "t"}))
    await service.token(IDENTITY)
    (asked,) = service.asked
    expected = [
        ("service", "reg"),
        ("client_id", "mmgraph"),
        ("scope", " ".join(SCOPES)),
        ("grant_type", "refresh_token"),
        ("refresh_token", "i"),
    ]
    assert (DEMAND.realm, expected) == (asked.url, asked.form)


@pytest.mark.parametrize("status", [400, 401, 404, 405])
@pytest.mark.parametrize(
    ("credential", "password"), [(IDENTITY, "i"), (Credential("me", Secret("p"), Secret("i")), "p")]
)
async def test_a_service_without_post(status: int, credential: Credential, password: str) -> None:
    """GCR, ACR and Artifactory refuse the POST: GET is tried, with the password or else the token as one."""
    service = Service(POST=(status, {}), GET=(200, {"token": "t"}))
    await service.token(credential)
    assert (["POST", "GET"], header(password)) == (service.methods, service.asked[1].headers)


async def test_a_service_without_post_is_remembered() -> None:
    """What a service does not understand it is not asked again."""
    service = Service(POST=(404, {}), GET=(200, {"token": "t"}))
    await service.token(IDENTITY)
    await service.token(IDENTITY)
    expected = ["POST", "GET", "GET"]
    assert expected == service.methods


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_a_post_that_is_answered(status: int) -> None:
    """A refusal that does not come of the method is believed."""
    service = Service(POST=(status, {}))
    with pytest.raises(RegistryError, match=str(status)):
        await service.token(IDENTITY)


@pytest.mark.parametrize(("get", "expected"), [(404, 401), (405, 401), (401, 401), (403, 403)])
async def test_refused_both_ways(get: int, expected: int) -> None:
    """Refused by POST and GET, the answer that says more is reported."""
    service = Service(POST=(401, {}), GET=(get, {}))
    with pytest.raises(RegistryError) as caught:
        await service.token(IDENTITY)
    assert expected == caught.value.status


@pytest.mark.parametrize("status", [404, 405])
async def test_a_service_without_get(status: int) -> None:
    """A service of OAuth2's alone gets the password by POST."""
    service = Service(GET=(status, {}), POST=(200, {"access_token": "t"}))
    await service.token(PASSWORD)
    expected = [("grant_type", "password"), ("username", "me"), ("password", "p")]
    assert expected == service.asked[1].form[-3:]


async def test_a_wrong_password_is_sent_once() -> None:
    """A password that is refused is not tried in another way: accounts are locked for that."""
    service = Service(GET=(401, {}))
    with pytest.raises(
        RegistryError, match=r"401 with the login for registry\.example\.com/team/app; advice"
    ):
        await service.token(PASSWORD)
    expected = ["GET"]
    assert expected == service.methods


async def test_a_registry_token() -> None:
    """A finished token is used as it is, for ever."""
    service = Service()
    token = await service.token(Credential(registry_token=Secret("done")))
    assert (Secret("Bearer done"), True) == (token.header, token.lasts(1e12, 1e6))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, 50),
        ({"expires_in": 300}, 290),
        ({"expires_in": 4}, 2),
        ({"expires_in": 2}, 1),
        ({"expires_in": 0}, 50),
        ({"expires_in": 1e-300}, 50),
        ({"expires_in": -5}, 50),
        ({"expires_in": "300"}, 50),
        ({"expires_in": True}, 50),
        ({"expires_in": [1]}, 50),
        ({"expires_in": 10**12}, 86_390),
        ({"expires_in": 10**400}, 86_390),
        ({"expires_in": float("1e308")}, 86_390),
        ({"expires_in": 300, "issued_at": "2099-01-01T00:00:00Z"}, 290),
        ({"expires_in": 300, "issued_at": "2027-01-15T08:00:00Z"}, 290),
        ({"expires_in": 300, "issued_at": "2027-01-15T07:58:20Z"}, 190),
        ({"expires_in": 300, "issued_at": "2027-01-15T07:58:20.123456789Z"}, 190.123456),
        ({"expires_in": 300, "issued_at": "2027-01-15T07:55:30Z"}, 50),
        ({"expires_in": 300, "issued_at": "2027-01-15T07:00:00Z"}, 290),
        ({"expires_in": 300, "issued_at": "0001-01-01T00:00:00Z"}, 290),
        ({"expires_in": 300, "issued_at": "yesterday"}, 290),
        ({"expires_in": 300, "issued_at": 7}, 290),
    ],
)
async def test_life(answer: dict[str, Any], expected: float) -> None:
    """A token is used until shortly before its end, whatever the service's clock and arithmetic."""
    assert expected == pytest.approx(await Service(GET=(200, {"token": "t", **answer})).life(), abs=1e-3)


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
async def test_an_answer_without_a_token(body: bytes) -> None:
    """What is no token, or could smuggle a header, is an error."""
    with pytest.raises(ContentError, match="without a token"):
        await Service(GET=(200, body)).token()


async def test_a_huge_answer() -> None:
    """An answer over the limit is an error, although it may begin with a token."""
    with pytest.raises(ContentError, match="more than 131072 bytes"):
        await Service(GET=(200, b'{"token":"t"}' + b" " * (128 << 10))).token()


def jwt(claims: object) -> Secret:
    """Return a token as distribution's services make them, unsigned."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({}, claims, {}))
    return Secret(f"Bearer {b'.'.join(parts).decode()}")


def access(*names: str) -> dict[str, Any]:
    """Return claims for scopes."""
    parts = [name.rsplit(":", 1) for name in names]
    return {
        "access": [
            {"type": "repository", "name": name, "actions": actions.split(",")} for name, actions in parts
        ]
    }


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (jwt(access("team/app:pull,push", "team/base:pull")), True),
        (jwt(access("team/app:push", "team/app:pull", "team/base:*")), True),
        (jwt(access("team/app:pull", "team/base:pull")), False),
        (jwt(access("team/app:pull,push")), False),
        (jwt({"access": []}), False),
        (jwt({"access": [7, {"actions": 7}, {"actions": [7]}]}), False),
        (jwt({"sub": "me"}), None),
        (jwt([]), None),
        (Secret("Bearer a.b.c"), None),
        (Secret("Bearer opaque"), None),
    ],
)
def test_grants(header: Secret, expected: bool | None) -> None:
    """A token that lists what it allows is asked whether that is what was asked for."""
    assert expected is Token(header, 0, 1).grants(SCOPES)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "token": VALUES | st.just("a.e30.c"),
        "access_token": VALUES,
        "expires_in": VALUES,
        "issued_at": VALUES | st.datetimes().map(str),
    },
)


@given(st.binary(max_size=100) | (ANSWERS | VALUES).map(lambda value: json.dumps(value).encode()))
async def test_any_answer_is_taken(body: bytes) -> None:
    """Whatever a token service answers, a token of a bounded life or the declared error comes of it."""
    service = Service(GET=(200, body))
    try:
        token = await service.token()
    except ContentError:
        return
    token.grants(SCOPES)
    assert 0 < token.old - token.born <= 86_400
