"""Runs that end before their end: killed, cancelled, drained. The registry is the only truth there is afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mmgraph import execute
from mmgraph.names import Registry
from mmgraph.server import MemoryStorage, RegistryServer, Rule, Stall
from mmgraph.store import Operation
from tests.support import oracle
from tests.support.images import digest
from tests.support.mirror import Pair, pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from benchmarks.fleet import Fleet
    from mmgraph.execute import Execution
    from mmgraph.registry.client import Client

GET, POST, PUT, PUT_MANIFEST = (
    Operation.GET_MANIFEST,
    Operation.POST_UPLOAD,
    Operation.PUT_BLOB,
    Operation.PUT_MANIFEST,
)
LARGE = bytes(range(256)) * 20_480

MOMENTS = [
    (GET, 5, ()),
    (POST, 1, ("--no-cache",)),
    (PUT, 9, ()),
    (PUT, 25, ("--no-cache",)),
    (PUT_MANIFEST, 1, ()),
    (PUT_MANIFEST, 5, ("--no-cache",)),
    (PUT_MANIFEST, 11, ("-j", "1")),
]
"""How many requests of which kind a run is let do before it is killed, and its options."""


class Site(NamedTuple):
    """Two servers in this process, a fleet at the first, and a directory for the command line to work in."""

    source: RegistryServer
    destination: RegistryServer
    fleet: Fleet
    directory: Path

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start ``python -m mmgraph`` in the directory."""
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.directory)}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mmgraph", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.directory,
            env=environment,
        )

    async def finish(self, *arguments: str) -> tuple[int, str]:
        """Run ``python -m mmgraph`` to its end; return its exit code and what it wrote."""
        process = await self.start(*arguments)
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def kill(self, kind: Operation, count: int, *arguments: str) -> set[str]:
        """Kill a run as soon as it has done so many requests; return the blobs that were committed by then."""
        process = await self.start(*arguments)
        logs = (self.source.log, self.destination.log)
        while sum(log.count(kind) for log in logs) < count and process.returncode is None:
            await asyncio.sleep(0.001)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()
        while any(log.running for log in logs):
            await asyncio.sleep(0.001)
        return {request.name for request in self.destination.log.select(PUT, status=201)}


@asynccontextmanager
async def site(fleet: Fleet, directory: Path) -> AsyncIterator[Site]:
    """Start both servers and write the specs, first to last in the order of the fleet."""
    async with RegistryServer(MemoryStorage()) as source, RegistryServer(MemoryStorage()) as destination:
        await asyncio.to_thread(fleet.push, source.address)
        source.log.clear()
        (directory / "specs.json").write_text(fleet.specs(source.address, destination.address))
        yield Site(source, destination, fleet, directory)


@pytest.mark.parametrize(("kind", "count", "options"), MOMENTS)
async def test_killed_and_run_again(
    tiny_fleet: Fleet, tmp_path: Path, kind: Operation, count: int, options: tuple[str, ...]
) -> None:
    """After a kill no tag names an incomplete image, and a re-run ends complete and sends no blob again."""
    async with site(tiny_fleet, tmp_path) as s:
        committed = await s.kill(kind, count, "apply", *options)
        # The oracle raises where a tag names an image that is not whole.
        await oracle.walk(s.destination.address, list(s.destination.storage.repositories()))
        s.destination.log.clear()

        code, output = await s.finish("apply", *options)

        again = committed & {request.name for request in s.destination.log.select(PUT)}
        closures = await oracle.walk(s.destination.address, list(tiny_fleet.tags))
        assert (0, set(), tiny_fleet.closures()) == (code, again, closures), output


@pytest.mark.parametrize(("kind", "count"), [(PUT, 9), (PUT_MANIFEST, 4)])
async def test_killed_and_plan_applied_again(
    tiny_fleet: Fleet, tmp_path: Path, kind: Operation, count: int
) -> None:
    """A saved plan whose run was killed is carried out to its end by a second run of the same plan."""
    async with site(tiny_fleet, tmp_path) as s:
        code, output = await s.finish("plan", "--out", "plan.json")
        assert 0 == code, output
        committed = await s.kill(kind, count, "apply", "plan.json")
        s.destination.log.clear()

        code, output = await s.finish("apply", "plan.json")

        again = committed & {request.name for request in s.destination.log.select(PUT)}
        closures = await oracle.walk(s.destination.address, list(tiny_fleet.tags))
        assert (0, set(), tiny_fleet.closures()) == (code, again, closures), output


async def test_killed_again_and_again(tiny_fleet: Fleet, tmp_path: Path) -> None:
    """Runs that are killed one after the other each bring some blobs, and no blob is ever brought twice."""
    async with site(tiny_fleet, tmp_path) as s:
        brought: list[str] = []
        code = 1
        for count in (5, 12, 20):
            brought += await s.kill(PUT, count, "apply")
            s.destination.log.clear()
        code, output = await s.finish("apply")
        brought += [request.name for request in s.destination.log.select(PUT)]

        assert (0, sorted(tiny_fleet.content)) == (code, sorted(brought)), output


# Cancelling


async def cancelled(p: Pair, at: int, *specs: str, **options: Any) -> Client:
    """Mirror, and cancel the run once the destination has answered ``at`` requests; return its client."""
    clients: list[Client] = []
    task = asyncio.create_task(p.mirror(*specs, started=lambda _, client: clients.append(client), **options))
    while not clients or len(p.destination.log) < at:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return clients[0]


