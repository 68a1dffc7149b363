"""mmgraph plan --top: the tags and blobs that cost most, in the place of all tags."""

from pathlib import Path

import pytest

from mmgraph.cli import main
from mmgraph.saved import write
from tests.support.making import Bench, digest, manifest


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Save a plan of three tags, and go to where it is."""
    monkeypatch.chdir(tmp_path)
    images = [
        manifest(f"config{number}", "base", *(f"own{number}{n}" for n in range(number)))
        for number in range(3)
    ]
    bench = Bench(*images)
    for number, image in enumerate(images):
        bench.want("a:1", f"a:{number}", image)
    Path("x.plan").write_bytes(write(bench.plan(), "test"))
    return "x.plan"


def test_the_dearest_are_listed_and_nothing_else(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Above the bill of the whole plan."""
    code = main(["plan", plan, "--top", "1"])
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("   30 B   40 B  dst.example/a:2")
    assert (0, "  and 2 more tags") == (code, lines[first + 1])
    assert "Plan: 3 to copy" == lines[-1][:15]


def test_a_blob_can_be_copied_into_a_question(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its digest stands there whole, with the tags that need it."""
    main(["plan", plan, "--top", "10"])
    lines = capsys.readouterr().out.splitlines()
    place = lines.index(f"  10 B  {digest('base')}")
    assert "        3 tags: dst.example/a:0, dst.example/a:1, dst.example/a:2" == lines[place + 1]


@pytest.mark.parametrize(
    "flags", [["--top", "0"], ["--top", "3", "--all"], ["--top", "3", "--format", "json"]]
)
def test_what_does_not_go_together_is_refused(
    plan: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is printed."""
    code = main(["plan", plan, *flags])
    out, err = capsys.readouterr()
    assert (1, "", True) == (code, out, "--top" in err), err
