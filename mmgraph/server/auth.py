"""Who may do what at the registry: nobody asked, Basic, or Bearer with a token endpoint. Knows no storage."""

from __future__ import annotations

import base64
import fnmatch
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qs

import msgspec

from mmgraph.clock import Clock, SystemClock
from mmgraph.server.answer import Answer, Code, Refusal
from mmgraph.server.log import Extra, Kind
from mmgraph.store import Operation

if TYPE_CHECKING:
    from mmgraph.server.exchange import Exchange

_FORM_LIMIT: Final = 64 * 1024
_READS: Final[frozenset[Kind]] = frozenset(
    {
        Operation.HEAD_MANIFEST,
        Operation.GET_MANIFEST,
        Operation.GET_TAGS,
        Operation.HEAD_BLOB,
        Operation.GET_BLOB,
        Extra.GET_REFERRERS,
    }
)

MayPull = Callable[[str], bool]
"""Whether a request may read a repository."""


class Auth(Protocol):
    """What decides whether a request is answered."""

    def check(self, exchange: Exchange, origin: str) -> MayPull:
        """Return which repositories the request may read, or refuse it with a challenge (401)."""
        ...

    async def token(self, exchange: Exchange) -> Answer:
        """Answer the token endpoint."""
        ...


class Open:
    """Everybody may do everything."""

    def check(self, exchange: Exchange, origin: str) -> MayPull:
        """Let the request pass."""
        return lambda _: True

    async def token(self, exchange: Exchange) -> Answer:
        """Say that there is no token endpoint."""
        raise Refusal(404, Code.UNSUPPORTED, "there is no such endpoint")


