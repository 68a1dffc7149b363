"""The registry protocol as pure rules: addresses, Location, ranges, error bodies, what may be repeated.

Owns what can be decided from strings and statuses alone (distribution-spec v1.1 and what registries make of
it). Must not know sockets, the clock or credentials. Everything here takes text from strangers: functions
return None or raise ``ContentError`` for what breaks the rules, and nothing else.
"""

from __future__ import annotations

import email.utils
import functools
import ipaddress
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote as percent
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from mmgraph.errors import ContentError, SpecError
from mmgraph.names import HUB, Digest, Registry, Repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MANIFEST_ACCEPT: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
"""What a manifest may come as; the same in every request, since some registries answer with the digest of
another representation when it differs (distribution/distribution#2395)."""

OCTETS: Final = "application/octet-stream"
"""The media type of a blob's bytes on the wire, whatever its descriptor says (distribution-spec, "Pushing blobs")."""
MANIFEST_LIMIT: Final = 4 << 20
"""Bytes of a manifest; distribution-spec asks registries for at least 4 MB, distribution takes no more."""
TOKEN_LIMIT: Final = 128 << 10
ERROR_LIMIT: Final = 64 << 10
TAG_PAGE_LIMIT: Final = 4 << 20
REDIRECT_LIMIT: Final = 5

_URL_LIMIT: Final = 32 << 10
_MESSAGE_LIMIT: Final = 240
_SECRET_LENGTH: Final = 8
"""Characters; what is shorter is no signature, and would be starred out of ordinary words."""

# Addresses


def host(registry: Registry) -> str:
    """Return the ``host[:port]`` that serves the registry's API; Docker Hub's differs from its name."""
    return "registry-1.docker.io" if registry == HUB else registry


def manifest_path(repository: Repository, name: str) -> str:
    """Return the path of the manifest that the tag or digest ``name`` names."""
    return f"/v2/{repository.path}/manifests/{name}"


def blob_path(repository: Repository, digest: Digest) -> str:
    """Return the path of a blob."""
    return f"/v2/{repository.path}/blobs/{digest}"


def tags_path(repository: Repository) -> str:
    """Return the path that lists one tag: the cheapest question whether a repository is there."""
    return f"/v2/{repository.path}/tags/list?n=1"


def upload_path(repository: Repository) -> str:
    """Return the path that opens an upload session.

    It is bare: with ``?digest=`` the empty body would be a whole blob (zot answers 415, Quay verifies it).
    """
    return f"/v2/{repository.path}/blobs/uploads/"


def mount_path(repository: Repository, digest: Digest, mount_from: Repository) -> str:
    """Return the path that asks for a mount; never without ``from``, which Quay refuses."""
    return f"/v2/{repository.path}/blobs/uploads/?mount={digest}&from={mount_from.path}"


def pull_scopes(repository: Repository) -> tuple[str, ...]:
    """Return the token scopes for reading the repository."""
    return (f"repository:{repository.path}:pull",)


def push_scopes(repository: Repository, mount_from: Repository | None = None) -> tuple[str, ...]:
    """Return the token scopes for writing the repository, and for a mount, reading ``mount_from``.

    The push scope comes first, because some registries read only the first one (go-containerregistry,
    ``write.go``).
    """
    push = f"repository:{repository.path}:pull,push"
    if mount_from is None or mount_from.path == repository.path:
        return (push,)
    return (push, f"repository:{mount_from.path}:pull")


def _hostname(registry: str) -> str:
    name = registry.rpartition(":")[0] if re.search(r":[0-9]+\Z", registry) else registry
    return name.strip("[]").rstrip(".").lower()


def plain_http_allowed(registry: Registry) -> bool:
    """Whether plain HTTP may be tried without being told: only where the packets never leave this machine."""
    return loopback(_hostname(registry))


@functools.lru_cache(maxsize=1 << 10)
def loopback(name: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Origin(msgspec.Struct, frozen=True, order=True):
    """What credentials belong to: scheme, host and port, not the host alone (GHSA-vh4v-2xq2-g5cg)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{name}:{self.port}"

    @property
    def short(self) -> str:
        """``host``, or ``host:port`` where the port is not the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.scheme == "https" else 80) else f"{name}:{self.port}"


_URL_TEXT: Final = re.compile(r"[!-\[\]-~]+")
_HOST: Final = re.compile(r"[a-z0-9_][a-z0-9_-]*(?:\.[a-z0-9_][a-z0-9_-]*)*\.?|[0-9a-f.]*:[0-9a-f:.]*")
"""In ASCII and without escapes, so that no two readers of a URL can see different hosts in it."""


_ROOT: Final = re.compile(r"[A-Za-z]+://[^/?#\\]*")


def origin(url: str) -> Origin:
    """Return the origin of an absolute http or https URL, or raise ``ContentError``.

    URLs with user names are refused: they come from registries, and would make somebody's secret of a plain
    string.
    """
    if len(url) > _URL_LIMIT or not _URL_TEXT.fullmatch(url):
        raise ContentError(f"{escape(redact(url))} is not a URL")
    root = _ROOT.match(url)
    found = _origin(root[0]) if root is not None else "that can be followed"
    if isinstance(found, str):
        raise ContentError(f"{escape(redact(url))} is not a URL{f' {found}' if found else ''}")
    return found


