"""Two plans side by side: tags, bytes, requests and storage that one has and the other has not, or not so.

Owns what counts as the same. Pure; must not know where the plans come from, nor how a difference is shown.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.errors import ContentError
from mmgraph.graph import Kind
from mmgraph.names import Digest, Platform, Reference, Registry
from mmgraph.oci import Index, platforms_of
from mmgraph.plan import Result
from mmgraph.store import Operation

if TYPE_CHECKING:
    from mmgraph.plan import Goal, Plan

BILL: Final = ("naive", "present", "missing", "mounted", "shared", "saved", "uploaded", "downloaded")
"""The sums of a bill that are compared."""


class Sort(StrEnum):
    """How a destination differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNKNOWN = "unknown"
    """It cannot be compared: its specs are the same, and at least one of them cannot be planned."""


class End(msgspec.Struct, frozen=True):
    """What one plan means for a destination."""

    source: Reference
    limits: tuple[Platform, ...]
    """The platforms that the spec lists, sorted; none where it takes all."""
    result: Result
    root: Digest | None
    platforms: tuple[str, ...] | None
    """The labels of the index's images and attestations, sorted; None of what is no index."""
    bytes: int
    """Bytes of its distinct blobs, manifests and indexes; 0 where they were not read."""

    @property
    def failed(self) -> bool:
        """Whether it cannot be planned, so that what it comes to is not known."""
        return self.result is Result.FAILED


class Change(msgspec.Struct, frozen=True):
    """A destination that differs; what one plan does not have is None."""

    destination: Reference
    old: End | None
    new: End | None

    @property
    def sort(self) -> Sort:
        """How it differs. What a spec says is known also where it cannot be planned."""
        if self.old is None or self.new is None:
            return Sort.ADDED if self.old is None else Sort.REMOVED
        if (self.old.source, self.old.limits) == (self.new.source, self.new.limits) and self.failed:
            return Sort.UNKNOWN
        return Sort.CHANGED

    @property
    def failed(self) -> bool:
        """Whether one of its ends cannot be planned, or both."""
        return any(end is not None and end.failed for end in (self.old, self.new))

    @property
    def gains(self) -> tuple[str, ...]:
        """Platforms that only the new end has, where both are indexes."""
        return _beyond(self.new, self.old)

    @property
    def losses(self) -> tuple[str, ...]:
        """Platforms that only the old end has, where both are indexes."""
        return _beyond(self.old, self.new)

    @property
    def bytes(self) -> int:
        """By how much its bytes grow; negative where they shrink, and 0 where an end is not known."""
        if self.failed:
            return 0
        return (self.new.bytes if self.new else 0) - (self.old.bytes if self.old else 0)


def _beyond(one: End | None, other: End | None) -> tuple[str, ...]:
    if one is None or other is None or one.platforms is None or other.platforms is None:
        return ()
    return tuple(label for label in one.platforms if label not in other.platforms)


class Delta(msgspec.Struct, frozen=True):
    """One number in both plans."""

    old: int
    new: int

    @property
    def change(self) -> int:
        """By how much it grows; negative where it shrinks."""
        return self.new - self.old


class Storage(msgspec.Struct, frozen=True):
    """What the destinations of a plan need at one registry, in bytes: each blob, manifest and index once.

    Not what the registry holds: nothing is ever deleted there.
    """

    old: int
    new: int
    added: int
    """Of what only the new plan needs there."""
    removed: int
    """Of what only the old plan needs there."""

    @property
    def change(self) -> int:
        """By how much it grows; negative where it shrinks."""
        return self.new - self.old


