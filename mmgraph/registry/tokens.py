"""Token services: one token fetched by GET or by OAuth2's POST, and what is believed of its life.

Owns distribution's token and OAuth2 protocols as services really speak them. Must not know which registry's
challenges led here, nor keep tokens: one question, one answer.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec

from mmgraph.errors import ContentError, RegistryError
from mmgraph.quirks import Quirk
from mmgraph.registry import wire
from mmgraph.registry.secrets import TOKEN_TEXT, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Registry, Repository
    from mmgraph.quirks import Quirks
    from mmgraph.registry.secrets import Credential

_CLIENT: Final = "mmgraph"
_LIFE: Final = 60.0
"""Seconds that a token lives where the service does not say (distribution's token specification)."""
_LONGEST_LIFE: Final = 86_400.0
_EARLY: Final = 10.0
"""Seconds before its end from which a token counts as old: a request must not expire on the way."""
_YOUNG: Final = 0.9
"""The part of a token's life that must be left where more is wanted than any token has."""
_OTHER_METHOD: Final = frozenset({400, 401, 404, 405})
"""Answers to a POST after which a GET may help: GCR's is 404, ACR's 400, Artifactory's 401
(containerd/containerd#2166)."""


class Reply(NamedTuple):
    """What a token service answered at last, with at most ``wire.TOKEN_LIMIT`` + 1 bytes, and after how many tries.

    ``waited`` are the seconds that had passed when the last of them was made.
    """

    status: int
    body: bytes
    tries: int = 1
    waited: float = 0.0


class Fetch(Protocol):
    """Sends one request to a token service, repeats it where that may help, and never follows a redirect."""

    async def __call__(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        """Return the answer."""
        ...


class Demand(msgspec.Struct, frozen=True):
    """What a registry answered its first challenge with: how it wants to be convinced."""

    scheme: Literal["basic", "bearer"]
    realm: str = ""
    service: str = ""
    trusted: bool = False


class Token(msgspec.Struct, frozen=True):
    """A bearer token as header, and the span of its life on our clock."""

    header: Secret
    born: float
    old: float

    def lasts(self, now: float, seconds: float) -> bool:
        """Whether it is good for ``seconds`` from ``now``, or as good for them as a new one would be."""
        return now + min(seconds, (self.old - self.born) * _YOUNG) < self.old

    def grants(self, scopes: tuple[str, ...]) -> bool | None:
        """Whether the token, where it is distribution's JWT, lists all actions of ``scopes``; None if not one.

        Services grant silently less than they were asked for. The signature is not ours to check.
        """
        access = _claims(self.header.reveal().partition(" ")[2]).get("access")
        if not isinstance(access, list):
            return None
        granted: dict[str, set[str]] = {}
        for each in access:
            if isinstance(each, dict) and isinstance(each.get("actions"), list):
                name = f"{each.get('type')}:{each.get('name')}"
                granted.setdefault(name, set()).update(map(str, each["actions"]))
        for scope in scopes:
            name, _, actions = scope.rpartition(":")
            held = granted.get(name, set())
            if "*" not in held and not set(actions.split(",")) <= held:
                return False
        return True


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def bearer(token: Secret) -> Secret:
    """Return the Authorization value that shows ``token``."""
    return Secret(f"Bearer {token.reveal()}")


class TokenServices:
    """Asks token services, each registry's in the way that it has turned out to understand."""

    def __init__(self, clock: Clock, fetch: Fetch, quirks: Quirks) -> None:
        self._clock = clock
        self._fetch = fetch
        self._quirks = quirks

    async def token(
        self,
        demand: Demand,
        repository: Repository,
        scopes: tuple[str, ...],
        credential: Credential | None,
        advice: str,
    ) -> Token:
        """Return a token for ``scopes``; ``advice`` ends the message of the ``RegistryError`` otherwise."""
        now = self._clock.now()
        if credential is not None and credential.registry_token is not None:
            return Token(bearer(credential.registry_token), now, float("inf"))
        reply = await self._ask(demand, repository.registry, scopes, credential)
        if reply.status != 200 or len(reply.body) > wire.TOKEN_LIMIT:
            raise _refused(demand, repository, reply, advice, known=credential is not None)
        # Counted from the moment of asking, at last, on our own clock: the service's may be wrong.
        now += reply.waited
        text, life = _parse(reply.body, demand, self._clock.wall())
        return Token(bearer(text), now, now + life - min(_EARLY, life / 2))

    async def _ask(
        self, demand: Demand, registry: Registry, scopes: tuple[str, ...], credential: Credential | None
    ) -> Reply:
        if credential is not None and credential.identity_token is not None:
            basic = credential.basic() or credential.identity_as_password()
            if not self._quirks.has(registry, Quirk.TOKEN_BY_GET):
                grant = {
                    "grant_type": "refresh_token",
                    "refresh_token": credential.identity_token.reveal(),
                }
                answer = await self._post(demand, registry, scopes, grant)
                if answer.status not in _OTHER_METHOD:
                    return answer
                found = await self._get(demand, registry, scopes, credential.username, basic)
                if found.status != 200:
                    return answer if found.status in _OTHER_METHOD - {401} else found
                self._quirks.learn(registry, Quirk.TOKEN_BY_GET)
                return found
            return await self._get(demand, registry, scopes, credential.username, basic)
        basic = credential.basic() if credential is not None else None
        username = credential.username if credential is not None else ""
        answer = await self._get(demand, registry, scopes, username, basic)
        if answer.status in (404, 405) and credential is not None and credential.password is not None:
            # A service of OAuth2's alone.
            grant = {
                "grant_type": "password",
                "username": username,
                "password": credential.password.reveal(),
            }
            posted = await self._post(demand, registry, scopes, grant)
            return posted if posted.status not in (404, 405) else answer
        return answer

    async def _get(
        self,
        demand: Demand,
        registry: Registry,
        scopes: tuple[str, ...],
        username: str,
        basic: Secret | None,
    ) -> Reply:
        pairs = [("service", demand.service)] if demand.service else []
        if username:
            pairs.append(("account", username))
        url = wire.query(demand.realm, [*pairs, *(("scope", scope) for scope in scopes)])
        return await self._fetch(
            registry, "GET", url, {"Authorization": basic.reveal()} if basic else {}, None
        )

    async def _post(
        self, demand: Demand, registry: Registry, scopes: tuple[str, ...], grant: Mapping[str, str]
    ) -> Reply:
        service = {"service": demand.service} if demand.service else {}
        form = {**service, "client_id": _CLIENT, "scope": " ".join(scopes), **grant}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._fetch(registry, "POST", demand.realm, headers, urlencode(form).encode())


def _parse(body: bytes, demand: Demand, wall: float) -> tuple[Secret, float]:
    """The token of a token service's answer and the seconds that it has left at the time ``wall``."""
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    text = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    if not isinstance(text, str) or not TOKEN_TEXT.fullmatch(text):
        where = wire.escape(wire.redact(demand.realm))
        raise ContentError(f"the token service {where} answered without a token") from None
    life = document.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, int | float) or not life >= 1:
        life = _LIFE
    life = float(min(life, _LONGEST_LIFE))
    age = wall - issued if (issued := _issued(document.get("issued_at"))) is not None else 0.0
    if not 0 < age < life:
        return Secret(text), life  # a token that is just handed out has not ended: the clocks differ
    # Some services hand out a token again that they made before. The floor is for a clock that runs ahead by
    # nearly a token's life: without it every request would fetch a token.
    return Secret(text), max(life - age, min(life, _LIFE))


def _issued(text: Any) -> float | None:
    try:
        date = datetime.fromisoformat(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _refused(
    demand: Demand, repository: Repository, reply: Reply, advice: str, *, known: bool
) -> RegistryError:
    status = reply.status
    where = wire.escape(wire.redact(demand.realm))
    if status == 200:
        return ContentError(f"the token service {where} answered with more than {wire.TOKEN_LIMIT} bytes")
    said = wire.refusal(reply.body[: wire.ERROR_LIMIT])
    who = "with the login for" if known else "without a login for"
    words = ": ".join(filter(None, (", ".join(said.codes), said.message)))
    hint = f"; {advice}" if status in (400, 401, 403) else "; run it again later" if reply.tries > 1 else ""
    tries = f" after {reply.tries} tries" if reply.tries > 1 else ""
    return RegistryError(
        f"the token service {where} answered {status}{tries} {who} {repository}"
        f"{f': {words}' if words else ''}{hint}",
        status=status,
        codes=said.codes,
    )
