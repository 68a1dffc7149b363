"""Whether a benchmark's reach is judged by what was measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from benchmarks.flow import Flow, lay_out
from benchmarks.reach import (
    BEGIN,
    END,
    Findings,
    Row,
    Three,
    at_most,
    link_seconds,
    over_the_fewest,
    publish,
    rows,
    table,
    taken,
)
from benchmarks.run import Cost, Link, Result, Round, looked_again
from tests.support.distribution import parse


def cost(wall: float, cpu: float = 1.0, destination: dict[str, int] | None = None, read: int = 100) -> Cost:
    """A run as the registries and the kernel count it."""
    return Cost(wall, cpu, 50.0, {"HEAD manifest": 10}, destination or {"PUT blob": 10}, read)


def look(repository: str, tag: str, second: int) -> str:
    """A line of the access log: a HEAD so many seconds after eight o'clock."""
    time = f"24/Nov/2026:08:{second // 60:02}:{second % 60:02} +0000"
    return f'127.0.0.1 - - [{time}] "HEAD /v2/{repository}/manifests/{tag} HTTP/1.1" 404 0 "" "x"'


def result(fleet: str, rounds: list[Round], link: Link | None = None) -> Result:
    """Rounds over a fleet of 100 bytes whose fewest requests are ten at either side."""
    truth = {"unique_bytes": 100, "tags": 1, "source": {"HEAD manifest": 10}, "destination": {"PUT blob": 10}}
    return Result("", fleet, 1, link, truth, {}, {}, [], rounds)


def verdicts(findings: Findings) -> dict[str, bool | None]:
    """The rows by their work: whether each is reached."""
    return {row.work: row.reached for row in rows(findings)}


def test_a_reach_is_judged_by_the_number_and_not_by_its_print() -> None:
    """What is over its reach by less than is printed is missed all the same."""
    assert Row("work", "at most 1.2 s", "1.20 s", False) == at_most("work", 1.2001, 1.2, "s")


def test_the_table_says_which_reach_is_missed() -> None:
    """A row that is missed and one that was not measured do not look like one that is reached."""
    expected = [
        "| work | reach | measured | |",
        "|---|---|---|---|",
        "| a | at most 1 | 1 | reached |",
        "| b | at most 1 | 2 | **missed** |",
        "| c |  | it broke | not measured |",
    ]
    reaches = [
        Row("a", "at most 1", "1", True),
        Row("b", "at most 1", "2", False),
        Row("c", "", "it broke", None),
    ]
    assert "\n".join(expected) == table(reaches)


def test_the_links_own_time_is_that_of_the_unique_bytes() -> None:
    """100 bytes take 8 seconds at 100 bit/s."""
    assert link_seconds(result("W", [], Link(40, 0.0001))) == 8.0


def test_pings_tokens_and_the_probe_are_apart_from_the_fewest_requests() -> None:
    """A tag list counts, and so does every request that is none of those three."""
    sent = {"PUT blob": 10, "GET tags": 1, "GET ping": 1, "token": 5, "POST probe": 1}
    assert over_the_fewest(cost(1.0, destination=sent), {"PUT blob": 10}) == 1.1


@pytest.mark.parametrize(("again", "expected"), [(300, 0), (329, 0), (330, 1)])
def test_a_look_counts_as_made_again_once_the_one_before_is_old(again: int, expected: int) -> None:
    """A second look at a tag sooner than after 30 seconds is none that the design asks for."""
    looks = [parse(look("app", "v1", second)) for second in (300, again)]
    assert expected == looked_again(looks)


def test_only_looks_at_one_tag_are_compared() -> None:
    """Another tag, another repository's, a digest and a write are no look at the tag again."""
    old = [look("app", "v1", 0), look("app", "sha256:ab", 0)]
    new = [look("app", "v2", 99), look("other", "v1", 99), look("app", "sha256:ab", 99)]
    written = look("app", "v1", 99).replace("HEAD", "PUT")
    assert looked_again([parse(line) for line in (*old, *new, written)]) == 0


def test_a_look_after_the_tag_was_written_is_none_before_writing() -> None:
    """However late it comes, it is no look that the age of the one before has asked for."""
    first, late = look("app", "v1", 0), look("app", "v1", 99)
    written = look("app", "v1", 40).replace("HEAD", "PUT")
    assert [1, 0] == [
        looked_again([parse(line) for line in lines]) for lines in ((first, late), (first, written, late))
    ]


def test_each_look_is_compared_with_the_one_before() -> None:
    """Three looks at one tag, 40 and then 10 seconds apart, are one that was made again for its age."""
    assert looked_again([parse(look("app", "v1", second)) for second in (0, 40, 50)]) == 1


def test_tags_looked_at_again_are_judged_and_the_other_figure_is_shown() -> None:
    """Both figures stand in the row, and the one with them is held to the reach."""
    sent = Cost(1.0, 1.0, 50.0, {}, {"HEAD manifest": 1010}, 100, again=1000)
    findings = Findings(date="", machine={}, many=result("M", [Round("mmgraph", 0, sent, cost(1.0))]))
    measured = "101.0000× the fewest (1.0000 without 1,000 tags looked at again after 30 s)"
    expected = Row("destination requests, cold, fleet M", "at most 1.02× the fewest", measured, False)
    assert expected in rows(findings)


