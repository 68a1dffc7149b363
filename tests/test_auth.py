"""Tokens: who is asked for them, with what, how often, and who is not."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmgraph.errors import RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.quirks import Quirks
from mmgraph.registry.auth import Authenticator
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.origins import Trust
from mmgraph.registry.secrets import Secret
from mmgraph.registry.tokens import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.clock import ManualClock

APP = Repository(Registry("registry.example.com"), "team/app")
URL = "https://registry.example.com/v2/team/app/manifests/v1"
PULL = ("repository:team/app:pull",)
MOUNT = ("repository:team/app:pull,push", "repository:team/base:pull")
BEARER = 'Bearer realm="https://auth.example.com/token",service="reg"'


REFUSED = (401, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}')


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
        self.cancelled = 0
        self.answers: list[tuple[int, bytes]] = []
        self.extra: dict[str, Any] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Answer one request."""
        self.asked.append(Asked(method, url, headers, body))
        number = len(self.asked)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.answers:
            return Reply(*self.answers.pop(0))
        return Reply(200, json.dumps({"token": f"t{number}", **self.extra}).encode())


class Rig:
    """An authenticator with a service, login files of its own, and the warnings it gave."""

    def __init__(self, clock: ManualClock, home: Path, login: Mapping[str, str] | None) -> None:
        self.service = Service()
        self.warnings: list[str] = []
        authfile = home / "auth.json"
        authfile.write_text(json.dumps({"auths": {"registry.example.com": login} if login else {}}))
        self.quirks = Quirks()
        self.pings = 0
        self.ping_answer: tuple[int, str, list[str]] = (200, "https://registry.example.com/v2/", [])
        self.auth = Authenticator(
            Credentials({"PATH": f"{home}:/usr/bin:/bin"}, authfile, home, clock=clock),
            clock,
            self.service,
            self.warnings.append,
            self.quirks,
            Trust(),
            self.ping,
        )

    async def ping(self, registry: Registry) -> tuple[int, str, list[str]]:
        """Answer a ping."""
        self.pings += 1
        await asyncio.sleep(0)
        return self.ping_answer

    async def challenged(
        self, header: str | None = BEARER, scopes: tuple[str, ...] = PULL, sent: Secret | None = None
    ) -> bool:
        """Hand the authenticator a 401."""
        return await self.auth.challenged(APP, scopes, URL, [header] if header else [], sent)

    async def header(self, scopes: tuple[str, ...] = PULL, needed_seconds: float = 0.0) -> str | None:
        """Ask for a header, and see it."""
        secret = await self.auth.header(APP, scopes, needed_seconds)
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


async def test_nothing_is_asked_without_a_login(anonymous: Rig) -> None:
    """Who has no login sends nothing before the registry has asked for something, and does not ask what."""
    assert None is await anonymous.header()
    assert (0, []) == (anonymous.pings, anonymous.service.asked)


async def test_a_login_is_announced(known: Rig) -> None:
    """Who has a login asks the registry first how to show it: it might answer a stranger with 404."""
    known.ping_answer = (401, "https://registry.example.com/v2/", [BEARER])
    expected = "Bearer t1"
    assert [expected] * 9 == await asyncio.gather(*(known.header() for _ in range(9)))
    assert [1, 1] == [known.pings, len(known.service.asked)]


async def test_a_registry_that_asks_for_nothing(known: Rig) -> None:
    """A registry whose ping says nothing is sent nothing, and pinged once."""
    found = [await known.header() for _ in range(3)]
    expected: tuple[list[None], int] = ([None] * 3, 1)
    assert expected == (found, known.pings)


async def test_a_ping_that_says_nothing_yet(known: Rig) -> None:
    """A registry too busy to answer a ping is pinged again."""
    known.ping_answer = (503, "https://registry.example.com/v2/", [])
    await known.header()
    known.ping_answer = (401, "https://registry.example.com/v2/", [BEARER])
    expected = "Bearer t1"
    assert expected == await known.header()


async def test_a_ping_of_somebody_elses(known: Rig) -> None:
    """What is known from a ping that was sent for another reason is not asked again."""
    known.auth.pinged(APP.registry, "https://registry.example.com/v2/", 401, [BEARER])
    expected = ("Bearer t1", 0)
    assert expected == (await known.header(), known.pings)


