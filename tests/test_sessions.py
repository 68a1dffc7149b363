"""Who sees what: registries, token services and storage, each recording, at origins of their own."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mmgraph.errors import ContentError, RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.registry import wire
from mmgraph.registry.origins import Opening, Trust
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from tests.support.authority import Authority
from tests.support.proxy import RecordingProxy
from tests.support.raw import Raw, Request, answer, script
from tests.test_client import SHORT, digest_of, push, read
from tests.test_connection import at, client, logged_in, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

OK = answer(200, docker_content_digest=digest_of(b"x"))
TOKEN = answer(200, b'{"token": "abc"}')


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


def names(addresses: Mapping[str, str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """Return a name server that knows these names."""

    async def lookup(host: str, port: int) -> Sequence[str]:
        return [addresses[host]]

    return lookup


def routes(trust: Trust | None = None, **options: Any) -> Routes:
    """Return routes that need nothing of this machine."""
    return Routes(Tls({}, directories=()), Proxies({}), trust or Trust(), **options)


def challenge(realm: str) -> bytes:
    """Return a registry's first answer."""
    return answer(401, www_authenticate=f'Bearer realm="{realm}",service="s"')


def registry(realm: str) -> Callable[[Request], Awaitable[bytes]]:
    """Return a registry that wants a token of ``realm``."""

    async def handle(request: Request) -> bytes:
        await request.read()
        return OK if request.headers.get("authorization") == "Bearer abc" else challenge(realm)

    return handle


def saw(server: Raw) -> list[bool]:
    """Whether each request had an Authorization header."""
    return ["authorization" in request.headers for request in server.requests]


# Token services


async def test_a_realm_elsewhere_is_asked_without_credentials(tmp_path: Path) -> None:
    """A token service at another origin gets no password, and a person is told which option would send it."""
    warnings: list[str] = []
    async with Raw(script(TOKEN)) as tokens, Raw(registry(f"http://{tokens.address}/t")) as server:
        login = logged_in(server, tmp_path)
        async with plain(server, credentials=login, warn=warnings.append) as remote:
            await remote.resolve(at(server), "v1")
        assert ([False], True) == (
            saw(tokens),
            f"--trust-realm {server.address}={tokens.address} " in "".join(warnings),
        )


async def test_a_trusted_realm(tmp_path: Path) -> None:
    """--trust-realm sends the password there."""
    async with Raw(script(TOKEN)) as tokens, Raw(registry(f"http://{tokens.address}/t")) as server:
        trust = Trust(realms=(Opening.parse(f"{server.address}={tokens.address}", "--trust-realm"),))
        async with plain(server, credentials=logged_in(server, tmp_path), routes=routes(trust)) as remote:
            await remote.resolve(at(server), "v1")
    assert [True] == saw(tokens)


async def test_a_token_request_is_not_redirected(tmp_path: Path) -> None:
    """A token service that redirects is an error: nobody else gets what was meant for it."""
    async with Raw(script(TOKEN)) as other:
        move = answer(307, location=f"http://{other.address}/t?sig=secret")

        async def handle(request: Request) -> bytes:
            await request.read()
            return move if request.target.startswith("/t") else challenge("/t")

        async with Raw(handle) as server, plain(server, credentials=logged_in(server, tmp_path)) as remote:
            with pytest.raises(RegistryError, match=r"redirects to http://[0-9.:]+/t\?sig=\*\*\*; nothing"):
                await remote.resolve(at(server), "v1")
        assert not other.requests


@pytest.mark.parametrize(
    ("realm", "message"),
    [
        (
            "http://169.254.169.254/token",
            r"names the token service http://169\.254\.169\.254:80, which is a cloud",
        ),
        ("http://metadata.google.internal/token", "nothing allows that"),
        ("http://0.0.0.0/token", "which is no address of a single host"),
        ("http://2130706433/token", "which is no address of a single host"),
        ("http://rebound.example.com/token", "which is a cloud's metadata service"),
        ("http://inner.example.com/token", "which is a link-local address"),
    ],
)
async def test_a_realm_where_nobody_goes(realm: str, message: str) -> None:
    """Metadata services and the like are asked nothing, by address, odd spelling or name."""
    lookup = names({"rebound.example.com": "169.254.169.254", "inner.example.com": "169.254.1.1"})
    async with Raw(registry(realm)) as server, plain(server, routes=routes(lookup=lookup)) as remote:
        with pytest.raises(RegistryError, match=message):
            await remote.resolve(at(server), "v1")


# Redirects


async def test_authorization_does_not_come_back(tmp_path: Path) -> None:
    """A redirect that leads away and back to the registry has lost its authorization for good."""
    async with Raw(script(OK)) as other:
        away = answer(307, location=f"http://{other.address}/b")
        first = answer(401, www_authenticate="Basic realm=x")
        async with Raw(script(first, away, answer(200, SHORT))) as server:
            other._handler = script(answer(307, location=f"http://{server.address}/back"))
            async with plain(server, credentials=logged_in(server, tmp_path)) as remote:
                assert SHORT == await read(remote, at(server), SHORT)
        assert ([False, True, False], [False]) == (saw(server), saw(other))


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata", "0.0.0.0", "127.1", "[::ffff:a9fe:a9fe]"])
async def test_a_redirect_where_nobody_goes(host: str) -> None:
    """A redirect to a metadata service or to no host at all is refused, and nothing allows it."""
    async with Raw(script(answer(307, location=f"http://{host}/b"))) as server, plain(server) as remote:
        with pytest.raises(RegistryError, match=r"redirects to .*; nothing allows that"):
            await read(remote, at(server), SHORT)


