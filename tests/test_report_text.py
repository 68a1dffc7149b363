"""The plan as people read it."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from msgspec.structs import replace

from mmgraph.closure import Image, Unread
from mmgraph.evidence import Evidence, Look
from mmgraph.names import Registry, Repository
from mmgraph.plan import Plan, Planner
from mmgraph.report.outline import outline
from mmgraph.report.text import plan_line, plan_text
from tests.golden import expected
from tests.golden.example import HOSTILE, MIB, Pool, example, hold, spec

SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


MISSING = tuple(Repository(Registry(f"{host}.example"), f"team/app{n}") for host in "rs" for n in range(5))


@pytest.mark.parametrize(
    ("count", "creators", "unfold", "expected"),
    [
        (
            1,
            {},
            False,
            [
                "1 repository to create:",
                "  r.example/team/app0",
                "  each must be there before apply: create-repository in mmgraph.toml names a program that",
                "  creates it, --missing-repositories FILE writes the list",
            ],
        ),
        (
            10,
            {"r.example": "aws"},
            False,
            [
                "10 repositories to create:",
                *(f"  r.example/team/app{n}" for n in range(5)),
                *(f"  s.example/team/app{n}" for n in range(3)),
                "  and 2 more",
                "  at r.example apply runs aws for each, before its first upload",
                "  at s.example each must be there before apply: create-repository in mmgraph.toml names a",
                "  program that creates it, --missing-repositories FILE writes the list",
            ],
        ),
        (
            10,
            {"r.example": "aws", "s.example": "aws\x1b"},
            True,
            [
                "10 repositories to create:",
                *map("  {}".format, MISSING),
                "  at r.example apply runs aws for each, before its first upload",
                "  at s.example apply runs aws\\x1b for each, before its first upload",
            ],
        ),
    ],
)
def test_repositories_to_create_come_first(
    plan: Plan, count: int, creators: dict[str, str], unfold: bool, expected: list[str]
) -> None:
    """With who creates them, since without them nothing of the rest can be done."""
    who = {Registry(name): program for name, program in creators.items()}
    text = plan_text(replace(plan, missing=MISSING[:count]), unfold=unfold, creators=who, width=90)
    assert expected == text.partition("\n\n")[0].splitlines()


def test_the_plan_reads_as_it_shall(plan: Plan) -> None:
    """Failures first, then each repository's tags with what they add, then the bill, within 80 columns."""
    text = plan_text(plan, width=80)
    assert expected("plan.txt", text) == text


def test_the_unfolded_plan_reads_as_it_shall(plan: Plan) -> None:
    """Every manifest and blob stands there with digest, size, action and reason."""
    text = plan_text(plan, unfold=True)
    assert expected("plan_unfolded.txt", text) == text


def test_nothing_to_do_is_said() -> None:
    """A plan without changes says so, names what lacks platforms, and has a bill."""
    text = plan_text(example(unchanged=True))
    assert expected("plan_unchanged.txt", text) == text


def test_lines_fit_into_the_terminal(plan: Plan) -> None:
    """All lines but the bill, whose form does not change, are within the width."""
    lines = plan_text(plan, width=80).splitlines()[:-1]
    assert [] == [line for line in lines if len(line) > 80]


def test_colours_change_nothing_but_the_colour(plan: Plan) -> None:
    """Without the colour codes, the coloured text is the plain one."""
    assert plan_text(plan, width=80) == SGR.sub("", plan_text(plan, colour=True, width=80))


@pytest.mark.parametrize("unfold", [False, True])
def test_hostile_text_stays_text(plan: Plan, unfold: bool) -> None:
    """Nothing in a registry's words reaches the terminal as a control or a CI runner as a command."""
    text = plan_text(plan, unfold=unfold)
    assert [] == [line for line in text.splitlines() if not line.isprintable()]
    assert HOSTILE not in text
    assert not re.search(r"^\s*::|##vso\[", text, re.MULTILINE)


