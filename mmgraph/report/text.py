"""The plan for people: what failed, then by destination repository what is written and why, then the bill.

Owns the words and their places; what each tag adds is the outline's. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mmgraph.graph import Kind, Node
from mmgraph.plan import Action, Goal, Plan, Result
from mmgraph.report.offline import offline_lines
from mmgraph.report.outline import (
    ABOVE,
    ATTESTATION,
    SHARED,
    Entry,
    Item,
    Part,
    Section,
    changes_of,
    name_of,
    outline,
)
from mmgraph.report.ranking import ranking_blocks
from mmgraph.report.violations import LIMIT, violation_block
from mmgraph.report.words import (
    Style,
    folded,
    listed,
    number,
    paint,
    paragraph,
    percent,
    safe,
    size,
    spec_causes,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mmgraph.names import Reference, Registry, Repository
    from mmgraph.ranking import Ranking

_FOLD_ITEMS = 6
"""Manifests of one tag that are listed one by one."""
_FOLD_NAMES = 8
"""Tags that are named where they have only something in common to say."""
_FOLD_REPOSITORIES = 5
"""Repositories without a change that are listed one by one."""
_FOLD_REGISTRIES = 5
"""Registries whose requests are told."""
_FOLD_KINDS = 3
"""Kinds of requests at one registry that are told."""
_CAPTION_RULES = 10
"""Broken rules that are told below a drawing, in lines of so many columns:"""
_CAPTION_WIDTH = 110
_SYMBOLS = {
    Result.CREATE: ("+", Style.CREATE, "create"),
    Result.MOVE: ("~", Style.MOVE, "move"),
    Result.REPAIR: ("*", Style.MOVE, "repair"),
    Result.UNCHANGED: ("=", Style.FAINT, "unchanged"),
    Result.FAILED: ("!", Style.FAILURE, "failed, or lacks a platform"),
}


def plan_text(
    plan: Plan,
    *,
    unfold: bool = False,
    colour: bool = False,
    width: int = 100,
    fold: bool = False,
    notes: Sequence[str] = (),
    creators: Mapping[Registry, str] | None = None,
    ranking: Ranking | None = None,
) -> str:
    """What ``mmgraph plan`` prints. ``unfold``: every blob with digest, size, action and reason.

    ``fold``: the last line, too, is broken at ``width``, for a terminal; else it is one line. ``notes`` are lines
    that stand above it; ``creators`` are the programs that create repositories, by registry; ``ranking`` stands in
    the place of all tags.
    """
    width = max(width, 40)
    printer = _Printer(plan, unfold, colour, width, ranking)
    above_all = "".join(f"{line}\n" for line in cautions(plan, colour))
    broken = list(
        violation_block(plan.violations, colour=colour, width=width, limit=None if unfold else LIMIT)
    )
    blocks = [
        *([broken] if broken else []),
        *_missing(plan, creators or {}, unfold, width),
        *printer.blocks(),
    ]
    above = [*_requests(plan, width), *(safe(note) for note in notes)]
    blocks.append([*above, *folded(plan_line(plan), width if fold else None)])
    return above_all + "\n\n".join("\n".join(block) for block in blocks) + "\n"


def cautions(plan: Plan, colour: bool = False) -> Iterator[str]:
    """Say of which registries what they are is taken at their word."""
    for registry in plan.unchecked:
        yield f"{paint('!', Style.FAILURE, colour)} The certificate of {registry} is not checked (--insecure)."


def _missing(plan: Plan, creators: Mapping[Registry, str], unfold: bool, width: int) -> Iterator[list[str]]:
    """The repositories to create, and who does that."""
    if not plan.missing:
        return
    shown = plan.missing if unfold else plan.missing[:_FOLD_NAMES]
    lines = [f"{number(len(plan.missing), 'repository', 'repositories')} to create:"]
    lines += [f"  {repository}" for repository in shown]
    if len(shown) < len(plan.missing):
        lines.append(f"  and {len(plan.missing) - len(shown)} more")
    registries = sorted({repository.registry for repository in plan.missing})
    for registry in registries:
        where = "" if len(registries) == 1 else f"at {registry} "
        if registry in creators:
            program = safe(creators[registry], 80)
            text = f"{where}apply runs {program} for each, before its first upload"
        else:
            text = (
                f"{where}each must be there before apply: create-repository in mmgraph.toml names a program that"
                " creates it, --missing-repositories FILE writes the list"
            )
        lines += paragraph(text, width, 2)
    yield lines


def plan_line(plan: Plan) -> str:
    """The last line of a plan; its form does not change, but that repairs are told where there are some."""
    bill = plan.bill
    repairs = f" {count} to repair," if (count := plan.count(Result.REPAIR)) else ""
    return (
        f"Plan: {plan.count(Result.CREATE)} to copy, {plan.count(Result.MOVE)} to move,{repairs}"
        f" {plan.count(Result.UNCHANGED)} unchanged, {plan.count(Result.FAILED)} failed."
        f" {size(bill.downloaded)} to read, {size(bill.uploaded)} to send;"
        f" deduplication saves {size(bill.saved)} ({percent(bill.saved, bill.missing)} %):"
        f" {size(bill.shared)} shared, {size(bill.mounted)} mounted."
        f" Already there: {size(bill.present)} of {size(bill.naive)}."
    )


def _requests(plan: Plan, width: int) -> Iterator[str]:
    """What apply asks of each registry, the kinds that are most first."""
    counts = {
        registry: sorted(each.items(), key=lambda of: -of[1]) for registry, each in plan.bill.requests.items()
    }
    totals = {registry: sum(count for _, count in each) for registry, each in counts.items()}
    if not totals:
        return
    phrases = []
    for registry in sorted(totals, key=lambda of: -totals[of])[:_FOLD_REGISTRIES]:
        kinds = [f"{count} {kind}" for kind, count in counts[registry][:_FOLD_KINDS]]
        if rest := sum(count for _, count in counts[registry][_FOLD_KINDS:]):
            kinds.append(f"{rest} other")
        kinds[0] = f"{registry} {totals[registry]} ({kinds[0]}"
        phrases += [*kinds[:-1], f"{kinds[-1]})"]
    if rest := sum(sorted(totals.values())[:-_FOLD_REGISTRIES]):
        phrases.append(f"{number(len(totals) - _FOLD_REGISTRIES, 'more registry', 'more registries')} {rest}")
    phrases[-1] += "."
    # Offline no registry has been asked, and what is counted here is what it would take.
    head = "Requests: " if plan.offline is None else "apply would ask: "
    yield from wrapped(head, phrases, width, 2)


def caption(plan: Plan, shown: Sequence[Goal]) -> list[str]:
    """Broken rules, the bill in three lines, and what is taken at its word or known offline: below a drawing of the
    ``shown`` goals.
    """
    part = (
        [f"Shown: {len(shown)} of {number(len(plan.goals), 'spec')}."] if len(shown) < len(plan.goals) else []
    )
    lines = plan_line(plan).replace(". ", ".\n").split("\n")
    if part:
        lines = [*part, f"Whole plan: {lines[0].removeprefix('Plan: ')}", *lines[1:]]
    broken = violation_block(plan.violations, colour=False, width=_CAPTION_WIDTH, limit=_CAPTION_RULES)
    return [*broken, *lines, *cautions(plan), *offline_lines(plan)]


class _Printer:
    """The blocks of one plan, each a list of lines."""

    def __init__(
        self, plan: Plan, unfold: bool, colour: bool, width: int, ranking: Ranking | None = None
    ) -> None:
        self._plan = plan
        self._ranking = ranking
        self._unfold = unfold
        self._colour = colour
        self._width = width

    def blocks(self) -> Iterator[list[str]]:
        told = {violation.destination for violation in self._plan.violations}
        failed = [goal for goal in self._plan.goals if goal.result is Result.FAILED]
        if unread := [goal for goal in failed if goal.spec.destination not in told]:
            for stale in (True, False):
                if some := [goal for goal in unread if goal.stale is stale]:
                    yield list(self._failures(some, stale=stale))
        if self._ranking is not None:
            yield from ranking_blocks(self._ranking, colour=self._colour, width=self._width)
            return
        sections = outline(self._plan)
        if self._plan.changes:
            yield [self._legend()]
            for section in sections:
                if section.changed:
                    yield list(self._section(section))
            rest = list(self._quiet([section for section in sections if not section.changed]))
        else:
            rest = [line for section in sections for line in self._lacking(section, str(section.repository))]
        if rest:
            yield rest
        if not self._plan.changes and not failed:
            count = len(self._plan.goals)
            verb = "is as it should be" if count == 1 else "are as they should be"
            if self._plan.offline is not None:
                verb = (
                    "was as it should be when last seen"
                    if count == 1
                    else "were as they should be when last seen"
                )
            yield [
                f"No changes. {number(count, 'tag')} {verb}." if count else "No changes: the set is empty."
            ]

    def _mark(self, result: Result) -> str:
        symbol, style, _ = _SYMBOLS[result]
        return paint(symbol, style, self._colour)

    def _legend(self) -> str:
        used = {goal.result for goal in self._plan.goals}
        if any(goal.missing for goal in self._plan.goals):
            used.add(Result.FAILED)
        words = ((result, word) for result, (_, _, word) in _SYMBOLS.items() if result in used)
        return "   ".join(f"{self._mark(result)} {word}" for result, word in words)

    def _failures(self, failed: Sequence[Goal], *, stale: bool) -> Iterator[str]:
        why = "left out, as the saved plan is stale" if stale else "cannot be planned"
        yield f"{number(len(failed), 'spec')} {why}:"
        specs = ((str(goal.spec.source), str(goal.spec.destination), goal.cause) for goal in failed)
        yield from spec_causes(specs, self._mark(Result.FAILED), self._width)

    # A destination repository

    def _section(self, section: Section) -> Iterator[str]:
        sources = {entry.goal.spec.source.repository for entry in section.changed}
        common = sources.pop() if len(sources) == 1 else None
        head = paint(str(section.repository), Style.STRONG, self._colour)
        yield f"{head}  from {common}" if common else head
        for entry in section.changed:
            yield from self._entry(entry, common)
        yield from self._lacking(section, "")
        if section.unchanged:
            yield f"  {self._mark(Result.UNCHANGED)} {len(section.unchanged)} unchanged"

    def _quiet(self, sections: Sequence[Section]) -> Iterator[str]:
        """Repositories in which nothing changes, at the end: they are what a reviewer need not read."""
        for section in sections:
            yield from self._lacking(section, str(section.repository))
        if len(sections) > _FOLD_REPOSITORIES and not self._unfold:
            count = sum(len(section.entries) for section in sections)
            yield f"{self._mark(Result.UNCHANGED)} {count} unchanged in {len(sections)} more repositories"
            return
        for section in sections:
            yield f"{section.repository}: {self._mark(Result.UNCHANGED)} {len(section.entries)} unchanged"

    def _lacking(self, section: Section, place: str) -> Iterator[str]:
        """Unchanged tags that lack platforms, together where they lack the same."""
        groups: dict[str, list[str]] = {}
        for entry in section.unchanged:
            if entry.goal.missing:
                groups.setdefault(listed(entry.goal.missing), []).append(entry.name)
        for platforms, names in groups.items():
            shown = names if self._unfold else names[:_FOLD_NAMES]
            more = [f"and {len(names) - len(shown)} more"] if len(names) > len(shown) else []
            verb = "lacks" if len(names) == 1 else "lack"
            where = f"{place}: " if place else ""
            head = f"{'' if place else '  '}{self._mark(Result.FAILED)} "
            phrases = [*shown, *more]
            phrases[-1] += f" (unchanged) {verb} {platforms}"
            yield from wrapped(head + where, phrases, self._width, 6)

    # A tag

    def _entry(self, entry: Entry, common: Repository | None) -> Iterator[str]:
        yield from wrapped(*self._title(entry, common), self._width, 6, divider="  ")
        goal = entry.goal
        if goal.missing:
            yield f"      {self._mark(Result.FAILED)} lacks {listed(goal.missing)}"
        if goal.trimmed:
            limits = listed(goal.spec.platforms)
            yield from paragraph(f"digest differs from the source's: limited to {limits}", self._width, 6)
        if self._unfold:
            for item in entry.items:
                yield from self._unfolded(item)
            return
        parts = [part for item in entry.items for part in item.parts]
        if entry.same_as and all(part.use in (SHARED, Action.PRESENT, ABOVE) for part in parts):
            yield from wrapped(f"      same image as {entry.same_as}: ", _phrases(parts), self._width, 8)
            return
        rows = _rows(entry)
        column = max((len(row.name) for row in rows if not row.attests), default=0)
        for row in rows:
            phrases = _phrases(row.parts) if row.parts else ["no blobs"]
            yield from wrapped(f"      {row.name:<{column}}  ", phrases, self._width, 8)

    def _title(self, entry: Entry, common: Repository | None) -> tuple[str, list[str]]:
        goal = entry.goal
        name = paint(entry.name, Style.STRONG, self._colour)
        phrases = []
        if goal.result is Result.REPAIR and goal.root:
            phrases.append(f"{goal.root.short} repair")
        elif goal.result is Result.MOVE and goal.old and goal.root:
            phrases.append(f"{goal.old.short} -> {goal.root.short}")
            phrases += [paint(text, Style.CREATE, self._colour) for text in changes_of("+", goal.gains)]
            phrases += [paint(text, Style.FAILURE, self._colour) for text in changes_of("-", goal.losses)]
        elif goal.root and goal.spec.destination.tag:
            phrases.append(goal.root.short)
        source = _source(goal.spec.source, goal.spec.destination, common)
        if source:
            phrases.append(f"from {source}")
        return f"  {self._mark(goal.result)} {name}  ", phrases

    def _unfolded(self, item: Item) -> Iterator[str]:
        step = self._plan.steps[item.node]
        label = f"{safe(step.label)}: " if step.label else ""
        what = f"{item.node.kind} {item.node.name}"
        yield f"      {label}{what} {size(step.size)}, {step.action} ({safe(step.reason)})"
        for part in item.parts:
            for blob in part.blobs:
                known = self._plan.steps[blob]
                use = {SHARED: f"shared with {part.place}", ABOVE: "listed above"}.get(part.use, part.use)
                yield f"        {use} {size(known.size)} {blob.name} ({safe(known.reason)})"


def _source(source: Reference, destination: Reference, common: Repository | None) -> str:
    """The source as far as the destination and the repository's heading do not say it already."""
    if source.repository != common:
        return str(source)
    if (source.tag, source.digest) in ((destination.tag, None), (None, destination.digest)):
        return ""
    return name_of(source) if source.digest is None else str(source).removeprefix(str(source.repository))


