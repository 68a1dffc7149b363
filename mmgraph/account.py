"""What happened: the end of every spec, the bytes and requests, to be held against the plan's bill. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec.structs import replace

from mmgraph.effort import Effort, Efforts, Mounts
from mmgraph.events import Outcome
from mmgraph.graph import Node
from mmgraph.names import Reference, Registry
from mmgraph.plan import Goal, Result
from mmgraph.quirks import Learned
from mmgraph.store import Operation, Traffic

if TYPE_CHECKING:
    from mmgraph.clock import Clock
    from mmgraph.plan import Plan
    from mmgraph.store import Limits

CONFIRMED = frozenset({Outcome.COPIED, Outcome.MOVED, Outcome.REPAIRED, Outcome.UNCHANGED})
_WRITTEN = {
    Result.CREATE: Outcome.COPIED,
    Result.MOVE: Outcome.MOVED,
    Result.REPAIR: Outcome.REPAIRED,
}


class End(msgspec.Struct, frozen=True):
    """What became of one spec."""

    goal: Goal
    outcome: Outcome
    cause: str = ""
    effort: Effort = Effort()
    """What was done for it."""

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
        return cls(goal, _WRITTEN[goal.result])

    @property
    def bad(self) -> bool:
        """Whether it failed, or is blocked by what did."""
        return self.outcome in (Outcome.FAILED, Outcome.BLOCKED)


class Deviation(msgspec.Struct, frozen=True):
    """A registry did not do about ``node`` what the plan expected; the work went another way."""

    node: Node
    text: str

    def __str__(self) -> str:
        return f"{self.node}: {self.text}"


class Account(msgspec.Struct, frozen=True):
    """What happened, to hold against the plan's bill. Bytes count blobs."""

    ends: Sequence[End]
    downloaded: int
    uploaded: int
    mounted: int
    found: int
    """Bytes that were to be uploaded and turned out to be there, as a plan that asks for each blob would know."""
    surprises: Sequence[Deviation]
    requests: Mapping[Registry, Mapping[Operation, int]]
    seconds: float
    """Of carrying out; as ``apply`` tells it, since the run began, so that reading and waiting are in it."""
    traffic: Mapping[Registry, Traffic] = {}
    """Repetitions, pauses and windows: of the client's whole life, so that reading the sources is in them."""
    quirks: Sequence[Learned] = ()
    """How registries turned out to differ, from reading on."""
    mounts: Mapping[Registry, Mounts] = {}

    @property
    def complete(self) -> bool:
        """Whether every destination is confirmed to name what it shall (I5)."""
        return all(end.outcome in CONFIRMED for end in self.ends)

    def count(self, outcome: Outcome) -> int:
        """How many specs ended so."""
        return sum(end.outcome == outcome for end in self.ends)


def unstarted(goals: Iterable[Goal], why: str, causes: Mapping[Reference, str] = {}) -> list[End]:
    """The ends of specs where nothing was carried out, for ``why``; ``causes`` are those of who is at fault."""
    return [_unstarted(goal, why, causes.get(goal.spec.destination)) for goal in goals]


def _unstarted(goal: Goal, why: str, cause: str | None) -> End:
    if cause is not None:
        return End(goal, Outcome.FAILED, cause)
    settled = goal.result in (Result.UNCHANGED, Result.FAILED)
    return End.planned(goal) if settled else End(goal, Outcome.STOPPED, why)


class Book:
    """What an account is made of, while it happens. ``limits`` are whose requests are counted."""

    def __init__(self, plan: Plan, limits: Limits, clock: Clock) -> None:
        self.efforts = Efforts(clock)
        self._plan = plan
        self._limits = limits
        self._clock = clock
        self._began = clock.now()
        self._surprises: list[Deviation] = []

    def surprise(self, node: Node, text: str) -> None:
        """Take note that a registry did otherwise than planned."""
        self._surprises.append(Deviation(node, text))

    def account(self, ends: Iterable[End], learned: Sequence[Learned]) -> Account:
        """The account as it stands; ``ends`` are those of the plan's goals, without their efforts."""
        total = self.efforts.total
        efforts = self.efforts.by_goal(self._plan)
        return Account(
            [replace(end, effort=effort) for end, effort in zip(ends, efforts, strict=True)],
            total.downloaded,
            total.uploaded,
            total.mounted,
            total.found,
            list(self._surprises),
            self._limits.counts(),
            self._clock.now() - self._began,
            self._limits.traffic(),
            learned,
            self.efforts.mounts,
        )
