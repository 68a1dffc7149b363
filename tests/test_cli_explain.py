"""mmgraph explain: of specs and saved plans, what is said where nothing is meant, exit codes."""

import json
from pathlib import Path

import pytest

from mmgraph.cli import main
from mmgraph.saved import write
from tests.support.command import Command
from tests.support.making import digest, half_failed
from tests.support.mirror import pair


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Save a plan of two specs, one of which has failed, and go to where it is."""
    monkeypatch.chdir(tmp_path)
    Path("x.plan").write_bytes(write(half_failed("no such \x1b[31mtag"), "test"))
    return "x.plan"


def test_a_tag_of_a_saved_plan(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No registry is asked; what could not be planned is told, and is no failure of the answer."""
    code = main(["explain", "tool:2", plan])
    out, err = capsys.readouterr()
    assert (0, True) == (
        code,
        out.startswith("tag dst.example/tool:2\n  action:    create: the tag is new\n"),
    )
    assert "mmgraph: 1 spec of the set cannot be planned, and is not counted here\n" == err


def test_a_digest_cut_to_six_digits(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As git takes them."""
    code = main(["explain", digest("layer").hex[:6], plan])
    assert (0, True) == (
        code,
        capsys.readouterr().out.startswith(f"blob dst.example/tool@{digest('layer')}\n"),
    )


def test_a_spec_that_failed(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cause is the answer, without its controls, and the exit code that of plan, graph and diff."""
    code = main(["explain", "gone:1", plan])
    assert (1, True) == (code, r"failed: no such \x1b[31mtag" in capsys.readouterr().out)


def test_json_has_an_entry_for_each_node(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the name that was asked for."""
    code = main(["explain", "*:*", plan, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    found = [entry.get("id", entry["spec"]["dst"]) for entry in document["explanations"]]
    assert (1, "*:*", ["tag dst.example/tool:2", "dst.example/gone:1"]) == (code, document["name"], found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tol:2", 'no destination is named "tol:2", and it is no digest; near it is dst.example/tool:2'),
        ("0123456", 'nothing in the plan is named "0123456"'),
        ("sha256:0", "is too short for a digest"),
        ("user:secret@registry.example/x", 'no destination is named "…@registry.example/x"'),
        ("", 'no destination is named ""'),
    ],
)
def test_what_means_nothing_exits_1(
    plan: str, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is near, and without what may be a password."""
    code = main(["explain", name, plan])
    out, err = capsys.readouterr()
    assert (1, "", True, False) == (code, out, message in err, "secret" in err), err


def test_a_name_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one there is nothing to explain."""
    code = main(["explain"])
    assert (1, True) == (code, "explain needs a NAME or a digest" in capsys.readouterr().err)


async def test_specs_are_planned_and_explained(tmp_path: Path) -> None:
    """What the destination holds is asked for, and nothing is written."""
    async with pair() as made:
        made.make.image("app", b"layer", tags=("1",))
        command = Command(tmp_path)
        command.write("specs.json", made.spec("app:1"))
        done = await command.run("explain", "app:1")
        written = [each for each in made.destination.log if each.method not in ("GET", "HEAD")]
    told = "put 1 manifest (414 B), upload 2 blobs (7 B)"
    assert (0, [], True) == (done.code, written, told in done.out), done.out


def test_a_broken_rule_is_named(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a saved plan breaks it; in JSON with the node."""
    Path("mmgraph.toml").write_text('[[rule]]\nfor = "dst.example/*"\nonly-registries = ["other.example"]\n')
    told = []
    for form in ("text", "json"):
        main(["explain", "tool:2", plan, "--format", form])
        told.append(capsys.readouterr().out)
    found = json.loads(told[1])["explanations"][0]["violations"]
    assert ("  breaks:    rule 1", [("rule 1", "dst.example/tool:2")]) == (
        next(line for line in told[0].splitlines() if "breaks" in line)[:19],
        [(each["rule"], each["destination"]) for each in found],
    )


async def test_what_a_rule_forbids_is_not_called_unknown(tmp_path: Path) -> None:
    """It was read: the rule is the action, stands once, and the spec is not counted as another that failed."""
    async with pair() as made:
        made.make.image("app", b"layer", tags=("1",))
        command = Command(tmp_path)
        command.write("specs.json", made.spec("app:1"))
        await command.run("apply")
        made.make.image("app", b"newer", tags=("1",))
        command.write("mmgraph.toml", "[[rule]]\nmay-move = false\n")
        done = await command.run("explain", "app:1")
    head, action, evidence = done.out.splitlines()[:3]
    assert (
        1,
        f"tag {made.destination.address}/app:1",
        "  action:    forbidden: it would move, and a rule of mmgraph.toml says no",
        "  evidence:  Its source was read and its destination looked at",
        1,
        False,
    ) == (
        done.code,
        head,
        action,
        evidence[:62],
        done.out.count("may-move"),
        "not counted" in done.err,
    )


def test_a_saved_tag_that_a_rule_forbids_says_what_it_would_be_otherwise(
    plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan has what would be done without the rule, and that is not what is done."""
    Path("mmgraph.toml").write_text('[[rule]]\nonly-registries = ["other.example"]\n')
    code = main(["explain", "tool:2", plan])
    assert (
        1,
        [
            "  action:    forbidden: it would be written to another registry, and a rule of mmgraph.toml says no",
            "  otherwise: create: the tag is new",
        ],
    ) == (code, capsys.readouterr().out.splitlines()[1:3])


def test_a_saved_plan_says_which_it_is(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its file and what made it, above all else."""
    main(["plan", plan])
    assert ["Saved plan x.plan, made by test", ""] == capsys.readouterr().out.splitlines()[:2]


@pytest.mark.parametrize("command", [["verify"], ["auth", "check"]])
def test_who_takes_specs_alone_says_how_a_plan_becomes_some(
    plan: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the name of the file, so that the command can be copied."""
    code = main([*command, plan])
    told = (
        "mmgraph: x.plan is a saved plan, and this takes specs:"
        " mmgraph plan x.plan --format specs makes specs of it\n"
    )
    assert (1, told) == (code, capsys.readouterr().err)


def test_an_offline_plan_of_nothing_known_gives_its_advice_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With each spec that it is about; and it claims no requests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Path("specs.json").write_text('{"src": "a.example/a:1", "dst": "b.example/a:1"}')
    main(["plan", "--offline"])
    out = capsys.readouterr().out
    assert (1, False) == (out.count("run mmgraph plan once without --offline"), "Requests:" in out), out
