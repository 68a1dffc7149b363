"""Specs written back as specs."""

from __future__ import annotations

from mmgraph.plan import Plan, Result
from mmgraph.report.spec_lines import pinned_lines, spec_lines
from mmgraph.specs import CopySpec, read_specs
from tests.golden import expected
from tests.golden.example import example


def read(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """What the lines say when they are read again."""
    return [plain(spec) for spec in read_specs([("lines", text.encode())])]


def plain(spec: CopySpec) -> tuple[str, str, tuple[str, ...]]:
    """A spec without its origin."""
    return str(spec.source), str(spec.destination), tuple(map(str, spec.platforms))


def test_specs_come_back_as_they_were() -> None:
    """What is written is read as the same specs, in the same order."""
    specs = [goal.spec for goal in example().goals]
    assert [plain(spec) for spec in specs] == read(spec_lines(specs))


def test_the_lock_reads_as_it_shall() -> None:
    """Each source with its tag and the digest it names now."""
    text = pinned_lines(example())
    assert expected("plan.specs.json", text) == text


def test_a_pin_keeps_everything_but_the_source() -> None:
    """Destinations and platforms of a pinned set are those of the set, failed specs included."""
    plan: Plan = example()
    kept = [plain(goal.spec)[1:] for goal in plan.goals]
    assert kept == [line[1:] for line in read(pinned_lines(plan))]


def test_every_source_that_was_read_is_pinned() -> None:
    """A spec that was planned names its digest, one that failed does not."""
    plan = example()
    planned = [goal.result is not Result.FAILED for goal in plan.goals]
    assert planned == ["@sha256:" in source for source, _, _ in read(pinned_lines(plan))]
