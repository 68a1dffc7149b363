"""Saved plans: the same bytes for the same plan and back, and what no planner writes refused."""

import base64
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from mmgraph.closure import Image, Unread
from mmgraph.errors import SpecError
from mmgraph.evidence import Evidence
from mmgraph.memory import Basis, Span
from mmgraph.names import Platform, Registry, Repository
from mmgraph.oci import Document, Index, limit_platforms
from mmgraph.plan import Plan, Planner
from mmgraph.rules import Violation
from mmgraph.saved import is_saved, read, schema, write
from mmgraph.store import Operation
from tests.golden import expected
from tests.golden.example import example
from tests.support.making import Bench, digest, index, manifest, spec
from tests.test_properties import LAWS, Setting, planned, plannings

TOOL = "mmgraph test"


def everything() -> Plan:
    """A plan with every kind of node, action and result: uploads, mounts, present parts, a failed spec."""
    image, other = manifest("config", "layer"), manifest("config2", "layer")
    old = manifest("config", "old")
    arm = manifest("config-arm", "layer", "arm")
    whole = index({"linux/amd64": image, "linux/arm64": arm})
    before = index({"linux/amd64": old})
    limited = limit_platforms(whole, [Platform.parse("linux/arm64")], {}).root
    bench = Bench(image, other, old, arm, whole, before, limited, committed_only=["ecr.example"])
    bench.want("a:1", "a:1", whole)
    bench.want("a:1", "a:latest", whole)
    bench.want("b:1", "b:1", other)
    bench.want("c:1", "c:1", whole, now=before)
    bench.want("d:1", "d:1", other, now=other)
    bench.want("a:1", "ecr.example/a:1", image)
    bench.want("a:1", "ecr.example/b:1", other)
    bench.want(f"e@{image.digest}", f"e@{image.digest}", image)
    for part in (old.digest, digest("config"), digest("old")):
        bench.evidence.hold(spec("c:1", "c:1").destination.repository, part, "listed by the old index")
    planner = Planner(bench.evidence, bench.documents, [])
    for made in bench.images:
        planner.add(made, closure=made.spec.destination.repository.path != "d")
    trimmed = Image(
        spec("f:1", "f:1", "linux/arm64", "linux/s390x"),
        whole.digest,
        limited.digest,
        (Platform.parse("linux/s390x"),),
    )
    planner.add(trimmed)
    planner.fail(Unread(spec("gone:1", "gone:1"), "src.example/gone:1: no such \u202etag\x1b"))
    return planner.finish()


def judged_offline() -> Plan:
    """A plan that breaks a rule and was made offline, of repositories and certificates that it tells of."""
    goal = everything().goals[0]
    return replace(
        everything(),
        violations=(Violation("rule 1", "may-move = false", goal.spec.destination, "found"),),
        offline=Basis({Registry("dst.example"): Span(0, 60)}, ("dst.example/x:1",), (digest("lost"),), 2),
        missing=(Repository(Registry("dst.example"), "a"),),
        unchecked=(Registry("src.example"),),
    )


def simple(*documents: Document) -> Plan:
    """A plan that puts one image, and a second one that mounts a layer from it."""
    image, other = documents or (manifest("config", "layer"), manifest("config2", "layer"))
    bench = Bench(image, other)
    bench.want("a:1", "a:1", image)
    bench.want("b:1", "b:1", other)
    return bench.plan()


def same(first: Plan, second: Plan) -> bool:
    """Whether two plans agree in all that is saved, the orders of their parts included."""
    nodes = list(first.steps)
    kept = {digest: document for digest, document in first.documents.items() if digest in second.documents}
    return (
        list(first.steps.items()) == list(second.steps.items())
        and list(first.graph) == list(second.graph)
        and [list(first.graph.before(node)) for node in nodes]
        == [list(second.graph.before(node)) for node in nodes]
        and [list(first.graph.after(node)) for node in nodes]
        == [list(second.graph.after(node)) for node in nodes]
        and tuple(first.goals) == tuple(second.goals)
        and kept == second.documents
        and first.bill == second.bill
    )


def test_a_plan_is_read_as_it_was_written() -> None:
    """Steps, edges in both directions, goals, documents and the bill come back, in their orders."""
    plan = everything()
    assert same(plan, read(write(plan, TOOL)))


