"""From specs to a plan against a real server: what is asked, what is believed, what fails alone."""

from mmgraph.cache import MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.compile import Compiler
from mmgraph.events import Read, silent
from mmgraph.graph import Kind, Node
from mmgraph.names import Registry
from mmgraph.oci import Document, Index, Manifest
from mmgraph.plan import Action, Plan, Result
from mmgraph.rules import NONE, Rules
from mmgraph.rules import Rule as Demand
from mmgraph.server import Delay, Refuse, Rule
from mmgraph.specs import CopySpec
from mmgraph.store import ManifestCache, Operation, RawManifest
from tests.support.making import content, digest, index, manifest, spec
from tests.support.rig import Rig, rig


async def lay(
    rigged: Rig, server: int, repository: str, tag: str, root: Document, *children: Manifest
) -> None:
    """Lay an image with all its blobs into a server."""
    place = rigged.repository(server, repository)
    for child in children or ((root,) if isinstance(root, Manifest) else ()):
        for blob in child.blobs:
            name = next(name for name in NAMES if digest(name) == blob.digest)
            rigged.put_blob(place, content(name))
        await rigged.client.put_manifest(
            place, child.digest, child.digest, RawManifest(child.raw, child.media_type)
        )
    await rigged.client.put_manifest(place, tag, root.digest, RawManifest(root.raw, root.media_type))


NAMES = ("config", "layer", "old", "other", "c1", "c2")


def wanted(rigged: Rig, *specs: tuple[str, str], platforms: tuple[str, ...] = ()) -> list[CopySpec]:
    """Specs from server 0 to server 1; a destination that starts with ``@`` is at the source's own registry."""
    source, destination = rigged.servers[0].address, rigged.servers[1].address
    return [
        spec(
            f"{source}/{src}", f"{source}/{dst[1:]}" if dst[0] == "@" else f"{destination}/{dst}", *platforms
        )
        for src, dst in specs
    ]


async def compiled(
    rigged: Rig,
    specs: list[CopySpec],
    *,
    exact: bool = True,
    cache: ManifestCache | None = None,
    require: bool = False,
    repair: bool = False,
    rules: Rules = NONE,
) -> Plan:
    """The plan, with the destination's log emptied before."""
    for server in rigged.servers:
        server.log._requests.clear()
    client = rigged.client
    compiler = Compiler(
        specs,
        client,
        client,
        cache or MemoryCache(),
        SystemClock(),
        silent,
        exact=exact,
        require_platforms=require,
        repair=repair,
        rules=rules,
    )
    return await compiler.plan()


def at(rigged: Rig, server: int, repository: str, name: str) -> Node:
    """The node of a named blob."""
    return Node(Kind.BLOB, rigged.repository(server, repository), digest(name))


async def test_a_source_that_is_gone_fails_its_spec_and_no_other() -> None:
    """One 404 among two specs: the cause names the image, the other is planned."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config"))
        plan = await compiled(rigged, wanted(rigged, ("gone:1", "x:1"), ("a:1", "b:1")))
        results = [(goal.result, "gone:1" in goal.cause) for goal in plan.goals]
        assert [(Result.FAILED, True), (Result.CREATE, False)] == results


async def test_a_destination_that_answers_an_error_is_not_absent() -> None:
    """A 403 for the tag fails the spec: creating what cannot be seen could move somebody's tag."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config"))
        rigged.fault(1, Rule(Refuse(403, "DENIED"), Operation.HEAD_MANIFEST))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1")))
        assert [Result.FAILED] == [goal.result for goal in plan.goals]


async def test_an_exact_plan_asks_for_each_open_blob_once() -> None:
    """A repository with another tag: what its tree does not list is asked for by HEAD, what it lists is not."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config", "layer"))
        await lay(rigged, 1, "b", "1", manifest("old", "layer"))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1")))
        heads = [request.name for request in rigged.servers[1].log.select(Operation.HEAD_BLOB)]
        reason = plan.steps[at(rigged, 1, "b", "layer")].reason
        assert ([digest("config")], True) == (heads, reason.startswith("listed by sha256:"))


async def test_an_inexact_plan_asks_for_no_blob() -> None:
    """``apply`` leaves the question to the POST that it needs anyway."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config"))
        await lay(rigged, 1, "b", "other", manifest("other"))
        await compiled(rigged, wanted(rigged, ("a:1", "b:1")), exact=False)
        assert 0 == rigged.servers[1].log.count(Operation.HEAD_BLOB)


