"""What an offline plan rests on, in sentences that are whole."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mmgraph.memory import Basis
from mmgraph.report.offline import offline_lines
from tests.golden.example import HOSTILE, example


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a:1",), "Not known: what a:1 names."),
        (("a:1", "b:1"), "Not known: what each of 2 names stands for: a:1, b:1."),
        (
            ("a:1", "b:1", "c:1", "d:1"),
            "Not known: what each of 4 names stands for: a:1, b:1, c:1 and 1 other.",
        ),
    ],
)
def test_names_that_stand_for_nothing_known(names: tuple[str, ...], told: str) -> None:
    """One by itself, a few of many with the number of the rest."""
    assert [told] == offline_lines(replace(example(), offline=Basis({}, names, (), 0)))[1:]


def test_names_do_not_steer_the_terminal() -> None:
    """Whatever stands in them is escaped, be it one or several."""
    plans = [replace(example(), offline=Basis({}, (HOSTILE,) * count, (), 0)) for count in (1, 2)]
    assert [True, True] == ["".join(offline_lines(plan)).isprintable() for plan in plans]
