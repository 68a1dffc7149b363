"""Laws that hold for any set of images, any destinations and whatever is there already."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mmgraph.closure import Image, blobs, walk
from mmgraph.evidence import Evidence, Look, Presence
from mmgraph.graph import Edge, Kind, Node
from mmgraph.names import Digest, Reference, Registry, Repository
from mmgraph.oci import Document, Index, parse
from mmgraph.plan import Action, Plan, Planner, Result
from mmgraph.reasons import Why, say
from mmgraph.server import Cut, Drop, FaultPlan, Flip, MemoryStorage, Refuse, RegistryServer, Rule
from mmgraph.specs import CopySpec
from mmgraph.store import Operation
from tests.support.clock import ManualClock
from tests.support.images import AMD64, ARM64, Maker
from tests.support.mirror import Mirrored, Requests, bill_requests, mirror, spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import SearchStrategy

    from tests.support.images import Descriptor

LAWS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
WIRE = settings(LAWS, max_examples=40, phases=[Phase.explicit, Phase.generate])
"""Examples over sockets are not made smaller: that would take minutes."""
PATIENCE = 60
"""Seconds after which a run that jumps over every wait can only be one that waits for ever."""

CONTENTS = tuple(bytes([number]) * (10**number % 9973) for number in range(6))
"""All the blobs there are; no two sums of their sizes are alike."""
PLATFORMS = (AMD64, ARM64, {"os": "linux", "architecture": "s390x"})

Tree = Any
"""An image: a manifest as (config, layers), or an index as a list of images."""

MANIFESTS = st.tuples(st.integers(0, 5), st.lists(st.integers(0, 5), max_size=3).map(tuple))
TREES: SearchStrategy[Tree] = st.one_of(
    MANIFESTS,
    st.lists(st.one_of(MANIFESTS, st.lists(MANIFESTS, min_size=1, max_size=2)), min_size=1, max_size=3),
)


def build(make: Maker, repository: str, tree: Tree, *tags: str, **more: Any) -> Descriptor:
    """Put an image into a repository."""
    if isinstance(tree, tuple):
        config, layers = tree
        contents = (CONTENTS[layer] for layer in layers)
        return make.image(repository, *contents, config=CONTENTS[config], tags=tags, **more)
    children = [
        build(make, repository, child, platform=platform)
        for child, platform in zip(tree, PLATFORMS, strict=False)
    ]
    return make.index(repository, *children, tags=tags, **more)


# The planner alone


class Setting(NamedTuple):
    """What a planner is handed."""

    images: list[Image]
    documents: dict[Digest, Document]
    evidence: Evidence
    committed_only: list[Registry]


@st.composite
def plannings(draw: st.DrawFn) -> Setting:
    """Draw images, destinations in two registries of three repositories, and what is known of these."""
    trees = draw(st.lists(TREES, min_size=1, max_size=3))
    storage = MemoryStorage()
    roots = [Digest(build(Maker(storage), "all", tree)["digest"]) for tree in trees]
    documents = {}
    for digest in storage.manifests("all"):
        held = storage.manifest("all", digest)
        assert held is not None
        documents[digest] = parse(held.raw, held.media_type, digest)
    places = [
        Repository(Registry(f"{registry}.example"), path)
        for registry in ("one", "two")
        for path in ("a", "b", "c")
    ]
    targets = draw(
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from(["x", "y", None]), st.integers(0, len(roots) - 1)),
            min_size=1,
            max_size=6,
            unique_by=lambda target: target[:2],
        )
    )
    evidence = Evidence()
    for place in draw(st.lists(st.sampled_from(places), unique=True)):
        kind = draw(st.sampled_from(["empty", "holds", "lacks"]))
        if kind == "empty":
            evidence.empty(place)
        elif kind == "holds":
            _hold(evidence, place, draw(st.sampled_from(roots)), documents)
        else:
            for blob in draw(
                st.lists(st.sampled_from(sorted({b for r in roots for b in blobs(r, documents)})))
            ):
                evidence.lack(place, blob)
    images = []
    for number, (target, tag, root) in enumerate(targets):
        repository, digest = places[target], roots[root]
        place = Repository(Registry(f"source{number % 2}.example"), f"r{number % 3}")
        source = Reference(place, f"t{root}", None if tag else digest)
        goal = Reference(repository, tag, None if tag else digest)
        images.append(Image(CopySpec(source, goal), digest, digest))
        old = draw(st.sampled_from([None, digest, roots[0]])) if tag else None
        if tag:
            evidence.looks[repository, tag] = Look(old, 0.0)
        if old is not None:
            _hold(evidence, repository, old, documents)
    committed = draw(st.sampled_from([[], [places[0].registry], [places[0].registry, places[3].registry]]))
    return Setting(images, documents, evidence, committed)


def _hold(
    evidence: Evidence, repository: Repository, root: Digest, documents: dict[Digest, Document]
) -> None:
    for document in walk(root, documents):
        evidence.hold(repository, document.digest, say(Why.ASKED))
        for blob in document.blobs:
            evidence.hold(repository, blob.digest, say(Why.ASKED))


def planned(given: Setting) -> Plan:
    """Let the planner plan."""
    planner = Planner(given.evidence, given.documents, given.committed_only)
    for image in given.images:
        planner.add(image)
    return planner.finish()


def uploads(plan: Plan) -> list[Node]:
    """Return the blobs that are uploaded."""
    return [node for node, step in plan.steps.items() if step.action is Action.UPLOAD]


@LAWS
@given(plannings())
def test_every_byte_is_in_one_class(given: Setting) -> None:
    """The naive cost is that of each image's distinct blobs, and the four classes add up to it."""
    bill = planned(given).bill

    naive = sum(b.size for i in given.images for b in blobs(i.root, given.documents).values())
    assert [naive, naive] == [bill.naive, bill.present + bill.mounted + bill.uploaded + bill.shared]


