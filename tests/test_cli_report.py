"""What apply leaves for programs: a report, the specs that are left, events; however the run ends."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from benchmarks.fleet import Fleet
from mmgraph.cli import interrupt, main, records
from mmgraph.cli.interrupt import Interrupts
from mmgraph.report import account_json, events_json
from mmgraph.server import Delay, FaultPlan, Refuse, RegistryServer, Rule, Stall
from mmgraph.store import Operation, RawManifest
from tests.support.clock import ManualClock
from tests.support.command import Done, end
from tests.support.making import content, digest, manifest
from tests.test_cli_apply import Mirror, mirror

BROKEN = "team-0/service-1"
REPORT = Draft202012Validator(account_json.schema())
EVENT = Draft202012Validator(events_json.schema())


def reported(made: Mirror, name: str = "report.json") -> dict[str, Any]:
    """Return the report, which is what its schema says."""
    report: dict[str, Any] = json.loads((made.directory / name).read_text())
    REPORT.validate(report)
    return report


def told(output: str) -> list[dict[str, Any]]:
    """Return the events of a stream, which are what their schema says."""
    events = [json.loads(line) for line in output.splitlines()]
    for event in events:
        EVENT.validate(event)
    return events


def left(made: Mirror, name: str = "failed.json") -> list[str]:
    """Return the sources of the specs that are left."""
    return [json.loads(line)["src"] for line in (made.directory / name).read_text().splitlines()]


async def recorded(made: Mirror, *arguments: str) -> Done:
    """Apply with a report and a file of what is left."""
    return await made.run("apply", *arguments, "--report", "report.json", "--failed", "failed.json")


async def end_of(process: asyncio.subprocess.Process) -> str:
    """Wait for a process and return what it said on standard error."""
    _, err = await process.communicate()
    return err.decode()


async def test_a_saved_plan_comes_to_what_its_bill_says(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Every byte and every request of the bill is observed, and no others but pings; nothing is left."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        done = await recorded(made, "mirror.plan")
    report = reported(made)
    sums = report["bytes"]
    assert (0, True, [], {"copied"}) == (
        done.code,
        report["complete"],
        left(made),
        {spec["outcome"] for spec in report["specs"]},
    )
    assert [] == [name for name in ("downloaded", "uploaded", "mounted") if len({*sums[name].values()}) != 1]
    others = {
        kind
        for place in report["registries"].values()
        for kind, pair in place["requests"].items()
        if pair["predicted"] != pair["observed"]
    }
    assert {"GET ping"} == others


async def test_specs_add_up_to_the_run(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Bytes and the requests that write or move; mounts are counted where they were granted."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await recorded(made)
        posts = made.destination.log.count(Operation.POST_UPLOAD)
    report = reported(made)
    for name in ("downloaded", "uploaded", "mounted"):
        assert report["bytes"][name]["observed"] == sum(spec["bytes"][name] for spec in report["specs"])
    place = report["registries"][made.destination.address]
    for kind in ("POST upload", "PUT blob", "PUT manifest"):
        observed = place["requests"][kind]["observed"]
        assert observed == sum(spec["requests"].get(kind, 0) for spec in report["specs"])
    granted = place["mounts"]["granted"]
    assert (True, granted) == (0 < granted < posts, place["mounts"]["asked"])


async def test_what_is_left_fed_back_after_the_repair_completes_the_set(
    tmp_path: Path, tiny_fleet: Fleet
) -> None:
    """A broken repository: its specs alone are left, with causes in the report; then nothing is left."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.destination.faults.add(
            Rule(Refuse(403, "DENIED"), kind=Operation.PUT_MANIFEST, repository=BROKEN)
        )
        done = await recorded(made)
        first, report = left(made), reported(made)
        made.destination.faults.clear()
        again = await made.run("apply", "failed.json", "--failed", "failed.json")
        complete = await made.is_complete()
    expected = [f"{made.source.address}/{BROKEN}:{tag}" for tag in tiny_fleet.tags[BROKEN]]
    assert (1, expected) == (done.code, first)
    bad = {spec["src"]: spec["cause"] for spec in report["specs"] if spec["outcome"] in ("failed", "blocked")}
    assert (expected, True) == (list(bad), all("DENIED" in cause for cause in bad.values()))
    assert (0, True, []) == (again.code, complete, left(made))


