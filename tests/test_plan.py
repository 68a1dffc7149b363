"""The planner: actions, reasons, landings and the bill, over documents and evidence made by hand."""

import pytest

from mmgraph.bill import Bill
from mmgraph.closure import Image, Unread
from mmgraph.evidence import Evidence, Look
from mmgraph.graph import Edge, Kind, Node
from mmgraph.names import Platform, Reference, Registry, Repository
from mmgraph.oci import Document
from mmgraph.plan import Action, Plan, Planner, Result, Step
from mmgraph.store import Operation
from tests.support.making import Bench, digest, index, manifest, spec

DESTINATION = Registry("dst.example")
SOURCE = Registry("src.example")


def place(name: str) -> Repository:
    """A repository at the destination."""
    return Repository(DESTINATION, name)


def blob(repository: str, name: str) -> Node:
    """A named blob's node."""
    return Node(Kind.BLOB, place(repository), digest(name))


def root(repository: str, document: Document) -> Node:
    """A manifest's node."""
    return Node(Kind.MANIFEST, place(repository), document.digest)


def actions(plan: Plan) -> dict[str, list[str]]:
    """The actions of a plan as words, sorted, by kind."""
    found: dict[str, list[str]] = {}
    for node, step in plan.steps.items():
        found.setdefault(str(node.kind), []).append(str(step.action))
    return {kind: sorted(words) for kind, words in found.items()}


def test_an_image_into_nothing_is_uploaded_put_and_tagged() -> None:
    """Two blobs up, one manifest, one tag: the smallest plan there is."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    expected = {"manifest": ["put"], "blob": ["upload", "upload"], "tag": ["create"]}
    assert expected == actions(bench.plan())


@pytest.mark.parametrize(
    ("first", "absent", "expected"),
    [
        ([DESTINATION], ["b", "a"], ["a", "b"]),
        ([DESTINATION], ["b"], ["b"]),
        ([DESTINATION], ["other"], []),
        ([SOURCE], ["a", "b"], []),
        ([], ["a", "b"], []),
    ],
)
def test_repositories_to_create(first: list[Registry], absent: list[str], expected: list[str]) -> None:
    """Those that are written to and known to be absent, at registries that take nothing for such."""
    image = manifest("config", "layer")
    bench = Bench(image)
    for name in absent:
        bench.evidence.empty(place(name))
    planner = Planner(bench.evidence, bench.documents, repository_first=first)
    for name in ("b:1", "a:1", "a:2"):
        planner.add(Image(spec("a:1", name), image.digest, image.digest, ()))
    assert tuple(map(place, expected)) == planner.finish().missing


def test_a_repository_that_holds_something_is_not_missing() -> None:
    """A blob that was found there outweighs a tag list that was not."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.evidence.empty(place("a"))
    bench.evidence.hold(place("a"), digest("layer"), "found by HEAD")
    planner = Planner(bench.evidence, bench.documents, repository_first=[DESTINATION])
    planner.add(Image(spec("a:1", "a:1"), image.digest, image.digest, ()))
    assert () == planner.finish().missing


def test_edges_run_from_blobs_to_manifests_to_indexes_to_tags() -> None:
    """``config, layer -> manifest -> index -> tag``, needs all of them."""
    image = manifest("config", "layer")
    whole = index({"linux/amd64": image})
    bench = Bench(image, whole)
    bench.want("a:1", "a:1", whole)
    plan = bench.plan()
    index_node, tag = Node(Kind.INDEX, place("a"), whole.digest), Node(Kind.TAG, place("a"), "1")
    expected = {
        (blob("a", "config"), root("a", image), Edge.NEED),
        (blob("a", "layer"), root("a", image), Edge.NEED),
        (root("a", image), index_node, Edge.NEED),
        (index_node, tag, Edge.NEED),
    }
    assert expected == set(plan.graph.edges())