@LAWS
@given(plannings())
def test_each_blob_is_uploaded_once_a_registry(given: Setting) -> None:
    """No registry gets a blob twice, nor one that any of its repositories is known to hold."""
    plan = planned(given)

    places = [(node.repository.registry, Digest(node.name)) for node in uploads(plan)]
    assert (sorted(set(places)), []) == (
        sorted(places),
        [place for place in places if given.evidence.holder(*place) is not None],
    )


@LAWS
@given(plannings())
def test_each_missing_blob_has_a_source(given: Setting) -> None:
    """Everything that is uploaded or mounted says where it can be read."""
    plan = planned(given)

    moved = [step for step in plan.steps.values() if step.action in (Action.UPLOAD, Action.MOUNT)]
    assert [] == [step for step in moved if step.source is None]


@LAWS
@given(plannings())
def test_each_mount_has_an_origin(given: Setting) -> None:
    """What a blob is mounted from is another repository of its registry that has it, or will have it before."""
    plan = planned(given)
    rank = {node: number for number, node in enumerate(plan.graph.order())}

    for node, step in plan.steps.items():
        if step.action is not Action.MOUNT:
            continue
        assert step.mount_from is not None
        assert node.repository.registry == step.mount_from.registry
        origin = Node(Kind.BLOB, step.mount_from, node.name)
        if given.evidence.known(step.mount_from, Digest(node.name)).presence is Presence.PRESENT:
            continue
        before = [first for first, edge in plan.graph.before(node) if edge is Edge.MOUNT]
        assert Action.UPLOAD == plan.steps[origin].action
        assert 1 == len(before)
        assert rank[origin] <= rank[before[0]] < rank[node]
        committed = node.repository.registry in given.committed_only
        assert committed == (before[0].kind is not Kind.BLOB)


@LAWS
@given(plannings())
def test_order_follows_the_edges(given: Setting) -> None:
    """The order has every node once, and none before what it comes after."""
    plan = planned(given)
    order = plan.graph.order()
    rank = {node: number for number, node in enumerate(order)}

    assert (len(order), set(plan.steps)) == (len(rank), set(order))
    assert [] == [(first, then) for first, then, _ in plan.graph.edges() if rank[first] >= rank[then]]


