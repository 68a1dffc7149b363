"""Reasons: each that is written can be read back, and a planner writes no others."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.graph import Kind
from mmgraph.plan import Action
from mmgraph.reasons import Reason, Why, read, say
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
