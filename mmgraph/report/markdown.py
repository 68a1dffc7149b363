"""A plan as Markdown: a comment on a pull request, the largest changes first, folded, never longer than one may be.

Owns GitHub's and GitLab's dialect and its escape: foreign text stands in code spans, where nothing is a link, a
mention or HTML. Decides nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mmgraph.cost import Costs
from mmgraph.plan import Goal, Plan, Result
from mmgraph.report.outline import changes_of
from mmgraph.report.text import cautions, plan_line
from mmgraph.report.violations import headline, violation_lines
from mmgraph.report.words import listed, number, safe, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LIMIT: Final = 65_000
"""Characters; GitHub takes 65,536 in a comment, and the rest is for who posts it."""
_OPEN_ROWS: Final = 20
"""Changes that are shown unfolded."""
_CAUSE_LIMIT: Final = 300
_RESERVE: Final = 200
"""Characters kept for the line that says how many rows are left out, and for what closes a fold."""
_TICKS: Final = re.compile("`+")
_SIGNS: Final = {
    Result.CREATE: "+",
    Result.MOVE: "~",
    Result.REPAIR: "*",
    Result.UNCHANGED: "=",
    Result.FAILED: "!",
}
_HEAD: Final = "| | tag | digest | moves | alone |\n|---|---|---|---:|---:|\n"
_COLUMNS: Final = (
    "moves: bytes that are sent for a tag; what several tags need counts at each of them, so that the column can add up"
    " to more than is sent. alone: bytes of these that would not be sent without the tag. Sorted by moves."
)
_FAILED_HEAD: Final = "| | tag | cause |\n|---|---|---|\n"


def code(text: str, limit: int = 400) -> str:
    """Foreign text as a code span that also may stand in a table's cell."""
    text = safe(text, limit)
    if not text.strip():
        return ""
    ticks = "`" * (max(map(len, _TICKS.findall(text)), default=0) + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{ticks}{pad}{text}{pad}{ticks}".replace("|", "\\|")


def plan_markdown(plan: Plan, *, notes: Sequence[str] = (), limit: int = LIMIT) -> str:
    """The plan as Markdown of at most ``limit`` characters; ``notes`` are lines above the tables, each a sentence."""
    failed = [goal for goal in plan.goals if goal.result is Result.FAILED]
    costs = Costs(plan)
    by_cost = sorted(
        range(len(plan.goals)), key=lambda place: (-costs.moved[place], -costs.alone[place], place)
    )
    changed = [place for place in by_cost if plan.goals[place].changes]
    writer = Writer(limit)
    summary = plan_line(plan).replace(". ", ".  \n")  # two blanks break the line
    writer.add(f"### mmgraph plan\n\n{summary}\n")
    for note in (*notes, *cautions(plan)):
        writer.add(f"\n> {code(note)}\n")
    if plan.violations:
        writer.add(f"\n**{headline(plan.violations)}**\n\n")
        lines = violation_lines(plan.violations, limit=None)
        writer.rows("| broken rule |\n|---|\n", [f"| {code(line, _CAUSE_LIMIT)} |\n" for line in lines])
    if plan.missing:
        writer.add(f"\n**{number(len(plan.missing), 'repository', 'repositories')} to create**\n\n")
        writer.rows("| repository |\n|---|\n", [f"| {code(str(place))} |\n" for place in plan.missing])
    if failed:
        writer.add(f"\n**{number(len(failed), 'spec')} cannot be planned**\n\n")
        writer.rows(_FAILED_HEAD, [_failure(goal) for goal in failed])
    if not changed and not failed:
        writer.add("\nNo changes.\n")

    def row(place: int) -> str:
        return _row(plan.goals[place], costs.moved[place], costs.alone[place])

    if changed:
        writer.add(f"\n{_COLUMNS}\n\n")
        writer.rows(_HEAD, [row(place) for place in changed[:_OPEN_ROWS]])
    if len(changed) > _OPEN_ROWS:
        title = f"{number(len(changed) - _OPEN_ROWS, 'more change')}, the largest first"
        writer.fold(title, lambda: writer.rows(_HEAD, [row(place) for place in changed[_OPEN_ROWS:]]))
    if changed:
        writer.fold(
            "Requests", lambda: writer.rows("| registry | requests |\n|---|---|\n", list(_requests(plan)))
        )
    return writer.text


def _row(goal: Goal, moved: int, alone: int) -> str:
    digest = goal.root.short if goal.root else ""
    if goal.result is Result.REPAIR and goal.root:
        digest = f"{goal.root.short} repair"
    elif goal.result is Result.MOVE and goal.old and goal.root:
        digest = f"{goal.old.short} -> {goal.root.short}"
    more = [*changes_of("+", goal.gains), *changes_of("-", goal.losses)]
    if goal.missing:
        more.append(f"lacks {listed(goal.missing)}")
    if goal.trimmed:
        more.append(f"limited to {listed(goal.spec.platforms)}")
    extra = "".join(f"<br>{code(each)}" for each in more)
    return (
        f"| {_SIGNS[goal.result]} | {code(str(goal.spec.destination))}{extra} | {code(digest)}"
        f" | {size(moved)} | {size(alone)} |\n"
    )


def _failure(goal: Goal) -> str:
    return f"| ! | {code(str(goal.spec.destination))} | {code(goal.cause, _CAUSE_LIMIT)} |\n"


def _requests(plan: Plan) -> Iterator[str]:
    for registry, counts in sorted(plan.bill.requests.items(), key=lambda each: -sum(each[1].values())):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda of: -of[1]))
        yield f"| {code(registry)} | {sum(counts.values())} ({kinds}) |\n"


class Writer:
    """Text up to a limit; tables lose rows at their end rather than anything in between."""

    def __init__(self, limit: int) -> None:
        self._left = limit - _RESERVE
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All that fitted."""
        return "".join(self._parts)

    def add(self, text: str) -> bool:
        """Append ``text``, or nothing of it where it does not fit."""
        if len(text) > self._left:
            return False
        self._left -= len(text)
        self._parts.append(text)
        return True

    def rows(self, head: str, rows: Sequence[str]) -> None:
        """Append a table, with as many of its rows as fit and a line that tells of the rest."""
        rest = f"\n{number(len(rows), 'more row')} would not fit here.\n"
        if len(head) + len(rest) > self._left:
            return
        self.add(head)
        self._left -= len(rest)
        for count, row in enumerate(rows):
            if not self.add(row):
                self._parts.append(f"\n{number(len(rows) - count, 'more row')} would not fit here.\n")
                return
        self._left += len(rest)

    def fold(self, title: str, fill: Callable[[], None]) -> None:
        """Append what ``fill`` appends under a title that opens it."""
        end = "\n</details>\n"
        if not self.add(f"\n<details><summary>{title}</summary>\n\n"):
            return
        self._left -= len(end)
        fill()
        self._parts.append(end)
