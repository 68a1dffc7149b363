"""What is still to be done about each node, and the rewrites that happen on the way. Starts nothing, waits for nothing.

Invariants. ``pending`` of a WAITING node is the number of its predecessors that are not done. A node that fails blocks
exactly the nodes that need it; what was only to be mounted from it elects a new landing: of those that wait, the one
that entered the graph first becomes an upload, and the rest wait for that one instead. Since edges only run from
earlier images to later ones, and the elected one is the earliest, no cycle can come of it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from mmgraph.events import Outcome
from mmgraph.graph import Edge, Kind, Node
from mmgraph.names import Digest, Registry, Repository
from mmgraph.plan import Action, Plan, Step, is_done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mmgraph.store import Upload

REVIVALS = 4
"""Rounds in which a registry may say that it lacks what it was seen to have, before its word is final."""
PAUSES = 30
"""How often a transfer may be sent back by a registry that asks to wait: a node's budget of waiting."""


class State(Enum):
    """Where a node is on its way."""

    WAITING = auto()
    READY = auto()
    RUNNING = auto()
    DONE = auto()
    FAILED = auto()
    BLOCKED = auto()


class Work:
    """One node that is not done: its step as it stands after rewrites."""

    __slots__ = (
        "action", "attempts", "blocker", "cause", "extra", "mount_from", "node", "pauses", "pending", "rank",
        "revivals", "session", "source", "state", "step", "tried",
    )  # fmt: skip

    def __init__(self, node: Node, step: Step, rank: int) -> None:
        self.node = node
        self.step = step
        self.rank = rank
        self.state = State.WAITING
        self.pending = 0
        self.action = step.action
        self.mount_from: Repository | None = step.mount_from or node.repository
        self.session: Upload | None = None
        self.source = step.source
        self.tried: set[Repository] = set()
        """Sources that could not give the blob."""
        self.attempts = 0
        self.pauses = 0
        self.revivals = 0
        self.cause = ""
        self.blocker: Work | None = None
        self.extra: list[Work] = []
        """Blobs that an election lets wait for this node."""

    @property
    def registry(self) -> Registry:
        """Where the node is to be."""
        return self.node.repository.registry

    @property
    def digest(self) -> Digest:
        """The digest of the blob, manifest or index, or what the tag shall name."""
        return self.step.target or Digest(self.node.name)

    @property
    def failure(self) -> tuple[Outcome, str]:
        """What became of it that is not done, and the cause."""
        if self.state is State.FAILED:
            return Outcome.FAILED, self.cause
        if self.state is State.BLOCKED and self.blocker is not None:
            return Outcome.BLOCKED, f"{self.blocker.node.kind} {self.blocker.node}: {self.blocker.cause}"
        return Outcome.STOPPED, "the run was stopped before it"

    def sent_back(self) -> bool:
        """The registry asked to wait, which is no attempt; False where it has done so too often."""
        if self.pauses >= PAUSES:
            return False
        self.attempts -= 1
        self.pauses += 1
        return True

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (State.DONE, State.FAILED, State.BLOCKED)


