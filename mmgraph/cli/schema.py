"""``mmgraph schema``: JSON schemas."""

from typing import Annotated, Literal

from cyclopts import Parameter


def schema(
    what: Annotated[
        Literal["specs", "plan", "graph"], Parameter(metavar="WHAT", help="Which document.")
    ] = "specs",
    /,
) -> int:
    """Print the JSON Schema (2020-12) of what mmgraph reads and writes: copy specs, saved plans, graphs."""
    import json

    from mmgraph.cli.output import emit

    if what == "specs":
        from mmgraph.specs import schema as made
    elif what == "plan":
        from mmgraph.saved import schema as made
    else:
        from mmgraph.report.graph_json import schema as made
    emit(json.dumps(made(), indent=2, ensure_ascii=False) + "\n")
    return 0
