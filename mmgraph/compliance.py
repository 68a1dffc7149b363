"""A saved plan against the rules of where it is shown or carried out: it carries none of its own.

What it holds is proven by digests, and what its tags name today is a precondition. What a move takes away is neither,
so that is read anew where the plan is carried out. Writes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from mmgraph.closure import Documents, walk
from mmgraph.demands import lost_platforms, unmet
from mmgraph.evidence import Evidence
from mmgraph.observe import Observer
from mmgraph.plan import Goal, Plan, Result
from mmgraph.rules import Change, Rules, Violation
from mmgraph.tasks import each

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Reference
    from mmgraph.store import Destination, ManifestCache

_WIDTH: Final = 256
"""Names whose old platforms are read at once."""
_REVISION: Final = re.compile(r"(\([0-9]+\.[0-9]+\.[0-9]+)\.[^)]*\)")

Losses = dict["Reference", tuple[str, ...] | None]
"""By destination the platforms that a move takes away; None where that cannot be known."""


def judged(
    plan: Plan, rules: Rules, losses: Mapping[Reference, tuple[str, ...] | None] | None = None
) -> Plan:
    """Return the plan with the rules that it breaks. ``losses``: as read, instead of as the plan states them."""
    found = tuple(
        violation
        for goal in plan.goals
        for violation in (*rules.of_name(goal.spec.destination), *_of_goal(plan, goal, rules, losses or {}))
    )
    return replace(plan, violations=found)


async def read_losses(
    plan: Plan, rules: Rules, destination: Destination, cache: ManifestCache, clock: Clock
) -> Losses:
    """Read what tags to move name today, where a rule asks for the platforms that they lose."""
    goals = [
        goal
        for goal in plan.goals
        if _moves(goal) and goal.old is not None and rules.asks_for_losses(goal.spec.destination)
    ]
    documents = Documents(cache)
    for document in plan.documents.values():
        documents.keep(document)
    observer = Observer(destination, documents, Evidence(), clock)

    async def load(goal: Goal) -> None:
        if goal.old is not None:
            await observer.load(goal.spec.destination.repository, goal.old)

    await each(goals, load, _WIDTH)
    return {
        goal.spec.destination: lost_platforms(goal.old, goal.root, documents)
        for goal in goals
        if goal.old is not None and goal.root is not None
    }


def _moves(goal: Goal) -> bool:
    """Whether the destination shall name something new."""
    return goal.result in (Result.CREATE, Result.MOVE)


def _of_goal(
    plan: Plan, goal: Goal, rules: Rules, losses: Mapping[Reference, tuple[str, ...] | None]
) -> Iterator[Violation]:
    if not _moves(goal) or goal.root is None or goal.source_digest is None:
        return
    destination = goal.spec.destination
    lost = losses[destination] if destination in losses else _stated(goal)
    change = Change(destination, goal.source_digest, goal.root, goal.old, lost)
    yield from unmet(rules, change, list(walk(goal.root, plan.documents)))


def _stated(goal: Goal) -> tuple[str, ...]:
    """The platforms that the plan says are lost: no attestations, and no Windows revisions that others replace."""
    gains = {_REVISION.sub(r"\1)", label) for label in goal.gains}
    losses = dict.fromkeys(_REVISION.sub(r"\1)", label) for label in goal.losses)
    return tuple(label for label in losses if label not in gains and not _is_no_platform(label))


def _is_no_platform(label: str) -> bool:
    return label.startswith(("attestation", "unknown/"))
