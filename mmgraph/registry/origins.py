"""Where a registry may send us, and with what: token services, redirects, upload sessions.

Owns the rules on names alone, as pure functions of strings; ``addresses`` has those on addresses. Must not know
sockets, resolvers or credentials. The attack
they stand against: a registry, or whoever answers in its place, names a realm, redirect or Location of its own
choice, and is handed a password, or has us knock at doors inside our network (CVE-2026-33540 in distribution,
CVE-2026-48978 and GHSA-vh4v-2xq2-g5cg in oras-go, CVE-2026-49349 in regclient).
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec
from publicsuffixlist import PublicSuffixList

from mmgraph.errors import ContentError, RegistryError, SpecError
from mmgraph.names import Registry, quote
from mmgraph.registry.addresses import NUMERIC, Kind
from mmgraph.registry.wire import Origin, escape, origin, redact, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the user opens


class Opening(msgspec.Struct, frozen=True):
    """``REGISTRY=HOST[:PORT]``: a host that the user trusts a registry with."""

    registry: Registry
    host: str
    port: int | None
    """None is the default port of the scheme."""

    @classmethod
    def parse(cls, text: str, option: str) -> Opening:
        """Parse what was given to ``option``; raises ``SpecError``."""
        name, equals, place = text.partition("=")
        if not equals or re.search("[=/?#]", place):
            raise SpecError(f"{option} {quote(text)}: write REGISTRY=HOST")
        registry = Registry.parse(name)
        try:
            found = origin(f"https://{place}/")
        except ContentError:
            raise SpecError(f"{option} {quote(text)}: {quote(place)} is not a host") from None
        return cls(registry, found.host, found.port if re.search(r":[0-9]+\Z", place) else None)

    def covers(self, registry: Registry, place: Origin) -> bool:
        """Whether it speaks of ``place`` as seen from ``registry``."""
        port = self.port or (443 if place.scheme == "https" else 80)
        return (self.registry, self.host, port) == (registry, place.host, place.port)


class Trust(msgspec.Struct, frozen=True):
    """All that the user has opened beyond the rules."""

    realms: tuple[Opening, ...] = ()
    """Token services that get a registry's credentials."""
    uploads: tuple[Opening, ...] = ()
    """Hosts at which a registry may keep blobs though they are not public; they get no credentials."""

    def realm(self, registry: Registry, place: Origin) -> bool:
        """Whether ``place`` may be handed the registry's credentials, by the user's word."""
        return _covered(self.realms, registry, place)

    def opened(self, registry: Registry, place: Origin) -> bool:
        """Whether ``place`` may be reached for ``registry`` at a private address."""
        return _covered((*self.realms, *self.uploads), registry, place)


def _covered(openings: Iterable[Opening], registry: Registry, place: Origin) -> bool:
    return any(opening.covers(registry, place) for opening in openings)


# Token services


class Realm(msgspec.Struct, frozen=True):
    """A token service, and whether the registry's credentials may go there; else it is asked anonymously."""

    url: str
    trusted: bool


def realm(registry: Registry, url: str, named: str, trust: Trust) -> Realm:
    """Return the token service that ``registry`` names in its answer to ``url``.

    Raises ``RegistryError`` for what is no URL, and where an https registry names an http service: a token
    that anybody on the way can read is no better than a password. A relative realm is the registry's own.
    """
    try:
        found = resolve(url, named)
    except ContentError:
        raise RegistryError(
            f"{registry} names a token service that is not to be asked: {escape(redact(named))}", status=401
        ) from None
    here, there = origin(url), origin(found)
    if here.scheme == "https" and there.scheme != "https":
        raise RegistryError(
            f"{registry} names a token service that is not to be asked: {escape(redact(found))} is without TLS,"
            f" while the registry has it; only --plain-http {registry} would allow it",
            status=401,
        )
    return Realm(found, trust.realm(registry, there) or _own_realm(here, there))


_KNOWN_REALMS: Final = (
    (re.compile(r"registry-1\.docker\.io"), "auth.docker.io"),
    # Alibaba: "realm="https://dockerauth.cn-hangzhou.aliyuncs.com/auth"" (kubernetes/minikube#13782).
    (
        re.compile(r"registry(?:-intl)?\.(?P<region>[a-z]+(?:-[a-z0-9]+)+)\.aliyuncs\.com"),
        r"dockerauth.\g<region>.aliyuncs.com",
    ),
)
"""Registries whose token service is known to be at one other host: what the registry is, what the service."""


def _own_realm(here: Origin, there: Origin) -> bool:
    if here.host == there.host:
        # On a shared machine another port without TLS may be another user's.
        return here.port == there.port or here.scheme == there.scheme == "https"
    for registry, service in _KNOWN_REALMS:
        if match := registry.fullmatch(here.host):
            return there.host == match.expand(service) and there.port == 443
    return there.scheme == "https" and same_site(here.host, there.host)


