"""What names in a plan mean: destinations, globs, digests and their beginnings; what is said where nothing is meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import SpecError
from mmgraph.graph import Kind
from mmgraph.lookup import find
from mmgraph.plan import Plan
from tests.golden.example import digest_of, example
from tests.test_properties import LAWS, Setting, planned, plannings

BASE = digest_of("base linux/arm64")
"""A blob of three repositories at two registries."""
TOOL = "mirror.example.com/team/tool"


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mirror.example.com/library/app:1.1", ["mirror.example.com/library/app:1.1"]),
        ("app:1.1", ["mirror.example.com/library/app:1.1", "backup.example.com:5000/app:1.1"]),
        ("library/*:1.*", ["mirror.example.com/library/app:1.0", "mirror.example.com/library/app:1.1"]),
    ],
)
def test_a_destination_is_meant_as_only_takes_it(plan: Plan, name: str, expected: list[str]) -> None:
    """By its whole name, its end, or a glob."""
    assert expected == [str(subject.node) for subject in find(plan, name)]


@pytest.mark.parametrize(
    "name",
    [
        BASE,
        BASE.hex,
        BASE.short,
        BASE.hex[:6],
        f"sha256:{BASE.hex[:6]}",
        BASE.hex[:12].upper(),
        f"{BASE.short}…",
        f"{BASE.short}...",
    ],
)
def test_a_digest_may_be_cut(plan: Plan, name: str) -> None:
    """With its algorithm or without, and with the dots of who cut it; it is meant in every repository."""
    places = ["mirror.example.com/library/app", TOOL, "backup.example.com:5000/app"]
    assert [f"{place}@{BASE}" for place in places] == [str(subject.node) for subject in find(plan, name)]


@pytest.mark.parametrize("place", [TOOL, "team/tool", "tool", "*.com/*/tool"])
def test_a_digest_may_be_meant_in_one_repository(plan: Plan, place: str) -> None:
    """Whose name stands before it, as in messages."""
    assert [f"{TOOL}@{BASE}"] == [str(subject.node) for subject in find(plan, f"{place}@{BASE.short}")]


def test_the_end_of_a_spec_without_a_tag_is_known_as_such(plan: Plan) -> None:
    """A root that a spec names by its digest has the spec with it."""
    goal = next(goal for goal in plan.goals if goal.spec.destination.tag is None)
    assert goal.root is not None
    assert [goal] == [subject.goal for subject in find(plan, goal.root[:20])]


def test_what_failed_is_found_without_a_node(plan: Plan) -> None:
    """It has none, and there is something to say of it."""
    assert [None] == [subject.node for subject in find(plan, "gone:1")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ap:1.1", 'no destination is named "ap:1.1", and it is no digest; near it are mirror'),
        ("", 'no destination is named ""'),
        ("abc", 'no destination is named "abc"'),
        ("sha256:abc", '"sha256:abc" is too short for a digest: write 6 of its digits at least'),
        ("0123456789", 'nothing in the plan is named "0123456789", nor has a digest that begins so'),
        (f"nowhere@{BASE}", "is not in the plan; that digest is in mirror.example.com/library/app, mirror"),
        ("\x1b[31m", r'no destination is named "\x1b[31m"'),
    ],
)
def test_what_means_nothing_is_said_with_what_is_near(plan: Plan, name: str, message: str) -> None:
    """One clear message, without controls."""
    with pytest.raises(SpecError) as caught:
        find(plan, name)
    assert message in str(caught.value)


def test_what_a_tag_names_today_is_no_part_of_the_plan() -> None:
    """The old image of a tag that is moved is in no graph, and that is what is said of it."""
    plan = example()
    goal = next(goal for goal in plan.goals if goal.old is not None and goal.root != goal.old)
    steps = {node: step for node, step in plan.steps.items() if node.name != goal.old}
    message = f"{goal.spec.destination} names it now, and shall name {goal.root}"
    with pytest.raises(SpecError, match=message):
        find(Plan(plan.graph, steps, plan.goals[2:3], plan.documents, plan.bill), str(goal.old))


def test_a_source_that_is_limited_is_no_part_of_the_plan(plan: Plan) -> None:
    """What limitPlatforms makes of it is."""
    goal = next(goal for goal in plan.goals if goal.trimmed and goal.root)
    with pytest.raises(
        SpecError, match=f"limitPlatforms makes {goal.root} of it for {goal.spec.destination}"
    ):
        find(plan, str(goal.source_digest))


def test_the_beginning_of_several_digests_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """As git does: with those that it may be."""
    monkeypatch.setattr("mmgraph.lookup._DIGITS", 1)
    with pytest.raises(SpecError, match=r'"7" is the beginning of \d digests, write more of it: sha256:7'):
        find(plan, "7")


@LAWS
@given(plannings(), st.data())
def test_every_node_is_found_by_what_it_is_called(given: Setting, data: st.DataObject) -> None:
    """A node's own name means it and nothing else, and its digest means it wherever it is."""
    plan = planned(given)
    node = data.draw(st.sampled_from(list(plan.steps)))

    assert [node] == [subject.node for subject in find(plan, str(node))]
    if node.kind is not Kind.TAG:
        same = {other for other in plan.steps if other.name == node.name}
        assert same == {subject.node for subject in find(plan, node.name)}


@LAWS
@given(plannings(), st.text(max_size=30))
def test_any_text_means_something_or_is_refused(given: Setting, text: str) -> None:
    """Whatever is typed, there is an answer or a message that steers no terminal."""
    try:
        answer = ", ".join(str(subject.node) for subject in find(planned(given), text))
    except SpecError as error:
        answer = str(error)
    assert (True, True) == (answer != "", answer.isprintable())
