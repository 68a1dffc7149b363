"""Facts that happen while mmgraph works, as frozen values, and the Reporter that hears them. Never prints.

One type per fact; who wants to show something subscribes. Values are the names of things, not nodes of the graph.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from mmgraph.names import Digest, Reference, Registry, Repository


class Outcome(StrEnum):
    """What became of a spec."""

    COPIED = "copied"
    MOVED = "moved"
    REPAIRED = "repaired"
    """It names what it named, and what was missing of that is there again."""
    UNCHANGED = "unchanged"
    FAILED = "failed"
    BLOCKED = "blocked"
    """By a node it needs, which failed for another spec first."""
    STOPPED = "stopped"


class Landing(StrEnum):
    """How a blob or manifest came to be where it shall be."""

    UPLOADED = "uploaded"
    MOUNTED = "mounted"
    PUT = "put"
    """A manifest or index."""
    FOUND = "found"
    """It was there already."""


class Event(msgspec.Struct, frozen=True, gc=False, tag=str.lower, tag_field="event"):
    """The root of all events."""


class Read(Event, frozen=True):
    """Reading has come this far: of ``total`` specs, ``done`` have been read at their source and destination."""

    done: int
    total: int


class Planned(Event, frozen=True):
    """Images entered the plan while it was carried out: ``size`` bytes more are to be sent. ``complete``: the last."""

    size: int
    complete: bool


class Started(Event, frozen=True):
    """A blob's transfer began: one GET, as many uploads as there are targets."""

    digest: Digest
    size: int
    targets: tuple[Repository, ...]


class Moved(Event, frozen=True):
    """Bytes of a running transfer: read from the source since the last event, and sent to destinations."""

    digest: Digest
    read: int
    sent: int


class Ended(Event, frozen=True):
    """A blob's transfer ended, well or not."""

    digest: Digest


class Landed(Event, frozen=True):
    """A blob or manifest is where it shall be."""

    repository: Repository
    digest: Digest
    size: int
    how: Landing


class Retried(Event, frozen=True):
    """Something failed and is tried again, ``seconds`` from now."""

    repository: Repository
    name: str
    cause: str
    seconds: float


class Surprise(Event, frozen=True):
    """A registry did not behave as the plan expected; the work went another way."""

    repository: Repository
    name: str
    text: str


class Notice(Event, frozen=True):
    """Something a person should know that is no failure: a registry's warning, a quirk that was found."""

    registry: Registry | None
    text: str


class Finished(Event, frozen=True):
    """A spec came to its end; ``cause`` is why it failed, or is blocked or stopped."""

    destination: Reference
    digest: Digest | None
    outcome: Outcome
    cause: str = ""


class Draining(Event, frozen=True):
    """Nothing new is started; what runs has ``seconds`` to end."""

    running: int
    seconds: float


class Reporter(Protocol):
    """Who is told. Must return at once and not raise."""

    def __call__(self, event: Event, /) -> None:
        """Take note of ``event``."""
        ...


def silent(event: Event) -> None:
    """A reporter that hears and says nothing."""