def test_hostile_platforms_stay_text() -> None:
    """A platform is a registry's word too."""
    pool = Pool()
    image = pool.manifest(("config", 1), ("layer", MIB))
    root = pool.index([(image, "linux\x1b[2J/amd64\u202e\n::error::x")])
    planner = Planner(Evidence(), pool.documents)
    planner.add(Image(spec("a/b", "c.example/d"), root, root))
    text = plan_text(planner.finish())
    assert [] == [line for line in text.splitlines() if not line.isprintable()]


def test_the_last_line_has_the_numbers_of_the_bill(plan: Plan) -> None:
    """The form of the last line is a promise to those who cut it out of a log."""
    line = (
        "Plan: 4 to copy, 1 to move, 1 unchanged, 1 failed. 66.2 MiB to read, 101.3 MiB to send; deduplication"
        " saves 103.1 MiB (50 %): 40.1 MiB shared, 63.0 MiB mounted. Already there: 122.1 MiB of 326.6 MiB."
    )
    assert line == plan_line(plan)
    assert line == plan_text(plan).splitlines()[-1]


def test_what_stands_under_the_tags_sums_up_to_the_bill(plan: Plan) -> None:
    """Every uploaded, mounted and shared byte of the bill stands under exactly one tag."""
    sums: Counter[str] = Counter()
    for section in outline(plan):
        for entry in section.entries:
            for item in entry.items:
                for part in item.parts:
                    sums[part.use] += part.size
    bill = plan.bill
    assert (bill.uploaded, bill.mounted, bill.shared) == (sums["upload"], sums["mount"], sums["shared"])


def test_the_legend_has_only_what_is_used() -> None:
    """A plan that only creates explains no other symbol."""
    pool = Pool()
    root = pool.manifest(("config", 1))
    planner = Planner(Evidence(), pool.documents)
    planner.add(Image(spec("a/b", "c.example/d"), root, root))
    assert "+ create" == plan_text(planner.finish()).splitlines()[0]


def test_many_platforms_are_one_line() -> None:
    """A tag with more images than one reads is summed up, and its attestations too."""
    pool = Pool()
    images = [(pool.manifest((f"config {n}", 1000), (f"layer {n}", MIB)), f"linux/m{n}") for n in range(9)]
    attestations = {image: pool.manifest((f"sbom {image}", 5000)) for image, _ in images}
    root = pool.index(images, attestations)
    planner = Planner(Evidence(), pool.documents)
    planner.add(Image(spec("a/b", "c.example/d"), root, root))
    lines = plan_text(planner.finish()).splitlines()
    assert [
        "      9 images  upload 9.0 MiB in 18 blobs",
        "      9 attestations  upload 43.9 KiB in 9 blobs",
    ] == [line for line in lines if line.startswith("      ")]


def _unchanged(count: int) -> Plan:
    pool, evidence = Pool(), Evidence()
    root = pool.manifest(("config", 1))
    planner = Planner(evidence, pool.documents)
    for number in range(count):
        destination = spec("a/b", f"c.example/d{number}@{root}")
        hold(evidence, pool, str(destination.destination.repository), root, "seen")
        planner.add(Image(destination, root, root))
    planner.add(Image(spec("a/b", "c.example/new:1"), root, root))
    return planner.finish()


def test_many_unchanged_repositories_are_one_line() -> None:
    """What does not change takes no room from what does."""
    assert "= 20 unchanged in 20 more repositories" in plan_text(_unchanged(20)).splitlines()


def test_few_unchanged_repositories_are_named() -> None:
    """A repository without a change is a count."""
    assert "c.example/d0: = 1 unchanged" in plan_text(_unchanged(2)).splitlines()


def test_a_plan_that_only_failed_does_not_say_that_all_is_well() -> None:
    """Where nothing can be planned, "No changes" would be a lie."""
    planner = Planner(Evidence(), {})
    planner.fail(Unread(spec("a/b", "c.example/d:1"), "gone"))
    assert "No changes" not in plan_text(planner.finish())


