"""The plan: wanted graph and evidence in, actions with reasons and a bill out. Pure: it asks nobody and starts nothing.

Images enter one after the other, and that is their total order. What is known of the destinations must be known
before the first one enters, since it decides where a blob lands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final

import msgspec

from mmgraph.bill import Bill, Share, Tally
from mmgraph.closure import Image, Unread, walk
from mmgraph.errors import ContentError
from mmgraph.evidence import Evidence, Presence
from mmgraph.graph import Edge, Graph, Kind, Node
from mmgraph.memory import Basis
from mmgraph.names import Digest, Platform, Registry, Repository
from mmgraph.oci import Descriptor, Document, Index, platforms_of
from mmgraph.reasons import Why, say
from mmgraph.rules import Violation
from mmgraph.specs import CopySpec
from mmgraph.store import Operation

STALE: Final = "the saved plan is stale: "
"""How the cause of a spec begins that a saved plan no longer holds for."""


class Action(StrEnum):
    """What is done about a node."""

    PRESENT = "present"
    """A blob, manifest or index is there."""
    MOUNT = "mount"
    """A blob comes from another repository of its registry."""
    UPLOAD = "upload"
    """A blob's bytes are sent."""
    PUT = "put"
    """A manifest or index is sent."""
    UNCHANGED = "unchanged"
    """A tag names what it shall."""
    CREATE = "create"
    """A tag is new."""
    MOVE = "move"
    """A tag names something else."""
    REPAIR = "repair"
    """A tag names what it shall, and is written again since parts of that are missing."""