async def test_a_stranger_is_not_announced(anonymous: Rig) -> None:
    """Who has no login asks for no token before a refusal: the service may refuse what the registry grants."""
    anonymous.auth.pinged(APP.registry, "https://registry.example.com/v2/", 401, [BEARER])
    before = await anonymous.header()
    await anonymous.challenged(None)
    expected = (None, "Bearer t1", 0)
    assert expected == (before, await anonymous.header(), anonymous.pings)


async def test_what_another_repository_asked_for(anonymous: Rig) -> None:
    """A service that refuses strangers keeps nobody from a public repository beside a private one."""
    private = ("repository:team/private:pull",)
    await anonymous.challenged(scopes=private)
    anonymous.service.answers = [REFUSED] * 9
    with pytest.raises(RegistryError):
        await anonymous.header(private)
    asked = [await anonymous.header(), await anonymous.header()]
    await anonymous.challenged()
    with pytest.raises(RegistryError):
        await anonymous.header()
    expected: tuple[list[None], int] = ([None, None], 3)
    assert expected == (asked, len(anonymous.service.asked))


async def test_a_ping_that_names_a_realm_not_to_be_asked(known: Rig) -> None:
    """A realm that is not to be asked is the failure of the request that needs it, not of all."""
    known.ping_answer = (401, "https://registry.example.com/v2/", ['Bearer realm="http://auth.example.com/"'])
    assert None is await known.header()
    with pytest.raises(RegistryError, match="not to be asked"):
        await known.challenged('Bearer realm="http://auth.example.com/"')


async def test_a_401_without_a_challenge(anonymous: Rig) -> None:
    """A 401 that says nothing is explained by a ping (GCR, containers/image#211)."""
    anonymous.ping_answer = (401, "https://registry.example.com/v2/", [BEARER])
    assert await anonymous.challenged(None)
    expected = ("Bearer t1", 1)
    assert expected == (await anonymous.header(), anonymous.pings)


async def test_a_401_that_nothing_explains(anonymous: Rig) -> None:
    """Where the ping says nothing either, repeating is of no use."""
    assert not await anonymous.challenged(None)
    assert not await anonymous.challenged(None)
    expected = 1
    assert expected == anonymous.pings


async def test_the_last_challenge_is_remembered(anonymous: Rig) -> None:
    """A 401 that says nothing renews a token where tokens are wanted."""
    await anonymous.challenged()
    sent = await anonymous.auth.header(APP, PULL)
    assert await anonymous.challenged(None, sent=sent)
    expected = ("Bearer t2", 0)
    assert expected == (await anonymous.header(), anonymous.pings)


async def test_an_anonymous_token(anonymous: Rig) -> None:
    """Without a login a token is asked for without one, with service and scopes in order."""
    await anonymous.challenged()
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
    await known.challenged()
    expected = "Bearer t1"
    assert expected == await known.header()
    (asked,) = known.service.asked
    assert {"Authorization": f"Basic {LOGIN['auth']}"} == asked.headers
    assert "account=me" in asked.url


async def test_tokens_are_kept(anonymous: Rig) -> None:
    """The same scopes are asked for once, others once more."""
    await anonymous.challenged()
    found = [await anonymous.header(scopes) for scopes in (PULL, PULL, MOUNT, PULL, MOUNT)]
    expected = ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t1", "Bearer t2"]
    assert expected == found


async def test_one_flight(anonymous: Rig) -> None:
    """However many need a token, it is asked for once."""
    await anonymous.challenged()
    anonymous.service.open.clear()
    tasks = [asyncio.create_task(anonymous.header()) for _ in range(500)]
    await asyncio.sleep(0)
    anonymous.service.open.set()
    found = set(await asyncio.gather(*tasks))
    assert ({"Bearer t1"}, 1) == (found, len(anonymous.service.asked))


async def test_a_cancelled_caller_takes_nothing_away(anonymous: Rig) -> None:
    """The others who wait for a token get it although the first of them was cancelled."""
    await anonymous.challenged()
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
    await anonymous.challenged()
    anonymous.service.open.clear()
    waiter = asyncio.create_task(anonymous.header())
    await asyncio.sleep(0)
    await anonymous.auth.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_a_failed_flight_is_not_kept(anonymous: Rig) -> None:
    """After a failure the next caller asks again."""
    await anonymous.challenged()
    anonymous.service.answers = [(403, b'{"errors":[{"code":"DENIED","message":"no"}]}')]
    with pytest.raises(RegistryError, match=r"403 without a login .* DENIED") as caught:
        await anonymous.header()
    expected = "Bearer t2"
    assert expected == await anonymous.header()
    wanted = (403, ("DENIED",))
    assert wanted == (caught.value.status, caught.value.codes)


