"""WWW-Authenticate as strangers write it, and which token services may be handed a password.

Owns the scanner of challenges and the rule of trust. Must not know sockets, credentials or tokens.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.errors import ContentError
from mmgraph.registry.wire import origin, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEADER_LIMIT: Final = 16 << 10
_CHALLENGES_LIMIT: Final = 16
_PARAMETERS_LIMIT: Final = 32


class Challenge(msgspec.Struct, frozen=True):
    """One challenge (RFC 9110, 11.6.1); scheme and parameter names are in lower case."""

    scheme: str
    parameters: dict[str, str]


# RFC 9110, 5.6: tokens, quoted strings. A quoted string that does not end matches nothing, in linear time.
_SEPARATOR: Final = re.compile(r"[ \t,]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")
_EQUALS: Final = re.compile(r"[ \t]*=[ \t]*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all WWW-Authenticate headers in order; a header ends at its first bad byte.

    Commas separate challenges as well as parameters, and may stand in quoted values: this is a scanner, since
    splitting would cut Docker Hub's ``scope="repository:a:pull,push"`` in two.
    """
    found: list[Challenge] = []
    for header in headers:
        for challenge in _scan(header[:_HEADER_LIMIT]):
            if len(found) == _CHALLENGES_LIMIT:
                return tuple(found)
            found.append(challenge)
    return tuple(found)


def _scan(text: str) -> Iterator[Challenge]:
    current: Challenge | None = None
    named_now = False  # nothing but blanks since the scheme's name
    at = 0
    while True:
        separator = _SEPARATOR.match(text, at)
        at = separator.end() if separator else at
        named_now = named_now and "," not in (separator.group() if separator else "")
        if named_now and (alone := _TOKEN68.match(text, at)):  # "Negotiate YII=": its one value has no name
            at, named_now = alone.end(), False
            continue
        word = _TOKEN.match(text, at)
        if word is None:
            break
        equals = _EQUALS.match(text, word.end())
        if equals is None:
            if current is not None:
                yield current
            current, named_now, at = Challenge(word.group().lower(), {}), True, word.end()
            continue
        quoted = _QUOTED.match(text, equals.end())
        value = quoted or _TOKEN.match(text, equals.end())
        if value is None:
            break
        at, named_now = value.end(), False
        if current is not None and len(current.parameters) < _PARAMETERS_LIMIT:
            content = _ESCAPED.sub(r"\1", quoted.group(1)) if quoted else value.group()
            current.parameters.setdefault(word.group().lower(), content)
    if current is not None:
        yield current


def realm_url(registry_url: str, realm: str) -> str | None:
    """Return the token service's URL, or None where ``realm`` is none that may be asked at all.

    An https registry's token service must be https too. A relative realm belongs to the registry itself.
    """
    try:
        found = resolve(registry_url, realm)
        if origin(registry_url).scheme == "https" and origin(found).scheme != "https":
            return None
    except ContentError:
        return None
    return found


def realm_trusted(registry_url: str, realm: str) -> bool:
    """Whether the registry's credentials may go to the token service ``realm`` (an absolute URL).

    The attack: a registry, or whoever answers in its place, names a realm of its own choice and is handed the
    user's password (CVE-2026-33540 in distribution, CVE-2026-48978 in oras-go). So the realm must be the
    registry's own host, its parent domain, or a host below that: ``auth.example.com`` or ``example.com`` for
    ``registry.example.com``. Where the parent is a domain under which strangers get names (``github.io``,
    ``co.uk``, a cloud's), its hosts are not one another's; the public suffix list is not at hand, so the rule
    errs towards no. Addresses have no parents. Docker Hub's realm is known by name.
    """
    here, there = origin(registry_url), origin(realm)
    if here.scheme == "https" and there.scheme != "https":
        return False
    if here.host == there.host:
        # On a shared machine another port may be another user's.
        return here.port == there.port or here.scheme == there.scheme == "https"
    if here.host == "registry-1.docker.io":
        return there.host == "auth.docker.io" and there.port == 443
    parent = here.host.partition(".")[2]
    return _own_domain(here.host, parent) and (there.host == parent or there.host.endswith(f".{parent}"))


_SHARED_SECOND_LEVEL: Final = re.compile(
    "ac|co|com|edu|gob?|gov?|gv|ltd|me|mil|net?|nom|org?|plc|sch"
)  # co.uk
_SHARED_DOMAIN: Final = re.compile(
    r"(?:.*\.)?(?:"
    r"amazonaws\.com(?:\.cn)?|on\.aws|awsapps\.com|cloudfront\.net"
    r"|azure\.com|azurecr\.io|azurewebsites\.net|cloudapp\.net|windows\.net"
    r"|appspot\.com|cloudfunctions\.net|gcr\.io|googleapis\.com|pkg\.dev|run\.app|web\.app|firebaseapp\.com"
    r"|github\.io|githubusercontent\.com|gitlab\.io|jfrog\.io|container-registry\.com"
    r"|(?:pages|workers|r2|fly)\.dev|(?:vercel|netlify|ondigitalocean|ngrok|ngrok-free)\.app|ngrok\.io"
    r"|herokuapp\.com|onrender\.com|trycloudflare\.com|digitaloceanspaces\.com|scw\.cloud"
    r"|(?:nip|sslip|xip)\.io|(?:duckdns|dyndns|no-ip)\.org"
    r")"
)


def _own_domain(host: str, parent: str) -> bool:
    """Whether all hosts below ``parent`` belong, as far as can be told, to whom ``host`` belongs."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = parent.split(".")
        if len(labels) < 2 or not all(labels):
            return False
        if len(labels) == 2 and len(labels[1]) == 2 and _SHARED_SECOND_LEVEL.fullmatch(labels[0]):
            return False
        return _SHARED_DOMAIN.fullmatch(parent) is None
    return False