def many(p: Pair) -> list[str]:
    """Make images in several repositories; return specs for them."""
    for name in ("a", "b", "c"):
        layers = (bytes([number]) * 3000 for number in range(12))
        p.make.image(name, *layers, name.encode(), config=f'{{"of":"{name}"}}'.encode(), tags=("v1",))
    return [p.spec(f"{name}:v1") for name in ("a", "b", "c")]


@pytest.mark.parametrize("at", [7, 8, 10, 15, 20, 30])
@pytest.mark.parametrize("jobs", [1, 16])
async def test_cancelled_run_leaves_no_session(at: int, jobs: int) -> None:
    """A run that is cancelled cancels its upload sessions, whenever that is."""
    async with pair() as p:
        await cancelled(p, at, *many(p), jobs=jobs)

        assert 0 == p.destination.open_sessions


@pytest.mark.parametrize("at", [7, 10, 20, 30])
async def test_cancelled_run_leaves_no_slot_taken(at: int) -> None:
    """A run that is cancelled gives back all its slots."""
    async with pair() as p:
        client = await cancelled(p, at, *many(p), jobs=1)

        here, there = Registry(p.source.address), Registry(p.destination.address)
        assert client.take([here, there], [there]) is not None


async def test_cancelled_stream_leaves_no_session() -> None:
    """A large blob that is cancelled in mid-stream leaves no session at either of two registries."""
    async with pair() as p, RegistryServer(MemoryStorage()) as other:
        p.make.image("a", LARGE, tags=("v1",))
        p.source.faults.add(Rule(Stall(3_000_000), name=digest(LARGE)))
        more = p.spec("a:v1").replace(p.destination.address, other.address)

        def running(_: Execution, client: Client) -> None:
            clients.append(client)

        clients: list[Client] = []
        task = asyncio.create_task(p.mirror(p.spec("a:v1"), more, started=running))
        while not p.source.log.count(Operation.GET_BLOB, name=digest(LARGE)):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert [0, 0] == [p.destination.open_sessions, other.open_sessions]


async def test_cancelled_run_is_run_again() -> None:
    """After a cancelled run another one brings what is missing and nothing else."""
    async with pair() as p:
        specs = many(p)
        await cancelled(p, 30, *specs)
        committed = {request.name for request in p.destination.log.select(PUT, status=201)}
        p.destination.log.clear()

        run = await p.mirror(*specs)

        again = committed & {request.name for request in p.destination.log.select(PUT)}
        assert (True, set()) == (run.account.complete, again)


async def test_drained_run_ends_what_runs() -> None:
    """A run that is told to stop lets what runs end, starts nothing new, and says which specs it left."""
    async with pair() as p:
        specs = many(p)
        executions: list[Execution] = []

        def drain(_: object) -> None:
            if executions and p.destination.log.count(PUT) >= 2:
                executions[0].drain()

        run = await p.mirror(
            *specs, jobs=1, started=lambda execution, _: executions.append(execution), report=drain
        )

        left = (set(run.ends.values()), p.destination.open_sessions, p.destination.log.count(PUT) < 8)
        assert ({"stopped"}, 0, True) == left


async def test_drain_that_cancels_a_stream() -> None:
    """A large upload that does not end within the drain is cancelled, and the run ends with its account."""
    async with pair() as p:
        p.make.image("c", LARGE, tags=("v1",))
        p.source.faults.add(Rule(Stall(3_000_000), name=digest(LARGE)))
        executions: list[Execution] = []

        def drain(_: object) -> None:
            if (
                executions
                and p.destination.log.running
                and p.source.log.count(Operation.GET_BLOB, name=digest(LARGE))
            ):
                executions[0].drain()

        run = await p.mirror(
            p.spec("c:v1"), started=lambda execution, _: executions.append(execution), report=drain
        )
        assert ({"stopped"}, 0) == (set(run.ends.values()), p.destination.open_sessions)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_drain_in_mid_stream(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drain's time is over while bytes are flowing: the upload is cancelled at any turn, and no session stays."""
    monkeypatch.setattr(execute, "DRAIN_SECONDS", 0.0)
    async with pair() as p:
        p.make.image("c", LARGE, tags=("v1",))
        executions: list[Execution] = []
        loop = asyncio.get_running_loop()

        def cancel(method: str, kind: Operation, *_: str, **__: Any) -> tuple[()]:
            if kind is PUT and _[1] == digest(LARGE):
                later(turns)
            return ()

        def later(left: int) -> None:
            if left:
                loop.call_soon(later, left - 1)
            else:
                executions[0].drain()

        monkeypatch.setattr(p.destination.faults, "actions", cancel)
        await p.mirror(p.spec("c:v1"), started=lambda execution, _: executions.append(execution))
        assert 0 == p.destination.open_sessions


async def test_cancelled_upload_leaves_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large blob that is cancelled as its upload begins leaves no session at its one registry."""
    async with pair() as p:
        p.make.image("c", LARGE, tags=("v1",))
        task = asyncio.create_task(p.mirror(p.spec("c:v1")))

        def cancel(method: str, kind: Operation, *_: str, **__: Any) -> tuple[()]:
            if kind is PUT and _[1] == digest(LARGE):
                task.cancel()
            return ()

        monkeypatch.setattr(p.destination.faults, "actions", cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

        assert 0 == p.destination.open_sessions
