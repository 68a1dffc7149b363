"""Proxies by the environment: which one is used, what it sees, and what nobody else sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import NetworkError, RegistryError, SpecError
from mmgraph.names import Registry, Repository
from mmgraph.registry import wire
from mmgraph.registry.origins import Opening, Trust
from mmgraph.registry.proxies import Proxies, Proxy
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from tests.support.authority import Authority
from tests.support.proxy import RecordingProxy
from tests.support.raw import Raw, answer, script
from tests.test_client import SHORT, digest_of, read
from tests.test_connection import client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OK = answer(200, docker_content_digest=digest_of(b"x"))
AWAY = Repository(Registry("registry.example.com"), "team/app")


async def nobody(host: str, port: int) -> Sequence[str]:
    """Fail: through a proxy no name is looked up."""
    raise AssertionError(f"{host}:{port} was looked up")


def through(
    environ: Mapping[str, str], authority: Authority | None = None, *, trust: Trust | None = None
) -> Routes:
    """Return routes through the proxies of ``environ`` alone."""
    tls = Tls({}, authority=authority.file if authority else None, directories=())
    return Routes(tls, Proxies(environ), trust or Trust(), nobody)


# Which one


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({"HTTPS_PROXY": "http://p:3128"}, "https://a.example.com/", "http://p:3128"),
        ({"https_proxy": "http://p:3128"}, "https://a.example.com/", "http://p:3128"),
        ({"https_proxy": "http://p", "HTTPS_PROXY": "http://q"}, "https://a.example.com/", "http://p:80"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q:1"}, "https://a.example.com/", "http://q:1"),
        ({"HTTPS_PROXY": "p:3128"}, "https://a.example.com/", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://a.example.com/", None),
        ({"HTTP_PROXY": "http://p:3128"}, "http://a.example.com/", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128", "REQUEST_METHOD": "GET"}, "http://a.example.com/", None),
        ({"http_proxy": "http://p:3128", "REQUEST_METHOD": "GET"}, "http://a.example.com/", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://localhost/", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://127.0.0.1:5000/", None),
        ({"HTTPS_PROXY": "http://[::1]:3128/"}, "https://a.example.com/", "http://[::1]:3128"),
        ({}, "https://a.example.com/", None),
    ],
)
def test_which_proxy(environ: dict[str, str], url: str, expected: str | None) -> None:
    """The scheme chooses the variable, lower case goes first, and this machine is reached directly."""
    found = Proxies(environ).find(wire.origin(url))
    assert expected == (found and found.url)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("example.com", "https://example.com/", True),
        ("example.com", "https://a.example.com/", True),
        ("example.com", "https://notexample.com/", False),
        (".example.com", "https://a.example.com/", True),
        (".example.com", "https://example.com/", False),
        ("*.example.com", "https://a.example.com/", True),
        ("EXAMPLE.com.", "https://a.example.com/", True),
        (" a.com , example.com ", "https://example.com/", True),
        ("example.com:5000", "https://example.com:5000/", True),
        ("example.com:5000", "https://example.com/", False),
        ("*", "https://a.b.c/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://a.example.com/", False),
        ("10.1.2.3", "https://10.1.2.3/", True),
        ("10.1.2.3:5000", "https://10.1.2.3/", False),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/", True),
        ("fd00::/8", "https://[fd12::1]/", True),
        ("fd12::1", "https://[fd12::1]:5000/", True),
        ("[fd12::1]:5000", "https://[fd12::1]:5000/", True),
        ("[fd12::1]:5000", "https://[fd12::1]/", False),
        (",,", "https://example.com/", False),
        (".", "https://example.com/", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy(name: str, no_proxy: str, url: str, direct: bool) -> None:
    """NO_PROXY holds names with what is below them, leading dots, ports, networks and a star."""
    proxies = Proxies({"HTTPS_PROXY": "http://p:3128", name: no_proxy})
    assert direct == (proxies.find(wire.origin(url)) is None)


@pytest.mark.parametrize("value", ["socks5://p:1080", "https://p", "http://", "http://p:port", "http://p q"])
def test_a_proxy_that_cannot_be_used(value: str) -> None:
    """A proxy that is none fails at once, with the variable's name, and shows no password."""
    with pytest.raises(SpecError, match=r"^HTTPS_PROXY: ") as caught:
        Proxies({"HTTPS_PROXY": value.replace("://", "://me:secret@")})
    assert "secret" not in str(caught.value)


def test_a_proxys_password_is_no_part_of_its_url() -> None:
    """Name and password are for the proxy's header, unescaped, and never shown."""
    proxy = Proxy.parse("http://me:p%40ss@proxy:3128/", "HTTP_PROXY")
    expected = ("http://proxy:3128", "Basic bWU6cEBzcw==", False)
    assert proxy.authorization is not None
    assert expected == (proxy.url, proxy.authorization.reveal(), "bWU6" in repr(proxy))


