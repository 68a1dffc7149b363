"""The server: which handler answers which request, and the life of its socket. Has no rule of its own."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from mmgraph.clock import Clock, SystemClock
from mmgraph.errors import InternalError, SpecError
from mmgraph.server.answer import Answer, Code, Refusal
from mmgraph.server.auth import Auth, MayPull, Open
from mmgraph.server.blobs import Blobs
from mmgraph.server.exchange import Exchange
from mmgraph.server.faults import FaultPlan
from mmgraph.server.layout import LayoutStorage
from mmgraph.server.log import Extra, RequestLog
from mmgraph.server.manifests import Manifests
from mmgraph.server.routes import Target, checked_repository, target
from mmgraph.server.sessions import Sessions
from mmgraph.server.storage import BrokenError, MemoryStorage, Storage
from mmgraph.store import Operation

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

_LOGGER: Final = logging.getLogger("mmgraph.server")
_GRACE: Final = 1.0
"""Seconds that requests under way are given when the server stops."""
_HEAD: Final = 75.0
"""Seconds in which the head of a request must have come, from the connection or the last answer on."""


_WRITES: Final = frozenset(
    {Operation.POST_UPLOAD, Operation.PATCH_UPLOAD, Operation.PUT_BLOB, Operation.PUT_MANIFEST}
)


class RegistryServer:
    """A registry that serves ``storage`` while its context is open; ``port`` 0 takes a free one."""

    def __init__(
        self,
        storage: Storage,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: FaultPlan | None = None,
        tls: ssl.SSLContext | None = None,
        auth: Auth | None = None,
        clock: Clock | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self.storage = storage
        self.faults = faults or FaultPlan()
        self.log = RequestLog() if log is None else log
        self._host = host
        self._port = port
        self._tls = tls
        self._auth = auth or Open()
        self._clock = clock or SystemClock()
        self._closing = asyncio.Event()
        self._sessions = Sessions(self._clock)
        self._blobs = Blobs(storage, self.faults.quirks, self._sessions)
        self._manifests = Manifests(storage, self.faults.quirks)
        self._address = ""
        self._runner: web.ServerRunner | None = None

    @property
    def address(self) -> str:
        """``host:port`` from its start on."""
        if not self._address:
            raise InternalError("the server has not been started")
        return self._address

    @property
    def url(self) -> str:
        """``http://host:port``, or https."""
        return f"{'https' if self._tls else 'http'}://{self.address}"

    @property
    def open_sessions(self) -> int:
        """Upload sessions that were opened and have not ended."""
        return len(self._sessions)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def start(self) -> None:
        """Start to listen, once in a server's life.

        Raises ``SpecError`` where the address cannot be had, or the storage is not fit to be served.
        """
        self.storage.open()
        # Bodies are stored as they come: a Content-Encoding is the client's business.
        # aiohttp has no time-out for heads by name. Its keep-alive time-out closes whatever waits for one, also
        # in the middle and at a connection's start, and would be an hour.
        server = web.Server(self._serve, auto_decompress=False, access_log=None, keepalive_timeout=_HEAD)
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls).start()
        except OSError as error:
            await self.stop()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise SpecError(f"cannot listen on {self._host}:{self._port}: {reason}") from error
        host, port = self._runner.addresses[0][:2]
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening; end stalled requests at once, others after a second. More calls do nothing."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self._sessions.close()
        self.storage.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = target(request.method, request.path)
        exchange = Exchange(request, asked, self._clock, self._closing, self.log)
        self.log.begin()
        try:
            return await exchange.send(await self._answer(exchange))
        except ConnectionError:
            return exchange.hang_up()
        finally:
            exchange.log()
            self.log.end()

    async def _answer(self, exchange: Exchange) -> Answer:
        try:
            if exchange.target.repository:
                checked_repository(exchange.target.repository)
            token = exchange.target.kind == Operation.TOKEN
            may_pull = None if token else self._auth.check(exchange, self.url)
            exchange.actions = self.faults.actions(
                exchange.request.method,
                exchange.target.kind,
                exchange.target.repository,
                exchange.name,
                mount=exchange.is_mount,
            )
            answer = await exchange.before() or await self._handle(exchange, may_pull)
        except Refusal as refusal:
            answer = refusal.answer()
        except BrokenError as error:
            _LOGGER.error("cannot answer %s %s: %s", exchange.request.method, exchange.target.kind, error)
            answer = Refusal(500, Code.UNKNOWN, str(error)).answer()
        except SpecError as error:
            answer = Refusal(400, Code.NAME_INVALID, str(error)).answer()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except OSError as error:
            reason = error.strerror or type(error).__name__
            _LOGGER.error("cannot answer %s %s: %s", exchange.request.method, exchange.target.kind, reason)
            answer = Refusal(500, Code.UNKNOWN, f"the registry's files failed: {reason}").answer()
        except Exception:
            _LOGGER.exception("cannot answer %s %s", exchange.request.method, exchange.target.kind)
            answer = Refusal(500, Code.UNKNOWN, "the registry failed").answer()
        if self.faults.quirks.no_digest_header:
            kept = {key: value for key, value in answer.headers.items() if key != "Docker-Content-Digest"}
            answer = Answer(answer.status, kept, answer.body, answer.length)
        return answer

    async def _handle(self, exchange: Exchange, may_pull: MayPull | None) -> Answer:
        blobs, manifests = self._blobs, self._manifests
        if may_pull is None:
            return await self._auth.token(exchange)
        name = exchange.target.repository
        if exchange.target.kind in _WRITES and not self.faults.quirks.is_created(name):
            raise Refusal(404, Code.NAME_UNKNOWN, "the repository does not exist", details=[name])
        match exchange.target:
            case Target(kind=Operation.PING):
                headers = {
                    "Content-Type": "application/json",
                    "Docker-Distribution-API-Version": "registry/2.0",
                }
                return Answer(200, headers, b"{}")
            case Target(kind=Operation.GET_MANIFEST | Operation.HEAD_MANIFEST):
                return await manifests.get(exchange)
            case Target(kind=Operation.PUT_MANIFEST):
                return await manifests.put(exchange)
            case Target(kind=Operation.GET_TAGS):
                return await manifests.tags(exchange)
            case Target(kind=Extra.GET_REFERRERS):
                return await manifests.referrers(exchange)
            case Target(kind=Operation.GET_BLOB | Operation.HEAD_BLOB):
                return await blobs.get(exchange)
            case Target(kind=Operation.POST_UPLOAD):
                return await blobs.post(exchange, may_pull)
            case Target(kind=Operation.PATCH_UPLOAD):
                return await blobs.patch(exchange)
            case Target(kind=Operation.PUT_BLOB):
                return await blobs.put(exchange)
            case Target(kind=Operation.GET_UPLOAD):
                return await blobs.status(exchange)
            case Target(kind=Operation.DELETE_UPLOAD):
                return await blobs.cancel(exchange)
            case Target(kind=Extra.DELETE_MANIFEST | Extra.DELETE_BLOB):
                headers = {"Allow": "GET, HEAD, PUT"}
                raise Refusal(405, Code.UNSUPPORTED, "nothing is deleted here", headers=headers)
            case Target(allowed=allowed) if allowed:
                headers = {"Allow": ", ".join(allowed)}
                raise Refusal(405, Code.UNSUPPORTED, "not a method of this endpoint", headers=headers)
            case _:
                raise Refusal(404, Code.UNSUPPORTED, "there is no such endpoint")


async def serve(
    directory: Path | None, host: str, port: int, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Serve ``directory``, or memory where it is None, until ``stop``; ``ready`` is told the address."""
    storage = MemoryStorage() if directory is None else LayoutStorage(directory)
    # Nobody asks what was asked, and the log of a server that runs for weeks would fill its memory.
    async with RegistryServer(storage, host=host, port=port, log=RequestLog(limit=0)) as server:
        ready(server.address)
        await stop.wait()
