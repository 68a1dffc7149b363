"""The page in a real Chromium: it loads without a complaint, searches, filters, answers clicks and keys, reckons.

Needs ``chromium`` and ``chromedriver`` (Debian: ``chromium``, ``chromium-driver``).
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from benchmarks.fleet import SMALL, M
from mmgraph.cost import Costs
from mmgraph.evidence import Evidence
from mmgraph.graph import Kind
from mmgraph.memory import Basis, Span
from mmgraph.names import Registry
from mmgraph.plan import Plan, Planner
from mmgraph.report.offline import offline_lines
from mmgraph.report.page import page
from mmgraph.report.words import size
from tests.golden.example import digest_of, example
from tests.support.making import Bench, manifest
from tests.support.planned import SCRIPTING, fleet_plan, hostile, with_warnings

PATIENCE: Final = 20.0
"""Seconds that the page is given to come to what is expected."""


class Browser:
    """A page of a plan in Chromium."""

    def __init__(self, driver: Chrome, directory: Path) -> None:
        self.driver = driver
        self.directory = directory
        self.plan: Plan

    def open(self, plan: Plan, *, title: str = "mmgraph plan") -> Browser:
        """Open the plan's page from disk."""
        path = self.directory / "plan.html"
        path.write_bytes(page(plan, title=title))
        self.driver.get(path.as_uri())
        self.until("document.documentElement.dataset.ready", "yes")
        self.plan = plan
        return self

    def run(self, expression: str, *values: object) -> Any:
        """Return what an expression comes to in the page."""
        return self.driver.execute_script(f"return {expression}", *values)

    def until(self, expression: str, expected: object) -> None:
        """Wait until the page says what is expected; else the last that it said is in the failure."""
        ends = time.monotonic() + PATIENCE
        while (said := self.run(expression)) != expected and time.monotonic() < ends:
            time.sleep(0.02)
        assert expected == said

    def element(self, css: str) -> WebElement:
        """Return the one element that a selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def text(self, css: str) -> str:
        """Return the text of an element, also of what is scrolled out of sight."""
        return str(self.run("document.querySelector(arguments[0]).textContent", css))

    def names(self) -> list[str]:
        """Return the names of the tags in sight, in their order."""
        return list(self.run("[...document.querySelectorAll('#body th')].map((each) => each.title)"))

    def type(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def click_node(self, name: str, *, times: int = 1) -> None:
        """Click into the graph where the node with this name is drawn, found as the page itself places it."""
        x, y = self.run(
            """(() => {
                const { view } = mmgraph;
                const item = view.itemOf(mmgraph.find(arguments[0]));
                view.centre(item, false);
                const { x, y, scale } = view.camera;
                return [(item.left + item.width / 2 - x) * scale, (item.top + 10 - y) * scale];
            })()""",
            name,
        )
        canvas = self.element("#canvas")
        box = canvas.rect
        move = ActionChains(self.driver)
        move.move_to_element_with_offset(canvas, round(x - box["width"] / 2), round(y - box["height"] / 2))
        for _ in range(times):
            move.click()
        move.perform()

    def complaints(self) -> list[str]:
        """Return what the browser's console says since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


def _start(*arguments: str) -> Chrome:
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *arguments):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or "chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    """Chromium, started once."""
    started = _start("--window-size=1440,900", "--force-prefers-reduced-motion")
    yield started
    started.quit()


@pytest.fixture
def browser(driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser whose console has had nothing to complain of at the end of the test."""
    browser = Browser(driver, tmp_path)
    browser.complaints()
    yield browser
    assert [] == browser.complaints()


@pytest.fixture(scope="module")
def small() -> Plan:
    """Plan the fleet of 50 tags to two registries."""
    return fleet_plan(SMALL, ("one.example", "two.example:5000"))


def test_it_loads_and_shows_all_tags_and_the_bill(browser: Browser) -> None:
    """The tags are those of the plan, failures first; the bill says what the plan as text says."""
    plan = example()
    browser.open(plan)
    named = [str(goal.spec.destination) for goal in plan.goals if goal.spec.destination.tag]
    shown = [name for name in browser.names() if "@" not in name]
    assert [named[-1], *named[:-1]] == shown
    assert size(plan.bill.uploaded) in browser.text(".entry.uploaded dd")
    assert len(plan.steps) + 1 == browser.run("mmgraph.view.scene.items.length")


