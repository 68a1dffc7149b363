"""Reasons: each that is written can be read back, and each has a sentence of its own where it is explained."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mmgraph.explain import Explainer
from mmgraph.graph import Kind
from mmgraph.lookup import Subject
from mmgraph.memory import Basis
from mmgraph.names import Repository
from mmgraph.plan import Action, Plan
from mmgraph.reasons import Reason, Why, read, say
from tests.support.making import Bench, digest, manifest
from tests.test_properties import LAWS, Setting, planned, plannings

HEX = st.text(string.hexdigits.lower(), min_size=12, max_size=64).map("sha256:{}".format)
ANYTHING = st.text(min_size=1)
PLACES: dict[tuple[Kind, Action], tuple[Why, ...]] = {
    (Kind.TAG, Action.UNCHANGED): (Why.NAMES_IT,),
    (Kind.TAG, Action.CREATE): (Why.ABSENT,),
    (Kind.TAG, Action.MOVE): (Why.NAMES,),
    (Kind.TAG, Action.REPAIR): (Why.NAMES_BROKEN,),
    (Kind.MANIFEST, Action.PUT): (Why.ABSENT, Why.UNKNOWN, Why.NO_REPOSITORY, Why.BROKEN),
    (Kind.BLOB, Action.UPLOAD): (Why.ABSENT, Why.UNKNOWN, Why.NO_REPOSITORY, Why.SKIPPED),
    (Kind.BLOB, Action.MOUNT): (Why.MOUNTABLE,),
    (Kind.BLOB, Action.PRESENT): (Why.ASKED, Why.REMEMBERED, Why.SOURCE, Why.FOUND, Why.TAG),
}
"""What a planner writes, by the nodes and actions that it writes it for."""


@pytest.mark.parametrize("why", Why)
def test_what_is_said_is_read(why: Why) -> None:
    """Of whatever digest, and whatever a registry may have called its tag."""

    @given(HEX, ANYTHING.filter(lambda name: name != "the set"))
    def law(known: str, name: str) -> None:
        parts = {
            key: value for key, value in (("digest", known), ("name", name)) if f"{{{key}}}" in why.value
        }
        assert Reason(why, **parts) == read(say(why, digest=known, name=name))

    law()


@given(ANYTHING)
def test_what_is_no_reason_is_none(text: str) -> None:
    """A saved plan may say anything; nothing is made of it that was not said."""
    found = read(text)
    assert found is None or text == say(found.why, digest=found.digest, name=found.name)


def test_every_reason_belongs_somewhere() -> None:
    """Who adds one is told to have it explained."""
    assert set(Why) == {why for each in PLACES.values() for why in each}


def _kind(kind: Kind, action: Action) -> Kind:
    """What is there is so for the same reasons, whatever it is; an index is written for those of a manifest."""
    if action is Action.PRESENT:
        return Kind.BLOB
    return Kind.MANIFEST if kind is Kind.INDEX else kind


@LAWS
@given(plannings())
def test_a_planner_says_nothing_else(given: Setting) -> None:
    """Each step's reason is read, and is one for its kind of node and its action."""
    strange = [
        (node.kind, step.action, step.reason)
        for node, step in planned(given).steps.items()
        if (found := read(step.reason)) is None
        or found.why not in PLACES[_kind(node.kind, step.action), step.action]
    ]
    assert [] == strange


def explained(kind: Kind, action: Action, why: Why, *, offline: bool) -> str:
    """The sentence about a node of that kind, with that action for that reason."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    plan: Plan = bench.plan()
    node = next(each for each in plan.steps if each.kind is kind)
    place = Repository(node.repository.registry, "elsewhere")
    reason = say(why, digest=digest("tree").short, name="1.0")
    step = replace(plan.steps[node], action=action, reason=reason, old=digest("old"), mount_from=place)
    basis = Basis({}, (), (), 0) if offline else None
    changed = replace(plan, steps={**plan.steps, node: step}, offline=basis)
    return Explainer(changed).explain(Subject(node)).evidence


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(("kind", "action"), PLACES)
def test_each_reason_has_a_sentence_of_its_own(kind: Kind, action: Action, offline: bool) -> None:
    """None is told as it stands, no two are alike, and offline nobody is said to have been asked."""
    reasons = [why for why in PLACES[kind, action] if not (offline and why is Why.ASKED)]
    sentences = [explained(kind, action, why, offline=offline) for why in reasons]
    lies = ("the plan says", "HEAD") if offline else ("the plan says",)
    wrong = [each for each in sentences if any(lie.lower() in each.lower() for lie in lies)]
    assert (len(set(sentences)), []) == (len(sentences), wrong)
