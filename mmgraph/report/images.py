"""The graph with one node an image, for sets too large to draw blob by blob: who shares how much with whom.

Owns what counts as an image (a root in a repository) and how shared bytes become edges. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from mmgraph.graph import Edge, Kind, Node
from mmgraph.names import Digest, Repository
from mmgraph.plan import Action, Goal, Plan, Result
from mmgraph.report.drawing import (
    FAILED,
    attributes,
    document,
    failure,
    label,
    look,
    quoted,
    registry_box,
    repository_box,
)
from mmgraph.report.outline import changes_of, documents_below, name_of, sources_of
from mmgraph.report.text import caption
from mmgraph.report.words import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgraph.names import Registry

_KEY = "Folders are images. Lines: bytes in common with an image before it; dashed: mounted from there."
_NAMES = 3
_ACTIONS = {
    Result.MOVE: Action.MOVE,
    Result.REPAIR: Action.REPAIR,
    Result.CREATE: Action.CREATE,
    Result.UNCHANGED: Action.UNCHANGED,
}


class _Image(msgspec.Struct, frozen=True):
    """A root in a repository, with the specs that name it.

    ``bytes`` is what is done about its blobs; those that an earlier image brings there are shared.
    """

    repository: Repository
    root: Digest
    goals: tuple[Goal, ...]
    bytes: dict[str, int]
    mounts: dict[Repository, int]
    """Bytes mounted, by where from; among lines side by side their own labels could not be read."""

    @property
    def id(self) -> str:
        return f"unchanged {self.repository}" if self.is_quiet else f"image {self.repository}@{self.root}"

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to say of it but that it is as it should be."""
        return all(goal.result is Result.UNCHANGED and not goal.missing for goal in self.goals)

    @property
    def action(self) -> Action:
        results = {goal.result for goal in self.goals}
        return next(action for result, action in _ACTIONS.items() if result in results)


def images_dot(plan: Plan, goals: Sequence[Goal]) -> str:
    """One node an image of ``goals``, and edges for the bytes that images have from one another."""
    by_root: dict[tuple[Repository, Digest], list[Goal]] = {}
    for goal in goals:
        if goal.root is not None:
            by_root.setdefault((goal.spec.destination.repository, goal.root), []).append(goal)
    images: list[_Image] = []
    # By blob the first image that has it, to mount from, and the last: so a repository's images form a chain.
    bringers: dict[Node, str] = {}
    holders: dict[Node, str] = {}
    strangers: dict[Repository, None] = {}
    shared: Counter[tuple[str, str, Edge]] = Counter()
    for (repository, root), each in by_root.items():
        sums: Counter[str] = Counter()
        mounts: Counter[Repository] = Counter()
        image = _Image(repository, root, tuple(each), sums, mounts)
        images.append(image)
        for blob in _blobs(plan, each[0]):
            step = plan.steps[blob]
            holder = holders.get(blob)
            if step.action is Action.MOUNT and not holder and step.mount_from is not None:
                mounts[step.mount_from] += step.size
            else:
                sums["shared" if holder and step.action is not Action.PRESENT else step.action] += step.size
            if holder == image.id:
                pass
            elif holder:
                shared[holder, image.id, Edge.NEED] += step.size
            elif step.mount_from is not None:
                bringer = bringers.get(Node(Kind.BLOB, step.mount_from, blob.name))
                if bringer is None:
                    strangers[step.mount_from] = None
                shared[bringer or str(step.mount_from), image.id, Edge.MOUNT] += step.size
            bringers.setdefault(blob, image.id)
            holders[blob] = image.id
    failed = [goal for goal in goals if goal.result is Result.FAILED]
    used = [action for action in Action if any(image.action is action for image in images)]
    statements = [
        *clusters(_places(images, failed), goals),
        *map(_stranger, strangers),
        *(_edge(*ends, count) for ends, count in shared.items()),
    ]
    legend = [*used, *([FAILED] if failed else [])]
    return document([_KEY, *caption(plan, goals)], legend, statements)