@functools.lru_cache(maxsize=1 << 10)
def _origin(root: str) -> Origin | str:
    """The origin of a URL's scheme and authority, which are the same for nearly all; or what is wrong with them."""
    try:
        parts = urlsplit(root)
        name, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not name or "@" in parts.netloc or port == 0:
        return "that can be followed"
    if len(name) > 253 or not _HOST.fullmatch(name):
        return "with a host in it"
    return Origin(parts.scheme, name.removesuffix("."), port or (443 if parts.scheme == "https" else 80))


def resolve(url: str, location: str) -> str:
    """Return ``location`` as an absolute URL, seen from the absolute ``url`` that answered with it.

    Relative, path-absolute, query-only and absolute forms are all in use. Path and query stay as they were
    sent, byte for byte: a normalised ``%2F`` breaks signed URLs. Raises ``ContentError`` for what is no URL.
    """
    location = location.strip(" \t").partition("#")[0]
    if not location or len(location) > _URL_LIMIT or not _URL_TEXT.fullmatch(location):
        raise ContentError("the registry answered with a Location that is not a URL")
    scheme, _, rest = url.partition("://")
    authority, _, tail = rest.partition("/")
    root = f"{scheme}://{authority}"
    if re.match(r"https?://", location, re.IGNORECASE):
        found = location
    elif location.startswith("//"):
        found = f"{scheme}:{location}"
    elif location.startswith("/"):
        found = root + location
    elif location.startswith("?"):
        found = f"{root}/{tail.partition('?')[0]}{location}"
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", location):
        raise ContentError(
            f"the registry answered with a Location that cannot be followed: {escape(redact(location))}"
        )
    else:
        path, mark, query = location.partition("?")
        try:
            found = urljoin(f"{root}/{tail.partition('?')[0]}", path) + mark + query
        except ValueError:
            raise ContentError("the registry answered with a Location that is not a URL") from None
    origin(found)
    return found


def with_digest(location: str, digest: Digest) -> str:
    """Return the URL that commits an upload as ``digest``; what the registry wrote stays untouched."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def query(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return ``url`` with ``pairs`` appended to its query."""
    added = "&".join(f"{percent(key, safe='')}={percent(value, safe=':/,')}" for key, value in pairs)
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url


_SHOWN_QUERY: Final = frozenset({"digest", "mount", "from", "n", "scope", "service"})


def redact(url: str) -> str:
    """Return ``url`` fit for messages: query values that may be signatures or session state are starred."""
    path, mark, text = url.partition("?")
    scheme, colon, rest = path.partition("://")
    authority, slash, tail = rest.partition("/")
    if colon and "@" in authority:
        path = f"{scheme}://***@{authority.rpartition('@')[2]}{slash}{tail}"
    if not mark:
        return path
    pairs = []
    for pair in text.split("&"):
        key, equals, _ = pair.partition("=")
        pairs.append(pair if not equals or key in _SHOWN_QUERY else f"{key}=***")
    return f"{path}?{'&'.join(pairs)}"


def escape(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """Return a stranger's text fit for a terminal, cut to ``limit`` characters.

    Control characters, ESC, bidirectional overrides and zero-width characters could rewrite what a person
    reads.
    """
    shown = text[:limit] + "…" if len(text) > limit else text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


# Answers


def media_type(header: str | None) -> str:
    """Return a Content-Type without its parameters; empty where there is none."""
    return (header or "").partition(";")[0].strip()


@functools.lru_cache(maxsize=1 << 10)
def header_digest(header: str | None) -> Digest | None:
    """Return Docker-Content-Digest, or None for a missing or odd one (Huawei's has no ``sha256:``)."""
    if header is None:
        return None
    try:
        return Digest.parse(header.strip())
    except SpecError:
        return None


def contradicts(header: str | None, digest: Digest) -> bool:
    """Whether Docker-Content-Digest names other bytes; another algorithm proves nothing either way."""
    named = header_digest(header)
    return named is not None and named != digest and named.algorithm == digest.algorithm


_RANGE: Final = re.compile(r"bytes[ \t]+([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE)


def content_range(header: str | None) -> tuple[int, int, int | None] | None:
    """Return first byte, last byte and size (None for ``*``) of a Content-Range, or None for junk."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    return None if last < first or (total is not None and last >= total) else (first, last, total)


def retry_after(header: str | None, wall: float) -> float | None:
    """Return the seconds that Retry-After asks for at the time ``wall``; None for junk.

    Seconds and dates are RFC 9110, 10.2.3; the time as seconds since 1970 is what Docker Hub has sent.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,19}(?:\.[0-9]{0,9})?", text):
        seconds = float(text)
        if abs(seconds - wall) < 86_400:
            seconds -= wall
    else:
        try:
            date = email.utils.parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - wall
        except (ValueError, OverflowError, TypeError, IndexError):
            return None
    return max(seconds, 0.0)


_PART: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^",]+|,', re.DOTALL)
"""A quoted string, to the end where it has none; what is between them; what separates elements of a header."""
_WARNING: Final = re.compile(
    r'[ \t]*299[ \t]+[^\s"]+[ \t]+"((?:[^"\\]|\\.)*)"[ \t]*(?:"[^"]*"[ \t]*)?', re.DOTALL
)


def warnings(header: str) -> list[str]:
    """Return the texts of the warnings in a Warning header that are meant for users; junk is passed over.

    ``299 - "text"`` (distribution-spec, "Warnings"); several in one header, and dates after them: RFC 7234, 5.5.
    """
    elements: list[list[str]] = [[]]
    for part in _PART.findall(header):
        if part == ",":
            elements.append([])
        else:
            elements[-1].append(part)
    found = (_WARNING.fullmatch("".join(parts)) for parts in elements)
    return [re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL) for match in found if match and match[1]]


