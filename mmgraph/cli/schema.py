"""``mmgraph schema``: JSON schemas."""

from typing import Annotated, Literal

from cyclopts import Parameter


def schema(
    what: Annotated[
        Literal["specs", "plan", "graph", "explanation", "difference", "report", "events"],
        Parameter(metavar="WHAT", help="Which document."),
    ] = "specs",
    /,
) -> int:
    """Print one schema."""
    import json

    from mmgraph import saved, specs
    from mmgraph.cli.output import emit
    from mmgraph.report import account_json, difference_json, events_json, explanation_json, graph_json

    schemas = {
        "specs": specs.schema,
        "plan": saved.schema,
        "graph": graph_json.schema,
        "explanation": explanation_json.schema,
        "difference": difference_json.schema,
        "report": account_json.schema,
        "events": events_json.schema,
    }
    made = schemas[what]()
    emit(json.dumps(made, indent=2) + "\n")
    return 0
