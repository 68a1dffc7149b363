"""docs/rules.md: its examples are read as what they say, and its table has every key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from mmgraph.cli.rules import KEYS, parse
from mmgraph.names import Reference
from mmgraph.report.violations import violation_block
from mmgraph.rules import Violation

TEXT: Final = (Path(__file__).parents[1] / "docs" / "rules.md").read_text()


def blocks(language: str) -> list[str]:
    """The contents of the fenced blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_every_example_is_read() -> None:
    """Three rules, and the scope of the set."""
    found = [parse(tomllib.loads(block)) for block in blocks("toml")]
    assert [(3, False), (0, True)] == [(len(each.rules), each.whole_set) for each in found]


def test_the_table_has_every_key() -> None:
    """Those that the parser knows, and no others."""
    table = TEXT.partition("## When")[0]
    assert sorted(KEYS) == sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))


def test_no_example_has_two_stars() -> None:
    """One stands for slashes too, so two would only make a reader ask what the other is for."""
    globs = [rule.patterns for block in blocks("toml") for rule in parse(tomllib.loads(block)).rules]
    assert [] == [glob for each in globs for glob in each if "**" in glob]


def test_the_scope_that_holds_unless_another_is_said_is_named() -> None:
    """As the parser has it, that is the image."""
    assert (False, True) == (parse({}).whole_set, 'The scope is `"image"` unless' in TEXT)


def test_every_demand_is_in_the_examples() -> None:
    """So that each can be copied."""
    tables = [table for block in blocks("toml") for table in tomllib.loads(block).get("rule", [])]
    assert set(KEYS) == {key for table in tables for key in table}


def test_a_violation_looks_as_is_shown() -> None:
    """The block of the text."""
    old, new = re.findall(r"sha256:[0-9a-f]{64}", blocks("text")[0])
    violation = Violation(
        'rule "production stays"',
        "may-move = false",
        Reference.parse("registry.example/prod/app:v1"),
        f"names {old} and would name {new}",
        "tag",
        "v1",
    )
    assert blocks("text")[0].splitlines() == list(violation_block([violation], colour=False, width=100))
