"""One request and all it takes: repetition, pauses, redirects, TLS, tokens, and what is not sent or kept."""

from __future__ import annotations

import asyncio
import json
import random
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.errors import ContentError, MmgraphError, NetworkError, RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from mmgraph.registry.watch import TICK
from mmgraph.server import Basic, Bearer, MemoryStorage, Redirect, RegistryServer, Rule
from mmgraph.store import Operation, RawManifest, Upload
from tests.support.authority import Authority
from tests.support.raw import Raw, Request, answer, script
from tests.test_client import BLOB, SHORT, JumpClock, chunks, digest_of, push, push_image, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import ManualClock

OK = answer(200, docker_content_digest=digest_of(b"x"))


def at(server: RegistryServer | Raw, path: str = "team/app") -> Repository:
    """Return a repository there."""
    return Repository(Registry(server.address), path)


def client(clock: Any = None, **options: Any) -> Client:
    """Return a client without logins whose jitter is repeatable and takes no time."""
    options.setdefault(
        "credentials", Credentials({"XDG_RUNTIME_DIR": "/nonexistent", "HOME": "/nonexistent"})
    )
    return Client(clock=clock or JumpClock(), chance=random.Random(1), **options)


def plain(server: Raw, clock: Any = None, **options: Any) -> Client:
    """Return a client that asks this server nothing of its own."""
    return client(clock, plain_http=[Registry(server.address)], **options)


def logged_in(server: RegistryServer | Raw, home: Path) -> Credentials:
    """Return a login for the server."""
    path = home / "auth.json"
    path.write_text(json.dumps({"auths": {server.address: {"username": "me", "password": "secret"}}}))
    return Credentials({}, path)


# Repetition


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_passes_is_asked_again(status: int) -> None:
    """Overload and outage are asked again, and counted apart."""
    async with Raw(script(answer(status), answer(status), OK)) as server, plain(server) as wire:
        await wire.resolve(at(server), "v1")
        key = Registry(server.address)
        counted = (wire.counts()[key][Operation.HEAD_MANIFEST], wire.retries[key, Operation.HEAD_MANIFEST])
        assert (1, 2, 3) == (*counted, len(server.requests))


async def test_eight_tries() -> None:
    """What does not pass is given up after eight tries, each later than the one before could be."""
    clock = RecordingClock()
    async with Raw(script(answer(503))) as server, plain(server, clock) as wire:
        with pytest.raises(RegistryError) as caught:
            await wire.resolve(at(server), "v1")
        assert (503, 8) == (caught.value.status, len(server.requests))
    bounds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert all(seconds <= bound for seconds, bound in zip(clock.slept, bounds, strict=True))