async def test_a_registry_token(clock: ManualClock, tmp_path: Path) -> None:
    """A finished token is used as it is; refused once, it is not sent again."""
    rig = Rig(clock, tmp_path, {"registrytoken": "done"})
    assert await rig.challenged()
    expected = "Bearer done"
    assert expected == await rig.header()
    assert not rig.service.asked
    assert not await rig.challenged(sent=Secret("Bearer done"))


async def test_basic(known: Rig) -> None:
    """Where Basic is asked for, the login is sent, and not a second time after a refusal."""
    assert await known.challenged('Basic realm="x"')
    expected = f"Basic {LOGIN['auth']}"
    assert expected == await known.header()
    assert not await known.challenged('Basic realm="x"', sent=Secret(expected))


async def test_basic_without_a_login(anonymous: Rig) -> None:
    """Where Basic is asked for and there is no login, repeating is of no use."""
    assert not await anonymous.challenged('Basic realm="x"')
    assert None is await anonymous.header()


async def test_bearer_before_basic(known: Rig) -> None:
    """Offered both, the token is taken, since it can do less."""
    await known.challenged(f'Basic realm="x", {BEARER}')
    expected = "Bearer t1"
    assert expected == await known.header()


async def test_a_refused_token_is_renewed(anonymous: Rig) -> None:
    """A 401 to a token makes it old; a 401 to an older one leaves the new one alone."""
    await anonymous.challenged()
    old = await anonymous.auth.header(APP, PULL)
    assert await anonymous.challenged(sent=old)
    expected = "Bearer t2"
    assert expected == await anonymous.header()
    assert await anonymous.challenged(sent=old)
    assert expected == await anonymous.header()


async def test_a_foreign_realm_gets_no_password(known: Rig) -> None:
    """A realm elsewhere is asked anonymously, and a person is told, once."""
    await known.challenged('Bearer realm="https://evil.net/token"')
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
        await known.challenged(f'Bearer realm="{realm}"')
    assert not known.service.asked


@pytest.mark.parametrize(
    ("life", "age", "needed", "expected"),
    [
        (300, 0, 100, 1),
        (300, 100, 100, 1),
        (300, 195, 100, 2),
        (300, 10, 10_000, 1),
        (300, 60, 10_000, 2),
        (60, 3, 3600, 1),
        (60, 40, 20, 2),
        (2, 0, 3600, 1),
    ],
)
async def test_before_a_long_upload(
    anonymous: Rig, clock: ManualClock, life: int, age: int, needed: int, expected: int
) -> None:
    """A token that would end in mid-upload is renewed before it, where a new one is any better."""
    anonymous.service.extra = {"expires_in": life}
    await anonymous.challenged()
    await anonymous.header()
    await clock.advance(age)
    await anonymous.header(needed_seconds=needed)
    assert expected == len(anonymous.service.asked)


async def test_a_revoked_token_is_renewed_once(anonymous: Rig) -> None:
    """Five hundred requests that get 401 for one token fetch one new token."""
    await anonymous.challenged()
    sent = await anonymous.auth.header(APP, PULL)

    async def refused() -> str | None:
        await anonymous.challenged(sent=sent)
        return await anonymous.header()

    found = set(await asyncio.gather(*(refused() for _ in range(500))))
    assert ({"Bearer t2"}, 2) == (found, len(anonymous.service.asked))


async def test_the_last_caller_takes_the_flight_along(anonymous: Rig) -> None:
    """When everybody who waits for a token is cancelled, so is its request."""
    await anonymous.challenged()
    anonymous.service.open.clear()
    tasks = [asyncio.create_task(anonymous.header()) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await anonymous.auth.close()
    assert 1 == anonymous.service.cancelled


async def test_close_ends_helpers(clock: ManualClock, tmp_path: Path) -> None:
    """Closing kills a helper that is being asked."""
    rig = Rig(clock, tmp_path, None)
    script = tmp_path / "docker-credential-slow"
    script.write_text(f"#!/bin/sh\necho >{tmp_path}/started\nexec sleep 1000\n")
    script.chmod(0o755)
    (tmp_path / "auth.json").write_text(json.dumps({"credsStore": "slow"}))
    task = asyncio.create_task(rig.header())
    while not (tmp_path / "started").exists():
        await asyncio.sleep(0.01)
    await rig.auth.close()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("header", "scopes", "status", "expected"),
    [
        (BEARER, PULL, 403, "the credential for registry.example.com from ~/auth.json may not pull there"),
        (BEARER, MOUNT, 403, "the credential for registry.example.com from ~/auth.json may not push there"),
        (BEARER, MOUNT, 401, "the credential for registry.example.com from ~/auth.json may not push there"),
        ("Basic", PULL, 401, "the credential for registry.example.com from ~/auth.json is not taken"),
        ("Basic", PULL, 403, "the credential for registry.example.com from ~/auth.json may not pull there"),
        ('Bearer realm="https://evil.net/t"', PULL, 401, "from ~/auth.json was not sent, since"),
        (None, PULL, 403, "the credential for registry.example.com from ~/auth.json was not asked for"),
    ],
)
async def test_advice(
    known: Rig, header: str | None, scopes: tuple[str, ...], status: int, expected: str
) -> None:
    """Who is refused with a login hears whose it is, what it may not, and where it came from."""
    await known.challenged(header, scopes)
    assert expected in await known.auth.advice(APP, scopes, status)


