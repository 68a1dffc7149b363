"""Differences as people, pull requests and programs read them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from mmgraph.closure import Image, Unread
from mmgraph.difference import BILL, Difference, compare
from mmgraph.evidence import Evidence
from mmgraph.names import Reference
from mmgraph.plan import Plan, Planner
from mmgraph.report.difference import difference_line, difference_text, grown
from mmgraph.report.difference_json import difference_json, schema
from mmgraph.report.difference_markdown import difference_markdown
from mmgraph.specs import CopySpec
from tests.golden import expected
from tests.golden.example import HOSTILE, MIB, Pool, example, spec
from tests.test_properties import LAWS, Setting, planned, plannings

SGR = re.compile(r"\x1b\[[0-9;]*m")
SAME = "Diff: 0 added, 0 removed, 0 changed, 1 the same. No difference."


def limited() -> Difference:
    """The example without one tag, with another, and with an image less in two more."""
    old = example()
    pool, evidence = Pool(), Evidence()
    planner = Planner(evidence, pool.documents)
    amd = pool.manifest(
        ("config 1.1 linux/amd64", 1900), ("base linux/amd64", 29 * MIB), ("1.1 linux/amd64", 3 * MIB)
    )
    root = pool.index([(amd, "linux/amd64")])
    mirror = "mirror.example.com/library/app"
    planner.add(Image(spec("app:1.1", f"{mirror}:1.1"), root, root))
    planner.add(Image(spec("app:1.2", f"{mirror}:1.2"), root, root))
    planner.add(Image(spec("quay.io/app:1.1", "backup.example.com:5000/app:1.1"), root, root))
    return compare(old, planner.finish())


@pytest.fixture(scope="module")
def difference() -> Difference:
    """Compare once."""
    return limited()


def test_a_difference_reads_as_it_shall(difference: Difference) -> None:
    """Tags, sums, storage, requests, counts; UPDATE_GOLDEN=1 rewrites the file."""
    text = difference_text(difference, width=80)
    assert expected("difference.txt", text) == text


def test_notes_are_text_whatever_they_hold(difference: Difference) -> None:
    """Names in them are foreign text: neither steers a terminal, nor is it Markdown."""
    shown = difference_text(difference, notes=[HOSTILE]).splitlines()
    comment = difference_markdown(difference, notes=[HOSTILE]).splitlines()
    assert ([], 1) == (
        [line for line in (*shown, *comment) if not line.isprintable()],
        sum(line.startswith("> `") for line in comment),
    )


def test_a_comment_is_as_it_shall_be(difference: Difference) -> None:
    """The largest changes first; UPDATE_GOLDEN=1 rewrites the file."""
    text = difference_markdown(difference)
    assert expected("difference.md", text) == text


def test_a_document_is_as_it_shall_be(difference: Difference) -> None:
    """The bytes are pinned; UPDATE_GOLDEN=1 rewrites the file."""
    text = difference_json(difference).decode()
    assert expected("difference.json", text) == text


def test_where_nothing_differs_only_the_counts_are_told() -> None:
    """In text and in a comment."""
    found = compare(example(unchanged=True), example(unchanged=True))
    assert (f"{SAME}\n", f"### mmgraph diff\n\n{SAME}\n") == (
        difference_text(found),
        difference_markdown(found),
    )


def test_lines_fit_into_the_terminal(difference: Difference) -> None:
    """All but the last, whose form does not change."""
    lines = difference_text(difference, width=80).splitlines()[:-1]
    assert [] == [line for line in lines if len(line) > 80 and "sha256:" not in line]


def test_colours_change_nothing_but_the_colour(difference: Difference) -> None:
    """Without the colour codes, the coloured text is the plain one."""
    assert difference_text(difference) == SGR.sub("", difference_text(difference, colour=True))


def test_the_last_line_answers_what_would_be_saved(difference: Difference) -> None:
    """Its form is a promise to those who cut it out of a log."""
    line = (
        "Diff: 1 added, 5 removed, 2 changed, 0 the same. -34.2 MiB to read, -37.3 MiB to send; needed at the"
        " destinations: -106.5 MiB; nothing is deleted there. 1 spec of OLD cannot be planned: the sums are without it."
    )
    assert line == difference_line(difference) == difference_text(difference).splitlines()[-1]


def test_on_a_terminal_the_last_line_is_folded_too(difference: Difference) -> None:
    """And it says the same."""
    text = difference_text(difference, width=60, fold=True)
    folded = text[text.rindex("\nDiff: ") + 1 :]
    assert (True, difference_line(difference)) == (
        all(len(line) <= 60 for line in folded.splitlines()),
        " ".join(folded.split()),
    )


def unplanned(*specs: CopySpec) -> Plan:
    """A plan of which nothing could be planned."""
    planner = Planner(Evidence(), {})
    for each in specs:
        planner.fail(Unread(each, "gone"))
    return planner.finish()


ONE, LIMITED = spec("app:1", "m.example/app:1"), spec("app:1", "m.example/app:1", "linux/amd64")
OTHER = spec("tool:1", "m.example/tool:1")
COUNTS = (
    "Diff: 0 added, 0 removed, 1 changed, 0 the same, 1 that cannot be compared. 2 specs of OLD and 2 of NEW cannot be"
    " planned: the sums are without them."
)


def test_what_cannot_be_compared_is_told_in_text() -> None:
    """And what the specs alone say; no sum is told, since none is known."""
    text = difference_text(compare(unplanned(ONE, OTHER), unplanned(LIMITED, OTHER)), width=200)
    assert [
        "~ m.example/app:1  cannot be planned  limited to linux/amd64 instead of all platforms",
        "? m.example/tool:1  cannot be compared: it cannot be planned for either side",
        "",
        COUNTS,
    ] == text.splitlines()


def test_what_cannot_be_compared_is_told_in_a_comment() -> None:
    """The same, and with the same counts."""
    text = difference_markdown(compare(unplanned(ONE, OTHER), unplanned(LIMITED, OTHER)))
    assert (True, True) == (
        COUNTS in text,
        "| ? | `m.example/tool:1` | `cannot be compared: it cannot be planned for either side` |" in text,
    )


def test_what_cannot_be_compared_is_told_to_programs() -> None:
    """Nothing is known to differ, which is not that nothing does."""
    document = json.loads(difference_json(compare(unplanned(OTHER), unplanned(OTHER))))
    assert (None, 1, 0, {"old": 1, "new": 1, "change": 0}) == (
        document["differs"],
        document["counts"]["unknown"],
        document["counts"]["same"],
        document["failed"],
    )


def test_what_is_gone_is_no_saving() -> None:
    """A destination whose other source cannot be read has no bytes less, and the sums say what they are without."""
    old = example()
    gone = unplanned(*(replace(goal.spec, source=Reference.parse("gone:1")) for goal in old.goals))
    found = compare(old, gone)
    assert "1 spec of OLD and 7 of NEW cannot be planned: the sums are without them." in difference_line(
        found
    )
    assert not [
        line for line in difference_text(found).splitlines() if line.startswith("~") and "whole image" in line
    ]


@pytest.mark.parametrize(("change", "told"), [(1024, "+1.0 KiB"), (-3, "-3 B"), (0, "0 B")])
def test_a_change_has_a_sign(change: int, told: str) -> None:
    """But none where there is none."""
    assert told == grown(change)


def hostile() -> Difference:
    """A difference with foreign text in its platforms."""
    found = limited()
    change = next(change for change in found.changes if change.old and change.new)
    assert change.old is not None
    assert change.new is not None
    old = replace(change.old, platforms=("linux/amd64", f"old{HOSTILE}|`x`"))
    new = replace(change.new, platforms=("linux/amd64", f"`new{HOSTILE}<b>@all</b>"))
    return replace(found, changes=(replace(change, old=old, new=new),))


def test_hostile_text_stays_text() -> None:
    """Nothing in a registry's words reaches the terminal as a control or a CI runner as a command."""
    text = difference_text(hostile())
    assert [] == [line for line in text.splitlines() if not line.isprintable()]
    assert not re.search(r"^\s*::|##vso\[", text, re.MULTILINE)