def test_sizes_are_those_of_the_other_views(browser: Browser) -> None:
    """Bytes are told in the same words as in the plan as text."""
    counts = [0, 1023, 1024, 1536, 1024**2 - 1, 1024**2, 30_500_000, 1024**4 * 3, 1024**7 * 5]
    browser.open(example())
    assert [size(count) for count in counts] == browser.run("arguments[0].map(mmgraph.size)", counts)


def test_a_search_finds_tags(browser: Browser, small: Plan) -> None:
    """All words must be in a tag's texts, and Escape takes the search back."""
    browser.open(small).type("/", "service-3 two.example v2")
    browser.until("document.getElementById('tags-count').textContent", "1 of 100")
    assert ["two.example:5000/mirror/team-0/service-3:v2"] == browser.names()
    browser.type(Keys.ESCAPE)
    browser.until("document.getElementById('tags-count').textContent", "100")


def test_a_search_for_a_digest_finds_who_needs_it(browser: Browser) -> None:
    """The tags that need a blob, and in the graph only the ways from it to them."""
    plan = example()
    blob = digest_of("tool linux/amd64 0")
    browser.open(plan).type("/", blob)
    browser.until("document.getElementById('tags-count').textContent", "1 of 7")
    assert ["mirror.example.com/team/tool:2"] == browser.names()
    assert 4 == browser.run("mmgraph.view.scene.items.length")


def test_a_click_on_a_tag_shows_what_it_costs(browser: Browser, small: Plan) -> None:
    """Its reason, its digest, what moves for it, and what would not move without it."""
    browser.open(small)
    costs = Costs(small)
    goal = small.goals[1]
    browser.element(f"th[title='{goal.spec.destination}']").click()
    assert size(costs.alone[1]) in browser.text("#alone")
    assert "absent" == browser.text("#reason")
    assert str(goal.root) in browser.text("#details")
    assert str(goal.spec.source) in browser.text("#details")
    assert f"Only {goal.spec.destination}" == browser.text("#focus-name")


def test_a_click_on_a_node_shows_who_needs_it(browser: Browser) -> None:
    """The reason, the size, the tags that need it and what it costs alone, of a node in the graph."""
    plan = example()
    node = next(node for node in plan.steps if node.name == digest_of("tool linux/amd64 0"))
    browser.open(plan).click_node(str(node))
    browser.until("document.getElementById('details').hidden", False)
    step = plan.steps[node]
    assert step.reason == browser.text("#reason")
    assert size(Costs(plan).of(node)) in browser.text("#alone")
    assert size(step.size) in browser.text("#details")
    assert "mirror.example.com/team/tool:2" in browser.text("#needed-by")


def test_a_click_beside_everything_closes_the_details(browser: Browser) -> None:
    """What was lit up is as the rest again."""
    plan = example()
    node = next(iter(plan.steps))
    browser.open(plan).click_node(str(node))
    browser.until("mmgraph.view.state.lit !== null", True)
    browser.type(Keys.ESCAPE)
    browser.until("mmgraph.view.state.lit", None)
    assert browser.run("document.getElementById('details').hidden")


def test_bytes_alone_are_those_of_the_other_views(browser: Browser, small: Plan) -> None:
    """Of every node of a set at two registries, reckoned in the page and by mmgraph."""
    browser.open(small)
    costs = Costs(small)
    expected = [costs.of(node) for node in small.steps]
    assert expected == browser.run("[...Array(mmgraph.model.planned).keys()].map(mmgraph.aloneBytes)")


@pytest.mark.parametrize("action", ["move", "mount", "failed"])
def test_a_filter_by_action(browser: Browser, action: str) -> None:
    """Tags with that end, or that need a node with that action."""
    expected = {
        "move": ["mirror.example.com/library/app:latest"],
        "mount": ["mirror.example.com/team/tool:2", "mirror.example.com/team/tool@"],
        "failed": ["mirror.example.com/team/gone:1"],
    }
    browser.open(example()).element(f"[data-action={action}]").click()
    browser.until("document.getElementById('clear').hidden", False)
    assert expected[action] == [name.partition("sha256")[0] for name in browser.names()]
    assert "true" == browser.element(f"[data-action={action}]").get_attribute("aria-pressed")


def test_filters_by_registry_and_repository(browser: Browser, small: Plan) -> None:
    """What is left is at that registry, and in that repository; clearing brings all back."""
    browser.open(small)
    Select(browser.element("#registry")).select_by_visible_text("one.example")
    browser.until("document.getElementById('tags-count').textContent", "50 of 100")
    Select(browser.element("#repository")).select_by_visible_text("one.example/mirror/team-1/service-4")
    browser.until("document.getElementById('tags-count').textContent", "5 of 100")
    assert {"one.example/mirror/team-1/service-4"} == {name.rpartition(":")[0] for name in browser.names()}
    browser.element("#clear").click()
    browser.until("document.getElementById('tags-count').textContent", "100")


