"""``mmgraph graph``: the plan's graph, for review."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mmgraph.cli import DONE, FAILED
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Selection, SpecsOrPlan


def graph(
    *specs: SpecsOrPlan,
    format: Annotated[  # noqa: A002
        Literal["dot", "json", "svg"], Parameter(help="svg needs the program dot of Graphviz.")
    ] = "dot",
    focus: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="TAG",
            negative="",
            show_default=False,
            help="Only this destination and what it needs. Repeatable.",
        ),
    ] = (),
    collapse: Annotated[
        bool, Parameter(negative="", show_default=False, help="Draw the blobs of each manifest as one node.")
    ] = False,
    out: Annotated[Path | None, Parameter(metavar="FILE", help="Write there instead.")] = None,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Print the graph of specs or a saved plan."""
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, say, write
    from mmgraph.cli.session import open_session
    from mmgraph.plan import Plan, Result
    from mmgraph.report.words import safe

    chosen = load(specs, selection)

    async def work(_: Interrupts) -> int:
        if isinstance(chosen, Plan):
            made = chosen
        else:
            async with open_session(network, look.color) as session:
                made, _looks = await session.compile(
                    chosen, exact=True, require_platforms=selection.require_platforms
                )
        drawn = draw(made)
        if out is not None:
            write(out, drawn)
        else:
            emit(drawn.decode())
        for goal in made.goals:
            if goal.result is Result.FAILED:
                say(safe(f"{goal.spec.destination}: {goal.cause}"))
        return FAILED if made.count(Result.FAILED) else DONE

    def draw(made: Plan) -> bytes:
        if format == "json":
            from mmgraph.report.graph_json import graph_json

            return graph_json(made, focus=focus)
        from mmgraph.report.dot import dot

        drawn = dot(made, focus=focus, collapse=collapse)
        if format == "svg":
            from mmgraph.report.svg import svg

            return svg(drawn)
        return drawn.encode()

    return run(work)
