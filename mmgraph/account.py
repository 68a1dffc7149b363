"""What happened: the end of every spec, the bytes and requests, to be held against the plan's bill. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from mmgraph.names import Registry
from mmgraph.plan import Goal
from mmgraph.store import Operation, Traffic


class End(msgspec.Struct, frozen=True):
    """What became of one spec: created, moved, unchanged, failed, blocked (by a node that failed) or stopped."""

    goal: Goal
    outcome: str
    cause: str = ""


class Account(msgspec.Struct, frozen=True):
    """What happened, to hold against the plan's bill. Bytes count blobs."""

    ends: Sequence[End]
    downloaded: int
    uploaded: int
    mounted: int
    found: int
    """Bytes that were to be uploaded and turned out to be there, as a plan that asks for each blob would know."""
    surprises: Sequence[str]
    requests: Mapping[Registry, Mapping[Operation, int]]
    seconds: float
    traffic: Mapping[Registry, Traffic] = {}
    """Repetitions, pauses and windows: of the client's whole life, so that reading the sources is in them."""

    @property
    def complete(self) -> bool:
        """Whether every destination is confirmed to name what it shall (I5)."""
        return all(end.outcome in ("created", "moved", "unchanged") for end in self.ends)

    def count(self, outcome: str) -> int:
        """How many specs ended so."""
        return sum(end.outcome == outcome for end in self.ends)