@LAWS
@given(plannings())
def test_any_plan_is_read_as_it_was_written(given: Setting) -> None:
    """A saved plan read back is the same plan, and is written as the same bytes."""
    plan = planned(given)
    # Only repositories of the set are ever looked into, which the drawn evidence does not keep to.
    places = {None, *(goal.spec.destination.repository for goal in plan.goals)}
    assume(all(step.mount_from in places for step in plan.steps.values()))
    raw = write(plan, TOOL)
    again = read(raw)
    assert (True, raw) == (same(plan, again), write(again, TOOL))


def test_repositories_to_create_are_kept() -> None:
    """Their names alone, since what creates them is said elsewhere."""
    plan = replace(simple(), missing=(Repository(Registry("dst.example"), "a"),))
    raw = write(plan, TOOL)
    expected = (plan.missing, ["dst.example/a"])
    assert expected == (read(raw).missing, json.loads(raw)["missingRepositories"])


def test_a_plan_without_them_is_read() -> None:
    """As plans were before there was that list."""
    saved = json.loads(write(simple(), TOOL))
    del saved["missingRepositories"]
    assert () == read(json.dumps(saved).encode()).missing


def test_whose_certificates_were_not_checked_is_kept() -> None:
    """For who reviews the plan; it opens nothing when the plan is carried out."""
    plan = replace(simple(), unchecked=(Registry("src.example"),))
    raw = write(plan, TOOL)
    expected = (plan.unchecked, ["src.example"])
    assert expected == (read(raw).unchecked, json.loads(raw)["uncheckedCertificates"])


def test_writing_is_deterministic() -> None:
    """The same inputs give the same bytes."""
    assert write(everything(), TOOL) == write(everything(), TOOL)


def test_the_file_is_as_it_shall_be() -> None:
    """The bytes are pinned; UPDATE_GOLDEN=1 rewrites the file."""
    text = write(example(), TOOL).decode()
    assert expected("plan.json", text) == text


def test_what_was_read_is_written_as_it_was() -> None:
    """Reading and writing again changes no byte."""
    raw = write(everything(), TOOL)
    assert raw == write(read(raw), TOOL)


def test_the_file_is_ascii() -> None:
    """Foreign text in a cause is escaped, so that looking at the file does nothing to a terminal."""
    assert all(byte in b"\n" or 0x20 <= byte < 0x7F for byte in write(everything(), TOOL))


def test_old_trees_are_left_out() -> None:
    """Documents that can never be sent, such as those of a tag's old image, are not in the file."""
    documents = read(write(everything(), TOOL)).documents.values()
    assert 2 == sum(isinstance(document, Index) for document in documents)


def test_a_tag_that_lacks_parts_can_be_saved() -> None:
    """It names what it shall, and is written all the same, since a repair has found that it is not whole."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image, now=image)
    plan = bench.plan()
    assert same(plan, read(write(plan, TOOL)))


def test_a_repair_is_not_called_unchanged() -> None:
    """Who reviews a plan may read nothing but that word, and apply would do nothing and be content."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image, now=image)
    saved = json.loads(write(bench.plan(), TOOL))
    for each in (*saved["nodes"], *saved["specs"]):
        for key in ("action", "result"):
            if each.get(key) == "repair":
                each[key] = "unchanged"
    with pytest.raises(SpecError, match="unchanged does not fit"):
        read(msgspec.json.encode(saved))


def test_nodes_may_stand_in_any_order() -> None:
    """A plan is no less sound where what needs a node stands before it."""
    saved = json.loads(write(simple(), TOOL))
    last = len(saved["nodes"]) - 1
    saved["nodes"].reverse()
    for spec_entry in saved["specs"]:
        spec_entry["node"] = last - spec_entry["node"]
    saved["edges"] = [[last - first, last - then, edge] for first, then, edge in saved["edges"]]

    assert simple().steps == read(json.dumps(saved).encode()).steps


def test_an_empty_set_can_be_saved() -> None:
    """No specs give a plan with nothing in it."""
    plan = Planner(Evidence(), {}).finish()
    assert () == read(write(plan, TOOL)).goals


def test_a_saved_plan_is_recognised_in_any_layout() -> None:
    """By its format field, also where another program has laid the JSON out anew."""
    saved = json.loads(write(simple(), TOOL))
    assert is_saved(json.dumps(saved, indent=4, sort_keys=True).encode())


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b'{"src": "a:1", "dst": "b.example/a:1"}', b'{"format": "mmgraph-graph"}', b"\xff"],
)
def test_other_files_are_not_recognised(raw: bytes) -> None:
    """Specs and other JSON are no saved plan."""
    assert not is_saved(raw)


