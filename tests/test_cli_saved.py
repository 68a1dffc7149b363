"""A saved plan between two people: what is sent of a stale one, whom it may make us speak to, the bytes it has."""

import json
import signal
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from mmgraph.cli import main
from mmgraph.store import Operation
from tests.support.command import Command, end
from tests.support.oracle import walk
from tests.test_cli_apply import Mirror, mirror

MOVED = "team-0/service-0"


async def move(made: Mirror) -> str:
    """Let somebody else lay another image under a tag that the saved plan is to create; return its digest."""
    other = next(iter(made.fleet.tags["team-0/service-1"].values()))
    spec = {
        "src": f"{made.source.address}/team-0/service-1@{other}",
        "dst": f"{made.destination.address}/{MOVED}:v1",
    }
    done = await made.run("apply", stdin=json.dumps(spec))
    assert 0 == done.code, done
    return other


async def test_skipping_what_is_stale_does_the_rest(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Exit 1; the stale tag is counted as failed, with what was expected and what is there, and stays as it is."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        other = await move(made)
        done = await made.run("apply", "mirror.plan", "--skip-stale", "-v")
        found = await walk(made.destination.address, list(tiny_fleet.tags))
        again = await made.run("apply", "mirror.plan", "--skip-stale")
    expected = {**tiny_fleet.closures(), MOVED: {**tiny_fleet.closures()[MOVED]}}
    assert other == found[MOVED].pop("v1")[0]
    del expected[MOVED]["v1"]
    assert expected == found
    count = f"{made.tags - 1} tags to write, 1 for which the saved plan is stale, "
    assert (True, False) == (count in done.err, "cannot be planned" in done.err), done.err
    cause = f"the saved plan is stale: it named nothing, and names {other} now"
    assert (1, True, True) == (done.code, f"Copied {made.tags - 1}," in done.out, "1 spec failed" in done.out)
    assert cause in " ".join(done.out.split()), done.out
    assert (1, True) == (again.code, f"Copied 0, moved 0, unchanged {made.tags - 1}," in again.out), again


async def test_a_dry_run_without_what_is_stale(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """It shows what would be done and what would fail, and sends nothing."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        await move(made)
        made.destination.log.clear()
        done = await made.run("apply", "mirror.plan", "--skip-stale", "-n")
        sent = made.sent()
    last = done.out.splitlines()[-1]
    assert done.out.startswith("1 spec left out, as the saved plan is stale:\n"), done.out
    assert (1, 0, f"Plan: {made.tags - 1} to copy, 0 to move, 0 unchanged, 1 failed.") == (
        done.code,
        sent,
        last[: last.index("failed.") + 7],
    )


async def test_a_stale_plan_reads_nothing_of_the_source(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """What is refused needs no look at what the source names."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        await move(made)
        made.source.log.clear()
        done = await made.run("apply", "mirror.plan")
        asked = len(made.source.log)
    assert (1, 0) == (done.code, asked)


async def test_a_plan_reads_no_manifest_of_the_source(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """One HEAD a source tag and the blobs are all that the source is asked for, also without a cache."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        made.source.log.clear()
        done = await made.run("apply", "mirror.plan", "--no-cache")
        heads = made.source.log.count(Operation.HEAD_MANIFEST)
        kinds = {str(request.kind) for request in made.source.log} - {"GET ping"}
    assert (0, made.tags, {"HEAD manifest", "GET blob"}) == (done.code, heads, kinds)


@pytest.mark.parametrize("allowed", ["source", "destination"])
async def test_a_registry_that_is_not_allowed_ends_it(
    tmp_path: Path, tiny_fleet: Fleet, allowed: str
) -> None:
    """Whether it would be read or written; one sentence says which, and no registry is asked."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        hosts = {"source": made.source.address, "destination": made.destination.address}
        for server in (made.source, made.destination):
            server.log.clear()
        done = await made.run("apply", "mirror.plan", "--allow-host", hosts.pop(allowed))
        asked = len(made.source.log) + len(made.destination.log)
    [strange] = hosts.values()
    assert (1, "", 0, 1) == (done.code, done.out, asked, len(done.err.splitlines()))
    assert done.err.startswith(f"mmgraph: --allow-host does not name {strange} ("), done.err


@pytest.mark.parametrize("names", [["mirror.plan"], ["specs.json"]])
async def test_what_is_allowed_is_done(tmp_path: Path, tiny_fleet: Fleet, names: list[str]) -> None:
    """The option is repeatable, and holds for specs as for a plan."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        hosts = (f"--allow-host={server.address}" for server in (made.source, made.destination))
        done = await made.run("apply", *names, *hosts)
        complete = await made.is_complete()
    assert (0, True) == (done.code, complete)


def test_hosts_are_registries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What could never fit is no protection, so it is an error."""
    (tmp_path / "specs.json").write_text('{"src": "alpine", "dst": "b.example/alpine"}')
    code = main(["apply", str(tmp_path / "specs.json"), "--allow-host", "https://b.example/"])
    assert (1, True) == (code, "https://b.example/" in (err := capsys.readouterr().err)), err


async def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """In processes with other hash seeds, with no cache, a cold one and a warm one, in other orders of answers."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("apply", "--only", "*/service-1:*")
        for number, more in enumerate((["--no-cache"], [], [], ["-j", "1"])):
            seed = {"PYTHONHASHSEED": str(number)}
            if number == 1:
                seed["XDG_CACHE_HOME"] = str(tmp_path / "another")
            await made.run("plan", "--out", f"{number}.plan", *more, variables=seed)
    plans = [(tmp_path / f"{number}.plan").read_bytes() for number in range(4)]
    assert 1 == len(set(plans)), [len(plan) for plan in plans]


async def test_a_saved_plan_that_was_interrupted_is_finished(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Killed on its way, run again: nothing is stale, what is done is unchanged, and the rest is done."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        first = await made.start("apply", "mirror.plan", "-j", "1")
        while True:
            line = await first.stderr.readline() if first.stderr else b""
            if line.startswith(b"+ ") or not line:
                break
        first.send_signal(signal.SIGKILL)
        killed = await end(first)
        again = await made.run("apply", "mirror.plan")
        complete = await made.is_complete()
    assert (-signal.SIGKILL, 0, True) == (killed.code, again.code, complete), again
    assert "unchanged 0" not in again.out, again.out


async def test_a_saved_plan_says_what_it_came_from(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The tool and its version, and of each spec its file, its place there, its pinned digest."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
    saved = json.loads((tmp_path / "mirror.plan").read_text())
    places = [(spec["file"], spec["number"]) for spec in saved["specs"]]
    pinned = [spec["sourceDigest"] for spec in saved["specs"]]
    roots = [tiny_fleet.tags[repository][tag] for repository, tag, _ in tiny_fleet.images()]
    assert [("specs.json", number) for number in range(1, made.tags + 1)] == places
    assert (sorted(roots), True) == (sorted(pinned), saved["tool"].startswith("mmgraph "))


async def test_what_could_not_be_planned_did_not_fail_just_now(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Nobody asks for it again, and it is said so: in text, as jsonl, in the report, and in a dry run."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.write(
            "specs.json",
            f'{{"src": "{made.source.address}/none:v1", "dst": "{made.destination.address}/none:v1"}}'
            f'{{"src": "{made.source.address}/{MOVED}:v1", "dst": "{made.destination.address}/some:v1"}}',
        )
        await made.run("plan", "--out", "mirror.plan")
        dry = await made.run("apply", "mirror.plan", "-n")
        text = await made.run("apply", "mirror.plan")
        lines = await made.run("apply", "mirror.plan", "--format=jsonl", "--report=report.json")
    told = "could not be planned when the plan was made: "
    events = [json.loads(line) for line in lines.out.splitlines()]
    ends = json.loads((tmp_path / "report.json").read_text())["specs"]
    causes = [
        *(" ".join(done.out.split()) for done in (dry, text)),
        *(event["cause"] for event in events if event.get("outcome") == "failed"),
        *(end["cause"] for end in ends if end["outcome"] == "failed"),
    ]
    assert [True] * 4 == [told in cause for cause in causes], causes
    assert (1, 1, 1, True) == (dry.code, text.code, lines.code, "Copied 1, " in text.out)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("apply", "specs.json", "--skip-stale"), "--skip-stale is for a saved plan: specs are read anew"),
        (
            ("plan", "specs.json", "-q", "--format=json"),
            "--question prints no plan, and --format json is for one",
        ),
        (
            ("plan", "empty.plan", "--only=x"),
            "a saved plan is taken as it is: give --only and --require-platforms to the mmgraph plan that makes it",
        ),
        (
            ("apply", "empty.plan", "--repair"),
            "a saved plan is carried out as it is: give --repair to the mmgraph plan that makes it",
        ),
    ],
)
async def test_options_that_mean_nothing_together_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    """One error, before any registry is asked."""
    command = Command(tmp_path)
    command.write("specs.json", '{"src": "127.0.0.1:1/a:1", "dst": "127.0.0.1:1/b:1"}')
    await command.run("plan", "-", "--out", "empty.plan", stdin="[]")
    done = await command.run(*arguments)
    assert (1, "", 1, True) == (done.code, done.out, done.err.count("\n"), told in done.err), done.err
