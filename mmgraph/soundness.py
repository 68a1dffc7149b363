"""What must hold for a plan to be carried out, whoever wrote it. Knows not how plans are kept.

Above all: nothing is written but what the plan's own specs name, nothing read but from their sources.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from mmgraph.bill import Bill
from mmgraph.errors import ContentError, SpecError
from mmgraph.graph import Edge, Kind, Node
from mmgraph.names import Digest, Registry
from mmgraph.oci import Index, limit_platforms
from mmgraph.plan import Action, Result, is_done
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Set

    from mmgraph.graph import Graph
    from mmgraph.names import Reference, Repository
    from mmgraph.plan import Goal, Plan, Step

_ACTIONS: Final = {
    Kind.BLOB: frozenset({Action.PRESENT, Action.MOUNT, Action.UPLOAD}),
    Kind.MANIFEST: frozenset({Action.PRESENT, Action.PUT}),
    Kind.INDEX: frozenset({Action.PRESENT, Action.PUT}),
    Kind.TAG: frozenset({Action.UNCHANGED, Action.CREATE, Action.MOVE, Action.REPAIR}),
}
_NONE: Final[Set[Node]] = frozenset()
_RESULTS: Final = {
    Action.UNCHANGED: Result.UNCHANGED,
    Action.CREATE: Result.CREATE,
    Action.MOVE: Result.MOVE,
    Action.REPAIR: Result.REPAIR,
}


class _Edges:
    """A graph's edges by the nodes they lead to, gathered at once: asking for those of each node takes far longer."""

    def __init__(self, graph: Graph) -> None:
        self.needs: defaultdict[Node, set[Node]] = defaultdict(set)
        self.mounts: defaultdict[Node, set[Node]] = defaultdict(set)
        self.needed: set[Node] = set()
        """What something needs."""
        need = Edge.NEED
        for first, then, edge in graph.edges():
            if edge is need:
                self.needed.add(first)
                self.needs[then].add(first)
            else:
                self.mounts[then].add(first)

    def closure(self, end: Node) -> set[Node]:
        """All that ``end`` directly or indirectly needs."""
        found: set[Node] = set()
        level: Set[Node] = self.needs.get(end, _NONE)
        while level:
            found |= level
            level = set().union(*(self.needs[node] for node in level if node in self.needs)) - found
        return found