class Ledger:
    """The works of one plan. ``ready`` is told of each node that may start, ``ended`` of each that failed or is
    blocked or done.
    """

    def __init__(self, plan: Plan, ready: Callable[[Work], None], ended: Callable[[Work], None]) -> None:
        self._plan = plan
        self._graph = plan.graph
        self._ready = ready
        self._ended = ended
        self._works: dict[Node, Work] = {}
        self._rank = 0
        self._elected: dict[tuple[Registry, str], Work] = {}
        """By registry and digest the upload that an election has made the landing."""

    def __iter__(self) -> Iterator[Work]:
        return iter(self._works.values())

    def get(self, node: Node) -> Work | None:
        """The work on ``node``, None where the plan found nothing to do."""
        return self._works.get(node)

    def rank(self, node: Node) -> int:
        """The place of ``node`` in the order in which nodes entered; 0 where there is nothing to do about it."""
        work = self._works.get(node)
        return work.rank if work is not None else 0

    def extend(self, nodes: Iterable[Node]) -> None:
        """Take in nodes of the plan, each after all that it comes after, and declare ready what waits for nothing.

        All of them first, so that who is asked sees the whole.
        """
        first = []
        for node in nodes:
            self._rank += 1
            step = self._plan.steps[node]
            if is_done(step):
                continue
            work = self._works[node] = Work(node, step, self._rank)
            self._enter(work)
            if work.state is State.WAITING and not work.pending:
                work.state = State.READY
                first.append(work)
        for work in first:
            self._ready(work)

    def _enter(self, work: Work) -> None:
        """Let a new node wait for what is under way, or share the fate of what has failed already."""
        for node, edge in self._graph.before(work.node):
            first = self._works.get(node)
            if first is None or first.state is State.DONE:
                continue
            if first.state not in (State.FAILED, State.BLOCKED):
                work.pending += 1
            elif edge is Edge.MOUNT:
                self._mount_elsewhere(work)
            elif work.state is not State.BLOCKED:
                work.state, work.blocker = State.BLOCKED, first.blocker or first
        if work.state is State.BLOCKED:
            self._ended(work)

    def _mount_elsewhere(self, work: Work) -> None:
        """Mount a blob that enters after its landing has failed from where it was elected to land, or elect it."""
        elected = self._elected.get((work.registry, work.node.name))
        if elected is None or elected.state in (State.FAILED, State.BLOCKED):
            self._land(work)
            return
        work.mount_from = elected.node.repository
        if elected.state is not State.DONE:
            work.pending += 1
            elected.extra.append(work)

    def _land(self, work: Work) -> None:
        """Make ``work`` the upload that others mount from."""
        work.action, work.mount_from = Action.UPLOAD, work.node.repository
        self._elected[work.registry, work.node.name] = work

    def tags(self, root: Work) -> list[Work]:
        """The tags that still wait for ``root``, in the order of the specs."""
        return [
            work
            for work in self._after(root, Edge.NEED)
            if work.node.kind is Kind.TAG and work.state is State.WAITING
        ]

    def needed(self, work: Work) -> bool:
        """Whether a manifest or index that is not settled needs ``work``."""
        return any(
            then.node.kind is not Kind.TAG and not then.settled for then in self._after(work, Edge.NEED)
        )

    def done(self, work: Work) -> None:
        """``work`` is where it shall be."""
        work.state = State.DONE
        self._ended(work)
        for then in [*self._after(work), *work.extra]:
            self._release(then)
        work.extra = []

    def again(self, work: Work) -> None:
        """``work`` is to be tried again, as its fields say now."""
        work.state = State.READY
        self._ready(work)

    def fail(self, work: Work, cause: str) -> None:
        """``work`` cannot be done: block what needs it, and let what was to be mounted from it find another way."""
        work.state, work.cause = State.FAILED, cause
        orphans = [work]
        stack = [work]
        self._ended(work)
        while stack:
            failed = stack.pop()
            for then in self._after(failed, Edge.NEED):
                if (
                    not then.settled and then.state is not State.RUNNING
                ):  # the registry will judge what is under way
                    then.state, then.blocker = State.BLOCKED, work
                    orphans.append(then)
                    stack.append(then)
                    self._ended(then)
        for orphan in orphans:
            self._elect([*self._after(orphan, Edge.MOUNT), *orphan.extra])
            orphan.extra = []

    def offer(self, goal: Node, source: Repository) -> None:
        """``goal``, which enters, has what it needs from ``source`` too: read from there what no other source gave.

        What lies between is unblocked, but for what is blocked by something else besides. The ends of earlier images
        that have been told of stay as they are.
        """
        needs = self._graph.needs([goal]) | {goal}
        works = [work for work in map(self._works.get, needs) if work is not None and work.settled]
        lost = [
            work for work in works if work.state is State.FAILED and work.tried and source not in work.tried
        ]
        for work in lost:
            work.state, work.source, work.attempts, work.cause = State.READY, source, 0, ""
        if lost:
            for work in works:
                self._unblock(work)
        for work in lost:
            self._ready(work)

    def _unblock(self, work: Work) -> None:
        """Let it wait again unless a part of it stays blocked: those first, whatever was there before and came late."""
        if work.state is not State.BLOCKED:
            return
        parts = [part for node in self._needed_by(work) if (part := self._works.get(node)) is not None]
        for part in parts:
            self._unblock(part)
        if not any(part.state in (State.FAILED, State.BLOCKED) for part in parts):
            work.state, work.blocker = State.WAITING, None
            work.pending = sum(part.state is not State.DONE for part in parts)

    def revive(self, refused: Work, named: Iterable[str]) -> bool:
        """The registry says that parts of a manifest are missing: send those again, without asking, then it.

        ``refused`` is the manifest, or a tag whose manifest was taken to be there: then that is sent again too.
        ``named`` are the digests in the registry's answer; where it names none of the parts, all of them are sent.
        False where it has said so too often, or where a part could not be sent.
        """
        if refused.node.kind is not Kind.TAG:
            return self._send_again(refused, named)
        [root] = self._needed_by(refused)
        manifest = self._done_work(root)
        if manifest.state in (State.FAILED, State.BLOCKED):  # another tag's refusal came to that
            return False
        if manifest.state is not State.DONE:  # another tag of it has been refused already
            refused.state, refused.pending = State.WAITING, 1
            return True
        if manifest.revivals > refused.revivals:  # it has been sent again since this tag was last tried
            refused.revivals = manifest.revivals
            self.again(refused)
            return True
        manifest.action = Action.PUT
        if not self._send_again(manifest, named):
            return False
        refused.state, refused.pending, refused.revivals = State.WAITING, 1, manifest.revivals
        for then in self._after(manifest, Edge.NEED):
            if then.state is State.WAITING and then is not refused:
                then.pending += 1
        return True

    def _send_again(self, manifest: Work, named: Iterable[str]) -> bool:
        if manifest.revivals >= REVIVALS:
            return False
        parts = self._needed_by(manifest)
        wanted = frozenset(named)
        missing = [part for part in parts if part.name in wanted] or parts
        if any(work.state is State.FAILED for part in missing if (work := self._works.get(part))):
            return False
        manifest.revivals += 1
        manifest.state = State.WAITING
        restarted = []
        for part in missing:
            work = self._done_work(part)
            if work.state is State.DONE:
                restarted.append(work)
                work.state, work.attempts = State.READY, 0
                work.action = Action.UPLOAD if part.kind is Kind.BLOB else Action.PUT
                work.mount_from, work.session = None, None
                for then in self._after(work, Edge.NEED):
                    if then.state is State.WAITING and then is not manifest:
                        then.pending += 1
        # Another manifest's refusal may have sent parts on their way that this one's answer did not name.
        works = [work for part in parts if (work := self._works.get(part)) is not None]
        manifest.pending = sum(not work.settled for work in works)
        for work in restarted:
            self._ready(work)
        return bool(manifest.pending)

    def _needed_by(self, work: Work) -> list[Node]:
        return [first for first, edge in self._graph.before(work.node) if edge is Edge.NEED]

    def _done_work(self, node: Node) -> Work:
        """The work on ``node``; a new one that is done where the plan found nothing to do."""
        work = self._works.get(node)
        if work is None:
            self._rank += 1
            work = self._works[node] = Work(node, self._plan.steps[node], self._rank)
            work.state = State.DONE
        return work

    def _after(self, work: Work, edge: Edge | None = None) -> Iterator[Work]:
        for node, kind in self._graph.after(work.node):
            then = self._works.get(node)
            if then is not None and (edge is None or kind is edge):
                yield then

    def _release(self, work: Work) -> None:
        if work.state is not State.WAITING:
            return
        work.pending -= 1
        if not work.pending:
            work.state = State.READY
            self._ready(work)

    def _elect(self, waiting: Iterable[Work]) -> None:
        """Let the first of those that wait for a blob upload it, and the rest wait for that upload.

        For the blob itself also where the plan waited for a manifest: a manifest of the elected one's repository may
        belong to a later image, and waiting for it could close a circle. If the mount is refused then, it uploads.
        """
        by_digest: dict[str, list[Work]] = {}
        for work in waiting:
            if work.state is State.WAITING:
                by_digest.setdefault(work.node.name, []).append(work)
        for works in by_digest.values():
            works.sort(key=lambda work: work.rank)
            landing, rest = works[0], works[1:]
            self._land(landing)
            for work in rest:
                work.mount_from = landing.node.repository
                landing.extra.append(work)  # it goes on waiting, for another
            self._release(landing)
