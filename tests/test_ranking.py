"""The tags and blobs that cost most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mmgraph.cost import Costs
from mmgraph.plan import Action
from mmgraph.ranking import rank
from tests.support.making import Bench, digest, manifest
from tests.test_properties import LAWS, Setting, planned, plannings


def test_tags_are_ranked_by_what_they_alone_cost() -> None:
    """Then by what moves for them; those for which nothing moves are left out."""
    one, two, three = manifest("c1", "base", "a", "b"), manifest("c2", "base", "c"), manifest("c3", "x")
    bench = Bench(one, two, three)
    bench.want("a:1", "a:1", two)
    bench.want("a:2", "a:2", one)
    bench.want("a:3", "a:3", three, now=three)
    for part in (three.digest, digest("c3"), digest("x")):
        bench.evidence.hold(bench.images[0].spec.destination.repository, part, "found by HEAD")
    found = rank(bench.plan(), 10)
    assert [("2", 30, 40), ("1", 20, 30)] == [
        (tag.goal.spec.destination.tag, tag.alone, tag.moved) for tag in found.tags
    ]


def test_blobs_are_ranked_by_what_is_sent_of_them() -> None:
    """To all registries together, with the specs that need them, those that mount it too."""
    one, two = manifest("c1", "base"), manifest("c2", "base")
    bench = Bench(one, two)
    bench.want("a:1", "a:1", one)
    bench.want("a:2", "b:2", two)
    bench.want("a:1", "other.example/a:1", one)
    base = next(blob for blob in rank(bench.plan(), 10).blobs if blob.digest == digest("base"))
    assert (
        20,
        ["dst.example/a:1", "dst.example/b:2", "other.example/a:1"],
        ["dst.example", "other.example"],
    ) == (
        base.moved,
        [str(goal.spec.destination) for goal in base.needed_by],
        list(base.registries),
    )


def test_equal_blobs_are_in_the_order_of_their_digests() -> None:
    """So that the same plan has the same ranking in every run."""
    image = manifest("c1", "a", "b", "c")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    digests = [blob.digest for blob in rank(bench.plan(), 10).blobs]
    assert sorted(digests) == digests


def test_the_rest_is_counted() -> None:
    """How many more tags and blobs something moves for."""
    images = [manifest(f"c{number}", f"l{number}") for number in range(5)]
    bench = Bench(*images)
    for number, image in enumerate(images):
        bench.want(f"a:{number}", f"a:{number}", image)
    found = rank(bench.plan(), 2)
    assert (2, 2, 3, 8) == (len(found.tags), len(found.blobs), found.other_tags, found.other_blobs)


@LAWS
@given(plannings(), st.integers(1, 5))
def test_a_ranking_is_the_head_of_the_whole(given: Setting, count: int) -> None:
    """Sorted, and the blobs of all of it are the bytes that are uploaded."""
    plan = planned(given)
    some, whole = rank(plan, count), rank(plan, 10_000)

    assert (whole.tags[:count], whole.blobs[:count]) == (some.tags, some.blobs)
    assert (len(whole.tags), len(whole.blobs)) == (
        len(some.tags) + some.other_tags,
        len(some.blobs) + some.other_blobs,
    )
    assert sorted(whole.tags, key=lambda tag: (-tag.alone, -tag.moved)) == list(whole.tags)
    uploaded = sum(step.size for step in plan.steps.values() if step.action is Action.UPLOAD)
    assert [uploaded, uploaded] == [plan.bill.uploaded, sum(blob.moved for blob in whole.blobs)]
    assert sum(Costs(plan).alone) == sum(tag.alone for tag in whole.tags)
