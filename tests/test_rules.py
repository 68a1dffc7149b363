"""Rules as values: which destinations one is for, what a name alone breaks, what a violation says."""

from __future__ import annotations

import pytest

from mmgraph.names import Reference, Registry
from mmgraph.rules import NONE, Rule, Rules, Violation, array, enumerated
from mmgraph.specs import forms

PROD = Reference.parse("registry.example/prod/app:v1")


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [
        ("registry.example/prod/**", True),
        ("registry.example/prod/*", True),
        ("*:v1", True),
        ("prod/app:v1", True),
        ("registry.example/prod/app", False),
        ("registry.example/test/**", False),
        ("REGISTRY.example/prod/**", False),
        ("registry.example/prod/app:v[12]", True),
    ],
)
def test_a_rule_is_for_what_its_glob_fits(pattern: str, covers: bool) -> None:
    """The globs of --only, over names in normal form."""
    assert covers == Rule(name="rule 1", patterns=(pattern,)).covers(forms(PROD))


def test_a_rule_without_globs_is_for_all() -> None:
    """Also for a destination with a digest and no tag."""
    digest = Reference.parse(f"other.example/x@sha256:{'a' * 64}")
    assert Rule(name="rule 1").covers(forms(digest))


def test_one_of_several_globs_is_enough() -> None:
    """A rule may be for two places."""
    rule = Rule(name="rule 1", patterns=("other.example/**", "registry.example/**"))
    assert rule.covers(forms(PROD))


def test_a_destination_with_tag_and_digest_is_met_by_its_tag() -> None:
    """It is the same destination as without the digest."""
    pinned = Reference.parse(f"registry.example/prod/app:v1@sha256:{'a' * 64}")
    assert Rule(name="rule 1", patterns=("*/prod/*:v1",)).covers(forms(pinned))


def test_a_hostile_glob_is_linear() -> None:
    """Sixty stars over a long name that almost fits: a matcher that goes back over them all would never end."""
    name = Reference.parse(f"registry.example/{'a' * 200}:b")
    rule = Rule(name="rule 1", patterns=(f"{'*a' * 60}*c",))
    assert not rule.covers(forms(name))


def test_a_registry_that_may_be_written_is_no_violation() -> None:
    """Its name is in normal form, with its port."""
    rule = Rule(name="rule 1", only_registries=(Registry("registry.example"),))
    assert () == Rules((rule,)).of_name(PROD)


def test_a_registry_that_may_not_be_written() -> None:
    """The violation names rule, demand, destination and tag."""
    rule = Rule(name='rule "ours"', only_registries=(Registry("a.example"), Registry("b.example:5000")))
    expected = Violation(
        'rule "ours"',
        'only-registries = ["a.example", "b.example:5000"]',
        PROD,
        "would be written to registry.example",
        "tag",
        "v1",
    )
    assert (expected,) == Rules((rule,)).of_name(PROD)


def test_rules_add_up() -> None:
    """A later rule that allows a registry does not take back an earlier one that does not."""
    strict = Rule(name="rule 1", only_registries=(Registry("a.example"),))
    lax = Rule(name="rule 2", only_registries=(Registry("registry.example"),))
    assert ["rule 1"] == [each.rule for each in Rules((strict, lax)).of_name(PROD)]


def test_a_violation_reads_as_a_sentence() -> None:
    """Destination, rule, demand, node, what was found."""
    violation = Violation('rule "x"', "may-move = false", PROD, "names a and would name b", "tag", "v1")
    assert (
        'registry.example/prod/app:v1: rule "x" (may-move = false): tag v1 names a and would name b'
        == str(violation)
    )


@pytest.mark.parametrize(
    ("kind", "name", "node"),
    [
        ("tag", "v1", "tag registry.example/prod/app:v1"),
        ("blob", "sha256:ab", "blob registry.example/prod/app@sha256:ab"),
        ("", "", None),
    ],
)
def test_a_node_has_the_id_of_the_graph(kind: str, name: str, node: str | None) -> None:
    """So that a view can link it."""
    assert node == Violation("rule 1", "x = true", PROD, "is so", kind, name).node


def test_idle_rules_are_those_for_nothing() -> None:
    """One without a glob never is."""
    rules = Rules(
        (
            Rule(name="rule 1"),
            Rule(name="rule 2", patterns=("*/prod/*",)),
            Rule(name="rule 3", patterns=("x",)),
        )
    )
    found = [[rule.name for rule in rules.idle(destinations)] for destinations in ([PROD], [])]
    assert [["rule 3"], ["rule 2", "rule 3"]] == found


def test_losses_are_asked_for_where_they_count() -> None:
    """Only at destinations of a rule that minds them."""
    rules = Rules((Rule(name="rule 1", patterns=("*/prod/*",), may_lose_platforms=False),))
    asked = [rules.asks_for_losses(each) for each in (PROD, Reference.parse("registry.example/test:v1"))]
    assert [True, False] == asked


def test_no_rules_are_false() -> None:
    """So that nothing is done for them."""
    assert (False, True) == (bool(NONE), bool(Rules((Rule(name="rule 1"),))))


def test_long_lists_are_cut() -> None:
    """In demands as in sentences."""
    assert ('["0", "1", "2", "3", "4", …]', "0, 1, 2, 3, 4 and 2 more") == (
        array(range(7)),
        enumerated(range(7)),
    )