@LAWS
@given(plannings())
def test_every_goal_has_its_closure(given: Setting) -> None:
    """What a goal needs, in the graph, is its image's whole closure in that repository, and nothing else."""
    plan = planned(given)

    for goal, image in zip(plan.goals, given.images, strict=True):
        assert goal.node is not None
        place = image.spec.destination.repository
        closure = {
            Node(Kind.INDEX if isinstance(document, Index) else Kind.MANIFEST, place, document.digest)
            for document in walk(image.root, given.documents)
        } | {Node(Kind.BLOB, place, digest) for digest in blobs(image.root, given.documents)}
        assert closure | {goal.node} == plan.graph.needs([goal.node]) | {goal.node}


@LAWS
@given(plannings())
def test_requests_follow_from_the_steps(given: Setting) -> None:
    """By registry, the bill's writes are one POST a missing blob, one PUT an upload, one PUT a tag or lone root."""
    plan = planned(given)

    writes = {Action.CREATE, Action.MOVE, Action.REPAIR}
    expected: Requests = {}
    for node, step in plan.steps.items():
        kinds = expected.setdefault(str(node.repository.registry), {})
        if step.action in (Action.UPLOAD, Action.MOUNT):
            kinds["POST upload"] = kinds.get("POST upload", 0) + 1
        if step.action is Action.UPLOAD:
            kinds["PUT blob"] = kinds.get("PUT blob", 0) + 1
            kinds["POST probe"] = 1
        then = {plan.steps[after].action for after, _ in plan.graph.after(node) if after.kind is Kind.TAG}
        rides = bool(writes & then)
        if step.action in writes or (step.action is Action.PUT and not rides):
            kinds["PUT manifest"] = kinds.get("PUT manifest", 0) + 1
    found = {
        registry: {kind: number for kind, number in kinds.items() if not kind.startswith(("HEAD", "GET"))}
        for registry, kinds in bill_requests(plan).items()
    }
    assert {key: value for key, value in expected.items() if value} == {
        key: value for key, value in found.items() if value
    }


@LAWS
@given(plannings())
def test_each_digest_is_read_once(given: Setting) -> None:
    """The bytes that are read are those of the distinct digests that are uploaded anywhere."""
    plan = planned(given)

    sizes = {node.name: plan.steps[node].size for node in uploads(plan)}
    assert sum(sizes.values()) == plan.bill.downloaded


@LAWS
@given(plannings())
def test_nothing_is_done_for_what_is_unchanged(given: Setting) -> None:
    """Where every goal is unchanged, no step writes anything; where one is not, its own node is one that does."""
    plan = planned(given)

    idle = {Action.PRESENT, Action.UNCHANGED}
    for goal in plan.goals:
        assert goal.node is not None
        assert (goal.result is Result.UNCHANGED) == (plan.steps[goal.node].action in idle)
        if goal.result is Result.UNCHANGED:
            assert idle >= {plan.steps[node].action for node in plan.graph.needs([goal.node])}


# Over the wire


class Wish(NamedTuple):
    """One spec: where from, which image, where to."""

    server: int
    repository: int
    tree: Tree
    target: tuple[int, int, int]
    limited: bool


class World(NamedTuple):
    """What there is before: wishes, and images and blobs at the destinations."""

    wishes: list[Wish]
    images: list[tuple[int, int, int, Tree]]
    blobs: list[tuple[int, int, int]]


SERVERS = 4
"""Two that only give, then two that take; the third one does both."""
TARGETS = st.tuples(st.sampled_from([2, 3]), st.integers(0, 2), st.integers(0, 2))
WISHES = st.builds(Wish, st.integers(0, 2), st.integers(0, 1), TREES, TARGETS, st.booleans())
WORLDS = st.builds(
    World,
    st.lists(WISHES, min_size=1, max_size=5, unique_by=lambda wish: wish.target),
    st.lists(st.tuples(st.sampled_from([2, 3]), st.integers(0, 2), st.integers(0, 3), TREES), max_size=3),
    st.lists(st.tuples(st.sampled_from([2, 3]), st.integers(0, 2), st.integers(0, 5)), max_size=3),
)


class Scene(NamedTuple):
    """A world come true."""

    servers: list[RegistryServer]
    specs: str
    clock: ManualClock

    async def mirror(self, **options: Any) -> Mirrored:
        """Mirror all wishes; a run that hangs is a ``TimeoutError``."""
        async with asyncio.timeout(PATIENCE):
            with self.clock.autojump():
                return await mirror(self.specs, clock=self.clock, **options)


