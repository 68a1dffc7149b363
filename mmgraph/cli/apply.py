"""``mmgraph apply``: do it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mmgraph.cli import DONE, FAILED, INTERRUPTED
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Repair, Selection, SpecsOrPlan

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextlib import AsyncExitStack
    from typing import Any

    from mmgraph.account import Account
    from mmgraph.cli.records import Records
    from mmgraph.cli.session import Session, View
    from mmgraph.compile import Compiler
    from mmgraph.events import Event, Outcome, Reporter
    from mmgraph.names import Repository
    from mmgraph.plan import Plan
    from mmgraph.rules import Rules, Violation
    from mmgraph.specs import CopySpec
    from mmgraph.staleness import Looks, Stale

_KeepGoing = Annotated[
    bool,
    Parameter(
        alias="-k",
        negative="",
        show_default=False,
        help="Go on with the rest where a spec fails. It is the default; the name is make's.",
    ),
]

_SkipStale = Annotated[
    bool,
    Parameter(
        negative="",
        show_default=False,
        help="Carry out the rest of a saved plan where a destination names something else by now; exit 1.",
    ),
]
_AllowHost = Annotated[
    tuple[str, ...],
    Parameter(
        metavar="REGISTRY",
        negative="",
        show_default=False,
        help="Read from and write to no registries but these. Repeatable.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is left behind for programs."""

    format: Annotated[
        Literal["text", "jsonl"],
        Parameter(help="jsonl is one event a line, as they happen; the summary is on standard error then."),
    ] = "text"
    report: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Write as JSON what each spec and each registry came to."),
    ] = None
    failed: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Write the specs that are not done, for apply to take again."),
    ] = None


NOTHING = Kept()
_ASKED_AT_ONCE = 16
"""Repositories that registries are asked about at a time."""


