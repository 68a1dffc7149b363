"""The requests a server has answered, for counting. Knows not how they are answered, keeps no credential."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator


class Extra(StrEnum):
    """What a registry is asked beyond mmgraph's own operations."""

    GET_REFERRERS = "GET referrers"
    DELETE_MANIFEST = "DELETE manifest"
    DELETE_BLOB = "DELETE blob"
    OTHER = "other"


Kind = Operation | Extra


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it was answered.

    ``name`` is the tag, the digest, or for an upload the digest asked for where there is one, else the
    session. ``status`` is 0 where no answer was sent whole. ``bytes_received`` and ``bytes_sent`` count
    bodies. ``headers`` are the request's, in lower case; of ``authorization`` only the scheme is kept.
    ``fault`` names what a fault plan did to it. ``scopes`` are those a token was asked for.
    """

    method: str
    path: str
    kind: Kind
    repository: str = ""
    name: str = ""
    query: Mapping[str, str] = {}
    status: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    headers: Mapping[str, str] = {}
    fault: str = ""
    scopes: tuple[str, ...] = ()

    @property
    def authorization(self) -> str:
        """``Basic``, ``Bearer``, or nothing."""
        return self.headers.get("authorization", "")

    @property
    def mount(self) -> str:
        """The digest a mount was asked for, or nothing."""
        return self.query.get("mount", "")

    @property
    def mount_from(self) -> str:
        """The repository to mount from, or nothing."""
        return self.query.get("from", "")

    @property
    def range(self) -> str:
        """The Range header, or nothing."""
        return self.headers.get("range", "")


_HEADERS_LIMIT: Final = 64


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the first 64 headers, names in lower case, secrets left out: no secret reaches a log."""
    shown: dict[str, str] = {}
    for key, value in list(headers.items())[:_HEADERS_LIMIT]:
        name = key.lower()
        secret = name in {"authorization", "proxy-authorization", "cookie"}
        shown[name] = (value.split(" ", 1)[0] if name == "authorization" else "(set)") if secret else value
    return shown


class RequestLog:
    """The last ``limit`` requests that were answered, or all, in the order in which their answers ended."""

    def __init__(self, limit: int | None = None) -> None:
        self._requests: deque[Request] = deque(maxlen=limit)
        self._waiting: list[asyncio.Future[None]] = []
        self.running = 0
        """Requests being answered now."""
        self.peak = 0
        """The most requests that were being answered at one time."""

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def begin(self) -> None:
        """Count a request that starts."""
        self.running += 1
        self.peak = max(self.peak, self.running)

    def keep(self, request: Request) -> None:
        """Append a request."""
        self._requests.append(request)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def reached(self, kind: Kind, count: int = 1) -> None:
        """Return once there are ``count`` requests of ``kind``."""
        while self.count(kind) < count:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def end(self) -> None:
        """Count a request that has ended."""
        self.running -= 1

    def select(
        self,
        kind: Kind | None = None,
        *,
        repository: str | None = None,
        name: str | None = None,
        status: int | None = None,
        method: str | None = None,
    ) -> list[Request]:
        """Return the requests that are as named, in order."""
        return [
            request
            for request in self._requests
            if (kind is None or request.kind == kind)
            and (repository is None or request.repository == repository)
            and (name is None or request.name == name)
            and (status is None or request.status == status)
            and (method is None or request.method == method)
        ]

    def count(
        self,
        kind: Kind | None = None,
        *,
        repository: str | None = None,
        name: str | None = None,
        status: int | None = None,
        method: str | None = None,
    ) -> int:
        """Return how many requests are as named."""
        return len(self.select(kind, repository=repository, name=name, status=status, method=method))

    def bytes_sent(self, kind: Kind | None = None) -> int:
        """Return the bytes of the bodies of answers to ``kind``, whether or not they arrived whole."""
        return sum(request.bytes_sent for request in self.select(kind))

    def bytes_received(self, kind: Kind | None = None) -> int:
        """Return the bytes of the bodies of requests of ``kind``."""
        return sum(request.bytes_received for request in self.select(kind))

    def clear(self) -> None:
        """Forget what has been answered; what is being answered now will still be kept."""
        self._requests.clear()
        self.peak = self.running
