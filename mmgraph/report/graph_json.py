"""The graph for programs, as JSON: nodes, edges and the bill. Pure; the same bytes for the same plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mmgraph.errors import SpecError
from mmgraph.plan import Action
from mmgraph.report.focus import focused_goals, nodes_of
from mmgraph.report.offline import SCHEMA as OFFLINE_SCHEMA
from mmgraph.report.offline import basis_object
from mmgraph.report.violations import SCHEMA, violation_objects
from mmgraph.report.words import safe

if TYPE_CHECKING:
    from collections.abc import Collection

    from mmgraph.graph import Node
    from mmgraph.plan import Plan, Step

_COUNT: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string"}
FORMAT_VERSION = "1.2"
"""Major: readers must refuse what they do not know. Minor: fields were added."""


def graph_json(plan: Plan, *, focus: Collection[str] = ()) -> bytes:
    """The plan's graph: an edge's ``from`` comes before its ``to``; sizes are bytes.

    ``focus`` as in ``dot``. Raises ``SpecError`` for a focus that names nothing, or only what cannot be planned.
    """
    goals = focused_goals(plan, focus)
    if focus and all(goal.node is None for goal in goals):
        about = f"{goals[0].spec.destination}: {safe(goals[0].cause)}" if goals else ""
        raise SpecError(f"what --focus names is in no graph, since it cannot be planned: {about}")
    chosen = nodes_of(plan, goals) if focus else None
    nodes = [node for node in plan.graph if chosen is None or node in chosen]
    shown = set(nodes)
    bill = plan.bill
    document = {
        "format": "mmgraph-graph",
        "version": FORMAT_VERSION,
        "nodes": [_node(node, plan.steps[node]) for node in nodes],
        "edges": [
            {"from": id_of(first), "to": id_of(then), "kind": str(edge)}
            for first, then, edge in plan.graph.edges()
            if first in shown and then in shown
        ],
        "bill": {
            "naive": bill.naive,
            "present": bill.present,
            "missing": bill.missing,
            "mounted": bill.mounted,
            "shared": bill.shared,
            "saved": bill.saved,
            "uploaded": bill.uploaded,
            "downloaded": bill.downloaded,
            "requests": bill.requests,
        },
        "missing_repositories": list(map(str, plan.missing)),
        "violations": violation_objects(plan.violations),
        "unchecked_certificates": list(plan.unchecked),
        "offline": None if plan.offline is None else basis_object(plan.offline),
    }
    # ASCII, with escapes for all else: labels are foreign text, and this may be looked at on a terminal.
    return json.dumps(document, indent=1).encode() + b"\n"


def id_of(node: Node) -> str:
    """A node's id: its kind and its name, ``blob registry/app@sha256:…``."""
    return f"{node.kind} {node}"


def _node(node: Node, step: Step) -> dict[str, object]:
    """All fields of a node; those that do not apply to it are left out."""
    values = {
        "id": id_of(node),
        "kind": str(node.kind),
        "registry": node.repository.registry,
        "repository": node.repository.path,
        "name": node.name,
        "action": str(step.action),
        "reason": step.reason,
        "size": step.size if step.target is None else None,
        "platform": step.label or None,
        "old": step.old,
        "target": step.target,
        "source": str(step.source) if step.source else None,
        "mount_from": str(step.mount_from) if step.mount_from else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``mmgraph graph --format json``, version 1; fields may be added to it."""
    node = {
        "id": {"type": "string", "description": "What edges refer to."},
        "kind": {"enum": ["blob", "manifest", "index", "tag"]},
        "registry": _TEXT,
        "repository": {"type": "string", "description": "The path, without the registry."},
        "name": {"type": "string", "description": "The digest, or the tag."},
        "action": {"enum": list(map(str, Action))},
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
            "missing_repositories": {
                "type": "array",
                "items": _TEXT,
                "description": "Repositories that must be created before they are written to.",
            },
            "violations": SCHEMA,
            "offline": OFFLINE_SCHEMA,
            "unchecked_certificates": {
                "type": "array",
                "items": _TEXT,
                "description": "Registries whose certificates are not checked (--insecure).",
            },
        },
    }
