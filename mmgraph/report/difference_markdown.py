"""A difference as Markdown: a comment on a pull request, the largest changes first. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmgraph.difference import Sort
from mmgraph.report.difference import BYTES, MEANINGS, difference_line, grown, has_bytes, phrases_of
from mmgraph.report.markdown import LIMIT, Writer, code
from mmgraph.report.words import number, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.difference import Change, Difference

_OPEN_ROWS: Final = 20
"""Tags that are shown unfolded."""
_HEAD: Final = "| | tag | change |\n|---|---|---|\n"
_SIGNS = {Sort.ADDED: "+", Sort.REMOVED: "-", Sort.CHANGED: "~", Sort.UNKNOWN: "?"}


def difference_markdown(difference: Difference, *, notes: Sequence[str] = (), limit: int = LIMIT) -> str:
    """The difference in at most ``limit`` characters: ``notes``, tables of sums and needs, and of tags by size."""
    writer = Writer(limit)
    writer.add(f"### mmgraph diff\n\n{difference_line(difference)}\n")
    for note in notes:
        writer.add(f"\n> {code(note)}\n")
    sums = [
        f"| {MEANINGS[name]} | {size(each.old)} | {size(each.new)} | {grown(each.change)} |\n"
        for name, each in difference.bill.items()
        if each.change
    ]
    sums += [
        f"| needed at {code(registry)} | {size(each.old)} | {size(each.new)} | {grown(each.change)} |\n"
        for registry, each in difference.storage.items()
        if each.added or each.removed
    ]
    for registry, kinds in difference.requests.items():
        old, new = (sum(getattr(each, name) for each in kinds.values()) for name in ("old", "new"))
        if any(each.change for each in kinds.values()):
            sums.append(f"| requests at {code(registry)} | {old} | {new} | {new - old:+d} |\n")
    if sums:
        writer.add("\n")
        writer.rows("| | old | new | change |\n|---|---:|---:|---:|\n", sums)
    changes = sorted(difference.changes, key=lambda change: -abs(change.bytes))
    rows = [_row(change) for change in changes]
    if rows:
        writer.add(f"\n{BYTES}\n\n" if has_bytes(difference) else "\n")
        writer.rows(_HEAD, rows[:_OPEN_ROWS])
    if rest := rows[_OPEN_ROWS:]:
        title = f"{number(len(rest), 'more tag')}, the largest changes first"
        writer.fold(title, lambda: writer.rows(_HEAD, rest))
    return writer.text


def _row(change: Change) -> str:
    what = "<br>".join(code(phrase) for phrase in phrases_of(change))
    return f"| {_SIGNS[change.sort]} | {code(str(change.destination))} | {what} |\n"
