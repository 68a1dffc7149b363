"""A saved plan against rules: what it states, what proves it, and what is read anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from mmgraph.cache import MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.compliance import judged, read_losses
from mmgraph.names import Reference, Registry
from mmgraph.plan import Result
from mmgraph.rules import Rule, Rules
from mmgraph.store import RawManifest
from tests.support.making import Bench, index, manifest, spec
from tests.support.rig import rig

if TYPE_CHECKING:
    from mmgraph.oci import Document
    from mmgraph.plan import Plan

AMD, ARM = manifest("config", "layer"), manifest("config of arm", "layer")
BOTH = index({"linux/amd64": AMD, "linux/arm64": ARM})
ONE = index({"linux/amd64": AMD})


def plan_of(root: Document, now: Document | None = None, known: bool = True) -> Plan:
    """A plan for ``a:1``, which names ``now`` and shall be ``root``; ``known``: what ``now`` lists has been read."""
    bench = Bench(AMD, ARM, root, *([now] if now and known else []))
    bench.want("a:1", "a:1", root, now)
    return bench.plan()


def broken(plan: Plan, rule: Rule) -> list[str]:
    """The demands that ``plan`` does not meet."""
    return [violation.demand for violation in judged(plan, Rules((rule,))).violations]


def test_a_plan_that_keeps_to_the_rules() -> None:
    """It is the plan it was."""
    plan = plan_of(BOTH)
    assert plan == judged(plan, Rules((Rule(name="rule 1", attestations=False, may_move=False),)))


def test_what_is_to_be_written_is_judged() -> None:
    """By the documents that the plan has."""
    assert ['largest = "1 B"'] == broken(plan_of(BOTH), Rule(name="rule 1", largest=1))


def test_what_is_unchanged_is_not_judged() -> None:
    """Nothing is sent for it."""
    assert [] == broken(plan_of(BOTH, BOTH), Rule(name="rule 1", largest=1))


def test_names_are_judged_of_all_specs() -> None:
    """Also where nothing changes."""
    rule = Rule(name="rule 1", only_registries=(Registry("elsewhere.example"),))
    assert ['only-registries = ["elsewhere.example"]'] == broken(plan_of(BOTH, BOTH), rule)


def test_a_move_is_judged_by_what_the_plan_expects() -> None:
    """It is a precondition, so apply finds out where it is not true."""
    assert ["may-move = false"] == broken(plan_of(ONE, BOTH), Rule(name="rule 1", may_move=False))


def test_losses_are_those_that_the_plan_states() -> None:
    """Where nothing else is known."""
    found = judged(plan_of(ONE, BOTH), Rules((Rule(name="rule 1", may_lose_platforms=False),)))
    assert ["would lose linux/arm64"] == [each.found.partition(" and ")[2] for each in found.violations]


def test_stated_attestations_are_no_platforms() -> None:
    """Nor is what is for nothing known, nor a revision of Windows."""
    plan = plan_of(ONE, BOTH)
    losses = ("attestation for linux/arm64", "unknown/unknown", "windows(10.0.17763.5000)/amd64")
    goal = replace(plan.goals[0], losses=losses, gains=("windows(10.0.17763.6659)/amd64",))
    assert [] == broken(replace(plan, goals=(goal,)), Rule(name="rule 1", may_lose_platforms=False))


def test_losses_that_have_been_read_outweigh_stated_ones() -> None:
    """A plan may have been written by anybody."""
    plan = plan_of(ONE, BOTH)
    goal = replace(plan.goals[0], losses=())
    rules = Rules((Rule(name="rule 1", may_lose_platforms=False),))
    read = {goal.spec.destination: ("linux/arm64",)}
    assert [0, 1] == [
        len(judged(replace(plan, goals=(goal,)), rules, losses).violations) for losses in (None, read)
    ]


@pytest.mark.parametrize(
    ("pushed", "expected"), [((AMD, ARM, BOTH), ("linux/arm64",)), ((), None)], ids=["there", "gone"]
)
async def test_losses_are_read_at_the_destination(
    pushed: tuple[Document, ...], expected: tuple[str, ...] | None
) -> None:
    """What cannot be read is not known."""
    async with rig() as rigged:
        place = spec("a:1", f"{rigged.servers[0].address}/a:1")
        for document in pushed:
            raw = RawManifest(document.raw, document.media_type)
            rigged._storages[0].put_manifest("a", document.digest, raw)
        plan = plan_of(ONE, BOTH, known=False)
        goal = replace(plan.goals[0], spec=place, losses=())
        rules = Rules((Rule(name="rule 1", may_lose_platforms=False),))
        moved = replace(plan, goals=(goal,))
        found = await read_losses(moved, rules, rigged.client, MemoryCache(), SystemClock())
    assert {place.destination: expected} == found


async def test_losses_are_read_only_where_a_rule_asks() -> None:
    """No registry is spoken to for a destination that no rule minds."""
    rules = Rules((Rule(name="rule 1", patterns=("elsewhere.example/*",), may_lose_platforms=False),))
    async with rig() as rigged:
        found = await read_losses(plan_of(ONE, BOTH), rules, rigged.client, MemoryCache(), SystemClock())
    assert {} == found


def test_a_failed_spec_is_judged_by_its_name_alone() -> None:
    """Nothing is known of its image."""
    plan = plan_of(ONE)
    failed = replace(plan.goals[0], result=Result.FAILED, root=None, node=None)
    assert [] == broken(replace(plan, goals=(failed,)), Rule(name="rule 1", largest=1))


def test_the_destination_is_named() -> None:
    """With the node that is at fault."""
    found = judged(plan_of(ONE), Rules((Rule(name="rule 1", largest=1),))).violations
    expected = [(Reference.parse("dst.example/a:1"), f"index dst.example/a@{ONE.digest}")]
    assert expected == [(each.destination, each.node) for each in found]