async def arrange(world: World, stack: AsyncExitStack) -> Scene:
    """Start the servers and fill them."""
    storages = [MemoryStorage() for _ in range(SERVERS)]
    servers = [await stack.enter_async_context(RegistryServer(s, faults=FaultPlan())) for s in storages]
    lines = []
    for number, wish in enumerate(world.wishes):
        source = f"src{wish.repository}"
        build(Maker(storages[wish.server]), source, wish.tree, f"t{number}")
        server, repository, tag = wish.target
        lines.append(
            spec(
                f"{servers[wish.server].address}/{source}:t{number}",
                f"{servers[server].address}/dst{repository}:tag{tag}",
                *(["linux/amd64"] if wish.limited else []),
            )
        )
    for server, repository, tag, tree in world.images:
        build(Maker(storages[server]), f"dst{repository}", tree, *([f"tag{tag}"] if tag < 3 else []))
    for server, repository, blob in world.blobs:
        Maker(storages[server]).blob(f"dst{repository}", CONTENTS[blob])
    return Scene(servers, "".join(lines), ManualClock())


def lacking(storage: Any, repository: str, name: Digest) -> Iterator[str]:
    """Yield what is not there of the closure of a manifest, or is not what its digest says."""
    held = storage.manifest(repository, name)
    if held is None:
        yield name
        return
    body: dict[str, Any] = json.loads(held.raw)
    for child in body.get("manifests", ()):
        yield from lacking(storage, repository, Digest(child["digest"]))
    for blob in (*([body["config"]] if "config" in body else []), *body.get("layers", ())):
        if storage.blob_size(repository, Digest(blob["digest"])) != blob["size"]:
            yield blob["digest"]


def check_tags(scene: Scene, run: Mirrored, before: list[dict[str, dict[str, str]]]) -> None:
    """Assert I1: each tag names what it did, or what it shall; the latter with its whole closure."""
    wanted = {str(goal.spec.destination): goal.root for goal in run.plan.goals}
    for server, old in zip(scene.servers, before, strict=True):
        for repository in server.storage.repositories():
            for tag, digest in server.storage.tags(repository).items():
                planned = wanted.get(f"{server.address}/{repository}:{tag}")
                assert digest in {planned, old.get(repository, {}).get(tag)}
                assert [] == list(lacking(server.storage, repository, digest))


def all_tags(scene: Scene) -> list[dict[str, dict[str, str]]]:
    """Return what every tag names, by server and repository."""
    return [
        {name: {t: str(d) for t, d in s.storage.tags(name).items()} for name in s.storage.repositories()}
        for s in scene.servers
    ]


def check_efforts(run: Mirrored) -> None:
    """What was done for the specs adds up to what was done: in bytes, and in the requests of transfers and writes."""
    account, efforts = run.account, [end.effort for end in run.account.ends]
    expected = (account.downloaded, account.uploaded, account.mounted, account.found)
    assert expected == (
        sum(effort.downloaded for effort in efforts),
        sum(effort.uploaded for effort in efforts),
        sum(effort.mounted for effort in efforts),
        sum(effort.found for effort in efforts),
    )
    wire: Counter[str] = Counter()
    for counts in run.applying.values():
        wire.update({kind: counts[kind] for kind in SPENT if kind in counts})
    spent: Counter[str] = Counter()
    for effort in efforts:
        spent.update({str(kind): count for kind, count in effort.requests.items() if kind in SPENT})
    assert wire == spent


SPENT = {
    str(kind)
    for kind in (
        Operation.GET_BLOB,
        Operation.POST_UPLOAD,
        Operation.PATCH_UPLOAD,
        Operation.GET_UPLOAD,
        Operation.PUT_BLOB,
        Operation.PUT_MANIFEST,
    )
}
"""What only execution asks, and only for the sake of specs."""