class _Row(NamedTuple):
    """One line below a tag: a manifest, or several."""

    name: str
    attests: bool
    parts: Sequence[Part]


def _rows(entry: Entry) -> list[_Row]:
    """A row for each image and one for all attestations; for many images one row, too."""
    images: list[_Row] = []
    attestations: list[_Row] = []
    for item in entry.items:
        if item.node.kind is Kind.INDEX and not item.parts:
            continue
        attests = item.label.startswith(ATTESTATION)
        alone = str(item.node.kind) if len(entry.items) == 1 else f"{item.node.kind} {item.node.name[:19]}"
        name = safe(item.label, 60) or alone
        (attestations if attests else images).append(_Row(name, attests, item.parts))
    if len(images) > _FOLD_ITEMS:
        images = [_Row(number(len(images), "image"), False, _merged(images))]
    if len(attestations) > 1:
        names = [row.name.removeprefix(ATTESTATION) for row in attestations]
        named = all(names) and len(names) <= _FOLD_ITEMS
        name = f"attestations for {', '.join(names)}" if named else number(len(names), "attestation")
        attestations = [_Row(name, True, _merged(attestations))]
    return images + attestations


def _merged(rows: Sequence[_Row]) -> list[Part]:
    return [part for row in rows for part in row.parts]


