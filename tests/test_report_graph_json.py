"""The graph for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from mmgraph.errors import SpecError
from mmgraph.memory import Basis, Span
from mmgraph.names import Registry
from mmgraph.plan import Plan
from mmgraph.report.graph_json import graph_json, schema
from mmgraph.rules import Violation
from tests.golden import expected
from tests.golden.example import example

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


def test_the_document_is_as_it_shall_be(plan: Plan) -> None:
    """The bytes are pinned, and two plans of one set have the same."""
    text = graph_json(plan).decode()
    assert expected("graph.json", text) == text
    assert text == graph_json(example()).decode()


def test_it_has_every_node_and_edge(plan: Plan) -> None:
    """Edges name nodes of the document, and nothing of the graph is missing."""
    document = json.loads(graph_json(plan))
    ids = [node["id"] for node in document["nodes"]]
    assert (len(plan.graph), plan.graph.edge_count()) == (len(set(ids)), len(document["edges"]))
    assert {end for edge in document["edges"] for end in (edge["from"], edge["to"])} <= set(ids)


def test_its_uploads_sum_up_to_the_bill(plan: Plan) -> None:
    """What a program adds up from the nodes is what the bill says."""
    document = json.loads(graph_json(plan))
    uploads = [node["size"] for node in document["nodes"] if node["action"] == "upload"]
    assert document["bill"]["uploaded"] == sum(uploads)


def test_a_focus_keeps_what_its_tags_need(plan: Plan) -> None:
    """A focused document has no edge to what it leaves out."""
    document = json.loads(graph_json(plan, focus=["backup.*"]))
    ids = {node["id"] for node in document["nodes"]}
    assert {"backup.example.com:5000"} == {node["registry"] for node in document["nodes"]}
    assert {edge["from"] for edge in document["edges"]} <= ids


def test_a_focus_on_what_failed_says_why(plan: Plan) -> None:
    """A spec that cannot be planned has no nodes, and its cause is told without its controls."""
    with pytest.raises(
        SpecError, match=r"is in no graph, since it cannot be planned: .*gone:1: denied: \\x1b"
    ):
        graph_json(plan, focus=["gone:1"])


def test_the_schema_has_every_field(plan: Plan) -> None:
    """Of the document, its nodes and its bill."""
    properties = schema()["properties"]
    document = json.loads(graph_json(plan))
    fields = {field for node in document["nodes"] for field in node}
    assert document.keys() == properties.keys()
    assert fields <= properties["nodes"]["items"]["properties"].keys()


def whole(plan: Plan) -> Plan:
    """The plan with all that only some have: a broken rule, what it rests on offline, what is missing."""
    destination = plan.goals[0].spec.destination
    return replace(
        plan,
        violations=(Violation("rule 1", "may-move = false", destination, "found"),),
        offline=Basis({Registry("quay.io"): Span(0, 60)}, ("quay.io/x:1",), (), 2),
        missing=(destination.repository,),
        unchecked=(Registry("quay.io"),),
    )


@pytest.mark.parametrize("change", [lambda plan: plan, whole], ids=["example", "whole"])
def test_the_schema_fits_the_document(plan: Plan, change: Callable[[Plan], Plan]) -> None:
    """What is printed is what is published."""
    Draft202012Validator.check_schema(schema())
    document = json.loads(graph_json(change(plan)))
    assert [] == list(Draft202012Validator(schema()).iter_errors(document))


def test_it_names_the_registries_that_are_taken_at_their_word(plan: Plan) -> None:
    """Those whose certificates are not checked have a field."""
    document = json.loads(graph_json(replace(plan, unchecked=(Registry("quay.io"),))))
    assert ["quay.io"] == document["unchecked_certificates"]
