"""--offline as processes: what is known without asking anybody, how old it is, what is not known."""

import json
import sqlite3
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from benchmarks.fleet import Fleet
from mmgraph.cli import main
from mmgraph.closure import Unread
from mmgraph.evidence import Evidence
from mmgraph.memory import Basis, Span
from mmgraph.names import Registry
from mmgraph.plan import Planner
from mmgraph.report import difference_json, explanation_json
from mmgraph.report.offline import offline_lines
from tests.support.making import spec
from tests.test_cli_apply import Mirror, mirror

AGES = (1_700_000_000, 1_700_086_400)
"""2023-11-14 22:13:20 and a day later, UTC."""
FORBIDDEN = """
import sys

def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise SystemError(f"{event} {arguments}")
    if event == "open" and str(arguments[0]).endswith(("config.json", "auth.json")):
        raise SystemError(f"{event} {arguments}")
    if event == "subprocess.Popen":
        raise SystemError(event)

sys.addaudithook(hook)
"""


def seen(made: Mirror, statement: str, *values: object) -> int:
    """Change the notes in the cache of a mirror's commands; return how many rows were."""
    [path] = (made.directory / "cache").rglob("*.sqlite")
    with sqlite3.connect(path) as connection:
        count = connection.execute(statement, values).rowcount
    connection.close()
    return count


def bill(out: str) -> str:
    """The last line of a plan."""
    return out.splitlines()[-1]


