"""mmgraph plan --format: what each prints, that foreign text in it obeys nobody, and what GitHub is told."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from msgspec.structs import replace

from mmgraph.cli import main
from mmgraph.cli.formats import rendered
from mmgraph.cli.options import Look
from mmgraph.plan import Plan
from mmgraph.report.github import plan_annotations
from mmgraph.report.markdown import plan_markdown
from mmgraph.rules import Violation
from mmgraph.saved import write
from mmgraph.specs import read_specs
from tests.golden.example import HOSTILE, example
from tests.support.making import half_failed

FORMATS = ("text", "json", "markdown", "html", "dot", "svg", "specs", "github")
MARKS = re.compile("\x1b|\u202e|\u200b|\x07|\r")
"""What a terminal would obey, or not show."""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Save a plan of two specs, one of which has failed, and go to where it is, outside of any CI."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("x.plan").write_bytes(write(half_failed(HOSTILE), "test"))
    return "x.plan"


def broken() -> Plan:
    """The example, with a rule broken by one of its destinations in hostile words."""
    goal = example().goals[1]
    violation = Violation("no latest", "may-move = false", goal.spec.destination, HOSTILE, "tag", "latest")
    return replace(example(), violations=(violation,))


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("text", "Saved plan x.plan, made by "),
        ("json", '{"format":"mmgraph-plan"'),
        ("markdown", "### mmgraph plan"),
        ("html", "<!doctype html>"),
        ("dot", "digraph"),
        ("svg", "<?xml"),
        ("specs", '{"src": "src.example/a:1@sha256:'),
        ("github", "1 spec cannot be planned"),
    ],
)
def test_each_format_prints_the_whole_plan(
    plan: str, form: str, begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And exits 1, since a spec of it has failed."""
    code = main(["plan", plan, "--format", form])
    out, _ = capsys.readouterr()
    assert (1, begins) == (code, out[: len(begins)].replace("DOCTYPE", "doctype"))


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_text_reaches_no_terminal(form: str) -> None:
    """Whatever a registry wrote, no format has a control or an invisible character of it."""
    made = rendered(broken(), form, Look(), (), unfold=True).decode()  # type: ignore[arg-type]
    assert (None, False) == (MARKS.search(made), HOSTILE in made)


@pytest.mark.parametrize("form", ["json", "markdown", "html", "dot", "svg", "specs"])
def test_failures_are_told_on_standard_error_too(
    plan: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who pipes the plan into a file sees why the exit code is 1."""
    main(["plan", plan, "--format", form])
    assert "dst.example/gone:1" in capsys.readouterr().err


def test_svg_is_well_formed(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Foreign text in it is text."""
    main(["plan", plan, "--format", "svg"])
    assert ET.fromstring(capsys.readouterr().out).tag.endswith("svg")


def test_specs_can_be_read_again(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A lock file has all destinations of the set, in its order."""
    main(["plan", plan, "--format", "specs"])
    read = read_specs([("lock", capsys.readouterr().out.encode())])
    assert [goal.spec.destination for goal in half_failed(HOSTILE).goals] == [
        spec.destination for spec in read
    ]


def test_a_runner_gets_annotations(
    plan: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a job of GitHub Actions, above the plan's text."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    main(["plan", plan, "--format", "github"])
    assert capsys.readouterr().out.startswith("::error title=dst.example/gone%3A1,file=specs.json,line=1::")


def test_the_summary_is_appended(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other steps wrote stays, and the plan follows it as Markdown."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    main(["plan", plan, "--format", "github"])
    assert f"before\n{plan_markdown(half_failed(HOSTILE))}" == Path("summary.md").read_text()


def test_a_summary_that_is_full_is_left_alone(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub shows nothing of a summary that is longer than a mebibyte."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_bytes(b"x" * (1 << 20))
    main(["plan", plan, "--format", "github"])
    assert 1 << 20 == Path("summary.md").stat().st_size


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_shows_broken_rules(form: str) -> None:
    """With the rule's name and the tag; a lock file has specs alone."""
    if form == "specs":
        expected = False
    elif form == "github":
        assert "no latest" in plan_annotations(broken())
        expected = True
    else:
        expected = True
    made = rendered(broken(), form, Look(), (), unfold=False).decode()  # type: ignore[arg-type]
    assert expected == ("no latest" in made)


def test_a_broken_rule_is_annotated_at_its_spec() -> None:
    """Once, as an error that names rule and tag."""
    lines = [line for line in plan_annotations(broken()).splitlines() if "no latest" in line]
    destination = str(broken().violations[0].destination).replace(":", "%3A")
    assert (1, True) == (len(lines), lines[0].startswith(f"::error title={destination}"))


def test_json_is_what_out_saves(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are the saved form."""
    main(["plan", plan, "--format", "json"])
    assert json.loads(Path(plan).read_bytes())["specs"] == json.loads(capsys.readouterr().out)["specs"]
