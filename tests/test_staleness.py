"""A saved plan against registries that have gone on: what is stale, what has moved, what is done already."""

from msgspec.structs import replace

from mmgraph.cache import MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.compile import Compiler
from mmgraph.events import silent
from mmgraph.execute import Execution
from mmgraph.graph import Kind
from mmgraph.oci import Manifest
from mmgraph.plan import Action, Plan, Result
from mmgraph.saved import read, write
from mmgraph.specs import CopySpec
from mmgraph.staleness import check, drift, settle
from mmgraph.store import Operation, RawManifest
from tests.support.making import content, manifest, spec
from tests.support.rig import Rig, rig

FIRST, SECOND = manifest("config", "layer"), manifest("config2", "layer")


async def lay(rigged: Rig, server: int, name: str, image: Manifest) -> None:
    """Lay an image with its blobs into a server, as ``repository:tag``."""
    path, _, tag = name.partition(":")
    place = rigged.repository(server, path)
    for blob in ("config", "config2", "layer"):
        rigged.put_blob(place, content(blob))
    await rigged.client.put_manifest(place, tag, image.digest, RawManifest(image.raw, image.media_type))


def wanted(rigged: Rig, *names: str) -> list[CopySpec]:
    """Specs from the source to the destination, under the same names."""
    source, destination = (server.address for server in rigged.servers)
    return [spec(f"{source}/{name}", f"{destination}/{name}") for name in names]


async def planned(rigged: Rig, *names: str) -> Plan:
    """A plan that was saved and read again."""
    compiler = Compiler(
        wanted(rigged, *names), rigged.client, rigged.client, MemoryCache(), SystemClock(), silent, exact=True
    )
    return read(write(await compiler.plan(), "test"))


def heads(rigged: Rig, server: int) -> int:
    """The HEADs of manifests that a server was asked for."""
    return rigged.servers[server].log.count(kind=Operation.HEAD_MANIFEST)


async def test_an_untouched_destination_is_not_stale() -> None:
    """A tag that was absent and still is lets the plan hold."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        _, stale = await check(await planned(rigged, "a:1"), rigged.client, SystemClock())
    assert () == stale


async def test_a_tag_that_somebody_moved_is_stale() -> None:
    """It names neither what it named nor what it shall: expected and found are told."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        plan = await planned(rigged, "a:1")
        await lay(rigged, 1, "a:1", SECOND)
        _, stale = await check(plan, rigged.client, SystemClock())
        name = f"{rigged.servers[1].address}/a:1"
    assert [f"{name} named nothing, and names {SECOND.digest} now"] == list(map(str, stale))


async def test_a_tag_that_vanished_is_stale() -> None:
    """What the plan found unchanged must still be so."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        await lay(rigged, 1, "a:1", FIRST)
        plan = await planned(rigged, "a:1")
    async with rig() as other:
        moved = read(
            write(plan, "test").replace(rigged.servers[1].address.encode(), other.servers[1].address.encode())
        )
        _, stale = await check(moved, other.client, SystemClock())
    assert [(FIRST.digest, None)] == [(each.expected, each.found) for each in stale]


async def test_a_digest_that_is_unchanged_and_gone_is_stale() -> None:
    """Nothing in the plan brings it back, so it would stay away and be called unchanged."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        await lay(rigged, 1, "a:1", FIRST)
        plan = await planned(rigged, f"a@{FIRST.digest}")
        goals = tuple(replace(goal, old=None) for goal in plan.goals)
    async with rig() as other:
        raw = write(replace(plan, goals=goals), "test")
        raw = raw.replace(rigged.servers[1].address.encode(), other.servers[1].address.encode())
        _, stale = await check(read(raw), other.client, SystemClock())
    assert [(FIRST.digest, None)] == [(each.expected, each.found) for each in stale]


async def test_a_goal_that_was_reached_is_unchanged() -> None:
    """Where a tag names the planned image by now, nothing of it is left to do, and nothing is stale."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        plan = await planned(rigged, "a:1")
        await lay(rigged, 1, "a:1", FIRST)
        looks, stale = await check(plan, rigged.client, SystemClock())
        settled = settle(plan, looks)
    assert ((), [Result.UNCHANGED], {Action.PRESENT, Action.UNCHANGED}) == (
        stale,
        [goal.result for goal in settled.goals],
        {step.action for step in settled.steps.values()},
    )


async def test_a_repository_that_was_created_meanwhile_is_not_missing() -> None:
    """A name that was found in it shows that it is there."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        await lay(rigged, 0, "b:1", FIRST)
        places = tuple(rigged.repository(1, name) for name in "ab")
        plan = replace(await planned(rigged, "a:1", "b:1"), missing=places)
        await lay(rigged, 1, "a:1", FIRST)
        looks, _ = await check(plan, rigged.client, SystemClock())
    assert places[1:] == settle(plan, looks).missing


async def test_a_settled_plan_writes_only_what_is_left() -> None:
    """Of two images, one of them there, the other is sent, and mounts what the first one has."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        await lay(rigged, 0, "b:1", SECOND)
        plan = await planned(rigged, "a:1", "b:1")
        await lay(rigged, 1, "a:1", FIRST)
        looks, _ = await check(plan, rigged.client, SystemClock())
        execution = Execution(settle(plan, looks), rigged.client, SystemClock(), silent, looks)
        account = await execution.run()
    ends = [end.outcome for end in account.ends]
    assert (["unchanged", "copied"], 10, 10) == (ends, account.uploaded, account.mounted)


async def test_absence_is_no_longer_proven() -> None:
    """The evidence for it is as old as the plan, so nothing is read before the registry has answered."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        plan = await planned(rigged, "a:1")
        looks, _ = await check(plan, rigged.client, SystemClock())
        settled = settle(plan, looks)
    blobs = [node for node in plan.steps if node.kind is Kind.BLOB]
    proven = [(plan.steps[node].proven_absent, settled.steps[node].proven_absent) for node in blobs]
    assert [(True, False)] * 2 == proven


async def test_every_name_is_asked_for_once() -> None:
    """A HEAD a destination, and one a distinct source tag, as the bill counts them."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        plan = await planned(rigged, "a:1")
        before = [heads(rigged, 0), heads(rigged, 1)]
        await check(plan, rigged.client, SystemClock())
        await drift(plan, rigged.client)
        asked = [heads(rigged, 0) - before[0], heads(rigged, 1) - before[1]]
    assert [1, 1] == asked


async def test_a_source_that_moved_is_told_of() -> None:
    """With what it was and what it is; the plan goes on copying what it says."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        plan = await planned(rigged, "a:1")
        await lay(rigged, 0, "a:1", SECOND)
        told = await drift(plan, rigged.client)
        name = f"{rigged.servers[0].address}/a:1"
    expected = (
        f"{name} has moved to {SECOND.digest} since the plan was made; the plan copies {FIRST.digest}",
    )
    assert expected == told


async def test_a_source_that_did_not_move_is_not_told_of() -> None:
    """Silence where there is nothing to say."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        told = await drift(await planned(rigged, "a:1"), rigged.client)
    assert () == told