def test_a_truncated_plan_is_still_recognised() -> None:
    """So that its error speaks of a saved plan and not of copy specs."""
    assert is_saved(write(simple(), TOOL)[:100])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"format": "mmgraph-graph", "version": 1}', 'it is "mmgraph-graph", not "mmgraph-plan"'),
        (b'{"format": "mmgraph-plan", "version": 2}', "it is 2, and this mmgraph reads 1"),
        (b'{"format": "mmgraph-plan", "version": 1}', "missing required field"),
    ],
)
def test_what_is_no_plan_is_refused(raw: bytes, message: str) -> None:
    """Each with a sentence that says what is wrong."""
    with pytest.raises(SpecError, match=message):
        read(raw)


def head(field: str) -> bytes:
    """The beginning of a plan, up to the array of one of its fields."""
    saved = json.loads(write(Planner(Evidence(), {}).finish(), TOOL))
    del saved[field]
    return json.dumps(saved).removesuffix("}").encode() + f', "{field}": ['.encode()


@pytest.mark.parametrize(
    ("field", "part", "times"),
    [
        ("edges", b'[0,0,"need"],', 10_000_000),
        ("nodes", b"{},", 10_000_000),
        ("missingRepositories", b'"",', 40_000_000),
    ],
)
def test_a_flood_is_refused_before_it_is_decoded(field: str, part: bytes, times: int) -> None:
    """Ten million parts, or values of any kind, never become objects: they would fill the memory."""
    raw = head(field) + part * times + part[:-1] + b"]}"
    tracemalloc.start()
    with pytest.raises(SpecError, match="it has more than 10000000 parts, or 40000000 values"):
        read(raw)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


def test_many_nodes_within_the_limit_are_judged_by_what_they_are() -> None:
    """The count of brackets is no ban on a large plan: what is wrong with this one is a node."""
    with pytest.raises(SpecError, match="missing required field"):
        read(head("nodes") + b"{}," * 1_000_000 + b"{}]}")


def test_every_truncation_is_refused() -> None:
    """A file that was cut off, wherever, is no plan."""
    raw = write(simple(), TOOL).rstrip()
    for length in range(0, len(raw), 97):
        with pytest.raises(SpecError):
            read(raw[:length])


def at(saved: Any, kind: str, repository: str = "b") -> Any:
    """The first node of a kind in a repository."""
    return next(
        node
        for node in saved["nodes"]
        if node["kind"] == kind and node["repository"] == f"dst.example/{repository}"
    )


def place(saved: Any, node: Any) -> int:
    """A node's position."""
    position: int = saved["nodes"].index(node)
    return position


def mounted(saved: Any) -> Any:
    """The node that is mounted."""
    return next(node for node in saved["nodes"] if node["action"] == "mount")


def change(path: str, value: Any) -> Callable[[Any], None]:
    """Set what a path such as ``specs.0.dst`` leads to; None takes it away."""

    def act(saved: Any) -> None:
        *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
        for step in way:
            saved = saved[step]
        if value is None:
            del saved[last]
        else:
            saved[last] = value

    return act


def node(kind: str, /, **values: Any) -> Callable[[Any], None]:
    """Set fields of the first node of a kind in repository b."""
    return lambda saved: at(saved, kind).update(values)


def other_bytes(saved: Any) -> None:
    """Change a document's bytes."""
    saved["documents"][0]["raw"] = base64.b64encode(b'{"schemaVersion":2}').decode()


def drop_edge_to_manifest(saved: Any) -> None:
    """Leave out what a manifest needs."""
    manifest_place = place(saved, at(saved, "manifest"))
    saved["edges"] = [edge for edge in saved["edges"] if edge[1] != manifest_place]


def turn_edge_to_tag(saved: Any) -> None:
    """Let a tag need what its manifest lists, and the manifest not."""
    manifest_place, tag_place = (place(saved, at(saved, kind)) for kind in ("manifest", "tag"))
    edge = next(edge for edge in saved["edges"] if edge[1] == manifest_place)
    edge[1] = tag_place


def add_blob(saved: Any) -> None:
    """Add a blob that nothing lists."""
    saved["nodes"].append({**at(saved, "blob"), "name": "sha256:" + "0" * 64})


def add_elsewhere(saved: Any) -> None:
    """Add a blob in a repository that no spec names."""
    saved["nodes"].append({**at(saved, "blob"), "repository": "dst.example/elsewhere"})


