"""What happened: the end of every spec, the bytes and requests, to be held against the plan's bill. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from mmgraph.events import Outcome
from mmgraph.names import Registry
from mmgraph.plan import Goal, Result
from mmgraph.quirks import Learned
from mmgraph.store import Operation, Traffic

_CONFIRMED = frozenset({Outcome.CREATED, Outcome.MOVED, Outcome.UNCHANGED})


class End(msgspec.Struct, frozen=True):
    """What became of one spec."""

    goal: Goal
    outcome: Outcome
    cause: str = ""

    @classmethod
    def planned(cls, goal: Goal) -> Self:
        """The end of a spec for which nothing was to be done: it failed, was not read, or is unchanged."""
        if goal.result is Result.OPEN:
            return cls(goal, Outcome.STOPPED, "the run was stopped before it")
        if goal.result is Result.FAILED:
            return cls(goal, Outcome.FAILED, goal.cause)
        return cls(goal, Outcome.UNCHANGED)

    @classmethod
    def written(cls, goal: Goal) -> Self:
        """The end of a spec whose destination is confirmed."""
        return cls(goal, Outcome.CREATED if goal.result is Result.CREATE else Outcome.MOVED)

    @property
    def bad(self) -> bool:
        """Whether it failed, or is blocked by what did."""
        return self.outcome in (Outcome.FAILED, Outcome.BLOCKED)


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
    quirks: Sequence[Learned] = ()
    """How registries turned out to differ, from reading on."""

    @property
    def complete(self) -> bool:
        """Whether every destination is confirmed to name what it shall (I5)."""
        return all(end.outcome in _CONFIRMED for end in self.ends)

    def count(self, outcome: Outcome) -> int:
        """How many specs ended so."""
        return sum(end.outcome == outcome for end in self.ends)
