"""A small internet whose bytes are a test's own: hosts by name behind one proxy, honest registries until told.

Owns raw sockets, a ledger of all that was asked, and tricks that answer in a host's place. What no trick touches is
handed on to a registry of ours over memory. Must not know what is expected of a client.
"""

from __future__ import annotations

import asyncio
import base64
import fnmatch
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote

from mmgraph.server import FaultPlan, MemoryStorage, Quirks, RegistryServer
from mmgraph.server.routes import target
from mmgraph.store import Operation
from tests.support.images import Maker

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from mmgraph.server import Kind
    from tests.support.clock import ManualClock

PASS: Final = b"\0pass"
"""What a trick returns that leaves the request to the next one, or to the registry."""
_PIECE: Final = 1 << 16
_BROKEN: Final = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)


def head(status: int, *headers: tuple[str, str]) -> bytes:
    """Return the head of an answer, with just these headers; text that is not Latin-1 goes as UTF-8."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode()


def reply(status: int, body: bytes = b"", *headers: tuple[str, str]) -> bytes:
    """Return a whole answer with an honest length."""
    return head(status, ("Content-Length", str(len(body))), *headers) + body


def errors(code: str, message: str = "no", detail: object = None) -> bytes:
    """Return an error body as the distribution-spec has it."""
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


class Exchange:
    """One request as it arrived; ``received`` are the bytes of its body so far, ``at`` the time of its head."""

    def __init__(
        self,
        host: Host,
        first: str,
        lines: list[str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.method, url, _ = first.split(" ", 2)
        self.url = url
        if "://" in url:
            url = "/" + url.partition("://")[2].partition("/")[2]
        self.target = url
        self.path, _, self.query = url.partition("?")
        self.path = unquote(self.path)
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.host = host
        self.reader = reader
        self.writer = writer
        asked = target(self.method, self.path)
        self.kind: Kind = asked.kind
        self.repository = asked.repository
        self.name = asked.name
        self.mount = "mount=" in self.query
        self.at = host.clock.now()
        self.status = 0
        self.received = 0
        self.left = int(self.headers.get("content-length", "0"))

    @property
    def digest(self) -> str:
        """The digest that it is about: its name, or that of its query."""
        pairs = (pair.partition("=") for pair in self.query.split("&"))
        named = {name: unquote(value) for name, _, value in pairs}
        return named.get("digest") or named.get("mount") or self.name

    async def more(self, limit: int = _PIECE) -> bytes:
        """Return some of the body, empty at its end."""
        if not self.left:
            return b""
        piece = await self.reader.read(min(limit, self.left))
        if not piece:
            raise ConnectionResetError
        self.received += len(piece)
        self.left -= len(piece)
        return piece

    async def drain(self, count: int | None = None) -> None:
        """Read ``count`` bytes of the body and drop them, by default all."""
        count = self.left if count is None else count
        while count > 0 and (piece := await self.more(min(count, _PIECE))):
            count -= len(piece)

    async def send(self, data: bytes) -> None:
        """Send part of an answer."""
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Keep silent until the client has had enough."""
        await self.reader.read()


@dataclass
class _Trap:
    """A trick and the requests it is for."""

    act: Callable[[Exchange], Awaitable[bytes | None]]
    kind: Kind | None
    name: str
    repository: str
    mount: bool | None
    skip: int
    count: int | None
    where: Callable[[Exchange], bool]

    def catches(self, exchange: Exchange) -> bool:
        fits = (
            self.kind in {None, exchange.kind}
            and fnmatch.fnmatchcase(exchange.digest, self.name)
            and fnmatch.fnmatchcase(exchange.repository, self.repository)
            and self.mount in {None, exchange.mount}
            and self.where(exchange)
        )
        if not fits or self.count == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.count is not None:
            self.count -= 1
        return True


