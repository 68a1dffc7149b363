"""What happened, as people read it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mmgraph.account import Account, Deviation, End
from mmgraph.events import Outcome
from mmgraph.graph import Kind, Node
from mmgraph.names import Registry, Repository
from mmgraph.plan import Plan
from mmgraph.quirks import Learned, Quirk
from mmgraph.report.summary import summary_line, summary_text
from mmgraph.store import Traffic
from tests.golden import expected as golden
from tests.golden.example import HOSTILE, MIB, example

CAUSE = "blob mirror.example.com/library/app@sha256:1: 500 Internal Server Error"


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


def account(
    plan: Plan, outcomes: list[tuple[Outcome, str]], surprises: tuple[Deviation, ...] = ()
) -> Account:
    """Account for the plan with an outcome and a cause a goal."""
    ends = [End(goal, *outcome) for goal, outcome in zip(plan.goals, outcomes, strict=True)]
    bill = plan.bill
    return Account(ends, bill.downloaded, bill.uploaded + MIB, bill.mounted - MIB, 0, surprises, {}, 83.0)


def deviation(digest: str, text: str) -> Deviation:
    """Let a registry do otherwise about a blob."""
    return Deviation(Node(Kind.BLOB, Repository.parse("mirror.example.com/a"), digest), text)


def test_the_summary_reads_as_it_shall(plan: Plan) -> None:
    """Every spec that is not done stands under its cause, and the line that counts is the last one."""
    outcomes = [
        (Outcome.UNCHANGED, ""),
        (Outcome.COPIED, ""),
        (Outcome.MOVED, ""),
        (Outcome.BLOCKED, CAUSE),
        (Outcome.BLOCKED, CAUSE),
        (Outcome.STOPPED, "the run was stopped before it"),
        (Outcome.FAILED, HOSTILE),
    ]
    refused = "the mount from mirror.example.com/b was not granted: uploading"
    surprises = (deviation("sha256:1", refused), deviation("sha256:2", refused))
    text = summary_text(account(plan, outcomes, surprises), plan)
    assert golden("summary.txt", text) == text
    assert [] == [line for line in text.splitlines() if not line.isprintable()]


def test_what_was_learned_of_registries_is_told(plan: Plan) -> None:
    """Each quirk has a line, in the order in which they showed themselves."""
    ends = [End(goal, Outcome.COPIED) for goal in plan.goals if not goal.missing]
    bill, registry = plan.bill, Registry.parse("mirror.example.com")
    learned = (Learned(registry, Quirk.BLIND), Learned(registry, Quirk.LEAST_CHUNK, 5 << 20))
    done = Account(ends, bill.downloaded, bill.uploaded, bill.mounted, 0, (), {}, 1.0, quirks=learned)
    assert [
        "Learned of registries:",
        "  mirror.example.com does not show by mounting what it has: asked by HEAD before each upload",
        "  mirror.example.com takes pieces of a blob of at least so many bytes (5242880)",
        summary_line(done),
    ] == summary_text(done, plan).splitlines()


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        (Traffic(12, 3, 45.0), ["quay.io: 12 requests sent again, paused 3 times for 45 s"]),
        (Traffic(1, 0, 0.0), ["quay.io: 1 request sent again"]),
        (Traffic(0, 1, 0.25), ["quay.io: paused once for 0.2 s"]),
        (Traffic(0, 0, 0.0, 16, 16), []),
    ],
)
def test_where_it_did_not_go_smoothly(plan: Plan, traffic: Traffic, expected: list[str]) -> None:
    """A registry that had to be asked again or left alone has a line, one where all went well has none."""
    ends = [End(goal, Outcome.COPIED) for goal in plan.goals if not goal.missing]
    bill, registry = plan.bill, Registry.parse("quay.io")
    done = Account(ends, bill.downloaded, bill.uploaded, bill.mounted, 0, (), {}, 1.0, {registry: traffic})
    assert [*expected, summary_line(done)] == summary_text(done, plan).splitlines()


def test_notes_stand_above_the_last_line(plan: Plan) -> None:
    """What others have to say, such as of quotas, comes before the sums, and cannot break a line."""
    ends = [End(goal, Outcome.COPIED) for goal in plan.goals if not goal.missing]
    bill = plan.bill
    done = Account(ends, bill.downloaded, bill.uploaded, bill.mounted, 0, (), {}, 1.0)
    text = summary_text(done, plan, notes=["docker.io: quota: 5\n left"])
    assert ["docker.io: quota: 5\\n left", summary_line(done)] == text.splitlines()


def test_what_came_as_planned_is_one_line(plan: Plan) -> None:
    """Without failures, surprises and differences there is nothing to say but the sums."""
    ends = [End(goal, Outcome.COPIED) for goal in plan.goals if not goal.missing]
    bill = plan.bill
    done = Account(ends, bill.downloaded, bill.uploaded, bill.mounted, 0, (), {}, 1.0)
    assert f"{summary_line(done)}\n" == summary_text(done, plan)


def test_the_last_line_counts_every_outcome(plan: Plan) -> None:
    """The form of the last line is a promise to those who cut it out of a log."""
    line = (
        "Copied 6, moved 0, unchanged 0, failed 0, blocked 0, stopped 1."
        " 66.2 MiB read, 102.3 MiB sent, 62.0 MiB mounted in 1 min 23 s."
    )
    assert line == summary_line(account(plan, [(Outcome.COPIED, "")] * 6 + [(Outcome.STOPPED, "")]))


def test_rare_kinds_of_surprises_are_counted(plan: Plan) -> None:
    """A registry that behaves in many odd ways fills no screen."""
    surprises = tuple(deviation("sha256:1", f"oddity {number}") for number in range(8))
    text = summary_text(account(plan, [(Outcome.COPIED, "")] * 7, surprises), plan)
    assert "  and 3 more, of 3 other kinds" in text.splitlines()


def test_what_was_stopped_is_counted_with_examples(plan: Plan) -> None:
    """After an interrupt there may be thousands, and the next run goes on with all of them."""
    ends = [End(plan.goals[1], Outcome.STOPPED, "the run was stopped before it")] * 50
    lines = summary_text(Account(ends, 0, 0, 0, 0, (), {}, 1.0), plan).splitlines()
    head = "50 specs not done, as the run was stopped; run the same command again to go on:"
    assert (head, 3, "  ! and 47 more") == (lines[0], sum(" -> " in line for line in lines), lines[4])


def test_one_spec_is_spoken_of_as_one(plan: Plan) -> None:
    """Grammar."""
    done = Account([End(plan.goals[1], Outcome.BLOCKED, "x")], 0, 0, 0, 0, (), {}, 1.0)
    assert "1 spec blocked by the failure of something it shares:" == summary_text(done, plan).splitlines()[0]


def test_on_a_terminal_the_last_line_is_folded_too(plan: Plan) -> None:
    """At the terminal's width, with the same words."""
    done = account(plan, [(Outcome.COPIED, "")] * 7)
    folded = summary_text(done, plan, width=60, fold=True).splitlines()[-3:]
    assert (True, summary_line(done)) == (max(map(len, folded)) <= 60, " ".join(" ".join(folded).split()))


def test_tags_that_lack_the_same_are_listed_together(plan: Plan) -> None:
    """Many tags without one platform are one entry that names them all."""
    lacking = [goal for goal in plan.goals if goal.missing][:1] * 2
    done = Account([End(goal, Outcome.COPIED) for goal in lacking], 0, 0, 0, 0, (), {}, 1.0)
    name = "mirror.example.com/library/app:1.0"
    assert ["! 2 tags lack linux/arm64:", f"    {name}, {name}"] == summary_text(done, plan).splitlines()[:2]


def test_a_summary_tells_whose_certificate_was_not_checked(plan: Plan) -> None:
    """What was copied from there is what somebody on the way may have made."""
    done = Account([], 0, 0, 0, 0, (), {}, 1.0)
    text = summary_text(done, replace(plan, unchecked=(Registry("quay.io"),)))
    assert "! The certificate of quay.io is not checked (--insecure)." == text.splitlines()[0]
