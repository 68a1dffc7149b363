"""Evidence in sentences: a sentence for each reason, and what is known of nodes that stand for all kinds of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mmgraph.explain import Explainer
from mmgraph.graph import Kind
from mmgraph.lookup import Subject
from mmgraph.memory import Basis
from mmgraph.names import Repository
from mmgraph.plan import Action, Plan, Planner
from mmgraph.reasons import Why, say
from tests.golden.example import digest_of, example
from tests.support.making import Bench, digest, manifest
from tests.test_explain import explained
from tests.test_reasons import PLACES


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("app:1.0", "The tag was looked at (HEAD), and names sha256:efeb49bce50e4f063a76"),
        (
            "library/app:1.1",
            "The tag was looked at (HEAD): there is none of that name. It shall name sha256:c4fb",
        ),
        ("app:latest", "f063a767d8896d61322457f6f7f610aaaf3008f83a8fabb9a70. It shall name sha256:c4fbebf9"),
        ("gone:1", "It cannot be planned, so it is not in the graph."),
        ("library/app@efeb49bce5", "It is there: 1.0 of library/app names it (HEAD)."),
        (
            f"library/app@{digest_of('base linux/amd64')}",
            (
                "It is taken to be there: 1.0 of library/app names sha256:efeb49bce50e (HEAD), which lists it;"
                " mmgraph verify asks."
            ),
        ),
        (
            f"team/tool@{digest_of('base linux/amd64')}",
            "team/tool is not known to hold it, and mirror.example.com/library/app is: 1.0 of library/app names",
        ),
        (
            f"team/tool@{digest_of('base linux/arm64')}",
            "Nobody at mirror.example.com is known to hold it. It lands in mirror.example.com/library/app first.",
        ),
        (
            f"team/tool@{digest_of('certificates')}",
            "mirror.example.com/lib/base was found to hold it when the plan was made, and team/tool was not.",
        ),
        (
            f"library/app@{digest_of('base linux/arm64')}",
            "it was not asked for; the registry says so when it is sent. No other repository of mirror.example.com is",
        ),
        (
            f"backup.example.com:5000/app@{digest_of('base linux/arm64')}",
            "It is not there: the list of tags of app answers 404, so the repository is taken to hold nothing.",
        ),
    ],
)
def test_the_evidence_is_a_sentence(plan: Plan, name: str, evidence: str) -> None:
    """Where what is known of a node comes from is said in words that stand alone."""
    assert evidence in explained(plan, name).evidence


@pytest.mark.parametrize(
    ("reason", "evidence"),
    [
        ("found by HEAD", "It is there: the registry was asked for it (HEAD) in a, and has it."),
        (
            "listed by sha256:123, the source",
            "It is taken to be there: a is a source of the set too, and sha256:123 there lists it;",
        ),
        (
            "listed by sha256:123, which the set names",
            "It is taken to be there: sha256:123 was found in a under its own digest",
        ),
        ("a dream", "It is taken to be there: the plan says, a dream; mmgraph verify asks."),
    ],
)
def test_other_evidence_of_what_is_there(reason: str, evidence: str) -> None:
    """By what was asked, by a source, and by what is no planner's word."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    bench.evidence.hold(bench.images[0].spec.destination.repository, digest("layer"), reason)
    assert explained(bench.plan(), digest("layer")).evidence.startswith(evidence)


def test_what_was_asked_for_and_is_not_there() -> None:
    """The registry's own no."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    bench.evidence.lack(bench.images[0].spec.destination.repository, digest("layer"))
    expected = "It is not there: the registry was asked for it (HEAD) in a and said so."
    assert explained(bench.plan(), digest("layer")).evidence.startswith(expected)


def test_a_manifest_without_its_parts() -> None:
    """It was listed, and yet is put again."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image, now=image)
    bench.evidence.hold(bench.images[0].spec.destination.repository, image.digest, "found by HEAD")
    plan = bench.plan()
    found = [explained(plan, image.digest).evidence, explained(plan, "a:1").evidence]
    assert [
        "Something lists it there, but parts of it are missing, so the registry cannot have it whole.",
        f"The tag was looked at (HEAD), and names {image.digest}, parts of which are missing.",
    ] == found


def test_an_unchanged_destination_that_was_not_read() -> None:
    """A digest that is there needs no node, and there is something to say of it."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want(f"a@{image.digest}", f"a@{image.digest}", image)
    planner = Planner(bench.evidence, bench.documents)
    planner.add(bench.images[0], closure=False)
    expected = "It was found there under its own digest (HEAD), and what it consists of was not read."
    assert expected == explained(planner.finish(), str(bench.images[0].spec.destination)).evidence


def evidence_of(kind: Kind, action: Action, why: Why, *, offline: bool) -> str:
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
    sentences = [evidence_of(kind, action, why, offline=offline) for why in reasons]
    lies = ("the plan says", "HEAD") if offline else ("the plan says",)
    wrong = [each for each in sentences if any(lie.lower() in each.lower() for lie in lies)]
    assert (len(set(sentences)), []) == (len(sentences), wrong)
