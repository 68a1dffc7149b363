"""Two plans side by side: what is added, removed, changed and the same; sums, requests, storage."""

from __future__ import annotations

import pytest
from hypothesis import given

from mmgraph.closure import Image, Unread
from mmgraph.difference import BILL, Change, Delta, Difference, Sort, compare
from mmgraph.names import Registry
from mmgraph.oci import Document
from mmgraph.plan import Plan, Planner, Result
from mmgraph.saved import read, write
from mmgraph.specs import CopySpec
from mmgraph.store import Operation
from tests.support.making import Bench, digest, index, manifest, spec
from tests.test_properties import LAWS, Setting, planned, plannings
from tests.test_saved import everything

SIZE = 10
DST = Registry("dst.example")


def plan_of(**tags: Document) -> Plan:
    """Plan images into one repository, by their tags, below which everything is known."""
    bench = Bench(*known(*tags.values()))
    for tag, root in tags.items():
        bench.want("a:1", f"a:{tag}", root)
    return bench.plan()


ARM, AMD = manifest("config-arm", "layer", "arm"), manifest("config-amd", "layer", "amd")
BOTH = index({"linux/amd64": AMD, "linux/arm64": ARM})
ONE = index({"linux/amd64": AMD})


def known(*roots: Document) -> list[Document]:
    """All documents of these tests."""
    return [ARM, AMD, BOTH, ONE, *roots]


def only(difference: Difference) -> Change:
    """The one destination that differs."""
    (change,) = difference.changes
    return change


def test_a_plan_differs_from_itself_in_nothing() -> None:
    """Nor from what is read back of it, but for what cannot be planned, of which nobody knows."""
    plan = everything()
    assert [None, None] == [compare(plan, other).differs for other in (plan, read(write(plan, "test")))]


def test_tags_are_added_removed_and_the_same() -> None:
    """By their destinations."""
    found = compare(plan_of(x=BOTH, y=ARM), plan_of(x=BOTH, z=ARM))
    assert (1, [("dst.example/a:y", Sort.REMOVED), ("dst.example/a:z", Sort.ADDED)]) == (
        found.same,
        [(str(change.destination), change.sort) for change in found.changes],
    )


def test_what_limiting_to_one_platform_would_save() -> None:
    """The tag changes and loses a platform; bytes that only it needed are neither sent nor kept."""
    found = compare(plan_of(x=BOTH), plan_of(x=ONE))
    change, removed = only(found), len(ARM.raw) + len(BOTH.raw) + 2 * SIZE
    assert (Sort.CHANGED, (), ("linux/arm64",)) == (change.sort, change.gains, change.losses)
    assert (Delta(5 * SIZE, 3 * SIZE), Delta(5 * SIZE, 3 * SIZE)) == (
        found.bill["uploaded"],
        found.bill["downloaded"],
    )
    stored = found.storage[DST]
    assert (removed, len(ONE.raw), change.bytes) == (stored.removed, stored.added, stored.change)


def test_requests_are_compared_by_kind() -> None:
    """Two blobs fewer are two of each request fewer, and a manifest is one."""
    requests = compare(plan_of(x=BOTH), plan_of(x=ONE)).requests[DST]
    assert [-2, -2, -1, 0] == [
        requests[kind].change
        for kind in (Operation.POST_UPLOAD, Operation.PUT_BLOB, Operation.PUT_MANIFEST, Operation.PROBE)
    ]


def test_storage_counts_each_blob_once_a_registry() -> None:
    """Whatever number of repositories it is in."""
    image = manifest("config", "layer")

    def into(*names: str) -> Plan:
        bench = Bench(image)
        for name in names:
            bench.want("a:1", name, image)
        return bench.plan()

    found = compare(into("a:1"), into("a:1", "b:1", "other.example/a:1"))
    whole = len(image.raw) + 2 * SIZE
    assert {DST: (whole, 0), "other.example": (whole, whole)} == {
        registry: (each.new, each.change) for registry, each in found.storage.items()
    }


def test_a_digest_beside_a_tag_makes_no_other_destination() -> None:
    """``r:t@d`` promises ``r:t``."""
    image = manifest("config")

    def into(name: str) -> Plan:
        bench = Bench(image)
        bench.want(f"a:1@{image.digest}", name, image)
        return bench.plan()

    assert () == compare(into("a:1"), into(f"a:1@{image.digest}")).changes


def test_a_tag_that_has_been_written_meanwhile_is_unchanged_then() -> None:
    """The same digest with another result is a change."""
    image = manifest("config")
    plans = []
    for now in (None, image):
        bench = Bench(image)
        bench.want("a:1", "a:1", image, now=now)
        if now:
            for part in (image.digest, digest("config")):
                bench.evidence.hold(bench.images[0].spec.destination.repository, part, "found by HEAD")
        plans.append(bench.plan())
    change = only(compare(*plans))
    assert change.old is not None
    assert change.new is not None
    assert (Result.CREATE, Result.UNCHANGED, 0) == (change.old.result, change.new.result, change.bytes)


