"""A difference for people: ``+``, ``-`` and ``~`` before the tags, then what differs in bytes, requests and storage.

Only what differs is told, and the last line has the counts. Decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.difference import Change, Sort
from mmgraph.report.outline import changes_of
from mmgraph.report.words import Style, folded, number, paint, safe, size, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgraph.difference import Delta, Difference, End

MEANINGS = {
    "naive": "one by one",
    "present": "already there",
    "missing": "not there yet",
    "mounted": "mounted",
    "shared": "shared",
    "saved": "deduplication saves",
    "uploaded": "to send",
    "downloaded": "to read",
}
"""What the sums of a bill are called."""
_SIGNS = {
    Sort.ADDED: ("+", Style.CREATE),
    Sort.REMOVED: ("-", Style.FAILURE),
    Sort.CHANGED: ("~", Style.MOVE),
}


def difference_text(
    difference: Difference,
    *,
    colour: bool = False,
    width: int = 100,
    fold: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """What ``mmgraph diff`` prints. ``fold``: the last line, too, is broken at ``width``, for a terminal.

    ``notes`` are lines that stand above it.
    """
    width = max(width, 40)
    blocks = [
        [line for change in difference.changes for line in _tag(change, colour, width)],
        _table([(MEANINGS[name], delta) for name, delta in difference.bill.items() if delta.change]),
        list(_storage(difference, width)),
        list(_requests(difference, width)),
        [*map(safe, notes), *folded(difference_line(difference), width if fold else None)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def difference_line(difference: Difference) -> str:
    """The last line; its form does not change."""
    counts = ", ".join(f"{difference.count(sort)} {sort}" for sort in Sort)
    told = [f"Diff: {counts}, {difference.same} the same."]
    if not difference.differs:
        return f"{told[0]} No difference."
    bill = difference.bill
    told.append(
        f"{grown(bill['downloaded'].change)} to read, {grown(bill['uploaded'].change)} to send;"
        f" stored {grown(difference.stored.change)}."
    )
    return " ".join(told)


def grown(change: int) -> str:
    """``+1.2 MiB``, ``-3 B``, ``0 B``."""
    return f"{'+' if change > 0 else '-' if change < 0 else ''}{size(abs(change))}"


def phrases_of(change: Change) -> list[str]:
    """What there is to say of a destination, apart from its name."""
    old, new = change.old, change.new
    if old is None or new is None:
        end = new or old
        return _alone(change, end) if end else []
    phrases = []
    if old.result != new.result:
        phrases.append(f"{old.result} -> {new.result}")
    if old.root != new.root:
        phrases.append(f"{_digest(old)} -> {_digest(new)}")
    phrases += [*changes_of("+", change.gains), *changes_of("-", change.losses)]
    if change.bytes:
        phrases.append(grown(change.bytes))
    if old.source != new.source:
        phrases.append(f"from {new.source} instead of {old.source}")
    return phrases


def _alone(change: Change, end: End) -> list[str]:
    told = [_digest(end), grown(change.bytes)] if end.root else [str(end.result)]
    return [*told, f"from {end.source}"]


def _digest(end: End) -> str:
    return end.root.short if end.root else "nothing"


def _tag(change: Change, colour: bool, width: int) -> Iterator[str]:
    sign, style = _SIGNS[change.sort]
    head = f"{paint(sign, style, colour)} {paint(str(change.destination), Style.STRONG, colour)}  "
    yield from wrapped(head, phrases_of(change), width, 4, divider="  ")


def _table(rows: Sequence[tuple[str, Delta]]) -> list[str]:
    """Numbers in columns, right-aligned: what, old, new, the change."""
    cells = [("", "old", "new", "change")] if rows else []
    cells += [(name, size(delta.old), size(delta.new), grown(delta.change)) for name, delta in rows]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}"
        for row in cells
    ]


def _storage(difference: Difference, width: int) -> Iterator[str]:
    for registry, each in difference.storage.items():
        if each.added or each.removed:
            parts = [
                f"{size(each.old)} -> {size(each.new)} ({grown(each.change)})",
                *([f"{size(each.added)} added"] if each.added else []),
                *([f"{size(each.removed)} not stored"] if each.removed else []),
            ]
            yield from wrapped(f"Stored at {safe(registry)}: ", parts, width, 2)


def _requests(difference: Difference, width: int) -> Iterator[str]:
    for registry, kinds in difference.requests.items():
        parts = [
            f"{delta.old} -> {delta.new} {kind}" for kind, delta in kinds.items() if delta.old != delta.new
        ]
        if parts:
            change = sum(delta.change for delta in kinds.values())
            total = sum(delta.new for delta in kinds.values())
            head = f"Requests at {safe(registry)}: {number(total, 'request')} ({change:+d}): "
            yield from wrapped(head, parts, width, 2)
