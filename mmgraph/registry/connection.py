"""One request to a registry with all it takes: the session, detection, authorization, redirects.

Owns the sockets; no exception of aiohttp leaves it. Must not know what is asked for: a ``Call`` says how it is
asked, an ``Answer`` is judged by the client.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import msgspec
from yarl import URL

from mmgraph.errors import InternalError, NetworkError, RegistryError
from mmgraph.names import Repository
from mmgraph.registry import wire
from mmgraph.registry.auth import Authenticator
from mmgraph.registry.bodies import Answer, Stream, read
from mmgraph.registry.failures import NoConnectionError, cause, failed, shown
from mmgraph.registry.retries import Retries
from mmgraph.store import Operation

if TYPE_CHECKING:
    import random
    import ssl
    from collections.abc import Callable

    from mmgraph.clock import Clock
    from mmgraph.names import Registry
    from mmgraph.registry.credentials import Credentials
    from mmgraph.registry.gate import Gate

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_READ_BUFFER: Final = 256 << 10
"""Bytes; the socket hands over as many at once, and more was no faster. Twice as many wait at most per blob."""
_PIECEWISE: Final = 1 << 20
"""Bytes; a longer body would be copied in one go, which aiohttp warns of."""
_HEADER_LIMIT: Final = 64 << 10
"""Bytes of one header; signed URLs and long challenges pass aiohttp's own 8 KiB."""


