"""A saved plan against registries that have gone on: what is stale, what has moved, what is done already."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mmgraph.cache import MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.compile import Compiler
from mmgraph.errors import RegistryError
from mmgraph.events import silent
from mmgraph.execute import Execution
from mmgraph.graph import Edge, Kind, Node
from mmgraph.oci import Manifest
from mmgraph.plan import Action, Plan, Result
from mmgraph.saved import read, write
from mmgraph.server import Refuse, Rule
from mmgraph.soundness import bill_of
from mmgraph.specs import CopySpec
from mmgraph.staleness import Stale, billed, check, drift, settle, skip
from mmgraph.store import Operation, RawManifest
from tests.support.making import Bench, content, digest, manifest, spec
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


async def test_what_cannot_be_looked_at_is_stale_where_the_rest_goes_on() -> None:
    """With the registry's words; without that, the first of them ends it."""
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", FIRST)
        await lay(rigged, 0, "b:1", FIRST)
        plan = await planned(rigged, "a:1", "b:1")
        rigged.fault(1, Rule(Refuse(403, "DENIED"), repository="a"))
        _, stale = await check(plan, rigged.client, SystemClock(), keep_going=True)
        with pytest.raises(RegistryError):
            await check(plan, rigged.client, SystemClock())
    assert ["named nothing, and cannot be looked at: "] == [each.change[:40] for each in stale]


async def test_a_stale_destination_is_skipped_and_counted_as_failed() -> None:
    """With what was expected and what is there; the rest of the plan is carried out as if it were alone."""
    async with rig() as rigged:
        for name, image in (("a:1", FIRST), ("b:1", FIRST), ("c:1", SECOND)):
            await lay(rigged, 0, name, image)
        plan = await planned(rigged, "a:1", "b:1", "c:1")
        other = manifest("config", "config2")
        await lay(rigged, 1, "z:1", other)
        await lay(rigged, 1, "a:1", other)
        looks, stale = await check(plan, rigged.client, SystemClock())
        left = settle(skip(plan, stale), looks)
        account = await Execution(left, rigged.client, SystemClock(), silent, looks).run()
        names = [await rigged.client.find(rigged.repository(1, name), "1") for name in "abc"]
    cause = f"the saved plan is stale: it named nothing, and names {other.digest} now"
    assert [(True, cause), (False, ""), (False, "")] == [(end.bad, end.cause) for end in account.ends]
    assert [other.digest, FIRST.digest, SECOND.digest] == [name and name.digest for name in names]


async def test_what_is_left_costs_what_its_bill_says() -> None:
    """A tag is stale, one is done already, one is left: bytes and requests are those of that one, looks aside."""
    async with rig() as rigged:
        for name, image in (("a:1", FIRST), ("b:1", SECOND), ("c:1", FIRST)):
            await lay(rigged, 0, name, image)
        plan = await planned(rigged, "a:1", "b:1", "c:1")
        place = rigged.repository(1, "a")
        rigged.put_blob(place, content("other"))
        other = manifest("other")
        await rigged.client.put_manifest(place, "1", other.digest, RawManifest(other.raw, other.media_type))
        await lay(rigged, 1, "b:1", SECOND)
        before = {registry: dict(kinds) for registry, kinds in rigged.client.counts().items()}
        looks, stale = await check(plan, rigged.client, SystemClock())
        left = billed(settle(skip(plan, stale), looks), lambda registry, size: 0)
        await drift(left, rigged.client)
        await Execution(left, rigged.client, SystemClock(), silent, looks).run()
        after = rigged.client.counts()
    spent = {
        registry: {
            kind: more for kind, count in kinds.items() if (more := count - before[registry].get(kind, 0))
        }
        for registry, kinds in after.items()
    }
    assert (10, 10, left.bill.requests) == (left.bill.uploaded, left.bill.downloaded, spent)


