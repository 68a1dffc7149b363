"""Bytes as they pass, told of now and then: a fast transfer has thousands of chunks a second, more than anybody sees.

Owns when they are told. Must not know what is transferred, nor who listens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgraph.clock import Clock

_BYTES: Final = 1 << 20
_SECONDS: Final = 0.25


class Meter:
    """Adds up what it is called with, bytes read and bytes sent, and tells ``heard`` of both.

    At each MiB, and after a quarter of a second at most where bytes go on coming; ``close`` tells the rest.
    """

    __slots__ = ("_clock", "_heard", "_read", "_sent", "_told_at")

    def __init__(self, heard: Callable[[int, int], None], clock: Clock) -> None:
        self._heard = heard
        self._clock = clock
        self._read = self._sent = 0
        self._told_at = clock.now()

    def __call__(self, read: int, sent: int) -> None:
        """Take note of bytes that have passed."""
        self._read += read
        self._sent += sent
        if self._read + self._sent >= _BYTES or self._clock.now() - self._told_at >= _SECONDS:
            self.close()

    def close(self) -> None:
        """Tell what has not been told."""
        if self._read or self._sent:
            read, sent, self._read, self._sent = self._read, self._sent, 0, 0
            self._told_at = self._clock.now()
            self._heard(read, sent)
