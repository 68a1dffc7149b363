"""What a method and a path ask for: a pure parser of the distribution-spec's endpoints. Knows no storage."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from mmgraph.errors import SpecError
from mmgraph.names import Digest, Repository
from mmgraph.server.answer import Code, Refusal
from mmgraph.server.log import Extra, Kind
from mmgraph.store import Operation

_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SESSION: Final = re.compile(r"[0-9a-f]{32}")

# The end of the path decides, since a repository may itself be called "blobs" or "manifests". A line break,
# sent percent-encoded, must get as far as the check of names: hence (?s:).
_MANIFEST: Final = re.compile(r"/v2/(?P<repository>(?s:.+))/manifests/(?P<name>[^/]+)")
_BLOB: Final = re.compile(r"/v2/(?P<repository>(?s:.+))/blobs/(?P<name>[^/]+)")
_UPLOADS: Final = re.compile(r"/v2/(?P<repository>(?s:.+))/blobs/uploads(?P<name>/?)")
_UPLOAD: Final = re.compile(r"/v2/(?P<repository>(?s:.+))/blobs/uploads/(?P<name>[^/]+)")
_TAGS: Final = re.compile(r"/v2/(?P<repository>(?s:.+))/tags/(?P<name>list)")
_REFERRERS: Final = re.compile(r"/v2/(?P<repository>(?s:.+))/referrers/(?P<name>[^/]+)")

_ENDPOINTS: Final[tuple[tuple[re.Pattern[str], dict[str, Kind]], ...]] = (
    (_UPLOADS, {"POST": Operation.POST_UPLOAD}),
    (
        _UPLOAD,
        {
            "GET": Operation.GET_UPLOAD,
            "PATCH": Operation.PATCH_UPLOAD,
            "PUT": Operation.PUT_BLOB,
            "DELETE": Operation.DELETE_UPLOAD,
        },
    ),
    (
        _MANIFEST,
        {
            "GET": Operation.GET_MANIFEST,
            "HEAD": Operation.HEAD_MANIFEST,
            "PUT": Operation.PUT_MANIFEST,
            "DELETE": Extra.DELETE_MANIFEST,
        },
    ),
    (_BLOB, {"GET": Operation.GET_BLOB, "HEAD": Operation.HEAD_BLOB, "DELETE": Extra.DELETE_BLOB}),
    (_TAGS, {"GET": Operation.GET_TAGS}),
    (_REFERRERS, {"GET": Extra.GET_REFERRERS}),
)


class Target(msgspec.Struct, frozen=True):
    """What a request asks for; ``repository`` and ``name`` are as they were sent, and yet to be checked."""

    kind: Kind
    repository: str = ""
    name: str = ""
    allowed: tuple[str, ...] = ()
    """The methods of a known endpoint that was asked with another one."""


def target(method: str, path: str) -> Target:
    """Return what is asked for; ``Extra.OTHER`` where the path is no endpoint or does not take the method."""
    if path in {"/v2/", "/v2"}:
        return (
            Target(Operation.PING)
            if method in {"GET", "HEAD"}
            else Target(Extra.OTHER, allowed=("GET", "HEAD"))
        )
    if path == "/token":
        return (
            Target(Operation.TOKEN)
            if method in {"GET", "POST"}
            else Target(Extra.OTHER, allowed=("GET", "POST"))
        )
    for pattern, kinds in _ENDPOINTS:
        if match := pattern.fullmatch(path):
            name = match["name"].strip("/") if pattern is _UPLOADS else match["name"]
            kind = kinds.get(method, Extra.OTHER)
            return Target(kind, match["repository"], name, () if method in kinds else tuple(kinds))
    return Target(Extra.OTHER)


def checked_repository(name: str) -> str:
    """Return ``name`` where it is a repository's, or refuse it (NAME_INVALID)."""
    try:
        return Repository.parse(f"localhost/{name}").path
    except SpecError as error:
        raise Refusal(400, Code.NAME_INVALID, str(error)) from None


def checked_digest(text: str) -> Digest:
    """Return the digest that ``text`` spells, or refuse it (DIGEST_INVALID)."""
    try:
        return Digest.parse(text)
    except SpecError as error:
        raise Refusal(400, Code.DIGEST_INVALID, str(error)) from None


def checked_tag(text: str) -> str:
    """Return ``text`` where it is a tag, or refuse it (TAG_INVALID)."""
    if not _TAG.fullmatch(text):
        raise Refusal(400, Code.TAG_INVALID, "a tag has letters, digits, _ . - and at most 128 characters")
    return text


def checked_session(text: str) -> str:
    """Return ``text`` where it can be an upload session, or refuse it (BLOB_UPLOAD_UNKNOWN)."""
    if not _SESSION.fullmatch(text):
        raise Refusal(404, Code.BLOB_UPLOAD_UNKNOWN, "there is no such upload session")
    return text