def test_a_tag_that_names_it_already_changes_nothing() -> None:
    """Everything of an unchanged spec is present, and the plan has no changes."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image, now=image)
    for part in (image.digest, digest("config"), digest("layer")):
        bench.evidence.hold(place("a"), part, "listed")
    plan = bench.plan()
    expected = ({"manifest": ["present"], "blob": ["present", "present"], "tag": ["unchanged"]}, False)
    assert expected == (actions(plan), plan.changes)


def test_a_tag_that_names_something_else_moves() -> None:
    """The step of a move knows both ends, and says what the tag names."""
    old, new = manifest("old"), manifest("new")
    bench = Bench(old, new)
    bench.want("a:1", "a:1", new, now=old)
    tag = bench.plan().steps[Node(Kind.TAG, place("a"), "1")]
    assert Step(Action.MOVE, f"names {old.digest}", target=new.digest, old=old.digest) == tag


def test_a_move_says_which_platforms_it_gains_and_loses() -> None:
    """amd64 stays, arm64 goes, s390x comes."""
    images = {name: manifest(name) for name in ("amd64", "arm64", "s390x")}
    old = index({"linux/amd64": images["amd64"], "linux/arm64": images["arm64"]})
    new = index({"linux/amd64": images["amd64"], "linux/s390x": images["s390x"]})
    bench = Bench(old, new, *images.values())
    bench.want("a:1", "a:1", new, now=old)
    goal = bench.plan().goals[0]
    assert (("linux/s390x",), ("linux/arm64",)) == (goal.gains, goal.losses)


def test_a_blob_lands_in_the_first_image_s_repository_and_is_mounted_elsewhere() -> None:
    """One upload for a registry; the second repository waits for it by a mount edge."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    bench.want("a:1", "b:1", image)
    plan = bench.plan()
    step = plan.steps[blob("b", "layer")]
    assert (Action.MOUNT, place("a"), "mountable from a", [(blob("a", "layer"), Edge.MOUNT)]) == (
        step.action,
        step.mount_from,
        step.reason,
        list(plan.graph.before(blob("b", "layer"))),
    )


def test_each_registry_has_its_own_landing_and_one_get_serves_all() -> None:
    """Two registries: two uploads of each blob, one download."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    bench.want("a:1", "other.example/a:1", image)
    bill = bench.plan().bill
    assert (20, 40, 0) == (bill.downloaded, bill.uploaded, bill.mounted)


def test_a_repository_that_holds_the_blob_is_mounted_from() -> None:
    """Evidence about any repository of the registry spares the upload."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    bench.evidence.hold(place("lib/base"), digest("layer"), "listed by sha256:0, which latest names")
    step = bench.plan().steps[blob("a", "layer")]
    assert (Action.MOUNT, "mountable from lib/base") == (step.action, step.reason)


def test_a_registry_that_mounts_only_what_is_committed_waits_for_the_manifest() -> None:
    """There the mount edge comes from the landing's first manifest instead of its blob (ECR)."""
    image = manifest("config", "layer")
    bench = Bench(image, committed_only=["dst.example"])
    bench.want("a:1", "a:1", image)
    bench.want("a:1", "b:1", image)
    assert [(root("a", image), Edge.MOUNT)] == list(bench.plan().graph.before(blob("b", "layer")))


def test_two_repositories_that_need_each_other_s_blobs_make_no_cycle() -> None:
    """a:1 lands x, b:1 lands y and mounts x, a:2 mounts y: later images wait for earlier ones only."""
    with_x, with_xy, with_y = manifest("c1", "x"), manifest("c2", "x", "y"), manifest("c3", "y")
    bench = Bench(with_x, with_xy, with_y, committed_only=["dst.example"])
    bench.want("a:1", "a:1", with_x)
    bench.want("b:1", "b:1", with_xy)
    bench.want("a:2", "a:2", with_y)
    plan = bench.plan()
    order = {node: number for number, node in enumerate(plan.graph.order())}
    assert (
        order[root("a", with_x)] < order[blob("b", "x")] < order[root("b", with_xy)] < order[blob("a", "y")]
    )


def test_a_destination_with_a_digest_and_no_tag_has_no_tag_node() -> None:
    """Its manifest is the goal."""
    image = manifest("config")
    bench = Bench(image)
    bench.want(f"a@{image.digest}", f"a@{image.digest}", image)
    plan = bench.plan()
    assert ({"manifest": ["put"], "blob": ["upload"]}, root("a", image)) == (
        actions(plan),
        plan.goals[0].node,
    )


