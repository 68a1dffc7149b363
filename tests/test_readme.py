"""The README says what this version does: every console block is run, in order, and prints what stands there."""

from pathlib import Path

from tests.support.readme import README, Tour, comparable, steps


def test_every_console_block_prints_what_stands_below_it(tmp_path: Path) -> None:
    """Run top to bottom in one directory, the README's commands give the README's output."""
    blocks = steps(README.read_text())
    with Tour(tmp_path) as tour:
        actual = [[(step.command, comparable(tour.run(step.command))) for step in block] for block in blocks]
    assert [[(step.command, comparable(step.output)) for step in block] for block in blocks] == actual


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Pictures and pages that the README points at are there."""
    import re

    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert [] == [link for link in links if not (README.parent / link).exists()]