class Basic:
    """User and password with every request (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password

    def check(self, exchange: Exchange, origin: str) -> MayPull:
        """Let the request pass where its credentials are right."""
        if not _same(_basic(exchange), (self._user, self._password)):
            challenge = {"WWW-Authenticate": 'Basic realm="mmgraph"'}
            raise Refusal(401, Code.UNAUTHORIZED, "user and password are needed", headers=challenge)
        return lambda _: True

    async def token(self, exchange: Exchange) -> Answer:
        """Say that there is no token endpoint."""
        raise Refusal(404, Code.UNSUPPORTED, "there is no such endpoint")


class _Token(msgspec.Struct, frozen=True):
    actions: Mapping[str, frozenset[str]]
    expires: float


class Bearer:
    """Opaque tokens for scopes, issued at ``/token`` (distribution, "Token Authentication Specification").

    ``life`` is a token's in seconds. Without credentials tokens are for ``pull`` only, or with ``anonymous``
    off refused. No token is good for a repository that a glob of ``denied`` matches. ``realm`` replaces the
    URL that challenges name, ``service`` is what they call the registry. ``refresh_token`` is taken by POST
    as well as the password; ``post_status`` is POST's answer where it is not served (404 at GCR, 400 at ACR).
    ``first_scope_only`` grants a token nothing but its first scope. ``cancel`` is the action that ending an
    upload session needs: ``delete`` at distribution.
    """

    def __init__(
        self,
        user: str,
        password: str,
        *,
        service: str = "mmgraph",
        life: float = 300,
        anonymous: bool = True,
        denied: Sequence[str] = (),
        realm: str | None = None,
        refresh_token: str | None = None,
        post_status: int = 0,
        first_scope_only: bool = False,
        cancel: str = "push",
        clock: Clock | None = None,
    ) -> None:
        self._credentials = (user, password)
        self._service = service
        self._life = life
        self._anonymous = anonymous
        self._denied = tuple(denied)
        self._realm = realm
        self._refresh_token = refresh_token
        self._post_status = post_status
        self._first_scope_only = first_scope_only
        self._cancel = cancel
        self._clock = clock or SystemClock()
        self._tokens: dict[str, _Token] = {}

    def revoke(self) -> None:
        """Make every token issued so far worthless."""
        self._tokens.clear()

    def check(self, exchange: Exchange, origin: str) -> MayPull:
        """Let the request pass where its token is alive and has the scope."""
        kind, repository = exchange.target.kind, exchange.target.repository
        needed = _needed(kind, self._cancel)
        scheme, _, secret = exchange.request.headers.get("Authorization", "").partition(" ")
        token = self._tokens.get(secret) if scheme.lower() == "bearer" else None
        problem = ""
        if token is None or token.expires <= self._clock.now():
            problem = "invalid_token" if secret else ""
        elif not repository or needed <= token.actions.get(repository, frozenset()):
            return lambda name: "pull" in token.actions.get(name, frozenset())
        else:
            problem = "insufficient_scope"
        challenge = f'Bearer realm="{self._realm or f"{origin}/token"}",service="{self._service}"'
        if repository:
            challenge += f',scope="repository:{repository}:{",".join(sorted(needed))}"'
        if problem:
            challenge += f',error="{problem}"'
        raise Refusal(401, Code.UNAUTHORIZED, "a token is needed", headers={"WWW-Authenticate": challenge})

    async def token(self, exchange: Exchange) -> Answer:
        """Issue a token for what was asked and is allowed; that may be nothing, which is no error."""
        if exchange.request.method == "POST":
            if self._post_status:
                raise Refusal(self._post_status, Code.UNSUPPORTED, "tokens are issued by GET")
            form = parse_qs((await exchange.read(_FORM_LIMIT)).decode("utf-8", "replace"), max_num_fields=32)
            asked = form.get("scope", [])
            given = (form.get("username", [""])[0], form.get("password", [""])[0])
            refreshing = form.get("grant_type") == ["refresh_token"]
            refresh = form.get("refresh_token", [""])[0]
            known = (
                _equal(refresh, self._refresh_token or "") if refreshing else _same(given, self._credentials)
            )
            if not known or (refreshing and not self._refresh_token):
                raise Refusal(401, Code.UNAUTHORIZED, "the credentials are wrong")
        else:
            asked = exchange.request.query.getall("scope", [])
            credentials = _basic(exchange)
            known = _same(credentials, self._credentials)
            if not known and (credentials is not None or not self._anonymous):
                raise Refusal(401, Code.UNAUTHORIZED, "the credentials are wrong")
        exchange.scopes = tuple(scope for text in asked for scope in text.split())
        granted: dict[str, frozenset[str]] = {}
        for scope in exchange.scopes[:1] if self._first_scope_only else exchange.scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if kind == "repository" and not any(fnmatch.fnmatchcase(name, glob) for glob in self._denied):
                allowed = frozenset(actions.split(",")) & ({"pull", "push", "delete"} if known else {"pull"})
                granted[name] = granted.get(name, frozenset()) | allowed
        secret = secrets.token_urlsafe(32)
        self._tokens[secret] = _Token(granted, self._clock.now() + self._life)
        issued = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {"token": secret, "access_token": secret, "expires_in": int(self._life), "issued_at": issued}
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return Answer(200, headers, msgspec.json.encode(answer))


def _needed(kind: Kind, cancel: str) -> frozenset[str]:
    if kind in _READS:
        return frozenset({"pull"})
    if kind == Operation.DELETE_UPLOAD:
        return frozenset({cancel})
    if kind in {Extra.DELETE_BLOB, Extra.DELETE_MANIFEST}:
        return frozenset({"delete"})
    return frozenset({"pull", "push"})


def _basic(exchange: Exchange) -> tuple[str, str] | None:
    scheme, _, value = exchange.request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:  # not base64, not ASCII or not UTF-8
        return ("", "")
    return (user, password)


def _equal(one: str, other: str) -> bool:
    # Header bytes that are no UTF-8 reach us as lone surrogates.
    return hmac.compare_digest(one.encode(errors="surrogateescape"), other.encode())


def _same(given: tuple[str, str] | None, right: tuple[str, str]) -> bool:
    return given is not None and _equal(given[0], right[0]) and _equal(given[1], right[1])
