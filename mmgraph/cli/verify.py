"""``mmgraph verify``: whether the destinations hold what their specs say."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mmgraph.cli import CHANGES, DONE
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Selection, Specs


def verify(
    *specs: Specs,
    level: Annotated[
        Literal["head", "read", "full"],
        Parameter(help="Ask for everything; read a little of everything; read and hash everything."),
    ] = "head",
    format: Annotated[  # noqa: A002
        Literal["text", "specs"],
        Parameter(
            help="specs prints the broken ones as a set for apply --repair; what has other bytes in them the"
            " registry must remove before."
        ),
    ] = "text",
    out: Annotated[Path | None, Parameter(metavar="FILE", help="Write the result there.")] = None,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Ask for every manifest and blob of every closure, and list what is not there."""
    from mmgraph.cli.inputs import load_specs
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, tell, write
    from mmgraph.cli.session import open_session
    from mmgraph.cli.strays import notice_strays
    from mmgraph.report.verdict import REMOVE, verdict_line, verdict_specs, verdict_text
    from mmgraph.verify import Level, Verifier

    chosen = load_specs(specs, selection)
    notice_strays(chosen, selection, network)

    async def work(_: Interrupts) -> int:
        async with open_session(network, look.color) as session:
            verifier = Verifier(
                chosen, session.client, session.client, session.cache, session.view, Level(level)
            )
            verdict = await verifier.verify()
        text = verdict_specs(verdict) if format == "specs" else verdict_text(verdict)
        if out is None:
            emit(text)
        else:
            write(out, text.encode())
        if format == "specs" and verdict.spoiled:
            tell(f"{REMOVE}\n")
        if out is not None:
            tell(f"{verdict_line(verdict)}\n")
        return DONE if verdict.whole else CHANGES

    return run(work)
