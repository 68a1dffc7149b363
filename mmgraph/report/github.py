"""A plan for a job of GitHub Actions: annotations at the specs' own lines, as workflow commands. Decides nothing.

Owns their escape: what a registry said must not become a command of the runner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmgraph.plan import Result
from mmgraph.report.outline import changes_of
from mmgraph.report.words import number, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.plan import Goal, Plan

_SHOWN: Final = 10
"""Annotations of each kind that GitHub shows of one step; the last says how many there are more."""
_TEXT_LIMIT: Final = 1000


def plan_annotations(plan: Plan) -> str:
    """Errors for specs that cannot be planned or break rules, warnings for those that lose or lack platforms."""
    broken = {str(each.destination) for each in plan.violations}
    goals = {str(goal.spec.destination): goal for goal in plan.goals}
    errors = [
        _command("error", goal, goal.cause)
        for destination, goal in goals.items()
        if goal.result is Result.FAILED and destination not in broken
    ]
    errors += [
        _command("error", goals[str(each.destination)], str(each))
        for each in plan.violations
        if str(each.destination) in goals
    ]
    warnings = [
        _command("warning", goal, text) for goal in plan.goals if (text := ", ".join(_concerns(goal)))
    ]
    return "".join([*_cut("error", errors), *_cut("warning", warnings)])


def _concerns(goal: Goal) -> Iterator[str]:
    if goal.losses:
        yield f"the move takes away {', '.join(changes_of('', goal.losses))}"
    if goal.missing:
        yield f"the source lacks {', '.join(map(str, goal.missing))}"


def _cut(kind: str, lines: list[str]) -> list[str]:
    if len(lines) <= _SHOWN:
        return lines
    rest = number(len(lines) - _SHOWN + 1, f"more {kind}")
    return [*lines[: _SHOWN - 1], f"::{kind} title=mmgraph::{rest}: see the plan\n"]


def _command(kind: str, goal: Goal, text: str) -> str:
    """A workflow command; its grammar has ``,`` and ``:`` between properties, and %, CR and LF nowhere."""
    origin = goal.spec.origin
    properties = [f"title={_property(str(goal.spec.destination))}"]
    if origin.file and origin.file != "-":
        properties.append(f"file={_property(origin.file)}")
        if origin.line:
            properties.append(f"line={origin.line}")
    return f"::{kind} {','.join(properties)}::{_data(safe(text, _TEXT_LIMIT))}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(safe(text)).replace(":", "%3A").replace(",", "%2C")
