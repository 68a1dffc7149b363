"""DOT as a language: quoting, attributes, clusters, and how actions look. Knows no plan.

Written by hand: pydot takes an unquoted ``sha256:…`` for a node with a port, and all digests become one node
(networkx#2050, pydot#94).
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.plan import Action
from mmgraph.report.words import paragraph, safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


_CAUSE_WIDTH: Final = 40
_CAUSE_LINES: Final = 4
_SOURCES: Final = 2
"""Source repositories that a repository's title names; its tooltip has all."""


class Look(msgspec.Struct, frozen=True):
    """How nodes of one action are drawn: told apart by word and line also where colour does not show."""

    fill: str
    line: str
    style: str = "filled"
    width: str = "1"
    font: str = "#212121"


FAILED: Final = "failed"
"""Beside the actions: a spec that cannot be planned."""
LOOKS: Final[Mapping[str, Look]] = {
    Action.PRESENT: Look("#f5f5f5", "#9e9e9e", "filled", "0.6", "#757575"),
    Action.MOUNT: Look("#e1f0fc", "#1565c0", "filled,dashed"),
    Action.UPLOAD: Look("#ffe3c2", "#d9570a", "filled", "1.8"),
    Action.PUT: Look("#ebe5f7", "#5e35b1", "filled", "1.4"),
    Action.UNCHANGED: Look("#f5f5f5", "#9e9e9e", "filled", "0.6", "#757575"),
    Action.CREATE: Look("#cdeccf", "#2e7d32", "filled", "1.8"),
    Action.MOVE: Look("#fff3a8", "#b07c00", "filled,bold", "2.2"),
    Action.REPAIR: Look("#cdeeee", "#00696b", "filled,bold", "2.2"),
    FAILED: Look("#ffcdd2", "#c62828", "filled,bold", "2.2"),
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


def look(action: str) -> dict[str, str]:
    """The attributes of a node to which ``action`` is done, or of one that has failed."""
    how = LOOKS[action]
    return {
        "style": quoted(how.style),
        "fillcolor": quoted(how.fill),
        "color": quoted(how.line),
        "fontcolor": quoted(how.font),
        "penwidth": how.width,
    }


def failure(name: str, title: str, cause: str) -> str:
    """The node of a destination that cannot be planned, with the cause below its title."""
    lines = paragraph(safe(cause), _CAUSE_WIDTH, 0)
    more = ["…"] if len(lines) > _CAUSE_LINES else []
    values = {
        "label": label(f"{FAILED} {title}", *lines[:_CAUSE_LINES], *more),
        "shape": "cds",
        "tooltip": label(cause),
        **look(FAILED),
        "margin": quoted("0.25,0.12"),
    }
    return f"{quoted(name)} {attributes(values)}"


def repository_box(name: str, path: str, sources: Sequence[str], inside: Iterable[str]) -> Iterator[str]:
    """The box of a destination repository, with where its images come from."""
    more = f" and {len(sources) - _SOURCES} more" if len(sources) > _SOURCES else ""
    title = [path, *([f"from {', '.join(sources[:_SOURCES])}{more}"] if sources else [])]
    tooltip = label(name, *(f"from {source}" for source in sources))
    yield from _box(name, title, inside, line="#b0bec5", fill="#ffffff", tooltip=tooltip)


def registry_box(name: str, inside: Iterable[str]) -> Iterator[str]:
    """The box of a registry."""
    yield from _box(name, [name], inside, line="#90a4ae", fill="#fafafa")


def _box(
    name: str, title: Sequence[str], inside: Iterable[str], *, line: str, fill: str, tooltip: str = ""
) -> Iterator[str]:
    """A box around statements; Graphviz draws one where the name begins with ``cluster``."""
    yield f"subgraph {quoted(f'cluster {name}')} {{"
    box = {"label": label(*title), "labelloc": "t", "color": quoted(line), "bgcolor": quoted(fill)}
    if tooltip:
        box["tooltip"] = tooltip
    yield f"  graph {attributes(box)}"
    for statement in inside:
        yield f"  {statement}"
    yield "}"


def document(caption: Iterable[str], actions: Iterable[str], statements: Iterable[str]) -> str:
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


def _caption(lines: Iterable[str], actions: Iterable[str]) -> str:
    alike: dict[str, list[str]] = {}  # what looks the same is one entry of the legend
    for action in actions:
        alike.setdefault(LOOKS[action].line, []).append(action)
    legend = " &#160; ".join(
        f'<font color="{line}">&#9632;</font> {", ".join(names)}' for line, names in alike.items()
    )
    rows = [legend, *(html.escape(safe(line)) for line in lines)]
    text = "".join(f'<tr><td align="left">{row}</td></tr>' for row in rows if row)
    return f'<<table border="0" cellborder="0" cellspacing="0">{text}</table>>'