def add_document(saved: Any) -> None:
    """Add a document that no node stands for."""
    document = manifest("config", "another")
    raw = base64.b64encode(document.raw).decode()
    entry = {"digest": document.digest, "mediaType": document.media_type, "raw": raw}
    saved["documents"].append(json.loads(json.dumps(entry)))


def cycle(saved: Any) -> None:
    """Let a manifest come before a blob it needs."""
    first, then, _ = next(edge for edge in saved["edges"] if edge[2] == "need")
    saved["edges"].append([then, first, "need"])


def claim_limits(saved: Any) -> None:
    """Say that a manifest is what platforms leave of an index that never was."""
    saved["specs"][0] |= {"platforms": ["linux/amd64"], "sourceDigest": "sha256:" + "0" * 64}


def spare_all(saved: Any) -> None:
    """Say that all is there, of a plan that uploads it."""
    bill = saved["bill"]
    bill |= {"uploaded": 0, "present": bill["uploaded"], "requests": {}}


def request(registry: str, operation: str, count: int) -> Callable[[Any], None]:
    """Return what lets the bill have so many requests of one kind."""
    return lambda saved: saved["bill"]["requests"][registry].update({operation: count})


UNSOUND = [
    (change("specs.0.dst", "evil.example/a:1"), "none of the specs has a destination in dst.example/a"),
    (change("specs.0.src", "evil.example/a:1"), "none of the specs copies from src.example/a"),
    (change("specs.0.dst", "dst.example/b:1"), "stands in"),
    (change("specs.0.dst", "dst.example/UPPER:1"), "is not an image"),
    (change("specs.0.src", "alpine"), "is not written in full"),
    (change("specs.0.platforms", ["linux/arm64/v8"]), "not in normal form"),
    (change("specs.0.root", "sha256:" + "0" * 64), "root is neither"),
    (change("specs.0.root", None), "no root"),
    (change("specs.0.result", "move"), "is not its end"),
    (change("specs.0.result", "failed"), "it has failed, and yet"),
    (change("specs.0.node", 4000), "there is no node 4000"),
    (change("specs.0.node", 0), "no spec's end"),
    (change("specs.0.node", None), "no spec's end"),
    (change("specs.0.more", 1), "unknown field `more`"),
    (change("more", 1), "unknown field `more`"),
    (change("createRepository", ["sh", "-c", "{repository}"]), "unknown field `createRepository`"),
    (change("missingRepositories", [["sh", "dst.example/a"]]), "Expected `str`, got `array`"),
    (change("missingRepositories", ["dst.example/a; sh"]), "is not a repository|is not an image"),
    (change("missingRepositories", ["dst.example/elsewhere"]), "nothing is written to dst.example/elsewhere"),
    (change("missingRepositories", ["dst.example/a:1"]), "leave out the tag"),
    (change("missingRepositories", ["dst.example/b", "dst.example/a"]), "not sorted and distinct"),
    (change("uncheckedCertificates", ["other.example"]), "no registry that its specs name"),
    (change("uncheckedCertificates", ["src.example", "dst.example"]), "not sorted and distinct"),
    (change("specs", []), "none of the specs has a destination"),
    (node("blob", repository="dst.example/elsewhere"), "none of the specs has a destination in"),
    (node("blob", repository="dst.example/b:1"), "leave out the tag"),
    (node("blob", source="src.example/private"), "none of the specs copies from src.example/private"),
    (node("blob", source=None), "it has no source"),
    (node("blob", size=11), "says 10"),
    (node("blob", size=-1), "Expected `int` >= 0"),
    (node("blob", action="put"), "put is not for a blob"),
    (node("blob", action="erase"), "Invalid enum value"),
    (node("blob", name="sha256:1"), "is not a digest"),
    (node("manifest", size=1), "its document has"),
    (node("manifest", kind="index"), "application/vnd.oci.image.manifest"),
    (node("manifest", action="mount"), "mount is not for a manifest"),
    (node("tag", target="sha256:" + "0" * 64), "does not need what it shall name"),
    (node("tag", target=None), "it has no target"),
    (node("tag", old="sha256:" + "0" * 64), "create does not fit"),
    (node("tag", action="move"), "move does not fit"),
    (node("tag", action="repair"), "repair does not fit"),
    (node("tag", name="a b"), "is not a tag"),
    (node("tag", name="2"), "is not its end"),
    (node("tag", name="1@sha256:" + "0" * 64), "is not a tag"),
    (node("blob", target="sha256:" + "0" * 64), "only a tag names something"),
    (node("blob", old="sha256:" + "0" * 64), "only a tag names something"),
    (node("manifest", target="sha256:" + "0" * 64), "only a tag names something"),
    (claim_limits, "is no index, and yet said to be limited"),
    (lambda saved: mounted(saved).update(mountFrom="dst.example/else"), "cannot be mounted from"),
    (lambda saved: mounted(saved).update(mountFrom="src.example/a"), "cannot be mounted from"),
    (lambda saved: mounted(saved).update(mountFrom="dst.example/b"), "cannot be mounted from"),
    (lambda saved: mounted(saved).update(mountFrom=None), "a place to mount from"),
    (lambda saved: mounted(saved).update(action="upload"), "a place to mount from"),
    (drop_edge_to_manifest, "nothing needs it, and it is no spec's end"),
    (turn_edge_to_tag, "does not need just what"),
    (add_blob, "nothing needs it"),
    (add_elsewhere, "none of the specs has a destination in dst.example/elsewhere"),
    (add_document, "no node is it"),
    (cycle, "cycle"),
    (lambda saved: saved["edges"].append([0, 999, "need"]), "there is no node 999"),
    (lambda saved: saved["nodes"].append(saved["nodes"][0]), "is there twice"),
    (lambda saved: saved["documents"].append(saved["documents"][0]), "is there twice"),
    (lambda saved: saved["documents"].pop(), "is not among the documents"),
    (other_bytes, "bytes have the digest"),
    (change("documents.0.raw", "%"), "Invalid base64"),
    (change("documents.0.mediaType", "text/html"), "not a manifest's type"),
    (change("bill.uploaded", 1), "uploaded is 1, and its steps come to 30"),
    (spare_all, "present is 30, and its steps come to 0"),
    (change("bill.naive", 0), "naive is 0, and its steps come to 40"),
    (change("bill.mounted", 0), "mounted is 0, and its steps come to 10"),
    (change("bill.shared", 1), "shared is 1, and its steps come to 0"),
    (change("bill.downloaded", 0), "downloaded is 0, and its steps come to 30"),
    (change("bill.requests", {}), "dst.example has 0 of HEAD manifest, and its steps come to 2"),
    (request("dst.example", "PUT blob", 1), "dst.example has 1 of PUT blob, and its steps come to 3"),
    (request("src.example", "GET blob", 0), "src.example has 0 of GET blob, and its steps come to 3"),
    (request("dst.example", "GET manifest", 1), "has 1 of GET manifest, and its steps come to 0"),
    (request("dst.example", "PATCH upload", 31), "dst.example has more chunks than bytes: 31"),
    (request("src.example", "PATCH upload", 1), "src.example has more chunks than bytes: 1"),
    (change("bill.requests", {"dst.example": {"DELETE manifest": 1}}), "Invalid enum value"),
]


