"""``mmgraph diff``: two plans, or what two sets of specs would come to now, side by side."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mmgraph.cli import CHANGES, DONE, FAILED
from mmgraph.cli.offline import Offline, check_offline
from mmgraph.cli.options import ALL, LOOK, NETWORK, InputFile, Look, Network, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.difference import Difference
    from mmgraph.plan import Plan
    from mmgraph.rules import Rules
    from mmgraph.specs import CopySpec

    Side = Plan | tuple[CopySpec, ...]

_SIDE = "A file with copy specs, or a saved plan; - is standard input."
_FORMATS = (
    "How the result looks; github is text, with the step's summary in a job of GitHub Actions. The other formats of"
    " plan draw or list one set, and a difference is none: make them of OLD and of NEW."
)


def diff(
    old: Annotated[InputFile, Parameter(metavar="OLD", help=_SIDE)],
    new: Annotated[InputFile, Parameter(metavar="NEW", help="What to compare it with.")],
    /,
    *,
    format: Annotated[  # noqa: A002
        Literal["text", "json", "markdown", "github"], Parameter(help=_FORMATS)
    ] = "text",
    detailed_exitcode: Annotated[
        bool, Parameter(negative="", show_default=False, help="Exit 2 where they differ, 0 where not.")
    ] = False,
    offline: Offline = False,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Say what differs between two plans, each of them saved, or made of specs now."""
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import DASH
    from mmgraph.cli.rules import read_rules, say_failures
    from mmgraph.difference import compare
    from mmgraph.errors import SpecError
    from mmgraph.plan import Plan, Result

    if {old, new} <= {DASH, "-"}:
        raise SpecError("standard input (-) is named twice, and can be read once")
    rules = read_rules()
    sides = [load((name,), selection) for name in (old, new)]
    if offline:
        for side in sides:
            if not isinstance(side, Plan):
                check_offline(side, network, repair=False, saved=False)

    async def work(_: Interrupts) -> int:
        if offline:
            plans = [await _recalled(side, selection, network) for side in sides]
        else:
            plans = await _planned(sides, selection, network, look)
        found = compare(*plans)
        _print(found, plans, format, look)
        for side, plan in zip(("OLD", "NEW"), plans, strict=True):
            _notice_broken(side, plan, rules)
        failed = [goal for plan in plans for goal in plan.goals if goal.result is Result.FAILED]
        say_failures(failed)
        if failed:
            return FAILED
        return CHANGES if detailed_exitcode and found.differs else DONE

    return run(work)


async def _planned(
    sides: "Sequence[Side]", selection: Selection, network: Network, look: Look
) -> "list[Plan]":
    """The plan of each side: as it is, or made of specs, which are told the same on both sides."""
    from mmgraph.plan import Plan

    if all(isinstance(side, Plan) for side in sides):
        return [side for side in sides if isinstance(side, Plan)]
    from mmgraph.cli.session import open_session
    from mmgraph.recall import Recall

    plans = []
    async with open_session(network, look.color) as session:
        recall = Recall(session.client)
        for side in sides:
            if isinstance(side, Plan):
                plans.append(side)
                continue
            made, _looks = await session.compile(
                side, exact=True, require_platforms=selection.require_platforms, recall=recall
            )
            plans.append(made)
    return plans


async def _recalled(side: "Side", selection: Selection, network: Network) -> "Plan":
    """The same without asking anybody."""
    from mmgraph.cli.offline import recalled
    from mmgraph.plan import Plan
    from mmgraph.rules import NONE

    return side if isinstance(side, Plan) else await recalled(side, selection, network, NONE)


def _notes(plans: "Sequence[Plan]") -> list[str]:
    """What the sides rest on that were made offline: once where that is the same of both."""
    from mmgraph.report.offline import offline_lines

    old, new = map(offline_lines, plans)
    both = [line for line in old if line in new]
    alone = (
        (side, line) for side, lines in (("OLD", old), ("NEW", new)) for line in lines if line not in both
    )
    return [*both, *(f"{side}: {line}" for side, line in alone)]


def _notice_broken(side: str, plan: "Plan", rules: "Rules") -> None:
    """Say that a plan breaks rules: it is compared as it is, and could not be carried out."""
    from mmgraph.cli.output import say
    from mmgraph.compliance import judged
    from mmgraph.report.violations import headline

    if violations := judged(plan, rules).violations:
        say(f"notice: {side}: {headline(violations).rstrip(':')}; it is compared as if there were none")


def _print(found: "Difference", plans: "Sequence[Plan]", form: str, look: Look) -> None:
    import os
    import sys

    from mmgraph.cli.output import emit, wants_colour, width

    if form == "json":
        from mmgraph.report.difference_json import difference_json

        emit(difference_json(found, *(plan.offline for plan in plans)).decode())
        return
    notes = _notes(plans)
    if form == "markdown":
        from mmgraph.report.difference_markdown import difference_markdown

        emit(difference_markdown(found, notes=notes))
    else:
        if form == "github":
            from mmgraph.cli.formats import summarize
            from mmgraph.report.difference_markdown import difference_markdown

            summarize(difference_markdown(found, notes=notes), os.environ)
        from mmgraph.report.difference import difference_text

        colour, fold = wants_colour(sys.stdout, look.color), sys.stdout.isatty()
        emit(difference_text(found, colour=colour, width=width(), fold=fold, notes=notes))