def test_hostile_text_in_a_comment_stays_in_its_code_span() -> None:
    """Outside of code spans there is no word of a registry's, and a bar in one divides no cells."""
    text = difference_markdown(hostile())
    row = next(line for line in text.splitlines() if line.startswith("| ~"))
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", row.replace("\\|", ""))
    assert (True, "| ~ |  | <br><br><br><br> |") == (
        all(line.isprintable() for line in text.splitlines()),
        outside,
    )


def test_hostile_text_is_escaped_for_programs() -> None:
    """ASCII without controls, and after decoding as it was."""
    raw = difference_json(hostile())
    gains = json.loads(raw)["tags"][0]["gains"][0]
    assert (True, True) == (
        all(byte == ord("\n") or 0x20 <= byte < 0x7F for byte in raw),
        HOSTILE.lower() in gains.lower(),
    )


def test_a_comment_is_never_too_long(difference: Difference) -> None:
    """Rows that do not fit are counted, and those with the largest changes stay."""
    many = tuple(
        replace(change, destination=replace(change.destination, tag=f"{number}"))
        for number in range(500)
        for change in difference.changes
    )
    text = difference_markdown(replace(difference, changes=many))
    assert (True, True) == (len(text) <= 65_000, "more rows would not fit here" in text)


def test_many_tags_are_folded_in_a_comment(difference: Difference) -> None:
    """Twenty are open, and what is folded can be opened."""
    many = tuple(
        replace(change, destination=replace(change.destination, tag=f"{number}"))
        for number in range(4)
        for change in difference.changes
    )
    text = difference_markdown(replace(difference, changes=many))
    assert "<details><summary>12 more tags, the largest changes first</summary>" in text
    assert text.endswith("\n</details>\n")


@pytest.mark.parametrize(
    "found",
    [
        limited(),
        hostile(),
        compare(example(), example()),
        compare(unplanned(ONE, OTHER), unplanned(LIMITED, OTHER)),
    ],
)
def test_the_document_is_what_its_schema_says(found: Difference) -> None:
    """By a validator of its own, and it has no field that the schema lacks."""
    document, made = json.loads(difference_json(found)), schema()
    Draft202012Validator.check_schema(made)
    assert [] == list(Draft202012Validator(made).iter_errors(document))
    assert (set(BILL), document.keys()) == (
        set(document["bill"]),
        made["$defs"]["Document"]["properties"].keys(),
    )


@LAWS
@given(plannings(), plannings())
def test_every_view_shows_any_difference(one: Setting, other: Setting) -> None:
    """Each is printable, and the text has a line for each destination that differs."""
    found = compare(planned(one), planned(other))

    lines = difference_text(found, width=10_000).splitlines()
    comment = difference_markdown(found).splitlines()
    assert all(line.isprintable() for line in (*lines, *comment))
    assert len(found.changes) == sum(line.startswith(("+ ", "- ", "~ ", "? ")) for line in lines)
    assert len(found.changes) == sum(line.startswith(("| + ", "| - ", "| ~ ", "| ? ")) for line in comment)
    assert found.differs == json.loads(difference_json(found))["differs"]
