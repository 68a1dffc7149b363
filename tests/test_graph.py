"""The graph: orders, reachability, cycles. Small graphs are drawn in the docstrings; edges run from left to right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import InternalError
from mmgraph.graph import Edge, Graph, Kind, Node
from mmgraph.names import Registry, Repository

REPOSITORY = Repository(Registry("r.example"), "a")


def node(name: str) -> Node:
    """A node with a one-letter name."""
    return Node(Kind.BLOB, REPOSITORY, name)


def graph(*edges: str) -> Graph:
    """A graph from edges written ``ab`` (b needs a) or ``a-b`` (b is only ordered after a)."""
    made = Graph()
    for edge in edges:
        first, then = edge[0], edge[-1]
        for name in (first, then):
            made.add(node(name))
        made.join(node(first), node(then), Edge.MOUNT if "-" in edge else Edge.NEED)
    return made


def names(nodes: object) -> str:
    """The names of nodes as one word."""
    return "".join(n.name for n in nodes)  # type: ignore[attr-defined]


def test_order_puts_what_exists_first_before_what_comes_after() -> None:
    """c needs a and b, d needs c, and b entered before a: ``b a -> c -> d``."""
    assert "bacd" == names(graph("bc", "ac", "cd").order())


def test_order_follows_entry_among_equals() -> None:
    """Two chains that do not touch keep the order in which their nodes entered."""
    assert "xyab" == names(graph("xy", "ab").order())


def test_a_mount_edge_orders_too() -> None:
    """``b - a``: what is mounted comes after where it lands, though it entered first."""
    made = Graph()
    made.add(node("a"))
    made.add(node("b"))
    made.join(node("b"), node("a"), Edge.MOUNT)
    assert "ba" == names(made.order())


def test_dependants_follow_needs_and_not_mounts() -> None:
    """In ``a -> b -> c`` and ``a - d -> e`` a failure of a blocks b and c, while d finds another way."""
    assert {node("b"), node("c")} == graph("ab", "bc", "a-d", "de").dependants([node("a")])


def test_needs_follow_needs_and_not_mounts() -> None:
    """What e needs in ``a - d -> e`` is d alone."""
    assert {node("d")} == graph("a-d", "de").needs([node("e")])


def test_a_need_outranks_a_mount_between_the_same_nodes() -> None:
    """Joining twice keeps the stronger edge, whichever came first."""
    made = graph("ab", "a-b")
    assert [(node("a"), Edge.NEED)] == list(made.before(node("b")))


def test_a_cycle_is_an_internal_error_that_spells_it_out() -> None:
    """``a -> b -> a`` cannot be planned, and the message says which nodes it is."""
    with pytest.raises(InternalError, match=r"cycle: .*r\.example/a@a.*r\.example/a@b|cycle: .*@b.*@a"):
        graph("ab", "ba").check()


def test_order_refuses_a_cycle() -> None:
    """An order of a cyclic graph does not exist, and no part of one is returned."""
    with pytest.raises(InternalError, match="cycle"):
        graph("ab", "bc", "cb").order()


def test_edges_and_counts_are_those_that_were_joined() -> None:
    """Three edges in, three edges out."""
    made = graph("ab", "b-c", "ac")
    assert (3, {("a", "b", Edge.NEED), ("b", "c", Edge.MOUNT), ("a", "c", Edge.NEED)}) == (
        made.edge_count(),
        {(first.name, then.name, edge) for first, then, edge in made.edges()},
    )


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))
def test_any_graph_whose_edges_run_forward_has_a_topological_order(pairs: list[tuple[int, int]]) -> None:
    """Edges from smaller to larger numbers never make a cycle, and the order respects each of them."""
    made = Graph()
    for low, high in pairs:
        if low != high:
            first, then = node(f"{min(low, high):02}"), node(f"{max(low, high):02}")
            made.add(first)
            made.add(then)
            made.join(first, then, Edge.NEED)
    place = {key: number for number, key in enumerate(made.order())}
    assert [] == [(first, then) for first, then, _ in made.edges() if place[first] >= place[then]]


def test_without_edges_there_is_no_need_for_networkx() -> None:
    """A graph of a run with nothing to do imports nothing, and keeps its nodes in their order once there is an edge."""
    script = """
import sys
from mmgraph.graph import Edge, Graph, Kind, Node, prepare
from mmgraph.names import Registry, Repository
place = Repository(Registry("r"), "a")
first, second, third = (Node(Kind.BLOB, place, name) for name in "zyx")
graph = Graph()
for node in (first, second, third, first):
    graph.add(node)
graph.check()
alone = ("".join(node.name for node in graph), len(graph), second in graph, "networkx" in sys.modules)
prepare()
graph.join(third, first, Edge.NEED)
print(alone, "".join(node.name for node in graph), "".join(node.name for node in graph.order()))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "('zyx', 3, True, False) zyx yxz\n" == run.stdout


def test_a_library_that_cannot_be_imported_is_told_of_once(tmp_path: Path) -> None:
    """By the first edge, and not by the thread that was to import it beforehand."""
    (tmp_path / "networkx").mkdir()
    (tmp_path / "networkx" / "__init__.py").write_text("raise ImportError('broken')")
    script = """
from mmgraph.graph import Edge, Graph, Kind, Node, prepare
from mmgraph.names import Registry, Repository
prepare()
nodes = [Node(Kind.BLOB, Repository(Registry("r"), "a"), name) for name in "ab"]
graph = Graph()
for node in nodes:
    graph.add(node)
try:
    graph.join(*nodes, Edge.NEED)
except ImportError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ("broken\n", "") == (run.stdout, run.stderr)