class Refusal(msgspec.Struct, frozen=True):
    """What an error body says (distribution-spec, "Error Codes"): codes, one escaped message, digests."""

    codes: tuple[str, ...] = ()
    message: str = ""
    digests: tuple[str, ...] = ()


_DIGEST_TEXT: Final = re.compile(r"sha256:[0-9a-f]{64}(?![0-9a-f])|sha512:[0-9a-f]{128}(?![0-9a-f])")
_CODE: Final = re.compile(r"[A-Za-z0-9_. -]{1,64}")


_STORAGE_ERROR: Final = re.compile(rb"<Code>([^<]{1,100})</Code>(?:\s*<Message>([^<]{1,400})</Message>)?")
"""S3 and its like; the rest of such a body quotes the signature and what was signed."""
_QUERY_VALUE: Final = re.compile(r"([?&][A-Za-z0-9_.%-]{1,64}=)[^&\s\"'<>]+")


def refusal(body: bytes, url: str = "") -> Refusal:
    """Return what an error body says to a request for ``url``; of one that is not the spec's JSON, some of its text.

    Without what may be a secret: the values of the URL's query, and those of any other URL in it.
    """
    for pair in url.partition("?")[2].split("&"):
        key, _, value = pair.partition("=")
        if key not in _SHOWN_QUERY and len(value) >= _SECRET_LENGTH:
            body = body.replace(value.encode(), b"***").replace(unquote(value).encode(), b"***")
    found = _refusal(body)
    message = _QUERY_VALUE.sub(r"\1***", found.message)
    return msgspec.structs.replace(found, message=message) if message else found


def _refusal(body: bytes) -> Refusal:
    storage = _STORAGE_ERROR.search(body[:4096])
    if storage is not None:
        words = b": ".join(filter(None, storage.groups()))
        return Refusal(message=escape(" ".join(words.decode("utf-8", "replace").split())))
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Refusal(message=escape(" ".join(body[:4096].decode("utf-8", "replace").split())))
    entries = document.get("errors") if isinstance(document, dict) else None
    codes, messages, digests = list[str](), list[str](), dict[str, None]()
    for entry in entries[:64] if isinstance(entries, list) else (document,):
        if not isinstance(entry, dict):
            continue
        code, message = entry.get("code"), entry.get("message")
        if isinstance(code, str) and _CODE.fullmatch(code):
            codes.append(code)
        if isinstance(message, str):
            messages.append(message)
        found = list(_named(entry.get("detail")))
        if not found and isinstance(
            message, str
        ):  # ECR: "Layers with digests '[sha256:…]' required for pushing …"
            found = _DIGEST_TEXT.findall(message)
        digests.update(dict.fromkeys(found))
    return Refusal(tuple(codes), escape("; ".join(messages)), tuple(digests))


def _named(detail: Any) -> Iterator[str]:
    """Digests in a ``detail``: text, ``{"digest": …}``, distribution's ``{"Digest": …}``, zot's "blob"."""
    for item in detail[:256] if isinstance(detail, list) else (detail,):
        if isinstance(item, dict):
            for key, value in item.items():
                if key.lower() in ("digest", "blob", "blobsum") and isinstance(value, str):
                    yield from _DIGEST_TEXT.findall(value)
        elif isinstance(item, str):
            yield from _DIGEST_TEXT.findall(item)


def mount_refused(status: int) -> bool:
    """Whether an answer to a mount is a no that a plain session gets around: all but those that ask to wait.

    A mount that fails is never an image that fails: 400, 401, 403, 404, 405 and 500 have all been seen for
    one (goharbor/harbor#17097, google/go-containerregistry#1393, #1404, #1741).
    """
    return status not in (201, 202) and status not in (408, 429, 502, 503, 504)


_IMMUTABLE: Final = re.compile(r"immutable|tag ?already ?exists|TAG_IMMUTABLE", re.IGNORECASE)


def immutable(status: int, said: Refusal) -> bool:
    """Whether a refusal of a tag says that the tag is there and may not be moved (ECR, Harbor, Artifact Registry)."""
    return 400 <= status < 500 and _IMMUTABLE.search(" ".join((*said.codes, said.message))) is not None