def test_another_source_is_a_change() -> None:
    """Even where it has the same image today."""
    image = manifest("config")
    plans = []
    for source in ("a:1", "b:1"):
        bench = Bench(image)
        bench.want(source, "a:1", image)
        plans.append(bench.plan())
    change = only(compare(*plans))
    assert change.old is not None
    assert change.new is not None
    assert ["src.example/a:1", "src.example/b:1"] == [str(change.old.source), str(change.new.source)]


@pytest.mark.parametrize("failed_first", [True, False])
def test_what_fails_in_one_plan_differs(failed_first: bool) -> None:
    """It has no digest and keeps nothing."""
    planner = Planner(Bench().evidence, {})
    planner.fail(Unread(spec("a:1", "a:1"), "gone"))
    plans = [planner.finish(), plan_of(**{"1": ARM})]
    change = only(compare(*(plans if failed_first else plans[::-1])))
    ends = [change.old, change.new] if failed_first else [change.new, change.old]
    assert [(Result.FAILED, None), (Result.CREATE, ARM.digest)] == [
        (end.result, end.root) for end in ends if end
    ]


def failing(*specs: CopySpec) -> Plan:
    """Plan specs of which none can be planned."""
    planner = Planner(Bench().evidence, {})
    for each in specs:
        planner.fail(Unread(each, "gone"))
    return planner.finish()


@pytest.mark.parametrize(
    "plans",
    [
        (failing(spec("a:1", "a:1")), failing(spec("a:1", "a:1"))),
        (failing(spec("a:1", "a:1")), plan_of(**{"1": ARM})),
        (plan_of(**{"1": ARM}), failing(spec("a:1", "a:1"))),
    ],
)
def test_what_cannot_be_planned_is_not_the_same(plans: tuple[Plan, Plan]) -> None:
    """Nobody knows whether it differs, nor by how many bytes."""
    found = compare(*plans)
    assert (None, 0, 1, 0) == (found.differs, found.same, found.count(Sort.UNKNOWN), only(found).bytes)


@pytest.mark.parametrize("other", [spec("b:1", "a:1"), spec("a:1", "a:1", "linux/amd64")])
def test_specs_differ_also_where_they_cannot_be_planned(other: CopySpec) -> None:
    """Their source and their platforms are known, and that they failed is counted."""
    found = compare(failing(spec("a:1", "a:1")), failing(other))
    assert (True, Sort.CHANGED, Delta(1, 1)) == (found.differs, only(found).sort, found.failed)


def test_what_is_known_to_differ_differs_beside_what_is_not_known() -> None:
    """One tag that is added suffices."""
    found = compare(failing(spec("a:1", "a:1")), failing(spec("a:1", "a:1"), spec("a:1", "a:2")))
    assert (True, 1, 1) == (found.differs, found.count(Sort.ADDED), found.count(Sort.UNKNOWN))


def test_another_limit_that_comes_to_the_same_image_is_a_change() -> None:
    """As another source is: the sets say different things."""
    plans = []
    for platforms in ((), ("linux/amd64",)):
        planner = Planner(Bench().evidence, {each.digest: each for each in known()})
        planner.add(Image(spec("a:1", "a:1", *platforms), ONE.digest, ONE.digest))
        plans.append(planner.finish())
    assert Sort.CHANGED == only(compare(*plans)).sort


def test_an_unread_closure_is_no_bytes() -> None:
    """A tag whose closure was not read is compared by its digest."""
    bench = Bench(ARM)
    bench.want("a:1", "a:1", ARM, now=ARM)
    planner = Planner(bench.evidence, bench.documents)
    planner.add(Image(bench.images[0].spec, ARM.digest, ARM.digest), closure=False)
    assert 0 == compare(planner.finish(), planner.finish()).stored.new


@LAWS
@given(plannings())
def test_nothing_differs_from_itself(given: Setting) -> None:
    """``diff(a, a)`` is empty, also where it was planned twice."""
    plan = planned(given)

    for other in (plan, planned(given)):
        found = compare(plan, other)
        assert ((), len(plan.goals), False) == (found.changes, found.same, found.differs)


@LAWS
@given(plannings(), plannings())
def test_a_difference_is_the_reverse_of_its_reverse(one: Setting, other: Setting) -> None:
    """What the one adds the other removes, every number grows by what the other's shrinks, and nothing gets lost."""
    old, new = planned(one), planned(other)
    there, back = compare(old, new), compare(new, old)

    reverse = {
        Sort.ADDED: Sort.REMOVED,
        Sort.REMOVED: Sort.ADDED,
        Sort.CHANGED: Sort.CHANGED,
        Sort.UNKNOWN: Sort.UNKNOWN,
    }
    assert [(reverse[change.sort], change.gains, -change.bytes) for change in there.changes] == [
        (change.sort, change.losses, change.bytes) for change in back.changes
    ]
    assert {name: -there.bill[name].change for name in BILL} == {
        name: back.bill[name].change for name in BILL
    }
    for registry, each in there.storage.items():
        assert each.new == each.old + each.added - each.removed
        assert (each.added, each.removed) == (back.storage[registry].removed, back.storage[registry].added)
    in_both = there.same + there.count(Sort.CHANGED) + there.count(Sort.UNKNOWN)
    assert (len(old.goals), len(new.goals)) == (
        in_both + there.count(Sort.REMOVED),
        in_both + there.count(Sort.ADDED),
    )
    assert there.differs == back.differs