class Soundness:
    """The rules, over one plan; each method raises ``SpecError`` for what no planner makes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._steps = plan.steps
        self._edges = _Edges(plan.graph)
        self._documents = plan.documents
        self._ends = {goal.node for goal in plan.goals}
        self._written = {node.repository for node, step in plan.steps.items() if not is_done(step)}
        self._sources: dict[Repository, set[Repository]] = {}
        for goal in plan.goals:
            spec = goal.spec
            self._sources.setdefault(spec.destination.repository, set()).add(spec.source.repository)
        self._known = {*self._sources, *(source for each in self._sources.values() for source in each)}

    def check_node(self, node: Node) -> None:
        """Check one node with its step and the edges to it."""
        step = self._steps[node]
        if node.repository not in self._sources:
            raise SpecError(f"none of the specs has a destination in {node.repository}")
        if step.action not in _ACTIONS[node.kind]:
            raise SpecError(f"{step.action} is not for a {node.kind}")
        if step.source is not None and step.source not in self._sources[node.repository]:
            raise SpecError(f"none of the specs copies from {step.source} to {node.repository}")
        if (step.target is not None or step.old is not None) and node.kind is not Kind.TAG:
            # An execution may take a step with a target for a tag's, and write it.
            raise SpecError(f"only a tag names something, and it is a {node.kind}")
        mounts = step.action is Action.MOUNT
        if (step.mount_from is not None) != mounts:
            raise SpecError("a place to mount from belongs to a mount, and to nothing else")
        needs, after = self._edges.needs.get(node, _NONE), self._edges.mounts.get(node, _NONE)
        if after and not mounts:
            raise SpecError(f"a mount edge leads to it, and it is to be {step.action}")
        if node.kind is Kind.BLOB:
            self._blob(node, step, needs, after)
        elif node.kind is Kind.TAG:
            self._tag(node, step, needs)
        else:
            self._document(node, step, needs)
        if node not in self._edges.needed and node not in self._ends:
            raise SpecError("nothing needs it, and it is no spec's end")

    def _tag(self, node: Node, step: Step, needs: Set[Node]) -> None:
        if step.target is None:
            raise SpecError("it has no target")
        # A tag names what it shall, and is written all the same, where parts of that are missing.
        broken = any(not is_done(self._steps[need]) for need in needs)
        named = step.old is not None
        expected = {
            Action.CREATE: not named,
            Action.MOVE: named and step.old != step.target,
            Action.REPAIR: step.old == step.target and broken,
            Action.UNCHANGED: step.old == step.target and not broken,
        }
        if not expected[step.action]:
            raise SpecError(f"{step.action} does not fit what the tag names and shall name")
        if not needs and is_done(step):
            return
        roots = {Node(kind, node.repository, step.target) for kind in (Kind.MANIFEST, Kind.INDEX)}
        if len(needs) != 1 or not needs <= roots:
            raise SpecError("it does not need what it shall name, and nothing else")

    def _blob(self, node: Node, step: Step, needs: Set[Node], after: Set[Node]) -> None:
        if needs:
            raise SpecError("a blob needs nothing")
        if step.source is None:
            raise SpecError("it has no source")
        place = step.mount_from
        if place is None:
            return
        if place not in self._known or place == node.repository or place.registry != node.repository.registry:
            raise SpecError(f"it cannot be mounted from {place}")
        for first in after:
            if first.repository != place or (first.kind is Kind.BLOB and first.name != node.name):
                raise SpecError(f"its mount does not come after {first}")

    def _document(self, node: Node, step: Step, needs: Set[Node]) -> None:
        document = self._documents.get(Digest(node.name))
        if document is None:
            raise SpecError(f"{node.name} is not among the documents")
        if isinstance(document, Index) != (node.kind is Kind.INDEX):
            raise SpecError(f"{node.name} is {document.media_type}")
        parts = {Node(Kind.BLOB, node.repository, blob.digest): blob.size for blob in document.blobs}
        for child in document.children if isinstance(document, Index) else ():
            kind = Kind.INDEX if child.is_index else Kind.MANIFEST
            parts[Node(kind, node.repository, child.digest)] = child.size
        if needs != parts.keys():
            raise SpecError(f"it does not need just what {node.name} lists")
        for part, size in parts.items():
            if self._steps[part].size != size:
                raise SpecError(f"{part} has the size {self._steps[part].size}, and {node.name} says {size}")
        if step.size != len(document.raw):
            raise SpecError(f"its size is {step.size}, and its document has {len(document.raw)} bytes")

    def check_goal(self, goal: Goal) -> None:
        """Check one spec's end."""
        spec, node, root = goal.spec, goal.node, goal.root
        if goal.result is Result.FAILED:
            if node is not None or root is not None:
                raise SpecError("it has failed, and yet something is to be done")
            return
        if root is None or goal.source_digest is None:
            raise SpecError("it has no root or no source digest")
        if spec.source.digest not in (None, goal.source_digest):
            raise SpecError("its source digest is not that of src")
        if root != (spec.destination.digest or root) or (not spec.platforms and goal.trimmed):
            raise SpecError("its root is neither what src names nor an index that its platforms limit")
        if node is None:
            if goal.result is not Result.UNCHANGED or spec.destination.tag:
                raise SpecError("it has no node")
            if goal.old != root:
                raise SpecError("it is unchanged, and its destination names something else")
            return
        self._check_limits(goal, root)
        step = self._steps[node]
        repository, tag = spec.destination.repository, spec.destination.tag
        if tag:
            expected = node == Node(Kind.TAG, repository, tag)
            fits = (step.target, step.old, str(_RESULTS.get(step.action))) == (
                root,
                goal.old,
                str(goal.result),
            )
        else:
            expected = node.kind in (Kind.MANIFEST, Kind.INDEX) and (node.repository, node.name) == (
                repository,
                root,
            )
            # It is named by its digest, so it names nothing else: it is not there, or parts of it are missing.
            written = Result.CREATE if goal.old is None else Result.REPAIR
            fits = goal.result is (Result.UNCHANGED if is_done(step) else written)
        if not expected or not fits:
            raise SpecError(f"{node} with {step.action} is not its end")

    def check_missing(self, repository: Repository) -> None:
        """Check one repository that is said to be missing."""
        if repository not in self._written:
            raise SpecError(f"nothing is written to {repository}")

    def check_bill(self) -> None:
        """Check that the bill is what the steps and goals come to: a reviewer may read nothing else.

        Only chunks are free, since their length is of the run that made the plan; each has a byte at least.
        """
        found, expected = self._plan.bill, _bill(self._plan, self._edges)
        for name in ("naive", "present", "mounted", "uploaded", "shared", "downloaded"):
            if getattr(found, name) != getattr(expected, name):
                raise SpecError(
                    f"{name} is {getattr(found, name)}, and its steps come to {getattr(expected, name)}"
                )
        sent: dict[Registry, int] = {}
        for node, step in self._steps.items():
            if step.action is Action.UPLOAD:
                sent[node.repository.registry] = sent.get(node.repository.registry, 0) + step.size
        for registry in sorted({*found.requests, *expected.requests}):
            told, due = found.requests.get(registry, {}), expected.requests.get(registry, {})
            for operation in Operation:
                count = told.get(operation, 0)
                if operation is Operation.PATCH_UPLOAD:
                    if count > sent.get(registry, 0):
                        raise SpecError(f"{registry} has more chunks than bytes: {count}")
                elif count != due.get(operation, 0):
                    raise SpecError(
                        f"{registry} has {count} of {operation}, and its steps come to {due.get(operation, 0)}"
                    )

    def _check_limits(self, goal: Goal, root: Digest) -> None:
        """Check that a root that differs from the source's is an index with the spec's platforms and no others."""
        document = self._documents.get(root)
        if document is None:
            return  # a tag that is unchanged needs nothing, and nothing is written for it
        platforms = goal.spec.platforms
        if not platforms or not isinstance(document, Index):
            if goal.trimmed:
                raise SpecError(f"its root {root} is no index, and yet said to be limited")
            return
        try:
            limited = limit_platforms(document, platforms, self._documents)
        except (SpecError, ContentError) as error:
            raise SpecError(f"its root {root} is not what its platforms limit: {error}") from None
        if (limited.root.digest, limited.missing) != (root, goal.missing):
            raise SpecError(f"its root {root} is not what its platforms limit")