def test_the_chunks_of_what_is_left_are_those_of_who_carries_it_out() -> None:
    """Of each blob that is uploaded, the last one being shorter."""
    left = billed(without(sharing(), 0), lambda registry, size: 3)
    [counts] = [kinds for registry, kinds in left.bill.requests.items() if registry == "dst.example"]
    assert (2 * 4, 3) == (counts[Operation.PATCH_UPLOAD], counts[Operation.HEAD_MANIFEST])


def sharing() -> Plan:
    """Three images of one digest in three repositories: the first uploads, the others mount from there."""
    bench = Bench(FIRST)
    for name in ("a:1", "b:1", "c:1"):
        bench.want(name, name, FIRST)
    return bench.plan()


def without(plan: Plan, *places: int) -> Plan:
    """The plan with some of its destinations stale."""
    goals = [plan.goals[place] for place in places]
    return skip(plan, [Stale(goal.spec.destination, None, SECOND.digest) for goal in goals])


def test_what_was_to_be_mounted_from_what_is_skipped_lands_anew() -> None:
    """Once: the first of the rest is uploaded, and the next one is mounted from there, after it."""
    left = without(sharing(), 0)
    blobs = [node for node in left.steps if node.kind is Kind.BLOB and node.name == digest("layer")]
    steps = [left.steps[node] for node in blobs]
    before = [list(left.graph.before(node)) for node in blobs]
    assert [("upload", None), ("mount", "b")] == [
        (step.action, step.mount_from and step.mount_from.path) for step in steps
    ]
    assert [[], [(blobs[0], Edge.MOUNT)]] == before


def test_what_only_skipped_destinations_need_is_left_out() -> None:
    """Of the graph and of the steps alike; and what is left could have been saved as it is."""
    left = without(sharing(), 0, 2)
    repositories = {node.repository.path for node in left.graph}
    assert ({"b"}, list(left.graph)) == (repositories, list(left.steps))
    assert tuple(left.goals) == tuple(read(write(replace(left, bill=bill_of(left)), "test")).goals)


def test_what_others_need_stays() -> None:
    """A manifest that is skipped as a destination, and that a tag needs, is written for the tag."""
    bench = Bench(FIRST)
    bench.want(f"a@{FIRST.digest}", f"a@{FIRST.digest}", FIRST)
    bench.want("a:1", "a:1", FIRST)
    plan = bench.plan()
    left = without(plan, 0)
    assert (list(plan.steps.items()), [Result.FAILED, Result.CREATE]) == (
        list(left.steps.items()),
        [goal.result for goal in left.goals],
    )


def test_a_plan_of_which_nothing_is_stale_stays_as_it_is() -> None:
    """Not even a copy is made of it."""
    plan = sharing()
    assert plan is skip(plan, ())


IMAGES = [manifest(f"config{one}", f"layer{one}", f"layer{two}") for one in range(3) for two in range(3)]


@given(
    wanted=st.lists(st.tuples(st.integers(0, 3), st.integers(0, len(IMAGES) - 1)), min_size=1, max_size=8),
    gone=st.sets(st.integers(0, 7)),
    committed=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_what_is_left_of_any_plan_is_a_plan(
    wanted: list[tuple[int, int]], gone: set[int], committed: bool
) -> None:
    """Sound, without a circle; what is mounted is put there before, and nothing is sent twice."""
    bench = Bench(*IMAGES, committed_only=["dst.example"] if committed else [])
    for number, (place, image) in enumerate(wanted):
        bench.want(f"s:{number}", f"r{place}:{number}", IMAGES[image])
    plan = bench.plan()
    left = without(plan, *(place for place in gone if place < len(wanted)))
    assert tuple(left.goals) == tuple(read(write(replace(left, bill=bill_of(left)), "test")).goals)
    order = {node: rank for rank, node in enumerate(left.graph.order())}
    mounts = {node: step.mount_from for node, step in left.steps.items() if step.mount_from is not None}
    early = {node: order.get(Node(Kind.BLOB, place, node.name), len(order)) for node, place in mounts.items()}
    assert [] == [node for node, rank in early.items() if rank >= order[node]]
    sent = [node.name for node, step in left.steps.items() if step.action is Action.UPLOAD]
    assert len(set(sent)) == len(sent)