async def test_an_empty_repository_needs_no_question_per_blob() -> None:
    """One 404 for the tag list stands for every blob."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config", "layer"))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1")))
        log = rigged.servers[1].log
        step = plan.steps[at(rigged, 1, "b", "layer")]
        expected = (1, 0, "repository absent", True)
        assert expected == (
            log.count(Operation.GET_TAGS),
            log.count(Operation.HEAD_BLOB),
            step.reason,
            step.proven_absent,
        )


async def test_within_one_registry_the_source_is_mounted_from() -> None:
    """Source and destination on one registry: no byte is read or sent."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config", "layer"))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "@b:1")))
        step = plan.steps[at(rigged, 0, "b", "layer")]
        assert (Action.MOUNT, "mountable from a", 0) == (step.action, step.reason, plan.bill.downloaded)


async def test_a_new_tag_in_the_source_s_own_repository_is_a_put_alone() -> None:
    """Everything is there but the name."""
    async with rig() as rigged:
        image = manifest("config", "layer")
        await lay(rigged, 0, "a", "1", image)
        plan = await compiled(rigged, wanted(rigged, ("a:1", "@a:2")), exact=False)
        actions = sorted(str(step.action) for step in plan.steps.values())
        assert ["create", "present", "present", "present"] == actions


async def test_platforms_that_are_missing_are_kept_or_refused() -> None:
    """One of two listed platforms is there: copied and named; with --require-platforms the spec fails."""
    async with rig() as rigged:
        child = manifest("c1")
        await lay(rigged, 0, "a", "1", index({"linux/amd64": child}), child)
        specs = wanted(rigged, ("a:1", "b:1"), platforms=("linux/amd64", "linux/riscv64"))
        lenient = (await compiled(rigged, specs)).goals[0]
        strict = (await compiled(rigged, specs, require=True)).goals[0]
        assert (Result.CREATE, ["linux/riscv64"], Result.FAILED) == (
            lenient.result,
            [str(platform) for platform in lenient.missing],
            strict.result,
        )


async def test_a_trimmed_image_needs_only_what_is_kept() -> None:
    """Of two platforms one is listed: the other's manifest is not read, its blobs are not planned."""
    async with rig() as rigged:
        one, two = manifest("c1"), manifest("c2")
        whole = index({"linux/amd64": one, "linux/arm64": two})
        await lay(rigged, 0, "a", "1", whole, one, two)
        plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1"), platforms=("linux/amd64",)))
        read = {request.name for request in rigged.servers[0].log.select(Operation.GET_MANIFEST)}
        goal = plan.goals[0]
        assert goal.root is not None
        root = plan.documents[goal.root]
        assert isinstance(root, Index)
        expected = ({whole.digest, one.digest}, True, [one.digest], False)
        assert expected == (
            read,
            goal.trimmed,
            [child.digest for child in root.children],
            at(rigged, 1, "b", "c2") in plan.graph,
        )


async def test_unchanged_tags_prove_what_others_can_mount() -> None:
    """A warm cache knows what an unchanged tag consists of: a new image elsewhere mounts from there."""
    async with rig() as rigged:
        image, new = manifest("config", "layer"), manifest("other", "layer")
        await lay(rigged, 0, "a", "1", image)
        await lay(rigged, 0, "a", "2", new)
        await lay(rigged, 1, "b", "1", image)
        cache = MemoryCache()
        specs = wanted(rigged, ("a:1", "b:1"))
        await compiled(rigged, specs, cache=cache)
        plan = await compiled(rigged, [*specs, *wanted(rigged, ("a:2", "c:2"))], exact=False, cache=cache)
        step = plan.steps[at(rigged, 1, "c", "layer")]
        assert (Action.MOUNT, rigged.repository(1, "b")) == (step.action, step.mount_from)