class RecordingClock(JumpClock):
    """A clock that notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        if seconds != TICK:
            self.slept.append(seconds)
        await super().sleep(seconds)


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_refusal_is_final(status: int) -> None:
    """What a registry refuses is not asked again."""
    async with Raw(script(answer(status))) as server, plain(server) as wire:
        with pytest.raises(RegistryError):
            await wire.manifest(at(server), "v1")
        assert 1 == len(server.requests)


async def test_a_connection_that_died_in_the_pool() -> None:
    """A connection that the server closed meanwhile costs a repetition and no failure, a PUT included."""
    put = answer(201, docker_content_digest=digest_of(b"x"))
    async with Raw(script(OK, None, OK, None, put)) as server, plain(server) as wire:
        await wire.resolve(at(server), "v1")
        await wire.resolve(at(server), "v1")
        manifest = RawManifest(b"x", "application/json")
        await wire.put_manifest(at(server), digest_of(b"x"), digest_of(b"x"), manifest)
    expected = [
        *["HEAD /v2/team/app/manifests/v1"] * 3,
        *[f"PUT /v2/team/app/manifests/{digest_of(b'x')}"] * 2,
    ]
    assert expected == server.seen[:5]
    assert [b"x", b"x"] == [request.body for request in server.requests[3:5]]


async def test_nobody_there() -> None:
    """A port that nobody listens at is an error of the network, and not counted as requests."""
    async with client() as wire:
        with pytest.raises(NetworkError):
            await wire.exists(Repository(Registry("127.0.0.1:1"), "a"))
        assert 0 == sum(wire.counts()[Registry("127.0.0.1:1")].values())


async def test_an_unknown_host() -> None:
    """A host name that nobody knows is tried twice."""
    clock = RecordingClock()
    async with client(clock) as wire:
        with pytest.raises(NetworkError, match="host name is not known"):
            await wire.exists(Repository(Registry("registry.invalid"), "a"))
    assert 1 == len(clock.slept)


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    ],
)
async def test_what_is_not_http(garbage: bytes) -> None:
    """An answer that is not HTTP is an error of the network."""
    async with Raw(script(garbage)) as server, plain(server) as wire:
        with pytest.raises(NetworkError):
            await wire.exists(at(server))


# Pauses


async def test_retry_after_stops_everybody(clock: ManualClock) -> None:
    """After a Retry-After no request of anybody reaches the registry before its time."""
    times: list[float] = []
    handler = script(answer(429, retry_after="30"), OK)

    async def note(request: Request) -> bytes | None:
        times.append(clock.now())
        return await handler(request)

    async with Raw(note) as server, plain(server, clock, jobs=1) as wire:
        with clock.autojump():
            await asyncio.gather(*(wire.resolve(at(server), "v1") for _ in range(5)))
    assert [0.0, *[30.0] * 5] == [time - times[0] for time in times]


async def test_a_transfer_waits_too(clock: ManualClock) -> None:
    """A request under a slot taken earlier waits for a short pause as well."""
    heads = script(answer(429, retry_after="10"), OK)
    paused = asyncio.Event()
    at_post: list[float] = []

    async def by_method(request: Request) -> bytes | None:
        if request.method == "HEAD":
            paused.set()
            return await heads(request)
        at_post.append(clock.now())
        return answer(202, location="/u")

    async with Raw(by_method) as server, plain(server, clock) as wire:
        before = clock.now()
        asked = asyncio.create_task(wire.resolve(at(server), "v1"))
        await paused.wait()
        while not wire.paused(Registry(server.address)):
            await clock.settle()
        with clock.autojump():
            await wire.start(at(server), digest_of(BLOB), None)
            await asked
    assert [before + 10] == at_post


async def test_a_refused_stream_pauses_too(clock: ManualClock) -> None:
    """A stream that is told to wait fails at once, and whoever comes next waits."""
    async with Raw(script(answer(429, retry_after="30"), OK)) as server, plain(server, clock) as wire:
        upload = Upload(at(server), f"http://{server.address}/u")
        with pytest.raises(RegistryError):
            await wire.send(upload, digest_of(BLOB), len(BLOB), chunks(BLOB))
        before = clock.now()
        with clock.autojump():
            await wire.resolve(at(server), "v1")
        assert before + 30 == clock.now()


async def test_another_registry_goes_on(clock: ManualClock) -> None:
    """A pause of one registry is none of another's."""
    async with Raw(script(answer(429, retry_after="30"), OK)) as busy, Raw(script(OK)) as other:
        both = [Registry(busy.address), Registry(other.address)]
        async with client(clock, plain_http=both) as wire:
            waiting = asyncio.create_task(wire.resolve(at(busy), "v1"))
            while not wire.paused(Registry(busy.address)):
                await clock.settle()
            before = clock.now()
            await wire.resolve(at(other), "v1")
            assert before == clock.now()
            with clock.autojump():
                await waiting


# Warnings


async def test_warnings_of_others_are_not_passed_on() -> None:
    """What a host warns of that a registry redirects to is nobody's business; the registry's own is told once."""
    told: list[str] = []
    async with Raw(script(answer(200, SHORT, warning='299 - "of the store"'))) as storage:
        sent_on = answer(307, location=f"http://{storage.address}/b")
        own = answer(404, warning='299 - "of the registry"')
        async with (
            Raw(script(sent_on, own, own)) as server,
            plain(server, warn=told.append) as wire,
        ):
            await read(wire, at(server), SHORT)
            for _ in range(2):
                await wire.find(at(server), "v1")
            assert [f"{server.address} warns: of the registry"] == told


# Redirects


async def test_a_redirect_takes_no_authorization_along(tmp_path: Path) -> None:
    """A blob sent elsewhere is fetched there without authorization and cookies, byte-exact in its URL."""
    target = "/b/a%2Fb?X-Sig=%7E%3A+=="
    async with Raw(script(answer(200, SHORT))) as storage:
        location = f"http://{storage.address}{target}"
        challenge = answer(401, www_authenticate="Basic realm=x", set_cookie="sid=1")
        async with (
            Raw(script(challenge, answer(307, location=location))) as server,
            plain(server, credentials=logged_in(server, tmp_path)) as wire,
        ):
            assert SHORT == await read(wire, at(server), SHORT)
            assert 1 == wire.counts()[Registry(server.address)][Operation.REDIRECT]
    (request,) = storage.requests
    assert f"GET {target}" == storage.seen[0]
    assert not {"authorization", "cookie"} & set(request.headers)
    assert "authorization" in server.requests[1].headers
    assert "cookie" not in server.requests[1].headers


