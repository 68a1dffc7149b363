"""Why a plan does what it does about one node, and what hangs on it: the answer to "explain", as values.

Owns what is said of a node; the sentences about evidence are the grounds'. Pure; must not know how it is shown.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from mmgraph.cost import Costs
from mmgraph.graph import Edge, Kind, Node
from mmgraph.grounds import Grounds
from mmgraph.plan import Action, Goal, Plan, Result, Step, is_done
from mmgraph.rules import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mmgraph.lookup import Subject


class Part(msgspec.Struct, frozen=True):
    """Nodes of one kind with one action."""

    kind: Kind
    action: Action
    count: int
    bytes: int


class Explanation(msgspec.Struct, frozen=True):
    """All there is to say of one node; of a spec that is not in the graph, only what its goal says."""

    goal: Goal | None
    """The spec whose end the node is."""
    node: Node | None
    step: Step | None
    evidence: str
    """Where what is known of it comes from, as a sentence; parts of it may be foreign text."""
    listed_by: tuple[Node, ...] = ()
    """The manifests, indexes and tags that need it directly."""
    needed_by: tuple[Goal, ...] = ()
    """The specs that need it, also those that are unchanged."""
    needs: tuple[Part, ...] = ()
    """All that it needs, directly or not, each once."""
    read_with: tuple[Node, ...] = ()
    """Uploads to other registries that are fed by the same GET."""
    landing: Node | None = None
    """For a mount: the blob it is mounted from, where that is in the graph."""
    mounts: tuple[Node, ...] = ()
    """The blobs that are mounted from it."""
    blocked: tuple[Goal, ...] = ()
    """The specs that could not be done if it failed."""
    rerouted: tuple[Node, ...] = ()
    """The blobs that are to be mounted after it or what would be blocked: they would find another way."""
    moved: int = 0
    """Bytes that move for it: its own, and those of all that it needs, also where they are then mounted from."""
    alone: int = 0
    """Bytes that would not move if it, and every spec that needs it, were dropped."""
    uncreated: bool = False
    """Whether its repository is not there, at a registry that takes nothing before it has been created."""
    violations: tuple[Violation, ...] = ()
    """The rules that it breaks, or the spec whose end it is."""


class Explainer:
    """Explains the nodes of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._costs = Costs(plan)
        self._grounds = Grounds(plan)
        self._uncreated = frozenset(plan.missing)
        self._ends = {goal.node: place for place, goal in enumerate(plan.goals) if goal.node is not None}
        self._places: dict[str, list[Node]] = {}
        for node in plan.steps:
            if node.kind is Kind.BLOB:
                self._places.setdefault(node.name, []).append(node)

    def explain(self, subject: Subject) -> Explanation:
        """Return what there is to say of ``subject``."""
        node, plan = subject.node, self._plan
        if node is None:
            told = self._grounds.without_node(subject.goal)
            return Explanation(subject.goal, None, None, told, violations=self._violations(subject))
        step = plan.steps[node]
        above = plan.graph.dependants([node])
        needed_by = self._goals({node, *above})
        failing = {node, *above} if not is_done(step) else set()
        blocked = tuple(g for g in needed_by if g.result is not Result.UNCHANGED) if failing else ()
        needs = plan.graph.needs([node])
        same = self._places[node.name] if node.kind is Kind.BLOB else []
        landing = next((each for each in same if each.repository == step.mount_from), None)
        return Explanation(
            subject.goal,
            node,
            step,
            self._grounds.of(node, step, landing),
            tuple(then for then, edge in plan.graph.after(node) if edge is Edge.NEED),
            needed_by,
            tuple(self._parts(needs)),
            tuple(other for other in same if self._is_fed_with(node, other)),
            landing,
            tuple(other for other in same if plan.steps[other].mount_from == node.repository),
            blocked,
            tuple(self._rerouted(failing)),
            sum(plan.steps[each].size for each in {node, *needs} if self._moves(each)),
            self._costs.of(node),
            node.repository in self._uncreated,
            self._violations(subject),
        )

    def _violations(self, subject: Subject) -> tuple[Violation, ...]:
        destination = subject.goal.spec.destination if subject.goal else None
        node = f"{subject.node.kind} {subject.node}" if subject.node else None
        return tuple(
            each for each in self._plan.violations if each.destination == destination or each.node == node
        )

    def _goals(self, nodes: Iterable[Node]) -> tuple[Goal, ...]:
        places = sorted(self._ends[node] for node in nodes if node in self._ends)
        return tuple(self._plan.goals[place] for place in places)

    def _is_upload(self, node: Node) -> bool:
        return self._plan.steps[node].action is Action.UPLOAD

    def _moves(self, node: Node) -> bool:
        """Whether its bytes are sent to its registry, be it to another repository that it is then mounted from."""
        if node.kind is not Kind.BLOB or is_done(self._plan.steps[node]):
            return False
        registry = node.repository.registry
        return any(o.repository.registry == registry and self._is_upload(o) for o in self._places[node.name])

    def _is_fed_with(self, node: Node, other: Node) -> bool:
        return other != node and self._is_upload(node) and self._is_upload(other)

    def _parts(self, nodes: Iterable[Node]) -> Iterator[Part]:
        counts: Counter[tuple[Kind, Action]] = Counter()
        sizes: Counter[tuple[Kind, Action]] = Counter()
        for node in nodes:
            step = self._plan.steps[node]
            counts[node.kind, step.action] += 1
            sizes[node.kind, step.action] += step.size
        kinds, actions = list(Kind), list(Action)
        for kind, action in sorted(counts, key=lambda of: (-kinds.index(of[0]), -actions.index(of[1]))):
            yield Part(kind, action, counts[kind, action], sizes[kind, action])

    def _rerouted(self, failing: set[Node]) -> Iterator[Node]:
        """The mounts that wait for what fails: their edges order, and do not require."""
        for node in sorted(failing):
            for then, edge in self._plan.graph.after(node):
                if edge is Edge.MOUNT and then not in failing:
                    yield then  # once: a blob has one place to be mounted from
