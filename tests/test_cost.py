"""What specs cost alone and together, over plans made by hand."""

from __future__ import annotations

from hypothesis import given

from mmgraph.cost import Costs
from mmgraph.graph import Kind, Node
from mmgraph.plan import Plan
from tests.support.making import Bench, digest, index, manifest
from tests.test_properties import LAWS, Setting, planned, plannings

SIZE = 10


def blob(plan: Plan, name: str) -> Node:
    """The first node of the named blob."""
    return next(node for node in plan.steps if node.kind is Kind.BLOB and node.name == digest(name))


def test_what_one_spec_needs_alone_is_its_own() -> None:
    """Two tags with a layer in common: each pays for its config and its own layer, neither for the common one."""
    one, two = manifest("config1", "base", "own1"), manifest("config2", "base", "own2")
    bench = Bench(one, two)
    bench.want("a:1", "a:1", one)
    bench.want("a:2", "a:2", two)
    costs = Costs(bench.plan())
    assert ((3 * SIZE, 3 * SIZE), (2 * SIZE, 2 * SIZE)) == (costs.moved, costs.alone)


def test_what_is_mounted_elsewhere_is_not_alone() -> None:
    """A blob that a second repository mounts would be uploaded there if the first spec were dropped."""
    one = manifest("config", "layer")
    bench = Bench(one)
    bench.want("a:1", "a:1", one)
    bench.want("a:1", "b:1", one)
    costs = Costs(bench.plan())
    assert ((2 * SIZE, 2 * SIZE), (0, 0)) == (costs.moved, costs.alone)


def test_other_registries_pay_for_themselves() -> None:
    """The same image at two registries moves twice, and each is alone with its own copy."""
    one = manifest("config", "layer")
    bench = Bench(one)
    bench.want("a:1", "a:1", one)
    bench.want("a:1", "other.example/a:1", one)
    costs = Costs(bench.plan())
    assert ((2 * SIZE, 2 * SIZE), (2 * SIZE, 2 * SIZE)) == (costs.moved, costs.alone)


def test_a_blob_costs_itself_and_what_falls_with_it() -> None:
    """Without a config nothing of its spec can be, so that all that it alone needs is saved."""
    one, two = manifest("config1", "base", "own1"), manifest("config2", "base")
    bench = Bench(one, two)
    bench.want("a:1", "a:1", one)
    bench.want("a:2", "a:2", two)
    plan = bench.plan()
    costs = Costs(plan)
    found = [costs.of(blob(plan, name)) for name in ("config1", "base", "config2")]
    assert [2 * SIZE, 4 * SIZE, SIZE] == found


def test_a_platform_costs_its_whole_index() -> None:
    """A manifest cannot be dropped without the index that lists it, nor without the tag of that."""
    one, two = manifest("config1", "own1"), manifest("config2", "own2")
    whole = index({"linux/amd64": one, "linux/arm64": two})
    bench = Bench(one, two, whole)
    bench.want("a:1", "a:1", whole)
    plan = bench.plan()
    node = next(node for node in plan.steps if node.name == one.digest)
    assert 4 * SIZE == Costs(plan).of(node)


def test_what_is_there_costs_nothing() -> None:
    """A blob that its repository holds already moves for nobody."""
    one = manifest("config", "layer")
    bench = Bench(one)
    bench.want("a:1", "a:1", one)
    bench.evidence.hold(bench.images[0].spec.destination.repository, digest("layer"), "found by HEAD")
    costs = Costs(bench.plan())
    assert ((SIZE,), (SIZE,)) == (costs.moved, costs.alone)


@LAWS
@given(plannings())
def test_what_is_alone_is_no_more_than_what_moves(given: Setting) -> None:
    """Bytes alone of all tags together never exceed what the plan sends, nor those of one tag what moves for it."""
    plan = planned(given)
    costs = Costs(plan)
    assert 0 <= sum(costs.alone) <= plan.bill.uploaded
    assert [] == [pair for pair in zip(costs.alone, costs.moved, strict=True) if not 0 <= pair[0] <= pair[1]]
