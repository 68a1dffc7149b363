"""aiohttp's sessions: one a registry, so that what is connected under its rules never serves another one.

Owns how a single request gets onto a wire: pools, proxies, TLS, addresses. Must not know what is asked, tokens, or
what an answer means.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import msgspec
from yarl import URL

from mmgraph.registry import wire
from mmgraph.registry.addresses import kind_unresolved, permitted
from mmgraph.registry.lean import aiohttp
from mmgraph.registry.origins import Errand, Trust, refused
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.resolver import ForbiddenError, GuardedResolver, Lookup, system_lookup
from mmgraph.registry.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmgraph.names import Registry

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=120)
"""Seconds; both are watched elsewhere, and this is only the second line."""
_READ_BUFFER: Final = 256 << 10
"""Bytes; the socket hands over as many at once, and more was no faster. Twice as many wait at most per blob."""
_HEADER_LIMIT: Final = 64 << 10
"""Bytes of one header; signed URLs and long challenges pass aiohttp's own 8 KiB."""


class Routes(msgspec.Struct, frozen=True):
    """How hosts are reached: what TLS trusts, which proxies there are, what the user has opened."""

    tls: Tls
    proxies: Proxies
    trust: Trust = Trust()
    lookup: Lookup = system_lookup


class Dial:
    """How far one request has come on its way to a connection; ``there`` is called when it has one, new or kept."""

    __slots__ = ("_sockets", "_there")

    def __init__(self, there: Callable[[], None]) -> None:
        self._there = there
        self._sockets: list[socket.socket] = []

    def tries(self, one: socket.socket) -> None:
        """Take note of a socket that is to be connected; several addresses may be tried at once."""
        self._sockets.append(one)

    def linked(self) -> bool:
        """Whether one of the sockets is connected, so that what is waited for is TLS."""
        return any(map(_connected, self._sockets))

    def there(self) -> None:
        """The connection may be used."""
        self._sockets = []
        self._there()


def _connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:  # not yet, or closed
        return False
    return True


_DIAL: Final[ContextVar[Dial | None]] = ContextVar("dial", default=None)


class _Connector(aiohttp.TCPConnector):
    """Tells requests when they have a connection. Traces would tell too, but cost every request and chunk a call."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """Return a connection, kept or new."""
        connection = await super().connect(req, traces, timeout)
        while connection.protocol is not None and connection.protocol.should_close:
            # Somebody spoke on it before he was asked: HAProxy tells a connection that stays idle 408, and what lies
            # there would pass for the answer to what is asked next.
            connection.close()
            connection = await super().connect(req, traces, timeout)
        dial = _DIAL.get()
        if dial is not None:
            dial.there()
        return connection

    def __init__(self, resolver: GuardedResolver | None) -> None:
        # A socket to a proxy tells nothing of the host behind it.
        factory = self._socket if resolver else None
        super().__init__(limit=0, limit_per_host=0, resolver=resolver, socket_factory=factory)
        self.sockets = 0
        """How many there have been: hardly more than there are, as they are kept."""

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Make a socket for an address, and tell the request that it is made for."""
        self.sockets += 1
        made = socket.socket(*address[:3])
        dial = _DIAL.get()
        if dial is not None:
            dial.tries(made)
        return made

    async def spare(self, req: aiohttp.ClientRequest) -> None:
        """Open a connection that ``req`` could use, and keep it for whoever comes."""
        connection = await super().connect(req, [], _TIMEOUT)
        connection.release()

    def drop(self) -> Awaitable[None]:
        """Close everything before this returns; what is to be awaited is the sockets' end.

        ``TCPConnector.close`` does nothing before it is awaited, and to await is what an interrupted run may not do.
        """
        return super(aiohttp.TCPConnector, self).close(abort_ssl=True)


