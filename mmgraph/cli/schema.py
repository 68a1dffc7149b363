"""``mmgraph schema``: JSON schemas."""

from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

_COUNT: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string"}


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

    made = {"specs": specs.schema, "plan": saved.schema, "graph": graph_schema}[what]()
    emit(json.dumps(made, indent=2) + "\n")
    return 0


def graph_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``mmgraph graph --format json``, version 1; fields may be added to it."""
    node = {
        "id": {"type": "string", "description": "What edges refer to."},
        "kind": {"enum": ["blob", "manifest", "index", "tag"]},
        "registry": _TEXT,
        "repository": {"type": "string", "description": "The path, without the registry."},
        "name": {"type": "string", "description": "The digest, or the tag."},
        "action": {"enum": ["present", "mount", "upload", "put", "unchanged", "create", "move"]},
        "reason": _TEXT,
        "size": {**_COUNT, "description": "Bytes; tags have none."},
        "platform": _TEXT,
        "old": {"type": "string", "description": "The digest that a tag names now."},
        "target": {"type": "string", "description": "The digest that a tag shall name."},
        "source": {"type": "string", "description": "The repository that it is read from."},
        "mount_from": {"type": "string", "description": "The repository that it is mounted from."},
    }
    edge = {"from": _TEXT, "to": _TEXT, "kind": {"enum": ["need", "mount"]}}
    sums = ("naive", "present", "missing", "mounted", "shared", "saved", "uploaded", "downloaded")
    requests = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _COUNT}}
    always = ["id", "kind", "registry", "repository", "name", "action", "reason"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mmgraph graph",
        "type": "object",
        "required": ["format", "version", "nodes", "edges", "bill"],
        "properties": {
            "format": {"const": "mmgraph-graph"},
            "version": {"type": "string", "pattern": r"^1\.[0-9]+$"},
            "nodes": {"type": "array", "items": {"type": "object", "required": always, "properties": node}},
            "edges": {"type": "array", "items": {"type": "object", "required": [*edge], "properties": edge}},
            "bill": {
                "type": "object",
                "required": [*sums, "requests"],
                "properties": {**dict.fromkeys(sums, _COUNT), "requests": requests},
            },
        },
    }