def _blobs(plan: Plan, goal: Goal) -> list[Node]:
    if goal.node is None:
        return []
    return list(
        dict.fromkeys(
            blob
            for node in documents_below(plan, goal.node)
            for blob, edge in plan.graph.before(node)
            if blob.kind is Kind.BLOB and edge is Edge.NEED
        )
    )


Places = Mapping["Registry", Mapping[Repository, Iterable[str]]]
"""The statements of each repository of each registry."""


def clusters(places: Places, goals: Sequence[Goal]) -> Iterator[str]:
    """A box for each registry, in it one for each repository, which says where its images come from."""
    sources = sources_of(goals)
    for name, repositories in places.items():
        inside: list[str] = []
        for place, statements in repositories.items():
            inside += repository_box(str(place), place.path, sources.get(place, []), statements)
        yield from registry_box(name, inside)


def _places(images: Sequence[_Image], failed: Sequence[Goal]) -> Places:
    places: dict[Registry, dict[Repository, list[str]]] = {}
    quiet: dict[Repository, list[Goal]] = {}

    def statements(place: Repository) -> list[str]:
        return places.setdefault(place.registry, {}).setdefault(place, [])

    for image in images:
        if image.is_quiet:
            quiet.setdefault(image.repository, []).extend(image.goals)
        else:
            statements(image.repository).append(_node(image))
    for place, goals in quiet.items():
        statements(place).append(_quiet_node(place, goals))
    for goal in failed:
        destination = goal.spec.destination
        node = failure(f"failed {destination}", name_of(destination), goal.cause)
        statements(destination.repository).append(node)
    return places


def _quiet_node(place: Repository, goals: Sequence[Goal]) -> str:
    """All that is unchanged in a repository, small: a reviewer need not read it."""
    names = [name_of(goal.spec.destination) for goal in goals]
    values = {
        "label": label(f"{len(names)} unchanged"),
        "shape": "folder",
        "tooltip": label(_some(names)),
        **look(Action.UNCHANGED),
        "fontsize": "8",
        "margin": quoted("0.08,0.03"),
        "height": "0.2",
    }
    return f"{quoted(f'unchanged {place}')} {attributes(values)}"


def _node(image: _Image) -> str:
    names: dict[Result, list[str]] = {}
    for goal in image.goals:
        names.setdefault(goal.result, []).append(name_of(goal.spec.destination))
    titles = [f"{result} {_some(each)}" for result, each in names.items()]
    sums = ", ".join(f"{action} {size(count)}" for action, count in image.bytes.items() if count)
    mounts = [f"mount {size(count)} from {place.path}" for place, count in image.mounts.items()]
    was = dict.fromkeys(
        f"was {goal.old.short}" for goal in image.goals if goal.result is Result.MOVE and goal.old
    )
    changes = dict.fromkeys(
        phrase
        for goal in image.goals
        for phrase in (*changes_of("+", goal.gains), *changes_of("-", goal.losses))
    )
    lacks = dict.fromkeys(
        f"lacks {', '.join(map(str, goal.missing))}" for goal in image.goals if goal.missing
    )
    values = {
        "label": label(*titles, sums, *mounts, *was, *changes, *lacks, image.root.short),
        "shape": "folder",
        "tooltip": label(image.root, *dict.fromkeys(f"from {goal.spec.source}" for goal in image.goals)),
        **look(image.action),
    }
    return f"{quoted(image.id)} {attributes(values)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"{', '.join(names[:_NAMES])}{more}"


def _stranger(place: Repository) -> str:
    """A repository outside the set from which blobs are mounted."""
    return f"{quoted(str(place))} {attributes({'label': label(str(place)), 'shape': 'box'})}"


def _edge(bringer: str, image: str, edge: Edge, count: int) -> str:
    """The line's width grows with the order of magnitude: 2 for a mebibyte, 4 for a gibibyte."""
    values = {"penwidth": f"{max(0.4, (math.log2(max(count, 1)) - 10) / 5):.1f}"}
    if edge is Edge.MOUNT:
        values |= {"tooltip": label(size(count)), "style": "dashed", "color": quoted("#1565c0")}
        values |= {"constraint": "false"}  # each repository stays a row
    else:
        values |= {"label": label(size(count))}
    return f"{quoted(bringer)} -> {quoted(image)} {attributes(values)}"
