"""What people mean by a name in a plan: a destination, the end of one, a glob, or the beginning of a digest.

Owns how that is told apart, and what is said where nothing is meant. Pure; must not know what is then done with it.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.errors import SpecError
from mmgraph.graph import Kind, Node
from mmgraph.names import quote
from mmgraph.plan import Goal
from mmgraph.specs import matches, near_destinations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.names import Repository
    from mmgraph.plan import Plan

_DIGITS: Final = 6
"""Hex digits of a digest at least."""
_DIGEST: Final = re.compile(
    r"(?:(?P<place>.*)@)?(?P<digest>(?:sha(?:256|512):)?[0-9a-f]{1,128})(?:…|\.\.\.)?"
)
_SHOWN: Final = 5
"""Digests that are named where several are meant."""


class Subject(msgspec.Struct, frozen=True):
    """What was meant: a node, with the spec whose end it is, if any; or a spec that has none in the graph."""

    node: Node | None
    goal: Goal | None = None


def find(plan: Plan, name: str) -> tuple[Subject, ...]:
    """Return what ``name`` means: one or more destinations, or one digest in one or more repositories.

    A destination is meant as ``--only`` takes it. A digest may be cut to six digits, as git's may, with or without
    its algorithm, and stand behind ``REPOSITORY@``. Raises ``SpecError`` where nothing is meant, with near names, and
    where the beginning of a digest is that of several.
    """
    goals = [goal for goal in plan.goals if matches(goal.spec.destination, name)]
    if goals:
        return tuple(Subject(goal.node, goal) for goal in goals)
    found = _DIGEST.fullmatch(name.strip().lower())
    digits = found["digest"].rpartition(":")[2] if found else ""
    if found is None or (len(digits) < _DIGITS and ":" not in found["digest"]):
        near = near_destinations([goal.spec.destination for goal in plan.goals], name)
        raise SpecError(f"no destination is named {quote(name)}, and it is no digest{near}")
    if len(digits) < _DIGITS:
        raise SpecError(f"{quote(name)} is too short for a digest: write {_DIGITS} of its digits at least")
    nodes = list(_by_digest(plan, found["digest"], found["place"]))
    digests = list(dict.fromkeys(node.name for node in nodes))
    if len(digests) > 1:
        some = ", ".join(digests[:_SHOWN]) + (" and others" if len(digests) > _SHOWN else "")
        raise SpecError(f"{quote(name)} is the beginning of {len(digests)} digests, write more of it: {some}")
    if not nodes:
        raise SpecError(_unknown(plan, name, found["digest"], found["place"]))
    ends = {goal.node: goal for goal in plan.goals if goal.node is not None}
    return tuple(Subject(node, ends.get(node)) for node in nodes)


def _by_digest(plan: Plan, beginning: str, place: str | None) -> Iterator[Node]:
    for node in plan.steps:
        if node.kind is not Kind.TAG and _begins(node.name, beginning) and _is_in(node.repository, place):
            yield node


def _begins(digest: str, beginning: str) -> bool:
    return (digest if ":" in beginning else digest.partition(":")[2]).startswith(beginning)


def _is_in(repository: Repository, place: str | None) -> bool:
    """Whether a person means ``repository`` by ``place``: all of it, its end after a ``/``, or a glob."""
    if place is None:
        return True
    form = f"/{repository}"
    return form.endswith(f"/{place}") or fnmatchcase(form, f"*/{place}")


def _unknown(plan: Plan, name: str, beginning: str, place: str | None) -> str:
    """Say where else the digest stands: what a tag names today, and what is trimmed, are in no graph."""
    for goal in plan.goals:
        if goal.old is not None and _begins(goal.old, beginning):
            return (
                f"nothing is done about {quote(name)}, so it is no part of the plan: {goal.spec.destination}"
                f" names it now, and shall name {goal.root}"
            )
        if goal.source_digest is not None and _begins(goal.source_digest, beginning):
            return (
                f"nothing is done about {quote(name)}, so it is no part of the plan: {goal.spec.source} names it,"
                f" and limitPlatforms makes {goal.root} of it for {goal.spec.destination}"
            )
    elsewhere = dict.fromkeys(str(node.repository) for node in _by_digest(plan, beginning, None))
    if place is not None and elsewhere:
        some = ", ".join([*elsewhere][:_SHOWN]) + (" and others" if len(elsewhere) > _SHOWN else "")
        return f"{quote(name)} is not in the plan; that digest is in {some}"
    return f"nothing in the plan is named {quote(name)}, nor has a digest that begins so"
