"""What happened, for people: in the plan's own terms, and every spec that is not done with its cause.

Owns the words; the numbers are the account's. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mmgraph.report.words import Style, listed, number, paint, paragraph, safe, seconds, size, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgraph.account import Account, End
    from mmgraph.plan import Goal, Plan

_KINDS = 5
"""Kinds of surprises that are named."""
_WIDTH = 100
_OPEN = (
    ("failed", "failed:"),
    ("blocked", "blocked by a failure of something they share:"),
    ("stopped", "not done, as the run was stopped:"),
)


def summary_text(account: Account, plan: Plan, *, colour: bool = False) -> str:
    """What ``mmgraph apply`` prints at the end; the line that counts is the last one."""
    lines: list[str] = []
    for outcome, words in _OPEN:
        ends = [end for end in account.ends if end.outcome == outcome]
        if ends:
            lines += [*_not_done(ends, words, colour), ""]
    lines += _lacking([end.goal for end in account.ends], colour)
    lines += _surprises(account.surprises)
    lines += _difference(account, plan)
    lines.append(summary_line(account))
    return "\n".join(lines) + "\n"


def summary_line(account: Account) -> str:
    """The last line of a summary; its form does not change."""
    return (
        f"Copied {account.count('created')}, moved {account.count('moved')},"
        f" unchanged {account.count('unchanged')}, failed {account.count('failed')},"
        f" blocked {account.count('blocked')}, stopped {account.count('stopped')}."
        f" {size(account.downloaded)} read, {size(account.uploaded)} sent, {size(account.mounted)} mounted"
        f" in {seconds(account.seconds)}."
    )


def _not_done(ends: Sequence[End], words: str, colour: bool) -> Iterator[str]:
    """Every spec that is not done, under its cause; one cause often stops many."""
    causes: dict[str, list[End]] = {}
    for end in ends:
        causes.setdefault(end.cause, []).append(end)
    yield f"{number(len(ends), 'spec')} {words}"
    for cause, each in causes.items():
        for end in each:
            mark = paint("!", Style.FAILURE, colour)
            yield f"  {mark} {end.goal.spec.source} -> {end.goal.spec.destination}"
        yield from paragraph(safe(cause) or "no cause was given", _WIDTH, 6)


def lacking_text(plan: Plan, *, colour: bool = False) -> str:
    """The tags that lack platforms their specs list, where there is nothing else to say; empty where there are none."""
    return "".join(f"{line}\n" for line in _lacking(plan.goals, colour))


def _lacking(goals: Sequence[Goal], colour: bool) -> Iterator[str]:
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
            yield from wrapped("    ", names, _WIDTH, 4)


def _surprises(surprises: Sequence[str]) -> Iterator[str]:
    """How often a registry did not behave as planned, by what it did; the work went another way."""
    if not surprises:
        return
    kinds = Counter(surprise.partition(": ")[2] or surprise for surprise in surprises).most_common()
    yield f"{number(len(surprises), 'surprise')}, where a registry did not do what the plan expected:"
    for text, count in kinds[:_KINDS]:
        yield from paragraph(f"{count}x {safe(text)}", _WIDTH, 2)
    if len(kinds) > _KINDS:
        rest = sum(count for _, count in kinds[_KINDS:])
        yield f"  and {rest} more, of {number(len(kinds) - _KINDS, 'other kind')}"


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