class Step(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is done about one node, and why."""

    action: Action
    reason: str
    size: int = 0
    """Bytes of the blob, manifest or index."""
    label: str = ""
    """The platform, for people: ``linux/amd64``, ``attestation for linux/amd64``."""
    source: Repository | None = None
    """Where a blob can be read, also where the plan is not to read it: evidence can be wrong."""
    mount_from: Repository | None = None
    """Where a blob is mounted from."""
    proven_absent: bool = False
    """Whether an upload's absence is known: only then may its GET start before the registry has answered."""
    target: Digest | None = None
    """What a tag shall name."""
    old: Digest | None = None
    """What a tag to move or to repair names now."""


class Result(StrEnum):
    """What a plan means for one spec."""

    CREATE = "create"
    MOVE = "move"
    REPAIR = "repair"
    """The destination keeps its name, and is written again since parts of it are missing."""
    UNCHANGED = "unchanged"
    FAILED = "failed"
    OPEN = "open"
    """It was not read before the run was stopped; never in a plan that is shown or saved."""


class Goal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One spec's end in the plan."""

    spec: CopySpec
    result: Result
    cause: str = ""
    """Why it failed."""
    root: Digest | None = None
    """What the destination shall name."""
    source_digest: Digest | None = None
    """What the source names; another than ``root`` where ``limitPlatforms`` took something away."""
    old: Digest | None = None
    """What the destination names now."""
    missing: tuple[Platform, ...] = ()
    """Platforms the spec lists and the source lacks."""
    gains: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    """Platforms that the move adds and takes away, where both ends are indexes."""
    node: Node | None = None
    """The tag, or where the destination has none, the root by its digest; None for a failed spec."""

    @property
    def stale(self) -> bool:
        """Whether it fails since the saved plan no longer holds for it."""
        return self.result is Result.FAILED and self.cause.startswith(STALE)

    @property
    def changes(self) -> bool:
        """Whether its destination is to be written."""
        return self.result in (Result.CREATE, Result.MOVE, Result.REPAIR)

    @property
    def trimmed(self) -> bool:
        """Whether the destination's digest differs from the source's."""
        return self.root != self.source_digest


class Plan(msgspec.Struct, frozen=True):
    """What ``apply`` would do: the graph, an action for every node, an end for every spec, the bill."""

    graph: Graph
    steps: Mapping[Node, Step]
    goals: Sequence[Goal]
    documents: Mapping[Digest, Document]
    bill: Bill
    missing: tuple[Repository, ...] = ()
    """Repositories that must be created before they are written to, and are not there; sorted."""
    violations: tuple[Violation, ...] = ()
    """Rules that the set breaks. A plan made from specs has failed goals for these; a saved one is judged as it is."""
    unchecked: tuple[Registry, ...] = ()
    """Registries of its specs that were read, or are to be written to, without checking their certificates; sorted."""
    offline: Basis | None = None
    """What it rests on where nobody was asked for it: such a plan is to be read, and not to be carried out."""

    def broken_by(self, goal: Goal) -> tuple[Violation, ...]:
        """The rules that forbid what ``goal`` is about."""
        return tuple(each for each in self.violations if each.destination == goal.spec.destination)

    def count(self, result: Result) -> int:
        """How many specs have that result."""
        return sum(goal.result is result for goal in self.goals)

    @property
    def registries(self) -> frozenset[Registry]:
        """Where its specs read and write."""
        places = (place for goal in self.goals for place in (goal.spec.source, goal.spec.destination))
        return frozenset(place.repository.registry for place in places)

    @property
    def changes(self) -> bool:
        """Whether anything would be written."""
        return any(goal.changes for goal in self.goals)


_DONE = frozenset({Action.PRESENT, Action.UNCHANGED})
_TAG_WRITES = frozenset({Action.CREATE, Action.MOVE, Action.REPAIR})


def is_done(step: Step) -> bool:
    """Whether nothing is to be done about a node."""
    return step.action in _DONE


class Planner:
    """Builds a plan image by image.

    ``committed_only`` are the registries that mount a blob only when a committed manifest of the source repository
    refers to it (ECR): there a mount comes after the landing's first manifest instead of its blob.
    ``repository_first`` are those that take nothing for a repository that has not been created. ``chunk`` returns the
    bytes of the chunks in which a registry is sent a blob of so many bytes; 0: it goes whole.
    """

    def __init__(
        self,
        evidence: Evidence,
        documents: Mapping[Digest, Document],
        committed_only: Iterable[Registry] = (),
        repository_first: Iterable[Registry] = (),
        chunk: Callable[[Registry, int], int] = lambda registry, size: 0,
    ) -> None:
        self._evidence = evidence
        self._documents = documents
        self._chunk = chunk
        self._committed_only = frozenset(committed_only)
        self._repository_first = frozenset(repository_first)
        self._graph = Graph()
        self._steps: dict[Node, Step] = {}
        self._goals: list[Goal] = []
        self._tally = Tally()
        self._landings: dict[tuple[Registry, Digest], Node] = {}
        """The node after which a blob can be mounted from where it lands, by registry."""
        self._read: set[Digest] = set()
        self._sources: set[tuple[Repository, str]] = set()
        self._probed: set[Registry] = set()

    def fail(self, unread: Unread) -> None:
        """Add a spec that cannot be planned."""
        self._goals.append(Goal(unread.spec, Result.FAILED, unread.cause))

    def add(self, image: Image, *, closure: bool = True) -> None:
        """Add an image and all it takes. ``closure=False``: it is unchanged, and what it consists of was not read."""
        destination = image.spec.destination
        repository = destination.repository
        look = self._evidence.looks.get((repository, destination.name))
        old = look.digest if look else None
        root = self._add_closure(image) if closure else None
        node = self._add_tag(image, root, old) if destination.tag else root
        self._goals.append(self._goal(image, node, old))
        self._count_looks(image)

    def leave(self, spec: CopySpec) -> None:
        """Add a spec of which nothing is known, and nothing more will be."""
        self._goals.append(Goal(spec, Result.OPEN))

    def growing(self) -> Plan:
        """The plan as it grows: what is added later is in it too; its bill is empty."""
        return Plan(self._graph, self._steps, self._goals, self._documents, Tally().bill())

    def __len__(self) -> int:
        """How many nodes have entered."""
        return len(self._steps)

    def since(self, count: int) -> list[Node]:
        """The nodes that entered after the first ``count``, in that order."""
        return list(islice(reversed(self._steps), len(self._steps) - count))[::-1]

    def sort(self, specs: Iterable[CopySpec]) -> None:
        """Put the goals into the order of ``specs``."""
        place = {spec: number for number, spec in enumerate(specs)}
        self._goals.sort(key=lambda goal: place[goal.spec])

    def finish(self) -> Plan:
        """The plan of all that was added."""
        self._graph.check()
        for node, step in self._steps.items():
            self._count_writes(node, step)
        bill = self._tally.bill()
        return Plan(self._graph, self._steps, tuple(self._goals), self._documents, bill, self._missing())

    def _missing(self) -> tuple[Repository, ...]:
        """The repositories to create: those that are known to be absent, and in which something is to be done."""
        written = {node.repository for node, step in self._steps.items() if not is_done(step)}
        return tuple(
            sorted(
                place
                for place in written
                if place.registry in self._repository_first and self._evidence.absent(place)
            )
        )

    def _goal(self, image: Image, node: Node | None, old: Digest | None) -> Goal:
        gains: tuple[str, ...] = ()
        losses: tuple[str, ...] = ()
        if node is None or is_done(self._steps[node]):
            result = Result.UNCHANGED
        elif old is None:
            result = Result.CREATE
        elif old == image.root:
            result = Result.REPAIR
        else:
            result = Result.MOVE
            before, after = self._platforms(old), self._platforms(image.root)
            if before is not None and after is not None:
                gains, losses = tuple(sorted(after - before)), tuple(sorted(before - after))
        return Goal(
            image.spec, result, "", image.root, image.source_digest, old, image.missing, gains, losses, node
        )

    def _platforms(self, digest: Digest) -> set[str] | None:
        document = self._documents.get(digest)
        if not isinstance(document, Index):
            return None
        try:
            entries = platforms_of(document, self._documents)
        except ContentError:
            return None  # an old tag may name a tree that mmgraph would not copy
        return {entry.label for entry in entries if entry.label and not entry.descriptor.is_index}

    def _add_tag(self, image: Image, root: Node | None, old: Digest | None) -> Node:
        destination = image.spec.destination
        assert destination.tag
        tag = Node(Kind.TAG, destination.repository, destination.tag)
        whole = root is None or self._steps[root].action is Action.PRESENT
        if old == image.root and whole:
            step = Step(Action.UNCHANGED, say(Why.NAMES_IT), target=image.root, old=old)
        elif old == image.root:
            step = Step(Action.REPAIR, say(Why.NAMES_BROKEN), target=image.root, old=old)
        elif old is None:
            step = Step(Action.CREATE, say(Why.ABSENT), target=image.root)
        else:
            step = Step(Action.MOVE, say(Why.NAMES, digest=old), target=image.root, old=old)
        self._graph.add(tag)
        if root is not None:
            self._graph.join(root, tag, Edge.NEED)
        self._steps[tag] = step
        return tag

    def _add_closure(self, image: Image) -> Node:
        """Add blobs before their manifests, manifests before their indexes; return the root's node."""
        repository = image.spec.destination.repository
        labels = self._labels(image.root)
        counted: set[Digest] = set()
        node = None
        for document in walk(image.root, self._documents):
            kind = Kind.INDEX if isinstance(document, Index) else Kind.MANIFEST
            node = Node(kind, repository, document.digest)
            fresh = node not in self._steps
            for blob in document.blobs:
                if blob.digest not in counted:
                    counted.add(blob.digest)
                    blob_node = Node(Kind.BLOB, repository, blob.digest)
                    self._tally.share(self._add_blob(blob_node, blob, image, node), blob.size)
            if fresh:
                self._graph.add(node)
                for part in _parts(document):
                    self._graph.join(Node(part[0], repository, part[1]), node, Edge.NEED)
                label = labels.get(document.digest, "")
                self._steps[node] = self._document_step(node, document, label, image.spec.source.repository)
        assert node is not None
        return node

    def _document_step(self, node: Node, document: Document, label: str, source: Repository) -> Step:
        """Put what is not known to be there, or whose parts are not: then the registry cannot have it whole."""
        known = self._evidence.known(node.repository, document.digest)
        if known.presence is not Presence.PRESENT:
            action, reason = Action.PUT, known.reason
        elif all(is_done(self._steps[part]) for part, _ in self._graph.before(node)):
            action, reason = Action.PRESENT, known.reason
        else:
            action, reason = Action.PUT, say(Why.BROKEN)
        return Step(action, reason, len(document.raw), label, source)

    def _labels(self, root: Digest) -> dict[Digest, str]:
        document = self._documents[root]
        if not isinstance(document, Index):
            return {}
        return {entry.descriptor.digest: entry.label for entry in platforms_of(document, self._documents)}

    def _add_blob(self, node: Node, blob: Descriptor, image: Image, manifest: Node) -> Share:
        """Decide about a blob that ``manifest`` lists, unless that is decided; return what it counts as here."""
        if node in self._steps:
            present = self._steps[node].action is Action.PRESENT
            return Share.PRESENT if present else Share.SHARED
        repository, registry, digest = node.repository, node.repository.registry, blob.digest
        source = image.spec.source.repository
        known = self._evidence.known(repository, digest)
        landing = self._landings.get((registry, digest))
        holder = self._evidence.holder(registry, digest)
        self._graph.add(node)
        if known.presence is Presence.PRESENT:
            self._steps[node] = Step(Action.PRESENT, known.reason, blob.size, source=source)
            return Share.PRESENT
        if holder is not None or landing is not None:
            place = holder or landing.repository  # type: ignore[union-attr]
            self._steps[node] = Step(
                Action.MOUNT, say(Why.MOUNTABLE, name=place.path), blob.size, source=source, mount_from=place
            )
            after = Node(Kind.BLOB, holder, digest) if holder else landing
            if after is not None and after in self._steps:
                self._graph.join(after, node, Edge.MOUNT)
            return Share.MOUNTED
        self._steps[node] = Step(
            Action.UPLOAD,
            known.reason,
            blob.size,
            source=source,
            proven_absent=known.presence is Presence.ABSENT,
        )
        self._landings[registry, digest] = manifest if registry in self._committed_only else node
        if digest not in self._read:
            self._read.add(digest)
            self._tally.download(blob.size)
            self._tally.request(source.registry, Operation.GET_BLOB)
        return Share.UPLOADED

    def _count_looks(self, image: Image) -> None:
        """A look at each distinct source tag and each destination name: what every apply begins with."""
        source, destination = image.spec.source, image.spec.destination
        self._tally.request(destination.repository.registry, Operation.HEAD_MANIFEST)
        if source.digest is None and source.tag and (source.repository, source.tag) not in self._sources:
            self._sources.add((source.repository, source.tag))
            self._tally.request(source.repository.registry, Operation.HEAD_MANIFEST)

    def _count_writes(self, node: Node, step: Step) -> None:
        registry = node.repository.registry
        if step.action in (Action.MOUNT, Action.UPLOAD):
            self._tally.request(registry, Operation.POST_UPLOAD)
        if step.action is Action.UPLOAD:
            self._tally.request(registry, Operation.PUT_BLOB)
            if chunk := self._chunk(registry, step.size):
                self._tally.request(registry, Operation.PATCH_UPLOAD, -(-step.size // chunk))
            if registry not in self._probed:
                self._probed.add(registry)
                self._tally.request(registry, Operation.PROBE)
        if step.action in _TAG_WRITES or (step.action is Action.PUT and not self._rides(node)):
            self._tally.request(registry, Operation.PUT_MANIFEST)

    def _rides(self, node: Node) -> bool:
        """Whether a missing root goes with its first tag, in that tag's PUT."""
        return any(
            then.kind is Kind.TAG and not is_done(self._steps[then]) for then, _ in self._graph.after(node)
        )


def _parts(document: Document) -> Iterator[tuple[Kind, Digest]]:
    """What a document needs: its blobs, and of an index its children."""
    for blob in document.blobs:
        yield Kind.BLOB, blob.digest
    if isinstance(document, Index):
        for child in document.children:
            yield Kind.INDEX if child.is_index else Kind.MANIFEST, child.digest
