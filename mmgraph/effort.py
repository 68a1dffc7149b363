"""What a run does for each spec: bytes, requests and seconds. Counts; must not know what is done when, or why.

A node belongs to one spec: of those that need it, the one whose end entered the graph first. What is done about a
node is done for that spec, and what is read for several destinations at once for the first of them; so the efforts of
all specs add up to what the whole run came to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.events import Landing
from mmgraph.graph import Edge, Node
from mmgraph.store import Operation

if TYPE_CHECKING:
    from mmgraph.clock import Clock
    from mmgraph.names import Registry
    from mmgraph.plan import Plan

NOBODYS: Final = frozenset({Operation.PING, Operation.TOKEN, Operation.REDIRECT, Operation.PROBE})
"""Requests that are made for a registry, or follow from others; no spec's."""


class Effort(msgspec.Struct, frozen=True):
    """What was done for one spec. Bytes count blobs."""

    downloaded: int = 0
    uploaded: int = 0
    mounted: int = 0
    found: int = 0
    """Bytes that were to be uploaded and turned out to be there."""
    requests: Mapping[Operation, int] = {}
    """Of its transfers and writes, at all registries; repetitions are not in it."""
    seconds: float = 0.0
    """From the start of the first node that is its own to its end; 0 where none was started."""


class Mounts(msgspec.Struct, frozen=True):
    """How mounts from other repositories went at one registry: those that it answered, and those that it did."""

    asked: int = 0
    granted: int = 0


class Efforts:
    """The efforts of a run, node by node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tallies: dict[Node, _Tally] = {}
        self._mounts: dict[Registry, Mounts] = {}

    def begin(self, node: Node) -> None:
        """Work on ``node`` has begun, for the first time or again."""
        tally = self._tally(node)
        if tally.began is None:
            tally.began = self._clock.now()

    def end(self, node: Node) -> None:
        """``node`` is done, or will not be."""
        self._tally(node).ended = self._clock.now()

    def read(self, node: Node, count: int) -> None:
        """``count`` bytes more have been read for ``node``, and for others that share them."""
        self._tally(node).downloaded += count

    def landed(self, node: Node, size: int, how: Landing) -> None:
        """A blob is where it shall be."""
        tally = self._tally(node)
        if how is Landing.UPLOADED:
            tally.uploaded += size
        elif how is Landing.MOUNTED:
            tally.mounted += size
        else:
            tally.found += size

    def mount(self, registry: Registry, *, granted: bool) -> None:
        """The registry has answered a mount from another repository."""
        so_far = self._mounts.get(registry, Mounts())
        self._mounts[registry] = Mounts(so_far.asked + 1, so_far.granted + granted)

    @property
    def mounts(self) -> Mapping[Registry, Mounts]:
        """How mounts went so far."""
        return dict(sorted(self._mounts.items()))

    def counter(self, *nodes: Node) -> Callable[[Registry, Operation, int], None]:
        """Return what counts the requests of a transfer to ``nodes``, at distinct registries, or of one write.

        GETs of the blob are the first one's; all else is the one's at whose registry it is asked.
        """
        by_registry = {node.repository.registry: self._tally(node) for node in nodes}
        first = self._tally(nodes[0])

        def count(registry: Registry, operation: Operation, change: int) -> None:
            tally = first if operation is Operation.GET_BLOB else by_registry.get(registry)
            if tally is not None and operation not in NOBODYS:
                tally.requests[operation] = tally.requests.get(operation, 0) + change

        return count

    @property
    def total(self) -> Effort:
        """All of it so far; its seconds mean nothing."""
        return _sum(self._tallies.values())

    def by_goal(self, plan: Plan) -> list[Effort]:
        """The efforts for the plan's goals, in their order."""
        rank = {node: number for number, node in enumerate(plan.steps)}
        ends = [(rank[goal.node], place) for place, goal in enumerate(plan.goals) if goal.node is not None]
        efforts = [Effort()] * len(plan.goals)
        owned: set[Node] = set()
        for _, place in sorted(ends):
            end = plan.goals[place].node
            assert end is not None
            tallies: list[_Tally] = []
            stack = [end]
            while stack:
                node = stack.pop()
                if node not in owned:
                    owned.add(node)
                    if node in self._tallies:
                        tallies.append(self._tallies[node])
                    stack += [first for first, edge in plan.graph.before(node) if edge is Edge.NEED]
            efforts[place] = _sum(tallies, self._seconds(tallies, end))
        return efforts

    def _seconds(self, own: Iterable[_Tally], end: Node) -> float:
        begins = [tally.began for tally in own if tally.began is not None]
        if not begins:
            return 0.0
        last = self._tallies.get(end)
        ended = last.ended if last is not None else None
        return max(0.0, (self._clock.now() if ended is None else ended) - min(begins))

    def _tally(self, node: Node) -> _Tally:
        tally = self._tallies.get(node)
        if tally is None:
            tally = self._tallies[node] = _Tally()
        return tally


class _Tally:
    """What was done about one node."""

    __slots__ = ("began", "downloaded", "ended", "found", "mounted", "requests", "uploaded")

    def __init__(self) -> None:
        self.downloaded = self.uploaded = self.mounted = self.found = 0
        self.requests: dict[Operation, int] = {}
        self.began: float | None = None
        self.ended: float | None = None


def _sum(tallies: Iterable[_Tally], seconds: float = 0.0) -> Effort:
    requests: Counter[Operation] = Counter()
    downloaded = uploaded = mounted = found = 0
    for tally in tallies:
        downloaded += tally.downloaded
        uploaded += tally.uploaded
        mounted += tally.mounted
        found += tally.found
        requests.update(tally.requests)
    # What was not sent after all, for want of a connection, is counted back.
    sent = {operation: count for operation, count in sorted(requests.items()) if count > 0}
    return Effort(downloaded, uploaded, mounted, found, sent, seconds)