@given(st.text(max_size=60), st.text(max_size=60))
def test_variables_raise_only_what_is_declared(proxy: str, no_proxy: str) -> None:
    """Any text in the environment is a proxy, an exception, or a SpecError."""
    try:
        Proxies({"HTTPS_PROXY": proxy, "NO_PROXY": no_proxy}).find(wire.origin("https://a.example.com/"))
    except SpecError:
        return


# On the wire


async def test_tls_through_a_proxy(authority: Authority) -> None:
    """A tunnel is asked for by name, nothing is looked up here, and only the proxy sees its password."""
    async with Raw(script(OK), tls=authority.server("registry.example.com")) as server:
        async with RecordingProxy({"registry.example.com:443": server.address}) as proxy:
            environ = {"HTTPS_PROXY": f"http://me:secret@{proxy.address}"}
            async with client(routes=through(environ, authority)) as wire_:
                await wire_.resolve(AWAY, "v1")
        assert ["CONNECT registry.example.com:443"] == proxy.seen
        assert ("Basic bWU6c2VjcmV0", False) == (
            proxy.requests[0][1].get("proxy-authorization"),
            "proxy-authorization" in server.requests[0].headers,
        )


async def test_without_tls_through_a_proxy() -> None:
    """A request without TLS is forwarded, and the proxy's password goes no further."""
    async with Raw(script(OK)) as server:
        async with RecordingProxy({"registry.example.com:80": server.address}) as proxy:
            environ = {"HTTP_PROXY": f"http://me:secret@{proxy.address}"}
            async with client(routes=through(environ), plain_http=[AWAY.registry]) as wire_:
                await wire_.resolve(AWAY, "v1")
        assert ["HEAD http://registry.example.com/v2/team/app/manifests/v1"] == proxy.seen
        assert "Basic bWU6c2VjcmV0" == proxy.requests[0][1].get("proxy-authorization")
        assert ["HEAD /v2/team/app/manifests/v1"] == server.seen


async def test_a_login_of_netrc_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ~/.netrc says of a host is not read."""
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    async with Raw(script(OK)) as server:
        async with RecordingProxy({"registry.example.com:80": server.address}) as proxy:
            environ = {"HTTP_PROXY": f"http://{proxy.address}"}
            async with client(routes=through(environ), plain_http=[AWAY.registry]) as wire_:
                await wire_.resolve(AWAY, "v1")
        assert not {"authorization", "proxy-authorization"} & set(proxy.requests[0][1])


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_refuses(authority: Authority, status: int) -> None:
    """What a proxy answers is said to be the proxy's."""
    async with RecordingProxy({}, status=status) as proxy:
        environ = {"HTTPS_PROXY": f"http://{proxy.address}"}
        async with client(routes=through(environ, authority)) as wire_:
            with pytest.raises(NetworkError, match=f"the proxy answered {status}"):
                await wire_.resolve(AWAY, "v1")


async def test_no_proxy_there(authority: Authority) -> None:
    """A proxy that does not run is named."""
    async with client(routes=through({"HTTPS_PROXY": "http://127.0.0.1:1"}, authority)) as wire_:
        with pytest.raises(NetworkError, match=r"the proxy 127\.0\.0\.1:1 cannot be reached"):
            await wire_.resolve(AWAY, "v1")


@pytest.mark.parametrize(
    "place", ["10.0.0.5", "storage", "minio.internal", "169.254.169.254", "metadata.google.internal"]
)
async def test_a_redirect_inside_through_a_proxy(place: str) -> None:
    """Where the proxy resolves, a redirect to an inner name is refused by the name, and the proxy not asked."""
    async with Raw(script(answer(307, location=f"http://{place}/b"))) as server:
        targets = {"registry.example.com:80": server.address, f"{place}:80": server.address}
        async with RecordingProxy(targets) as proxy:
            environ = {"HTTP_PROXY": f"http://{proxy.address}"}
            async with client(routes=through(environ), plain_http=[AWAY.registry]) as wire_:
                with pytest.raises(RegistryError, match=f"redirects to http://{place}:80, which is"):
                    await read(wire_, AWAY, SHORT)
        assert 1 == len(proxy.requests)


async def test_an_opened_host_through_a_proxy() -> None:
    """--trust-upload-host opens an inner name behind a proxy too."""
    async with (
        Raw(script(answer(200, SHORT))) as storage,
        Raw(script(answer(307, location="http://minio.internal/b"))) as server,
    ):
        targets = {"registry.example.com:80": server.address, "minio.internal:80": storage.address}
        trust = Trust(uploads=(Opening.parse("registry.example.com=minio.internal", "--trust-upload-host"),))
        async with RecordingProxy(targets) as proxy:
            routes = through({"HTTP_PROXY": f"http://{proxy.address}"}, trust=trust)
            async with client(routes=routes, plain_http=[AWAY.registry]) as wire_:
                assert SHORT == await read(wire_, AWAY, SHORT)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority."""
    return Authority(tmp_path_factory.mktemp("authority"))
