"""DOT as a language: quoting, attributes, clusters, and how actions look. Knows no plan.

Written by hand: pydot takes an unquoted ``sha256:…`` for a node with a port, and all digests become one node
(networkx#2050, pydot#94).
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.plan import Action
from mmgraph.report.words import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Look(msgspec.Struct, frozen=True):
    """How nodes of one action are drawn: told apart by word and line also where colour does not show."""

    fill: str
    line: str
    style: str = "filled"
    width: str = "1"
    font: str = "#212121"


LOOKS: Final[Mapping[Action, Look]] = {
    Action.PRESENT: Look("#f5f5f5", "#9e9e9e", "filled", "0.6", "#757575"),
    Action.MOUNT: Look("#e1f0fc", "#1565c0", "filled,dashed"),
    Action.UPLOAD: Look("#ffe3c2", "#d9570a", "filled", "1.8"),
    Action.PUT: Look("#ebe5f7", "#5e35b1", "filled", "1.4"),
    Action.UNCHANGED: Look("#f5f5f5", "#9e9e9e", "filled", "0.6", "#757575"),
    Action.CREATE: Look("#cdeccf", "#2e7d32", "filled", "1.8"),
    Action.MOVE: Look("#fff3a8", "#b07c00", "filled,bold", "2.2"),
}


def quoted(text: str) -> str:
    """``text`` as an id or attribute value that means itself: no escape, entity or port in it is obeyed."""
    return '"' + text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


def label(*lines: str) -> str:
    """Lines of (foreign) text as the value of a label, empty ones left out."""
    return '"' + "\\n".join(quoted(safe(line, 120))[1:-1] for line in lines if line) + '"'


def attributes(values: Mapping[str, str]) -> str:
    """An attribute list; the values are quoted already, or plain words and numbers."""
    return "[" + ", ".join(f"{name}={value}" for name, value in values.items()) + "]"


def look(action: Action) -> dict[str, str]:
    """The attributes of a node to which ``action`` is done."""
    how = LOOKS[action]
    return {
        "style": quoted(how.style),
        "fillcolor": quoted(how.fill),
        "color": quoted(how.line),
        "fontcolor": quoted(how.font),
        "penwidth": how.width,
    }


def cluster(name: str, title: str, inside: Iterable[str], *, line: str, fill: str) -> Iterator[str]:
    """A box around statements; Graphviz draws one where the name begins with ``cluster``."""
    yield f"subgraph {quoted(f'cluster {name}')} {{"
    box = {"label": label(title), "labelloc": "t", "color": quoted(line), "bgcolor": quoted(fill)}
    yield f"  graph {attributes(box)}"
    for statement in inside:
        yield f"  {statement}"
    yield "}"


def document(caption: Iterable[str], actions: Iterable[Action], statements: Iterable[str]) -> str:
    """A whole graph from left to right, under it a legend of the ``actions`` used and the ``caption``."""
    graph = {
        "rankdir": "LR",
        "fontname": quoted("Helvetica"),
        "fontsize": "11",
        "labelloc": "b",
        "labeljust": "l",
        "nodesep": "0.12",
        "ranksep": "0.6",
        "label": _caption(caption, actions),
    }
    font = {"fontname": quoted("Helvetica"), "fontsize": "10"}
    lines = [
        "digraph mmgraph {",
        f"  graph {attributes(graph)}",
        f"  node {attributes(font | {'margin': quoted('0.12,0.05')})}",
        f"  edge {attributes(font | {'color': quoted('#78909c'), 'arrowsize': '0.6'})}",
        *(f"  {statement}" for statement in statements),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _caption(lines: Iterable[str], actions: Iterable[Action]) -> str:
    legend = " &#160; ".join(
        f'<font color="{LOOKS[action].line}">&#9632;</font> {action}' for action in actions
    )
    rows = [legend, *(html.escape(safe(line)) for line in lines)]
    text = "".join(f'<tr><td align="left">{row}</td></tr>' for row in rows if row)
    return f'<<table border="0" cellborder="0" cellspacing="0">{text}</table>>'