@pytest.mark.parametrize(
    ("where", "scopes", "expected"),
    [
        (APP, PULL, "may pull but not push there"),
        (APP, MOUNT, "may not push there"),
        (Repository(APP.registry, "other"), PULL, "may not push there"),
    ],
)
async def test_advice_after_a_pull(
    known: Rig, where: Repository, scopes: tuple[str, ...], expected: str
) -> None:
    """Where no token tells, a pull that the same repository has let in does."""
    await known.challenged("Basic", MOUNT)
    known.auth.let_in(where, scopes)
    assert expected in await known.auth.advice(APP, MOUNT, 403)


async def test_advice_without_a_login(anonymous: Rig) -> None:
    """Who is refused without a login hears how to have one."""
    expected = (
        "there is no credential for registry.example.com: docker login registry.example.com,"
        " or name another file with --authfile"
    )
    assert expected == await anonymous.auth.advice(APP, PULL, 401)


async def test_a_wrong_login_is_named(known: Rig) -> None:
    """A token service's refusal names the file and key that the login came from, and not the login."""
    await known.challenged()
    known.service.answers = [REFUSED, REFUSED]
    with pytest.raises(RegistryError) as caught:
        await known.header()
    expected = (
        "the token service https://auth.example.com/token answered 401 with the login for"
        " registry.example.com/team/app: UNAUTHORIZED: no; the credential for registry.example.com from"
        " ~/auth.json is not taken: docker login registry.example.com, or name another file with --authfile"
    )
    assert expected == str(caught.value)


async def test_a_wrong_login_is_shown_twice_at_most(known: Rig) -> None:
    """However many images want tokens, a password that was refused without any scope is not sent again."""
    await known.challenged()
    known.service.answers = [REFUSED] * 1000
    found = await asyncio.gather(
        *(known.header((f"repository:team/app{number}:pull",)) for number in range(100)),
        return_exceptions=True,
    )
    assert ({RegistryError}, 2) == ({type(each) for each in found}, len(known.service.asked))


async def test_a_login_that_is_refused_for_what_it_asks(known: Rig) -> None:
    """A 401 that means a scope (ACR) does not keep other images from their tokens."""
    await known.challenged()
    known.service.answers = [REFUSED]
    found = await asyncio.gather(
        *(known.header((f"repository:team/app{number}:pull",)) for number in range(3)), return_exceptions=True
    )
    expected = "may not pull there"
    assert (True, ["Bearer t3", "Bearer t4"]) == (expected in str(found[0]), sorted(map(str, found[1:])))


async def test_a_busy_token_service_is_asked_by_all(known: Rig) -> None:
    """A failure that says nothing about the login lets all others ask at once."""
    await known.challenged()
    known.service.answers = [(503, b"")]
    with pytest.raises(RegistryError, match="503"):
        await known.header()
    known.service.open.clear()
    tasks = [asyncio.create_task(known.header((f"repository:team/app{number}:pull",))) for number in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    under_way = len(known.service.asked) - 1
    known.service.open.set()
    await asyncio.gather(*tasks)
    expected = 5
    assert expected == under_way


@given(
    st.lists(st.text(alphabet=st.sampled_from('BearrBsic ="/:,\\\x00é0htp') | st.characters()), max_size=2)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_challenge_is_taken(known: Rig, headers: list[str]) -> None:
    """Whatever a registry asks for, only the declared error comes of it."""
    with suppress(RegistryError):
        await known.auth.challenged(APP, PULL, URL, headers, None)
        await known.header()
