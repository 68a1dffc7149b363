"""A tag that names what it shall and lacks parts: written again, it is repaired; it goes nowhere."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mmgraph.account import Account, End
from mmgraph.events import Outcome
from mmgraph.plan import Plan, Result
from mmgraph.report.markdown import plan_markdown
from mmgraph.report.summary import summary_line
from mmgraph.report.text import plan_line, plan_text
from tests.golden.example import example


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example, with a repair in the place of its move."""
    made = example()
    goals = [
        replace(goal, old=goal.root, gains=(), losses=()) if goal.result is Result.MOVE else goal
        for goal in made.goals
    ]
    return replace(made, goals=goals)


def repaired(plan: Plan) -> str:
    """The short digest of what is repaired."""
    (root,) = [goal.root for goal in plan.goals if goal.repairs]
    assert root is not None
    return root.short


def test_a_plan_says_repaired_and_draws_no_arrow(plan: Plan) -> None:
    """The tag's line has its digest once, and the legend has no move."""
    text = plan_text(plan)
    words = (f"{repaired(plan)} repaired", "~ repair ", f"-> {repaired(plan)}", "~ move")
    assert (True, True, False, False) == tuple(each in text for each in words), text


def test_a_comment_says_repaired_and_draws_no_arrow(plan: Plan) -> None:
    """As the text does."""
    text = plan_markdown(plan)
    assert (True, False) == (f"{repaired(plan)} repaired" in text, "->" in text), text


def test_repairs_are_counted_apart(plan: Plan) -> None:
    """In the plan's last line and in apply's; without any, neither has the word."""
    ends = [End(goal, Outcome.MOVED) for goal in plan.goals if goal.result is Result.MOVE]
    account = Account(ends, 0, 0, 0, 0, (), {}, 1.0)
    told = [
        " 0 to move, 1 to repair, " in plan_line(plan),
        ", moved 0, repaired 1, unchanged " in summary_line(account),
        "repair" in plan_line(example()),
    ]
    assert [True, True, False] == told
