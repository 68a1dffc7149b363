"""``mmgraph graph``: the plan's graph, for review."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mmgraph.cli import DONE, FAILED
from mmgraph.cli.offline import Offline, check_offline, warn_offline
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Selection, SpecsOrPlan

if TYPE_CHECKING:
    from mmgraph.plan import Plan

_ENDINGS = {".dot": "dot", ".gv": "dot", ".json": "json", ".svg": "svg", ".html": "html"}
"""The format that the ending of a file's name says."""


def graph(
    *specs: SpecsOrPlan,
    format: Annotated[  # noqa: A002
        Literal["dot", "json", "svg", "html"] | None,
        Parameter(
            show_default=False,
            help="svg needs the program dot of Graphviz. By default what the name of --out ends in, else dot.",
        ),
    ] = None,
    focus: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="GLOB",
            negative="",
            show_default=False,
            help="Only these destinations and what they need, such as 'team/app:v1'; as --only. Repeatable.",
        ),
    ] = (),
    collapse: Annotated[
        bool, Parameter(negative="", show_default=False, help="Draw each image as one node.")
    ] = False,
    all: Annotated[  # noqa: A002
        bool, Parameter(negative="", show_default=False, help="Draw every blob by itself.")
    ] = False,
    out: Annotated[Path | None, Parameter(metavar="FILE", help="Write there instead.")] = None,
    offline: Offline = False,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Print the graph of specs or a saved plan."""
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, write
    from mmgraph.cli.planned import planned
    from mmgraph.cli.rules import complain, rules_for
    from mmgraph.cli.strays import notice_strays
    from mmgraph.errors import SpecError
    from mmgraph.plan import Result

    form = _form(format, out)
    if form in ("json", "html") and (collapse or all):
        raise SpecError(f"--collapse and --all are for pictures: {form} has every node")
    if form == "html" and focus:
        raise SpecError("--focus is for pictures and json: search the page, or use --only")
    if collapse and all:
        raise SpecError("--collapse draws no blobs, and --all every one: leave one out")
    chosen = load(specs, selection)
    if offline:
        check_offline(chosen, network, repair=False, saved=False)
    rules = rules_for(chosen, selection)
    notice_strays(chosen, selection, network)

    async def work(_: Interrupts) -> int:
        made, _notes = await planned(chosen, selection, network, look, rules, offline=offline)
        drawn = _drawn(made, form, focus, collapse=collapse, unfold=all)
        if out is not None:
            write(out, drawn)
        else:
            emit(drawn.decode())
        complain(made)
        if form != "json":
            warn_offline(made)
        return FAILED if made.violations or made.count(Result.FAILED) else DONE

    return run(work)


def _drawn(made: "Plan", form: str, focus: tuple[str, ...], *, collapse: bool, unfold: bool) -> bytes:
    if form == "json":
        from mmgraph.report.graph_json import graph_json

        return graph_json(made, focus=focus)
    if form == "html":
        from mmgraph.report.page import page

        return page(made)
    from mmgraph.report.dot import dot

    drawn = dot(made, focus=focus, collapse=collapse, unfold=unfold)
    if form == "svg":
        from mmgraph.report.svg import svg

        return svg(drawn)
    return drawn.encode()


def _is_special(out: Path) -> bool:
    """Whether it is a pipe or a device, whose name says nothing."""
    return out.exists() and not out.is_file()


def _form(given: str | None, out: Path | None) -> str:
    """The format: as given, or by the name of the file. Raises ``SpecError`` where they contradict each other."""
    from mmgraph.errors import SpecError
    from mmgraph.names import quote

    ending = out.suffix if out else ""
    named = _ENDINGS.get(ending)
    if given is None and named is None and ending and out is not None and not _is_special(out):
        raise SpecError(
            f"--out {quote(str(out))}: no format ends in {quote(ending)}: name it {', '.join(_ENDINGS)},"
            " or give --format"
        )
    if given is not None and named is not None and given != named:
        raise SpecError(f"--out {quote(str(out))} is the name of {named}, and --format says {given}")
    return given or named or "dot"
