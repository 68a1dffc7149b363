"""Authorization: what each registry wants to see, and the tokens that satisfy it.

Owns the challenge each registry answered with, and tokens by registry and exact set of scopes, each fetched
by one flight at a time. Must not know how requests are sent (it is handed functions for that) nor how a token
service is spoken to (``tokens``).
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from mmgraph.errors import MmgraphError, RegistryError
from mmgraph.flights import Flights
from mmgraph.quirks import Quirk
from mmgraph.registry import wire
from mmgraph.registry.challenge import challenges
from mmgraph.registry.origins import Trust, realm
from mmgraph.registry.tokens import Demand, Fetch, Token, TokenServices, bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from mmgraph.clock import Clock
    from mmgraph.names import Registry, Repository
    from mmgraph.quirks import Quirks
    from mmgraph.registry.credentials import Credentials, Login
    from mmgraph.registry.secrets import Secret


_NOTHING_OPENED: Final = Trust()


class Grant(msgspec.Struct, frozen=True):
    """How a registry lets us in: what it ``wanted``, whether it knows who we are, and what a token ``granted``.

    ``granted`` is None where there is no token or it does not say.
    """

    wanted: Literal["nothing", "user and password", "a token"]
    known: bool
    granted: bool | None = None


class Ping(Protocol):
    """Asks a registry's ``/v2/`` without authorization."""

    async def __call__(self, registry: Registry) -> tuple[int, str, Iterable[str]]:
        """Return status, the URL that was asked, and all WWW-Authenticate headers of the answer."""
        ...


