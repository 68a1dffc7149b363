"""Where a registry may send us: sites, token services, redirects, upload sessions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ContentError, RegistryError, SpecError
from mmgraph.names import Registry
from mmgraph.registry import wire
from mmgraph.registry.addresses import Kind
from mmgraph.registry.origins import (
    Errand,
    Opening,
    Trust,
    portable,
    realm,
    redirect_target,
    refused,
    same_site,
    site,
    upload_location,
)

HUB = Registry("docker.io")
HUB_REALM = "https://auth.docker.io/token"
REGISTRY = Registry("registry.example.com")
UPLOAD = "https://registry.example.com/v2/team/app/blobs/uploads/"

# Hosts


@pytest.mark.parametrize(
    "url",
    [
        "https://127。0。0。1/",
        "https://127%2e0.0.1/",
        "https://good.example.com\\@evil.com/",
        "https://good.example.com@evil.com/",
        "https://evil.com%00.example.com/",
        "https://a..b/",
        "https://.b/",
        "https://-a/",
        "https://[fe80::1%25eth0]/",
        "https://a'b/",
        "https:///path",
        "https://h:0/",
        "https://h:99999/",
        f"https://{'a.' * 130}b/",
    ],
)
def test_a_host_that_could_be_read_in_two_ways(url: str) -> None:
    """Hosts are ASCII, without escapes, user names, zones or empty labels, or there is no URL."""
    with pytest.raises(ContentError):
        wire.origin(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry.example.com", "example.com"),
        ("Registry.Example.COM.", "example.com"),
        ("example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("mine.github.io", "mine.github.io"),
        ("a.mine.gitlab.io", "mine.gitlab.io"),
        ("registry.xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("a.foo.xn--55qx5d.cn", "foo.xn--55qx5d.cn"),
        ("registry", "registry"),
        ("registry.corp", "registry.corp"),
        ("registry.team.corp", "team.corp"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("mine.azurecr.io", "mine.azurecr.io"),
        ("mine.jfrog.io", "mine.jfrog.io"),
        ("us-docker.pkg.dev", "us-docker.pkg.dev"),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com"),
        ("10.0.0.1.nip.io", "10.0.0.1.nip.io"),
        ("registry.gitlab.com", "gitlab.com"),
        ("notazurecr.io", "notazurecr.io"),
    ],
)
def test_site(host: str, expected: str) -> None:
    """A site is what one owner has registered; below shared domains each host is a site of its own."""
    assert expected == site(host)


LABELS = st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), min_size=1, max_size=5)


@given(LABELS, LABELS)
def test_a_site_is_never_another_ones(one: list[str], other: list[str]) -> None:
    """Being of the same site is the same both ways, and a site is a suffix of each of its hosts."""
    here, there = ".".join(one), ".".join(other)
    assert (same_site(here, there), True) == (same_site(there, here), here.endswith(site(here)))


# Token services


@pytest.mark.parametrize(
    ("url", "named", "expected"),
    [
        ("https://registry.example.com/v2/", "https://registry.example.com/token", True),
        ("https://registry.example.com/v2/", "/token", True),
        ("https://registry.example.com/v2/", "https://auth.example.com/token", True),
        ("https://registry.example.com/v2/", "https://example.com/token", True),
        ("https://registry.example.com/v2/", "https://a.b.example.com/token", True),
        ("https://registry.gitlab.com/v2/", "https://gitlab.com/jwt/auth", True),
        ("https://registry.example.com/v2/", "https://evil.com/token", False),
        ("https://registry.example.com/v2/", "https://evilexample.com/token", False),
        ("https://registry.example.com/v2/", "https://example.com.evil.net/token", False),
        ("https://example.com/v2/", "https://auth.com/token", False),
        ("https://mirror.co.uk/v2/", "https://evil.co.uk/token", False),
        ("https://mine.github.io/v2/", "https://evil.github.io/token", False),
        ("https://mine.azurecr.io/v2/", "https://evil.azurecr.io/oauth2/token", False),
        ("https://mine.azurecr.io/v2/", "https://mine.azurecr.io/oauth2/token", True),
        ("https://mine.jfrog.io/v2/", "https://evil.jfrog.io/token", False),
        ("https://1.dkr.ecr.eu-west-1.amazonaws.com/", "https://evil.ecr.eu-west-1.amazonaws.com/", False),
        ("https://registry-1.docker.io/v2/", HUB_REALM, True),
        ("https://registry-1.docker.io/v2/", "https://auth.docker.io:8443/token", False),
        ("https://registry-1.docker.io/v2/", "https://evil.docker.io/token", False),
        ("https://registry-1.docker.io/v2/", "https://auth.docker.io.evil.com/token", False),
        (
            "https://registry.cn-hangzhou.aliyuncs.com/v2/",
            "https://dockerauth.cn-hangzhou.aliyuncs.com/auth",
            True,
        ),
        (
            "https://registry.cn-hangzhou.aliyuncs.com/v2/",
            "https://evil.cn-hangzhou.aliyuncs.com/auth",
            False,
        ),
        ("https://10.0.0.1/v2/", "https://20.0.0.1/token", False),
        ("https://10.0.0.1:5000/v2/", "https://10.0.0.1:5001/token", True),
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/token", True),
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token", False),
        ("http://registry.corp.lan/v2/", "http://auth.corp.lan/token", False),
        ("http://registry.corp.lan/v2/", "https://auth.corp.lan/token", True),
        ("https://registry/v2/", "https://auth/token", False),
        ("https://registry.example.com/v2/", "https://registry.example.com./token", True),
    ],
)
def test_realm(url: str, named: str, expected: bool) -> None:
    """A password goes to the registry's own site and nowhere else, by nobody's word but the user's."""
    assert expected == realm(REGISTRY, url, named, Trust()).trusted


