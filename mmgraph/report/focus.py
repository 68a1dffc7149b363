"""Which part of a plan to show: the named destinations, all they need, what they are mounted from. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.errors import SpecError
from mmgraph.graph import Edge, Node
from mmgraph.names import quote
from mmgraph.specs import matches, near_destinations

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mmgraph.plan import Goal, Plan


def focused_goals(plan: Plan, focus: Collection[str]) -> list[Goal]:
    """The goals whose destination is meant, those that failed too; all where ``focus`` is empty.

    Raises ``SpecError`` for a name that fits none, with near ones.
    """
    if not focus:
        return list(plan.goals)
    chosen: set[int] = set()
    for name in focus:
        fitting = [place for place, goal in enumerate(plan.goals) if matches(goal.spec.destination, name)]
        if not fitting:
            near = near_destinations([goal.spec.destination for goal in plan.goals], name)
            raise SpecError(f"no destination is named {quote(name)}{near}")
        chosen.update(fitting)
    return [goal for place, goal in enumerate(plan.goals) if place in chosen]


def nodes_of(plan: Plan, goals: Sequence[Goal]) -> set[Node]:
    """The goals' nodes, all they need, and the nodes after which their blobs are mounted."""
    ends = [goal.node for goal in goals if goal.node is not None]
    nodes = plan.graph.needs(ends) | set(ends)
    return nodes | {first for node in nodes for first, edge in plan.graph.before(node) if edge is Edge.MOUNT}
