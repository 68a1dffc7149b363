"""A plan from the side of its tags: what each tag adds, so that every byte of the bill stands under one tag.

Owns how (tag, blob) pairs are told apart; the sums over all tags are the bill's. Knows no printing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from mmgraph.graph import Edge, Kind, Node
from mmgraph.names import Repository
from mmgraph.plan import Action, Goal, Plan, Result
from mmgraph.report.words import listed, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.names import Digest, Reference

SHARED = "shared"
"""Beside the actions of blobs: an earlier tag of the set puts the blob there."""
ABOVE = "above"
"""The blob has been listed under the same tag already, for another platform; it counts once."""


ATTESTATION = "attestation for "
"""How the label of an attestation begins; the platform of what it attests follows."""


class Part(msgspec.Struct, frozen=True):
    """Blobs of one manifest that have the same end."""

    use: str
    """An action of blobs, ``SHARED`` or ``ABOVE``."""
    place: str
    """What they are mounted from, or the tag they are shared with."""
    blobs: tuple[Node, ...]
    size: int


class Item(msgspec.Struct, frozen=True):
    """A manifest or index below a tag, and what its own blobs come to."""

    node: Node
    label: str
    parts: tuple[Part, ...]


class Entry(msgspec.Struct, frozen=True):
    """A spec's destination and all below it, in the order of its documents."""

    goal: Goal
    items: tuple[Item, ...] = ()
    same_as: str = ""
    """An earlier tag of the same repository that is to name the same image."""

    @property
    def name(self) -> str:
        """The tag behind a colon, or ``@`` and the short digest where the destination has none."""
        return name_of(self.goal.spec.destination)


class Section(msgspec.Struct, frozen=True):
    """The entries of one destination repository that is written to or stays as it is, in spec order."""

    repository: Repository
    entries: Sequence[Entry]

    @property
    def changed(self) -> list[Entry]:
        """The entries that are to be written."""
        return [entry for entry in self.entries if entry.goal.result is not Result.UNCHANGED]

    @property
    def unchanged(self) -> list[Entry]:
        """The entries that are as they should be."""
        return [entry for entry in self.entries if entry.goal.result is Result.UNCHANGED]


def name_of(reference: Reference) -> str:
    """A reference inside its repository: ``:tag``, else ``@`` and the short digest."""
    if reference.tag or reference.digest is None:
        return f":{reference.tag}"
    return f"@{reference.digest.short}"


def sources_of(goals: Sequence[Goal]) -> dict[Repository, list[str]]:
    """Where the images of each destination repository come from, each once."""
    found: dict[Repository, dict[str, None]] = {}
    for goal in goals:
        spec = goal.spec
        found.setdefault(spec.destination.repository, {})[str(spec.source.repository)] = None
    return {place: list(sources) for place, sources in found.items()}


def changes_of(sign: str, labels: Sequence[str]) -> list[str]:
    """What a move brings or takes, as phrases with ``sign``.

    Attestations go without saying where their image is among the labels, since they come and go together; the others
    are one phrase.
    """
    images = [label for label in labels if not label.startswith(ATTESTATION)]
    alone = [label.removeprefix(ATTESTATION) for label in labels if label.startswith(ATTESTATION)]
    alone = [platform for platform in alone if platform not in images]
    phrases = [f"{sign}{safe(label)}" for label in images]
    if alone:
        what = "attestation" if len(alone) == 1 else "attestations"
        phrases.append(f"{sign}{what} for {listed(alone)}")
    return phrases


def outline(plan: Plan) -> list[Section]:
    """The plan's specs that did not fail, by destination repository in the order of first appearance."""
    owners: dict[Node, str] = {}
    roots: dict[tuple[Repository, Digest | None], str] = {}
    sections: dict[Repository, list[Entry]] = {}
    for goal in plan.goals:
        if goal.result is Result.FAILED:
            continue
        repository = goal.spec.destination.repository
        same_as = roots.get((repository, goal.root), "")
        entry = Entry(goal, tuple(_items(plan, goal, owners)), same_as)
        roots.setdefault((repository, goal.root), entry.name)
        sections.setdefault(repository, []).append(entry)
        for item in entry.items:
            for part in item.parts:
                for blob in part.blobs:
                    owners.setdefault(blob, entry.name)
    return [Section(repository, entries) for repository, entries in sections.items()]


def documents_below(plan: Plan, node: Node) -> Iterator[Node]:
    """The manifests and indexes that a tag or index needs, each once, outer before inner, as listed."""
    seen = {node}
    stack = [node]
    while stack:
        current = stack.pop()
        if current.kind is not Kind.TAG:
            yield current
        if current.kind is Kind.MANIFEST:
            continue
        below = [
            first
            for first, edge in plan.graph.before(current)
            if edge is Edge.NEED and first.kind is not Kind.BLOB and first not in seen
        ]
        seen.update(below)
        stack.extend(reversed(below))


def _items(plan: Plan, goal: Goal, owners: dict[Node, str]) -> Iterator[Item]:
    if goal.node is None or goal.result is Result.UNCHANGED:
        return
    counted: set[Node] = set()
    for node in documents_below(plan, goal.node):
        groups: dict[tuple[str, str], list[Node]] = {}
        for blob, edge in plan.graph.before(node):
            if edge is Edge.NEED and blob.kind is Kind.BLOB:
                use, place = (ABOVE, "") if blob in counted else _use(plan, blob, owners)
                counted.add(blob)
                groups.setdefault((use, place), []).append(blob)
        parts = tuple(
            Part(use, place, tuple(blobs), sum(plan.steps[blob].size for blob in blobs))
            for (use, place), blobs in groups.items()
        )
        yield Item(node, plan.steps[node].label, parts)


def _use(plan: Plan, blob: Node, owners: dict[Node, str]) -> tuple[str, str]:
    step = plan.steps[blob]
    if step.action is Action.PRESENT:
        return str(step.action), ""
    if blob in owners:
        return SHARED, owners[blob]
    return str(step.action), step.mount_from.path if step.mount_from else ""