@pytest.mark.parametrize(("spoil", "message"), UNSOUND)
def test_what_no_planner_writes_is_refused(spoil: Callable[[Any], None], message: str) -> None:
    """A plan is untrusted input: whatever is changed by hand so that it no longer holds together is found."""
    saved = json.loads(write(simple(), TOOL))
    spoil(saved)
    with pytest.raises(SpecError, match=message):
        read(msgspec.json.encode(without_nothing(saved)))


def test_chunks_are_of_who_made_the_plan() -> None:
    """How long they are is not known to who reads it, so that any number is taken that can be."""
    saved = json.loads(write(simple(), TOOL))
    request("dst.example", "PATCH upload", 30)(saved)
    assert 30 == sum(
        kinds.get(Operation.PATCH_UPLOAD, 0)
        for kinds in read(json.dumps(saved).encode()).bill.requests.values()
    )


def limited() -> Any:
    """A saved plan of an index that was limited to one of its platforms and lacks another."""
    whole = index(
        {"linux/amd64": manifest("config", "layer"), "linux/arm64": manifest("config-arm", "layer")}
    )
    documents = {
        child.digest: child for child in (manifest("config", "layer"), manifest("config-arm", "layer"))
    }
    wanted = spec("f:1", "f:1", "linux/arm64", "linux/s390x")
    root = limit_platforms(whole, wanted.platforms, documents)
    planner = Planner(Evidence(), {**documents, **root.rewritten, root.root.digest: root.root})
    planner.add(Image(wanted, whole.digest, root.root.digest, root.missing))
    return json.loads(write(planner.finish(), TOOL))


