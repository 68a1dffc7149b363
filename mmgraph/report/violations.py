"""Broken rules, for every view: lines for people, objects for programs. Knows no plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mmgraph.report.words import LONG_LIMIT, Style, number, paint, paragraph, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgraph.rules import Violation

LIMIT: Final = 50
"""Violations that are told one by one, unless all are asked for."""
_TEXT: Final = {"type": "string"}


def violation_lines(violations: Sequence[Violation], *, limit: int | None = LIMIT) -> list[str]:
    """A line for each violation with its destination, rule, node and what was found; fit to show, without indent.

    ``limit``: so many, and how many more there are. Nothing where there are no violations.
    """
    lines = [safe(str(each), LONG_LIMIT) for each in violations[:limit]]
    if len(lines) < len(violations):
        lines.append(_rest(len(violations) - len(lines), len(violations)))
    return lines


def _rest(count: int, total: int) -> str:
    """What is counted where destinations stand above it: one of them may break several rules."""
    return f"and {number(count, 'more broken rule')}, {total} in all"


def headline(violations: Sequence[Violation]) -> str:
    """How many rules are broken, and how often: ``1 rule of mmgraph.toml is broken by 3 destinations:``."""
    rules = len({each.rule for each in violations})
    destinations = len({each.destination for each in violations})
    verb = "is" if rules == 1 else "are"
    return f"{number(rules, 'rule')} of mmgraph.toml {verb} broken by {number(destinations, 'destination')}:"


def violation_block(
    violations: Sequence[Violation], *, colour: bool, width: int, limit: int | None = LIMIT
) -> Iterator[str]:
    """The violations as a block of a text: a headline, each destination, below it what it breaks."""
    if not violations:
        return
    yield headline(violations)
    mark = paint("!", Style.FAILURE, colour)
    last = None
    for each in violations[:limit]:
        if each.destination != last:
            yield f"  {mark} {each.destination}"
        last = each.destination
        yield from paragraph(safe(each.cause, LONG_LIMIT), width, 6)
    if limit is not None and len(violations) > limit:
        yield f"  {mark} {_rest(len(violations) - limit, len(violations))}"


def violation_objects(violations: Sequence[Violation]) -> list[dict[str, Any]]:
    """The violations for JSON; their schema is ``SCHEMA``."""
    return [
        {
            "rule": each.rule,
            "demand": each.demand,
            "destination": str(each.destination),
            "node": each.node,
            "found": each.found,
        }
        for each in violations
    ]


SCHEMA: Final[dict[str, Any]] = {
    "type": "array",
    "description": "Rules of mmgraph.toml that are broken.",
    "items": {
        "type": "object",
        "required": ["rule", "demand", "destination", "node", "found"],
        "properties": {
            "rule": _TEXT,
            "demand": {"type": "string", "description": "As it stands in mmgraph.toml."},
            "destination": _TEXT,
            "node": {"type": ["string", "null"], "description": "An id, whether or not the graph has it."},
            "found": _TEXT,
        },
    },
}
