"""Which part of a plan to show: the named destinations, all they need, what they are mounted from. Pure."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mmgraph.errors import SpecError
from mmgraph.graph import Edge, Node
from mmgraph.names import quote
from mmgraph.report.words import safe

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mmgraph.plan import Goal, Plan

_NEAR = 5


def focused_goals(plan: Plan, focus: Collection[str]) -> list[Goal]:
    """The goals whose destination is named: whole, by its end (``app:v1``, ``v1``) or by a glob; else all.

    Raises ``SpecError`` for a name that fits none, with near ones, and for one that fits only failed specs.
    """
    if not focus:
        return [goal for goal in plan.goals if goal.node is not None]
    chosen: dict[Node, Goal] = {}
    for name in focus:
        fitting = [goal for goal in plan.goals if _fits(str(goal.spec.destination), name)]
        if not fitting:
            raise SpecError(f"no destination is named {quote(name)}{_near(plan.goals, name)}")
        if all(goal.node is None for goal in fitting):
            cause = safe(fitting[0].cause)
            raise SpecError(
                f"{fitting[0].spec.destination} is in no graph, since it cannot be planned: {cause}"
            )
        chosen |= {goal.node: goal for goal in fitting if goal.node is not None}
    return [goal for goal in plan.goals if goal.node in chosen]


def nodes_of(plan: Plan, goals: Sequence[Goal]) -> set[Node]:
    """The goals' nodes, all they need, and the nodes after which their blobs are mounted."""
    ends = [goal.node for goal in goals if goal.node is not None]
    nodes = plan.graph.needs(ends) | set(ends)
    return nodes | {first for node in nodes for first, edge in plan.graph.before(node) if edge is Edge.MOUNT}


def _fits(destination: str, name: str) -> bool:
    return (
        destination == name
        or destination.endswith((f"/{name}", f":{name}"))
        or fnmatchcase(destination, name)
        or fnmatchcase(destination, f"*/{name}")
    )


def _near(goals: Sequence[Goal], name: str) -> str:
    """Names one may have meant, compared at the length of what was written."""
    depth = name.count("/")
    tails = {"/".join(str(goal.spec.destination).split("/")[-depth - 1 :]): None for goal in goals}
    near = difflib.get_close_matches(name, list(tails), n=_NEAR, cutoff=0.5)
    if near:
        return f"; near it are {', '.join(near)}"
    some = list(tails)[:_NEAR]
    return (
        f"; the plan has {', '.join(some)}{' and others' if len(tails) > len(some) else ''}" if some else ""
    )
