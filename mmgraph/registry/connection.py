"""One request to a registry with all it takes: the session, detection, authorization, redirects, repetition.

Owns the sockets; no other module imports the aiohttp client, and no exception of it leaves this one. Must not
know what is asked for: a ``Call`` says how it is asked, an ``Answer`` is judged by the client.
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

from mmgraph.errors import ContentError, InternalError, MmgraphError, NetworkError, RegistryError
from mmgraph.names import Repository
from mmgraph.registry import wire
from mmgraph.registry.auth import Authenticator
from mmgraph.store import Operation

if TYPE_CHECKING:
    import random
    import ssl
    from collections.abc import AsyncIterator, Callable

    from aiohttp.abc import AbstractStreamWriter

    from mmgraph.clock import Clock
    from mmgraph.names import Registry
    from mmgraph.registry.credentials import Credentials
    from mmgraph.registry.gate import Gate

ATTEMPTS: Final = 5
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_READ_BUFFER: Final = 256 << 10
"""Bytes; the socket hands over as many at once, and more was no faster. Twice as many wait at most per blob."""
_PIECEWISE: Final = 1 << 20
"""Bytes; a longer body would be copied in one go, which aiohttp warns of."""
_HEADER_LIMIT: Final = 64 << 10
"""Bytes of one header; signed URLs and long challenges pass aiohttp's own 8 KiB."""


class _LimitedError(NetworkError):
    """A failure that repeating hardly changes: a certificate that does not fit, a host nobody knows."""

    attempts = 1


class _UnknownHostError(_LimitedError):
    """A name without an address; resolvers fail for a moment now and then."""

    attempts = 2


class _NoConnectionError(NetworkError):
    """Nothing was sent, since there was no connection: refused, reset, or no TLS where it was expected."""


class Stream(aiohttp.Payload):
    """A body that is sent once, never replayed, exactly as long as promised; ``failure`` is what it raised.

    aiohttp repeats a PUT whose connection was closed; with an iterator already read that sent an empty body
    (aio-libs/aiohttp#13330). It also cuts silently what is longer than Content-Length.
    """

    def __init__(self, body: AsyncIterator[bytes], size: int) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._body = body
        self._size = size
        self.handed = 0
        self.failure: Exception | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: the body is not held."""
        raise TypeError("a stream has no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send all of it; a body of another length than promised fails before its last byte leaves."""
        size = self._size or 0
        if self._consumed:
            self._fail(InternalError("the body of an upload was asked for twice"))
        self._consumed = True
        while True:
            try:
                chunk = await anext(self._body)
            except StopAsyncIteration:
                break
            except Exception as error:
                self.failure = error
                raise
            if self.handed + len(chunk) > size:
                self._fail(InternalError(f"the body of an upload is longer than its {size} bytes"))
            self.handed += len(chunk)
            await writer.write(chunk)
        if self.handed < size:
            self._fail(InternalError(f"the body of an upload ended after {self.handed} of {size} bytes"))

    def _fail(self, error: InternalError) -> None:
        self.failure = error
        raise error


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