def test_who_took_the_cores_is_told_beside_what_there_was() -> None:
    """Two cores have twice the wall's seconds, of which 15 were busy; without a link there is no relay to name."""
    used = Cost(10.0, 5.0, 50.0, {}, {}, 100, busy=0.75, source_cpu=1.0, destination_cpu=6.0, relays_cpu=2.0)
    told = [
        taken(
            msgspec.structs.replace(
                result("W", [Round("mmgraph", 0, used, None)], link), machine={"cores": 2}
            )
        )
        for link in (None, Link(40, 400))
    ]
    registries = "Fleet W, cold: the source's registry 1.0 s, the destination's 6.0 s"
    ends = "mmgraph 5.0 s, all else 1.0 s of the 20.0 core seconds."
    assert [f"{registries}, {ends}", f"{registries}, the relays 2.0 s, {ends}"] == told


def test_walls_are_compared_within_a_round() -> None:
    """A slow round of the bare loop excuses no fast one's: each round has its own ratio, and the median counts."""
    walls = {0: (1.0, 1.05), 1: (10.0, 10.5), 2: (1.0, 2.0)}
    rounds = [
        Round(tool, number, cost(pair[place]), cost(0.1) if place else None)
        for number, pair in walls.items()
        for place, tool in enumerate(("bare", "mmgraph"))
    ]
    found = verdicts(Findings(date="", machine={}, loopback=result("A", rounds)))
    assert found["fleet A on loopback, cold: wall"] is True


@pytest.mark.parametrize(("theirs", "expected"), [(0.6, True), (0.4, False)])
def test_warm_walls_are_compared_with_regsync(theirs: float, expected: bool) -> None:
    """Through the link mmgraph may take as long as regsync at the same destination, and no longer."""
    beside = {"mmgraph": [cost(0.5)], "regsync": [cost(theirs)]}
    rounds = [Round("bare", 0, cost(1.0), None), Round("mmgraph", 0, cost(1.0), cost(9.0), beside)]
    findings = Findings(date="", machine={}, link=result("W", rounds, Link(40, 400)))
    assert verdicts(findings)["the same, warm"] is expected


def test_a_byte_read_twice_anywhere_is_missed() -> None:
    """A source that sent a blob more than once to three registries fails the row for all fleets."""
    findings = Findings(date="", machine={}, three=Three(read=102, unique=100, wall=1.0))
    assert {"source bytes / unique bytes": False} == verdicts(findings)


def test_start_up_is_no_request() -> None:
    """Of a warm run's cpu and requests those of one tag alone are taken off: 4.5 ms for 18 requests are left."""
    start = Cost(0.1, 0.1955, 50.0, {"HEAD manifest": 1}, {"HEAD manifest": 1}, 0)
    rounds = [Round("mmgraph", 0, cost(1.0, cpu=0.008), cost(1.0, cpu=0.2), start=start)]
    found = verdicts(Findings(date="", machine={}, many=result("M", rounds)))
    assert (True, True) == (found["fleet M cold: cpu"], found["fleet M warm: cpu beside start-up"])


def test_memory_that_grows_is_missed() -> None:
    """Memory under its limit that grows all the time is not flat."""
    flow = Flow(32, 9.0, [50.0, 60.0, 70.0, 80.0, 90.0, 100.0], 100.0)
    found = verdicts(Findings(date="", machine={}, flow=flow))
    assert {
        "32 transfers of 10 GiB at once: peak memory": True,
        "32 transfers of 10 GiB at once: flat over time": False,
    } == found


def test_a_part_that_failed_is_a_row() -> None:
    """A benchmark that broke is told with its cause, in one line."""
    findings = Findings(date="", machine={}, failed={"scale": "RuntimeError: out of memory\nmore"})
    assert [Row("scale", "", "RuntimeError: out of memory", None)] == rows(findings)


def test_large_blobs_take_no_room(tmp_path: Path) -> None:
    """The layers of the memory test are sparse, and its manifest has the digest by which it is listed."""
    lay_out(tmp_path, 2, 10 << 30)
    home = tmp_path / "big"
    listed = json.loads((home / "index.json").read_bytes())["manifests"][0]["digest"]
    raw = (home / "blobs" / "sha256" / listed[7:]).read_bytes()
    layers = [home / "blobs" / "sha256" / layer["digest"][7:] for layer in json.loads(raw)["layers"]]
    expected = (listed, [10 << 30] * 2, True)
    sizes = [layer.stat().st_size for layer in layers]
    small = all(layer.stat().st_blocks < 100 for layer in layers)
    assert expected == (f"sha256:{hashlib.sha256(raw).hexdigest()}", sizes, small)


def test_a_page_gets_the_numbers_of_the_last_run_alone() -> None:
    """What a run before has written between the marks is replaced, and all else of the page is kept."""
    page = f"# Title\n{BEGIN}\n\nold\n\n{END}\nmore\n"
    assert f"# Title\n{BEGIN}\n\nnew\n\n{END}\nmore\n" == publish(page, "new")


def test_the_page_of_this_project_has_the_marks() -> None:
    """The numbers of a run have a place in docs/performance.md."""
    page = (Path(__file__).parents[1] / "docs" / "performance.md").read_text()
    assert (1, 1) == (page.count(BEGIN), page.count(END))
