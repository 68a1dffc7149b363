"""Explanations as people read them, and as programs do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from mmgraph.closure import Image
from mmgraph.evidence import Evidence
from mmgraph.explain import Explainer, Explanation
from mmgraph.lookup import find
from mmgraph.plan import Plan, Planner
from mmgraph.report.explanation import explanation_text
from mmgraph.report.explanation_json import explanation_json, schema
from mmgraph.report.graph_json import graph_json
from tests.golden import expected
from tests.golden.example import HOSTILE, MIB, Pool, digest_of, example, spec

SGR = re.compile(r"\x1b\[[0-9;]*m")
NAMES = (
    "library/app:*",
    "tool:2",
    "gone:1",
    digest_of("base linux/arm64"),
    "98f8f2b3",
    digest_of("certificates"),
)


def explained(plan: Plan, *names: str) -> list[Explanation]:
    """Explain all that the names mean."""
    explainer = Explainer(plan)
    return [explainer.explain(subject) for name in names for subject in find(plan, name)]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


def test_explanations_read_as_they_shall(plan: Plan) -> None:
    """Every kind of node and action; UPDATE_GOLDEN=1 rewrites the file."""
    text = explanation_text(explained(plan, *NAMES), width=80)
    assert expected("explanation.txt", text) == text


def test_explanations_for_programs_are_as_they_shall_be(plan: Plan) -> None:
    """The bytes are pinned; UPDATE_GOLDEN=1 rewrites the file."""
    text = explanation_json("tool:2", explained(plan, *NAMES)).decode()
    assert expected("explanation.json", text) == text


def test_lines_fit_into_the_terminal(plan: Plan) -> None:
    """All but those with a word that is too long for any line."""
    lines = explanation_text(explained(plan, *NAMES), width=80).splitlines()
    assert [] == [line for line in lines if len(line) > 80 and "sha256:" not in line]


def test_colours_change_nothing_but_the_colour(plan: Plan) -> None:
    """Without the colour codes, the coloured text is the plain one."""
    found = explained(plan, *NAMES)
    assert explanation_text(found) == SGR.sub("", explanation_text(found, colour=True))


def test_of_many_only_the_names_are_told() -> None:
    """A blob of forty repositories is ten paragraphs, and thirty lines."""
    pool = Pool()
    root = pool.manifest(("config", 1))
    planner = Planner(Evidence(), pool.documents)
    for number in range(40):
        planner.add(Image(spec("a/b", f"c.example/d{number}:1"), root, root))
    blocks = explanation_text(explained(planner.finish(), "*:1")).split("\n\n")
    assert (
        11,
        "And 30 more, each of which can be asked for by its whole name:",
        "  tag c.example/d10:1",
    ) == (
        len(blocks),
        *blocks[-1].splitlines()[:2],
    )


def test_a_repository_to_create_is_named(plan: Plan) -> None:
    """Whoever looks at its tag must know."""
    made = Plan(
        plan.graph,
        plan.steps,
        plan.goals,
        plan.documents,
        plan.bill,
        (plan.goals[-2].spec.destination.repository,),
    )
    told = (
        "  missing:   backup.example.com:5000/app is not there, and has to be created before anything is sent"
    )
    assert told in explanation_text(explained(made, "backup.*:1.1"))


def hostile() -> Plan:
    """A plan with foreign text wherever a registry, or who wrote a saved plan, can put it."""
    pool = Pool()
    image = pool.manifest(("config", 1), ("layer", MIB))
    root = pool.index([(image, f"linux{HOSTILE}/amd64")])
    planner = Planner(Evidence(), pool.documents)
    planner.add(Image(spec("a/b", "c.example/d:1"), root, root))
    plan = planner.finish()
    steps = {node: replace(step, reason=HOSTILE, label=HOSTILE) for node, step in plan.steps.items()}
    goals = [replace(goal, gains=(HOSTILE,), losses=(HOSTILE,)) for goal in plan.goals]
    return Plan(plan.graph, steps, goals, plan.documents, plan.bill)


def everything() -> Iterator[Explanation]:
    """All explanations of the hostile plan."""
    plan = hostile()
    yield from explained(plan, *map(str, plan.steps))
    yield from explained(example(), "gone:1")


def test_hostile_text_stays_text() -> None:
    """Nothing in a registry's words reaches the terminal as a control or a CI runner as a command."""
    text = explanation_text(list(everything()))
    assert [] == [line for line in text.splitlines() if not line.isprintable()]
    assert not re.search(r"^\s*::|##vso\[", text, re.MULTILINE)


def test_hostile_text_is_escaped_for_programs() -> None:
    """ASCII without controls, and after decoding as it was."""
    raw = explanation_json(HOSTILE, list(everything()))
    assert (True, HOSTILE) == (
        all(byte == ord("\n") or 0x20 <= byte < 0x7F for byte in raw),
        json.loads(raw)["explanations"][0]["reason"],
    )


@pytest.mark.parametrize("hostile_too", [False, True])
def test_the_document_is_what_its_schema_says(plan: Plan, hostile_too: bool) -> None:
    """By a validator of its own, and it has no field that the schema lacks."""
    found = list(everything()) if hostile_too else explained(plan, *NAMES)
    document, made = json.loads(explanation_json("x", found)), schema()
    Draft202012Validator.check_schema(made)
    assert [] == list(Draft202012Validator(made).iter_errors(document))
    properties = made["$defs"]["Entry"]["properties"]
    assert {field for entry in document["explanations"] for field in entry} <= properties.keys()


def test_ids_are_those_of_the_graph(plan: Plan) -> None:
    """So that a program can go from one document to the other."""
    entries = json.loads(explanation_json("x", explained(plan, *NAMES)))["explanations"]
    fields = ("listed_by", "read_with", "mounts", "rerouted")
    named = {name for entry in entries for field in fields for name in entry.get(field, [])}
    named |= {entry[field] for entry in entries for field in ("id", "landing") if field in entry}
    assert set() == named - {node["id"] for node in json.loads(graph_json(plan))["nodes"]}
