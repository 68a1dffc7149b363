"""The graph: nodes, edges, orders and reachability. The only module that imports networkx.

An edge runs from what must exist first to what comes after it. A ``NEED`` edge requires; a ``MOUNT`` edge orders
and does not require. Knows keys and edges; knows no sizes, no actions, no registries' answers.
"""

from __future__ import annotations

import heapq
import importlib
import sys
import threading
from contextlib import suppress
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from mmgraph.errors import InternalError
from mmgraph.names import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    import networkx


class Kind(StrEnum):
    """What a node is."""

    BLOB = "blob"
    MANIFEST = "manifest"
    INDEX = "index"
    TAG = "tag"


class Edge(StrEnum):
    """Why one node comes before another."""

    NEED = "need"
    """The later node refers to the earlier one and cannot be without it."""
    MOUNT = "mount"
    """The later blob is mounted from where the earlier one lands; if that fails, it finds another way."""


class Node(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """A node's key: its kind, its place, and its digest or tag."""

    kind: Kind
    repository: Repository
    name: str

    def __str__(self) -> str:
        return f"{self.repository}{':' if self.kind is Kind.TAG else '@'}{self.name}"


def prepare(*, now: bool = False) -> None:
    """Import networkx beside what else is to be waited for, such as the answers of registries; ``now``: at once.

    It takes a tenth of a second, since all its algorithms come with it; the first edge waits for the rest of it.
    """
    if now:
        importlib.import_module("networkx")
    elif "networkx" not in sys.modules:
        threading.Thread(target=_import).start()


def _import() -> None:
    with suppress(Exception):  # the first edge fails by it again, and says so
        importlib.import_module("networkx")


class Graph:
    """A directed acyclic graph over ``Node``; nodes keep the order in which they entered."""

    def __init__(self) -> None:
        self._loose: dict[Node, None] | None = {}
        """All nodes as long as there is no edge: a run with nothing to do needs none, nor networkx."""

    @cached_property
    def _digraph(self) -> networkx.DiGraph[Node]:
        import networkx

        digraph: networkx.DiGraph[Node] = networkx.DiGraph()
        digraph.add_nodes_from(self._loose or ())
        self._loose = None
        return digraph

    @property
    def _nodes(self) -> Collection[Node]:
        return self._digraph if self._loose is None else self._loose

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def add(self, node: Node) -> None:
        """Add ``node``; adding it twice changes nothing."""
        if self._loose is None:
            self._digraph.add_node(node)
        else:
            self._loose[node] = None

    def join(self, first: Node, then: Node, edge: Edge) -> None:
        """Let ``then`` come after ``first``. A need outranks a mount where both are asked for."""
        # Needs are nearly all of the edges, and an attribute would cost each of them 170 bytes.
        if not self._digraph.has_edge(first, then):
            if edge is Edge.NEED:
                self._digraph.add_edge(first, then)
            else:
                self._digraph.add_edge(first, then, mount=True)
        elif edge is Edge.NEED:
            self._digraph.edges[first, then].clear()

    def before(self, node: Node) -> Iterator[tuple[Node, Edge]]:
        """The nodes that ``node`` comes directly after, in the order in which the edges entered."""
        digraph = self._digraph  # its views take twice as long
        return ((first, _edge(digraph.get_edge_data(first, node))) for first in digraph.predecessors(node))

    def after(self, node: Node) -> Iterator[tuple[Node, Edge]]:
        """The nodes that come directly after ``node``, in the order in which the edges entered."""
        digraph = self._digraph
        return ((then, _edge(digraph.get_edge_data(node, then))) for then in digraph.successors(node))

    def edges(self) -> Iterator[tuple[Node, Node, Edge]]:
        """Every edge as (first, then, edge)."""
        return ((first, then, _edge(data)) for first, then, data in self._digraph.edges(data=True))

    def edge_count(self) -> int:
        """How many edges there are: for tests and benchmarks, whose plans may have millions."""
        return self._digraph.number_of_edges()

    def check(self) -> None:
        """Raise ``InternalError`` that spells out a cycle, if there is one."""
        if self._loose is not None:
            return
        import networkx

        if not networkx.is_directed_acyclic_graph(self._digraph):
            cycle = networkx.find_cycle(self._digraph)
            raise InternalError("the graph has a cycle: " + " -> ".join(str(edge[0]) for edge in cycle))

    def order(self) -> list[Node]:
        """A topological order; among equals, the node that entered first comes first."""
        rank = {node: number for number, node in enumerate(self._digraph)}
        waiting = dict(self._digraph.in_degree())
        ready = [(rank[node], node) for node, count in waiting.items() if not count]
        heapq.heapify(ready)
        order: list[Node] = []
        while ready:
            _, node = heapq.heappop(ready)
            order.append(node)
            for then in self._digraph.succ[node]:
                waiting[then] -= 1
                if not waiting[then]:
                    heapq.heappush(ready, (rank[then], then))
        if len(order) != len(rank):
            self.check()
        return order

    def dependants(self, nodes: Iterable[Node]) -> set[Node]:
        """All that directly or indirectly needs one of ``nodes``; what is only ordered after them is not in it."""
        return self._reach(nodes, self.after)

    def needs(self, nodes: Iterable[Node]) -> set[Node]:
        """All that ``nodes`` directly or indirectly need."""
        return self._reach(nodes, self.before)

    def _reach(self, nodes: Iterable[Node], step: Callable[[Node], Iterator[tuple[Node, Edge]]]) -> set[Node]:
        found: set[Node] = set()
        stack = list(nodes)
        while stack:
            for other, edge in step(stack.pop()):
                if edge is Edge.NEED and other not in found:
                    found.add(other)
                    stack.append(other)
        return found


def _edge(data: Mapping[str, object]) -> Edge:
    return Edge.MOUNT if data else Edge.NEED
