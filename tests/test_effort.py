"""What is done for each spec: whose a node is, and what adds up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mmgraph.behalf import behalf, tell
from mmgraph.effort import Effort, Efforts, Mounts
from mmgraph.events import Landing
from mmgraph.graph import Kind, Node
from mmgraph.names import Registry, Repository
from mmgraph.store import Operation
from tests.support.clock import ManualClock
from tests.support.making import Bench, digest, manifest

if TYPE_CHECKING:
    from mmgraph.plan import Plan

REGISTRY = Registry("dst.example")


@pytest.fixture
def plan() -> Plan:
    """Two tags of one repository that share a layer, and a second tag of the first one's image."""
    one, two = manifest("c1", "shared", "own1"), manifest("c2", "shared", "own2")
    made = Bench(one, two)
    made.want("src.example/s:1", "dst.example/a:1", one)
    made.want("src.example/s:2", "dst.example/a:2", two)
    made.want("src.example/s:1", "dst.example/a:again", one)
    return made.plan()


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands still."""
    return ManualClock()


def blob(name: str) -> Node:
    """Return a blob in the repository of all tags."""
    return Node(Kind.BLOB, Repository(REGISTRY, "a"), digest(name))


def tag(name: str) -> Node:
    """Return a tag of the one repository."""
    return Node(Kind.TAG, Repository(REGISTRY, "a"), name)


def test_a_shared_blob_is_the_first_specs(plan: Plan, clock: ManualClock) -> None:
    """The one that entered the graph first has it all, and each has its own."""
    efforts = Efforts(clock)
    for name, size in (("shared", 100), ("own1", 1), ("own2", 2)):
        efforts.read(blob(name), size)
        efforts.landed(blob(name), size, Landing.UPLOADED)
    assert [(101, 101), (2, 2), (0, 0)] == [
        (effort.downloaded, effort.uploaded) for effort in efforts.by_goal(plan)
    ]


def test_ways_to_land_are_kept_apart(plan: Plan, clock: ManualClock) -> None:
    """Uploaded, mounted and found bytes; the total is that of all nodes."""
    efforts = Efforts(clock)
    efforts.landed(blob("shared"), 100, Landing.UPLOADED)
    efforts.landed(blob("own1"), 10, Landing.MOUNTED)
    efforts.landed(blob("own2"), 1, Landing.FOUND)
    first, second, third = efforts.by_goal(plan)
    assert (Effort(0, 100, 10), Effort(found=1), Effort()) == (first, second, third)
    assert Effort(0, 100, 10, 1) == efforts.total


async def test_seconds_are_from_the_first_start_to_the_specs_end(plan: Plan, clock: ManualClock) -> None:
    """Of what is its own; a spec that was stopped has those so far, one that was never begun none."""
    efforts = Efforts(clock)
    efforts.begin(blob("own1"))
    await clock.advance(1.0)
    efforts.begin(blob("own1"))
    efforts.begin(blob("own2"))
    await clock.advance(2.0)
    efforts.end(blob("own1"))
    efforts.end(tag("1"))
    await clock.advance(4.0)
    assert [3.0, 6.0, 0.0] == [effort.seconds for effort in efforts.by_goal(plan)]


def test_requests_are_counted_where_they_are_asked(plan: Plan, clock: ManualClock) -> None:
    """The GET is the first node's, what a registry is asked that of its node; pings and probes are nobody's."""
    efforts = Efforts(clock)
    other = Node(Kind.BLOB, Repository(Registry("other.example"), "a"), digest("own2"))
    count = efforts.counter(blob("own2"), other)
    for registry, operation in (
        (Registry("src.example"), Operation.GET_BLOB),
        (REGISTRY, Operation.POST_UPLOAD),
        (REGISTRY, Operation.PUT_BLOB),
        (REGISTRY, Operation.PROBE),
        (Registry("other.example"), Operation.POST_UPLOAD),
        (Registry("src.example"), Operation.TOKEN),
    ):
        count(registry, operation, 1)
    _, second, _ = efforts.by_goal(plan)
    assert {Operation.GET_BLOB: 1, Operation.POST_UPLOAD: 1, Operation.PUT_BLOB: 1} == second.requests


def test_what_was_not_sent_after_all_is_counted_back(plan: Plan, clock: ManualClock) -> None:
    """A request for which there was no connection."""
    efforts = Efforts(clock)
    count = efforts.counter(blob("own1"))
    count(REGISTRY, Operation.POST_UPLOAD, 1)
    count(REGISTRY, Operation.POST_UPLOAD, -1)
    assert {} == efforts.by_goal(plan)[0].requests


def test_mounts_are_counted_by_registry(clock: ManualClock) -> None:
    """What was asked for and what was granted, the registries in order."""
    efforts = Efforts(clock)
    for registry, granted in (("b", True), ("a", False), ("b", False)):
        efforts.mount(Registry(registry), granted=granted)
    assert [("a", Mounts(1, 0)), ("b", Mounts(2, 1))] == list(efforts.mounts.items())


async def test_tasks_count_for_those_in_whose_context_they_began() -> None:
    """Two at once, each with a task of its own; what is sent outside of both counts for nobody."""
    told: dict[str, int] = {"a": 0, "b": 0}

    async def work(name: str) -> None:
        def count(_registry: Registry, _operation: Operation, change: int) -> None:
            told[name] += change

        with behalf(count):
            await asyncio.create_task(send())
            await send()

    async def send() -> None:
        await asyncio.sleep(0)
        tell(REGISTRY, Operation.PUT_BLOB, 1)

    await asyncio.gather(work("a"), work("b"), send())
    assert {"a": 2, "b": 2} == told