class Sessions:
    """The sessions of a run; ``close`` ends all connections."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._direct: dict[Registry, tuple[aiohttp.ClientSession, GuardedResolver]] = {}
        self._proxied: dict[Registry, aiohttp.ClientSession] = {}
        self._promised: dict[Registry, int] = {}
        """How many connections there will be, those counted that are opened before they are needed."""
        self._spares: set[asyncio.Task[None]] = set()

    async def request(
        self,
        registry: Registry,
        method: str,
        url: str,
        headers: dict[str, str],
        data: Any,
        dial: Dial | None = None,
        *,
        place: wire.Origin,
        own: bool,
        errand: Errand,
    ) -> aiohttp.ClientResponse:
        """Send one request to ``place`` for ``registry``; ``own``: its own origin, else it is for the ``errand``.

        ``dial`` hears of its connection.

        Raises what aiohttp raises, and ``RegistryError`` for a place that the rules on addresses forbid, to which
        nothing has been sent then.
        """
        _DIAL.set(dial)  # for this task: what it asks next sets its own
        context = (
            self._routes.tls.context(place, registry if own else None) if place.scheme == "https" else True
        )
        proxy = self._routes.proxies.find(place)
        if proxy is not None:
            if not own:
                self._check_name(registry, place, errand)
            login = proxy.authorization
            sent = {"Proxy-Authorization": login.reveal()} if login else {}
            if place.scheme == "http":  # no tunnel: the proxy reads the request itself, and takes it out
                headers = headers | sent
            return await self._session(registry).request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=data,
                allow_redirects=False,
                ssl=context,
                proxy=proxy.url,
                proxy_headers=sent if place.scheme == "https" else None,
            )
        session, resolver = self._guarded(registry)
        try:
            if not own:
                resolver.check(place.host, place.port)
            return await session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=data,
                allow_redirects=False,
                ssl=context,
            )
        except ForbiddenError as error:
            raise refused(registry, place, error.kind, errand) from None

    def prepare(self, registry: Registry, place: wire.Origin, count: int) -> None:
        """See to it that ``count`` connections to the registry's own ``place`` are there soon; nothing is sent on them.

        Not through a proxy, whose connections are its own to keep.
        """
        session, _ = self._guarded(registry)
        assert isinstance(session.connector, _Connector)
        there = max(session.connector.sockets, self._promised.get(registry, 0))
        if there >= count or self._routes.proxies.find(place) is not None:
            return
        self._promised[registry] = count
        for _ in range(count - there):
            task = asyncio.create_task(self._spare(registry, place, session.connector))
            self._spares.add(task)
            task.add_done_callback(self._spares.discard)

    async def _spare(self, registry: Registry, place: wire.Origin, connector: _Connector) -> None:
        """Open a connection before it is needed. What fails here fails again, and is told, when it is."""
        _DIAL.set(None)
        url = URL(f"{place}/", encoded=True)
        loop = asyncio.get_running_loop()
        with suppress(Exception):
            context = self._routes.tls.context(place, registry) if place.scheme == "https" else True
            await connector.spare(aiohttp.ClientRequest("GET", url, loop=loop, ssl=context))

    async def close(self) -> None:
        """Close all connections: at once, where waiting for their ends is cut short."""
        sessions = (*(session for session, _ in self._direct.values()), *self._proxied.values())
        for spare in self._spares:
            spare.cancel()
        try:
            await asyncio.gather(*self._spares, return_exceptions=True)
            for session in sessions:
                await session.close()
        finally:
            connectors = [each.connector for each in sessions if isinstance(each.connector, _Connector)]
            ends = [each.drop() for each in connectors if not each.closed]  # all, before any is waited for
            for end in ends:
                await end

    def _check_name(self, registry: Registry, place: wire.Origin, errand: Errand) -> None:
        """The proxy resolves, so that names are all there is to judge by."""
        host = _host(registry)
        kind = kind_unresolved(place.host)
        opened = self._routes.trust.opened(registry, place)
        if place.host != host and not permitted(kind, kind_unresolved(host), opened=opened):
            raise refused(registry, place, kind, errand)

    def _guarded(self, registry: Registry) -> tuple[aiohttp.ClientSession, GuardedResolver]:
        found = self._direct.get(registry)
        if found is None:

            def opened(host: str, port: int) -> bool:
                place = wire.Origin("http" if port == 80 else "https", host, port)
                return self._routes.trust.opened(registry, place)

            resolver = GuardedResolver(_host(registry), opened, self._routes.lookup)
            found = self._direct[registry] = (_session(resolver), resolver)
        return found

    def _session(self, registry: Registry) -> aiohttp.ClientSession:
        found = self._proxied.get(registry)
        if found is None:
            found = self._proxied[registry] = _session(None)
        return found


def _host(registry: Registry) -> str:
    return wire.origin(f"https://{wire.host(registry)}/").host


def _session(resolver: GuardedResolver | None) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=_Connector(resolver),
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
    # aiohttp repeats idempotent requests unseen; repeating and counting happen elsewhere alone. There is no
    # public switch: aiohttp's own test client turns it off this way.
    session._retry_connection = False  # noqa: SLF001
    return session