async def test_many_at_once_where_nobody_goes(caplog: pytest.LogCaptureFixture) -> None:
    """A name that many are sent to at once is refused to each, and no error is left that nobody has heard."""
    lookup = names({"rebound.example.com": "169.254.169.254"})
    move = answer(307, location="http://rebound.example.com/b")
    async with Raw(script(move)) as server, plain(server, routes=routes(lookup=lookup)) as remote:
        found = await asyncio.gather(
            *(read(remote, at(server), SHORT) for _ in range(10)), return_exceptions=True
        )
        gc.collect()
    assert (10, []) == (sum("nothing allows" in str(each) for each in found), caplog.messages)


async def test_one_registrys_connections_are_not_anothers() -> None:
    """What one registry may reach is not open to another one by way of a connection that waits in a pool."""
    async with Raw(script(answer(200, SHORT))) as storage:
        port = storage.address.rpartition(":")[2]
        place = f"http://storage.example.com:{port}/b"
        lookup = names({"storage.example.com": "127.0.0.1", "other.example.com": "127.0.0.1"})
        async with (
            Raw(script(answer(307, location=place))) as one,
            Raw(script(answer(307, location=place))) as other,
            client(
                plain_http=[Registry(one.address), Registry(other.address)], routes=routes(lookup=lookup)
            ) as remote,
        ):
            for server in (one, other):
                assert SHORT == await read(remote, at(server), SHORT)
        assert 2 == storage.connections


# Upload sessions


def opening(location: str) -> Callable[[Request], Awaitable[bytes]]:
    """Return a registry whose upload sessions are at ``location``."""

    async def handle(request: Request) -> bytes:
        await request.read()
        if request.headers.get("authorization") is None:
            return answer(401, www_authenticate="Basic realm=x")
        return answer(202, location=location) if request.method == "POST" else answer(200)

    return handle


async def test_an_upload_elsewhere(tmp_path: Path) -> None:
    """An upload session at another origin gets the bytes, at its URL byte for byte, and no credentials."""
    async with Raw(script(answer(201))) as storage:
        target = "/u/a%2Fb?X-Sig=%7E%3A+=="
        async with (
            Raw(opening(f"http://{storage.address}{target}")) as server,
            plain(server, credentials=logged_in(server, tmp_path)) as remote,
        ):
            await push(remote, at(server), SHORT)
        (put,) = storage.requests
        assert (f"PUT {target}&digest={digest_of(SHORT)}", SHORT) == (storage.seen[0], put.body)
        expected = {"host", "accept-encoding", "user-agent", "content-type", "content-length", "accept"}
        assert set() == set(put.headers) - expected


async def test_an_upload_where_nobody_goes(tmp_path: Path) -> None:
    """An upload to a metadata service is refused, and no byte leaves."""
    async with (
        Raw(opening("http://169.254.169.254/u")) as server,
        plain(server, credentials=logged_in(server, tmp_path)) as remote,
    ):
        with pytest.raises(RegistryError, match=r"sends the upload to http://169\.254\.169\.254:80, which"):
            await push(remote, at(server), SHORT)


async def test_an_upload_inside(authority: Authority) -> None:
    """A public registry's upload to an inner host is refused with the option that allows it, and then allowed."""
    async with Raw(script(answer(201)), tls=authority.server("storage.example.net")) as storage:
        port = storage.address.rpartition(":")[2]

        async def handle(request: Request) -> bytes:
            await request.read()
            return answer(202, location=f"https://storage.example.net:{port}/u")

        async with Raw(handle) as server:
            # The registry is looked at through its proxy, so that its name makes it public.
            found = await _push_public(authority, server, {"storage.example.net": "127.0.0.1"}, Trust())
            option = f"--trust-upload-host registry.example.com=storage.example.net:{port}"
            opened = Opening.parse(option.partition(" ")[2], "--trust-upload-host")
            again = await _push_public(
                authority, server, {"storage.example.net": "127.0.0.1"}, Trust(uploads=(opened,))
            )
        assert (True, None, ["PUT"]) == (
            option in str(found),
            again,
            [request.method for request in storage.requests],
        )


async def _push_public(
    authority: Authority, server: Raw, addresses: Mapping[str, str], trust: Trust
) -> RegistryError | None:
    registry = Registry("registry.example.com")
    async with RecordingProxy({"registry.example.com:80": server.address}) as proxy:
        environ = {"HTTP_PROXY": f"http://{proxy.address}", "NO_PROXY": "storage.example.net"}
        tls = Tls({}, authority=authority.file, directories=())
        reached = Routes(tls, Proxies(environ), trust, names(addresses))
        async with client(plain_http=[registry], routes=reached) as remote:
            try:
                await push(remote, Repository(registry, "team/app"), SHORT)
            except RegistryError as error:
                return error
    return None


# One reading of URLs


@given(
    st.sampled_from(["http", "https", "HTTPS"]),
    st.text("aA0.-_:@[]%\\/?#!'x", max_size=24),
    st.text("aA0.-_:@[]%\\/?#x", max_size=24),
)
def test_aiohttp_reads_a_url_as_the_rules_do(scheme: str, place: str, rest: str) -> None:
    """Whatever passes as a URL has the same host and port for the rules as for what connects."""
    url = f"{scheme}://{place}/{rest}"
    try:
        found = wire.origin(url)
    except ContentError:
        return
    other = URL(url, encoded=True)
    assert (found.scheme, found.host, found.port) == (
        other.scheme,
        (other.raw_host or "").removesuffix(".").lower(),
        other.port,
    )