@dataclass
class Host:
    """One origin: a registry's storage, its faults, its tricks, and all that it was asked.

    ``wants`` is ``basic`` (just ``password``), ``bearer`` (tokens from its own ``/token``) or nothing.
    """

    name: str
    clock: ManualClock
    password: str = ""
    wants: str = ""
    tls: ssl.SSLContext | None = None
    life: float = 300.0
    realm: str = ""
    quirks: Quirks = field(default_factory=Quirks)
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    asked: list[Exchange] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)
    backend: RegistryServer | None = None
    issued: list[str] = field(default_factory=list)
    """All tokens, also those that are worth nothing any more."""
    lent: set[str] = field(default_factory=set)
    """Authorization headers of others that are right here: what a trusted token service is shown."""
    poured: int = 0
    """Bytes that a body without an end has sent beyond its content."""
    _traps: list[_Trap] = field(default_factory=list)

    @property
    def make(self) -> Maker:
        """What puts images into it."""
        return Maker(self.storage)

    @property
    def origin(self) -> str:
        """How clients address it."""
        return f"{'https' if self.tls else 'http'}://{self.name}"

    @property
    def faults(self) -> FaultPlan:
        """The fault plan of the registry behind it."""
        assert self.backend is not None
        return self.backend.faults

    def trick(
        self,
        act: Callable[[Exchange], Awaitable[bytes | None]] | bytes | None,
        kind: Kind | None = None,
        *,
        name: str = "*",
        repository: str = "*",
        mount: bool | None = None,
        skip: int = 0,
        count: int | None = None,
        where: Callable[[Exchange], bool] = lambda exchange: True,
    ) -> None:
        """Answer requests that fit with what ``act`` returns: bytes as they are, None hangs up, PASS does nothing.

        Bytes in the place of a function are sent once the request's body has been read.
        """
        if act is None or isinstance(act, bytes):
            answer = act

            async def say(exchange: Exchange) -> bytes | None:
                await exchange.drain()
                return answer

            act = say
        self._traps.append(_Trap(act, kind, name, repository, mount, skip, count, where))

    def select(self, kind: Kind | None = None, name: str = "*") -> list[Exchange]:
        """Return what was asked, in order."""
        return [
            exchange
            for exchange in self.asked
            if kind in {None, exchange.kind} and fnmatch.fnmatchcase(exchange.digest, name)
        ]

    def count(self, kind: Kind | None = None, name: str = "*") -> int:
        """Return how often something was asked."""
        return len(self.select(kind, name))

    @property
    def basic(self) -> str:
        """The one Authorization header that is right here."""
        return "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()

    @property
    def authorizations(self) -> set[str]:
        """All Authorization headers it was sent."""
        return {value for one in self.asked if (value := one.headers.get("authorization")) is not None}

    async def answer(self, exchange: Exchange) -> bytes | None:
        """Return the answer, after relaying what is relayed as an empty one."""
        for trap in self._traps:
            if trap.catches(exchange):
                found = await trap.act(exchange)
                if found is not PASS:
                    return found
        if self.wants == "bearer" and exchange.kind == Operation.TOKEN:
            return self._token(exchange)
        if self.wants and not self._allowed(exchange):
            await exchange.drain()
            realm = self.realm or f"{self.origin}/token"
            challenge = 'Basic realm="x"' if self.wants == "basic" else f'Bearer realm="{realm}",service="x"'
            return reply(401, errors("UNAUTHORIZED"), ("WWW-Authenticate", challenge))
        return PASS

    def _allowed(self, exchange: Exchange) -> bool:
        sent = exchange.headers.get("authorization", "")
        if self.wants == "basic":
            return sent == self.basic
        return self.tokens.get(sent.removeprefix("Bearer "), 0.0) > self.clock.now()

    def _token(self, exchange: Exchange) -> bytes:
        if exchange.headers.get("authorization") != self.basic:
            return reply(401, errors("UNAUTHORIZED"))
        return reply(200, json.dumps(self.issue()).encode())

    def issue(self) -> dict[str, object]:
        """Return a new token as its service does."""
        token = f"CANARY-token-{self.name}-{len(self.issued)}"
        self.issued.append(token)
        self.tokens[token] = self.clock.now() + self.life
        return {"token": token, "expires_in": int(self.life)}