async def test_an_empty_file_is_nothing_to_do(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """So that a loop over what is left ends by itself."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await recorded(made)
        done = await made.run("apply", "failed.json")
    assert (0, "mmgraph: nothing to do\n") == (done.code, done.out)


async def test_where_nothing_can_be_planned_everything_is_left(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The source refuses all: each spec has failed, and is written back."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(Refuse(403, "DENIED"), kind=Operation.HEAD_MANIFEST))
        made.source.faults.add(Rule(Refuse(403, "DENIED"), kind=Operation.GET_MANIFEST))
        done = await recorded(made)
    report = reported(made)
    assert (1, made.tags, made.tags) == (done.code, report["outcomes"]["failed"], len(left(made)))


async def test_where_nothing_is_to_be_done_all_is_unchanged(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The looks are in it, and nothing is left."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("apply")
        done = await recorded(made)
    report = reported(made)
    heads = report["registries"][made.destination.address]["requests"]["HEAD manifest"]
    assert (0, made.tags, made.tags, []) == (
        done.code,
        report["outcomes"]["unchanged"],
        heads["observed"],
        left(made),
    )


async def test_of_a_stale_plan_all_is_left_as_it_was_planned(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The stale tag has failed, the others were stopped, and each source is pinned to what was planned."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        other = {
            "src": f"{made.source.address}/{BROKEN}:v1",
            "dst": f"{made.destination.address}/team-0/service-0:v1",
        }
        await made.run("apply", stdin=json.dumps(other))
        done = await recorded(made, "mirror.plan")
    outcomes = {spec["dst"]: spec["outcome"] for spec in reported(made)["specs"]}
    assert (1, "failed", {"failed", "stopped"}) == (done.code, outcomes[other["dst"]], {*outcomes.values()})
    expected = [
        f"{made.source.address}/{repository}:{tag}@{root}" for repository, tag, root in tiny_fleet.images()
    ]
    assert sorted(expected) == sorted(left(made))


async def test_broken_rules_are_in_the_report(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Where nothing was asked at all, for a rule about names."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.write("mmgraph.toml", '[[rule]]\nonly-registries = ["elsewhere.example"]\n')
        done = await recorded(made)
        asked = len(made.destination.log)
    report = reported(made)
    assert (1, 0, made.tags, made.tags) == (
        done.code,
        asked,
        len(report["violations"]),
        report["outcomes"]["failed"],
    )


async def stopped(made: Mirror, kind: Operation, *signals: signal.Signals) -> tuple[int, str]:
    """Apply with all records, and signal once the source has been asked so, each when the one before was answered."""
    process = await made.start(
        "apply", "-j", "2", "--report", "report.json", "--failed", "failed.json", "--format", "jsonl"
    )
    assert process.stderr is not None
    await made.source.log.reached(kind)
    said = b""
    for number in signals:
        process.send_signal(number)
        while number is not signals[-1] and b"stopping: " not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line
    done = await end(process)
    return done.code, done.out


async def test_a_drained_run_has_its_records(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """One signal: what is not done was stopped, and is left; the stream has its end."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(Delay(0.5), kind=Operation.GET_BLOB))
        code, out = await stopped(made, Operation.GET_BLOB, signal.SIGINT)
        made.source.faults.clear()
        again = await made.run("apply", "failed.json")
        complete = await made.is_complete()
    outcomes = reported(made)["outcomes"]
    assert (130, True, "summary") == (code, outcomes["stopped"] > 0, told(out)[-1]["event"])
    assert (outcomes["stopped"], 0, True) == (len(left(made)), again.code, complete)


@pytest.mark.parametrize(
    ("kind", "signals"),
    [
        (Operation.GET_BLOB, (signal.SIGTERM, signal.SIGINT)),
        (Operation.GET_MANIFEST, (signal.SIGINT, signal.SIGINT)),
        (Operation.HEAD_MANIFEST, (signal.SIGINT,)),
    ],
    ids=["copying", "reading", "looking"],
)
async def test_a_run_that_is_stopped_at_once_has_its_records(
    tmp_path: Path, tiny_fleet: Fleet, kind: Operation, signals: tuple[signal.Signals, ...]
) -> None:
    """Whatever it was at: nothing is done, all is left, and the stream has an end for every spec."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(Stall(), kind=kind))
        code, out = await stopped(made, kind, *signals)
    events = told(out)
    ends = [event["outcome"] for event in events if event["event"] == "finished"]
    assert (130, made.tags, made.tags) == (code, reported(made)["outcomes"]["stopped"], len(left(made)))
    assert (["stopped"] * made.tags, "summary") == (ends, events[-1]["event"])


async def test_events_are_on_standard_output_and_nothing_else(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The version first, the sums last, which are those of the events; progress and summary on standard error."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("apply", "--format", "jsonl")
    events = told(done.out)
    summary = events[-1]
    assert (0, "version", "summary") == (done.code, events[0]["event"], summary["event"])
    finished = [event["destination"] for event in events if event["event"] == "finished"]
    assert (made.tags, made.tags) == (len(finished), len(set(finished)))
    read = sum(event["read"] for event in events if event["event"] == "moved")
    sent = sum(event["size"] for event in events if event["event"] == "landed" and event["how"] == "uploaded")
    assert (summary["downloaded"], summary["uploaded"]) == (read, sent)
    assert f"Copied {made.tags}, moved 0" in done.err
    assert made.tags == sum(line.startswith("+ ") for line in done.err.splitlines())


async def test_events_of_nothing_to_do_tell_of_every_spec(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Each is unchanged, and that there was nothing to do is said to people."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("apply")
        done = await made.run("apply", "--format", "jsonl")
    ends = [event["outcome"] for event in told(done.out) if event["event"] == "finished"]
    assert (0, ["unchanged"] * made.tags, True) == (done.code, ends, "mmgraph: nothing to do" in done.err)


async def test_standard_output_can_have_the_report(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Alone: the summary is on standard error then."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("apply", "--report", "-", "--failed", "failed.json")
    REPORT.validate(json.loads(done.out))
    assert (0, [], True) == (done.code, left(made), f"Copied {made.tags}, moved 0" in done.err)


async def test_a_report_that_cannot_be_written_costs_no_other_result(
    tmp_path: Path, tiny_fleet: Fleet
) -> None:
    """A full disk: exit 1 with the reason, the set is copied, the summary and the other file are there."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("apply", "--report", "/dev/full", "--failed", "failed.json")
        complete = await made.is_complete()
    assert (1, True, []) == (done.code, complete, left(made))
    assert "mmgraph: /dev/full: No space left on device\n" in done.err
    assert done.out.splitlines()[-1].startswith(f"Copied {made.tags}, moved 0")


async def test_events_that_cannot_be_written_stop_no_copying(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """A full disk: exit 1 with the reason, said once, and the set is copied."""
    async with mirror(tmp_path, tiny_fleet) as made:
        full = os.open("/dev/full", os.O_WRONLY)
        process = await made.start("apply", "--format", "jsonl", stdout=full)
        os.close(full)
        done = await end_of(process)
        complete = await made.is_complete()
    message = "mmgraph: standard output: No space left on device\n"
    assert (1, True, 1) == (process.returncode, complete, done.count(message)), done


async def test_what_is_skipped_is_left_as_it_was_planned(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The stale tag of a plan of which the rest was done, with the digest that the plan had for it."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        other = {
            "src": f"{made.source.address}/{BROKEN}:v1",
            "dst": f"{made.destination.address}/team-0/service-0:v1",
        }
        await made.run("apply", stdin=json.dumps(other))
        done = await recorded(made, "mirror.plan", "--skip-stale")
        root = tiny_fleet.tags["team-0/service-0"]["v1"]
        expected = [f"{made.source.address}/team-0/service-0:v1@{root}"]
        again = await made.run("apply", "failed.json")
        complete = await made.is_complete()
    assert (1, expected, 0, True) == (done.code, left(made), again.code, complete)


async def test_what_is_left_of_a_plan_is_what_was_expected(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """A tag is stale: bytes and requests that were for it alone are neither predicted nor said to be missing."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        stranger = manifest("stranger")
        upload = made.destination.storage.upload("team-0/service-1")
        upload.write(content("stranger"))
        upload.commit(digest("stranger"))
        raw = RawManifest(stranger.raw, stranger.media_type)
        made.destination.storage.put_manifest("team-0/service-1", stranger.digest, raw, ["v1"])
        done = await recorded(made, "mirror.plan", "--skip-stale")
    report = reported(made)
    sums = [report["bytes"][name] for name in ("downloaded", "uploaded", "mounted")]
    others = {
        kind
        for place in report["registries"].values()
        for kind, pair in place["requests"].items()
        if pair["predicted"] != pair["observed"]
    }
    assert (1, [], {"GET ping"}) == (done.code, [each for each in sums if len({*each.values()}) > 1], others)
    assert (True, False) == ("1 spec failed" in done.out, "The plan expected" in done.out), done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "-", "--failed", "-"], "standard output takes one of"),
        (["--format", "jsonl", "--failed", "-"], "standard output takes one of"),
        (["--report", "a", "--failed", "a"], "--report and --failed name the same file"),
        (
            ["--report", "nowhere/report.json"],
            '"nowhere/report.json" cannot be written: there is no such directory',
        ),
        (["--failed", "."], '"." cannot be written: it is a directory'),
        (["-n", "--report", "a"], "--dry-run does nothing"),
        (["-n", "--format", "jsonl"], "--dry-run does nothing"),
        (["--format", "json"], "--format"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_done(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 1; it is better to know now than after hours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs.json").write_text('{"src": "alpine:3", "dst": "mirror.invalid/alpine:3"}')
    code = main(["apply", "specs.json", *arguments])
    out, err = capsys.readouterr()
    assert (1, "", True) == (code, out, message in err), err


async def test_the_time_of_a_run_has_its_reading_in_it(
    tmp_path: Path, tiny_fleet: Fleet, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source's very first answer takes 90 seconds of a clock on which nothing else takes any: all are told."""
    runs: list[Callable[[Interrupts], Coroutine[Any, Any, int]]] = []
    monkeypatch.setattr(records, "SystemClock", lambda: clock)
    # On this test's own event loop, which knows when all others wait and the clock's time can pass.
    monkeypatch.setattr(interrupt, "run", runs.append)
    monkeypatch.chdir(tmp_path)
    async with (
        mirror(tmp_path, tiny_fleet) as made,
        RegistryServer(made.source.storage, faults=FaultPlan(), clock=clock) as slow,
    ):
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        made.write("specs.json", tiny_fleet.specs(slow.address, made.destination.address))
        slow.faults.add(Rule(Delay(90.0), kind=Operation.HEAD_MANIFEST, count=1))
        main(["apply", "specs.json", "--report", "report.json"])
        with clock.autojump():
            code = await runs[0](Interrupts(lambda: None))
    assert (0, 90.0) == (code, reported(made)["seconds"])