def test_a_filter_by_platform(browser: Browser) -> None:
    """Tags that have it, and of their manifests those for it alone, with their blobs."""
    browser.open(example())
    Select(browser.element("#platform")).select_by_visible_text("linux/s390x")
    browser.until("document.getElementById('tags-count').textContent", "1 of 7")
    assert ["mirror.example.com/library/app:1.0"] == browser.names()
    labels = browser.run(
        "[...mmgraph.view.scene.items.keys()].map((place) => mmgraph.view.scene.items[place].nodes[0])"
        ".map((v) => mmgraph.data.texts[mmgraph.model.label[v]]).filter(Boolean).sort()"
    )
    assert ["attestation for linux/s390x", "linux/s390x"] == labels


@pytest.mark.parametrize("key", ["moved", "alone", "shared"])
def test_tags_are_sorted(browser: Browser, small: Plan, key: str) -> None:
    """A click on a heading sorts from most to least, another the other way round, a third not at all."""
    costs = Costs(small)
    shared = [moved - alone for moved, alone in zip(costs.moved, costs.alone, strict=True)]
    values = {"moved": costs.moved, "alone": costs.alone, "shared": shared}[key]
    order = sorted(range(len(small.goals)), key=lambda place: (-values[place], place))
    expected = [str(small.goals[place].spec.destination) for place in order]
    heading = browser.open(small).element(f"[data-key={key}]")
    heading.click()
    assert expected[:10] == browser.names()[:10]
    assert "descending" == browser.run("arguments[0].closest('th').ariaSort", heading)
    heading.click()
    assert "ascending" == browser.run("arguments[0].closest('th').ariaSort", heading)
    heading.click()
    assert [str(goal.spec.destination) for goal in small.goals[:10]] == browser.names()[:10]


def test_many_nodes_are_folded_and_unfold(browser: Browser, small: Plan) -> None:
    """Above a few hundred a repository is a pile a stratum; a pile opens, and all can be drawn one by one."""
    browser.open(small)
    assert browser.run("mmgraph.view.scene.items.length") < 300
    folded = browser.run("mmgraph.view.scene.items.length")
    tag = next(node for node in small.steps if node.kind is Kind.TAG)
    browser.click_node(str(tag))
    browser.element("#unfold-button").click()
    browser.until(f"mmgraph.view.scene.items.length > {folded}", True)
    assert 1 == browser.run("mmgraph.view.itemOf(mmgraph.find(arguments[0])).nodes.length", str(tag))
    browser.element("[data-level='3']").click()
    browser.until("mmgraph.view.scene.items.length", len(small.steps))