async def test_a_redirect_within_the_registry(tmp_path: Path) -> None:
    """A redirect that stays at the registry's origin keeps its authorization."""
    challenge = answer(401, www_authenticate="Basic realm=x")
    async with (
        Raw(script(challenge, answer(302, location="/elsewhere"), answer(200, SHORT))) as server,
        plain(server, credentials=logged_in(server, tmp_path)) as wire,
    ):
        assert SHORT == await read(wire, at(server), SHORT)
    assert "authorization" in server.requests[2].headers


async def test_a_range_follows() -> None:
    """A resumed read asks for its range wherever it is sent."""
    rest = answer(206, SHORT[4:], content_range="bytes 4-9/10")
    async with Raw(script(answer(307, location="/elsewhere"), rest)) as server, plain(server) as wire:
        await read(wire, at(server), SHORT, 4)
    assert ["bytes=4-", "bytes=4-"] == [request.headers["range"] for request in server.requests]


async def test_a_redirect_loop() -> None:
    """A redirect that leads nowhere ends after five."""
    async with Raw(script(answer(307, location="/again"))) as server, plain(server) as wire:
        with pytest.raises(RegistryError, match="more than 5 redirects"):
            await wire.manifest(at(server), "v1")
        assert 6 == len(server.requests)


@pytest.mark.parametrize("location", ["ftp://h/", "http://u:secret@h/", "/a b", "http://[/"])
async def test_a_redirect_that_cannot_be_followed(location: str) -> None:
    """A redirect to what is no address of the web is refused, and shows no secret."""
    async with Raw(script(answer(307, location=location))) as server, plain(server) as wire:
        with pytest.raises(ContentError) as caught:
            await wire.manifest(at(server), "v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_writes_are_not_redirected(status: int) -> None:
    """A redirect of a write is a refusal."""
    async with Raw(script(answer(status, location="/elsewhere"))) as server, plain(server) as wire:
        with pytest.raises(RegistryError) as caught:
            await wire.put_manifest(at(server), "v1", digest_of(b"x"), RawManifest(b"x", "application/json"))
        assert (status, 1) == (caught.value.status, len(server.requests))


async def test_a_redirect_of_our_own_registry() -> None:
    """HEAD of a manifest is redirected and counted too."""
    async with RegistryServer(MemoryStorage()) as server, client() as wire:
        await push_image(wire, at(server, "team/real"))
        to = f"http://{server.address}/v2/team/real/manifests/{{name}}"
        server.faults.add(Rule(Redirect(to), repository="team/app", kind=Operation.HEAD_MANIFEST))
        digest = (await wire.resolve(at(server, "team/real"), "v1")).digest
        assert digest == (await wire.resolve(at(server), "v1")).digest


# TLS and its absence


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


def trusting(authority: Authority, **options: Any) -> Routes:
    """Return routes that trust the authority."""
    return Routes(Tls({}, authority=authority.file, directories=(), **options), Proxies({}))


async def test_tls_on_loopback(authority: Authority) -> None:
    """A loopback registry with TLS is spoken to with TLS."""
    async with (
        RegistryServer(MemoryStorage(), tls=authority.server("127.0.0.1")) as server,
        client(routes=trusting(authority)) as wire,
    ):
        await push_image(wire, at(server))
        assert BLOB == await read(wire, at(server), BLOB)


@pytest.mark.parametrize("names", [("127.0.0.2",), ("registry.example.com",)])
async def test_a_certificate_that_does_not_fit(authority: Authority, names: tuple[str, ...]) -> None:
    """A wrong certificate is an error at once: not repeated, and no reason to do without TLS."""
    async with Raw(script(OK), tls=authority.server(*names)) as server:
        clock = RecordingClock()
        async with client(clock, routes=trusting(authority)) as wire:
            with pytest.raises(NetworkError, match="certificate does not fit"):
                await wire.exists(at(server))
    assert [] == clock.slept
    assert not server.seen


async def test_an_authority_that_is_not_trusted(authority: Authority) -> None:
    """A certificate of an unknown authority is an error."""
    async with Raw(script(OK), tls=authority.server("127.0.0.1")) as server, client() as wire:
        with pytest.raises(NetworkError, match="certificate does not fit"):
            await wire.exists(at(server))


async def test_plain_http_is_found_out_once() -> None:
    """However many ask at first, a loopback registry without TLS is found out by one ping."""
    async with Raw(script(OK)) as server, client() as wire:
        await asyncio.gather(*(wire.resolve(at(server), "v1") for _ in range(10)))
        assert 1 == wire.counts()[Registry(server.address)][Operation.PING]
    assert ["GET /v2/", *["HEAD /v2/team/app/manifests/v1"] * 10] == server.seen


async def test_declared_plain_http_is_not_pinged() -> None:
    """A registry that is said to have no TLS is not asked whether it has."""
    async with Raw(script(OK)) as server, plain(server) as wire:
        await wire.resolve(at(server), "v1")
    assert ["HEAD /v2/team/app/manifests/v1"] == server.seen


async def test_a_location_behind_a_tls_proxy(authority: Authority) -> None:
    """An upload whose Location forgot TLS goes on with TLS."""

    async def forgetful(request: Request) -> bytes | None:
        await request.read()
        if request.method == "POST":
            return answer(202, location=f"http://{request.headers['host']}/u")
        return answer(201 if request.method == "PUT" else 200)

    async with (
        Raw(forgetful, tls=authority.server("127.0.0.1")) as server,
        client(routes=trusting(authority)) as wire,
    ):
        await push(wire, at(server), SHORT)
    assert server.seen[-1].startswith("PUT /u?digest=")


# Tokens


async def test_tokens_end_to_end(tmp_path: Path) -> None:
    """With a token service in front, everything works with one 401, and one token for each set of scopes."""
    async with (
        RegistryServer(MemoryStorage(), auth=Bearer("me", "secret")) as server,
        client(credentials=logged_in(server, tmp_path)) as wire,
    ):
        await push_image(wire, at(server))
        assert None is await wire.start(at(server, "team/base"), digest_of(BLOB), at(server))
        assert BLOB == await read(wire, at(server, "team/base"), BLOB)
    scopes = [request.scopes for request in server.log.select(Operation.TOKEN)]
    assert [
        ("repository:team/app:pull,push",),
        ("repository:team/base:pull,push", "repository:team/app:pull"),
        ("repository:team/base:pull",),
    ] == scopes
    assert 1 == server.log.count(status=401)  # the ping that looked for TLS told of the challenge too


async def test_a_token_storm(tmp_path: Path) -> None:
    """A hundred requests at once fetch one token, and one of them sees the challenge."""
    async with (
        RegistryServer(MemoryStorage(), auth=Bearer("me", "secret")) as server,
        client(credentials=logged_in(server, tmp_path), plain_http=[Registry(server.address)]) as wire,
    ):
        await asyncio.gather(*(wire.find(at(server), "v1") for _ in range(100)))
    assert (1, 1) == (server.log.count(Operation.TOKEN), server.log.count(status=401))


async def test_revoked_tokens_are_renewed(tmp_path: Path) -> None:
    """A token that the registry no longer likes is replaced once, unseen."""
    auth = Bearer("me", "secret")
    async with (
        RegistryServer(MemoryStorage(), auth=auth) as server,
        client(credentials=logged_in(server, tmp_path)) as wire,
    ):
        await push_image(wire, at(server))
        auth.revoke()
        await push(wire, at(server), b"more")
        assert await wire.find(at(server), "v1") is not None


async def test_a_token_that_runs_out_in_an_upload(tmp_path: Path) -> None:
    """A stream refused for its token fails as 401 without codes, and the next attempt has a new token."""
    auth = Bearer("me", "secret")
    async with (
        RegistryServer(MemoryStorage(), auth=auth) as server,
        client(credentials=logged_in(server, tmp_path)) as wire,
    ):
        upload = await wire.start(at(server), digest_of(BLOB), None)
        assert upload is not None
        auth.revoke()
        with pytest.raises(RegistryError) as caught:
            await wire.send(upload, digest_of(BLOB), len(BLOB), chunks(BLOB))
        assert (401, ()) == (caught.value.status, caught.value.codes)
        upload = await wire.start(at(server), digest_of(BLOB), None)
        assert upload is not None
        await wire.send(upload, digest_of(BLOB), len(BLOB), chunks(BLOB))


async def test_a_mount_that_may_not_be_read(tmp_path: Path) -> None:
    """A mount from a repository that the login may not read becomes an upload."""
    auth = Bearer("me", "secret", denied=["team/secret"])
    async with (
        RegistryServer(MemoryStorage(), auth=auth) as server,
        client(credentials=logged_in(server, tmp_path)) as wire,
    ):
        assert isinstance(await wire.start(at(server), digest_of(BLOB), at(server, "team/secret")), Upload)


async def test_basic(tmp_path: Path) -> None:
    """A registry that wants user and password gets them, after its first challenge with every request."""
    async with (
        RegistryServer(MemoryStorage(), auth=Basic("me", "secret")) as server,
        client(credentials=logged_in(server, tmp_path)) as wire,
    ):
        await push_image(wire, at(server))
    assert 1 == server.log.count(status=401)


async def test_a_wrong_password(tmp_path: Path) -> None:
    """A refused login is an error after one attempt with it, and shows no password."""
    async with (
        RegistryServer(MemoryStorage(), auth=Basic("me", "other")) as server,
        client(credentials=logged_in(server, tmp_path)) as wire,
    ):
        with pytest.raises(RegistryError) as caught:
            await wire.manifest(at(server), "v1")
    assert (401, False) == (caught.value.status, "secret" in str(caught.value))


# What stays behind


async def test_nothing_stays_open() -> None:
    """After the client no connection is left, whatever it was doing."""
    asked = asyncio.Event()

    async def silent(request: Request) -> bytes | None:
        asked.set()
        await request.reader.read()
        return None

    async with Raw(silent) as server:
        async with plain(server) as wire:
            task = asyncio.create_task(wire.exists(at(server)))
            await asked.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            while server.open:
                await asyncio.sleep(0.005)


async def test_connections_are_used_again() -> None:
    """Requests one after the other share a connection, refusals and redirects included."""
    answers = [OK, answer(404, b"{}"), answer(307, b"moved", location="/x"), answer(200, b"{}"), OK]
    async with Raw(script(*answers)) as server, plain(server) as wire:
        await wire.resolve(at(server), "v1")
        with pytest.raises(RegistryError):
            await wire.manifest(at(server), "v2")
        await wire.manifest(at(server), "v3")
        await wire.resolve(at(server), "v1")
        assert (1, 5) == (server.connections, len(server.requests))


async def test_large_headers() -> None:
    """A Location of 32 KiB is followed; a header beyond reason is an error."""
    location = "/" + "x" * 32_000
    handler = script(
        answer(307, location=location), answer(200, b"{}"), answer(200, location="/" + "x" * 200_000)
    )
    async with Raw(handler) as server, plain(server) as wire:
        await wire.manifest(at(server), "v1")
        assert f"GET {location}" == server.seen[1]
        with pytest.raises(NetworkError):
            await wire.manifest(at(server), "v1")


async def test_messages_are_fit_to_print() -> None:
    """What a registry writes into an error is escaped and cut."""
    body = json.dumps(
        {"errors": [{"code": "DENIED", "message": "\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}" + "x" * 9999}]}
    )
    async with Raw(script(answer(403, body.encode()))) as server, plain(server) as wire:
        with pytest.raises(RegistryError) as caught:
            await wire.manifest(at(server), "v1")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


FAILURES = [
    answer(403),
    None,
    b"nonsense\r\n\r\n",
    answer(307, location="http://u:canary@h/?canary=canary"),
    answer(201, docker_content_digest=digest_of(b"other")),
]


@pytest.mark.parametrize("failure", FAILURES)
async def test_no_secret_in_tracebacks(failure: bytes | None) -> None:
    """Session state and signatures of a URL that fails are not shown, not even as the cause of a cause."""
    async with Raw(script(failure)) as server, plain(server) as wire:
        upload = Upload(at(server), f"http://{server.address}/u?_state=canary&X-Sig=canary")
        with pytest.raises(MmgraphError) as caught:
            await wire.send(upload, digest_of(SHORT), len(SHORT), chunks(SHORT))
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_no_secret_of_a_redirect_in_tracebacks() -> None:
    """The signature of a redirect's target is not shown when that fails."""
    location = "http://127.0.0.1:1/b?X-Sig=canary"
    async with Raw(script(answer(307, location=location))) as server, plain(server) as wire:
        with pytest.raises(NetworkError) as caught:
            await read(wire, at(server), SHORT)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_a_refusal_and_a_reset() -> None:
    """A refusal whose body never comes is a refusal still."""
    cut = answer(413, b"{", content_length="100", connection="close")
    async with Raw(script(cut)) as server, plain(server) as wire:
        with pytest.raises(RegistryError) as caught:
            await wire.put_manifest(at(server), "v1", digest_of(b"x"), RawManifest(b"x", "application/json"))
    assert (413, 1) == (caught.value.status, len(server.requests))


async def test_a_server_with_tls_that_hangs_up(authority: Authority) -> None:
    """A loopback registry whose handshake succeeded is never spoken to without TLS."""
    async with (
        Raw(script(None), tls=authority.server("127.0.0.1")) as server,
        client(routes=trusting(authority)) as wire,
    ):
        with pytest.raises(NetworkError, match="https://"):
            await wire.exists(at(server))
    assert {"GET /v2/"} == set(server.seen)