class Internet:
    """All hosts behind one proxy on loopback, as an async context manager; ``strangers`` are hosts nobody made."""

    def __init__(self, clock: ManualClock) -> None:
        self.hosts: dict[str, Host] = {}
        self.strangers: list[str] = []
        self.clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._ports: dict[str, int] = {}

    @property
    def proxy(self) -> str:
        """The URL of the proxy."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._port = await self._listen(None)
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stack.aclose()

    async def host(self, name: str, **settings: object) -> Host:
        """Make a host; settings are those of ``Host``."""
        made = Host(name, self.clock, **settings)  # type: ignore[arg-type]
        made.backend = await self._stack.enter_async_context(
            RegistryServer(made.storage, faults=FaultPlan(quirks=made.quirks))
        )
        if made.tls is not None:
            self._ports[name.removesuffix(":443")] = await self._listen(made)
        self.hosts[name] = made
        return made

    async def _listen(self, host: Host | None) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            try:
                while await self._serve(host, reader, writer):
                    pass
            except (*_BROKEN, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=host.tls if host else None)
        self._stack.callback(server.close)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _serve(
        self, host: Host | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether another may follow on the connection."""
        first, *lines = (
            (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        )
        method, url, _ = first.split(" ", 2)
        if method == "CONNECT":
            await self._tunnel(url, reader, writer)
            return False
        if host is None:
            name = url.partition("://")[2].partition("/")[0]
            host = self.hosts.get(name) or self.hosts.get(name.removesuffix(":80"))
            if host is None:
                self.strangers.append(name)
                return False
        exchange = Exchange(host, first, lines, reader, writer)
        host.asked.append(exchange)
        found = await host.answer(exchange)
        if found is PASS:
            return await _relay(exchange)
        if found is None:
            return False
        exchange.status = int(found[9:12])
        await exchange.send(found)
        return not exchange.left and b"onnection: close" not in found[:4096]

    async def _tunnel(self, place: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self._ports.get(place.removesuffix(":443"))
        if port is None:
            self.strangers.append(place)
            writer.write(reply(502))
            await writer.drain()
            return
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 X\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while piece := await source.read(_PIECE):
                    sink.write(piece)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, outer), pump(inner, writer))


async def _relay(exchange: Exchange) -> bool:
    """Let the registry behind the host answer; whether the connection can be used again."""
    assert exchange.host.backend is not None
    name, _, port = exchange.host.backend.address.rpartition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    kept = {
        key: value
        for key, value in exchange.headers.items()
        if key not in {"host", "authorization", "connection", "proxy-connection"}
    }
    lines = "".join(f"{key}: {value}\r\n" for key, value in kept.items())
    start = f"{exchange.method} {exchange.target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n"

    async def up() -> None:
        writer.write(start.encode("latin-1"))
        while piece := await exchange.more():
            writer.write(piece)
            await writer.drain()

    sending = asyncio.create_task(up())
    try:
        heading = await reader.readuntil(b"\r\n\r\n")
        exchange.status = int(heading[9:12])
        lines_back = [line for line in heading.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        exchange.writer.write(b"\r\n".join(lines_back))
        sizes = [int(line[15:]) for line in lines_back if line.lower().startswith(b"content-length:")]
        bare = exchange.method == "HEAD" or exchange.status in {204, 304}
        due = 0 if bare else sizes[0] if sizes else None
        sent = 0
        while due is None or sent < due:
            piece = await reader.read(_PIECE)
            if not piece:
                break
            sent += len(piece)
            await exchange.send(piece)
        await exchange.writer.drain()
        return sent == due and not exchange.left
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