class Authenticator:
    """Authorization headers for requests, before they are sent wherever the registry's demand is known."""

    def __init__(
        self,
        credentials: Credentials,
        clock: Clock,
        fetch: Fetch,
        warn: Callable[[str], None],
        quirks: Quirks,
        trust: Trust = _NOTHING_OPENED,
        ping: Ping | None = None,
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._services = TokenServices(clock, fetch, quirks)
        self._warn = warn
        self._quirks = quirks
        self._trust = trust
        self._ping = ping
        self._pinged: set[Registry] = set()
        self._pings: Flights[Registry, None] = Flights()
        self._announced: dict[Registry, Demand] = {}  # by a ping, not yet asked for by a refusal
        self._demands: dict[Registry, Demand] = {}
        self._tokens: dict[tuple[Registry, tuple[str, ...]], Token] = {}
        self._flights: Flights[tuple[Registry, tuple[str, ...]], Token] = Flights()
        self._proofs: dict[tuple[str, Login], _Proof] = {}
        self._insisted: set[tuple[Registry, tuple[str, ...]]] = set()
        self._tokenless: set[tuple[Registry, tuple[str, ...]]] = set()
        self._warned: set[str] = set()
        self._pulled: set[Repository] = set()
        """Where a request to pull that showed a login, or a token, was let in."""

    async def header(
        self, repository: Repository, scopes: tuple[str, ...], needed_seconds: float = 0.0
    ) -> Secret | None:
        """Return the Authorization value for ``scopes``, None where nothing is known to be wanted or had.

        A token that would end within ``needed_seconds`` is renewed first, so that a long upload does not meet
        its end (moby/moby#33558); where no token lives as long, a young one is all that can be had.
        """
        registry = repository.registry
        demand = self._demands.get(registry)
        if demand is None and await self._credentials.find(repository) is not None:
            # Who has a login asks how to show it before anything else: registries that let strangers in
            # (Artifactory, Nexus) answer them "404" for what they may not see, with no challenge. Who has none
            # waits until it is asked for: the same registries may refuse a stranger a token, and let him read.
            await self._ask(registry)
            demand = self._announced.get(registry)
        if demand is None:
            return None
        if demand.scheme == "basic":
            login = await self._credentials.find(repository)
            return login.credential.basic() if login else None
        key = (registry, scopes)
        token = self._tokens.get(key)
        if token is None or not token.lasts(self._clock.now(), needed_seconds):
            if key in self._tokenless:
                return None
            try:
                # The flight is by key alone: whatever it fetches is as young as a token can be.
                token = await self._flights.join(key, lambda: self._token(demand, repository, scopes))
            except RegistryError as error:
                if key in self._insisted or not await self._refuses_strangers(error, repository):
                    raise
                self._tokenless.add(key)
                return None
        return token.header

    async def challenged(
        self,
        repository: Repository,
        scopes: tuple[str, ...],
        url: str,
        headers: Collection[str],
        sent: Secret | None,
    ) -> bool:
        """Learn from the 401 that ``url`` answered to the header ``sent``: whether another one may help."""
        registry = repository.registry
        demand = self._choose(registry, url, headers)
        if demand is not None:
            self._demands[registry] = demand
        elif registry not in self._demands:
            await self._ask(registry)  # GCR has answered 401 without a challenge (containers/image#211)
            if registry in self._announced:
                self._demands[registry] = self._announced[registry]
                if not headers:
                    self._quirks.learn(registry, Quirk.SILENT_401)
        known = self._demands.get(registry)
        if known is None:
            return False
        login = await self._credentials.find(repository)
        if known.scheme == "basic":
            return login is not None and login.credential.basic() not in (None, sent)
        key = (registry, scopes)
        self._insisted.add(key)
        self._tokenless.discard(key)
        token = self._tokens.get(key)
        if token is not None and token.header == sent:
            del self._tokens[key]
        finished = login.credential.registry_token if login else None
        return not (sent and finished and sent == bearer(finished))

    def let_in(self, repository: Repository, scopes: tuple[str, ...]) -> None:
        """A request with the header for ``scopes`` was let in: that tells most where no token lists what it allows."""
        if repository not in self._pulled and _verb(scopes) == "pull":
            self._pulled.add(repository)

    def pinged(self, registry: Registry, url: str, status: int, headers: Iterable[str]) -> None:
        """Learn from the answer to a ping of ``url`` that somebody else has sent, without authorization."""
        if status == 429 or status >= 500:
            return
        self._pinged.add(registry)
        try:
            demand = self._choose(registry, url, headers) if status in (401, 403) else None
        except RegistryError:
            return  # the request that needs it will say so
        if demand is not None:
            self._announced[registry] = demand

    async def advice(self, repository: Repository, scopes: tuple[str, ...], status: int) -> str:
        """Return what to do about a refusal with ``status`` 401 or 403, in words for a person."""
        login = await self._credentials.find(repository)
        demand = self._known(repository.registry)
        if login is None:
            return _no_login(self._credentials, repository)
        if demand is None:
            return f"{login} was not asked for"
        if demand.scheme == "bearer" and not demand.trusted:
            return f"{login} was not sent, since the token service is not {repository.registry}'s own"
        if status == 401 and demand.scheme == "basic":
            return f"{login} is not taken: {_log_in(repository)}"
        return self._may_not(login, repository, scopes)

    async def grant(self, repository: Repository, scopes: tuple[str, ...]) -> Grant:
        """Return what is known of the right to do what ``scopes`` say, after a request that was let pass."""
        demand = self._known(repository.registry)
        if demand is None:
            return Grant("nothing", known=False)
        login = await self._credentials.find(repository)
        token = self._tokens.get((repository.registry, scopes))
        shown = login is not None and (
            demand.scheme == "basic" or demand.trusted or login.credential.registry_token is not None
        )
        return Grant(
            "a token" if demand.scheme == "bearer" else "user and password",
            known=shown,
            granted=token.grants(scopes) if token else None,
        )

    async def close(self) -> None:
        """Cancel token requests under way, and kill the helpers that still run."""
        await self._flights.close()
        await self._pings.close()
        await self._credentials.close()

    async def _refuses_strangers(self, error: RegistryError, repository: Repository) -> bool:
        """Whether a token was refused to somebody without a login, who may do without: for reading in public.

        What another repository asked for is not yet what this one does.
        """
        return error.status in (401, 403) and await self._credentials.find(repository) is None

    def _known(self, registry: Registry) -> Demand | None:
        return self._demands.get(registry) or self._announced.get(registry)

    async def _ask(self, registry: Registry) -> None:
        """Ping a registry, once, for its challenge."""
        ping = self._ping
        if ping is None or registry in self._pinged:
            return

        async def ask() -> None:
            status, url, headers = await ping(registry)
            self.pinged(registry, url, status, headers)

        await self._pings.join(registry, ask)

    def _choose(self, registry: Registry, url: str, headers: Iterable[str]) -> Demand | None:
        """The demand to meet: Bearer before Basic, as the narrower power."""
        offered = challenges(headers)
        for challenge in offered:
            named = challenge.parameters.get("realm", "")
            if challenge.scheme == "bearer" and named:
                found = realm(registry, url, named, self._trust)
                return Demand("bearer", found.url, challenge.parameters.get("service", ""), found.trusted)
        return Demand("basic") if any(challenge.scheme == "basic" for challenge in offered) else None

    async def _token(self, demand: Demand, repository: Repository, scopes: tuple[str, ...]) -> Token:
        login = await self._credentials.find(repository)
        advice = _no_login(self._credentials, repository)
        if login is not None and not demand.trusted and login.credential.registry_token is None:
            registry, place = repository.registry, wire.origin(demand.realm)
            opens = f"--trust-realm {registry}={place.short} would send them"
            if str(place) not in self._warned:
                self._warned.add(str(place))
                self._warn(
                    f"{registry} names the token service {place}, which is not its own: no credentials are sent"
                    f" there; {opens}"
                )
            login, advice = None, f"{login} was not sent there: {opens.replace('them', 'it')}"
        if login is None:
            token = await self._services.token(demand, repository, scopes, None, advice)
        else:
            token = await self._token_for(login, demand, repository, scopes)
        self._tokens[repository.registry, scopes] = token
        return token

    async def _token_for(
        self, login: Login, demand: Demand, repository: Repository, scopes: tuple[str, ...]
    ) -> Token:
        """Show a login to a token service: the first time alone, and not again once it was found to be wrong.

        A thousand images would otherwise show a wrong password a thousand times, for which accounts are locked.
        """
        proof = self._proofs.setdefault((demand.realm, login), _Proof())
        advice = self._may_not(login, repository, scopes)
        async with nullcontext() if proof.shown else proof.turn:
            if proof.wrong:
                raise RegistryError(proof.wrong, status=401)
            try:
                token = await self._services.token(demand, repository, scopes, login.credential, advice)
            except RegistryError as error:
                if (
                    error.status == 401
                    and not proof.shown
                    and await self._is_wrong(login, demand, repository)
                ):
                    proof.wrong = str(error).replace(advice, f"{login} is not taken: {_log_in(repository)}")
                    raise RegistryError(proof.wrong, status=401, codes=error.codes) from None
                proof.shown |= not error.waits  # one that was told to wait has found out nothing
                raise
            except MmgraphError:
                proof.shown = True  # nobody shall wait for the one who tries to reach it
                raise
            proof.shown = True
            return token

    def _may_not(self, login: Login, repository: Repository, scopes: tuple[str, ...]) -> str:
        verb, pull = _verb(scopes), wire.pull_scopes(repository)
        tokens = [self._tokens.get((repository.registry, each)) for each in (pull, scopes)]
        granted = any(token is not None and token.grants(pull) for token in tokens)
        pulls = verb == "push" and (granted or repository in self._pulled)
        rights = f"{'pull but ' if pulls else ''}not {verb} there"
        return f"{login} may {rights}: give it the right, or {_log_in(repository)}"

    async def _is_wrong(self, login: Login, demand: Demand, repository: Repository) -> bool:
        """Whether a login is refused as such, not for what it asked to do (ACR's 401 may mean either)."""
        try:
            await self._services.token(demand, repository, (), login.credential, "")
        except MmgraphError as error:
            return isinstance(error, RegistryError) and error.status == 401
        return False


class _Proof:
    """What is known of a login at a token service: whether it was ``shown``, and how it is ``wrong``."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.shown = False
        self.wrong = ""


def _log_in(repository: Repository) -> str:
    return f"docker login {repository.registry}, or name another file with --authfile"


def _no_login(credentials: Credentials, repository: Repository) -> str:
    if credentials.is_anonymous(repository.registry):
        return f"no credential is used, as --anonymous {repository.registry} says"
    return f"there is no credential for {repository.registry}: {_log_in(repository)}"


def _verb(scopes: tuple[str, ...]) -> str:
    return "push" if scopes and "push" in scopes[0].rpartition(":")[2].split(",") else "pull"
