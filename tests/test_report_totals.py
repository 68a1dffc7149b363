"""The running sums of an execution."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mmgraph.events import Draining, Ended, Finished, Landed, Landing, Moved, Outcome, Read, Started
from mmgraph.graph import Kind, Node
from mmgraph.plan import Action, Plan
from mmgraph.report.totals import Totals
from tests.golden.example import MIB, digest_of, example


@pytest.fixture
def plan() -> Plan:
    """Plan the example."""
    return example()


@pytest.fixture
def totals(plan: Plan) -> Totals:
    """Begin with the plan at second 0."""
    totals = Totals()
    totals.begin(plan, 0.0)
    return totals


def first(plan: Plan, action: Action) -> tuple[Node, int]:
    """Return the first large blob with that action, and its size."""
    return next(
        (node, step.size)
        for node, step in plan.steps.items()
        if node.kind is Kind.BLOB and step.action is action and step.size > MIB
    )


def test_reading_is_told_before_there_is_a_plan() -> None:
    """Until the plan is known, the line says how far reading has come."""
    totals = Totals()
    totals.add(Read(120, 500), 1.0)
    assert "reading 120 of 500 specs" == totals.line(1.0)


def test_the_line_has_bytes_rate_and_time(plan: Plan, totals: Totals) -> None:
    """Bytes done and in all, the rate of late, and the time that the rest takes at that rate."""
    node, size = first(plan, Action.UPLOAD)
    totals.add(Started(digest_of("x"), size, (node.repository,)), 0.0)
    for second in range(1, 3):
        totals.add(Moved(digest_of("x"), MIB, MIB), float(second))
    assert "0 of 6 tags, 2.0 MiB of 101.3 MiB (1 %), 1.0 MiB/s, 1 min 39 s left" == totals.line(2.0)


def test_a_transfer_that_failed_does_not_count_as_done(plan: Plan, totals: Totals) -> None:
    """Bytes that have to be sent again are work, and no progress."""
    node, size = first(plan, Action.UPLOAD)
    totals.add(Started(digest_of("x"), size, (node.repository,)), 0.0)
    totals.add(Moved(digest_of("x"), MIB, MIB), 1.0)
    totals.add(Ended(digest_of("x")), 2.0)
    assert (0, MIB) == (totals.done, totals.moved)


def test_an_upload_that_was_not_needed_makes_the_total_smaller(plan: Plan, totals: Totals) -> None:
    """A blob that was found in the end need not be sent."""
    node, size = first(plan, Action.UPLOAD)
    totals.add(Landed(node.repository, digest_of(""), 1, Landing.PUT), 1.0)
    totals.add(Landed(node.repository, type(digest_of(""))(node.name), size, Landing.FOUND), 1.0)
    assert plan.bill.uploaded - size == totals.total


def test_a_refused_mount_makes_the_total_larger(plan: Plan, totals: Totals) -> None:
    """A blob that was to be mounted and had to be sent counts on both sides."""
    node, size = first(plan, Action.MOUNT)
    totals.add(Landed(node.repository, type(digest_of(""))(node.name), size, Landing.UPLOADED), 1.0)
    assert (size, plan.bill.uploaded + size) == (totals.done, totals.total)


def test_two_transfers_of_one_digest_are_two(plan: Plan, totals: Totals) -> None:
    """Where one digest is on its way twice, one end ends one of them."""
    node, size = first(plan, Action.UPLOAD)
    for _ in range(2):
        totals.add(Started(digest_of("x"), size, (node.repository,)), 0.0)
    totals.add(Ended(digest_of("x")), 1.0)
    assert 1 == totals.running


def test_failures_and_draining_are_in_the_line(plan: Plan, totals: Totals) -> None:
    """Who looks only at the last line sees that something is wrong."""
    totals.add(Finished(plan.goals[1].spec.destination, None, Outcome.FAILED, "x"), 1.0)
    totals.add(Finished(plan.goals[0].spec.destination, None, Outcome.UNCHANGED), 1.0)
    totals.add(Draining(0, 25.0), 1.0)
    line = "1 of 6 tags (1 failed), 0 B of 101.3 MiB (0 %), 0 B/s, ? left, stopping: 0 transfers to end"
    assert line == totals.line(1.0)


def test_the_rate_forgets_what_was_long_ago(plan: Plan, totals: Totals) -> None:
    """A rate is that of the last seconds, so a stall shows."""
    totals.add(Moved(digest_of("x"), 0, 100 * MIB), 1.0)
    for second in range(1, 60):
        totals.rate(float(second))
    assert 0 == totals.rate(60.0)


def test_what_is_left_of_a_saved_plan_is_the_total(plan: Plan) -> None:
    """The bill stays that of the whole plan; what a run before has done already is not to be sent."""
    node, size = first(plan, Action.UPLOAD)
    left = {**plan.steps, node: replace(plan.steps[node], action=Action.PRESENT)}
    totals = Totals()
    totals.begin(replace(plan, steps=left), 0.0)
    assert plan.bill.uploaded - size == totals.total