def test_it_can_be_used_by_keys_alone(browser: Browser) -> None:
    """From tag to tag and into the details, from node to node along the edges, and back out."""
    browser.open(example()).type("t", Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    browser.until("document.querySelector('#details h2').textContent", ":1.1")
    browser.type(Keys.ESCAPE, "g", Keys.ARROW_RIGHT)
    browser.type(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    browser.until(
        "document.getElementById('spoken').textContent.split(' ').slice(0, 2).join(' ')", "put manifest"
    )
    browser.type(Keys.ENTER)
    browser.until("document.querySelector('#details .kind').firstChild.textContent", "manifest")
    browser.type("f")
    browser.until("document.getElementById('focus').hidden", False)
    browser.type(Keys.ESCAPE)
    browser.until("document.getElementById('focus').hidden", True)


def test_the_graph_zooms_and_pans(browser: Browser, small: Plan) -> None:
    """By buttons, by the wheel at the pointer, and by dragging."""
    browser.open(small)
    before = browser.run("mmgraph.view.camera")
    browser.element("#zoom-in").click()
    browser.until(f"mmgraph.view.camera.scale > {before['scale'] * 1.2}", True)
    origin = ScrollOrigin.from_element(browser.element("#canvas"))
    ActionChains(browser.driver).scroll_from_origin(origin, 0, 300).perform()
    browser.until(f"mmgraph.view.camera.scale < {before['scale']}", True)
    x = browser.run("mmgraph.view.camera.x")
    ActionChains(browser.driver).drag_and_drop_by_offset(browser.element("#canvas"), -120, 0).perform()
    browser.until(f"mmgraph.view.camera.x > {x}", True)


def test_light_and_dark(browser: Browser) -> None:
    """The page follows the system, and whoever reads it may say otherwise; the canvas goes along."""
    browser.open(example())
    colours = set()
    for theme in ("light", "dark"):
        browser.element("#theme").click()
        assert f"Theme: {theme}" == browser.text("#theme")
        colours.add(
            (
                browser.run("getComputedStyle(document.body).backgroundColor"),
                browser.run("mmgraph.view.palette.page"),
            )
        )
    assert {("rgb(255, 255, 255)",) * 2, ("rgb(20, 23, 28)",) * 2} == colours
    browser.element("#theme").click()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_written_can_be_read(browser: Browser, theme: str) -> None:
    """Text stands out from what is behind it by 4.5 to 1 and lines by 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    browser.open(example())
    browser.run(f"(document.documentElement.dataset.theme = '{theme}', mmgraph.view.repaint())")
    palette = browser.run("mmgraph.view.palette")
    texts = [
        (palette[ink], palette[behind]) for ink in ("ink", "faint") for behind in ("page", "panel", "lane")
    ]
    for look in palette["actions"]:
        texts += [
            (palette["ink"], look["fill"]),
            (palette["faint"], look["fill"]),
            (look["line"], look["fill"]),
        ]
        texts += [(look["line"], palette["page"]), (look["line"], palette["panel"])]
    texts += [(palette["accent"], palette["page"]), (palette["accent"], palette["lane"])]
    assert [] == [pair for pair in texts if contrast(*pair) < 4.5]
    assert contrast(palette["mount-line"], palette["lane"]) >= 3


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG reckons it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_no_action_is_told_by_colour_alone(browser: Browser) -> None:
    """In the list each has a sign and its word, in the graph its sign and its line; the filters name all."""
    browser.open(example())
    rows = browser.run("[...document.querySelectorAll('#body td.action')].map((each) => each.textContent)")
    assert {"+create", "~move", "=unchanged", "!failed"} == set(rows)
    chips = browser.run("[...document.querySelectorAll('.chip')].map((each) => each.textContent)")
    assert [
        "!failed1",
        "~move1",
        "+create3",
        "=unchanged1",
        "↑upload28",
        "↪mount3",
        "⇧put14",
        "=present14",
    ] == chips


def test_a_repair_is_no_move(browser: Browser) -> None:
    """It has a sign and a word of its own in the list, among the filters, above them and in the details."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image, now=image)
    browser.open(bench.plan())
    browser.element("#body tr").click()
    browser.until("document.getElementById('details').hidden", False)
    shown = (
        browser.run("[...document.querySelectorAll('#body td.action')].map((each) => each.textContent)"),
        "*repair1" in browser.run("[...document.querySelectorAll('.chip')].map((each) => each.textContent)"),
        "*1 to repair" in browser.run("document.getElementById('outcome').textContent"),
        browser.run("document.querySelector('#details .badge').textContent"),
    )
    assert (["*repair"], True, True, "*repair") == shown


def test_foreign_text_is_shown_as_text(browser: Browser) -> None:
    """What a registry said is read and not obeyed, wherever it is shown."""
    browser.open(hostile(), title=SCRIPTING)
    assert "<script>alert(1)</script>" in browser.text("h1")
    assert "<img src=x onerror=alert(1)>" in browser.text("#failures")
    browser.click_node(f"mirror.example.com/app@{digest_of('layer')}")
    browser.until("document.getElementById('details').hidden", False)
    assert "<script>alert(1)</script>" in browser.text("#reason")
    assert 2 == browser.run("document.querySelectorAll('script').length")
    assert 0 == browser.run("document.querySelectorAll('img').length")


def test_twenty_thousand_nodes(browser: Browser) -> None:
    """All of a fleet of 2,100 tags: few rows are in the document, few items drawn, and all of them if wanted."""
    plan = fleet_plan(M)
    browser.open(plan)
    assert browser.run("document.querySelectorAll('#body tr').length") < 100
    assert "2101" == browser.element("#tags").get_attribute("aria-rowcount")
    assert browser.run("mmgraph.view.scene.items.length") <= 400
    browser.run("(document.getElementById('rows').scrollTop = 1e9)")
    last = str(plan.goals[-1].spec.destination)
    browser.until("[...document.querySelectorAll('#body th')].at(-1).title", last)
    browser.element("[data-level='3']").click()
    browser.until("mmgraph.view.scene.items.length", len(plan.steps))
    browser.element("#fit").click()
    browser.until("mmgraph.view.camera.scale < 0.1", True)
    browser.run("mmgraph.view.drawNow()")


def test_all_tags_are_printed(browser: Browser, small: Plan) -> None:
    """On paper nothing scrolls, so that all rows are there, and no more afterwards."""
    browser.open(small)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert len(small.goals) == len(browser.names())
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert len(browser.names()) < len(small.goals)


def test_what_to_know_before_is_above_the_tags(browser: Browser) -> None:
    """Unchecked certificates, broken rules and repositories to create are told, and lead to their tags."""
    plan = with_warnings()
    browser.open(plan)
    assert "!The certificate of mirror.example.com is not checked (--insecure)." == browser.text("p.notice")
    assert browser.text("#broken summary").startswith("!1 rule of mmgraph.toml is broken by 1 destination")
    assert "1 repository to create" in browser.text("#to-create summary")
    browser.element("#broken summary").click()
    browser.element("#broken button").click()
    browser.until("document.querySelector('#details h2').textContent", ":2")
    assert "is too large" in browser.text("#details")


def test_what_an_offline_plan_rests_on_is_above_the_tags(browser: Browser) -> None:
    """How old it is and what is not known, each a line; nothing of it where registries were asked."""
    basis = Basis({Registry("quay.io"): Span(0, 60)}, (), (), 2)
    plan = replace(with_warnings(), offline=basis)
    lines = "[...document.querySelectorAll('#offline p')].map((each) => each.textContent)"
    shown = [browser.open(each).run(lines) for each in (with_warnings(), plan)]
    assert [[], offline_lines(plan)] == shown


def test_an_address_names_what_is_chosen(browser: Browser) -> None:
    """What is chosen can be passed on as a link to it."""
    browser.open(example()).element("th[title='mirror.example.com/team/tool:2']").click()
    address = browser.driver.current_url
    assert address.endswith("#mirror.example.com%2Fteam%2Ftool%3A2")
    browser.driver.get("about:blank")
    browser.driver.get(address)
    browser.until("document.querySelector('#details h2')?.textContent", ":2")


def test_an_empty_set_has_a_page(browser: Browser) -> None:
    """Nothing is said to be nothing, and nothing fails for it."""
    browser.open(Planner(Evidence(), {}).finish()).type(
        "t", Keys.ARROW_DOWN, Keys.ENTER, "g", Keys.ARROW_LEFT
    )
    assert "No tag fits these filters." == browser.element("#none").text
    assert "Nothing to draw." == browser.element("#empty").text


def test_what_is_unchanged_has_a_page(browser: Browser) -> None:
    """A set with nothing to do is shown as well."""
    browser.open(example(unchanged=True))
    assert ["=unchanged"] == browser.run(
        "[...document.querySelectorAll('#body td.action')].map((each) => each.textContent)"
    )


def test_a_narrow_page_leaves_the_tags_their_room(browser: Browser) -> None:
    """Of the numbers only what moves stands beside them, and the title has a line of its own."""
    narrow = {"width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        browser.open(example(), title="mmgraph plan")
        tags = browser.element(".tags thead .name").size["width"]
        shown = [each.text for each in browser.driver.find_elements(By.CSS_SELECTOR, ".tags thead th")]
        title, heading = (browser.element(css).size["width"] for css in ("h1", ".heading"))
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert (True, ["Action", "Tag", "Moves"], heading) == (
        tags > 200,
        [each for each in shown if each],
        title,
    )


def test_what_the_specs_would_cost_is_called_as_in_the_text(browser: Browser) -> None:
    """One by one, which needs no glossary."""
    browser.open(example())
    assert "one by one" == browser.text(".entry.naive dt")


def test_the_parts_of_the_bill_add_up(browser: Browser, small: Plan) -> None:
    """Rounded one by one, they would be 99 % of the example."""
    sums = []
    for plan in (example(), small):
        browser.open(plan)
        parts = (
            browser.text(f".entry.{name} small") for name in ("present", "mounted", "shared", "uploaded")
        )
        sums.append(sum(int(part.removesuffix("%")) for part in parts))
    assert [100, 100] == sums


def test_what_the_columns_mean_can_be_read(browser: Browser) -> None:
    """As text in sight and not only where the mouse rests; no column is called as a part of the bill is."""
    browser.open(example())
    headings = [each.text for each in browser.driver.find_elements(By.CSS_SELECTOR, ".tags thead th")]
    assert (["Moves", "Alone", "Common"], True, True) == (
        headings[2:],
        browser.element("#columns").is_displayed(),
        "Moves can add up to more than is uploaded" in browser.text("#columns"),
    )


def test_the_map_lets_what_is_below_it_be_seen(browser: Browser) -> None:
    """Until it is pointed at."""
    browser.open(example())
    assert 0.5 > float(browser.run("getComputedStyle(document.getElementById('map')).opacity"))
