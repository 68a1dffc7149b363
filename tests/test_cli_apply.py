"""plan, apply and graph as processes, between two registries: results, streams, exit codes, saved plans, signals."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from mmgraph.cli import main
from mmgraph.closure import Unread
from mmgraph.evidence import Evidence
from mmgraph.plan import Planner
from mmgraph.saved import write
from mmgraph.server import Delay, FaultPlan, Headers, MemoryStorage, Refuse, RegistryServer, Rule, Stall
from mmgraph.store import Operation
from tests.support.command import Command, end
from tests.support.making import spec
from tests.support.oracle import walk


class Mirror(Command):
    """mmgraph between a source that holds a fleet and an empty destination."""

    def __init__(self, directory: Path, fleet: Fleet, source: RegistryServer, destination: RegistryServer):
        super().__init__(directory)
        self.fleet = fleet
        self.source = source
        self.destination = destination
        self.write("specs.json", fleet.specs(source.address, destination.address))
        self.tags = len(list(fleet.images()))

    def sent(self) -> int:
        """Requests that changed the destination."""
        return sum(request.method in ("POST", "PUT", "PATCH") for request in self.destination.log)

    async def is_complete(self) -> bool:
        """Whether the destination holds the whole fleet, byte for byte, by an independent reader."""
        return self.fleet.closures() == await walk(self.destination.address, list(self.fleet.tags))


@asynccontextmanager
async def mirror(directory: Path, fleet: Fleet) -> AsyncIterator[Mirror]:
    """Start both registries and fill the source."""
    async with (
        RegistryServer(MemoryStorage(), faults=FaultPlan()) as source,
        RegistryServer(MemoryStorage(), faults=FaultPlan()) as destination,
    ):
        await asyncio.to_thread(fleet.push, source.address)
        source.log.clear()
        yield Mirror(directory, fleet, source, destination)


async def test_apply_mirrors_and_a_second_run_finds_nothing_to_do(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The summary is on standard output, progress on standard error; then one line, one HEAD a tag, no GET."""
    async with mirror(tmp_path, tiny_fleet) as made:
        first = await made.run("apply")
        complete = await made.is_complete()
        made.source.log.clear()
        made.destination.log.clear()
        second = await made.run("apply", "specs.json")
        asked = {
            (request.method, str(request.kind))
            for log in (made.source, made.destination)
            for request in log.log
        }
    assert (0, True, True) == (first.code, complete, first.out.startswith(f"Copied {made.tags}, moved 0"))
    assert (0, "mmgraph: nothing to do\n", "") == second
    assert {("HEAD", "HEAD manifest")} == asked - {("GET", "GET ping")}