def bill_of(plan: Plan) -> Bill:
    """Return the bill that follows from a whole plan's steps and goals: all but the chunks."""
    return _bill(plan, _Edges(plan.graph))


def _bill(plan: Plan, edges: _Edges) -> Bill:
    naive, present = _wanted(plan, edges)
    mounted = uploaded = downloaded = 0
    mounts, uploads, reads, puts = (Counter[Registry]() for _ in range(4))
    read: set[str] = set()
    riding = _riding(plan, edges)
    mount, upload = Action.MOUNT, Action.UPLOAD  # looked up once: an enum is slow at that
    for node, step in plan.steps.items():
        if is_done(step):
            continue
        registry = node.repository.registry
        if step.action is mount:
            mounted += step.size
            mounts[registry] += 1
        elif step.action is upload:
            uploaded += step.size
            uploads[registry] += 1
            if node.name not in read and step.source is not None:
                read.add(node.name)
                downloaded += step.size
                reads[step.source.registry] += 1
        elif node not in riding:
            puts[registry] += 1
    requests = _looks(plan)
    for operation, counts in (
        (Operation.POST_UPLOAD, mounts + uploads),
        (Operation.PUT_BLOB, uploads),
        (Operation.PROBE, dict.fromkeys(uploads, 1)),
        (Operation.GET_BLOB, reads),
        (Operation.PUT_MANIFEST, puts),
    ):
        for registry, count in counts.items():
            requests[registry][operation] += count
    # Each blob that moves does so for one spec, the first that needs it; to all others it is shared.
    shared = naive - present - mounted - uploaded
    counted = {registry: dict(kinds) for registry, kinds in requests.items()}
    return Bill(naive, present, mounted, uploaded, shared, downloaded, counted)


def _wanted(plan: Plan, edges: _Edges) -> tuple[int, int]:
    """The bytes of all goals' blobs, those of each goal counted, and how many of them are present."""
    wanted = there = 0
    blob, present = Kind.BLOB, Action.PRESENT
    for goal in plan.goals:
        for node in () if goal.node is None else edges.closure(goal.node):
            if node.kind is blob:
                step = plan.steps[node]
                wanted += step.size
                if step.action is present:
                    there += step.size
    return wanted, there


def _looks(plan: Plan) -> defaultdict[Registry, dict[Operation, int]]:
    """A HEAD for each destination and each distinct source tag, of what has not failed."""
    requests: defaultdict[Registry, dict[Operation, int]] = defaultdict(Counter)
    sources: set[Reference] = set()
    for goal in plan.goals:
        source = goal.spec.source
        if goal.result is Result.FAILED:
            continue
        requests[goal.spec.destination.repository.registry][Operation.HEAD_MANIFEST] += 1
        if source.digest is None and source.tag and source not in sources:
            sources.add(source)
            requests[source.repository.registry][Operation.HEAD_MANIFEST] += 1
    return requests


def _riding(plan: Plan, edges: _Edges) -> set[Node]:
    """The roots that go in the PUT of a tag that names them."""
    return {
        root
        for node, step in plan.steps.items()
        if node.kind is Kind.TAG and not is_done(step)
        for root in edges.needs.get(node, _NONE)
    }