@pytest.mark.parametrize(
    ("path", "value"),
    [("platforms", ["linux/amd64", "linux/s390x"]), ("missing", []), ("platforms", ["linux/arm64"])],
)
def test_a_limited_root_must_have_the_platforms_of_its_spec(path: str, value: Any) -> None:
    """An index with other platforms than its spec lists, or another claim of what is missing, is refused."""
    saved = limited()
    read(json.dumps(saved).encode())
    saved["specs"][0][path] = value
    with pytest.raises(SpecError, match="is not what its platforms limit"):
        read(json.dumps(saved).encode())


def test_what_is_unchanged_must_have_been_there() -> None:
    """A digest that was absent cannot be unchanged: nothing would be done, and it be called done."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want(f"e@{image.digest}", f"e@{image.digest}", image)
    saved = json.loads(write(bench.plan(), TOOL))
    saved |= {"nodes": [], "edges": [], "documents": []}
    saved["specs"][0] |= {"result": "unchanged"}
    del saved["specs"][0]["node"]
    with pytest.raises(SpecError, match="its destination names something else"):
        read(json.dumps(saved).encode())


def without_nothing(value: Any) -> Any:
    """Leave out members that are None."""
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items() if each is not None}
    return [without_nothing(each) for each in value] if isinstance(value, list) else value


def test_the_reader_s_own_words_are_escaped() -> None:
    """A field's name in a message cannot steer the terminal that shows it."""
    saved = json.loads(write(simple(), TOOL))
    saved["nodes"][0]["\x1b[2J\u202e"] = 1
    with pytest.raises(SpecError) as caught:
        read(json.dumps(saved).encode())
    assert str(caught.value).isprintable()


def test_the_place_of_what_is_wrong_is_named() -> None:
    """As a path into the file."""
    saved = json.loads(write(simple(), TOOL))
    at(saved, "blob")["size"] = 11
    with pytest.raises(SpecError, match=r"\$\.nodes\[\d+\]: dst\.example/b@sha256:"):
        read(json.dumps(saved).encode())


def test_the_schema_has_every_field() -> None:
    """The schema names the fields of the file."""
    made = schema()
    fields = set(made["$defs"]["_Saved"]["properties"])
    assert set(json.loads(write(simple(), TOOL))) == fields


@pytest.mark.parametrize("plan", [everything(), example(), judged_offline()], ids=["all", "example", "more"])
def test_the_schema_fits_the_file(plan: Plan) -> None:
    """Every kind of node and end, names that are hostile, and what only a plan that is not read has."""
    schema_ = schema()
    Draft202012Validator.check_schema(schema_)
    assert [] == list(Draft202012Validator(schema_).iter_errors(json.loads(write(plan, TOOL))))


def test_the_schema_refuses_what_the_reader_refuses() -> None:
    """A field that is not known, and a number that is negative."""
    saved = json.loads(write(simple(), TOOL))
    saved["more"] = 1
    saved["bill"]["naive"] = -1
    assert 2 == len(list(Draft202012Validator(schema()).iter_errors(saved)))


def test_each_write_says_what_it_expects() -> None:
    """A tag that is created was absent; one that is moved named a digest, which is the one to be found again."""
    saved = json.loads(write(everything(), TOOL))
    tags = {node["repository"]: node for node in saved["nodes"] if node["kind"] == "tag"}
    moved = tags["dst.example/c"]
    assert [("create", "absent", None), ("move", f"names {moved['old']}", moved["old"])] == [
        (tag["action"], tag["reason"], tag.get("old")) for tag in (tags["dst.example/b"], moved)
    ]


def test_a_plan_that_was_made_offline_is_not_read() -> None:
    """It is written for programs, with what it rests on, and what it says of itself keeps it from being carried out."""
    basis = Basis({Registry("dst.example"): Span(0, 60)}, ("dst.example/x:1",), (digest("lost"),), 2)
    raw = write(replace(simple(), offline=basis), TOOL)
    assert {
        "seen": {"dst.example": {"oldest": "1970-01-01T00:00:00Z", "newest": "1970-01-01T00:01:00Z"}},
        "unknownNames": ["dst.example/x:1"],
        "unknownManifests": [digest("lost")],
        "unknownBlobs": 2,
    } == json.loads(raw)["offline"]
    with pytest.raises(SpecError, match=r"\$\.offline: it was made offline"):
        read(raw)
