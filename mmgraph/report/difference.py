"""A difference for people: ``+``, ``-``, ``~`` and ``?`` before the tags, then bytes, what is needed where, requests.

Only what differs is told, and the last line has the counts. Decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.difference import Change, Sort
from mmgraph.report.outline import changes_of
from mmgraph.report.words import Style, folded, listed, number, paint, paragraph, safe, size, wrapped

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
    Sort.UNKNOWN: ("?", Style.FAILURE),
}
BYTES = "The bytes of a tag are those of its whole image, also what others have too: they do not add up to the sums."
"""What there is to say of the bytes at a tag."""


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
        list(paragraph(BYTES, width, 0)) if has_bytes(difference) else [],
        _table([(MEANINGS[name], delta) for name, delta in difference.bill.items() if delta.change]),
        list(_storage(difference, width)),
        list(_requests(difference, width)),
        [*map(safe, notes), *folded(difference_line(difference), width if fold else None)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def difference_line(difference: Difference) -> str:
    """The last line; its form does not change."""
    counts = [f"{difference.count(sort)} {sort}" for sort in (Sort.ADDED, Sort.REMOVED, Sort.CHANGED)]
    counts.append(f"{difference.same} the same")
    if unknown := difference.count(Sort.UNKNOWN):
        counts.append(f"{unknown} that cannot be compared")
    told = [f"Diff: {', '.join(counts)}."]
    failed, bill = _failed(difference), difference.bill
    if not difference.differs:
        told.append("No difference is known." if unknown else "No difference.")
    if difference.sums_differ or (difference.differs and not failed):
        told.append(
            f"{grown(bill['downloaded'].change)} to read, {grown(bill['uploaded'].change)} to send;"
            f" needed at the destinations: {grown(difference.stored.change)}; nothing is deleted there."
        )
    if failed:
        told.append(failed)
    return " ".join(told)


def _failed(difference: Difference) -> str:
    """The specs without which all sums are; nothing where there are none."""
    old, new = difference.failed.old, difference.failed.new
    parts = [f"{number(old, 'spec')} of OLD"] if old else []
    if new:
        parts.append(f"{new} of NEW" if old else f"{number(new, 'spec')} of NEW")
    them = "it" if old + new == 1 else "them"
    return f"{' and '.join(parts)} cannot be planned: the sums are without {them}." if parts else ""


def has_bytes(difference: Difference) -> bool:
    """Whether bytes are told at any tag."""
    return any(change.bytes for change in difference.changes)


def grown(change: int) -> str:
    """``+1.2 MiB``, ``-3 B``, ``0 B``."""
    return f"{'+' if change > 0 else '-' if change < 0 else ''}{size(abs(change))}"


def phrases_of(change: Change) -> list[str]:
    """What there is to say of a destination, apart from its name."""
    old, new = change.old, change.new
    if old is None or new is None:
        end = new or old
        return _alone(change, end) if end else []
    if change.sort is Sort.UNKNOWN:
        both = old.failed and new.failed
        which = "either side" if both else "OLD" if old.failed else "NEW"
        return [f"cannot be compared: it cannot be planned for {which}"]
    phrases = []
    if old.result != new.result:
        phrases.append(f"{old.result} -> {new.result}")
    elif change.failed:
        phrases.append("cannot be planned")
    if old.root != new.root and not change.failed:
        phrases.append(f"{_digest(old)} -> {_digest(new)}")
    phrases += [*changes_of("+", change.gains), *changes_of("-", change.losses)]
    if change.bytes:
        phrases.append(f"whole image {grown(change.bytes)}")
    if old.limits != new.limits and (change.failed or old.root == new.root):
        phrases.append(f"{_limits(new)} instead of {_limits(old)}")
    if old.source != new.source:
        phrases.append(f"from {new.source} instead of {old.source}")
    return phrases


def _alone(change: Change, end: End) -> list[str]:
    told = [_digest(end), f"whole image {grown(change.bytes)}"] if end.root else [str(end.result)]
    return [*told, f"from {end.source}"]


def _limits(end: End) -> str:
    return f"limited to {listed(end.limits)}" if end.limits else "all platforms"


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
                *([f"{size(each.removed)} no longer"] if each.removed else []),
            ]
            yield from wrapped(f"Needed at {safe(registry)}: ", parts, width, 2)


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
