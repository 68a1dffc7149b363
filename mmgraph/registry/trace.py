"""What was on the wire, request by request, for somebody whose registry misbehaves: redacted and escaped.

Owns the record of one request and its two forms, a line for people and a line of JSON. Must not know headers: what
is not in a record cannot leak from it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from mmgraph.registry import wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mmgraph.clock import Clock
    from mmgraph.names import Registry
    from mmgraph.store import Operation

_URL_LIMIT: Final = 2000


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what became of it."""

    time: float
    """Seconds since 1970 at which it was sent."""
    registry: str
    """On whose behalf."""
    operation: str
    method: str
    url: str
    """Without the values of query parameters that may be secrets."""
    status: int
    """0: no answer."""
    sent: int
    """Bytes of the request's body."""
    received: int
    """Bytes of the answer's body that came."""
    seconds: float
    attempt: int
    """1: the first."""
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether it had no answer, or one that is an error, or was sent before."""
        return self.status == 0 or self.status >= 400 or self.attempt > 1

    def line(self) -> str:
        """Return it for people."""
        again = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        what = f"{self.status}" if self.status else f"no answer: {self.error}"
        return (
            f"{self.method} {self.url}: {what}, {self.sent} bytes out, {self.received} in,"
            f" {self.seconds:.2f} s{again}"
        )


class Heard(Protocol):
    """Who is told of each request once it is over. Must return at once."""

    def __call__(self, exchange: Exchange, /) -> None:
        """Take note of it."""
        ...


class Started:
    """A request that has been sent, until it is over."""

    __slots__ = ("_attempt", "_began", "_recorder", "_url", "method", "operation", "registry", "sent", "time")

    def __init__(
        self,
        recorder: Recorder,
        operation: Operation,
        registry: Registry,
        method: str,
        url: str,
        attempt: int,
    ) -> None:
        self.operation, self.registry, self.method = operation, registry, method
        self.sent: Callable[[], int] = int
        """Bytes of its body so far."""
        self._recorder = recorder
        self._url = url
        self._attempt = attempt
        self._began = recorder.clock.now()
        self.time = recorder.clock.wall()

    def over(self, status: int, received: int = 0, error: str = "") -> None:
        """Tell what became of it."""
        self._recorder.heard(
            Exchange(
                time=round(self.time, 3),
                registry=str(self.registry),
                operation=str(self.operation),
                method=self.method,
                url=wire.escape(wire.redact(self._url), _URL_LIMIT),
                status=status,
                sent=self.sent(),
                received=received,
                seconds=round(self._recorder.clock.now() - self._began, 6),
                attempt=self._attempt,
                error=wire.escape(error),
            )
        )


class Recorder:
    """Makes the records of a run."""

    def __init__(self, clock: Clock, heard: Heard) -> None:
        self.clock = clock
        self.heard = heard
        self._repeats: dict[tuple[Operation, str], int] = {}

    def start(
        self, operation: Operation, registry: Registry, method: str, url: str, *, repeat: bool
    ) -> Started:
        """Begin the record of a request; ``repeat``: what it asks was asked before."""
        attempt = 1
        if repeat:
            attempt = self._repeats[operation, url] = self._repeats.get((operation, url), 1) + 1
        return Started(self, operation, registry, method, url, attempt)


class TraceFile:
    """A file of JSON lines that only its owner may read; one that can no longer be written is left alone."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        # Not through a symbolic link that somebody else laid there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._broken = False

    def __call__(self, exchange: Exchange) -> None:
        """Write a line."""
        self._try(lambda: self._file.write(msgspec.json.encode(exchange) + b"\n"))

    def close(self) -> None:
        """Write what is left."""
        self._try(self._file.flush)
        try:
            self._file.close()
        except OSError:
            pass  # told already

    def _try(self, write: Callable[[], object]) -> None:
        if self._broken:
            return
        try:
            write()
        except OSError as error:
            self._broken = True
            self._warn(f"{self._path}: {error.strerror}: the trace ends here")
