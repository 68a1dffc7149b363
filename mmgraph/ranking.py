"""The tags and the blobs of a plan that cost most: what to look at first where a set is too large or too slow.

Owns what counts as more. Pure; must not know how it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mmgraph.cost import Costs
from mmgraph.names import Registry
from mmgraph.plan import Goal

if TYPE_CHECKING:
    from mmgraph.plan import Plan


class RankedTag(msgspec.Struct, frozen=True):
    """A spec's destination. ``alone`` are the bytes that would not move without it, of ``moved`` that move for it."""

    goal: Goal
    alone: int
    moved: int


class RankedBlob(msgspec.Struct, frozen=True):
    """A blob by its digest: ``moved`` are its bytes, once for each of the ``registries`` that they are sent to."""

    digest: str
    moved: int
    registries: tuple[Registry, ...]
    needed_by: tuple[Goal, ...]
    """The specs that it is moved for, in the plan's order."""


class Ranking(msgspec.Struct, frozen=True):
    """The dearest first; what moves nothing is not in it."""

    tags: tuple[RankedTag, ...]
    blobs: tuple[RankedBlob, ...]
    other_tags: int
    """How many more tags and blobs something moves for."""
    other_blobs: int


def rank(plan: Plan, count: int) -> Ranking:
    """Return the ``count`` tags that cost most, alone and then at all, and the ``count`` blobs that most bytes move of.

    Among equals, tags are in the plan's order and blobs in that of their digests.
    """
    costs = Costs(plan)
    tags = [
        RankedTag(goal, alone, moved)
        for goal, alone, moved in zip(plan.goals, costs.alone, costs.moved, strict=True)
        if moved
    ]
    tags.sort(key=lambda tag: (-tag.alone, -tag.moved))
    blobs = _blobs(plan, costs)
    return Ranking(
        tuple(tags[:count]),
        tuple(blobs[:count]),
        max(0, len(tags) - count),
        max(0, len(blobs) - count),
    )


def _blobs(plan: Plan, costs: Costs) -> list[RankedBlob]:
    goals: dict[str, dict[int, None]] = {}
    moved: dict[str, dict[Registry, int]] = {}
    for place, uploads in enumerate(costs.needed):
        for registry, digest in uploads:
            goals.setdefault(digest, {})[place] = None
            moved.setdefault(digest, {})[registry] = costs.bytes_of(registry, digest)
    blobs = [
        RankedBlob(
            str(digest),
            sum(sizes.values()),
            tuple(sorted(sizes)),
            tuple(plan.goals[place] for place in goals[digest]),
        )
        for digest, sizes in moved.items()
    ]
    return sorted(blobs, key=lambda blob: (-blob.moved, blob.digest))
