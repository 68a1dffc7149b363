"""What is said of a node: who needs it, what hangs on it, what it costs; the sentences are the grounds'."""

from __future__ import annotations

from hypothesis import given

from mmgraph.closure import Unread
from mmgraph.cost import Costs
from mmgraph.explain import Explainer, Explanation
from mmgraph.graph import Edge, Kind
from mmgraph.lookup import Subject, find
from mmgraph.plan import Plan, Planner, Result, is_done
from tests.support.making import Bench, digest, index, manifest, spec
from tests.test_properties import LAWS, Setting, planned, plannings

SIZE = 10


def explained(plan: Plan, name: str) -> Explanation:
    """Explain the one thing that ``name`` means."""
    (subject,) = find(plan, name)
    return Explainer(plan).explain(subject)


def names(explanation: Explanation) -> list[str]:
    """The tags of those that need it."""
    return [str(goal.spec.destination.tag) for goal in explanation.needed_by]


def shared() -> Plan:
    """Two tags of one repository and one of another, all with one base; and another registry."""
    one, two = manifest("config1", "base", "own1"), manifest("config2", "base")
    bench = Bench(one, two)
    bench.want("a:1", "a:1", one)
    bench.want("a:2", "a:2", two)
    bench.want("a:2", "b:3", two)
    bench.want("a:2", "other.example/c:4", two)
    return bench.plan()


def test_who_needs_a_shared_blob() -> None:
    """The specs of its repository, and directly the manifests that list it."""
    found = explained(shared(), f"dst.example/a@{digest('base')}")
    assert (["1", "2"], [Kind.MANIFEST] * 2) == (names(found), [node.kind for node in found.listed_by])


def test_a_landing_knows_who_mounts_from_it() -> None:
    """The other repository of its registry, which would find another way if it failed."""
    found = explained(shared(), f"dst.example/a@{digest('base')}")
    place = [f"dst.example/b@{digest('base')}"]
    assert (place, place) == ([str(n) for n in found.mounts], [str(n) for n in found.rerouted])


def test_a_mount_knows_its_landing() -> None:
    """The blob that it waits for; whoever needs only the mount is not blocked by that."""
    plan = shared()
    found = explained(plan, f"dst.example/b@{digest('base')}")
    landing = explained(plan, f"dst.example/a@{digest('base')}")
    assert (landing.node, ["1", "2"]) == (
        found.landing,
        [str(g.spec.destination.tag) for g in landing.blocked],
    )


def test_one_get_feeds_several_registries() -> None:
    """An upload knows those that are read with it."""
    found = explained(shared(), f"dst.example/a@{digest('base')}")
    assert [f"other.example/c@{digest('base')}"] == [str(node) for node in found.read_with]


def test_what_a_tag_needs_is_counted_by_kind_and_action() -> None:
    """With bytes; outer kinds first."""
    found = explained(shared(), "b:3")
    expected = [("manifest", "put", 1), ("blob", "mount", 2)]
    assert expected == [(part.kind, part.action, part.count) for part in found.needs]


def test_what_a_node_costs() -> None:
    """A tag alone, and what moves for it, be it mounted; a blob with all that falls with it."""
    plan = shared()
    found = [explained(plan, name) for name in ("a:1", "b:3", f"dst.example/a@{digest('config1')}")]
    assert [(3 * SIZE, 2 * SIZE), (2 * SIZE, 0), (SIZE, 2 * SIZE)] == [
        (each.moved, each.alone) for each in found
    ]


def test_where_a_mount_waits_for_a_manifest_it_is_rerouted_with_it() -> None:
    """ECR mounts what a committed manifest refers to: when that manifest fails, so does the order to wait for it."""
    one, two = manifest("config1", "base"), manifest("config2", "base")
    bench = Bench(one, two, committed_only=["dst.example"])
    bench.want("a:1", "a:1", one)
    bench.want("a:2", "b:2", two)
    found = explained(bench.plan(), f"a@{digest('config1')}")
    assert [f"dst.example/b@{digest('base')}"] == [str(node) for node in found.rerouted]


def test_what_is_done_blocks_nobody() -> None:
    """Nothing is sent for it, so nothing can fail."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    bench.evidence.hold(bench.images[0].spec.destination.repository, digest("layer"), "found by HEAD")
    found = explained(bench.plan(), digest("layer"))
    assert (["1"], (), ()) == (names(found), found.blocked, found.rerouted)


def test_a_failed_spec_is_its_cause() -> None:
    """It has no node, and needs nothing."""
    planner = Planner(Bench().evidence, {})
    planner.fail(Unread(spec("gone:1", "gone:1"), "no such tag"))
    found = explained(planner.finish(), "gone:1")
    assert found.goal is not None
    assert ("no such tag", None, ()) == (found.goal.cause, found.node, found.needs)


def test_a_platform_is_known_by_its_label() -> None:
    """The manifest of an index says which platform it is."""
    one, two = manifest("config1"), manifest("config2")
    whole = index({"linux/amd64": one, "linux/arm64": two})
    bench = Bench(one, two, whole)
    bench.want("a:1", "a:1", whole)
    found = explained(bench.plan(), two.digest)
    assert found.step is not None
    assert "linux/arm64" == found.step.label


@LAWS
@given(plannings())
def test_explanations_agree_with_the_graph_and_the_costs(given: Setting) -> None:
    """Of every node: who needs it, what falls with it, its cost; mounts and landings point at each other."""
    plan = planned(given)
    explainer, costs = Explainer(plan), Costs(plan)
    found = {node: explainer.explain(Subject(node)) for node in plan.steps}

    for node, each in found.items():
        reach = plan.graph.dependants([node]) | {node}
        needed_by = [goal for goal in plan.goals if goal.node in reach]
        assert needed_by == list(each.needed_by)
        assert (costs.of(node), each.evidence.isprintable()) == (each.alone, True)
        failing = [goal for goal in needed_by if goal.result is not Result.UNCHANGED]
        assert ([] if is_done(plan.steps[node]) else failing) == list(each.blocked)
        assert plan.graph.needs([node]) == set() or sum(part.count for part in each.needs) == len(
            plan.graph.needs([node])
        )
        for mount in each.mounts:
            assert node == found[mount].landing
        for mount in each.rerouted:
            waits = {first for first, edge in plan.graph.before(mount) if edge is Edge.MOUNT}
            assert waits <= reach
            assert mount not in reach


@LAWS
@given(plannings())
def test_a_tag_costs_what_the_costs_say(given: Setting) -> None:
    """What moves for a goal, and what would not without it, is one number wherever it is asked for."""
    plan = planned(given)
    explainer, costs = Explainer(plan), Costs(plan)

    found = [explainer.explain(Subject(goal.node, goal)) for goal in plan.goals]
    tags = [place for place, goal in enumerate(plan.goals) if goal.node and goal.node.kind is Kind.TAG]
    assert [(costs.moved[place], costs.alone[place]) for place in tags] == [
        (found[place].moved, found[place].alone) for place in tags
    ]
