"""Progress as lines in a log, under a clock that stands still."""

from __future__ import annotations

import asyncio
import io

import pytest
from msgspec.structs import replace

from mmgraph.events import Draining, Finished, Notice, Outcome, Read, Retried, Surprise
from mmgraph.names import Registry, Repository
from mmgraph.plan import Plan, Result
from mmgraph.report.lines import Lines
from mmgraph.rules import Violation
from tests.golden.example import HOSTILE, digest_of, example
from tests.support.clock import ManualClock

PLACE = Repository.parse("mirror.example.com/library/app")


@pytest.fixture
def plan() -> Plan:
    """Plan the example."""
    return example()


@pytest.fixture
def stream() -> io.StringIO:
    """Catch the lines."""
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO, clock: ManualClock) -> Lines:
    """Begin at second 0 of the clock."""
    return Lines(stream, clock)


def written(stream: io.StringIO) -> list[str]:
    """Return the lines so far and forget them."""
    text = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    return text.splitlines()


def test_a_finished_tag_is_a_line(stream: io.StringIO, lines: Lines, plan: Plan) -> None:
    """Tags that are written and those that fail have a line each; what is unchanged has none."""
    unchanged, created, moved, *_ = (goal.spec.destination for goal in plan.goals)
    lines.begin(plan)
    lines(Finished(unchanged, None, Outcome.UNCHANGED))
    lines(Finished(created, None, Outcome.COPIED))
    lines(Finished(moved, None, Outcome.FAILED, "500 Internal Server Error"))
    assert written(stream) == [
        "5 tags to write, 1 that cannot be planned, 101.3 MiB to send",
        "+ mirror.example.com/library/app:1.1",
        "! mirror.example.com/library/app:latest failed: 500 Internal Server Error",
    ]


async def test_totals_come_every_ten_seconds_and_later_every_sixty(
    stream: io.StringIO, lines: Lines, plan: Plan, clock: ManualClock
) -> None:
    """The log shows that the run lives, also where nothing happens, and does not grow long over hours."""
    lines.begin(plan)
    running = asyncio.create_task(lines.run())
    written(stream)
    await clock.advance(299.0)
    early = written(stream)
    await clock.advance(601.0)
    late = written(stream)
    running.cancel()
    assert (29, 10) == (len(early), len(late))
    assert "[10 s] 0 of 6 tags, 0 B of 101.3 MiB (0 %), 0 B/s, ? left" == early[0]


async def test_reading_is_told(stream: io.StringIO, lines: Lines, clock: ManualClock) -> None:
    """Before there is a plan, the totals say how far reading has come."""
    lines(Read(120, 500))
    running = asyncio.create_task(lines.run())
    await clock.advance(10.0)
    running.cancel()
    assert ["[10 s] reading 120 of 500 specs"] == written(stream)


async def test_totals_come_also_where_only_events_drive_them(
    stream: io.StringIO, lines: Lines, clock: ManualClock
) -> None:
    """An event that comes late shows the totals itself."""
    await clock.advance(11.0)
    lines(Read(1, 2))
    assert ["[11 s] reading 1 of 2 specs"] == written(stream)


async def test_one_kind_of_retry_is_one_line_between_totals(
    stream: io.StringIO, lines: Lines, clock: ManualClock
) -> None:
    """A registry that is down for a thousand blobs gets one line and a count, and again after the totals."""
    for number in range(1000):
        cause = f"PUT https://mirror.example.com/v2/{digest_of(str(number))}: 503 after {number} bytes"
        lines(Retried(PLACE, digest_of(str(number)), cause, 2.0))
    assert 1 == len(written(stream))
    await clock.advance(10.0)
    lines(Read(1, 2))
    assert ["and 999 retries more like these", "[10 s] reading 1 of 2 specs"] == written(stream)
    lines(Retried(PLACE, "x", "PUT https://mirror.example.com/v2/x: 503", 2.0))
    assert 1 == len(written(stream))


def test_many_kinds_of_surprises_are_a_few_lines(stream: io.StringIO, lines: Lines) -> None:
    """Causes that are all different do not flood the log either, and are counted at the end."""
    with lines:
        for word in "abcdefgh":
            lines(Surprise(PLACE, "x", word))
    assert [f"surprise: {PLACE} x: {word}" for word in "abcde"] + [
        "and 3 surprises more like these"
    ] == written(stream)


def test_draining_and_notices_are_told(stream: io.StringIO, lines: Lines) -> None:
    """What a person should know has a line."""
    lines(Notice(Registry("mirror.example.com"), "is slow"))
    lines(Draining(2, 25.0))
    assert written(stream) == [
        "notice: mirror.example.com: is slow",
        "stopping: nothing new is started, and what runs may take 25 s; interrupt again to stop at once",
    ]


def test_hostile_text_stays_text(stream: io.StringIO, lines: Lines, plan: Plan) -> None:
    """No event can write a second line or a control."""
    lines(Finished(plan.goals[1].spec.destination, None, Outcome.FAILED, HOSTILE))
    lines(Retried(PLACE, HOSTILE, HOSTILE, 1.0))
    lines(Surprise(PLACE, HOSTILE, HOSTILE))
    lines(Notice(None, HOSTILE))
    shown = written(stream)
    assert (4, True) == (len(shown), all(line.isprintable() for line in shown))


def test_colour_marks_the_outcome(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """A failure is red where colours are shown."""
    Lines(stream, clock, colour=True)(Finished(plan.goals[1].spec.destination, None, Outcome.FAILED, "x"))
    assert stream.getvalue().startswith("\x1b[31m!\x1b[0m ")


class Gone(io.StringIO):
    """A stream whose reader has left."""

    tries = 0

    def write(self, text: str) -> int:
        """Fail as a pipe does."""
        self.tries += 1
        raise BrokenPipeError


def test_what_is_stopped_has_no_line(stream: io.StringIO, lines: Lines, plan: Plan) -> None:
    """After an interrupt that would be a line for every spec that is left; the summary counts them."""
    lines(Finished(plan.goals[1].spec.destination, None, Outcome.STOPPED, "the run was stopped before it"))
    assert [] == written(stream)


def test_a_reader_who_leaves_stops_nothing(clock: ManualClock, plan: Plan) -> None:
    """A reporter does not raise: the copy goes on where nobody reads its log."""
    stream = Gone()
    lines = Lines(stream, clock)
    lines(Finished(plan.goals[1].spec.destination, None, Outcome.COPIED))
    lines(Finished(plan.goals[1].spec.destination, None, Outcome.COPIED))
    assert 1 == stream.tries


def test_ten_different_notices_are_told(stream: io.StringIO, lines: Lines) -> None:
    """Also where other kinds have used up theirs, and where they differ in a number; the same one is told once."""
    with lines:
        for word in "abcde":
            lines(Surprise(PLACE, "x", word))
        for number in (*range(12), 1):
            lines(Notice(None, f"notice {number}"))
    expected = [f"notice: notice {number}" for number in range(10)]
    assert [*expected, "and 3 notices more like these"] == written(stream)[5:]


def test_what_is_still_read_may_not_be_written(stream: io.StringIO, lines: Lines, plan: Plan) -> None:
    """So its count is a limit, and what a rule forbids by now is told apart."""
    goals = [goal for goal in plan.goals if goal.result is Result.FAILED]
    broken = [Violation("rule 1", "may-move = false", goal.spec.destination, "it moves") for goal in goals]
    lines.begin(replace(plan, violations=broken), 3)
    assert ["up to 8 tags to write, 1 that a rule forbids"] == written(stream)
