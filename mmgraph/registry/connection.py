"""One request to a registry with all it takes: the session, detection, authorization, redirects.

Owns the sockets; no exception of aiohttp leaves it. Must not know what is asked for: a ``Call`` says how it is
asked, an ``Answer`` is judged by the client.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, Self

import msgspec

from mmgraph import behalf
from mmgraph.errors import InternalError, MmgraphError, NetworkError, RegistryError
from mmgraph.names import Repository
from mmgraph.registry import wire
from mmgraph.registry.auth import Authenticator, Grant
from mmgraph.registry.bodies import Answer, Stream, Whole, read, watched
from mmgraph.registry.failures import NoConnectionError, cause, failed, shown
from mmgraph.registry.lean import aiohttp
from mmgraph.registry.origins import Errand, portable, redirect_target
from mmgraph.registry.policy import PATIENCE, asked_to_wait
from mmgraph.registry.retries import Request, Retries
from mmgraph.registry.sessions import Dial, Sessions
from mmgraph.registry.tokens import Reply
from mmgraph.registry.trace import Recorder
from mmgraph.registry.watch import ANSWER, CONNECT, Watchdog
from mmgraph.store import Operation, Pieces

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from mmgraph.clock import Clock
    from mmgraph.names import Registry
    from mmgraph.quirks import Quirks
    from mmgraph.registry.credentials import Credentials
    from mmgraph.registry.gate import Gate
    from mmgraph.registry.sessions import Routes
    from mmgraph.registry.trace import Heard, Started

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ELSEWHERE: Final = frozenset({Operation.TOKEN, Operation.REDIRECT})
"""Requests that may go to other hosts than the registry's own."""
_UNTOLD: Final = _ELSEWHERE | {Operation.PING}
"""Requests whose failure does not say that the registry is not there; a ping without TLS may follow one with it."""
_ERRANDS: Final = {Operation.TOKEN: Errand.REALM, Operation.REDIRECT: Errand.REDIRECT}
_WARNINGS: Final = 5
"""Warnings of one registry that are shown in all."""
_WARNING_LIMIT: Final = 300
"""Characters of each that are shown."""
_SLOW: Final = 1 << 20
"""Bytes a second that a long upload is taken to make when its token is chosen."""


class Call(msgspec.Struct, frozen=True):
    """A request as it is to be sent."""

    operation: Operation
    repository: Repository
    url: str
    """A path at the registry, or an absolute URL."""
    scopes: tuple[str, ...]
    """What a token must allow."""
    headers: Mapping[str, str] | None = None
    data: bytes | memoryview | Pieces | Stream | None = None
    follow: bool = False
    """Whether redirects are followed; only of reads."""
    limit: int = wire.ERROR_LIMIT
    """Bytes of the body that are read; one byte more tells that there was more."""
    open: Collection[int] = ()
    """Statuses whose body is left to the caller."""

    @property
    def method(self) -> str:
        """The method, which is the operation's first word."""
        return self.operation.partition(" ")[0]


class _Endpoint:
    """Where a registry is reached, and whether its first answer is in."""

    __slots__ = ("base", "decided", "place", "registry", "root", "scout", "scouted", "waiting")

    def __init__(self, registry: Registry, *, plain: bool) -> None:
        self.registry = registry
        self.reached(f"{'http' if plain else 'https'}://{wire.host(registry)}")
        self.decided = plain or not wire.plain_http_allowed(registry)
        self.scouted = False
        self.scout: asyncio.Event | None = None
        self.waiting = 0
        """How many wait for the scout."""

    def reached(self, base: str) -> None:
        """Its URLs begin with ``base``."""
        self.base, self.root = base, f"{base}/"
        self.place = wire.origin(self.root)


