"""Progress where nothing is rewritten: a line a finished tag, failures as they happen, totals now and then.

Owns what is worth a line and how often. Quiet in the long run, so that a log stays short: totals come every
ten seconds, after five minutes every sixty; one kind of retry or surprise gets one line in that time, and the
rest are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, Self, TextIO

from msgspec.structs import replace

from mmgraph.events import Draining, Event, Finished, Notice, Outcome, Retried, Surprise
from mmgraph.plan import Plan, Result
from mmgraph.report.totals import Totals
from mmgraph.report.words import Style, number, paint, safe, seconds, size
from mmgraph.rules import heading

if TYPE_CHECKING:
    from types import TracebackType

    from mmgraph.clock import Clock

_EARLY, _LATE, _LATE_AFTER = 10.0, 60.0, 300.0
_KINDS = 5
"""Kinds of retries and surprises that get a line of their own between two totals."""
_NOTICES = 10
"""Different notices that get one: they are few, and each tells something else."""
_SHORT = 80
_SENTENCE: Final = re.compile(r"[.;] ")
_VARIABLE: Final = re.compile(r"\b(?:sha\d+:[0-9a-f]+|\d+)\b")
MARKS: Final = {
    Outcome.COPIED: ("+", Style.CREATE),
    Outcome.MOVED: ("~", Style.MOVE),
    Outcome.REPAIRED: ("*", Style.MOVE),
    Outcome.FAILED: ("!", Style.FAILURE),
    Outcome.BLOCKED: ("!", Style.FAILURE),
}
BAD: Final = frozenset({Outcome.FAILED, Outcome.BLOCKED})
QUIET: Final = frozenset({Outcome.UNCHANGED, Outcome.STOPPED})
"""Outcomes that get no line: what is stopped is so for one reason, and the summary counts it."""


class Lines:
    """A Reporter that writes lines to ``stream``; enter it before the first event, ``run`` it meanwhile."""

    def __init__(self, stream: TextIO, clock: Clock, *, colour: bool = False) -> None:
        self._stream: TextIO | None = stream
        self._clock = clock
        self._colour = colour
        self._totals = Totals()
        self._began = self._shown = clock.now()
        self._said = ""
        self._kinds: set[str] = set()
        self._notices: set[str] = set()
        self._more: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show_more()

    def begin(self, plan: Plan, more: int = 0) -> None:
        """Take the totals from the plan, which is carried out now; ``more`` specs will enter it later."""
        self._totals.begin(plan, self._clock.now(), more)
        changes = sum(goal.changes for goal in plan.goals) + more
        # The totals count what fails too: their numbers and this line's shall agree.
        others = "".join(f", {count} {what}" for what, count in _failing(plan).items() if count)
        sends = "" if more else f", {size(self._totals.total)} to send"
        # Of what is still being read some may turn out not to be readable, or a rule may forbid it.
        limit = "up to " if more else ""
        self._write(f"{limit}{number(changes, 'tag')} to write{others}{sends}")
        self._shown = self._clock.now()

    def __call__(self, event: Event) -> None:
        """Take note of ``event``."""
        now = self._clock.now()
        self._totals.add(event, now)
        if isinstance(event, Finished):
            if event.outcome not in QUIET:
                self._write(finished_line(event, self._colour))
        elif isinstance(event, Retried):
            self._say_once("retry", event.cause, retried_line(event))
        elif isinstance(event, Surprise):
            self._say_once("surprise", event.text, surprise_line(event))
        elif isinstance(event, Notice):
            self._say_once("notice", f"{event.registry} {event.text}", notice_line(event))
        elif isinstance(event, Draining):
            self._write(draining_line(event))
        if now - self._shown >= self._interval(now):
            self._show(now)

    async def run(self) -> None:
        """Show the totals in time also where nothing happens; cancel it at the end."""
        while True:
            now = self._clock.now()
            await self._clock.sleep(max(self._shown + self._interval(now) - now, 0.1))
            now = self._clock.now()
            if now - self._shown >= self._interval(now):
                self._show(now)

    def _interval(self, now: float) -> float:
        return _EARLY if now - self._began < _LATE_AFTER else _LATE

    def _show(self, now: float) -> None:
        self._shown = now
        self._show_more()
        self._kinds.clear()
        self._notices.clear()
        self._write(f"[{seconds(now - self._began)}] {self._totals.line(now)}")

    def _show_more(self) -> None:
        if self._more:
            counts = (number(count, what, _PLURALS[what]) for what, count in sorted(self._more.items()))
            self._write(f"and {', '.join(counts)} more like these")
            self._more.clear()

    def _say_once(self, what: str, cause: str, line: str) -> None:
        """Write ``line``, unless one like it (numbers and digests aside) was, since the last totals.

        A notice is like another where it says the same.
        """
        kinds, kind, most = self._kinds, f"{what} {_VARIABLE.sub('', cause)}", _KINDS
        if what == "notice":
            kinds, kind, most = self._notices, cause, _NOTICES
        if kind in kinds or len(kinds) >= most:
            self._more[what] += 1
            return
        kinds.add(kind)
        self._write(line)

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):  # a reporter must not raise, and who read along is gone
            self._stream = None


_PLURALS: Final = {"retry": "retries", "surprise": "surprises", "notice": "notices"}


def _failing(plan: Plan) -> dict[str, int]:
    """How many specs will not be written, by why."""
    failed = [goal for goal in plan.goals if goal.result is Result.FAILED]
    forbidden = sum(bool(plan.broken_by(goal)) for goal in failed) if plan.violations else 0
    stale = sum(goal.stale for goal in failed)
    return {
        "that a rule forbids": forbidden,
        "for which the saved plan is stale": stale,
        "that cannot be planned": len(failed) - forbidden - stale,
    }


def finished_line(event: Finished, colour: bool = False) -> str:
    """``+ registry/app:v1``, with the cause where there is one; of broken rules the summary tells what was found."""
    symbol, style = MARKS.get(event.outcome, ("=", Style.FAINT))
    line = f"{paint(symbol, style, colour)} {event.destination}"
    if event.outcome in BAD:
        line += f" {event.outcome}: {safe(heading(event.cause) or event.cause)}"
    return line


def short_line(event: Finished) -> str:
    """The same with the first sentence of the cause: where the summary follows, the whole of it is there."""
    cause = heading(event.cause) or _SENTENCE.split(event.cause, maxsplit=1)[0]
    return finished_line(replace(event, cause=safe(cause, _SHORT)))


def retried_line(event: Retried) -> str:
    """What is tried again, when and why."""
    return (
        f"retry in {seconds(event.seconds)}: {event.repository} {safe(event.name, 80)}: {safe(event.cause)}"
    )


def surprise_line(event: Surprise) -> str:
    """What a registry did that the plan did not expect."""
    return f"surprise: {event.repository} {safe(event.name, 80)}: {safe(event.text)}"


def notice_line(event: Notice) -> str:
    """What a person should know."""
    return (
        f"notice: {event.registry}: {safe(event.text)}" if event.registry else f"notice: {safe(event.text)}"
    )


def draining_line(event: Draining) -> str:
    """That nothing new begins."""
    return (
        f"stopping: nothing new is started, and what runs may take {seconds(event.seconds)};"
        " interrupt again to stop at once"
    )