async def test_an_old_tag_that_cannot_be_understood_is_no_evidence_and_no_failure() -> None:
    """The destination's old manifest is gone behind its tag: the tag is moved all the same."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config"))
        await lay(rigged, 1, "b", "1", manifest("old"))
        rigged.fault(1, Rule(Refuse(404, "MANIFEST_UNKNOWN"), Operation.GET_MANIFEST))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1")))
        assert [Result.MOVE] == [goal.result for goal in plan.goals]


async def test_reading_is_told_of_spec_by_spec() -> None:
    """A reporter can show how far reading has come."""
    async with rig() as rigged:
        await lay(rigged, 0, "a", "1", manifest("config"))
        told: list[object] = []
        client = rigged.client
        specs = wanted(rigged, ("a:1", "b:1"), ("a:1", "b:2"))
        await Compiler(specs, client, client, MemoryCache(), SystemClock(), told.append, exact=True).plan()
        assert [Read(1, 2), Read(2, 2)] == told


async def test_one_image_in_two_registries_is_resolved_once() -> None:
    """Distinct source tags are asked for once, whatever the number of destinations."""
    async with rig(2) as rigged:
        await lay(rigged, 0, "a", "1", manifest("config"))
        elsewhere = f"{rigged.servers[2].address}/b:1"
        specs = [*wanted(rigged, ("a:1", "b:1")), spec(f"{rigged.servers[0].address}/a:1", elsewhere)]
        plan = await compiled(rigged, specs)
        source = Registry(rigged.servers[0].address)
        heads = rigged.servers[0].log.count(Operation.HEAD_MANIFEST)
        assert (1, 1, 2) == (
            heads,
            plan.bill.requests[source][Operation.HEAD_MANIFEST],
            plan.count(Result.CREATE),
        )


async def test_without_a_cache_unchanged_tags_are_read_where_they_may_spare_an_upload() -> None:
    """A run that lost its cache: the destination's own unchanged image shows where the layer can be mounted from."""
    async with rig() as rigged:
        image, new = manifest("config", "layer"), manifest("other", "layer")
        await lay(rigged, 0, "a", "1", image)
        await lay(rigged, 0, "a", "2", new)
        await lay(rigged, 1, "b", "1", image)
        plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1"), ("a:2", "c:2")), exact=False)
        reads = [
            [request.name for request in server.log.select(Operation.GET_MANIFEST)]
            for server in rigged.servers
        ]
        step = plan.steps[at(rigged, 1, "c", "layer")]
        expected = (Action.MOUNT, [[new.digest], [image.digest]])
        assert expected == (step.action, reads)


async def test_unchanged_tags_of_the_same_repository_are_not_read() -> None:
    """What a repository has itself, its own POST finds: no GET for that."""
    async with rig() as rigged:
        image, new = manifest("config", "layer"), manifest("other", "layer")
        await lay(rigged, 0, "a", "1", image)
        await lay(rigged, 0, "a", "2", new)
        await lay(rigged, 1, "b", "1", image)
        await compiled(rigged, wanted(rigged, ("a:1", "b:1"), ("a:2", "b:2")), exact=False)
        assert 0 == rigged.servers[1].log.count(Operation.GET_MANIFEST)


async def test_a_repair_believes_nothing_and_asks_for_everything() -> None:
    """An unchanged tag whose blob is gone: found by HEAD, and its manifest and tag are written again."""
    async with rig() as rigged:
        image = manifest("config", "layer")
        await lay(rigged, 0, "a", "1", image)
        await lay(rigged, 1, "b", "1", image)
        rigged._storages[1].remove_blob("b", digest("layer"))
        client = rigged.client
        specs = wanted(rigged, ("a:1", "b:1"))
        compiler = Compiler(
            specs, client, client, MemoryCache(), SystemClock(), silent, exact=False, repair=True
        )
        plan = await compiler.plan()
        actions = sorted(str(step.action) for step in plan.steps.values())
        expected = (
            ["present", "put", "repair", "upload"],
            Result.REPAIR,
            [digest("config"), digest("layer")],
        )
        heads = sorted(request.name for request in rigged.servers[1].log.select(Operation.HEAD_BLOB))
        assert (expected[0], expected[1], sorted(expected[2])) == (actions, plan.goals[0].result, heads)


async def test_a_repair_is_no_move_to_a_rule() -> None:
    """``may-move = false`` lets a tag be written again that goes on to name what it names."""
    async with rig() as rigged:
        image = manifest("config", "layer")
        await lay(rigged, 0, "a", "1", image)
        await lay(rigged, 1, "b", "1", image)
        rigged._storages[1].remove_blob("b", digest("layer"))
        rules = Rules((Demand(name="rule 1", may_move=False),))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1")), rules=rules, repair=True)
    assert ([Result.REPAIR], ()) == ([goal.result for goal in plan.goals], plan.violations)


async def test_a_repair_of_what_is_whole_changes_nothing() -> None:
    """Everything is asked for, nothing is written."""
    async with rig() as rigged:
        image = manifest("config", "layer")
        await lay(rigged, 0, "a", "1", image)
        await lay(rigged, 1, "b", "1", image)
        client = rigged.client
        specs = wanted(rigged, ("a:1", "b:1"))
        compiler = Compiler(
            specs, client, client, MemoryCache(), SystemClock(), silent, exact=False, repair=True
        )
        assert not (await compiler.plan()).changes