class Connections:
    """All connections of a run, as an async context manager.

    ``counts`` has the requests sent, ``retries`` those sent again; together they are what was on the wire.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        clock: Clock,
        gate: Gate,
        plain_http: Collection[Registry],
        warn: Callable[[str], None],
        chance: random.Random,
        routes: Routes,
        quirks: Quirks,
        heard: Heard | None = None,
    ) -> None:
        self.counts: defaultdict[Registry, Counter[Operation]] = defaultdict(Counter)
        self.retries: Counter[tuple[Registry, Operation]] = Counter()
        self._challenged: Counter[Registry] = Counter()
        """How many of ``retries`` only showed what a registry asked for."""
        self._warn = warn
        self._warnings: defaultdict[Registry, set[str]] = defaultdict(set)
        self._clock = clock
        self._gate = gate
        self._plain_http = frozenset(plain_http)
        self.retrying = Retries(clock, chance, gate, quirks)
        self._watchdog = Watchdog(clock)
        self._recorder = Recorder(clock, heard) if heard is not None else None
        self._records: dict[object, Started] = {}
        """Of requests whose answer is still being read."""
        if heard is not None:
            self._watchdog.over = self._read
        self._sessions = Sessions(routes)
        self._open = False
        self._auth = Authenticator(
            credentials, clock, self._fetch_token, warn, quirks, routes.trust, self._ping
        )
        self._endpoints: dict[Registry, _Endpoint] = {}

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._open = False
        try:
            await self._auth.close()
            await self._watchdog.close()
            for response in list(self._records):  # of answers that nobody wanted to read
                self._read(response, 0)
        finally:  # also where somebody interrupts once more
            await self._sessions.close()

    async def ask(
        self,
        call: Call,
        final: Callable[[Answer], bool] = lambda answer: False,
        look: Callable[[bool], Awaitable[None]] | None = None,
        *,
        before: Callable[[], Awaitable[None]] | None = None,
        held: bool = False,
        repeat: bool = False,
    ) -> Answer:
        """Send ``call`` until repeating cannot better its answer; see ``Retries.ask``.

        ``before`` is awaited each time, when the request's turn has come: what it raises keeps it from being sent.
        ``repeat``: it was sent before, and what came was of no use.
        """

        async def once(again: bool) -> Answer:
            if before is not None:
                await before()
            return await self.once(call, repeat=repeat or again)

        request = Request(call.operation, call.repository, call.url)
        return await self.retrying.ask(request, once, final, look, held=held)

    async def once(self, call: Call, *, repeat: bool = False) -> Answer:
        """Send ``call`` once, with what detection, authorization and redirects need, and read its answer."""
        registry = call.repository.registry
        await self._gate.passed(registry, call.operation, PATIENCE)
        began = self._clock.now()
        reads_manifest = call.operation is Operation.GET_MANIFEST
        if reads_manifest:
            self.retrying.quotas.spend(registry, call.url)
        try:
            answer = await self._answered(call, repeat=repeat)
        finally:
            if reads_manifest:
                self.retrying.quotas.answered(registry, call.url)
        answer.own = self.own(registry, answer.url)
        self.retrying.heard(call.repository, answer, began)
        if answer.own:
            self._pass_on(registry, answer)
        return answer

    def _pass_on(self, registry: Registry, answer: Answer) -> None:
        """Show what a registry warns of: each text once, and a few at most."""
        for header in answer.every("Warning"):
            shown_before = self._warnings[registry]
            for text in wire.warnings(header):
                warning = wire.escape(text, _WARNING_LIMIT)
                if warning not in shown_before and len(shown_before) < _WARNINGS:
                    shown_before.add(warning)
                    self._warn(f"{registry} warns: {warning}")

    async def _answered(self, call: Call, *, repeat: bool) -> Answer:
        endpoint = self._endpoint(call.repository.registry)
        if endpoint.scouted:
            response, url = await self._authorized(endpoint, call, repeat=repeat)
        else:
            response, url = await self._scouted(endpoint, call, repeat=repeat)
        if response.status in call.open:
            return Answer(response, url, b"", call.operation, watched(self._watchdog, response))
        try:
            body = await read(response, call.limit, url, self._watchdog, sending=call.data is not None)
        except NetworkError:
            if response.status < 400:
                raise
            body = b""  # a refusal in mid-body is often followed by a reset, and its status says enough
        answer = Answer(response, url, body, call.operation)
        if response.status in (401, 403) and self.own(endpoint.registry, url):
            answer.advice = await self._auth.advice(call.repository, call.scopes, response.status)
        return answer

    async def grant(self, call: Call) -> Grant:
        """Return what is known of the right to ``call``, after it was let pass."""
        return await self._auth.grant(call.repository, call.scopes)

    def repeated(self) -> Counter[Registry]:
        """How many requests failed and were sent again; to be asked for authorization first is no failure."""
        repeated: Counter[Registry] = Counter()
        for (registry, _), count in self.retries.items():
            repeated[registry] += count
        repeated.subtract(self._challenged)
        return repeated

    def own(self, registry: Registry, url: str) -> bool:
        """Whether ``url`` is of the registry's own origin, the only one that its credentials belong to."""
        endpoint = self._endpoint(registry)
        return url.startswith(endpoint.root) or wire.origin(url) == endpoint.place

    def _endpoint(self, registry: Registry) -> _Endpoint:
        endpoint = self._endpoints.get(registry)
        if endpoint is None:
            endpoint = self._endpoints[registry] = _Endpoint(registry, plain=registry in self._plain_http)
        return endpoint

    async def _scouted(
        self, endpoint: _Endpoint, call: Call, *, repeat: bool
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Let the first request to a registry go alone: it learns TLS and the challenge for all that wait."""
        while endpoint.scout is not None:
            endpoint.waiting += 1
            # What waits is connected meanwhile: a round trip saved, with TLS two or three.
            if endpoint.decided and not self._gate.paces(endpoint.registry):
                self._sessions.prepare(endpoint.registry, endpoint.place, 1 + endpoint.waiting)
            await endpoint.scout.wait()
        if endpoint.scouted:
            return await self._authorized(endpoint, call, repeat=repeat)
        endpoint.scout = asyncio.Event()
        try:
            return await self._authorized(endpoint, call, repeat=repeat)
        finally:
            endpoint.scouted = endpoint.decided
            endpoint.scout.set()
            endpoint.scout = None
            endpoint.waiting = 0

    async def _authorized(
        self, endpoint: _Endpoint, call: Call, *, repeat: bool
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Send ``call``, once more where its 401 shows what was missing, and follow redirects of reads."""
        if not endpoint.decided:
            await self._decide(endpoint)
        built = call.url.startswith("/")
        url = endpoint.base + call.url if built else call.url
        own = built or self.own(endpoint.registry, url)
        headers = dict(call.headers) if call.headers else {}
        if not own:
            headers = portable(headers)
        needed = (call.data.size or 0) / _SLOW if isinstance(call.data, Stream) else 0.0
        sent = await self._auth.header(call.repository, call.scopes, needed) if own else None
        if sent is not None:
            headers["Authorization"] = sent.reveal()
        response = await self._send(
            call.operation, endpoint.registry, call.method, url, headers, call.data, repeat, built=built
        )
        if response.status == 401 and own:
            offers = response.headers.getall("WWW-Authenticate", ())
            try:
                again = await self._auth.challenged(call.repository, call.scopes, url, offers, sent)
            except BaseException:
                response.close()
                raise
            if again and isinstance(call.data, Stream):
                response.close()
                # Without the codes of a refusal: the next attempt comes with a new token.
                error = RegistryError(f"{shown(call.method, url)}: 401, the token ran out", status=401)
                error.final = False
                raise error
            if again:
                await read(response, wire.ERROR_LIMIT, url, self._watchdog)
                headers.pop("Authorization", None)
                sent = await self._auth.header(call.repository, call.scopes)
                if sent is not None:
                    headers["Authorization"] = sent.reveal()
                response = await self._send(
                    call.operation, endpoint.registry, call.method, url, headers, call.data, repeat=True
                )
                self._challenged[endpoint.registry] += 1
        if sent is not None and response.status < 400 and call.operation is not Operation.PING:
            self._auth.let_in(call.repository, call.scopes)
        if call.follow and response.status in _REDIRECTS:
            return await self._follow(endpoint.registry, response, url, headers)
        return response, url

    async def _follow(
        self, registry: Registry, response: aiohttp.ClientResponse, url: str, headers: dict[str, str]
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Follow redirects of a read. Authorization never leaves the registry's origin, nor returns to it."""
        for _ in range(wire.REDIRECT_LIMIT):
            location = response.headers.get("Location")
            if location is None or response.status not in _REDIRECTS:
                return response, url
            await read(response, wire.ERROR_LIMIT, url, self._watchdog)
            url = redirect_target(url, location)
            if not self.own(registry, url):
                headers = portable(headers)
            response = await self._send(Operation.REDIRECT, registry, response.method, url, headers, None)
        if response.status in _REDIRECTS:
            response.close()
            where = shown(response.method, url)
            raise RegistryError(f"{where}: more than {wire.REDIRECT_LIMIT} redirects", status=response.status)
        return response, url

    async def _decide(self, endpoint: _Endpoint) -> None:
        """Find out how a loopback registry is spoken to: with TLS, or without it where the handshake fails.

        A certificate that does not fit is an answer, not a reason to do without.
        """
        url, registry = f"{endpoint.base}/v2/", endpoint.registry
        try:
            response = await self._send(Operation.PING, registry, "GET", url, {}, None)
        except NoConnectionError as error:
            plain = f"http://{wire.host(registry)}"
            began = self._clock.now()
            try:
                response = await self._send(Operation.PING, registry, "GET", f"{plain}/v2/", {}, None)
            except NetworkError:
                self.retrying.unheard(registry, Operation.PING, error, began)
                raise error from None
            endpoint.reached(plain)
        endpoint.decided = True
        offers = response.headers.getall("WWW-Authenticate", ())
        await read(response, wire.ERROR_LIMIT, url, self._watchdog)
        self._auth.pinged(registry, f"{endpoint.base}/v2/", response.status, offers)

    async def _ping(self, registry: Registry) -> tuple[int, str, Collection[str]]:
        """Ask for nothing but the challenge."""
        url = f"{self._endpoint(registry).base}/v2/"
        response = await self._send(Operation.PING, registry, "GET", url, {}, None)
        await read(response, wire.ERROR_LIMIT, url, self._watchdog)
        return response.status, url, response.headers.getall("WWW-Authenticate", ())

    async def _send(
        self,
        operation: Operation,
        registry: Registry,
        method: str,
        url: str,
        headers: dict[str, str],
        data: bytes | memoryview | Pieces | Stream | None,
        repeat: bool = False,
        *,
        built: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send one request, count it, and return the response once its headers are there.

        ``built``: its URL is the registry's own and made of parts that have been looked at; any other is looked at.
        """
        if not self._open:
            raise InternalError("the client is used outside of its context")
        if operation not in _ELSEWHERE:
            await self._gate.paced(registry)
        began = self._clock.now()
        endpoint = self._endpoint(registry)
        place = endpoint.place if built else wire.origin(url)
        own = place == endpoint.place
        self._count(registry, operation, repeat, 1)
        body = data if data is None or isinstance(data, Stream) else Whole(data)
        errand = _ERRANDS.get(operation, Errand.UPLOAD)
        patience = asyncio.timeout(None)
        now = asyncio.get_running_loop().time
        watch = self._watchdog.watch(CONNECT, lambda _: patience.reschedule(now()))
        sent = began

        def there() -> None:
            nonlocal sent
            sent = self._clock.now()
            watch.wait(ANSWER)

        dial = Dial(there)
        watch.linked = dial.linked
        if body is not None:
            body.watch = watch
        record = (
            self._recorder.start(operation, registry, method, url, repeat=repeat) if self._recorder else None
        )
        if record is not None and body is not None:
            record.sent = lambda: body.handed
        try:
            async with patience:
                response = await self._sessions.request(
                    registry, method, url, headers, body, dial, place=place, own=own, errand=errand
                )
            if own and response.status < 400:
                # From when it was on its way: connecting says nothing of being busy.
                self._gate.answered(registry, operation, self._clock.now() - sent)
            if record is not None:
                self._records[response] = record
            return response
        except MmgraphError as error:
            self._count(registry, operation, repeat, -1)
            if record is not None:
                record.over(0, error=str(error))
            raise
        except asyncio.CancelledError:
            if record is not None:
                record.over(0, error="cancelled")
            raise
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            failure = failed(method, url, watch.stalled or error)
            if isinstance(failure, NoConnectionError) or isinstance(error, aiohttp.ClientConnectorError):
                self._count(registry, operation, repeat, -1)  # without a connection nothing was sent
            if record is not None:
                record.over(0, error=str(failure).removeprefix(f"{shown(method, url)}: "))
            if isinstance(failure, NetworkError) and operation not in _UNTOLD and own:
                self.retrying.unheard(registry, operation, failure, began)
            raise failure from cause(url, error)
        finally:
            watch.close()

    def _read(self, response: object, received: int) -> None:
        """An answer has been read as far as it is going to be."""
        record = self._records.pop(response, None)
        if record is not None:
            record.over(getattr(response, "status", 0), received)

    def _count(self, registry: Registry, operation: Operation, repeat: bool, change: int) -> None:
        if repeat:
            self.retries[registry, operation] += change
        else:
            self.retrying.health.sent(registry)
            self.counts[registry][operation] += change
            behalf.tell(registry, operation, change)

    async def _fetch_token(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        began = last = self._clock.now()

        async def once(repeat: bool) -> tuple[int, bytes, float | None]:
            nonlocal last
            last = self._clock.now()
            response = await self._send(
                Operation.TOKEN, registry, method, url, dict(headers), body, repeat=repeat
            )
            content = await read(response, wire.TOKEN_LIMIT, url, self._watchdog)
            if response.status in _REDIRECTS:
                to = wire.escape(wire.redact(response.headers.get("Location", "")))
                raise RegistryError(
                    f"{shown(method, url)}: the token service of {registry} redirects to {to}; nothing makes a"
                    " request for a token follow, since it carries credentials",
                    status=response.status,
                )
            return response.status, content, asked_to_wait(response.headers, self._clock.wall())

        status, content, tries = await self.retrying.token(registry, shown(method, url), once)
        return Reply(status, content, tries, last - began)