class Answer:
    """A response. Its body has been read, or, with one of the call's ``open`` statuses, is still to come."""

    __slots__ = ("_response", "body", "method", "status", "url")

    def __init__(self, response: aiohttp.ClientResponse, url: str, body: bytes) -> None:
        self._response = response
        self.method = response.method
        self.status = response.status
        self.url = url
        self.body = body

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        return self._response.headers.get(name)

    @property
    def length(self) -> int | None:
        """The Content-Length."""
        return self._response.content_length

    @property
    def shown(self) -> str:
        """Method and URL, fit for a message."""
        return _shown(self.method, self.url)

    @property
    def said(self) -> wire.Refusal:
        """What the error body says."""
        return wire.refusal(self.body)

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed a little later."""
        if self.status < 400 or self.status in (401, 404):
            return False
        return wire.temporary(self.status, self.said.codes)

    async def more(self) -> bytes:
        """Return what has arrived of an open body, waiting for some; empty at its end."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _failed(self.method, self.url, error) from _cause(self.url, error)

    def close(self) -> None:
        """Give the connection back where the body has been read to its end, else close it."""
        self._response.close()


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
        self._chance = chance
        self._ssl = ssl_context
        self._auth = Authenticator(credentials, clock, self._fetch_token, warn)
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
        """Send ``call`` until repeating cannot better its answer, or it is ``final``: five times at most."""
        attempt = 1
        while True:
            try:
                answer = await self.once(call, repeat=attempt > 1)
            except NetworkError as error:
                if attempt >= attempts(error):
                    raise
            else:
                if attempt == ATTEMPTS or not answer.temporary or final(answer):
                    return answer
            await self.back_off(attempt)
            attempt += 1

    async def back_off(self, attempt: int) -> None:
        """Wait with full jitter below a doubling bound: who failed together does not return together."""
        bound = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (attempt - 1))
        await self._clock.sleep(self._chance.uniform(0, bound))

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
            body = await _read(response, call.limit, url)
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
                again = self._auth.challenged(call.repository, call.scopes, url, offers, sent)
            except BaseException:
                response.close()
                raise
            if again and isinstance(call.data, Stream):
                response.close()
                # Without the codes of a refusal: the next attempt comes with a new token.
                raise RegistryError(f"{_shown(call.method, url)}: 401, the token ran out", status=401)
            if again:
                await _read(response, wire.ERROR_LIMIT, url)
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
            await _read(response, wire.ERROR_LIMIT, url)
            url = wire.redirect_target(url, location)
            if not self.own(registry, url):
                headers.pop("Authorization", None)
            response = await self._send(Operation.REDIRECT, registry, response.method, url, headers, None)
        if response.status in _REDIRECTS:
            response.close()
            shown = _shown(response.method, url)
            raise RegistryError(f"{shown}: more than {wire.REDIRECT_LIMIT} redirects", status=response.status)
        return response, url

    async def _decide(self, endpoint: _Endpoint) -> None:
        """Find out how a loopback registry is spoken to: with TLS, or without it where the handshake fails.

        A certificate that does not fit is an answer, not a reason to do without.
        """
        url, registry = f"{endpoint.base}/v2/", endpoint.registry
        try:
            response = await self._send(Operation.PING, registry, "GET", url, {}, None)
        except _NoConnectionError as error:
            plain = f"http://{wire.host(registry)}"
            try:
                response = await self._send(Operation.PING, registry, "GET", f"{plain}/v2/", {}, None)
            except NetworkError:
                raise error from None
            endpoint.base = plain
        endpoint.decided = True
        await _read(response, wire.ERROR_LIMIT, url)

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
            raise _failed(method, url, error) from _cause(url, error)

    def _count(self, registry: Registry, operation: Operation, repeat: bool, change: int) -> None:
        if repeat:
            self.retries[registry, operation] += change
        else:
            self.counts[registry][operation] += change

    async def _fetch_token(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        attempt = 1
        while True:
            try:
                response = await self._send(
                    Operation.TOKEN, registry, method, url, dict(headers), body, repeat=attempt > 1
                )
                content = await _read(response, wire.TOKEN_LIMIT, url)
            except NetworkError as error:
                if attempt >= attempts(error):
                    raise
            else:
                if attempt == ATTEMPTS or not wire.temporary(response.status):
                    return response.status, content
            await self.back_off(attempt)
            attempt += 1


def attempts(error: NetworkError) -> int:
    """Return how often a request that fails like this is sent in all."""
    return error.attempts if isinstance(error, _LimitedError) else ATTEMPTS


async def _read(response: aiohttp.ClientResponse, limit: int, url: str) -> bytes:
    """Return the body; of one longer than ``limit`` one byte more, and the connection is closed."""
    try:
        length = response.content_length
        if length is not None and length <= limit:
            return await response.read()
        parts, size = list[bytes](), 0
        while size <= limit and (part := await response.content.readany()):
            parts.append(part)
            size += len(part)
        return b"".join(parts)[: limit + 1]
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _failed(response.method, url, error) from _cause(url, error)
    finally:
        response.close()  # after the end of the body the connection has gone back already


def _shown(method: str, url: str) -> str:
    return f"{method} {wire.escape(wire.redact(url))}"


def _failed(method: str, url: str, error: BaseException) -> MmgraphError:
    """What an exception of aiohttp means for us."""
    where = _shown(method, url)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _LimitedError(
            f"{where}: the certificate does not fit: {wire.escape(str(error.certificate_error))}"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _UnknownHostError(f"{where}: the host name is not known")
    if isinstance(error, ValueError):
        return ContentError(f"{where}: not a request that can be sent")
    if isinstance(error, aiohttp.ClientResponseError):
        return NetworkError(f"{where}: not an HTTP answer: {wire.escape(error.message)}")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return NetworkError(f"{where}: no answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return NetworkError(f"{where}: the connection was closed before the answer was complete")
    text = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    family = _NoConnectionError if isinstance(error, aiohttp.ClientConnectorError) else NetworkError
    return family(f"{where}: {wire.escape(text)}")


def _cause(url: str, error: BaseException) -> BaseException | None:
    """What the error is raised from: not aiohttp's own where it might quote a signature of the URL (I7)."""
    return error if wire.redact(url) == url else None
