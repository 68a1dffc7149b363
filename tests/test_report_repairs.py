"""A tag that names what it shall and lacks parts: whoever sees what is done about it, or was, reads "repair"."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from mmgraph.account import Account, End
from mmgraph.difference import compare
from mmgraph.errors import SpecError
from mmgraph.events import Finished
from mmgraph.explain import Explainer
from mmgraph.lookup import find
from mmgraph.plan import Plan, Result
from mmgraph.report.account_json import account_json
from mmgraph.report.difference import difference_text
from mmgraph.report.difference_json import difference_json
from mmgraph.report.difference_markdown import difference_markdown
from mmgraph.report.dot import dot
from mmgraph.report.events_json import EventLines
from mmgraph.report.explanation import explanation_text
from mmgraph.report.explanation_json import explanation_json
from mmgraph.report.graph_json import graph_json
from mmgraph.report.lines import Lines
from mmgraph.report.markdown import plan_markdown
from mmgraph.report.page import page
from mmgraph.report.summary import summary_line
from mmgraph.report.text import plan_line, plan_text
from mmgraph.saved import read, write
from tests.golden.example import example
from tests.support.clock import ManualClock
from tests.support.making import Bench, manifest

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = manifest("config", "layer")
NAMES = ("a:1", f"b@{IMAGE.digest}")
"""A tag, and a destination that is named by its digest."""


def planned(*, whole: bool = False) -> Plan:
    """Two destinations that name what they shall, of which nothing else is there; or ``whole``: nothing at all is."""
    bench = Bench(IMAGE)
    for name in NAMES:
        bench.want(f"a@{IMAGE.digest}", name, IMAGE, now=None if whole else IMAGE)
    return bench.plan()


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan two repairs."""
    return planned()


def account(plan: Plan) -> Account:
    """Account for the plan: all was done."""
    return Account([End.written(goal) for goal in plan.goals], 0, 0, 0, 0, (), {}, 1.0)


def lines(plan: Plan) -> str:
    """The events of the plan as lines of JSON."""
    told: list[str] = []
    events = EventLines(told.append, ManualClock(), "mmgraph test")
    events.end(account(plan))
    return "".join(told)


def progress(plan: Plan) -> str:
    """The lines that a log has."""
    stream = io.StringIO()
    with Lines(stream, ManualClock()) as view:
        view.begin(plan)
        for end in account(plan).ends:
            view(Finished(end.goal.spec.destination, end.goal.root, end.outcome))
    return stream.getvalue()


def explained(plan: Plan, form: str) -> str:
    """What is said of the tag."""
    explanations = [Explainer(plan).explain(subject) for subject in find(plan, "a:1")]
    if form == "json":
        return explanation_json("a:1", explanations).decode()
    return explanation_text(explanations)


VIEWS: dict[str, tuple[Callable[[Plan], str], tuple[str, ...]]] = {
    "text": (plan_text, ("* repair\n", f"  * :1  {IMAGE.digest.short} repair", " 0 to move, 2 to repair,")),
    "saved": (lambda plan: write(plan, "").decode(), ('"action":"repair"', '"result":"repair"')),
    "markdown": (plan_markdown, (f"| * | `dst.example/a:1` | `{IMAGE.digest.short} repair` |",)),
    "dot": (dot, ('"repair :1"', " repair</td>")),
    "collapsed": (lambda plan: dot(plan, collapse=True), ('"repair :1\\n',)),
    "graph": (lambda plan: graph_json(plan).decode(), ('"action": "repair"',)),
    "page": (lambda plan: page(plan).decode(), ("2 to repair",)),
    "explain": (lambda plan: explained(plan, "text"), ("action:    repair: the tag is written again",)),
    "explain json": (
        lambda plan: explained(plan, "json"),
        ('"action": "repair"', '"result": "repair"'),
    ),
    "diff": (lambda plan: difference_text(compare(planned(whole=True), plan)), ("create -> repair",)),
    "diff markdown": (
        lambda plan: difference_markdown(compare(planned(whole=True), plan)),
        ("create -> repair",),
    ),
    "diff json": (
        lambda plan: difference_json(compare(planned(whole=True), plan)).decode(),
        ('"result": "repair"',),
    ),
    "events": (lines, ('"outcome": "repaired"', '"moved": 0, "repaired": 2, ')),
    "progress": (progress, ("2 tags to write", "* dst.example/a:1\n")),
    "report": (
        lambda plan: account_json(account(plan), plan.bill, tool="").decode(),
        ('"outcome": "repaired"', '"repaired": 2'),
    ),
    "summary": (lambda plan: summary_line(account(plan)), (" moved 0, repaired 2, ",)),
}
MOVES = ("~ ", "->", '"result": "move"', '"action": "move"', '"outcome": "moved"', "move :1", "1 to move")
"""What a view would say of a move."""


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_calls_a_repair_what_it_is(view: str, plan: Plan) -> None:
    """Its words are there, and none of a move."""
    shown, words = VIEWS[view]
    text = shown(plan)
    moves = [] if view in ("page", "dot", "collapsed") or view.startswith("diff") else MOVES
    lacking = [word for word in words if word not in text]
    assert ([], []) == (lacking, [word for word in moves if word in text]), text


def test_where_nothing_is_repaired_no_sentence_has_the_word() -> None:
    """Last lines keep their form: plan's and apply's."""
    made = example()
    told = summary_line(replace(account(planned(whole=True)), ends=[]))
    assert [False, False] == ["repair" in text for text in (plan_line(made), told)]


def test_who_names_a_digest_is_repaired_too(plan: Plan) -> None:
    """A destination without a tag, which is found, and parts of it are not."""
    assert [Result.REPAIR, Result.REPAIR] == [goal.result for goal in plan.goals]


def test_a_saved_plan_may_not_call_a_repair_a_move(plan: Plan) -> None:
    """Be it of a tag or of a digest: a reviewer goes by that word."""
    saved = json.loads(write(plan, ""))
    causes = []
    for place in (0, 1):
        other = json.loads(json.dumps(saved))
        other["specs"][place]["result"] = "move"
        with pytest.raises(SpecError, match="is not its end") as raised:
            read(json.dumps(other).encode())
        causes.append(f"specs[{place}]" in str(raised.value))
    assert [True, True] == causes
