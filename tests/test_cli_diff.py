"""mmgraph diff: of specs, saved plans and one of each; exit codes, formats, requests."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mmgraph.cli import main
from mmgraph.saved import write
from tests.support.command import Command
from tests.support.images import AMD64, ARM64
from tests.support.making import Bench, index, manifest
from tests.support.mirror import Pair, pair

SAME = "Diff: 0 added, 0 removed, 0 changed, 1 the same. No difference.\n"


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Save two plans for one tag, the second with a platform less, and go to where they are."""
    monkeypatch.chdir(tmp_path)
    amd, arm = manifest("config1", "amd"), manifest("config2", "arm")
    both, one = index({"linux/amd64": amd, "linux/arm64": arm}), index({"linux/amd64": amd})
    for name, root in (("old.plan", both), ("new.plan", one)):
        bench = Bench(amd, arm, both, one)
        bench.want("a:1", "a:1", root)
        Path(name).write_bytes(write(bench.plan(), "test"))
    return "old.plan", "new.plan"


def test_two_saved_plans(plans: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """No registry is asked."""
    code = main(["diff", *plans])
    lines = capsys.readouterr().out.splitlines()
    assert (0, "~ dst.example/a:1", "Diff: 0 added, 0 removed, 1 changed, 0 the same. -20 B to read,") == (
        code,
        lines[0][:17],
        lines[-1][:63],
    )


@pytest.mark.parametrize(
    ("new", "flags", "expected"),
    [
        ("new.plan", ["--detailed-exitcode"], 2),
        ("old.plan", ["--detailed-exitcode"], 0),
        ("new.plan", [], 0),
        ("nosuch.plan", ["--detailed-exitcode"], 1),
    ],
)
def test_exit_codes(plans: tuple[str, str], new: str, flags: list[str], expected: int) -> None:
    """2 only where it was asked for and something differs, 1 for what cannot be compared."""
    assert expected == main(["diff", plans[0], new, *flags])


def test_nothing_differs(plans: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The counts alone are told."""
    main(["diff", plans[0], plans[0]])
    assert SAME == capsys.readouterr().out


def test_json_is_one_document(plans: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """With all sums, and the tags that differ."""
    main(["diff", *plans, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    assert (True, ["linux/arm64"], {"old": 40, "new": 20, "change": -20}) == (
        document["differs"],
        document["tags"][0]["losses"],
        document["bill"]["uploaded"],
    )


def test_markdown_is_a_comment(plans: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """For a pull request."""
    main(["diff", *plans, "--format", "markdown"])
    assert capsys.readouterr().out.startswith("### mmgraph diff\n\nDiff: 0 added, 0 removed, 1 changed")


def test_github_is_text_and_a_summary(
    plans: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other steps wrote to the summary stays, and the difference follows it as Markdown."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    main(["diff", *plans, "--format", "markdown"])
    comment = capsys.readouterr().out
    main(["diff", *plans, "--format", "github"])
    expected = (f"before\n{comment}", "~ dst.example/a:1")
    assert expected == (Path("summary.md").read_text(), capsys.readouterr().out[:17])


def test_github_elsewhere_is_text(
    plans: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of a job there is no summary to write to."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    main(["diff", *plans])
    expected = capsys.readouterr().out
    main(["diff", *plans, "--format", "github"])
    assert expected == capsys.readouterr().out


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        (
            "platforms = ['linux/arm64']",
            "mmgraph: notice: NEW: 1 rule of mmgraph.toml is broken by 1 destination",
        ),
        ("largest = 1", "mmgraph: notice: OLD: 1 rule of mmgraph.toml is broken by 1 destination"),
        ("largest = '1 GB'", ""),
    ],
)
def test_who_breaks_rules_is_compared_with_a_notice(
    plans: tuple[str, str], demand: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that could not be carried out is not compared without a word."""
    Path("mmgraph.toml").write_text(f"[[rule]]\n{demand}\n")
    code = main(["diff", *plans])
    notice = capsys.readouterr().err.partition(";")[0].rstrip("\n")
    assert (0, message) == (code, notice)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "-"], "standard input (-) is named twice, and can be read once"),
        (["old.plan"], "diff needs two plans or sets of specs: OLD NEW"),
        (["old.plan", "new.plan", "x"], "x"),
        (["old.plan", "new.plan", "--only", "a:1"], "a saved plan is taken as it is: give --only"),
    ],
)
def test_what_cannot_be_compared_exits_1(
    plans: tuple[str, str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a message, and no result."""
    code = main(["diff", *arguments])
    out, err = capsys.readouterr()
    assert (1, "", True) == (code, out, message in err), err


@pytest.fixture
async def made() -> AsyncIterator[Pair]:
    """Start two registries; the source has an image for two platforms."""
    async with pair() as started:
        make = started.make
        children = [
            make.image("app", name.encode(), config=name.encode(), platform=platform)
            for name, platform in (("amd", AMD64), ("arm", ARM64))
        ]
        make.index("app", *children, tags=("1",))
        yield started


@pytest.fixture
def command(tmp_path: Path, made: Pair) -> Command:
    """Write the set, and the set limited to one platform."""
    command = Command(tmp_path)
    command.write("all.json", made.spec("app:1"))
    command.write("amd64.json", made.spec("app:1", "app:1", "linux/amd64"))
    return command


async def test_what_limiting_to_one_platform_would_save(made: Pair, command: Command) -> None:
    """Two sets with one destination are planned side by side; nothing is written."""
    done = await command.run("diff", "all.json", "amd64.json", "--detailed-exitcode")
    written = [each for each in made.destination.log if each.method not in ("GET", "HEAD")]
    assert (2, "", []) == (done.code, done.err, written)
    lines = done.out.splitlines()
    assert ("-linux/arm64", ["to send        6 B  3 B    -3 B"]) == (
        lines[0].split("  ")[2],
        [line for line in lines if line.startswith("to send")],
    )


async def test_both_sets_are_told_the_same(made: Pair, command: Command) -> None:
    """What one of them has asked is not asked again: no tag twice, and no manifest."""
    await command.run("diff", "all.json", "amd64.json")
    asked = Counter(
        (side, each.method, each.path)
        for side, server in (("source", made.source), ("destination", made.destination))
        for each in server.log
    )
    assert {} == {request: times for request, times in asked.items() if times > 1 and request[2] != "/v2/"}


async def test_a_set_against_what_was_saved_of_it(made: Pair, command: Command) -> None:
    """A saved plan and specs are compared like two of one kind, also from standard input."""
    await command.run("plan", "all.json", "--out", "saved.plan")
    done = await command.run("diff", "saved.plan", "-", stdin=made.spec("app:1"))
    assert (0, SAME, "") == done


async def test_what_cannot_be_planned_is_told_once(made: Pair, command: Command) -> None:
    """Then the sums are not whole, which is a failure."""
    command.write("gone.json", made.spec("gone:1"))
    done = await command.run("diff", "gone.json", "gone.json")
    line = (
        "Diff: 0 added, 0 removed, 0 changed, 0 the same, 1 that cannot be compared. No difference is known."
        " 1 spec of OLD and 1 of NEW cannot be planned: the sums are without them."
    )
    assert (1, 1, line) == (done.code, len(done.err.splitlines()), done.out.splitlines()[-1]), done


async def test_offline_with_an_empty_cache_nothing_is_the_same(made: Pair, command: Command) -> None:
    """The specs are compared all the same, and the exit code says that something failed."""
    done = await command.run("diff", "all.json", "amd64.json", "--offline", "--format", "json")
    document = json.loads(done.out)
    assert (1, True, 1, 0) == (
        done.code,
        document["differs"],
        document["counts"]["changed"],
        document["counts"]["same"],
    ), done
