"""``mmgraph plan``: what apply would do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mmgraph.cli import CHANGES, DONE, FAILED
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Repair, Selection, SpecsOrPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.plan import Plan

_Out = Annotated[
    Path | None, Parameter(metavar="FILE", help="Save the plan, for apply to carry out as it is.")
]
_Missing = Annotated[
    Path | None,
    Parameter(metavar="FILE", help="Write the repositories that must be created first, one a line."),
]


def plan(
    *specs: SpecsOrPlan,
    format: Annotated[Literal["text", "json"], Parameter(help="json is what --out saves.")] = "text",  # noqa: A002
    out: _Out = None,
    missing_repositories: _Missing = None,
    all: Annotated[  # noqa: A002
        bool, Parameter(negative="", show_default=False, help="Also list what is there already.")
    ] = False,
    detailed_exitcode: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Exit 2 where changes are pending, 0 where none."),
    ] = False,
    question: Annotated[
        bool,
        Parameter(
            alias="-q",
            negative="",
            show_default=False,
            help="Print no plan, only failures, on standard error: exit 2 where changes are pending.",
        ),
    ] = False,
    repair: Repair = False,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Print the plan, save it, or answer by the exit code whether anything would change."""
    from mmgraph import __version__, saved
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, say, write
    from mmgraph.cli.routes import cautioned
    from mmgraph.cli.rules import complain, rules_for
    from mmgraph.cli.session import open_session
    from mmgraph.compliance import judged
    from mmgraph.errors import SpecError
    from mmgraph.plan import Plan, Result

    chosen = load(specs, selection)
    if isinstance(chosen, Plan) and (out is not None or repair):
        raise SpecError("a saved plan is shown as it is: --out and --repair are for specs")

    rules = rules_for(chosen, selection)
    notes: list[str] = []

    async def work(_: Interrupts) -> int:
        if isinstance(chosen, Plan):
            made = judged(cautioned(network, chosen), rules)
        else:
            async with open_session(network, look.color) as session:
                made, _looks = await session.compile(
                    chosen,
                    # A question is answered by the looks at the tags alone.
                    exact=not question or out is not None,
                    require_platforms=selection.require_platforms,
                    repair=repair,
                    rules=rules,
                )
                notes.extend(session.notes)
        show(made)
        if made.violations or made.count(Result.FAILED):
            return FAILED
        return CHANGES if made.changes and (detailed_exitcode or question) else DONE

    def show(made: Plan) -> None:
        document = saved.write(made, f"mmgraph {__version__}") if out or format == "json" else b""
        if out and not made.violations:
            write(out, document, private=True)
        _list(made, missing_repositories)
        if question:
            complain(made)
        elif format == "json":
            emit(document.decode())
        else:
            _print(made, look, notes, unfold=all)
        if out and made.violations:
            say(f"{out} is not written: a plan that breaks rules is not saved")

    return run(work)


def _list(made: "Plan", path: Path | None) -> None:
    """Write the repositories to create into the file ``path``, where it is wanted."""
    from mmgraph.cli.output import write

    if path is not None:
        write(path, "".join(f"{repository}\n" for repository in made.missing).encode())


def _print(made: "Plan", look: Look, notes: "Sequence[str]", *, unfold: bool) -> None:
    """Print a plan for people."""
    import sys

    from mmgraph.cli.creation import programs
    from mmgraph.cli.output import emit, wants_colour, width
    from mmgraph.report.text import plan_text

    colour = wants_colour(sys.stdout, look.color)
    text = plan_text(
        made,
        unfold=unfold,
        colour=colour,
        width=width(),
        fold=sys.stdout.isatty(),
        notes=notes,
        creators=programs(),
    )
    emit(text)