async def test_an_offline_plan_is_the_one_that_was_made_online(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Its tags and its bill; the registries are gone by now."""
    async with mirror(tmp_path, tiny_fleet) as made:
        online = await made.run("plan")
    offline = await made.run("plan", "--offline")
    tags = [[line for line in done.out.splitlines() if line[:1] in "+~="] for done in (online, offline)]
    assert (0, bill(online.out), tags[0]) == (offline.code, bill(offline.out), tags[1]), offline
    assert "Offline: no registry was asked. Tags are as last seen on " in offline.out
    assert ["Requests: ", "apply would ask: "] == [
        head for done in (online, offline) for head in ("Requests: ", "apply would ask: ") if head in done.out
    ]


@pytest.mark.parametrize(
    "command", [["plan"], ["graph"], ["explain", "team-0/service-0:v1"], ["diff", "specs.json", "specs.json"]]
)
async def test_nobody_is_asked_and_no_login_is_read(
    tmp_path: Path, tiny_fleet: Fleet, command: list[str]
) -> None:
    """No connection, no name, no process and no login file is opened: each would end the command."""
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(FORBIDDEN)
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
        (tmp_path / "home/.docker").mkdir(parents=True)
        (tmp_path / "home/.docker/config.json").write_text('{"credsStore": "nobody"}')
        for server in (made.source, made.destination):
            server.log.clear()
        guarded = {"PYTHONPATH": f"{guard}:{made.environment['PYTHONPATH']}"}
        done = await made.run(*command, "--offline", variables=guarded)
        online = await made.run(*command, variables=guarded)
        asked = len(made.source.log) + len(made.destination.log)
    assert (0, 1, 0) == (done.code, online.code, asked), (done, online)


async def test_what_apply_has_written_is_known(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The plan after it finds nothing to do, though nobody has looked since."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("apply")
    done = await made.run("plan", "--offline", "--detailed-exitcode")
    assert f"No changes. {made.tags} tags were as they should be when last seen." in done.out
    assert (0, f"Plan: 0 to copy, 0 to move, {made.tags} unchanged, 0 failed.") == (
        done.code,
        bill(done.out)[: len(f"Plan: 0 to copy, 0 to move, {made.tags} unchanged, 0 failed.")],
    )


async def test_what_a_saved_plan_has_written_is_known(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """As with specs."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        await made.run("apply", "mirror.plan")
    done = await made.run("plan", "--offline", "-q")
    assert (0, "", "") == done


async def test_a_set_of_which_nothing_is_known(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Every spec fails with the same advice, and the plan says that nothing is known."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("plan", "--offline")
    text = " ".join(done.out.split())
    assert 1 == done.code
    assert "not known offline: run mmgraph plan once without --offline" in text
    assert "Offline: no registry was asked. Nothing is known of any name of the set." in text
    assert f"{made.tags} specs cannot be planned" in text


async def test_one_name_that_is_not_known(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """It fails alone, and is named; the rest is planned."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
    one = next(iter(tiny_fleet.images()))
    gone = seen(made, "DELETE FROM seen WHERE registry = ? AND repository = ? AND name = ?",
        made.destination.address, one[0], one[1])  # fmt: skip
    done = await made.run("plan", "--offline")
    text = " ".join(done.out.split())
    assert (1, 1) == (gone, done.code)
    assert "1 spec cannot be planned, since not all that it needs is known." in text
    assert f"Not known: what {made.destination.address}/{one[0]}:{one[1]} names." in text
    assert f"Plan: {made.tags - 1} to copy, 0 to move, 0 unchanged, 1 failed." in text


async def test_how_old_it_is(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The oldest and the newest look of all, and of each registry where they differ; the same in JSON."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
    hosts = sorted((made.source.address, made.destination.address))
    for host, at in zip(hosts, AGES, strict=True):
        seen(made, "UPDATE seen SET at = ? WHERE registry = ?", at, host)
    text = (await made.run("plan", "--offline")).out
    shown = json.loads((await made.run("plan", "--offline", "--format", "json")).out)["offline"]
    drawn = json.loads((await made.run("graph", "--offline", "--format", "json")).out)["offline"]
    oldest, newest = "2023-11-14 22:13 UTC", "2023-11-15 22:13 UTC"
    for line in (
        f"Offline: no registry was asked. Tags are as last seen between {oldest} and {newest}.",
        f"  those of {hosts[0]} on {oldest}",
        f"  those of {hosts[1]} on {newest}",
    ):
        assert line in text.splitlines()
    dates = dict(zip(hosts, ("2023-11-14T22:13:20Z", "2023-11-15T22:13:20Z"), strict=True))
    expected = {host: {"oldest": date, "newest": date} for host, date in dates.items()}
    assert (expected, expected) == (shown["seen"], drawn["seen"])


@pytest.mark.parametrize("command", ["apply", "plan"])
async def test_an_offline_plan_is_not_carried_out(tmp_path: Path, tiny_fleet: Fleet, command: str) -> None:
    """Nor shown as a saved one: what --format json prints says of itself that it was made offline."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
        for server in (made.source, made.destination):
            server.log.clear()
        shown = await made.run("plan", "--offline", "--format", "json")
        made.write("offline.plan", shown.out)
        done = await made.run(command, "offline.plan")
        asked = len(made.source.log) + len(made.destination.log)
    assert (0, 1, "", 0) == (shown.code, done.code, done.out, asked)
    assert "$.offline: it was made offline" in done.err


async def test_online_nobody_reads_what_is_remembered(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Notes that are all wrong change nothing of what plan and apply do, and are set right by them."""
    wrong = "sha256:" + "0" * 64
    async with mirror(tmp_path, tiny_fleet) as made:
        before = await made.run("plan")
        changed = seen(made, "UPDATE seen SET digest = ?, at = 1", wrong)
        poisoned = await made.run("plan")
        left = seen(made, "UPDATE seen SET digest = ? WHERE digest = ?", wrong, wrong)
        seen(made, "UPDATE seen SET digest = ?", wrong)
        done = await made.run("apply")
        complete = await made.is_complete()
        again = await made.run("apply")
    assert (before, 2 * made.tags, 0) == (poisoned, changed, left)
    assert (0, True, "mmgraph: nothing to do\n") == (done.code, complete, again.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "specs.json", "--out", "x.plan"], "a plan made --offline is not saved"),
        (["plan", "specs.json", "--repair"], "--offline asks nobody"),
        (["plan", "specs.json", "--no-cache"], "--no-cache does not read it"),
        (["graph", "specs.json", "--no-cache"], "--no-cache does not read it"),
        (["explain", "x", "specs.json", "--no-cache"], "--no-cache does not read it"),
        (["diff", "specs.json", "specs.json", "--no-cache"], "--no-cache does not read it"),
    ],
)
def test_what_contradicts_it(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each with its reason, and no file is written."""
    monkeypatch.chdir(tmp_path)
    Path("specs.json").write_text('{"src": "a.example/x", "dst": "b.example/x"}')
    code = main([*arguments, "--offline"])
    assert (1, True, ["specs.json"]) == (
        code,
        message in capsys.readouterr().err,
        [path.name for path in tmp_path.iterdir()],
    )


@pytest.mark.parametrize("command", [["plan"], ["graph"], ["explain", "service-0:v1"]])
async def test_a_saved_plan_is_not_what_is_remembered(
    tmp_path: Path, tiny_fleet: Fleet, command: list[str]
) -> None:
    """It asks nobody as it is."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        done = await made.run(*command, "mirror.plan", "--offline")
    assert (1, "", True) == (done.code, done.out, "--offline is for specs" in done.err), done


async def test_why_is_told_by_what_was_last_seen(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Nobody is said to have been asked just now; how old it is stands below, and in JSON."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
    name = "team-0/service-0:v1"
    text = await made.run("explain", name, "specs.json", "--offline")
    shown = json.loads((await made.run("explain", name, "--offline", "--format", "json")).out)
    Draft202012Validator(explanation_json.schema()).validate(shown)
    words = " ".join(text.out.split())
    assert "When the tag was last looked at, there was none of that name." in words
    assert ([], True) == (
        [lie for lie in ("HEAD",) if lie in words],
        "Offline: no registry was asked." in words,
    )
    assert (0, "", sorted((made.source.address, made.destination.address))) == (
        text.code,
        text.err,
        list(shown["offline"]["seen"]),
    )


async def test_sets_are_compared_by_what_was_last_seen(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """What both rest on is said once."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
    same = await made.run("diff", "specs.json", "specs.json", "--offline")
    assert (0, True, 1, False) == (
        same.code,
        same.out.startswith("Offline: no registry was asked. Tags are as last seen on "),
        same.out.count("Offline: "),
        "OLD" in same.out,
    )


async def test_what_one_side_alone_rests_on_is_said_of_it(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Of a set that is known, and one of which nothing is."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
    made.write("more.json", '{"src": "other.example/x", "dst": "other.example/y"}')
    more = await made.run("diff", "specs.json", "more.json", "--offline", "--format", "markdown")
    heads = (
        "> `OLD: Offline: no registry was asked. Tags are as last seen on ",
        "> `NEW: Not known: what each of ",
    )
    assert (1, heads) == (more.code, tuple(head for head in heads if head in more.out)), more


async def test_a_saved_plan_against_what_was_last_seen(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """They are the same, and only the set rests on anything."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
    saved = await made.run("diff", "mirror.plan", "specs.json", "--offline", "--format", "json")
    document = json.loads(saved.out)
    Draft202012Validator(difference_json.schema()).validate(document)
    bases = document["offline"]
    assert (None, 2, False) == (bases["old"], len(bases["new"]["seen"]), document["differs"])


async def test_two_saved_plans_rest_on_nothing(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """They are compared as they are, with --offline as without."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
    alone = await made.run("diff", "mirror.plan", "mirror.plan", "--offline")
    assert (0, "", f"Diff: 0 added, 0 removed, 0 changed, {made.tags} the same. No difference.\n") == (
        alone.code,
        alone.err,
        alone.out,
    )


def test_nothing_is_applied_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no such option."""
    (tmp_path / "specs.json").write_text('{"src": "a.example/x", "dst": "b.example/x"}')
    code = main(["apply", str(tmp_path / "specs.json"), "--offline"])
    assert (1, True) == (code, "--offline" in (err := capsys.readouterr().err)), err


@pytest.mark.parametrize("form", ["dot", "specs", "html"])
async def test_formats_that_have_no_place_for_it(tmp_path: Path, tiny_fleet: Fleet, form: str) -> None:
    """What the plan rests on is on standard error then."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan")
    done = await made.run("plan", "--offline", "--format", form)
    assert (0, True) == (done.code, "mmgraph: Offline: no registry was asked." in done.err), done.err


async def test_a_picture_says_it_on_standard_error(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """So that the picture itself is what it is online."""
    async with mirror(tmp_path, tiny_fleet) as made:
        online = await made.run("graph", "--collapse")
    done = await made.run("graph", "--offline", "--collapse")
    nodes = [text.count("->") for text in (online.out, done.out)]
    assert (0, nodes[0], True) == (done.code, nodes[1], done.err.startswith("mmgraph: Offline: "))


def test_names_in_it_steer_no_terminal() -> None:
    """A registry's name is checked, and yet nothing of it is printed as it is."""
    planner = Planner(Evidence(), {})
    planner.fail(Unread(spec("a:1", "a:1"), "gone"))
    basis = Basis({Registry("\x1b[2J"): Span(1, 2), Registry("b"): Span(99, 99)}, ("\u202e",) * 5, (), 3)
    lines = offline_lines(replace(planner.finish(), offline=basis))
    assert [] == [line for line in lines if not line.isprintable()]


async def test_a_blob_that_another_tag_is_remembered_to_lead_to(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """It is not said to have been asked for, and its reason says that it is remembered."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("apply", "--only", "team-0/service-0:v1")
        source, destination = made.source.address, made.destination.address
        made.write("other.json", json.dumps({
            "src": f"{source}/team-0/service-0:v2", "dst": f"{destination}/team-0/service-0:other"
        }))  # fmt: skip
        online = await made.run("plan", "other.json", "--all")
    offline = await made.run("plan", "other.json", "--all", "--offline")
    told = ("(found by HEAD)", "(listed by what another tag named when last seen)")
    assert [(True, False), (False, True)] == [
        tuple(words in done.out for words in told) for done in (online, offline)
    ]
