"""Progress on a terminal, under a clock that stands still."""

from __future__ import annotations

import asyncio
import io
import re

import pytest

from mmgraph.events import Draining, Ended, Finished, Moved, Notice, Outcome, Read, Retried, Started, Surprise
from mmgraph.names import Digest, Repository
from mmgraph.plan import Plan
from mmgraph.report.progress import Progress
from tests.golden.example import HOSTILE, MIB, digest_of, example
from tests.support.clock import ManualClock

PLACE = Repository.parse("mirror.example.com/library/app")
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.fixture
def stream() -> io.StringIO:
    """Be the terminal."""
    return io.StringIO()


@pytest.fixture
def plan() -> Plan:
    """Plan the example."""
    return example()


async def frame(progress: Progress, stream: io.StringIO, clock: ManualClock) -> list[str]:
    """Return the next picture that is painted, as lines without controls."""
    stream.seek(0)
    stream.truncate()
    running = asyncio.create_task(progress.run())
    await clock.settle()
    running.cancel()
    return [line.rstrip() for line in CONTROLS.sub("", stream.getvalue()).splitlines() if line.strip()]


def start(progress: Progress, count: int) -> list[Digest]:
    """Start ``count`` transfers of 4 MiB."""
    digests = [digest_of(f"blob {number}") for number in range(count)]
    for digest in digests:
        progress(Started(digest, 4 * MIB, (PLACE,)))
    return digests


async def test_reading_is_shown(stream: io.StringIO, clock: ManualClock) -> None:
    """Before there is a plan, the line says how far reading has come."""
    with Progress(stream, clock, width=100) as progress:
        progress(Read(120, 500))
        assert ["[0.0 s] reading 120 of 500 specs"] == await frame(progress, stream, clock)


async def test_a_blob_has_a_bar_a_size_and_a_rate(
    stream: io.StringIO, clock: ManualClock, plan: Plan
) -> None:
    """A running transfer shows how much of it has been sent, and how fast; below are the totals."""
    with Progress(stream, clock, width=100) as progress:
        progress.begin(plan)
        (digest,) = start(progress, 1)
        await clock.advance(2.0)
        progress(Moved(digest, MIB, MIB))
        bar = "━" * 6 + "─" * 18
        assert await frame(progress, stream, clock) == [
            f"{digest.short}  {bar}     1.0 MiB of 4.0 MiB     512.0 KiB/s",
            "[2.0 s] 0 of 6 tags, 1.0 MiB of 101.3 MiB (0 %), 512.0 KiB/s, 3 min 21 s left",
        ]