async def test_progress_is_on_standard_error(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """A line for each tag, and no cursor codes, since it is no terminal."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("apply")
    lines = [line for line in done.err.splitlines() if line.startswith("+ ")]
    assert (made.tags, False) == (len(lines), "\x1b" in done.err)


async def test_plan_writes_nothing_and_exits_0(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The plan on standard output ends with the line that counts."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("plan")
        sent = made.sent()
    assert (0, 0, "") == (done.code, sent, done.err)
    assert done.out.splitlines()[-1].startswith(
        f"Plan: {made.tags} to copy, 0 to move, 0 unchanged, 0 failed."
    )


async def test_pending_changes_exit_2_where_asked_for(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Before an apply, and 0 after it."""
    async with mirror(tmp_path, tiny_fleet) as made:
        before = await made.run("plan", "--detailed-exitcode")
        await made.run("apply")
        after = await made.run("plan", "--detailed-exitcode")
    assert (2, 0) == (before.code, after.code)


async def test_a_question_is_answered_by_looks_alone(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Nothing is printed, and no blob is asked for."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("plan", "-q")
        asked = made.destination.log.count(Operation.HEAD_BLOB)
    assert (2, "", "", 0) == (*done, asked)


async def test_a_failed_spec_exits_1_and_the_rest_is_done(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Also with --detailed-exitcode, where 1 beats 2; the summary names it with its cause."""
    async with mirror(tmp_path, tiny_fleet) as made:
        specs = (tmp_path / "specs.json").read_text()
        gone = {"src": f"{made.source.address}/gone:1", "dst": f"{made.destination.address}/gone:1"}
        made.write("specs.json", specs + json.dumps(gone))
        asked = await made.run("plan", "--detailed-exitcode")
        done = await made.run("apply", "-k")
        complete = await walk(made.destination.address, list(tiny_fleet.tags))
    assert (1, 1, tiny_fleet.closures()) == (asked.code, done.code, complete)
    assert f"{made.destination.address}/gone:1" in done.out


async def test_what_a_quota_leaves_is_told_at_the_end(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """A registry that gives out no more manifests fails the specs it kept back, in a plan's words for quotas."""
    left = Headers({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "6;w=21600"})
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(left, kind=Operation.HEAD_MANIFEST))
        done = await made.run("apply")
    told = re.search(
        r"\n(\S+): quota: \d+ manifests? read of 100 in 6 h, 5 left, at least \d+ still needed\n", done.out
    )
    assert (1, made.source.address) == (done.code, told and told[1]), done.out
    assert "deferred: quota: " in done.out


async def test_only_narrows(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Of nine tags, the three of one repository."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("apply", "--only", "*/service-0:*")
    assert (0, True) == (done.code, done.out.startswith("Copied 3, moved 0")), done


async def test_a_dry_run_prints_the_plan(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The same text as plan's, and nothing is sent."""
    async with mirror(tmp_path, tiny_fleet) as made:
        planned = await made.run("plan")
        done = await made.run("apply", "-n")
        sent = made.sent()
    assert (0, planned.out, 0) == (done.code, done.out, sent)


async def test_max_failures_stops_early(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """After the first failed spec nothing new is started."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.destination.faults.add(Rule(Refuse(403, "DENIED"), kind=Operation.PUT_MANIFEST))
        done = await made.run("apply", "--max-failures", "1", "-j", "1")
    assert (1, True) == (done.code, "stopped 0." not in done.out), done.out


async def test_a_saved_plan_is_carried_out(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Without reading a manifest at the source; a second time there is nothing to do."""
    async with mirror(tmp_path, tiny_fleet) as made:
        saved = await made.run("plan", "--out", "mirror.plan")
        made.source.log.clear()
        done = await made.run("apply", "mirror.plan")
        read = made.source.log.count(Operation.GET_MANIFEST)
        complete = await made.is_complete()
        again = await made.run("apply", "mirror.plan")
    assert (0, 0, 0, True) == (saved.code, done.code, read, complete)
    assert (0, "mmgraph: nothing to do\n", "") == again


async def test_a_saved_plan_costs_what_its_bill_says(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Bytes and requests at both registries, the one probe included."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        bill = json.loads((tmp_path / "mirror.plan").read_text())["bill"]
        for server in (made.source, made.destination):
            server.log.clear()
        await made.run("apply", "mirror.plan")
        shown = {}
        for server in (made.source, made.destination):
            counts: dict[str, int] = {}
            for request in server.log:
                counts[str(request.kind)] = counts.get(str(request.kind), 0) + 1
            shown[server.address] = counts
        sent = made.source.log.bytes_sent(Operation.GET_BLOB)
    billed = bill["requests"][made.destination.address]
    billed["POST upload"] += billed.pop("POST probe")
    for counts in shown.values():
        counts.pop("GET ping", None)
    assert (bill["requests"], bill["downloaded"]) == (shown, sent)


async def test_a_saved_plan_is_its_owners_alone(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Mode 0600, and no temporary file stays beside it."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in os.scandir(tmp_path)}
    assert ({"mirror.plan", "specs.json", "cache"}, 0o600) == (set(modes), modes["mirror.plan"])


async def test_the_json_of_a_plan_is_what_is_saved(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Byte for byte, so that a pipe does as well as a file."""
    async with mirror(tmp_path, tiny_fleet) as made:
        shown = await made.run("plan", "--format", "json", "--out", "mirror.plan")
        applied = await made.run("apply", "-", stdin=shown.out)
    assert ((tmp_path / "mirror.plan").read_text(), 0) == (shown.out, applied.code)


async def test_a_plan_that_was_spoiled_is_named(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The file that cannot be carried out, and what to do."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.write("mirror.plan", '{"format": "mmgraph-plan", "version": 1')
        done = await made.run("apply", "mirror.plan")
    assert (1, "") == done[:2]
    assert done.err.startswith("mmgraph: mirror.plan: the saved plan cannot be read: "), done.err
    assert done.err.endswith("; make it anew with mmgraph plan --out\n"), done.err


@pytest.mark.parametrize("arguments", [["graph"], ["apply"], ["apply", "-n"]])
def test_causes_in_a_plan_steer_no_terminal(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan's file may have been written by anybody, its causes too."""
    planner = Planner(Evidence(), {})
    planner.fail(Unread(spec("a:1", "a:1"), "\x1b[2J\u202e\n::error::x"))
    (tmp_path / "x.plan").write_bytes(write(planner.finish(), "test"))
    code = main([*arguments, str(tmp_path / "x.plan"), "--plain-http", "src.example"])
    out, err = capsys.readouterr()
    assert (1, []) == (code, [line for line in (out + err).splitlines() if not line.isprintable()])
    assert "\n::error" not in out + err


async def test_a_saved_plan_is_shown_as_it_was_made(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """The same text below the line that says which it is, the same exit codes, and no registry is asked."""
    async with mirror(tmp_path, tiny_fleet) as made:
        planned = await made.run("plan", "--out", "mirror.plan")
        asked = len(made.source.log) + len(made.destination.log)
        shown = await made.run("plan", "mirror.plan")
        pending = await made.run("plan", "mirror.plan", "-q")
        asked = len(made.source.log) + len(made.destination.log) - asked
    below = shown._replace(out=shown.out.partition("\n\n")[2])
    assert (planned, (2, "", ""), 0) == (below, pending, asked)


async def test_a_stale_plan_sends_nothing(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Exit 1, and each stale tag is named with what was expected and what was found."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        other = next(iter(tiny_fleet.tags["team-0/service-1"].values()))
        moved = json.dumps(
            {
                "src": f"{made.source.address}/team-0/service-1@{other}",
                "dst": f"{made.destination.address}/team-0/service-0:v1",
            }
        )
        await made.run("apply", stdin=moved)
        made.destination.log.clear()
        done = await made.run("apply", "mirror.plan")
        sent = made.sent()
    stale = f"{made.destination.address}/team-0/service-0:v1 named nothing, and names {other} now"
    assert (1, "", 0) == (done.code, done.out, sent)
    assert ("Saved plan is stale" in done.err, stale in done.err) == (True, True), done.err


async def test_a_source_that_moved_is_told_of_and_the_plan_carried_out(
    tmp_path: Path, tiny_fleet: Fleet
) -> None:
    """The planned digest is copied, with a notice."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        repository = "team-0/service-0"
        moved = {
            "src": f"{made.source.address}/{repository}:v2",
            "dst": f"{made.source.address}/{repository}:v1",
        }
        await made.run("apply", stdin=json.dumps(moved))
        done = await made.run("apply", "mirror.plan")
        complete = await made.is_complete()
    assert (0, True, True) == (done.code, complete, f"{repository}:v1 has moved to" in done.err), done.err


async def test_a_broken_plan_is_refused(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Nothing is asked of any registry."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        content = (tmp_path / "mirror.plan").read_text()
        made.write("cut.plan", content[: len(content) // 2])
        made.destination.log.clear()
        done = await made.run("apply", "cut.plan")
        asked = len(made.destination.log)
    assert (1, 0, True) == (done.code, asked, "the saved plan cannot be read" in done.err), done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["apply", "mirror.plan", "specs.json"],
        ["apply", "mirror.plan", "--only", "*"],
        ["graph", "mirror.plan", "--require-platforms"],
        ["plan", "mirror.plan", "--repair"],
        ["plan", "mirror.plan", "--out", "other.plan"],
    ],
)
def test_a_plan_stands_alone(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not beside specs, not under --only, and plan does not plan it again."""
    monkeypatch.chdir(tmp_path)
    Path("specs.json").write_text("")
    Path("mirror.plan").write_bytes(write(Planner(Evidence(), {}).finish(), "test"))
    code = main(arguments)
    assert (1, True) == (code, "saved plan" in (err := capsys.readouterr().err)), err


async def test_the_graph_of_specs_and_of_a_saved_plan_is_the_same(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """As DOT, and as JSON whose fields the schema has."""
    async with mirror(tmp_path, tiny_fleet) as made:
        await made.run("plan", "--out", "mirror.plan")
        drawn = [await made.run("graph", name) for name in ("specs.json", "mirror.plan")]
        as_json = await made.run("graph", "mirror.plan", "--format", "json", "--out", "-")
        schema = await made.run("schema", "graph")
    assert (0, True, True) == (drawn[0].code, drawn[0].out.startswith("digraph"), drawn[0] == drawn[1])
    document, properties = json.loads(as_json.out), json.loads(schema.out)["properties"]
    assert document.keys() == properties.keys()
    fields = {field for node in document["nodes"] for field in node}
    assert fields <= properties["nodes"]["items"]["properties"].keys()
    assert document["bill"].keys() == properties["bill"]["properties"].keys()


async def test_a_graph_of_nothing_known_is_refused(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """A focus that names no destination."""
    async with mirror(tmp_path, tiny_fleet) as made:
        done = await made.run("graph", "--focus", "nothing/like:this")
    assert (1, "") == done[:2]


async def test_colour_is_there_when_asked_for(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """By itself not into a pipe."""
    async with mirror(tmp_path, tiny_fleet) as made:
        shown = ["\x1b[" in (await made.run("plan", *flags)).out for flags in ([], ["--color", "always"])]
    assert [False, True] == shown


async def interrupted(made: Mirror, kind: Operation, *signals: signal.Signals) -> tuple[int, str, str]:
    """Run apply, send the signals once the source has been asked so, each when the one before was answered."""
    process = await made.start("apply", "specs.json", "-j", "2")
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
    return done.code, done.out, said.decode() + done.err


async def test_a_signal_lets_what_runs_come_to_its_end(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Exit 130, no open session, and what was under way has landed; the next run does the rest."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(Delay(0.5), kind=Operation.GET_BLOB))
        code, out, err = await interrupted(made, Operation.GET_BLOB, signal.SIGINT)
        landed = made.destination.log.count(Operation.PUT_BLOB, status=201)
        open_sessions = made.destination.open_sessions
        made.source.faults.clear()
        again = await made.run("apply")
        complete = await made.is_complete()
    assert (130, 0, True, 0, True) == (code, open_sessions, landed > 0, again.code, complete), err
    assert re.search(r"Copied 0, .* stopped 9\.", out), out


async def test_a_second_signal_stops_at_once(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """Exit 130 although a registry has fallen silent, and the sessions are cancelled."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(Stall(after=10), kind=Operation.GET_BLOB))
        code, out, err = await interrupted(made, Operation.GET_BLOB, signal.SIGTERM, signal.SIGINT)
        open_sessions = made.destination.open_sessions
    assert (130, "", 0, True) == (code, out, open_sessions, "mmgraph: interrupted" in err), err
    assert "mmgraph: copied 0, moved 0, unchanged 0, failed 0, and 9 not done: run the same" in err, err


async def test_a_signal_while_planning_stops_at_once(tmp_path: Path, tiny_fleet: Fleet) -> None:
    """There is nothing to bring to an end."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(Stall(), kind=Operation.GET_MANIFEST))
        code, out, err = await interrupted(made, Operation.GET_MANIFEST, signal.SIGINT)
    assert (130, "", "mmgraph: interrupted\n") == (code, out, err)


async def test_a_signal_while_a_run_is_being_stopped_leaves_no_words_of_connections(
    tmp_path: Path, tiny_fleet: Fleet
) -> None:
    """Interrupted while a registry is silent about sessions to cancel: no dump of what aiohttp had open."""
    async with mirror(tmp_path, tiny_fleet) as made:
        made.source.faults.add(Rule(Stall(after=10), kind=Operation.GET_BLOB))
        made.destination.faults.add(Rule(Stall(), kind=Operation.DELETE_UPLOAD))
        process = await made.start("apply", "specs.json", "-j", "2")
        await made.source.log.reached(Operation.GET_BLOB)
        assert process.stderr is not None
        said = b""
        for until in (b"stopping: ", b"interrupted"):
            process.send_signal(signal.SIGINT)
            while until not in said:
                said += await process.stderr.readline()
        await made.destination.log.reached(Operation.DELETE_UPLOAD)
        process.send_signal(signal.SIGINT)
        done = await end(process)
    assert "Unclosed" not in done.err, done.err