def apply(
    *specs: SpecsOrPlan,
    dry_run: Annotated[
        bool, Parameter(alias="-n", negative="", show_default=False, help="Print the plan and stop.")
    ] = False,
    keep_going: _KeepGoing = False,
    max_failures: Annotated[
        int | None,
        Parameter(metavar="N", validator=Number(gte=1), help="Start nothing new after so many failed specs."),
    ] = None,
    repair: Repair = False,
    skip_stale: _SkipStale = False,
    allow_host: _AllowHost = (),
    kept: Kept = NOTHING,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Carry out specs or a saved plan."""
    import sys
    from contextlib import AsyncExitStack

    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, wants_colour, width
    from mmgraph.cli.planned import REPAIRS_ASK
    from mmgraph.cli.routes import cautioned
    from mmgraph.cli.rules import refuse, rules_for
    from mmgraph.cli.session import open_session
    from mmgraph.cli.strays import notice_strays
    from mmgraph.plan import Plan, Result

    chosen = _chosen(specs, selection, allow_host, repair=repair, skip_stale=skip_stale)
    records = _records(chosen, kept, dry_run=dry_run)
    rules = rules_for(chosen, selection)
    notice_strays(chosen, selection, network)
    if (violations := _known(chosen, rules)) and not dry_run:
        return records.broken(refuse(violations), violations)
    heard = _Heard()

    async def work(interrupts: Interrupts) -> int:
        account = None
        async with (
            open_session(network, look.color, records.stream) as session,
            AsyncExitStack() as closing,
        ):
            records.client = session.client
            made, looks, stale, compiler = await _prepared(
                session, chosen, selection, rules, closing, exact=dry_run, repair=repair, skip=skip_stale
            )
            refused = made.violations and (rules.whole_set or isinstance(chosen, Plan))
            growth = compiler.growth() if compiler is not None and compiler.growing else None
            todo = growth is not None or made.changes or made.count(Result.FAILED)
            records.plan = made if growth is None else None  # whose bill is not known before it has grown
            if todo and not stale and not refused and not dry_run:
                from mmgraph.execute import Execution

                heard.begin(session.view, made, _count(chosen))
                execution = Execution(
                    made, session.client, session.clock, heard, looks, growth, max_failures=max_failures
                )
                records.execution, interrupts.drain = execution, execution.drain
                account = records.timed(await execution.run())
                if compiler is not None and growth is not None:
                    records.plan = made = cautioned(network, compiler.finish())
            records.notes, programs = session.notes, session.programs
        # Only now, when progress no longer holds the terminal.
        if stale:
            return records.stale(_refuse_stale(stale), stale)
        if dry_run:
            from mmgraph.report.text import plan_text

            colour, fold = wants_colour(sys.stdout, look.color), sys.stdout.isatty()
            notes = [*records.notes, *([REPAIRS_ASK] if repair else [])]
            emit(plan_text(made, colour=colour, width=width(), fold=fold, notes=notes, creators=programs))
            return FAILED if made.violations or made.count(Result.FAILED) else DONE
        if refused:
            return records.broken(refuse(made.violations), made.violations)
        return _told(records, made, account, look, signalled=bool(interrupts.count))

    return run(lambda interrupts: heard.watch(work(interrupts), records))


def _chosen(
    specs: "Sequence[str]", selection: Selection, allowed: "Sequence[str]", *, repair: bool, skip_stale: bool
) -> "Sequence[CopySpec] | Plan":
    """What to carry out, where the options allow it."""
    from mmgraph.cli.inputs import load, refuse_strangers
    from mmgraph.errors import SpecError
    from mmgraph.plan import Plan
    from mmgraph.staleness import dated

    chosen = load(specs, selection)
    if repair and isinstance(chosen, Plan):
        raise SpecError(
            "a saved plan is carried out as it is: give --repair to the mmgraph plan that makes it"
        )
    if skip_stale and not isinstance(chosen, Plan):
        raise SpecError(
            "--skip-stale is for a saved plan: specs are read anew, and nothing in them can be stale"
        )
    refuse_strangers(chosen, allowed)
    return dated(chosen) if isinstance(chosen, Plan) else chosen


def _records(chosen: "Sequence[CopySpec] | Plan", kept: Kept, *, dry_run: bool) -> "Records":
    from mmgraph.cli.records import Records
    from mmgraph.errors import SpecError

    if dry_run and kept != NOTHING:
        raise SpecError("--dry-run does nothing that --format jsonl, --report or --failed could tell of")
    return Records(chosen, report=kept.report, failed=kept.failed, form=kept.format)


def _told(records: "Records", made: "Plan", account: "Account | None", look: Look, *, signalled: bool) -> int:
    """Write the records, tell people what it came to, and return the exit code."""
    from mmgraph.cli.output import wants_colour, width
    from mmgraph.report.summary import lacking_text, summary_text

    people = records.people
    colour, fold = wants_colour(people, look.color), people.isatty()
    if account is None:
        code = records.close(DONE)
        records.show(f"{lacking_text(made, colour=colour, width=width())}mmgraph: nothing to do\n")
        return code
    code = DONE if account.complete else INTERRUPTED if signalled else FAILED
    code = records.close(code, account)
    records.show(summary_text(account, made, colour=colour, width=width(), fold=fold, notes=records.notes))
    return code


def _count(chosen: "Sequence[CopySpec] | Plan") -> int:
    """How many specs there are."""
    from mmgraph.plan import Plan

    return len(chosen.goals if isinstance(chosen, Plan) else chosen)


def _known(chosen: "Sequence[CopySpec] | Plan", rules: "Rules") -> "Sequence[Violation]":
    """The rules that are broken by what is known before any registry is asked: names, and what a plan states."""
    from mmgraph.compliance import judged
    from mmgraph.plan import Plan

    if isinstance(chosen, Plan):
        return judged(chosen, rules).violations
    return [violation for spec in chosen for violation in rules.of_name(spec.destination)]


def _refuse_stale(stale: "Sequence[Stale]") -> int:
    from mmgraph.cli.output import say

    say(
        "Saved plan is stale, and nothing was sent. Make it anew with mmgraph plan --out, or do the rest of it with"
        " --skip-stale."
    )
    for each in stale:
        say(f"  {each}")
    return FAILED


class _Heard:
    """Hands events on to ``view``, and counts the ends of specs for a run that is stopped at once."""

    def __init__(self) -> None:
        self.view: Reporter | None = None
        self.total = 0
        self._ends: dict[Outcome, int] = {}

    def begin(self, view: "View", plan: "Plan", total: int) -> None:
        """Show from here on how ``plan`` is carried out, which is to end as one of ``total`` specs."""
        self.view, self.total = view, total
        view.begin(plan, total - len(plan.goals))

    def __call__(self, event: "Event") -> None:
        outcome: Outcome | None = getattr(event, "outcome", None)
        if outcome is not None:
            self._ends[outcome] = self._ends.get(outcome, 0) + 1
        if self.view is not None:
            self.view(event)

    async def watch(self, work: "Coroutine[Any, Any, int]", records: "Records") -> int:
        """Do ``work``; where it is stopped at once after it has begun to copy, say how far it came."""
        import asyncio

        from mmgraph.cli.output import say

        try:
            return await work
        except asyncio.CancelledError:
            if self.total:
                say(self._line())
            records.stopped()
            raise

    def _line(self) -> str:
        from mmgraph.events import Outcome

        told = (Outcome.COPIED, Outcome.MOVED, Outcome.REPAIRED, Outcome.UNCHANGED, Outcome.FAILED)
        counts = {outcome: self._ends.get(outcome, 0) for outcome in told}
        words = [
            f"{outcome} {count}"
            for outcome, count in counts.items()
            if count or outcome is not Outcome.REPAIRED
        ]
        left = self.total - sum(counts.values())
        return f"{', '.join(words)}, and {left} not done: run the same command again to go on"


async def _prepared(
    session: "Session",
    chosen: "Sequence[CopySpec] | Plan",
    selection: Selection,
    rules: "Rules",
    closing: "AsyncExitStack",
    *,
    exact: bool,
    repair: bool,
    skip: bool,
) -> "tuple[Plan, Looks, tuple[Stale, ...], Compiler | None]":
    """The plan to carry out: compiled from specs, or the saved one with what has been reached meanwhile.

    From specs it may be one that the compiler still adds to. ``skip``: without what is stale of a saved one.
    """
    from mmgraph import staleness
    from mmgraph.cli.routes import cautioned
    from mmgraph.compliance import judged, read_losses
    from mmgraph.plan import Plan

    if not isinstance(chosen, Plan):
        compiler = session.compiler(
            chosen, exact=exact, require_platforms=selection.require_platforms, repair=repair, rules=rules
        )
        closing.push_async_callback(compiler.close)
        made = cautioned(session.network, await compiler.begin())
        return made, compiler.evidence.looks, (), compiler
    looks, stale = await staleness.check(chosen, session.client, session.clock, keep_going=skip)
    left = chosen
    if skip:
        left, stale = staleness.skip(chosen, stale), ()
    left = staleness.settle(left, looks)
    if left.goals != chosen.goals:
        left = staleness.billed(left, session.chunk)
    made = cautioned(session.network, left)
    if stale:
        return made, looks, stale, None
    if not exact:
        await _ask_missing(session, made)
    for line in await staleness.drift(made, session.client):
        session.warn(line)
    if rules:
        losses = await read_losses(made, rules, session.client, session.cache, session.clock)
        made = judged(made, rules, losses)
    return made, looks, stale, None


async def _ask_missing(session: "Session", made: "Plan") -> None:
    """Let registries say themselves which of the repositories to create are absent; else all uploads would find out.

    Of what the saved plan says nothing is believed but where to ask.
    """
    from mmgraph.errors import MmgraphError
    from mmgraph.tasks import each

    async def ask(repository: "Repository") -> None:
        with suppress(MmgraphError):  # the first write there finds out
            await session.client.exists(repository)

    await each([place for place in made.missing if place.registry in session.creators], ask, _ASKED_AT_ONCE)