_SHARED: Final = re.compile(
    r"(?:.+\.)?(?:"
    # Registries of which each customer gets a name of his own.
    r"azurecr\.(?:io|cn|us)|jfrog\.io|gcr\.io|pkg\.dev|container-registry\.com|cloudsmith\.(?:io|com)"
    r"|amazonaws\.com(?:\.cn)?|ecr\.aws|on\.aws|on\.amazonwebservices\.com\.cn"
    r"|aliyuncs\.com|cr\.cloud\.ru|icr\.io|ocir\.io|oraclecloud\.com|myhuaweicloud\.com|tencentcloudcr\.com"
    r"|tencentyun\.com|vultrcr\.com|cr\.yandex|ovh\.net|scw\.cloud|ionos\.com|cpln\.io|repositories\.cloud"
    r"|redhat-marketplace\.com|sonatype\.app|replicated\.com|cloudrepo\.io|packages\.com"
    # Clouds under which everybody can put a server.
    r"|azure\.com|windows\.net|cloudapp\.net|googleapis\.com|googleusercontent\.com|cloudflarestorage\.com"
    r"|ngrok(?:-free)?\.(?:app|io|dev)|trycloudflare\.com|ts\.net|herokuapp\.com"
    # Names made of addresses.
    r"|(?:nip|sslip|xip)\.io|traefik\.me|localtest\.me|lvh\.me"
    r")"
)
"""Domains that strangers share although the Public Suffix List does not say so of each: only the exact host
counts there."""


@cache
def _suffixes() -> PublicSuffixList:
    # With its private section (only_icann=False): github.io is as public as co.uk. Read from the package.
    return PublicSuffixList()


@cache
def site(host: str) -> str:
    """Return the registrable domain of ``host``: whoever owns it owns all names below.

    Addresses, names of one label and names below shared domains stand for themselves.
    """
    name = host.rstrip(".").lower()
    if ":" in name or "." not in name or NUMERIC.fullmatch(name) or _SHARED.fullmatch(name):
        return name
    return _suffixes().privatesuffix(name) or name


def same_site(one: str, other: str) -> bool:
    """Whether two hosts belong to the same owner, as far as their names tell."""
    return site(one) == site(other)


# Redirects and upload sessions


def redirect_target(url: str, location: str) -> str:
    """Return where a redirect of a read leads, or raise ``ContentError``; from https never to http."""
    found = resolve(url, location)
    if origin(url).scheme == "https" and origin(found).scheme == "http":
        raise ContentError(
            f"the registry redirects from https to http, which nothing allows: {escape(redact(found))}"
        )
    return found


def upload_location(url: str, location: str) -> str:
    """Return where the upload session that ``url`` opened goes on, or raise ``ContentError``.

    A registry behind a proxy that ends TLS often answers with its inner ``http:`` address
    (distribution/distribution#970, #2225): on the same host that is read as ``https:``. To another host
    without TLS nothing is sent from a TLS registry: whoever sits on that path could take the blob or swap it.
    """
    found = resolve(url, location)
    here, there = origin(url), origin(found)
    if here.scheme == "https" and there.scheme == "http":
        if here.host != there.host:
            raise ContentError(
                "the registry sends the upload from https to http, which nothing allows:"
                f" {escape(redact(found))}"
            )
        path = found.partition("://")[2].partition("/")
        return f"{url.partition('://')[0]}://{url.partition('://')[2].partition('/')[0]}/{path[2]}"
    return found


_PORTABLE: Final = frozenset({"accept", "range", "content-type", "content-length", "content-range"})
"""Headers that say what is asked or sent, and nothing of who asks."""


def portable(headers: dict[str, str]) -> dict[str, str]:
    """Return what of the headers may go to another origin than the registry's (GHSA-whvf-jp7m-59f3)."""
    return {name: value for name, value in headers.items() if name.lower() in _PORTABLE}


class Errand(Enum):
    """Why we are sent elsewhere: how messages call it, and the option that opens more."""

    REALM = ("names the token service", "--trust-realm")
    REDIRECT = ("redirects to", "--trust-upload-host")
    UPLOAD = ("sends the upload to", "--trust-upload-host")


def refused(registry: Registry, place: Origin, kind: Kind, errand: Errand) -> RegistryError:
    """Return the error for a place that the rules on addresses forbid."""
    words, option = errand.value
    help_ = (
        f"{option} {registry}={place.short} allows it"
        if kind in (Kind.PRIVATE, Kind.LOOPBACK)
        else "nothing allows that"
    )
    return RegistryError(
        f"{registry} {words} {place}, which is {kind.value} and not asked for a registry elsewhere; {help_}"
    )
