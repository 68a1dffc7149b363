"""mmgraph graph: the format by the name of the file, and what does not go together."""

import json
from pathlib import Path

import pytest

from mmgraph.cli import main
from mmgraph.closure import Unread
from mmgraph.evidence import Evidence
from mmgraph.plan import Planner
from mmgraph.report.violations import LIMIT
from mmgraph.saved import write
from tests.support.making import half_failed, spec


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Save a plan of two specs, one of which has failed, and go to where it is."""
    monkeypatch.chdir(tmp_path)
    Path("x.plan").write_bytes(write(half_failed("no such tag"), "test"))
    return "x.plan"


@pytest.mark.parametrize(
    ("name", "start"),
    [("x.svg", b"<?xml"), ("x.json", b"{"), ("x.dot", b"digraph"), ("x.gv", b"digraph"), ("x", b"digraph")],
)
def test_the_format_is_that_of_the_file_s_name(plan: str, name: str, start: bytes) -> None:
    """A picture called x.svg that is DOT would open nowhere."""
    code = main(["graph", plan, "--out", name])
    assert (1, True) == (code, Path(name).read_bytes().startswith(start))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.svg", "--format", "dot"], '--out "x.svg" is the name of svg, and --format says dot'),
        (["--out", "x.json", "--collapse"], "--collapse and --all are for pictures"),
        (["--format", "json", "--all"], "--collapse and --all are for pictures"),
        (["--all", "--collapse"], "leave one out"),
        (
            ["--out", "x.png"],
            '--out "x.png": no format ends in ".png": name it .dot, .gv, .json, .svg, .html, or give --format',
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    plan: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is drawn."""
    code = main(["graph", plan, *arguments])
    out, err = capsys.readouterr()
    assert (1, "", True) == (code, out, message in err), err


def test_every_blob_is_drawn_where_all_is_asked_for(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Else small ones with one fate are one node."""
    pictures = []
    for flags in ([], ["--all"]):
        main(["graph", plan, *flags])
        pictures.append(capsys.readouterr().out.count('"blob '))
    assert pictures[0] < pictures[1]


def test_json_of_a_focus_has_what_it_needs(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The end of a destination's name will do."""
    main(["graph", plan, "--format", "json", "--focus", "tool:2"])
    tags = [node["name"] for node in json.loads(capsys.readouterr().out)["nodes"] if node["kind"] == "tag"]
    assert ["2"] == tags


@pytest.mark.parametrize("command", [["graph"], ["plan", "-q"], ["plan", "--format", "dot"]])
def test_of_many_failures_the_first_are_told_one_by_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as of broken rules; of the others their number."""
    monkeypatch.chdir(tmp_path)
    planner = Planner(Evidence(), {})
    for number in range(LIMIT + 3):
        planner.fail(Unread(spec(f"gone:{number}", f"gone:{number}"), f"no such tag {number}"))
    Path("x.plan").write_bytes(write(planner.finish(), "test"))
    code = main([*command, "x.plan"])
    lines = capsys.readouterr().err.splitlines()
    assert (1, LIMIT + 1, f"mmgraph: and 3 more that cannot be planned, {LIMIT + 3} in all") == (
        code,
        len(lines),
        lines[-1],
    )
