"""Broken rules in the views: how many, in what order, and that foreign text obeys nobody."""

from __future__ import annotations

import json
import re

from jsonschema import Draft202012Validator
from msgspec.structs import replace

from mmgraph import saved
from mmgraph.names import Reference
from mmgraph.plan import Plan
from mmgraph.report.dot import dot
from mmgraph.report.graph_json import graph_json, schema
from mmgraph.report.text import plan_text
from mmgraph.report.violations import (
    headline,
    violation_block,
    violation_lines,
    violation_objects,
)
from mmgraph.rules import Violation
from tests.support.making import Bench, manifest

HOSTILE = 'x\x1b[31m\n::error::\u202e<script>&"]]>\\n'


def violation(name: str = "app:1", rule: str = "rule 1", found: str = "is so") -> Violation:
    """A violation at a destination."""
    destination = Reference.parse(f"dst.example/{name}")
    return Violation(rule, "may-move = false", destination, found, "tag", destination.name)


def broken(*violations: Violation) -> Plan:
    """A plan of one image that breaks rules, as a saved one does."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("app:1", "app:1", image)
    return replace(bench.plan(), violations=violations)


def test_a_line_has_destination_rule_node_and_what_was_found() -> None:
    """In this order."""
    expected = ["dst.example/app:1: rule 1 (may-move = false): tag 1 is so"]
    assert expected == violation_lines([violation()])


def test_many_are_cut_and_counted() -> None:
    """Unless all are asked for."""
    many = [violation(f"app:{number}") for number in range(60)]
    cut, full = violation_lines(many), violation_lines(many, limit=None)
    assert (51, "and 10 more broken rules, 60 in all", 60) == (len(cut), cut[-1], len(full))


def test_the_headline_counts_rules_and_destinations() -> None:
    """Each once."""
    some = [violation(), violation("app:2"), violation("app:2", "rule 2")]
    assert ("2 rules of mmgraph.toml are broken by 2 destinations:", "1 rule of mmgraph.toml is broken") == (
        headline(some),
        headline(some[:1])[:32],
    )


def test_a_destination_stands_once_above_what_it_breaks() -> None:
    """As the plan lists a tag once."""
    block = list(violation_block([violation(), violation(rule="rule 2")], colour=False, width=100))
    assert [
        "2 rules of mmgraph.toml are broken by 1 destination:",
        "  ! dst.example/app:1",
        "      rule 1 (may-move = false): tag 1 is so",
        "      rule 2 (may-move = false): tag 1 is so",
    ] == block


def test_no_block_where_nothing_is_broken() -> None:
    """Not even a headline."""
    assert [] == list(violation_block([], colour=False, width=100))


def test_objects_have_every_part() -> None:
    """The node by its id, or null."""
    nameless = replace(violation(), kind="", name="")
    expected = {
        "rule": "rule 1",
        "demand": "may-move = false",
        "destination": "dst.example/app:1",
        "node": "tag dst.example/app:1",
        "found": "is so",
    }
    assert [expected, expected | {"node": None}] == violation_objects([violation(), nameless])


def test_foreign_text_obeys_nobody() -> None:
    """In no view is there a control, a runner's command, a tag or a quote of its own."""
    plan = broken(violation(rule=HOSTILE, found=HOSTILE))
    text, drawn = plan_text(plan), dot(plan)
    programs = [graph_json(plan).decode(), saved.write(plan, "test").decode()]
    for view in (text, drawn, *programs):
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", view)
    assert ([], False) == (re.findall(r"(?<!\S)::error", text), "<script" in drawn)
    assert [HOSTILE] * 2 == [json.loads(view)["violations"][0]["found"] for view in programs]


def test_violations_stand_first_in_the_text() -> None:
    """Before what the plan does."""
    assert plan_text(broken(violation())).startswith("1 rule of mmgraph.toml is broken by 1 destination:\n")


def test_json_with_violations_is_what_its_schema_says() -> None:
    """The graph's and the plan's."""
    plan = broken(violation(), replace(violation(), kind="", name=""))
    Draft202012Validator(schema()).validate(json.loads(graph_json(plan)))
    Draft202012Validator(saved.schema()).validate(json.loads(saved.write(plan, "test")))