class Call(msgspec.Struct, frozen=True):
    """A request as it is to be sent."""

    operation: Operation
    repository: Repository
    url: str
    """A path at the registry, or an absolute URL."""
    scopes: tuple[str, ...]
    """What a token must allow."""
    headers: Mapping[str, str] | None = None
    data: bytes | Stream | None = None
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

    __slots__ = ("base", "decided", "registry", "scout", "scouted")

    def __init__(self, registry: Registry, *, plain: bool) -> None:
        self.registry = registry
        self.base = f"{'http' if plain else 'https'}://{wire.host(registry)}"
        self.decided = plain or not wire.plain_http_allowed(registry)
        self.scouted = False
        self.scout: asyncio.Event | None = None


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
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.counts: defaultdict[Registry, Counter[Operation]] = defaultdict(Counter)
        self.retries: Counter[tuple[Registry, Operation]] = Counter()
        self._clock = clock
        self._gate = gate
        self._plain_http = frozenset(plain_http)
        self._retries = Retries(clock, chance)
        self._ssl = ssl_context
        self._auth = Authenticator(credentials, clock, self._fetch_token, warn, ping=self._ping)
        self._endpoints: dict[Registry, _Endpoint] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, ssl=self._ssl or True),
            cookie_jar=aiohttp.DummyCookieJar(),  # Harbor's session cookie would switch on its CSRF checks
            headers={"Accept-Encoding": "identity", "User-Agent": "mmgraph"},
            skip_auto_headers=("Content-Type",),
            timeout=_TIMEOUT,
            read_bufsize=_READ_BUFFER,
            auto_decompress=False,
            trust_env=False,  # it would also read ~/.netrc
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
        )
        # aiohttp repeats idempotent requests unseen; repeating and counting happen here alone. There is no
        # public switch: aiohttp's own test client turns it off this way.
        self._session._retry_connection = False  # noqa: SLF001
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._auth.close()
        if self._session is not None:
            await self._session.close()

    async def ask(self, call: Call, final: Callable[[Answer], bool] = lambda answer: False) -> Answer:
        """Send ``call`` until repeating cannot better its answer, or it is ``final``."""
        return await self._retries.ask(lambda repeat: self.once(call, repeat=repeat), final)

    async def back_off(self, attempt: int) -> None:
        """Wait before what failed in its ``attempt`` is tried again."""
        await self._retries.back_off(attempt)

    async def once(self, call: Call, *, repeat: bool = False) -> Answer:
        """Send ``call`` once, with what detection, authorization and redirects need, and read its answer."""
        registry = call.repository.registry
        await self._gate.passed(registry)
        endpoint = self._endpoint(registry)
        if endpoint.scouted:
            response, url = await self._authorized(endpoint, call, repeat=repeat)
        else:
            response, url = await self._scouted(endpoint, call, repeat=repeat)
        if response.status in call.open:
            return Answer(response, url, b"")
        try:
            body = await read(response, call.limit, url)
        except NetworkError:
            if response.status < 400:
                raise
            body = b""  # a refusal in mid-body is often followed by a reset, and its status says enough
        answer = Answer(response, url, body)
        if answer.temporary:
            seconds = wire.retry_after(answer.header("Retry-After"), self._clock.wall())
            if seconds:  # everybody who asks this registry waits, not this request alone
                self._gate.pause(registry, seconds)
        return answer

    def own(self, registry: Registry, url: str) -> bool:
        """Whether ``url`` is of the registry's own origin, the only one that its credentials belong to."""
        base = self._endpoint(registry).base
        return url.startswith(f"{base}/") or wire.origin(url) == wire.origin(base)

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

    async def _authorized(
        self, endpoint: _Endpoint, call: Call, *, repeat: bool
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Send ``call``, once more where its 401 shows what was missing, and follow redirects of reads."""
        if not endpoint.decided:
            await self._decide(endpoint)
        url = endpoint.base + call.url if call.url.startswith("/") else call.url
        own = self.own(endpoint.registry, url)
        headers = dict(call.headers) if call.headers else {}
        sent = await self._auth.header(call.repository, call.scopes) if own else None
        if sent is not None:
            headers["Authorization"] = sent.reveal()
        response = await self._send(
            call.operation, endpoint.registry, call.method, url, headers, call.data, repeat
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
                raise RegistryError(f"{shown(call.method, url)}: 401, the token ran out", status=401)
            if again:
                await read(response, wire.ERROR_LIMIT, url)
                headers.pop("Authorization", None)
                sent = await self._auth.header(call.repository, call.scopes)
                if sent is not None:
                    headers["Authorization"] = sent.reveal()
                response = await self._send(
                    call.operation, endpoint.registry, call.method, url, headers, call.data, repeat=True
                )
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
            await read(response, wire.ERROR_LIMIT, url)
            url = wire.redirect_target(url, location)
            if not self.own(registry, url):
                headers.pop("Authorization", None)
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
            try:
                response = await self._send(Operation.PING, registry, "GET", f"{plain}/v2/", {}, None)
            except NetworkError:
                raise error from None
            endpoint.base = plain
        endpoint.decided = True
        offers = response.headers.getall("WWW-Authenticate", ())
        await read(response, wire.ERROR_LIMIT, url)
        self._auth.pinged(registry, f"{endpoint.base}/v2/", response.status, offers)

    async def _ping(self, registry: Registry) -> tuple[int, str, Collection[str]]:
        """Ask for nothing but the challenge."""
        url = f"{self._endpoint(registry).base}/v2/"
        response = await self._send(Operation.PING, registry, "GET", url, {}, None)
        await read(response, wire.ERROR_LIMIT, url)
        return response.status, url, response.headers.getall("WWW-Authenticate", ())

    async def _send(
        self,
        operation: Operation,
        registry: Registry,
        method: str,
        url: str,
        headers: dict[str, str],
        data: bytes | Stream | None,
        repeat: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send one request, count it, and return the response once its headers are there."""
        if self._session is None:
            raise InternalError("the client is used outside of its context")
        self._count(registry, operation, repeat, 1)
        body = io.BytesIO(data) if isinstance(data, bytes) and len(data) > _PIECEWISE else data
        try:
            return await self._session.request(
                method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                self._count(registry, operation, repeat, -1)  # without a connection nothing was sent
            raise failed(method, url, error) from cause(url, error)

    def _count(self, registry: Registry, operation: Operation, repeat: bool, change: int) -> None:
        if repeat:
            self.retries[registry, operation] += change
        else:
            self.counts[registry][operation] += change

    async def _fetch_token(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        async def once(repeat: bool) -> tuple[int, bytes]:
            response = await self._send(
                Operation.TOKEN, registry, method, url, dict(headers), body, repeat=repeat
            )
            return response.status, await read(response, wire.TOKEN_LIMIT, url)

        return await self._retries.token(once)
