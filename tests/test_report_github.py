"""The plan as annotations of GitHub Actions."""

from __future__ import annotations

import re

import pytest

from mmgraph.closure import Unread
from mmgraph.evidence import Evidence
from mmgraph.names import Reference
from mmgraph.plan import Plan, Planner
from mmgraph.report.github import plan_annotations
from mmgraph.specs import CopySpec, Origin
from tests.golden import expected
from tests.golden.example import example


def failing(cause: str, count: int = 1, file: str = "specs.json") -> Plan:
    """A plan of specs that all failed for that cause."""
    planner = Planner(Evidence(), {})
    for number in range(count):
        origin = Origin(file, number + 1, number + 7)
        source, destination = Reference.parse("src.example/a:1"), Reference.parse(f"dst.example/a:{number}")
        planner.fail(Unread(CopySpec(source, destination, (), origin), cause))
    return planner.finish()


def test_the_annotations_read_as_they_shall() -> None:
    """An error for what cannot be planned, a warning for what loses platforms."""
    text = plan_annotations(example())
    assert expected("annotations.txt", text) == text


def test_an_error_stands_at_its_spec() -> None:
    """File and line are the spec's own, so that the pull request shows the error there."""
    text = plan_annotations(failing("no such tag"))
    assert "::error title=dst.example/a%3A0,file=specs.json,line=7::no such tag\n" == text


def test_standard_input_has_no_file() -> None:
    """What was piped in is at no line of a file."""
    assert "::error title=dst.example/a%3A0::no such tag\n" == plan_annotations(
        failing("no such tag", file="-")
    )


def test_more_than_are_shown_are_counted() -> None:
    """GitHub shows ten of a kind; the tenth says how many more there are."""
    lines = plan_annotations(failing("no such tag", 25)).splitlines()
    assert (10, "::error title=mmgraph::16 more errors: see the plan") == (len(lines), lines[-1])


@pytest.mark.parametrize(
    "cause",
    [
        "a\n::set-output name=x::y",
        "a\r\n::error::x",
        "100%0A::debug::x",
        "\x1b[2J",
        "##[error]x",
        "::stop-commands::t",
    ],
)
def test_hostile_text_is_no_command(cause: str) -> None:
    """One failure is one line, which begins one command, whatever the registry said."""
    lines = plan_annotations(failing(cause)).splitlines()
    data = lines[0].split("::", 2)[2]
    assert (1, True, None) == (len(lines), lines[0].isprintable(), re.search(r"%0[AaDd]", data))
