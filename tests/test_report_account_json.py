"""What a run came to, for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mmgraph.account import Account, Deviation, End, unstarted
from mmgraph.bill import Bill
from mmgraph.effort import Effort, Mounts
from mmgraph.events import Outcome
from mmgraph.graph import Kind, Node
from mmgraph.names import Registry, Repository
from mmgraph.plan import Plan
from mmgraph.quirks import Learned, Quirk
from mmgraph.report.account_json import account_json, schema
from mmgraph.report.graph_json import id_of
from mmgraph.rules import Violation
from mmgraph.store import Operation, Traffic
from tests.golden import expected as golden
from tests.golden.example import HOSTILE, MIB, digest_of, example

MIRROR = Registry("mirror.example.com")
ENDS = (
    (Outcome.UNCHANGED, "", Effort()),
    (
        Outcome.COPIED,
        "",
        Effort(
            64 * MIB,
            64 * MIB,
            0,
            2,
            {Operation.GET_BLOB: 4, Operation.POST_UPLOAD: 5, Operation.PUT_MANIFEST: 1},
            2.5,
        ),
    ),
    (Outcome.MOVED, "", Effort(requests={Operation.PUT_MANIFEST: 1}, seconds=0.0314159)),
    (Outcome.BLOCKED, f"blob {MIRROR}/library/app@sha256:1: {HOSTILE}", Effort(0, 0, 5 * MIB)),
    (Outcome.FAILED, HOSTILE, Effort(1)),
    (Outcome.STOPPED, "the run was stopped before it", Effort()),
    (Outcome.FAILED, HOSTILE, Effort()),
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


def account(plan: Plan) -> Account:
    """Account for the example: every outcome, a surprise, a pause, a quirk."""
    ends = [
        End(goal, outcome, cause, effort)
        for goal, (outcome, cause, effort) in zip(plan.goals, ENDS, strict=True)
    ]
    node = Node(Kind.BLOB, Repository(MIRROR, "team/tool"), digest_of("certificates"))
    return Account(
        ends,
        64 * MIB + 1,
        64 * MIB,
        5 * MIB,
        2,
        [Deviation(node, HOSTILE)],
        {MIRROR: {Operation.PUT_BLOB: 3, Operation.PING: 1}, Registry("quay.io"): {Operation.GET_BLOB: 4}},
        83.00049,
        {MIRROR: Traffic(12, 3, 45.0, 8, 4)},
        [Learned(MIRROR, Quirk.LEAST_CHUNK, 5 << 20)],
        {MIRROR: Mounts(3, 2)},
    )


def written(plan: Plan, **options: Any) -> dict[str, Any]:
    """Return the example's report, read back."""
    made: dict[str, Any] = json.loads(account_json(account(plan), plan.bill, tool="mmgraph 0", **options))
    return made


def test_the_report_is_as_it_shall_be(plan: Plan) -> None:
    """The bytes are pinned; UPDATE_GOLDEN=1 rewrites the file."""
    text = account_json(
        account(plan), plan.bill, tool="mmgraph 0", notes=["docker.io: quota: 5 left"]
    ).decode()
    assert golden("report.json", text) == text


def test_the_report_is_what_its_schema_says(plan: Plan) -> None:
    """By a validator that is not ours, with broken rules in it too."""
    destination = plan.goals[0].spec.destination
    violations = [Violation("rule 1", "may-move = false", destination, f"tag {destination}", HOSTILE)]
    Draft202012Validator.check_schema(schema())
    Draft202012Validator(schema()).validate(written(plan, violations=violations))


def test_a_report_without_a_plan_is_what_its_schema_says(plan: Plan) -> None:
    """Nothing was predicted, and nothing was done."""
    ends = unstarted(plan.goals, "refused")
    nothing = Account(ends, 0, 0, 0, 0, (), {}, 0.0)
    document = json.loads(account_json(nothing, None, tool="mmgraph 0"))
    Draft202012Validator(schema()).validate(document)
    assert {"predicted": None, "observed": 0} == document["bytes"]["uploaded"]


def test_a_report_is_ascii_with_no_controls(plan: Plan) -> None:
    """What a registry wrote is escaped, and comes out of a JSON reader as it was."""
    text = account_json(account(plan), plan.bill, tool="mmgraph 0").decode()
    assert (True, []) == (text.isascii(), [c for c in text if not c.isprintable() and c != "\n"])
    assert HOSTILE == json.loads(text)["specs"][-1]["cause"]


def test_predicted_stands_beside_observed(plan: Plan) -> None:
    """Also for requests that only one of both knows of."""
    places = written(plan)["registries"]
    bill = Bill(requests=plan.bill.requests).requests[MIRROR]
    asked = places[MIRROR]["requests"]
    assert {"predicted": bill[Operation.PUT_BLOB], "observed": 3} == asked["PUT blob"]
    assert ({"predicted": 0, "observed": 1}, 0) == (asked["GET ping"], asked["PUT manifest"]["observed"])


def test_a_registry_has_its_troubles_and_mounts(plan: Plan) -> None:
    """Retries, pauses, windows, mounts and quirks; zeros where there was nothing."""
    place = written(plan)["registries"][MIRROR]
    del place["requests"]
    assert {
        "retries": 12,
        "pauses": 3,
        "paused_seconds": 45.0,
        "read_window": 8,
        "write_window": 4,
        "mounts": {"asked": 3, "granted": 2},
        "learned": ["takes pieces of a blob of at least so many bytes (5242880)"],
    } == place


def test_a_surprise_has_its_node(plan: Plan) -> None:
    """By the id that it has in the graph."""
    [deviation] = account(plan).surprises
    assert [{"node": id_of(deviation.node), "text": HOSTILE}] == written(plan)["surprises"]


def test_what_was_never_begun_has_its_ends(plan: Plan) -> None:
    """Who is at fault has failed, what is unchanged or could not be planned stays so, the rest was stopped."""
    guilty = plan.goals[2].spec.destination
    ends = unstarted(plan.goals, "stale", {guilty: "moved"})
    stopped = (Outcome.STOPPED, "stale")
    assert [
        (Outcome.UNCHANGED, ""),
        stopped,
        (Outcome.FAILED, "moved"),
        stopped,
        stopped,
        stopped,
        (Outcome.FAILED, HOSTILE),
    ] == [(end.outcome, end.cause) for end in ends]
