"""The graph for programs, as JSON: nodes, edges and the bill. Pure; the same bytes for the same plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mmgraph.report.focus import focused_goals, nodes_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from mmgraph.graph import Node
    from mmgraph.plan import Plan, Step

FORMAT_VERSION = "1.0"
"""Major: readers must refuse what they do not know. Minor: fields were added."""


def graph_json(plan: Plan, *, focus: Collection[str] = ()) -> bytes:
    """The plan's graph: an edge's ``from`` comes before its ``to``; sizes are bytes.

    ``focus`` as in ``dot``. Raises ``SpecError`` for a focus that names nothing.
    """
    chosen = nodes_of(plan, focused_goals(plan, focus)) if focus else None
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
