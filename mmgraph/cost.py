"""What each spec of a plan costs: the bytes that move for it, and those that would not move if it were dropped.

Owns that arithmetic over a finished plan. Pure; must not know how a cost is shown.

Bytes move where a blob is uploaded to a registry, once for each; mounts move none. Dropping a node drops every spec
that needs it, and an upload is saved by that where no other spec needs the blob anywhere at that registry, since
another repository that was to mount it would upload it instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.graph import Kind, Node
from mmgraph.plan import Action, is_done

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.names import Registry
    from mmgraph.plan import Plan

_SEVERAL = -1


class Costs:
    """The costs of one plan. ``moved`` and ``alone`` are bytes, one entry for each of the plan's goals, in their order.

    ``moved`` are the bytes of all uploads that the goal's closure needs; ``alone`` those of them that no other goal
    needs, so that the sum of ``alone`` over all goals is at most the bill's ``uploaded``. ``needed`` are the uploads
    themselves, by registry and digest.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._uploads: dict[tuple[Registry, str], int] = {}
        """Bytes, by what moves where."""
        for node, step in plan.steps.items():
            if step.action is Action.UPLOAD:
                self._uploads[node.repository.registry, node.name] = step.size
        owners: dict[tuple[Registry, str], int] = {}
        moved = []
        needed = []
        for number, goal in enumerate(plan.goals):
            mine = tuple(dict.fromkeys(self._moved_by(goal.node))) if goal.node is not None else ()
            needed.append(mine)
            moved.append(sum(self._uploads[upload] for upload in mine))
            for upload in mine:
                owners[upload] = number if owners.get(upload, number) == number else _SEVERAL
        self.needed = tuple(needed)
        alone = [0] * len(plan.goals)
        for upload, owner in owners.items():
            if owner != _SEVERAL:
                alone[owner] += self._uploads[upload]
        self.moved = tuple(moved)
        self.alone = tuple(alone)

    def of(self, node: Node) -> int:
        """Return the bytes that would not move if ``node`` and every spec that needs it were dropped."""
        dropped = self._plan.graph.dependants([node]) | {node}
        kept: set[tuple[Registry, str]] = set()
        gone: set[tuple[Registry, str]] = set()
        for goal, uploads in zip(self._plan.goals, self.needed, strict=True):
            (gone if goal.node in dropped else kept).update(uploads)
        return sum(self._uploads[upload] for upload in gone - kept)

    def _moved_by(self, root: Node) -> Iterator[tuple[Registry, str]]:
        """The uploads without which a goal cannot be: of its own repository, and those that it mounts from."""
        for node in self._plan.graph.needs([root]) | {root}:
            if node.kind is Kind.BLOB and not is_done(self._plan.steps[node]):
                upload = (node.repository.registry, node.name)
                if upload in self._uploads:
                    yield upload