def _blobs(parts: Sequence[Part]) -> tuple[Node, ...]:
    return tuple(blob for part in parts for blob in part.blobs)


def _bytes(parts: Sequence[Part]) -> int:
    return sum(part.size for part in parts)


def _amount(part: Part) -> str:
    """``30.1 MiB in 3 blobs``, of one blob just the size."""
    return size(part.size) if len(part.blobs) == 1 else f"{size(part.size)} in {len(part.blobs)} blobs"


def _phrases(parts: Sequence[Part]) -> list[str]:
    """What is uploaded, mounted, present and shared, each as a sum; blobs listed above where that is all."""
    groups: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        # Whatever is shared comes as one sum: with whom in detail is for the unfolded form.
        groups.setdefault((part.use, part.place if part.use != SHARED else ""), []).append(part)
    phrases = []
    for use in (Action.UPLOAD, Action.MOUNT, Action.PRESENT, SHARED):
        for (found, place), each in groups.items():
            if found != use:
                continue
            amount = _amount(Part(use, place, _blobs(each), _bytes(each)))
            if use == SHARED:
                phrases.append(f"{amount} shared with {_among([part.place for part in each])}")
            else:
                phrases.append(f"{use} {amount} from {place}" if place else f"{use} {amount}")
    return phrases or ["all of it listed above"]


def _among(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(names))
    if len(distinct) <= 3:
        return ", ".join(distinct)
    return f"{', '.join(distinct[:2])} and {len(distinct) - 2} more"