@WIRE
@given(WORLDS)
def test_bill_equals_the_wire(world: World) -> None:
    """Executing an exact plan costs, by registry and kind, in requests and bytes, what its bill says."""

    async def live() -> None:
        async with AsyncExitStack() as stack:
            scene = await arrange(world, stack)
            before = all_tags(scene)

            async def forget(_: Plan) -> None:
                for server in scene.servers:
                    server.log.clear()

            run = await scene.mirror(exact=True, between=forget)

            check_tags(scene, run, before)
            check_efforts(run)
            assert (True, []) == (run.account.complete, list(run.account.surprises))
            for server in scene.servers:
                said = dict(bill_requests(run.plan).get(server.address, {}))
                looked = run.planning.get(server.address, {}).get("HEAD manifest", 0)
                assert said.pop("HEAD manifest", 0) == looked
                if probes := said.pop("POST probe", 0):
                    said["POST upload"] += probes
                kinds = [str(request.kind) for request in server.log]
                assert said == {kind: kinds.count(kind) for kind in kinds}
            bill = run.plan.bill
            read = sum(server.log.bytes_sent(Operation.GET_BLOB) for server in scene.servers)
            sent = sum(server.log.bytes_received(Operation.PUT_BLOB) for server in scene.servers)
            assert (bill.downloaded, bill.uploaded) == (read, sent)

    asyncio.run(live())


@WIRE
@given(WORLDS)
def test_apply_comes_to_what_was_wished(world: World) -> None:
    """Without an exact plan the same comes of it, and a second run finds nothing to do."""

    async def live() -> None:
        async with AsyncExitStack() as stack:
            scene = await arrange(world, stack)
            before = all_tags(scene)

            first = await scene.mirror()
            second = await scene.mirror()

            check_tags(scene, first, before)
            check_efforts(first)
            assert (True, {"unchanged"}) == (first.account.complete, set(second.ends.values()))
            assert {} == second.applying

    asyncio.run(live())


KINDS = (
    Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.GET_TAGS, Operation.HEAD_BLOB, Operation.GET_BLOB,
    Operation.POST_UPLOAD, Operation.PUT_BLOB, Operation.PUT_MANIFEST,
)  # fmt: skip
# By ``map``, since ``st.builds`` asks for type hints that these classes only have for type checkers.
ACTIONS: SearchStrategy[Any] = st.one_of(
    st.sampled_from([200, 201, 202, 400, 401, 403, 404, 405, 429, 500, 503]).map(Refuse),
    st.just(Refuse(404, "MANIFEST_BLOB_UNKNOWN")),
    st.booleans().map(lambda effect: Drop(effect=effect)),
    st.tuples(st.integers(0, 50), st.booleans()).map(lambda where: Cut(where[0], request=where[1])),
    st.integers(0, 50).map(Flip),
)
FAULTS = st.tuples(
    st.integers(0, SERVERS - 1),
    ACTIONS,
    st.sampled_from(KINDS),
    st.sampled_from(["*", "*", "dst0", "dst1", "src0"]),
    st.integers(0, 3),
    st.sampled_from([1, 2, 6, None]),
)
"""At which server, what, to which requests: their kind and repository, how many are spared, how many are hit."""


@settings(WIRE, max_examples=80)
@given(WORLDS, st.lists(FAULTS, min_size=1, max_size=4))
def test_whatever_goes_wrong(world: World, faults: list[Any]) -> None:
    """No fault hangs a run or leaves a tag at an incomplete image; what it says is done is; a re-run heals."""

    async def live() -> None:
        async with AsyncExitStack() as stack:
            scene = await arrange(world, stack)
            before = all_tags(scene)
            for number, action, kind, repository, skip, times in faults:
                rule = Rule(action, kind=kind, repository=repository, skip=skip, count=times)
                scene.servers[number].faults.add(rule)

            run = await scene.mirror()

            check_tags(scene, run, before)
            check_efforts(run)
            for end in run.account.ends:
                if end.outcome in {"copied", "moved", "repaired", "unchanged"}:
                    goal = end.goal.spec.destination
                    server = next(s for s in scene.servers if s.address == goal.repository.registry)
                    assert end.goal.root == server.storage.tags(goal.repository.path).get(goal.tag or "")
            for server in scene.servers:
                server.faults.clear()
            again = await scene.mirror()
            assert (True, "") == (again.account.complete, again.causes)

    asyncio.run(live())