@pytest.mark.parametrize(
    ("opening", "url", "named", "expected"),
    [
        ("registry.example.com=sso.corp", UPLOAD, "https://sso.corp/token", True),
        ("registry.example.com=sso.corp", UPLOAD, "https://sso.corp:8443/token", False),
        ("registry.example.com=sso.corp:8443", UPLOAD, "https://sso.corp:8443/token", True),
        ("registry.example.com=sso.corp", UPLOAD, "https://a.sso.corp/token", False),
        ("other.example.com=sso.corp", UPLOAD, "https://sso.corp/token", False),
        ("registry.example.com=SSO.corp.", UPLOAD, "https://sso.corp/token", True),
        ("registry.example.com=sso.corp", "http://registry.example.com/", "http://sso.corp/token", True),
    ],
)
def test_trust_realm(opening: str, url: str, named: str, expected: bool) -> None:
    """--trust-realm opens one host and port, for one registry."""
    trust = Trust(realms=(Opening.parse(opening, "--trust-realm"),))
    assert expected == realm(REGISTRY, url, named, trust).trusted


@pytest.mark.parametrize(
    "named",
    [
        "http://registry.example.com/token",
        "file:///etc/passwd",
        "https://user:pass@registry.example.com/",
        " ",
    ],
)
def test_a_realm_not_to_be_asked(named: str) -> None:
    """A token service without TLS, or at what is no address, is an error that names the registry."""
    with pytest.raises(
        RegistryError, match=r"^registry\.example\.com names a token service that is not to be"
    ):
        realm(REGISTRY, UPLOAD, named, Trust(realms=(Opening.parse(f"{REGISTRY}={REGISTRY}", "-"),)))


@pytest.mark.parametrize(
    "text", ["", "=", "a", "a=", "=b", "a.b=c=d", "a.b=c/d", "a.b=u@h", "a.b=h:0", "a.b=é"]
)
def test_what_opens_nothing(text: str) -> None:
    """An opening that is not REGISTRY=HOST is the user's error, with the option's name."""
    with pytest.raises(SpecError):
        Opening.parse(text, "--trust-realm")


@given(st.text(), st.text())
def test_realm_raises_only_what_it_declares(url: str, named: str) -> None:
    """Any realm is a token service or a RegistryError."""
    for text in (named, f"https://{named}", f"//{url}/{named}"):
        try:
            realm(REGISTRY, UPLOAD, text, Trust())
        except RegistryError:
            continue


# Redirects and upload sessions


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://registry.example.com/v2/u?s=1", "https://registry.example.com/v2/u?s=1"),
        ("http://registry.example.com:8080/v2/u", "https://registry.example.com/v2/u"),
        ("https://upload.example.net/u", "https://upload.example.net/u"),
        ("https://upload.example.net/a%2Fb?X=%7E%3A+==", "https://upload.example.net/a%2Fb?X=%7E%3A+=="),
        ("/v2/u?_state=a%2Fb", "https://registry.example.com/v2/u?_state=a%2Fb"),
    ],
)
def test_upload_location(location: str, expected: str) -> None:
    """A registry behind a TLS proxy that answers with its inner http address is read as https."""
    assert expected == upload_location(UPLOAD, location)


@pytest.mark.parametrize(
    ("rule", "location"),
    [
        (upload_location, "http://upload.example.net/u?sig=secret"),
        (redirect_target, "http://registry.example.com/b?sig=secret"),
        (redirect_target, "http://cdn.example.net/b?sig=secret"),
    ],
)
def test_tls_is_not_left(rule: Any, location: str) -> None:
    """What starts with TLS goes on with it, and the refusal shows no signature."""
    with pytest.raises(ContentError, match="from https to http, which nothing allows") as caught:
        rule(UPLOAD, location)
    assert "secret" not in str(caught.value)


def test_portable() -> None:
    """Only headers that say what is asked go to another origin."""
    headers = {"Authorization": "x", "Cookie": "x", "X-Team": "x", "Accept": "a", "Range": "bytes=1-"}
    assert {"Accept": "a", "Range": "bytes=1-"} == portable(headers)


@pytest.mark.parametrize(
    ("url", "kind", "errand", "expected"),
    [
        (
            "https://10.0.0.5/t",
            Kind.PRIVATE,
            Errand.REALM,
            (
                "registry.example.com names the token service https://10.0.0.5:443, which is a private address and"
                " not asked for a registry elsewhere; --trust-realm registry.example.com=10.0.0.5 allows it"
            ),
        ),
        (
            "https://[::1]:9000/u",
            Kind.LOOPBACK,
            Errand.UPLOAD,
            (
                "registry.example.com sends the upload to https://[::1]:9000, which is an address of this machine and"
                " not asked for a registry elsewhere; --trust-upload-host registry.example.com=[::1]:9000 allows it"
            ),
        ),
        (
            "http://169.254.169.254/latest",
            Kind.METADATA,
            Errand.REDIRECT,
            (
                "registry.example.com redirects to http://169.254.169.254:80, which is a cloud's metadata service and"
                " not asked for a registry elsewhere; nothing allows that"
            ),
        ),
    ],
)
def test_refused(url: str, kind: Kind, errand: Errand, expected: str) -> None:
    """A refusal says what, why, and what allows it."""
    assert expected == str(refused(REGISTRY, wire.origin(url), kind, errand))
