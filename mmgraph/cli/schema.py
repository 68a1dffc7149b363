"""``mmgraph schema``: JSON schemas."""

from typing import Annotated, Literal

from cyclopts import Parameter


def schema(
    what: Annotated[
        Literal["specs", "plan", "graph"], Parameter(metavar="WHAT", help="Which document.")
    ] = "specs",
    /,
) -> int:
    """Print one schema."""
    import json

    from mmgraph import saved, specs
    from mmgraph.cli.output import emit
    from mmgraph.report import graph_json

    made = {"specs": specs.schema, "plan": saved.schema, "graph": graph_json.schema}[what]()
    emit(json.dumps(made, indent=2) + "\n")
    return 0