async def test_a_nested_index_that_another_spec_is_reading_is_waited_for() -> None:
    """Two tags of one index of an index, limited: both find the platform, whichever reads the inner index."""
    async with rig() as rigged:
        child = manifest("c1")
        inner = index({"linux/amd64": child})
        outer = index([inner])
        await lay(rigged, 0, "a", "leaf", child)
        place = rigged.repository(0, "a")
        await rigged.client.put_manifest(
            place, inner.digest, inner.digest, RawManifest(inner.raw, inner.media_type)
        )
        for tag in ("1", "2"):
            await rigged.client.put_manifest(
                place, tag, outer.digest, RawManifest(outer.raw, outer.media_type)
            )
        rigged.fault(0, Rule(Delay(0.05), Operation.GET_MANIFEST, name=inner.digest))
        rigged.fault(0, Rule(Delay(0.02), Operation.HEAD_MANIFEST, name="2"))
        specs = wanted(rigged, ("a:1", "b:1"), ("a:2", "b:2"), platforms=("linux/amd64",))
        plan = await compiled(rigged, specs)
        assert [Result.CREATE, Result.CREATE] == [goal.result for goal in plan.goals]


async def test_the_same_answers_in_another_order_give_the_same_plan() -> None:
    """Two repositories hold a layer; whichever is slower to say so, the same one is mounted from."""
    plans = []
    for slow in ("b", "c"):
        async with rig() as rigged:
            old, new = manifest("old", "layer"), manifest("other", "layer")
            await lay(rigged, 0, "a", "1", new)
            for repository in ("b", "c"):
                await lay(rigged, 1, repository, "1", old)
            rigged.fault(1, Rule(Delay(0.05), repository=slow))
            plan = await compiled(rigged, wanted(rigged, ("a:1", "b:1"), ("a:1", "c:1"), ("a:1", "d:1")))
            mount = plan.steps[at(rigged, 1, "d", "layer")].mount_from
            plans.append(mount.path if mount else None)
    assert ["b", "b"] == plans


async def test_what_breaks_a_rule_fails_and_is_no_place_to_mount_from() -> None:
    """The image after it, with the same layer, uploads that layer itself."""
    async with rig() as rigged:
        for name, config in (("a", "c1"), ("b", "c2")):
            await lay(rigged, 0, name, "1", manifest(config, "layer"))
        rules = Rules((Demand(name="rule 1", patterns=("*/a:1",), largest=1),))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "a:1"), ("b:1", "b:1")), rules=rules)
    assert [Result.FAILED, Result.CREATE] == [goal.result for goal in plan.goals]
    assert {"upload"} == {str(step.action) for node, step in plan.steps.items() if node.kind is Kind.BLOB}


async def test_the_cause_of_a_broken_rule_names_rule_and_node() -> None:
    """The plan has the violation as a value, too."""
    async with rig() as rigged:
        image = manifest("config")
        await lay(rigged, 0, "a", "1", image)
        rules = Rules((Demand(name="rule 1", largest=1),))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "a:1")), rules=rules, exact=False)
    size = len(image.raw) + 10
    cause = f'rule 1 (largest = "1 B"): manifest {image.digest} has {size} bytes with all that it needs'
    assert ([cause], [cause]) == (
        [goal.cause for goal in plan.goals],
        [violation.cause for violation in plan.violations],
    )


async def test_a_registry_that_may_not_be_written_is_not_asked() -> None:
    """Nor is the source of what would go there."""
    async with rig() as rigged:
        rules = Rules((Demand(name="rule 1", only_registries=(Registry("elsewhere.example"),)),))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "a:1")), rules=rules)
        asked = [len(list(server.log)) for server in rigged.servers]
    assert (1, [0, 0]) == (len(plan.violations), asked)


async def test_what_is_unchanged_is_not_judged() -> None:
    """It is not written, so there is nothing to forbid."""
    async with rig() as rigged:
        for server in (0, 1):
            await lay(rigged, server, "a", "1", manifest("config"))
        plan = await compiled(
            rigged, wanted(rigged, ("a:1", "a:1")), rules=Rules((Demand(name="rule 1", largest=1),))
        )
    assert (Result.UNCHANGED, ()) == (plan.goals[0].result, plan.violations)


async def test_a_repair_reads_what_a_tag_would_lose() -> None:
    """Though it takes nothing of it for evidence."""
    async with rig() as rigged:
        amd, arm = manifest("c1"), manifest("c2")
        await lay(rigged, 0, "a", "1", index({"linux/amd64": amd}), amd)
        await lay(rigged, 1, "a", "1", index({"linux/amd64": amd, "linux/arm64": arm}), amd, arm)
        rules = Rules((Demand(name="rule 1", may_lose_platforms=False),))
        plan = await compiled(rigged, wanted(rigged, ("a:1", "a:1")), rules=rules, repair=True)
    assert ["would lose linux/arm64"] == [each.found.partition(" and ")[2] for each in plan.violations]
