"""The graph as DOT: what Graphviz reads out of it, what is drawn as one, and that no foreign text leaves its label."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from mmgraph.closure import Image
from mmgraph.errors import SpecError
from mmgraph.evidence import Evidence, Look
from mmgraph.graph import Edge, Kind
from mmgraph.memory import Basis, Span
from mmgraph.names import Registry
from mmgraph.plan import Plan, Planner
from mmgraph.report import svg as svg_module
from mmgraph.report.dot import dot
from mmgraph.report.drawing import label, quoted
from mmgraph.report.svg import svg
from tests.golden import expected
from tests.golden.example import HOSTILE, MIB, Pool, example, hold, spec

if TYPE_CHECKING:
    from pathlib import Path

VIEWS: dict[str, dict[str, Any]] = {
    "whole": {},
    "unfolded": {"unfold": True},
    "focused": {"focus": ["tool:2"]},
    "collapsed": {"collapse": True},
}


def graphviz(text: str, form: str) -> str:
    """Return what Graphviz makes of ``text``; it must neither fail nor warn."""
    done = subprocess.run(["dot", f"-T{form}"], input=text.encode(), capture_output=True, check=False)
    assert b"" == done.stderr
    assert 0 == done.returncode
    return done.stdout.decode()


def drawn(text: str) -> dict[str, dict[str, Any]]:
    """Return the nodes Graphviz reads, by id."""
    objects = json.loads(graphviz(text, "dot_json")).get("objects", [])
    return {each["name"]: each for each in objects if not each["name"].startswith("cluster")}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


@pytest.mark.parametrize("view", VIEWS)
def test_the_drawing_is_as_it_shall_be(plan: Plan, view: str) -> None:
    """The bytes are pinned, and two plans of one set have the same."""
    text = dot(plan, **VIEWS[view])
    assert expected(f"{view}.dot", text) == text
    assert text == dot(example(), **VIEWS[view])


@pytest.mark.parametrize("view", VIEWS)
def test_graphviz_draws_it_without_a_warning(plan: Plan, view: str) -> None:
    """Every view is DOT that the real program renders."""
    assert "</svg>" in graphviz(dot(plan, **VIEWS[view]), "svg")


def test_unfolded_every_node_and_edge_is_drawn(plan: Plan) -> None:
    """Graphviz reads exactly the nodes of the graph, and for each edge an edge; digests are not taken for ports."""
    text = dot(plan, unfold=True)
    names = {f"{node.kind} {node}" for node in plan.graph} | {"failed mirror.example.com/team/gone:1"}
    outside = {name for name in drawn(text) if "/lib/base@" in name}
    assert names == set(drawn(text)) - outside
    assert plan.graph.edge_count() + 1 == len(json.loads(graphviz(text, "dot_json"))["edges"])


def test_blobs_with_the_same_fate_are_one_node(plan: Plan) -> None:
    """Small blobs of one manifest with one action are drawn as a count and a sum."""
    labels = [each["label"] for each in drawn(dot(plan, focus=["tool:2"])).values()]
    assert 2 == labels.count("upload 5 blobs, 40.2 KiB")


def test_a_mount_is_dashed_and_comes_from_its_holder(plan: Plan) -> None:
    """What is mounted from a repository outside the set comes from a node in that repository."""
    text = dot(plan, focus=["tool:2"])
    edges = [line for line in text.splitlines() if "->" in line and "style=dashed" in line]
    assert 3 == len(edges)
    assert 1 == sum('"blob mirror.example.com/lib/base@' in line.partition("->")[0] for line in edges)


def test_a_mount_within_the_set_comes_from_where_the_blob_lands(plan: Plan) -> None:
    """Mount edges of the graph are dashed lines, needs are solid ones."""
    text = dot(plan, unfold=True)
    mounts = [(first, then) for first, then, edge in plan.graph.edges() if edge is Edge.MOUNT]
    for first, then in mounts:
        line = f'  "blob {first}" -> "blob {then}" [style=dashed, color="#1565c0", constraint=false]'
        assert line in text.splitlines()


def test_attestations_are_named_for_what_they_attest(plan: Plan) -> None:
    """An attestation's node says for which platform it is."""
    labels = [each["label"] for each in drawn(dot(plan)).values()]
    assert any(label.startswith("attestation for linux/amd64") for label in labels)