def test_a_source_elsewhere_is_named_with_its_tag() -> None:
    """Where a repository is filled from several, each tag says from where it comes."""
    pool = Pool()
    root = pool.manifest(("config", 1))
    planner = Planner(Evidence(), pool.documents)
    planner.add(Image(spec("a/b:1", "c.example/d:1"), root, root))
    planner.add(Image(spec("a/e:2", "c.example/d:2"), root, root))
    lines = plan_text(planner.finish()).splitlines()
    assert "c.example/d" == lines[2]
    assert f"  + :2  {root.short}  from docker.io/a/e:2" in lines


def test_notes_stand_above_the_last_line(plan: Plan) -> None:
    """What is said beside the plan takes the last line from nobody."""
    lines = plan_text(plan, notes=["registry.example: \x1b[1m"]).splitlines()
    assert ["registry.example: \\x1b[1m", plan_line(plan)] == lines[-2:]


def test_one_cause_of_many_failures_is_told_once() -> None:
    """A registry that is down is one cause, however many specs it stops."""
    planner = Planner(Evidence(), {})
    for number in range(3):
        planner.fail(Unread(spec("a/b", f"c.example/d:{number}"), "a is down"))
    lines = plan_text(planner.finish()).splitlines()
    assert (3, 1) == (sum(" -> " in line for line in lines), lines.count("      a is down"))


def test_an_empty_set_is_called_empty() -> None:
    """\"0 tags are as they should be\" would leave one wondering."""
    assert "No changes: the set is empty." == plan_text(Planner(Evidence(), {}).finish()).splitlines()[0]


def test_many_registries_and_kinds_of_requests_are_summed_up() -> None:
    """What apply asks of each registry is a line, the most first."""
    pool = Pool()
    root = pool.manifest(("config", 1))
    planner = Planner(Evidence(), pool.documents)
    for number in range(8):
        planner.add(Image(spec("a/b", f"c{number}.example/d:1"), root, root))
    lines = plan_text(planner.finish(), width=1000).splitlines()
    assert lines[-2].startswith(
        "Requests: c0.example 5 (1 HEAD manifest, 1 POST probe, 1 POST upload, 2 other), c1"
    )
    assert lines[-2].endswith(", 4 more registries 17."), lines[-2]


def test_lost_attestations_are_one_phrase() -> None:
    """Where images stay and what attests them goes."""
    pool, evidence = Pool(), Evidence()
    images = [(pool.manifest((name, 1)), f"linux/{name}") for name in ("amd64", "arm64")]
    old = pool.index(images, {image: pool.manifest((f"sbom {image}", 5)) for image, _ in images})
    new = pool.index(images)
    planner = Planner(evidence, pool.documents)
    wanted = spec("a/b:1", "c.example/d:1")
    evidence.looks[wanted.destination.repository, "1"] = Look(old, 0.0)
    planner.add(Image(wanted, new, new))
    assert "  -attestations for linux/amd64, linux/arm64" in plan_text(planner.finish(), width=200)


def test_on_a_terminal_the_last_line_is_folded_too(plan: Plan) -> None:
    """And it says the same."""
    text = plan_text(plan, width=60, fold=True)
    folded = text[text.rindex("\nPlan: ") + 1 :]
    assert (True, plan_line(plan)) == (
        all(len(line) <= 60 for line in folded.splitlines()),
        " ".join(folded.split()),
    )


def test_the_same_plan_has_the_same_text(plan: Plan) -> None:
    """Two plans of the same set read the same."""
    assert plan_text(plan) == plan_text(example())


def test_a_repository_comes_where_it_is_first_named(plan: Plan) -> None:
    """Sections are in the order in which the specs name their repositories."""
    names = ["mirror.example.com/library/app", "mirror.example.com/team/tool", "backup.example.com:5000/app"]
    assert list(map(Repository.parse, names)) == [section.repository for section in outline(plan)]


def test_what_is_taken_at_its_word_stands_above_all(plan: Plan) -> None:
    """A registry whose certificate is not checked may be anybody: whoever reads the plan must know first."""
    text = plan_text(replace(plan, unchecked=(Registry("quay.io"),)))
    assert f"! The certificate of quay.io is not checked (--insecure).\n{plan_text(plan)}" == text
