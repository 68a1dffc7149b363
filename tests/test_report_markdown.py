"""The plan as a comment on a pull request."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis.strategies import characters, sampled_from, text
from msgspec.structs import replace

from mmgraph.closure import Unread
from mmgraph.evidence import Evidence
from mmgraph.names import Registry
from mmgraph.plan import Plan, Planner
from mmgraph.report.markdown import LIMIT, code, plan_markdown
from tests.golden import expected
from tests.golden.example import HOSTILE, example, spec
from tests.support.making import Bench, manifest

SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


def many(count: int) -> Plan:
    """A plan of so many tags, each an image of its own, all equally large."""
    images = [manifest(f"config{number}", f"layer{number}") for number in range(count)]
    bench = Bench(*images)
    for number, image in enumerate(images):
        bench.want(f"team/app:{number}", f"team/application-with-a-long-name:{number}", image)
    return bench.plan()


def test_the_comment_reads_as_it_shall(plan: Plan) -> None:
    """The bill, what failed, the changes from the largest on, the requests folded."""
    text = plan_markdown(plan)
    assert expected("plan.md", text) == text


def test_it_tells_whose_certificate_is_not_checked(plan: Plan) -> None:
    """Who approves a change must know what it takes at its word."""
    text = plan_markdown(replace(plan, unchecked=(Registry("quay.io"),)))
    assert "\n> `! The certificate of quay.io is not checked (--insecure).`\n" in text


def test_nothing_to_do_is_said() -> None:
    """A plan without changes has no empty tables."""
    text = plan_markdown(example(unchanged=True))
    assert (True, False) == ("No changes." in text, "| | tag |" in text)


@pytest.mark.parametrize("count", [30, 5000])
def test_a_comment_is_never_too_long(count: int) -> None:
    """GitHub refuses more than 65,536 characters, and then nobody sees any of it."""
    assert len(plan_markdown(many(count))) <= LIMIT


def test_what_does_not_fit_is_counted() -> None:
    """Rows shown and rows left out are all the changes there are."""
    text = plan_markdown(many(5000))
    shown = text.count("| + |")
    [left] = re.findall(r"^(\d+) more rows would not fit here\.$", text, re.MULTILINE)
    assert 5000 == shown + int(left)


def test_folds_are_closed() -> None:
    """Also where the text is cut, every fold that opens ends."""
    text = plan_markdown(many(5000))
    assert text.count("<details>") == text.count("</details>")


def test_what_its_numbers_mean_is_said(plan: Plan) -> None:
    """Above the table, and that they do not add up to what is sent."""
    lines = plan_markdown(plan).splitlines()
    above = lines[lines.index("| | tag | digest | moves | alone |") - 2]
    assert (True, True) == (
        above.startswith("moves: bytes"),
        "can add up to more than is sent. alone: " in above,
    )


def test_what_moves_most_comes_first_also_where_none_of_it_is_alone() -> None:
    """Two tags of a large image share all its bytes, and are larger changes than a small one of its own."""
    small, large = manifest("c1", "l1"), manifest("c2", "l2", size=1000)
    bench = Bench(small, large)
    for tag, root in (("small", small), ("large", large), ("latest", large)):
        bench.want(f"a:{tag}", f"a:{tag}", root)
    rows = [line for line in plan_markdown(bench.plan()).splitlines() if line.startswith("| + |")]
    assert ["a:large", "a:latest", "a:small"] == [re.findall(r"dst\.example/(\S+?)`", row)[0] for row in rows]


def test_large_changes_come_first() -> None:
    """The change that moves most bytes is the first row, whatever its place in the set."""
    small, large = manifest("c1", "l1"), manifest("c2", "l2", size=1000)
    bench = Bench(small, large)
    bench.want("a:small", "a:small", small)
    bench.want("a:large", "a:large", large)
    rows = [line for line in plan_markdown(bench.plan()).splitlines() if line.startswith("| + |")]
    assert ["a:large", "a:small"] == [re.findall(r"dst\.example/(\S+?)`", row)[0] for row in rows]


def test_hostile_text_stays_in_its_code_span(plan: Plan) -> None:
    """No foreign word is HTML, a link, a mention or a new cell outside of a code span."""
    text = plan_markdown(plan)
    outside = SPAN.sub("", text)
    assert HOSTILE not in text
    assert [] == re.findall(r"<(?!/?details>|/?summary>|br>)|@|https?:|!\[", outside)


@given(text(characters() | sampled_from("`|<>\\@\n&")))
@settings(max_examples=200)
def test_no_text_leaves_its_code_span(cause: str) -> None:
    """Whatever a registry says, the comment has the rows that it has of others, and nothing of it outside of spans."""
    outsides = []
    for each in ("denied", f"denied {cause}"):
        planner = Planner(Evidence(), {})
        planner.fail(Unread(spec("app:2", "mirror.example.com/app:2"), each))
        outsides.append(SPAN.sub("", plan_markdown(planner.finish())))
    assert outsides[0] == outsides[1]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("``", "``` `` ```"),
        ("a|b", "`a\\|b`"),
        ("<img src=x>", "`<img src=x>`"),
        ("@team #1", "`@team #1`"),
        ("line\nbreak", "`line\\nbreak`"),
        ("\\", "`\\`"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_code_spans(text: str, span: str) -> None:
    """A span is closed by nothing inside it, and by no cell's end."""
    assert span == code(text)
