"""mmgraph verify as a process: exit codes, the list of what is broken, and the repair that the list is for."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mmgraph.server import FaultPlan, Flip, Headers, MemoryStorage, Refuse, RegistryServer, Rule
from mmgraph.store import Operation
from tests.support.command import Command
from tests.support.images import Maker, digest
from tests.support.mirror import spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LAYERS = b"layer of a", b"layer of b"


class Pair(NamedTuple):
    """Two images at a source, copied to a destination, and a command line."""

    command: Command
    source: RegistryServer
    destination: RegistryServer

    def lose(self, repository: str, layer: bytes) -> None:
        """Let the destination forget a layer, as garbage collection may."""
        assert isinstance(self.destination.storage, MemoryStorage)
        self.destination.storage.remove_blob(repository, digest(layer))


@asynccontextmanager
async def copied(directory: Path) -> AsyncIterator[Pair]:
    """Start both registries, and copy two images of a layer each."""
    storage = MemoryStorage()
    for name, layer in zip("ab", LAYERS, strict=True):
        Maker(storage).image(name, layer, config=b'{"of":"%s"}' % name.encode(), tags=("v1",))
    async with (
        RegistryServer(storage, faults=FaultPlan()) as source,
        RegistryServer(MemoryStorage(), faults=FaultPlan()) as destination,
    ):
        command = Command(directory)
        here, there = source.address, destination.address
        command.write("specs.json", "".join(spec(f"{here}/{n}:v1", f"{there}/{n}:v1") for n in "ab"))
        done = await command.run("apply")
        assert 0 == done.code, done.err
        yield Pair(command, source, destination)


@pytest.mark.parametrize("level", ["head", "read", "full"])
async def test_what_is_whole_exits_0(tmp_path: Path, level: str) -> None:
    """Nothing is written, and the last line counts."""
    async with copied(tmp_path) as pair:
        pair.destination.log.clear()
        done = await pair.command.run("verify", f"--level={level}")
        methods = {request.method for request in pair.destination.log}
    assert (0, True) == (done.code, methods <= {"GET", "HEAD"}), done.err
    assert done.out.startswith("Verified 2 specs: 2 whole, 0 broken.")


async def test_the_list_of_what_is_missing_repairs_it(tmp_path: Path) -> None:
    """A blob is lost below a tag: 2, with its name; apply sees nothing to do, and --repair of the list heals it."""
    lost = str(digest(LAYERS[0]))
    async with copied(tmp_path) as pair:
        run = pair.command.run
        pair.lose("a", LAYERS[0])
        told = await run("verify")
        listed = await run("verify", "--format=specs", "--out=broken.json")
        unaware = await run("apply")
        pair.destination.log.clear()
        repaired = await run("apply", "broken.json", "--repair")
        sent = [request.name for request in pair.destination.log.select(Operation.PUT_BLOB)]
        after = await run("verify")
    broken = [json.loads(line)["dst"] for line in (tmp_path / "broken.json").read_text().splitlines()]
    assert (2, 2, True) == (told.code, listed.code, lost in told.out), told.out
    assert ("", True) == (listed.out, listed.err.startswith("Verified 2 specs: 1 whole, 1 broken.")), listed
    assert [f"{pair.destination.address}/a:v1"] == broken
    assert (0, 0, [lost], 0) == (unaware.code, repaired.code, sent, after.code), repaired.err


async def test_what_has_other_bytes_is_mended_at_its_registry_first(tmp_path: Path) -> None:
    """HEAD says that the blob is there, so no repair sends it until it is removed; the finding and the list say so."""
    spoiled = str(digest(LAYERS[0]))
    async with copied(tmp_path) as pair:
        run, faults = pair.command.run, pair.destination.faults
        faults.add(Rule(Flip(3), kind=Operation.GET_BLOB, name=spoiled))
        told = await run("verify", "--level=full")
        listed = await run("verify", "--level=full", "--format=specs", "--out=broken.json")
        vain = await run("apply", "broken.json", "--repair")
        faults.clear()
        pair.lose("a", LAYERS[0])
        repaired = await run("apply", "broken.json", "--repair")
        after = await run("verify", "--level=full")
    found, advice, _ = told.out.splitlines()
    assert (True, True) == (spoiled in found, "the registry must remove it" in found), told.out
    assert [True, False] == [each.startswith("What has other bytes") for each in (advice, listed.out)]
    assert [advice] == [line for line in listed.err.splitlines() if "other bytes" in line]
    assert (2, "mmgraph: nothing to do", 0, 0) == (
        told.code,
        (vain.out + vain.err).splitlines()[-1],
        repaired.code,
        after.code,
    )


async def test_a_saved_repair_is_a_repair_in_the_end(tmp_path: Path) -> None:
    """It is planned, saved, carried out and accounted for under that name, beside a tag that is whole."""
    async with copied(tmp_path) as pair:
        run = pair.command.run
        pair.lose("a", LAYERS[0])
        planned = await run("plan", "--repair", "--out", "repair.plan")
        done = await run("apply", "repair.plan", "--format", "jsonl", "--report", "report.json")
        after = await run("verify")
    counts = json.loads((tmp_path / "report.json").read_text())["outcomes"]
    events = [json.loads(line) for line in done.out.splitlines()]
    told = [each["outcome"] for each in events if each["event"] == "finished"]
    assert (0, 0, 0, True) == (
        planned.code,
        done.code,
        after.code,
        " 0 to move, 1 to repair, " in planned.out,
    )
    assert ({"repaired": 1, "unchanged": 1}, ["repaired", "unchanged"]) == (
        {outcome: count for outcome, count in counts.items() if count},
        sorted(told),
    )
    assert " moved 0, repaired 1, " in done.err


async def test_a_registry_whose_heads_are_stale(tmp_path: Path) -> None:
    """It answers HEAD for a blob that it has lost: that passes, until it is read."""
    async with copied(tmp_path) as pair:
        gone = Refuse(404, "BLOB_UNKNOWN")
        pair.destination.faults.add(Rule(gone, kind=Operation.GET_BLOB, name=str(digest(LAYERS[1]))))
        codes = [(await pair.command.run("verify", f"--level={level}")).code for level in ("head", "read")]
    assert [0, 2] == codes


async def test_what_a_user_sees_of_the_wire(tmp_path: Path) -> None:
    """-v tells of what failed, -vv of every request, and --trace writes each as a line of JSON."""
    async with copied(tmp_path) as pair:
        plain = [f"--plain-http={server.address}" for server in (pair.source, pair.destination)]
        pair.destination.faults.add(Rule(Refuse(503), kind=Operation.HEAD_BLOB, count=1))
        failed = await pair.command.run("verify", "-v", *plain)
        traced = await pair.command.run("verify", "-vv", "--trace=trace.jsonl", *plain)
    lines = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    first, second = [line for line in failed.err.splitlines() if "/v2/" in line]
    assert [True, True] == [": 503, " in first, "(attempt 2)" in second], failed.err
    assert {("HEAD", 200, 1)} == {(line["method"], line["status"], line["attempt"]) for line in lines}
    assert len(lines) == len([line for line in traced.err.splitlines() if "/v2/" in line])


async def test_the_next_run_goes_on_where_a_quota_ended(tmp_path: Path) -> None:
    """What was read before the reserve was reached is not read again: it is in the cache."""
    async with copied(tmp_path) as pair:
        here, there = pair.source, pair.destination.address
        pair.command.write(
            "specs.json", "".join(spec(f"{here.address}/{n}:v1", f"{there}/c/{n}:v1") for n in "ab")
        )
        here.log.clear()
        left = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "6;w=21600"}
        here.faults.add(Rule(Headers(left), kind=Operation.HEAD_MANIFEST))
        cache = {"XDG_CACHE_HOME": str(tmp_path / "fresh")}
        first = await pair.command.run("plan", variables=cache)
        here.faults.clear()
        read = {request.name for request in here.log.select(Operation.GET_MANIFEST)}
        here.log.clear()
        second = await pair.command.run("apply", variables=cache)
        again = read & {request.name for request in here.log.select(Operation.GET_MANIFEST)}
    assert (1, True, 0, set()) == (first.code, "still needed" in first.out, second.code, again), first.out


@pytest.mark.parametrize("words", [("plan", "--repair"), ("apply", "-n", "--repair")])
async def test_a_planned_repair_says_what_its_requests_leave_out(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Below the requests stands that those of the questions are not among them."""
    async with copied(tmp_path) as pair:
        done = await pair.command.run(*words)
    assert "that is not among the requests." in done.out