def test_kinds_have_shapes_of_their_own(plan: Plan) -> None:
    """Blobs, manifests, indexes and tags can be told apart without reading."""
    shapes = {name.partition(" ")[0]: each["shape"] for name, each in drawn(dot(plan)).items()}
    assert {*map(str, Kind), "failed"} == set(shapes)
    assert 4 == len(set(shapes.values()))


def test_a_focus_shows_its_tags_and_what_they_need_alone(plan: Plan) -> None:
    """Tags that were not asked for are left out."""
    tags = [name for name in drawn(dot(plan, focus=["app:latest"])) if name.startswith("tag")]
    assert ["tag mirror.example.com/library/app:latest"] == tags


@pytest.mark.parametrize(
    ("focus", "count"),
    [
        ("mirror.example.com/library/app:1.1", 1),
        ("app:1.1", 2),
        ("library/app:*", 3),
        ("backup.*", 1),
        ("*:1.1", 2),
    ],
)
def test_a_focus_is_a_name_its_end_or_a_glob(plan: Plan, focus: str, count: int) -> None:
    """Destinations are found as people write them."""
    assert count == sum(name.startswith("tag") for name in drawn(dot(plan, focus=[focus])))


def test_an_unknown_focus_names_near_ones(plan: Plan) -> None:
    """A misspelled name is an error that says what may have been meant."""
    near = r"near it are mirror\.example\.com/library/app:1\.1, backup\.example\.com:5000/app:1\.1, mirror"
    with pytest.raises(SpecError, match=rf'no destination is named "ap:1\.1"; {near}'):
        dot(plan, focus=["ap:1.1"])


@pytest.mark.parametrize("view", [{"focus": ["gone:1"]}, {}, {"collapse": True}])
def test_what_failed_is_drawn_with_its_cause(plan: Plan, view: dict[str, Any]) -> None:
    """A picture without it would be of another set; its cause is told without its controls."""
    text = dot(plan, **view)
    failed = [each["label"] for name, each in drawn(text).items() if name.startswith("failed")]
    assert [True] == [label.startswith(r"failed :1\ndenied: \\x1b[31m") for label in failed]
    assert '<font color="#c62828">&#9632;</font> failed' in text


@pytest.mark.parametrize("collapse", [False, True])
def test_repositories_say_where_their_images_come_from(plan: Plan, collapse: bool) -> None:
    """In their titles, and each tag in its tooltip."""
    text = dot(plan, collapse=collapse)
    assert r'label="library/app\nfrom docker.io/library/app"' in text
    assert r"from docker.io/library/app:1.1" in text


def test_what_looks_the_same_is_one_entry_of_the_legend(plan: Plan) -> None:
    """Two grey squares with different words would make one look for the difference."""
    assert '<font color="#9e9e9e">&#9632;</font> present, unchanged' in dot(plan)


def test_a_focus_tells_the_shown_from_the_whole(plan: Plan) -> None:
    """The bill is that of the whole plan, also below a part of it."""
    assert 'Shown: 1 of 7 specs.</td></tr><tr><td align="left">Whole plan: 4 to copy' in dot(
        plan, focus=["tool:2"]
    )


def test_collapsed_images_say_what_they_bring(plan: Plan) -> None:
    """A root has one node with all its tags, and an edge for what it shares with the one before it."""
    nodes = drawn(dot(plan, collapse=True))
    images = [each["label"] for name, each in nodes.items() if name.startswith("image")]
    assert 5 == len(images)
    shown = "create :1.1\\nmove :latest\\nupload 35.1 MiB, present 29.0 MiB\\n"
    assert 1 == sum(each.startswith(shown) for each in images)


def test_collapsed_a_moved_tag_says_what_it_was(plan: Plan) -> None:
    """With what the move brings and takes, and what the spec lists and the source lacks."""
    labels = [each["label"] for each in drawn(dot(plan, collapse=True)).values()]
    changes = r"\nwas sha256:efeb49bce50e\n+linux/arm64\n-linux/s390x\n"
    assert [1, 2] == [sum(part in label for label in labels) for part in (changes, r"\nlacks linux/")]


