"""The picture: what stands in it, whatever version of Graphviz has put it where."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from mmgraph.report.dot import dot
from mmgraph.report.svg import svg
from tests.golden import expected
from tests.golden.example import example

if TYPE_CHECKING:
    from collections.abc import Iterator

SVG = "{http://www.w3.org/2000/svg}"
TITLE = "{http://www.w3.org/1999/xlink}title"
COLOURS = ("fill", "stroke")


def outline(picture: bytes) -> str:
    """The elements as a tree, without coordinates, sizes, fonts and numbers: these are Graphviz's, and its version's.

    Its groups are in the order of their titles; colours are those that were asked for, which are all hexadecimal.
    """
    [whole] = ET.fromstring(picture).findall(f"{SVG}g")
    groups = [
        whole,
        *sorted(whole.findall(f"{SVG}g"), key=lambda group: (group.get("class", ""), title(group))),
    ]
    return "".join(f"{line}\n" for group in groups for line in lines(group, 0))


def title(group: ET.Element) -> str:
    """What Graphviz calls a group: the name of its node, edge or cluster."""
    return group.findtext(f"{SVG}title", "")


def lines(element: ET.Element, depth: int) -> Iterator[str]:
    """A line for an element, and below it one for each in it, but for the groups of the whole graph."""
    kind = element.get("class") or element.tag.removeprefix(SVG)
    colours = [f"{key} {element.get(key)}" for key in COLOURS if element.get(key, "").startswith("#")]
    dashed = ["dashed"] if element.get("stroke-dasharray") else []
    words = [repr(text) for text in (element.get(TITLE), (element.text or "").strip()) if text]
    yield "  " * depth + " ".join([kind, *colours, *dashed, *words])
    for part in element:
        if not (kind == "graph" and part.tag == f"{SVG}g"):
            yield from lines(part, depth + 1)


@pytest.mark.parametrize("view", ["whole", "collapsed"])
def test_the_picture_has_what_it_shall_have(view: str) -> None:
    """Every group with its shapes, colours, texts and hints is pinned; UPDATE_GOLDEN=1 rewrites the file."""
    text = outline(svg(dot(example(), collapse=view == "collapsed")))
    assert expected(f"{view}.svg.txt", text) == text