async def test_at_most_eight_blobs_are_shown(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """A terminal is small: the rest is a count."""
    with Progress(stream, clock, width=100) as progress:
        progress.begin(plan)
        start(progress, 20)
        lines = await frame(progress, stream, clock)
        assert (8, "and 12 more blobs") == (sum("━" in line or "─" in line for line in lines), lines[8])


async def test_small_blobs_are_one_line(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """They are read whole before they are sent, so that their bars would stand still and jump."""
    with Progress(stream, clock, width=100) as progress:
        progress.begin(plan)
        start(progress, 1)
        for number in range(3):
            progress(Started(digest_of(f"small {number}"), MIB, (PLACE,)))
        lines = await frame(progress, stream, clock)
        assert (3, "3 small blobs, 3.0 MiB") == (len(lines), lines[1])


async def test_a_narrow_terminal_shows_the_numbers(
    stream: io.StringIO, clock: ManualClock, plan: Plan
) -> None:
    """The bar gives way before size and rate do, and the totals go on in a second line."""
    with Progress(stream, clock, width=60) as progress:
        progress.begin(plan)
        (digest,) = start(progress, 1)
        await clock.advance(2.0)
        progress(Moved(digest, MIB, MIB))
        assert await frame(progress, stream, clock) == [
            f"{digest.short}     1.0 MiB of 4.0 MiB     512.0 KiB/s",
            "[2.0 s] 0 of 6 tags, 1.0 MiB of 101.3 MiB (0 %),",
            "  512.0 KiB/s, 3 min 21 s left",
        ]


async def test_no_line_of_totals_is_full(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """A terminal writes "^C" behind the last one, and must not need a new line for it."""
    for width in range(50, 90):
        with Progress(stream, clock, width=width) as progress:
            progress.begin(plan)
            progress(Draining(2, 25.0))
            assert max(map(len, await frame(progress, stream, clock))) <= width - 2


async def test_what_is_said_is_broken_between_words(stream: io.StringIO, clock: ManualClock) -> None:
    """At the width of the terminal."""
    with Progress(stream, clock, colour=False, width=40) as progress:
        progress(Draining(2, 25.0))
    lines = [line.rstrip() for line in CONTROLS.sub("", stream.getvalue()).splitlines() if line.strip()]
    assert ["stopping: nothing new is started, and", "  what runs may take 25 s; interrupt"] == lines[:2]


async def test_an_ended_blob_goes(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """Only what runs is shown."""
    with Progress(stream, clock, width=100) as progress:
        progress.begin(plan)
        for digest in start(progress, 2):
            progress(Ended(digest))
        assert 1 == len(await frame(progress, stream, clock))


async def test_failures_are_printed_as_they_happen(
    stream: io.StringIO, clock: ManualClock, plan: Plan
) -> None:
    """A failure stays above the picture, and hostile words in it stay words."""
    with Progress(stream, clock, colour=False, width=100) as progress:
        progress.begin(plan)
        progress(Finished(plan.goals[1].spec.destination, None, Outcome.FAILED, HOSTILE))
    shown = CONTROLS.sub("", stream.getvalue())
    assert "! mirror.example.com/library/app:1.1 failed: denied: \\x1b[31m" in shown
    assert "\u202e" not in shown


async def test_retries_and_surprises_are_counted(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """What goes another way is a number in the totals, not a line each."""
    with Progress(stream, clock, width=120) as progress:
        progress.begin(plan)
        for _ in range(3):
            progress(Retried(PLACE, "x", "503", 1.0))
        progress(Surprise(PLACE, "x", "the mount was not granted"))
        assert (await frame(progress, stream, clock))[-1].endswith(", 3 retries, 1 surprise")


async def test_draining_is_said(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """After the first interrupt the picture says what is waited for."""
    with Progress(stream, clock, width=140) as progress:
        progress.begin(plan)
        start(progress, 2)
        progress(Draining(2, 25.0))
        assert (await frame(progress, stream, clock))[-1].endswith("stopping: 2 transfers to end")


async def test_events_do_not_paint(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """Ten thousand events between two pictures write nothing."""
    with Progress(stream, clock, width=100) as progress:
        progress.begin(plan)
        (digest,) = start(progress, 1)
        before = stream.tell()
        for _ in range(10_000):
            progress(Moved(digest, 1, 1))
        assert before == stream.tell()


async def test_it_paints_at_most_ten_times_a_second(
    stream: io.StringIO, clock: ManualClock, plan: Plan
) -> None:
    """The picture is painted by the clock alone."""
    with Progress(stream, clock, width=100) as progress:
        progress.begin(plan)
        running = asyncio.create_task(progress.run())
        await clock.advance(1.0)
        running.cancel()
    assert 9 == len(clock.slept)


async def test_leaving_takes_the_picture_away(stream: io.StringIO, clock: ManualClock, plan: Plan) -> None:
    """What stays is what was printed above, and the cursor is shown again."""
    with Progress(stream, clock, width=100) as progress:
        progress(Notice(None, "mind the gap"))
    assert "notice: mind the gap" in stream.getvalue()
    assert stream.getvalue().rpartition("\x1b[?25l")[2].count("\x1b[?25h") == 1


class Gone(io.StringIO):
    """A terminal that was closed."""

    def __init__(self, error: OSError, after: int) -> None:
        super().__init__()
        self.error = error
        self.after = after
        self.failures = 0

    def write(self, text: str) -> int:
        """Fail as a hung-up terminal does, after so many writes."""
        self.after -= 1
        if self.after >= 0:
            return super().write(text)
        self.failures += 1
        raise self.error


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), BrokenPipeError(32, "Broken pipe")])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_terminal_that_is_gone_stops_nothing(
    clock: ManualClock, plan: Plan, error: OSError, after: int
) -> None:
    """A reporter does not raise: the copy goes on where nobody looks."""
    stream = Gone(error, after)
    with Progress(stream, clock, width=100) as progress:
        progress.begin(plan)
        progress(Notice(None, "x"))
        progress(Notice(None, "y"))
        await asyncio.wait_for(progress.run(), 60)
        failures = stream.failures
    assert 1 == failures


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("GET x: 404; what may be read there is asked for. And more.", "GET x: 404"),
        ("there is no such tag. Look for it elsewhere", "there is no such tag"),
        ("x" * 200, f"{'x' * 80}…"),
    ],
)
async def test_a_failure_is_told_in_short(
    cause: str, told: str, stream: io.StringIO, clock: ManualClock, plan: Plan
) -> None:
    """The summary has the whole cause."""
    with Progress(stream, clock, width=200) as progress:
        progress(Finished(plan.goals[1].spec.destination, None, Outcome.FAILED, cause))
    shown = CONTROLS.sub("", stream.getvalue())
    assert f"! mirror.example.com/library/app:1.1 failed: {told}\n" in shown, shown
