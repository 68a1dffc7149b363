"""The tags and blobs that cost most, as people read them."""

from __future__ import annotations

from mmgraph.closure import Image
from mmgraph.evidence import Evidence
from mmgraph.plan import Planner
from mmgraph.ranking import rank
from mmgraph.report.text import plan_line, plan_text
from tests.golden import expected
from tests.golden.example import Pool, example, spec


def test_a_ranking_reads_as_it_shall() -> None:
    """In the place of the tags, below what failed and above the bill; UPDATE_GOLDEN=1 rewrites the file."""
    plan = example()
    text = plan_text(plan, width=80, ranking=rank(plan, 3))
    assert expected("ranking.txt", text) == text


def test_lines_fit_into_the_terminal() -> None:
    """All but those with a digest, and the last, whose form does not change."""
    plan = example()
    lines = plan_text(plan, width=80, ranking=rank(plan, 50)).splitlines()[:-1]
    assert [] == [line for line in lines if len(line) > 80 and "sha256:" not in line]


def test_hostile_text_stays_text() -> None:
    """Of what failed; names of tags and blobs have a grammar."""
    plan = example()
    text = plan_text(plan, ranking=rank(plan, 50))
    assert [] == [line for line in text.splitlines() if not line.isprintable()]


def test_columns_have_names_and_these_are_explained() -> None:
    """What a name means, and that what is shared counts at each tag, stands above the columns."""
    plan = example()
    lines = plan_text(plan, width=10_000, ranking=rank(plan, 3)).splitlines()
    place = lines.index("     alone     moves  tag")
    assert ("can add up to more than is sent.", True) == (lines[place - 1][-32:], "      sent  blob" in lines)


def test_where_nothing_moves_that_is_said() -> None:
    """Above the bill of it."""
    plan = example(unchanged=True)
    lines = plan_text(plan, width=10_000, ranking=rank(plan, 3)).splitlines()
    assert ("No bytes move.", plan_line(plan)) == (lines[0], lines[-1])


def test_of_the_many_that_need_a_blob_three_are_named() -> None:
    """The others are counted."""
    pool = Pool()
    planner = Planner(Evidence(), pool.documents)
    for number in range(8):
        root = pool.manifest((f"config {number}", 1), ("base", 1000))
        planner.add(Image(spec(f"a/b:{number}", f"c.example/d:{number}"), root, root))
    plan = planner.finish()
    named = "          8 tags: c.example/d:0, c.example/d:1, c.example/d:2 and 5 more"
    assert named in plan_text(plan, ranking=rank(plan, 1)).splitlines()