def test_every_step_of_the_bill_counts_a_pair_once() -> None:
    """naive = present + mounted + uploaded + shared, with one pair in each class."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)  # config present, layer uploaded
    bench.want("a:1", "a:2", image)  # config present, layer shared
    bench.want("a:1", "b:1", image)  # both mounted
    bench.evidence.hold(place("a"), digest("config"), "found by HEAD")
    bill = bench.plan().bill
    assert (60, 20, 20, 10, 10, 10) == (
        bill.naive,
        bill.present,
        bill.mounted,
        bill.uploaded,
        bill.shared,
        bill.downloaded,
    )


def test_the_bill_counts_the_requests_of_apply() -> None:
    """A root goes with its first tag in one PUT, a second tag takes one more; one probe a registry."""
    image = manifest("config", "layer")
    whole = index({"linux/amd64": image})
    bench = Bench(image, whole)
    bench.want("a:1", "a:1", whole)
    bench.want("a:1", "a:2", whole)
    expected = {
        DESTINATION: {
            Operation.HEAD_MANIFEST: 2,
            Operation.POST_UPLOAD: 2,
            Operation.PUT_BLOB: 2,
            Operation.PROBE: 1,
            Operation.PUT_MANIFEST: 1 + 2,
        },
        SOURCE: {Operation.HEAD_MANIFEST: 1, Operation.GET_BLOB: 2},
    }
    assert expected == bench.plan().bill.requests


def test_a_spec_that_cannot_be_read_fails_and_the_rest_is_planned() -> None:
    """The failed goal keeps its cause, and takes part in nothing."""
    image = manifest("config")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    planner = Planner(bench.evidence, bench.documents)
    planner.fail(Unread(spec("gone:1", "gone:1"), "src.example/gone:1: 404"))
    planner.add(bench.images[0])
    plan = planner.finish()
    expected = [(Result.FAILED, "src.example/gone:1: 404"), (Result.CREATE, "")]
    assert expected == [(goal.result, goal.cause) for goal in plan.goals]


def test_absence_is_proven_only_by_an_answer() -> None:
    """The GET may start early for a blob that was asked for and not for one that nobody asked about."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    bench.evidence.lack(place("a"), digest("config"))
    steps = bench.plan().steps
    assert [True, False] == [steps[blob("a", name)].proven_absent for name in ("config", "layer")]


def test_an_unchanged_image_need_not_be_read() -> None:
    """Without its closure an unchanged tag is a node alone, and costs two looks."""
    image = manifest("config")
    evidence = Evidence()
    made = spec("a:1", "a:1")
    evidence.looks[place("a"), "1"] = Look(image.digest, 0.0)
    planner = Planner(evidence, {})
    planner.add(Image(made, image.digest, image.digest), closure=False)
    plan = planner.finish()
    looks = {DESTINATION: {Operation.HEAD_MANIFEST: 1}, SOURCE: {Operation.HEAD_MANIFEST: 1}}
    assert ({"tag": ["unchanged"]}, Bill(requests=looks)) == (actions(plan), plan.bill)


def test_attestations_are_named_for_what_they_attest() -> None:
    """A person reads "attestation for linux/amd64", never unknown/unknown."""
    image, proof = manifest("config"), manifest("statement")
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": str(image.digest),
    }
    whole = index({"linux/amd64": image})
    entries = [
        {"mediaType": i.media_type, "digest": i.digest, "size": len(i.raw), "platform": p, "annotations": a}
        for i, p, a in (
            (image, {"os": "linux", "architecture": "amd64"}, {}),
            (proof, {"os": "unknown", "architecture": "unknown"}, annotations),
        )
    ]
    whole = index([], manifests=entries)
    bench = Bench(image, proof, whole)
    bench.want("a:1", "a:1", whole)
    steps = bench.plan().steps
    assert ["linux/amd64", "attestation for linux/amd64"] == [
        steps[root("a", d)].label for d in (image, proof)
    ]


@pytest.mark.parametrize("destination", ["a:1", "b:1"])
def test_a_goal_keeps_what_the_source_lacks(destination: str) -> None:
    """Missing platforms travel with the goal, tag by tag."""
    image = manifest("config")
    made = spec("a:1", destination, "linux/amd64", "linux/riscv64")
    evidence = Evidence()
    planner = Planner(evidence, {image.digest: image})
    planner.add(Image(made, image.digest, image.digest, (Platform.parse("linux/riscv64"),)))
    goal = planner.finish().goals[0]
    assert (Reference.parse(f"dst.example/{destination}"), (Platform.parse("linux/riscv64"),)) == (
        goal.spec.destination,
        goal.missing,
    )
