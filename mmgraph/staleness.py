"""A saved plan against today's registries: whether it still holds, and what of it has been done already.

Asks one HEAD a name, and writes nothing. Knows not how the plan was kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from mmgraph.errors import MmgraphError
from mmgraph.evidence import Look
from mmgraph.graph import Edge, Graph, Kind, Node
from mmgraph.names import Digest, Reference, Registry, Repository
from mmgraph.plan import STALE, Action, Goal, Plan, Result, Step, is_done
from mmgraph.reasons import Why, say
from mmgraph.soundness import bill_of
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mmgraph.clock import Clock
    from mmgraph.store import Destination, Source

Looks = dict[tuple[Repository, str], Look]


class Stale(msgspec.Struct, frozen=True):
    """A destination that names neither what the plan expects nor what it shall name; None is nothing."""

    destination: Reference
    expected: Digest | None
    found: Digest | None
    failure: str = ""
    """Why it could not be looked at."""

    def __str__(self) -> str:
        return f"{self.destination} {self.change}"

    @property
    def change(self) -> str:
        """What was expected and what is there."""
        if self.failure:
            return f"named {self.expected or 'nothing'}, and cannot be looked at: {self.failure}"
        return f"named {self.expected or 'nothing'}, and names {self.found or 'nothing'} now"


async def check(
    plan: Plan, destination: Destination, clock: Clock, *, keep_going: bool = False
) -> tuple[Looks, tuple[Stale, ...]]:
    """Look at every destination; return what each names, and those where the plan no longer holds.

    It holds where a name points at what the plan expects, and where it points at what it shall already. What is
    unchanged has no work in the plan, so it must be as it shall. ``keep_going``: what cannot be looked at is stale.
    Raises ``RegistryError`` or ``NetworkError`` where a name cannot be looked at.
    """
    goals = [goal for goal in plan.goals if goal.result is not Result.FAILED]
    looks: Looks = {}

    async def look(goal: Goal) -> Stale | None:
        repository, name = _name(goal)
        expected = goal.root if goal.result is Result.UNCHANGED else goal.old
        try:
            resolved = await destination.find(repository, name)
        except MmgraphError as error:
            if keep_going:
                return Stale(goal.spec.destination, expected, None, str(error))
            error.add_note(
                f"the saved plan cannot be checked: {goal.spec.destination} could not be looked at"
            )
            raise
        digest = resolved.digest if resolved else None
        looks[repository, name] = Look(digest, clock.now())
        return None if digest in (expected, goal.root) else Stale(goal.spec.destination, expected, digest)

    found = await asyncio.gather(*map(look, goals))
    return looks, tuple(filter(None, found))


def dated(plan: Plan) -> Plan:
    """Return a saved plan whose failures say that they are as old as it is: nobody is asked again about these specs."""
    goals = tuple(
        replace(
            goal, cause=f"could not be planned when the plan was made: {goal.cause or 'no cause was given'}"
        )
        if goal.result is Result.FAILED
        else goal
        for goal in plan.goals
    )
    return replace(plan, goals=goals)


def skip(plan: Plan, stale: Sequence[Stale]) -> Plan:
    """Return the plan with the stale destinations as failed, without what only they need.

    What was to be mounted from where they would have put it is uploaded once, and mounted from there. The bill stays
    that of the whole plan; ``billed`` has that of what is left.
    """
    if not stale:
        return plan
    causes = {each.destination: f"{STALE}it {each.change}" for each in stale}
    goals = tuple(
        Goal(goal.spec, Result.FAILED, cause) if (cause := causes.get(goal.spec.destination)) else goal
        for goal in plan.goals
    )
    ends = [goal.node for goal in goals if goal.node is not None]
    kept = plan.graph.needs(ends) | {*ends}
    graph = Graph()
    steps = {node: step for node, step in plan.steps.items() if node in kept}
    for node in steps:
        graph.add(node)
    for first, then, edge in plan.graph.edges():
        if first in kept and then in kept:
            graph.join(first, then, edge)
    _land_anew(plan, graph, steps)
    written = {node.repository for node, step in steps.items() if not is_done(step)}
    missing = tuple(repository for repository in plan.missing if repository in written)
    return replace(plan, graph=graph, steps=steps, goals=goals, missing=missing)


def _land_anew(plan: Plan, graph: Graph, steps: dict[Node, Step]) -> None:
    """Let the first of the blobs whose landing is gone be uploaded, and the others be mounted from there."""
    landings: dict[tuple[Registry, str], Node] = {}
    for node, step in steps.items():
        gone = [
            first
            for first, edge in plan.graph.before(node)
            if edge is Edge.MOUNT and first not in steps and not is_done(plan.steps[first])
        ]
        if not gone or step.mount_from is None:
            continue
        # Where a mount waits for a manifest (ECR), the blob may be left without it, for another image.
        left = Node(Kind.BLOB, step.mount_from, node.name)
        landing = landings.setdefault((node.repository.registry, node.name), left if left in steps else node)
        if landing is node:
            reason = say(Why.SKIPPED, name=gone[0].repository.path)
            steps[node] = replace(step, action=Action.UPLOAD, reason=reason, mount_from=None)
        else:
            place = landing.repository
            steps[node] = replace(step, reason=say(Why.MOUNTABLE, name=place.path), mount_from=place)
            graph.join(landing, node, Edge.MOUNT)


def billed(plan: Plan, chunk: Callable[[Registry, int], int]) -> Plan:
    """Return what is left of a plan with the bill of that: of its steps, and a look at all that was looked at.

    ``chunk`` returns the bytes of the chunks in which a registry is sent a blob of so many bytes; 0: it goes whole.
    """
    bill = bill_of(plan)
    asked = {registry: Counter(kinds) for registry, kinds in bill.requests.items()}
    for goal in plan.goals:
        if goal.stale:
            asked.setdefault(goal.spec.destination.repository.registry, Counter())[
                Operation.HEAD_MANIFEST
            ] += 1
    for node, step in plan.steps.items():
        registry = node.repository.registry
        if step.action is Action.UPLOAD and (piece := chunk(registry, step.size)):
            asked[registry][Operation.PATCH_UPLOAD] += -(-step.size // piece)
    requests = {registry: dict(sorted(kinds.items())) for registry, kinds in sorted(asked.items())}
    return replace(plan, bill=replace(bill, requests=requests))


async def drift(plan: Plan, source: Source) -> tuple[str, ...]:
    """Look at every distinct source tag; say what has moved. The plan copies what it says all the same."""
    tags = {
        (goal.spec.source.repository, goal.spec.source.tag): goal
        for goal in plan.goals
        if goal.result is not Result.FAILED and goal.spec.source.digest is None
    }

    async def look(goal: Goal) -> str:
        reference = goal.spec.source
        try:
            resolved = await source.resolve(reference.repository, reference.tag or "")
        except MmgraphError as error:
            return f"{reference}: {error}"
        if resolved.digest == goal.source_digest:
            return ""
        planned = f"the plan copies {goal.source_digest}"
        return f"{reference} has moved to {resolved.digest} since the plan was made; {planned}"

    return tuple(filter(None, await asyncio.gather(*map(look, tags.values()))))


def settle(plan: Plan, looks: Mapping[tuple[Repository, str], Look]) -> Plan:
    """Return the plan with what is done taken as done: names that point where they shall, and their needs.

    Absence is no longer proven in it, since the evidence for that is as old as the plan.
    """
    reached = [
        goal
        for goal in plan.goals
        if goal.root is not None and looks[_name(goal)].digest == goal.root != goal.old
    ]
    steps = {
        node: replace(step, proven_absent=False) if step.proven_absent else step
        for node, step in plan.steps.items()
    }
    for goal in reached:
        node = goal.node
        if node is None:
            continue
        reason = say(Why.TAG, digest=goal.root.short if goal.root else "", name=str(goal.spec.destination))
        for need in [node, *plan.graph.needs([node])]:
            if need.kind is Kind.TAG:
                steps[need] = replace(
                    steps[need], action=Action.UNCHANGED, reason=say(Why.NAMES_IT), old=goal.root
                )
            else:
                steps[need] = replace(steps[need], action=Action.PRESENT, reason=reason, mount_from=None)
    done = {id(goal) for goal in reached}
    goals = tuple(
        replace(goal, result=Result.UNCHANGED, old=goal.root, gains=(), losses=())
        if id(goal) in done
        else goal
        for goal in plan.goals
    )
    there = {repository for (repository, _), look in looks.items() if look.digest is not None}
    missing = tuple(repository for repository in plan.missing if repository not in there)
    return replace(plan, steps=steps, goals=goals, missing=missing)


def _name(goal: Goal) -> tuple[Repository, str]:
    destination = goal.spec.destination
    return destination.repository, destination.name
