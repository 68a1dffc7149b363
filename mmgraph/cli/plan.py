"""``mmgraph plan``: what apply would do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mmgraph.cli import CHANGES, DONE, FAILED
from mmgraph.cli.formats import HELP, NOTED, Format, rendered
from mmgraph.cli.offline import Offline, check_offline, warn_offline
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Repair, Selection, SpecsOrPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.plan import Plan

_Out = Annotated[
    Path | None, Parameter(metavar="FILE", help="Save the plan, for apply to carry out as it is.")
]
_Missing = Annotated[
    Path | None,
    Parameter(
        metavar="FILE",
        help="Write the repositories that must be created first, one a line: of those that are not there, the ones at"
        " registries with create-repository in mmgraph.toml, or that are known to create none by themselves (ECR).",
    ),
]
_Top = Annotated[
    int | None,
    Parameter(
        metavar="N",
        validator=Number(gte=1),
        help="In text, instead of all tags: list the N that cost most, and the N blobs of which most bytes are sent.",
    ),
]


def plan(
    *specs: SpecsOrPlan,
    format: Annotated[Format, Parameter(help=HELP)] = "text",  # noqa: A002
    out: _Out = None,
    missing_repositories: _Missing = None,
    all: Annotated[  # noqa: A002
        bool, Parameter(negative="", show_default=False, help="Also list what is there already.")
    ] = False,
    top: _Top = None,
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
    offline: Offline = False,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Print the plan, save it, or answer by the exit code whether anything would change."""
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, say, write
    from mmgraph.cli.planned import planned
    from mmgraph.cli.rules import complain, rules_for
    from mmgraph.cli.strays import notice_strays
    from mmgraph.errors import SpecError
    from mmgraph.plan import Plan, Result

    chosen = load(specs, selection)
    if isinstance(chosen, Plan) and (out is not None or repair):
        raise SpecError("a saved plan is shown as it is: --out and --repair are for specs")
    if offline:
        check_offline(chosen, network, repair=repair, saved=out is not None)
    if question and format != "text":
        raise SpecError(f"--question prints no plan, and --format {format} is for one: leave one out")
    if top is not None and (all or format not in ("text", "github")):
        raise SpecError("--top is for text, and in the place of --all: leave one out")
    rules = rules_for(chosen, selection)
    notice_strays(chosen, selection, network)

    async def work(_: Interrupts) -> int:
        made, notes = await planned(
            chosen,
            selection,
            network,
            look,
            rules,
            exact=not question or out is not None,
            repair=repair,
            offline=offline,
        )
        show(made, notes)
        if made.violations or made.count(Result.FAILED):
            return FAILED
        return CHANGES if made.changes and (detailed_exitcode or question) else DONE

    def show(made: Plan, notes: list[str]) -> None:
        if out and not made.violations:
            write(out, rendered(made, "json", look, notes, unfold=all), private=True)
        _list(made, missing_repositories)
        if question:
            complain(made)
        else:
            emit(_above(chosen, specs, format))
            emit(rendered(made, format, look, notes, unfold=all, top=top).decode())
            _below(made, format)
        if out and made.violations:
            say(f"{out} is not written: a plan that breaks rules is not saved")

    return run(work)


def _above(chosen: object, names: "Sequence[str]", form: str) -> str:
    """Which saved plan it is, for people."""
    from mmgraph.cli.inputs import saved_by
    from mmgraph.plan import Plan

    return f"{saved_by(names)}\n\n" if isinstance(chosen, Plan) and form == "text" else ""


def _below(made: "Plan", form: str) -> None:
    """Say on standard error what that format does not say itself."""
    from mmgraph.cli.rules import complain

    if form not in ("text", "github"):
        complain(made)
    if form not in NOTED:
        warn_offline(made)


def _list(made: "Plan", path: Path | None) -> None:
    """Write the repositories to create into the file ``path``, where it is wanted."""
    from mmgraph.cli.output import write

    if path is not None:
        write(path, "".join(f"{repository}\n" for repository in made.missing).encode())
