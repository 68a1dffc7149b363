"""The page as a file: what it consists of, that it asks no network, and that foreign text stays text in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import text
from msgspec.structs import replace

from benchmarks.fleet import SMALL, M
from mmgraph.closure import Unread
from mmgraph.cost import Costs
from mmgraph.evidence import Evidence
from mmgraph.graph import Kind
from mmgraph.memory import Basis, Span
from mmgraph.names import Registry
from mmgraph.plan import Planner
from mmgraph.report.page import SCRIPTS, page
from mmgraph.report.words import safe
from tests.golden import expected
from tests.golden.example import HOSTILE, example, spec
from tests.support.planned import SCRIPTING, fleet_plan, hostile, with_warnings

ROOT = Path(__file__).parents[1]
MAY_NOT_CLOSE = {"meta", "input", "link", "br", "img"}


class Parts(HTMLParser):
    """What a parser of HTML finds: elements, and the text of scripts and styles."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag not in MAY_NOT_CLOSE:
            self._open.append(values.get("type") or tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._open.pop()

    def handle_data(self, data: str) -> None:
        """Keep the text of the innermost element."""
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data

    @property
    def data(self) -> dict[str, Any]:
        """The data that the page holds."""
        found: dict[str, Any] = json.loads(self.texts["application/json"])
        return found


def test_the_same_plan_has_the_same_page() -> None:
    """Nothing of the time or the machine gets into it."""
    assert page(example()) == page(example())


def test_the_data_are_the_whole_plan() -> None:
    """Every node, every need and mount, every goal with what it moves and costs alone, and the bill."""
    plan = example()
    data = Parts(page(plan)).data
    costs = Costs(plan)
    assert len(plan.steps) == len(data["kind"]) == len(data["action"]) == len(data["size"])
    assert plan.graph.edge_count() == _needs(data) + len(data["mounts"]) // 2
    assert [*zip(costs.moved, costs.alone, strict=True)] == [(goal[7], goal[8]) for goal in data["goals"]]
    assert plan.bill.uploaded == data["bill"]["uploaded"]


def _needs(data: dict[str, Any]) -> int:
    flat, count = data["needs"], 0
    place = 0
    while place < len(flat):
        count += flat[place]
        place += flat[place] + 1
    return count


def test_it_allows_itself_and_nothing_else() -> None:
    """The policy is a hash of each part, so that nothing that gets into the page by mistake can run or load."""
    parts = Parts(page(example()))
    policy = next(
        str(values["content"])
        for tag, values in parts.elements
        if tag == "meta" and values.get("http-equiv") == "Content-Security-Policy"
    )

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    style, script = source(parts.texts["style"]), source(parts.texts["module"])
    assert (
        f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"
        == policy
    )


def test_it_names_no_other_place() -> None:
    """No address, no import, no element that loads: the file is all there is."""
    content = page(fleet_plan(SMALL)).decode()
    assert [] == re.findall(r"(?:https?:)?//[a-z0-9.]+|@import|url\(|import\s*\(|fetch\(|XMLHttp", content)
    parts = Parts(content.encode())
    assert [] == [values for _, values in parts.elements if {"src", "href", "action", "style"} & set(values)]
    assert not any(name.startswith("on") for _, values in parts.elements for name in values)


def test_the_data_is_as_it_shall_be() -> None:
    """What the page shows of the example is pinned; UPDATE_GOLDEN=1 rewrites the file."""
    text = json.dumps(Parts(page(example())).data, indent=1) + "\n"
    assert expected("page.json", text) == text


@pytest.mark.parametrize("title", ["mmgraph plan", "{{data}}", SCRIPTING, HOSTILE])
def test_foreign_text_stays_text(title: str) -> None:
    """Whatever a registry, a manifest or a title says, the page has the elements it has without it."""
    parts = Parts(page(hostile(), title=title))
    assert [tag for tag, _ in Parts(page(example())).elements] == [tag for tag, _ in parts.elements]
    assert all(name in parts.data for name in ("kind", "goals", "texts"))


@given(cause=text(), title=text())
@settings(max_examples=50)
def test_no_text_becomes_an_element(cause: str, title: str) -> None:
    """Of any cause and any title the page has the elements that it has of others, and the cause is in it once read."""
    planner = Planner(Evidence(), {})
    planner.fail(Unread(spec("app:2", "mirror.example.com/app:2"), cause))
    parts = Parts(page(planner.finish(), title=title))
    assert [tag for tag, _ in Parts(page(example())).elements] == [tag for tag, _ in parts.elements]
    assert safe(cause, 2000) == parts.data["texts"][parts.data["goals"][0][9]]


def test_what_an_offline_plan_rests_on_is_in_the_data() -> None:
    """How old it is and what is not known; nothing where registries were asked."""
    basis = Basis({Registry("quay.io"): Span(0, 60)}, (), (), 2)
    told = [
        "Offline: no registry was asked. Tags are as last seen between 1970-01-01 00:00 UTC and 1970-01-01 00:01 UTC.",
        "Not known: whether registries hold 2 blobs already, which count as missing.",
    ]
    plans = (with_warnings(), replace(with_warnings(), offline=basis))
    assert [[], told] == [Parts(page(plan)).data["offline"] for plan in plans]


def test_warnings_are_in_the_data() -> None:
    """Rules that are broken, with goal and node, certificates that are not checked, repositories to create."""
    data = Parts(page(with_warnings())).data
    (goal, node, destination, cause), *others = data["broken"]
    assert [] == others
    assert "mirror.example.com/team/tool:2" == data["texts"][destination]
    assert 'small (largest = "1 MiB"): tag 2 is too large' == data["texts"][cause]
    assert data["goals"][goal - 1][1] == node
    assert ["mirror.example.com"] == data["unchecked"]
    assert [["mirror.example.com", "team/tool"]] == [data["repositories"][each] for each in data["toCreate"]]


def test_foreign_text_is_shown_without_its_controls() -> None:
    """The texts of the data have escapes for what can be seen by nobody, as in every other view."""
    texts = Parts(page(hostile())).data["texts"]
    assert any("\\u2028\\u2029<img src=x" in text for text in texts)
    assert not any(re.search("[\x00-\x1f\u202e\u2028\u200b]", text) for text in texts)


def test_the_data_can_end_no_script() -> None:
    """No angle bracket and no ampersand is written as itself in them, and nothing that is not ASCII."""
    text = Parts(page(hostile(), title="")).texts["application/json"]
    assert text.isascii()
    assert not set("<>&") & set(text)


def test_its_parts_can_end_no_script() -> None:
    """The scripts and the style have nothing in them that HTML would take for their end."""
    assets = ROOT / "mmgraph" / "report" / "assets"
    for name in (*SCRIPTS, "page.css"):
        assert not re.search(r"</(?:script|style)|<!--", (assets / name).read_text(), re.IGNORECASE)
    assert {*SCRIPTS, "page.css", "page.html"} == {path.name for path in assets.iterdir()}


def test_two_thousand_images_take_less_than_five_megabytes() -> None:
    """A fleet of 2,100 tags of 100 repositories, with all of its blobs."""
    plan = fleet_plan(M)
    kinds = [sum(node.kind is kind for node in plan.steps) for kind in Kind]
    assert [2100, 18_060] == [kinds[-1], kinds[0]]
    assert len(page(plan)) < 5_000_000


def test_the_wheel_has_the_parts(tmp_path: Path) -> None:
    """What is installed can make the page: its parts are in the wheel."""
    building = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(building, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if name.startswith("mmgraph/report/assets/")}
    assert {f"mmgraph/report/assets/{name}" for name in (*SCRIPTS, "page.css", "page.html")} == names
