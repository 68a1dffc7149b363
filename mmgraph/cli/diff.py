"""``mmgraph diff``: two plans, or what two sets of specs would come to now, side by side."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mmgraph.cli import CHANGES, DONE, FAILED
from mmgraph.cli.options import ALL, LOOK, NETWORK, InputFile, Look, Network, Selection

if TYPE_CHECKING:
    from mmgraph.cli.session import Session
    from mmgraph.difference import Difference
    from mmgraph.plan import Plan
    from mmgraph.recall import Recall
    from mmgraph.rules import Rules
    from mmgraph.specs import CopySpec

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
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Say what differs between two plans, each of them saved, or made of specs now."""
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import DASH
    from mmgraph.cli.rules import read_rules, say_failures
    from mmgraph.cli.session import open_session
    from mmgraph.difference import compare
    from mmgraph.errors import SpecError
    from mmgraph.plan import Plan, Result
    from mmgraph.recall import Recall

    if {old, new} <= {DASH, "-"}:
        raise SpecError("standard input (-) is named twice, and can be read once")
    rules = read_rules()
    sides = [load((name,), selection) for name in (old, new)]

    async def work(_: Interrupts) -> int:
        if all(isinstance(side, Plan) for side in sides):
            plans = [side for side in sides if isinstance(side, Plan)]
        else:
            async with open_session(network, look.color) as session:
                recall = Recall(session.client)
                plans = [await _planned(session, side, selection, recall) for side in sides]
        found = compare(*plans)
        _print(found, format, look)
        for side, plan in zip(("OLD", "NEW"), plans, strict=True):
            _notice_broken(side, plan, rules)
        failed = [goal for plan in plans for goal in plan.goals if goal.result is Result.FAILED]
        say_failures(failed)
        if failed:
            return FAILED
        return CHANGES if detailed_exitcode and found.differs else DONE

    return run(work)


async def _planned(
    session: "Session", side: "Plan | tuple[CopySpec, ...]", selection: Selection, recall: "Recall"
) -> "Plan":
    from mmgraph.plan import Plan

    if isinstance(side, Plan):
        return side
    made, _looks = await session.compile(
        side, exact=True, require_platforms=selection.require_platforms, recall=recall
    )
    return made


def _notice_broken(side: str, plan: "Plan", rules: "Rules") -> None:
    """Say that a plan breaks rules: it is compared as it is, and could not be carried out."""
    from mmgraph.cli.output import say
    from mmgraph.compliance import judged
    from mmgraph.report.violations import headline

    if violations := judged(plan, rules).violations:
        say(f"notice: {side}: {headline(violations).rstrip(':')}; it is compared as if there were none")


def _print(found: "Difference", form: str, look: Look) -> None:
    import os
    import sys

    from mmgraph.cli.output import emit, wants_colour, width

    if form == "json":
        from mmgraph.report.difference_json import difference_json

        emit(difference_json(found).decode())
    elif form == "markdown":
        from mmgraph.report.difference_markdown import difference_markdown

        emit(difference_markdown(found))
    else:
        if form == "github":
            from mmgraph.cli.formats import summarize
            from mmgraph.report.difference_markdown import difference_markdown

            summarize(difference_markdown(found), os.environ)
        from mmgraph.report.difference import difference_text

        colour = wants_colour(sys.stdout, look.color)
        emit(difference_text(found, colour=colour, width=width(), fold=sys.stdout.isatty()))
