"""Authorization: what each registry wants to see, and the tokens that satisfy it.

Owns the challenge each registry answered with, and tokens by registry and exact set of scopes, each fetched
by one flight at a time. Must not know how requests are sent: it is handed a function for that.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from urllib.parse import urlencode

import msgspec

from mmgraph.errors import ContentError, RegistryError
from mmgraph.registry import wire
from mmgraph.registry.challenge import challenges, realm_trusted, realm_url
from mmgraph.registry.credentials import Credential, Credentials, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Registry, Repository

_CLIENT: Final = "mmgraph"
_LIFE: Final = 60.0
"""Seconds that a token lives where the service does not say (distribution's token specification)."""
_LONGEST_LIFE: Final = 86_400.0
_EARLY: Final = 10.0
"""Seconds before its end from which a token counts as old: a request must not expire on the way."""
_TOKEN_TEXT: Final = re.compile(r"[!-~]+")


class Fetch(Protocol):
    """Sends one request to a token service, repeats it where that may help, and never follows a redirect."""

    async def __call__(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        """Return status and body, the latter at most ``wire.TOKEN_LIMIT`` + 1 bytes."""
        ...


class _Demand(msgspec.Struct, frozen=True):
    """What a registry answered its first challenge with: how it wants to be convinced."""

    scheme: Literal["basic", "bearer"]
    realm: str = ""
    service: str = ""
    trusted: bool = False


class _Token(msgspec.Struct, frozen=True):
    header: Secret
    old_at: float


class Authenticator:
    """Authorization headers for requests, before they are sent wherever the registry's demand is known."""

    def __init__(
        self, credentials: Credentials, clock: Clock, fetch: Fetch, warn: Callable[[str], None]
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._fetch = fetch
        self._warn = warn
        self._demands: dict[Registry, _Demand] = {}
        self._tokens: dict[tuple[Registry, tuple[str, ...]], _Token] = {}
        self._flights: dict[tuple[Registry, tuple[str, ...]], asyncio.Task[_Token]] = {}
        self._warned: set[str] = set()

    async def header(self, repository: Repository, scopes: tuple[str, ...]) -> Secret | None:
        """Return the Authorization value for ``scopes``, None where nothing is known to be wanted or had."""
        demand = self._demands.get(repository.registry)
        if demand is None:
            return None
        if demand.scheme == "basic":
            credential = self._credentials.find(repository)
            return credential.basic() if credential else None
        key = (repository.registry, scopes)
        token = self._tokens.get(key)
        if token is not None and self._clock.now() < token.old_at:
            return token.header
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._token(demand, repository, scopes))
            flight.add_done_callback(lambda done: self._landed(key, done))
        # Shielded: one cancelled caller must not take the token away from the others who wait for it.
        return (await asyncio.shield(flight)).header

    def challenged(
        self,
        repository: Repository,
        scopes: tuple[str, ...],
        url: str,
        headers: Iterable[str],
        sent: Secret | None,
    ) -> bool:
        """Learn from the 401 that ``url`` answered to the header ``sent``: whether another one may help."""
        demand = self._choose(repository, url, headers)
        if demand is not None:
            self._demands[repository.registry] = demand
        known = self._demands.get(repository.registry)
        if known is None:
            return False
        if known.scheme == "basic":
            credential = self._credentials.find(repository)
            return credential is not None and credential.basic() not in (None, sent)
        key = (repository.registry, scopes)
        token = self._tokens.get(key)
        if token is not None and token.header == sent:
            del self._tokens[key]
        credential = self._credentials.find(repository)
        return not (
            sent and credential and credential.registry_token and sent == _bearer(credential.registry_token)
        )

    async def close(self) -> None:
        """Cancel token requests under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _choose(self, repository: Repository, url: str, headers: Iterable[str]) -> _Demand | None:
        """The demand to meet: Bearer before Basic, as the narrower power."""
        offered = challenges(headers)
        for challenge in offered:
            realm = challenge.parameters.get("realm", "")
            if challenge.scheme != "bearer" or not realm:
                continue
            found = realm_url(url, realm)
            if found is None:
                raise RegistryError(
                    f"{repository.registry} names a token service that is not to be asked:"
                    f" {wire.escape(wire.redact(realm))}",
                    status=401,
                )
            service = challenge.parameters.get("service", "")
            return _Demand("bearer", found, service, realm_trusted(url, found))
        return _Demand("basic") if any(challenge.scheme == "basic" for challenge in offered) else None

    def _landed(self, key: tuple[Registry, tuple[str, ...]], flight: asyncio.Task[_Token]) -> None:
        del self._flights[key]
        if not flight.cancelled() and flight.exception() is None:
            self._tokens[key] = flight.result()

    async def _token(self, demand: _Demand, repository: Repository, scopes: tuple[str, ...]) -> _Token:
        credential = self._credentials.find(repository)
        if credential is not None and credential.registry_token is not None:
            return _Token(_bearer(credential.registry_token), float("inf"))
        if credential is not None and not demand.trusted:
            name = str(wire.origin(demand.realm))
            if name not in self._warned:
                self._warned.add(name)
                self._warn(
                    f"{repository.registry} names the token service {name}, which is not its own:"
                    " no credentials are sent there"
                )
            credential = None
        asked_at = self._clock.now()
        status, body = await self._ask(demand, repository.registry, scopes, credential)
        if status != 200 or len(body) > wire.TOKEN_LIMIT:
            raise _refused(demand, repository, status, body, known=credential is not None)
        # Counted from the moment of asking on our own clock: issued_at is the service's, and clocks differ.
        text, life = _parse(body, demand)
        return _Token(_bearer(text), asked_at + life - min(_EARLY, life / 2))

    async def _ask(
        self, demand: _Demand, registry: Registry, scopes: tuple[str, ...], credential: Credential | None
    ) -> tuple[int, bytes]:
        service = [("service", demand.service)] if demand.service else []
        if credential is not None and credential.identity_token is not None:
            form = [
                ("grant_type", "refresh_token"),
                *service,
                ("client_id", _CLIENT),
                ("scope", " ".join(scopes)),
                ("refresh_token", credential.identity_token.reveal()),
            ]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = await self._fetch(registry, "POST", demand.realm, headers, urlencode(form).encode())
            # GCR answers 404 to the POST, ACR 400, Artifactory 401 (containerd/containerd#2166): a password
            # still helps.
            if answer[0] not in (400, 401, 404, 405) or credential.password is None:
                return answer
        basic = credential.basic() if credential is not None else None
        account = [("account", credential.username)] if credential is not None and credential.username else []
        url = wire.query(demand.realm, [*service, *account, *(("scope", scope) for scope in scopes)])
        headers = {"Authorization": basic.reveal()} if basic else {}
        return await self._fetch(registry, "GET", url, headers, None)


def _bearer(token: Secret) -> Secret:
    return Secret(f"Bearer {token.reveal()}")


def _parse(body: bytes, demand: _Demand) -> tuple[Secret, float]:
    """The token of a token service's answer and its life in seconds."""
    where = wire.escape(wire.redact(demand.realm))
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    text = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    if not isinstance(text, str) or not _TOKEN_TEXT.fullmatch(text):
        raise ContentError(f"the token service {where} answered without a token") from None
    life = document.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, int | float) or not life > 0:
        life = _LIFE
    return Secret(text), min(float(life), _LONGEST_LIFE)


def _refused(
    demand: _Demand, repository: Repository, status: int, body: bytes, *, known: bool
) -> RegistryError:
    where = wire.escape(wire.redact(demand.realm))
    if status == 200:
        return ContentError(f"the token service {where} answered with more than {wire.TOKEN_LIMIT} bytes")
    said = wire.refusal(body[: wire.ERROR_LIMIT])
    who = "with the login for" if known else "without a login for"
    words = ": ".join(filter(None, (", ".join(said.codes), said.message)))
    return RegistryError(
        f"the token service {where} answered {status} {who} {repository}{f': {words}' if words else ''}",
        status=status,
        codes=said.codes,
    )
