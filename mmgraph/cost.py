"""What each spec of a plan costs: the bytes that move for it, and those that would not move if it were dropped.

Owns that arithmetic over a finished plan. Pure; must not know how a cost is shown.

Bytes move where a blob is uploaded to a registry, once for each; mounts move none. Dropping a node drops every spec
that needs it, and an upload is saved by that where no other spec needs the blob anywhere at that registry, since
another repository that was to mount it would upload it instead.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mmgraph.graph import Kind, Node
from mmgraph.plan import Action, is_done

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.names import Registry
    from mmgraph.plan import Plan


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
        self.needed = tuple(
            tuple(dict.fromkeys(self._moved_by(goal.node))) if goal.node is not None else ()
            for goal in plan.goals
        )
        self._wanted = Counter(upload for uploads in self.needed for upload in uploads)
        """How many goals need an upload."""
        self._ends: dict[Node, int] = {
            goal.node: place for place, goal in enumerate(plan.goals) if goal.node is not None
        }
        self.moved = tuple(sum(self._uploads[upload] for upload in uploads) for uploads in self.needed)
        self.alone = tuple(
            sum(self._uploads[upload] for upload in uploads if self._wanted[upload] == 1)
            for uploads in self.needed
        )

    def of(self, node: Node) -> int:
        """Return the bytes that would not move if ``node`` and every spec that needs it were dropped."""
        dropped = [
            self._ends[each] for each in self._plan.graph.dependants([node]) | {node} if each in self._ends
        ]
        gone = Counter(upload for place in dropped for upload in self.needed[place])
        return sum(self._uploads[upload] for upload, times in gone.items() if times == self._wanted[upload])

    def bytes_of(self, registry: Registry, digest: str) -> int:
        """Return the bytes of one of the uploads that are ``needed``."""
        return self._uploads[registry, digest]

    def _moved_by(self, root: Node) -> Iterator[tuple[Registry, str]]:
        """The uploads without which a goal cannot be: of its own repository, and those that it mounts from."""
        for node in self._plan.graph.needs([root]) | {root}:
            if node.kind is Kind.BLOB and not is_done(self._plan.steps[node]):
                upload = (node.repository.registry, node.name)
                if upload in self._uploads:
                    yield upload
