"""The graph for review, as DOT: blobs, manifests, indexes and tags from left to right, in their repositories.

Owns what a node says and which blobs are drawn as one. Pure, and the same bytes for the same plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mmgraph.graph import Edge, Kind, Node
from mmgraph.names import Digest, Registry, Repository
from mmgraph.plan import Action, Goal, Plan, Result, Step
from mmgraph.report.drawing import FAILED, attributes, document, failure, label, look, quoted
from mmgraph.report.focus import focused_goals, nodes_of
from mmgraph.report.images import clusters, images_dot
from mmgraph.report.outline import changes_of, name_of
from mmgraph.report.text import caption
from mmgraph.report.words import size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_SHAPES = {Kind.BLOB: "box", Kind.MANIFEST: "note", Kind.INDEX: "folder", Kind.TAG: "cds"}
_KEY = "Boxes are blobs, notes manifests, folders indexes, arrows tags. Dashed lines: mounted from there."
_TINY = 1024 * 1024
"""Bytes below which blobs with the same fate are drawn as one node."""
_SINGLE = 3
"""Larger blobs with the same fate that are drawn one by one."""


def dot(plan: Plan, *, focus: Collection[str] = (), collapse: bool = False, unfold: bool = False) -> str:
    """The plan's graph in DOT.

    ``focus``: only these destinations, with all they need and what they are mounted from. ``collapse``: one
    node an image. ``unfold``: each blob by itself. Raises ``SpecError`` for a focus that names nothing.
    """
    goals = focused_goals(plan, focus)
    if collapse:
        return images_dot(plan, goals)
    return _Drawing(plan, goals, unfold).text()


class _Dot(msgspec.Struct, frozen=True):
    """What is drawn as one: a node of the graph, or several blobs with the same fate.

    A blob that is mounted from a repository where no spec needs it has a stand-in there that is in no graph.
    """

    nodes: tuple[Node, ...]
    step: Step
    size: int

    @property
    def id(self) -> str:
        first = self.nodes[0]
        more = f" +{len(self.nodes) - 1}" if len(self.nodes) > 1 else ""
        return f"{first.kind} {first}{more}"


class _Drawing:
    """One drawing in the making."""

    def __init__(self, plan: Plan, goals: Sequence[Goal], unfold: bool) -> None:
        self._plan = plan
        self._unfold = unfold
        chosen = nodes_of(plan, goals)
        self._nodes = {node: None for node in plan.graph if node in chosen}
        self._shown = goals
        self._goals = {goal.node: goal for goal in goals if goal.node is not None}
        self._dots: dict[Node, _Dot] = {}
        for group in self._groups():
            total = sum(plan.steps[node].size for node in group)
            self._dots |= dict.fromkeys(group, _Dot(tuple(group), plan.steps[group[0]], total))
        self._holders = dict(self._find_holders())

    def text(self) -> str:
        drawn = [*self._distinct(), *dict.fromkeys(self._holders.values())]
        actions = {one.step.action for one in drawn}
        failed = [goal for goal in self._shown if goal.node is None and goal.result is Result.FAILED]
        used = [*(action for action in Action if action in actions), *([FAILED] if failed else [])]
        by_place: dict[Registry, dict[Repository, list[str]]] = {}
        for one in drawn:
            place = one.nodes[0].repository
            by_place.setdefault(place.registry, {}).setdefault(place, []).append(self._node(one))
        for goal in failed:
            destination = goal.spec.destination
            place = destination.repository
            node = failure(f"failed {destination}", name_of(destination), goal.cause)
            by_place.setdefault(place.registry, {}).setdefault(place, []).append(node)
        statements = [*clusters(by_place, self._shown), *self._edges()]
        return document([_KEY, *caption(self._plan, self._shown)], used, statements)

    # Which blobs are one

    def _groups(self) -> Iterator[list[Node]]:
        """Nodes to draw as one: alone, or blobs that the same documents need and that have one action."""
        alike: dict[object, list[Node]] = {}
        for node in self._nodes:
            alike.setdefault(self._fate(node), []).append(node)
        for group in alike.values():
            tiny = [node for node in group if self._plan.steps[node].size < _TINY]
            large = [node for node in group if self._plan.steps[node].size >= _TINY]
            if len(large) > _SINGLE:
                yield group
                continue
            if tiny:
                yield tiny
            for node in large:
                yield [node]

    def _fate(self, node: Node) -> object:
        if node.kind is not Kind.BLOB or self._unfold:
            return node
        step = self._plan.steps[node]
        followers = frozenset(
            then if edge is Edge.NEED else then.repository
            for then, edge in self._plan.graph.after(node)
            if then in self._nodes
        )
        return node.repository, step.action, step.mount_from, self._waits_for_mount(node), followers

    def _waits_for_mount(self, node: Node) -> bool:
        """Whether what the node is mounted from is in the graph."""
        return any(edge is Edge.MOUNT for _, edge in self._plan.graph.before(node))

    def _distinct(self) -> list[_Dot]:
        """What is drawn, each once, in the order of the graph."""
        return list({self._dots[node].nodes[0]: self._dots[node] for node in self._nodes}.values())

    def _find_holders(self) -> Iterator[tuple[_Dot, _Dot]]:
        """Stand-ins for blobs to mount from where the graph has none, by what is mounted from them."""
        for one in self._distinct():
            place = one.step.mount_from
            if place is not None and not self._waits_for_mount(one.nodes[0]):
                nodes = tuple(Node(Kind.BLOB, place, blob.name) for blob in one.nodes)
                yield one, _Dot(nodes, Step(Action.PRESENT, "there already"), one.size)

    # Statements

    def _node(self, one: _Dot) -> str:
        first = one.nodes[0]
        goal = self._goals.get(first)
        source = [f"from {goal.spec.source}"] if goal else []
        values = {
            "label": label(*self._words(one)),
            "shape": _SHAPES[first.kind],
            "tooltip": label(*(f"{node.name}: {one.step.reason}" for node in one.nodes[:10]), *source),
            **look(one.step.action),
            **({"margin": quoted("0.25,0.12")} if first.kind is Kind.TAG else {}),
        }
        return f"{quoted(one.id)} {attributes(values)}"

    def _words(self, one: _Dot) -> list[str]:
        first, step = one.nodes[0], one.step
        if first.kind is Kind.TAG:
            goal = self._goals.get(first)
            changes = [*changes_of("+", goal.gains), *changes_of("-", goal.losses)] if goal else []
            lacks = f"lacks {', '.join(map(str, goal.missing))}" if goal and goal.missing else ""
            was = f"was {step.old.short}" if step.action is Action.MOVE and step.old else ""
            return [f"{step.action} :{first.name}", was, *changes, lacks]
        short = Digest(first.name).short
        if first.kind is Kind.BLOB:
            many = len(one.nodes) > 1
            return (
                [f"{step.action} {len(one.nodes)} blobs, {size(one.size)}"]
                if many
                else [f"{step.action} {size(one.size)}", short]
            )
        return [step.label, f"{step.action} {first.kind} {size(one.size)}", short]

    def _edges(self) -> Iterator[str]:
        seen = set()
        for node in self._nodes:
            then = self._dots[node]
            for before, edge in self._plan.graph.before(node):
                first = self._dots.get(before)
                if first is not None and (first.nodes[0], then.nodes[0], edge) not in seen:
                    seen.add((first.nodes[0], then.nodes[0], edge))
                    yield _edge(first, then, edge)
        for then, holder in self._holders.items():
            yield _edge(holder, then, Edge.MOUNT)


def _edge(first: _Dot, then: _Dot, edge: Edge) -> str:
    values = {}
    if edge is Edge.MOUNT:
        values = {"style": "dashed", "color": quoted("#1565c0"), "constraint": "false"}
    elif (first.nodes[0].kind, then.nodes[0].kind) in ((Kind.MANIFEST, Kind.TAG), (Kind.BLOB, Kind.INDEX)):
        values = {"minlen": "2"}
    suffix = f" {attributes(values)}" if values else ""
    return f"{quoted(first.id)} -> {quoted(then.id)}{suffix}"
