"""What happened, for people: in the plan's own terms, and every spec that is not done with its cause.

Owns the words; the numbers are the account's. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mmgraph.events import Outcome
from mmgraph.plan import Result
from mmgraph.report.text import cautions
from mmgraph.report.words import (
    Style,
    folded,
    listed,
    number,
    paint,
    paragraph,
    safe,
    seconds,
    size,
    spec_causes,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmgraph.account import Account, Deviation, End
    from mmgraph.names import Reference, Registry
    from mmgraph.plan import Goal, Plan
    from mmgraph.quirks import Learned
    from mmgraph.store import Traffic

_KINDS = 5
"""Kinds of surprises that are named."""
_WIDTH = 100
_STOPPED = 3
"""Specs that were stopped, as examples: the same command goes on with all of them."""
_OPEN = (
    (Outcome.FAILED, "failed:", "failed:"),
    (
        Outcome.BLOCKED,
        "blocked by the failure of something it shares:",
        "blocked by the failure of something they share:",
    ),
    (
        Outcome.STOPPED,
        "not done, as the run was stopped; run the same command again to go on:",
        "not done, as the run was stopped; run the same command again to go on:",
    ),
)


def summary_text(
    account: Account,
    plan: Plan,
    *,
    colour: bool = False,
    width: int = _WIDTH,
    fold: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """What ``mmgraph apply`` prints at the end; the line that counts is the last one.

    ``fold``: it, too, is broken at ``width``, for a terminal; else it is one line. ``notes`` are lines that stand
    above it.
    """
    lines: list[str] = []
    mark = paint("!", Style.FAILURE, colour)
    broken: dict[Reference, list[str]] = {}
    for each in plan.violations:
        broken.setdefault(each.destination, []).append(each.cause)
    for outcome, of_one, of_many in _OPEN:
        ends = [end for end in account.ends if end.outcome == outcome]
        if ends:
            lines += folded(f"{number(len(ends), 'spec')} {of_one if len(ends) == 1 else of_many}", width)
            specs = (
                (str(end.goal.spec.source), str(end.goal.spec.destination), _causes(end, broken))
                for end in ends
            )
            lines += spec_causes(specs, mark, width, _STOPPED if outcome is Outcome.STOPPED else None)
            lines.append("")
    lines += cautions(plan, colour)
    lines += _lacking([end.goal for end in account.ends], colour, width)
    lines += _surprises(account.surprises, width)
    lines += _learned(account.quirks, width)
    notable = [*_troubles(account.traffic), *_difference(account, plan), *(safe(note) for note in notes)]
    lines += [piece for line in notable for piece in folded(line, width)]
    lines += folded(summary_line(account), width if fold else None)
    return "\n".join(lines) + "\n"


def _causes(end: End, broken: Mapping[Reference, Sequence[str]]) -> str | tuple[str, ...]:
    """Why a spec is not done: of one that may not be written, every rule that it breaks."""
    forbidden = end.goal.result is Result.FAILED and broken.get(end.goal.spec.destination)
    return tuple(forbidden) if forbidden else end.cause


def summary_line(account: Account) -> str:
    """The last line of a summary; its form does not change, but that repairs are told where there were some."""
    repaired = f" repaired {count}," if (count := account.count(Outcome.REPAIRED)) else ""
    return (
        f"Copied {account.count(Outcome.COPIED)}, moved {account.count(Outcome.MOVED)},{repaired}"
        f" unchanged {account.count(Outcome.UNCHANGED)}, failed {account.count(Outcome.FAILED)},"
        f" blocked {account.count(Outcome.BLOCKED)}, stopped {account.count(Outcome.STOPPED)}."
        f" {size(account.downloaded)} read, {size(account.uploaded)} sent, {size(account.mounted)} mounted"
        f" in {seconds(account.seconds)}."
    )


def lacking_text(plan: Plan, *, colour: bool = False, width: int = _WIDTH) -> str:
    """The tags that lack platforms their specs list, where there is nothing else to say; empty where there are none."""
    return "".join(f"{line}\n" for line in _lacking(plan.goals, colour, width))


def _lacking(goals: Sequence[Goal], colour: bool, width: int) -> Iterator[str]:
    """Every tag that lacks platforms its spec lists, together where they lack the same."""
    groups: dict[str, list[str]] = {}
    for goal in goals:
        if goal.missing:
            groups.setdefault(listed(goal.missing), []).append(str(goal.spec.destination))
    mark = paint("!", Style.MOVE, colour)
    for platforms, names in groups.items():
        if len(names) == 1:
            yield f"{mark} {names[0]} lacks {platforms}"
        else:
            yield f"{mark} {len(names)} tags lack {platforms}:"
            yield from wrapped("    ", names, width, 4)


def _surprises(surprises: Sequence[Deviation], width: int) -> Iterator[str]:
    """How often a registry did not behave as planned, by what it did; the work went another way."""
    if not surprises:
        return
    kinds = Counter(surprise.text for surprise in surprises).most_common()
    yield from folded(
        f"{number(len(surprises), 'surprise')}, where a registry did not do what the plan expected:", width
    )
    for text, count in kinds[:_KINDS]:
        yield from paragraph(f"{count}x {safe(text)}", width, 2)
    if len(kinds) > _KINDS:
        rest = sum(count for _, count in kinds[_KINDS:])
        yield f"  and {rest} more, of {number(len(kinds) - _KINDS, 'other kind')}"


def _learned(quirks: Sequence[Learned], width: int) -> Iterator[str]:
    """What registries turned out to differ in."""
    if quirks:
        yield "Learned of registries:"
    for learned in quirks:
        yield from paragraph(str(learned), width, 2)


def _troubles(traffic: Mapping[Registry, Traffic]) -> Iterator[str]:
    """Where requests had to be repeated, or a registry to be left alone for a while."""
    for registry, each in sorted(traffic.items()):
        parts = []
        if each.retries > 0:
            parts.append(f"{number(each.retries, 'request')} sent again")
        if each.pauses > 0:
            times = "once" if each.pauses == 1 else f"{each.pauses} times"
            parts.append(f"paused {times} for {seconds(each.paused_seconds)}")
        if parts:
            yield f"{registry}: {', '.join(parts)}"


def _difference(account: Account, plan: Plan) -> Iterator[str]:
    """What the plan expected otherwise, and why, as far as people would see a difference."""
    bill = plan.bill
    planned = tuple(map(size, (bill.downloaded, bill.uploaded, bill.mounted)))
    if planned == tuple(map(size, (account.downloaded, account.uploaded, account.mounted))):
        return
    read, sent, mounted = planned
    yield f"The plan expected {read} to be read, {sent} sent and {mounted} mounted."
    if account.found:
        yield f"{size(account.found)} turned out to be there already when its upload began."