class Difference(msgspec.Struct, frozen=True):
    """What differs between two plans. All sums are without the specs that cannot be planned."""

    changes: tuple[Change, ...]
    """By the names of the destinations; those among them that cannot be compared."""
    same: int
    """Destinations that are the same in both."""
    failed: Delta
    """Specs that cannot be planned."""
    bill: dict[str, Delta]
    requests: dict[Registry, dict[Operation, Delta]]
    storage: dict[Registry, Storage]

    @property
    def differs(self) -> bool | None:
        """Whether anything does; None where nothing is known to, and something cannot be compared."""
        unknown = self.count(Sort.UNKNOWN)
        if len(self.changes) > unknown:
            return True
        return None if unknown else self.sums_differ

    @property
    def sums_differ(self) -> bool:
        """Whether bytes, requests or storage do."""
        return (
            any(each.old != each.new for each in self.bill.values())
            or any(each.old != each.new for kinds in self.requests.values() for each in kinds.values())
            or any(each.added or each.removed for each in self.storage.values())
        )

    def count(self, sort: Sort) -> int:
        """How many destinations differ in that way."""
        return sum(change.sort is sort for change in self.changes)

    @property
    def stored(self) -> Storage:
        """The storage at all registries together."""
        each = self.storage.values()
        return Storage(
            sum(of.old for of in each),
            sum(of.new for of in each),
            sum(of.added for of in each),
            sum(of.removed for of in each),
        )


def compare(old: Plan, new: Plan) -> Difference:
    """Return what differs. Destinations are the same by their names, ``r:t@d`` being ``r:t``.

    Two ends of one destination differ by source, the platforms of the spec, digest, platforms or result. What a
    destination named when either plan was made is part of its result alone. Two that cannot be planned are never the
    same: nobody knows.
    """
    before, after = _ends(old), _ends(new)
    changes = [
        Change(destination, before.get(destination), after.get(destination))
        for destination in sorted({*before, *after}, key=str)
        if before.get(destination) != after.get(destination) or before[destination].failed
    ]
    return Difference(
        tuple(changes),
        len({*before, *after}) - len(changes),
        Delta(old.count(Result.FAILED), new.count(Result.FAILED)),
        {name: Delta(getattr(old.bill, name), getattr(new.bill, name)) for name in BILL},
        _requests(old, new),
        _storage(old, new),
    )


def _ends(plan: Plan) -> dict[Reference, End]:
    return {goal.spec.destination.goal: _end(plan, goal) for goal in plan.goals}


def _end(plan: Plan, goal: Goal) -> End:
    nodes = {goal.node, *plan.graph.needs([goal.node])} if goal.node is not None else set()
    size = sum(plan.steps[node].size for node in nodes if node.kind is not Kind.TAG)
    spec = goal.spec
    return End(spec.source, spec.platforms, goal.result, goal.root, _platforms(plan, goal.root), size)


def _platforms(plan: Plan, root: Digest | None) -> tuple[str, ...] | None:
    document = plan.documents.get(root) if root is not None else None
    if not isinstance(document, Index):
        return None
    try:
        entries = platforms_of(document, plan.documents)
    except ContentError:
        return None
    return tuple(sorted({each.label for each in entries if each.label and not each.descriptor.is_index}))


def _requests(old: Plan, new: Plan) -> dict[Registry, dict[Operation, Delta]]:
    before, after = old.bill.requests, new.bill.requests
    return {
        registry: {
            operation: Delta(
                before.get(registry, {}).get(operation, 0), after.get(registry, {}).get(operation, 0)
            )
            for operation in Operation
            if operation in before.get(registry, {}) or operation in after.get(registry, {})
        }
        for registry in sorted({*before, *after})
    }


def _storage(old: Plan, new: Plan) -> dict[Registry, Storage]:
    before, after = _kept(old), _kept(new)
    made = {}
    for registry in sorted({*before, *after}):
        mine, other = before.get(registry, {}), after.get(registry, {})
        made[registry] = Storage(
            sum(mine.values()),
            sum(other.values()),
            sum(size for digest, size in other.items() if digest not in mine),
            sum(size for digest, size in mine.items() if digest not in other),
        )
    return made


def _kept(plan: Plan) -> dict[Registry, dict[str, int]]:
    """The bytes of all that the plan's destinations consist of, by registry and digest."""
    kept: dict[Registry, dict[str, int]] = {}
    for node, step in plan.steps.items():
        if node.kind is not Kind.TAG:
            kept.setdefault(node.repository.registry, {})[node.name] = step.size
    return kept
