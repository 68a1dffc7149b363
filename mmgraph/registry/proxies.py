"""Which proxy a request goes through, by the environment.

Owns ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` as Go's httpproxy reads them, which is what docker, podman and
skopeo do; aiohttp's own reading knows no CIDR and also takes passwords from ``~/.netrc``. Must not know connections.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import msgspec

from mmgraph.errors import ContentError, SpecError
from mmgraph.names import quote
from mmgraph.registry.secrets import Secret
from mmgraph.registry.wire import loopback, origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mmgraph.registry.wire import Origin

_NAMES: Final = {"https": "https_proxy", "http": "http_proxy"}


class Proxy(msgspec.Struct, frozen=True):
    """A proxy; ``authorization`` is for itself alone, and never part of ``url``."""

    url: str
    authorization: Secret | None = None

    @classmethod
    def parse(cls, text: str, name: str) -> Proxy:
        """Parse the value of the variable ``name``; raises ``SpecError``, without quoting what may be a password."""
        scheme, mark, rest = text.strip().partition("://")
        scheme, rest = (scheme.lower(), rest) if mark else ("http", text.strip())
        if scheme != "http":
            raise SpecError(
                f"{name}: mmgraph speaks to proxies by http:// only, not by {quote(scheme)}; what goes through one"
                " to a registry with TLS is encrypted all the same"
            )
        user, at, place = rest.partition("/")[0].rpartition("@")
        try:
            found = origin(f"http://{place}/")
            explicit = urlsplit(f"http://{place}/").port
        except (ContentError, ValueError):
            raise SpecError(f"{name}: its value is not the URL of a proxy") from None
        address = f"[{found.host}]" if ":" in found.host else found.host
        login = None
        if at:
            username, _, password = user.partition(":")
            pair = f"{unquote(username)}:{unquote(password)}".encode()
            login = Secret(f"Basic {base64.b64encode(pair).decode()}")
        return cls(f"http://{address}:{explicit or 80}", login)


class _Rule(msgspec.Struct, frozen=True):
    """One entry of NO_PROXY: a name with what is below it, a network, and perhaps a port."""

    name: str = ""
    below_only: bool = False
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            try:
                return ipaddress.ip_address(host) in self.network
            except ValueError:
                return False
        return host.endswith(f".{self.name}") or (not self.below_only and host == self.name)


class Proxies:
    """The proxies of a run. Raises ``SpecError`` for a variable that cannot be meant."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._proxies: dict[str, Proxy] = {}
        for scheme, name in _NAMES.items():
            found, value = _value(environ, name)
            # A CGI script's HTTP_PROXY is the visitor's Proxy header (CVE-2016-5385).
            if value and not (found == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
                self._proxies[scheme] = Proxy.parse(value, found)
        _, excepted = _value(environ, "no_proxy")
        entries = [entry.strip().lower() for entry in excepted.split(",")]
        self._all_direct = "*" in entries
        self._rules = tuple(_rules(entry for entry in entries if entry))

    def find(self, place: Origin) -> Proxy | None:
        """Return the proxy for ``place``, None where it is reached directly; this machine always is."""
        proxy = self._proxies.get(place.scheme)
        if proxy is None or self._all_direct or loopback(place.host):
            return None
        return None if any(rule.covers(place.host, place.port) for rule in self._rules) else proxy


def _value(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable's name and value; lower case goes before upper case, as with curl."""
    for each in (name, name.upper()):
        if environ.get(each):
            return each, environ[each]
    return name, ""


def _rules(entries: Iterable[str]) -> Iterable[_Rule]:
    for entry in entries:
        if network := _network(entry):
            yield _Rule(network=network)
            continue
        place, colon, text = entry.rpartition(":")
        ported = bool(colon) and text.isascii() and text.isdigit()
        place, port = (place, int(text)) if ported else (entry, None)
        name = place.removeprefix("*").rstrip(".")
        if network := _network(place.removeprefix("[").removesuffix("]")):
            yield _Rule(network=network, port=port)
        elif name.strip("."):
            yield _Rule(name=name.lstrip("."), below_only=name.startswith("."), port=port)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