def test_collapsed_what_is_unchanged_is_one_small_node_a_repository() -> None:
    """Who reviews a change need not read what stays."""
    pool, evidence = Pool(), Evidence()
    roots = [pool.manifest((f"config {number}", 1)) for number in range(12)]
    planner = Planner(evidence, pool.documents)
    for number, root in enumerate(roots):
        wanted = spec(f"a/b:{number}", f"c.example/d:{number}")
        hold(evidence, pool, "c.example/d", root, "seen")
        evidence.looks[wanted.destination.repository, str(number)] = Look(root, 0.0)
        planner.add(Image(wanted, root, root))
    assert ["12 unchanged"] == [
        each["label"] for each in drawn(dot(planner.finish(), collapse=True)).values()
    ]


@pytest.mark.parametrize(
    "text",
    [HOSTILE, '"]; evil [label="x', "\\", "\\n\\N\\G", "&quot;&#x202e;&amp;", "<b>x</b>", "a\nb", "|{}"],
)
def test_foreign_text_stays_in_its_label(text: str) -> None:
    """Quotes, backslashes, entities and controls are drawn as they are, and end neither label nor statement."""
    nodes = drawn(f"digraph {{ n [label={label(text)}] }}")
    assert ["n"] == list(nodes)
    picture = svg(f"digraph {{ n [label={label(text)}] }}").decode()
    assert all(each.isprintable() for each in picture.splitlines())


def test_a_backslash_is_drawn_as_one() -> None:
    """An escape of Graphviz' own in foreign text is not obeyed."""
    assert ">a\\Nb&#45;c</text>" in graphviz(
        f"digraph {{ n [label={label('a' + chr(92) + 'Nb-c')}] }}", "svg"
    )


def test_an_entity_is_drawn_as_it_is_spelled() -> None:
    """Graphviz reads HTML entities in labels, with which a registry could write what is escaped otherwise."""
    assert "&amp;#8238;x" in graphviz(f"digraph {{ n [label={label('&#8238;x')}] }}", "svg")


def test_hostile_platforms_are_drawn_as_text() -> None:
    """A platform with everything in it neither breaks the graph nor reaches it unescaped."""
    pool = Pool()
    image = pool.manifest(("config", 1), ("layer", MIB))
    root = pool.index([(image, f'linux"\\/{HOSTILE}')])
    planner = Planner(Evidence(), pool.documents)
    planner.add(Image(spec("a/b", "c.example/d"), root, root))
    text = dot(planner.finish())
    assert all(line.isprintable() for line in text.splitlines())
    assert 5 == len(drawn(text))


def test_quoted_text_is_one_id() -> None:
    """A digest is a name, and not a node with a port."""
    assert {"sha256:1", "sha256:2"} == set(
        drawn(f"digraph {{ {quoted('sha256:1')} -> {quoted('sha256:2')} }}")
    )


def test_svg_is_drawn_by_graphviz(plan: Plan) -> None:
    """The picture is SVG."""
    assert b"<svg" in svg(dot(plan))


def test_without_graphviz_svg_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing program is the user's to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpecError, match="apt install graphviz"):
        svg("digraph {}")


def test_what_graphviz_refuses_is_an_error_in_its_words() -> None:
    """A syntax error does not come out as an empty picture."""
    with pytest.raises(SpecError, match=r"Graphviz failed: .*syntax error"):
        svg("digraph {")


def test_graphviz_is_stopped_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A graph too large to lay out ends in advice."""
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(svg_module, "_SECONDS", 0.05)
    with pytest.raises(SpecError, match="--collapse"):
        svg("digraph {}")


@pytest.mark.parametrize("collapse", [False, True])
def test_the_caption_tells_whose_certificate_is_not_checked(plan: Plan, collapse: bool) -> None:
    """A drawing is looked at without the plan's text."""
    text = dot(replace(plan, unchecked=(Registry("quay.io"),)), collapse=collapse)
    assert "! The certificate of quay.io is not checked (--insecure)." in graphviz(text, "dot_json")


def test_the_caption_tells_what_an_offline_plan_rests_on(plan: Plan) -> None:
    """As above: a drawing outlives the command that made it."""
    basis = Basis({Registry("quay.io"): Span(0, 0)}, (), (), 0)
    text = dot(replace(plan, offline=basis))
    told = "Offline: no registry was asked. Tags are as last seen on 1970-01-01 00:00 UTC."
    assert told in graphviz(text, "dot_json")
