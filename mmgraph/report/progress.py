"""Progress on a terminal, in place: the running blobs, one line of totals, and above them what failed.

Owns the picture and how often it is painted. Events only add numbers, since ten thousand of them can come
in a second; a timer paints, eight times a second.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mmgraph.events import Draining, Event, Finished, Notice, Retried, Surprise
from mmgraph.report.lines import BAD, draining_line, notice_line, short_line
from mmgraph.report.totals import Flight, Totals
from mmgraph.report.words import folded, number, seconds, size, wrapped

if TYPE_CHECKING:
    from types import TracebackType

    from mmgraph.clock import Clock
    from mmgraph.plan import Plan

_PERIOD = 0.125
"""Seconds between two pictures."""
_ROWS = 8
_BAR = 24
_NARROW = 84
"""Columns in which a row has room for a whole bar."""
_SMALL = 4 * 1024 * 1024
"""Bytes below which a blob has no row: it is read whole before it is sent, and a bar would show nothing."""
_FAILURES = 50
"""Failures that get a line of their own while others run; the summary has all of them."""


class _Console(Console):
    """rich ends the process where the reader of its output has left; what is copied must not depend on that."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "the terminal is gone")


class Progress:
    """A Reporter that paints on the terminal ``stream``; enter it before the first event and ``run`` it.

    Leaving it takes the picture away; the lines above it stay.
    """

    def __init__(
        self, stream: TextIO, clock: Clock, *, colour: bool = True, width: int | None = None
    ) -> None:
        self._clock = clock
        self._totals = Totals()
        self._began = clock.now()
        self._counts = dict.fromkeys(("retry", "surprise", "failure"), 0)
        self._console = _Console(
            file=stream, force_terminal=True, no_color=not colour, highlight=False, markup=False, width=width
        )
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._broken = False

    def __enter__(self) -> Self:
        try:
            self._live.start()
        except OSError:
            self._broken = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._live.stop()  # also where the terminal is gone: it gives sys.stderr back
        except OSError:
            self._broken = True

    def begin(self, plan: Plan, more: int = 0) -> None:
        """Take the totals from the plan, which is carried out now; ``more`` specs will enter it later."""
        self._totals.begin(plan, self._clock.now(), more)

    def __call__(self, event: Event) -> None:
        """Take note of ``event``."""
        self._totals.add(event, self._clock.now())
        if isinstance(event, Finished):
            if event.outcome in BAD:
                self._counts["failure"] += 1
                if self._counts["failure"] <= _FAILURES:
                    self._print(short_line(event), "red")
        elif isinstance(event, Retried):
            self._counts["retry"] += 1
        elif isinstance(event, Surprise):
            self._counts["surprise"] += 1
        elif isinstance(event, Notice):
            self._print(notice_line(event), "yellow")
        elif isinstance(event, Draining):
            self._print(draining_line(event), "yellow")

    async def run(self) -> None:
        """Paint a few times a second; cancel it at the end."""
        while not self._broken:
            self._paint()
            await self._clock.sleep(_PERIOD)

    def _print(self, line: str, style: str) -> None:
        if self._broken:
            return
        try:
            text = "\n".join(folded(line, self._console.width))
            self._console.print(Text(text, style=style), soft_wrap=True)
        except OSError:  # a reporter must not raise, and the terminal is gone
            self._broken = True

    def _paint(self) -> None:
        try:
            self._live.update(self._picture(), refresh=True)
        except OSError:
            self._broken = True

    def _picture(self) -> Group:
        now = self._clock.now()
        width = self._console.width
        flights = self._totals.oldest(_ROWS, _SMALL)
        rows = [_row(flight, now, width) for flight in flights]
        small = self._totals.below(_SMALL)
        hidden = self._totals.running - len(flights) - len(small)
        if hidden:
            rows.append(Text(f"and {number(hidden, 'more blob')}", style="dim", no_wrap=True))
        if small:
            amount = size(sum(flight.size for flight in small))
            rows.append(Text(f"{number(len(small), 'small blob')}, {amount}", style="dim", no_wrap=True))
        words = {"retry": ("retry", "retries"), "surprise": ("surprise", "surprises")}
        counts = [number(self._counts[key], *words[key]) for key in words if self._counts[key]]
        # Room is left for the "^C" that a terminal shows where somebody interrupts: a line more would stay behind.
        phrases = [*self._totals.phrases(now), *counts]
        totals = wrapped(f"[{seconds(now - self._began)}] ", phrases, width - 2, 2)
        rows += [Text(line, style="bold", no_wrap=True, overflow="ellipsis") for line in totals]
        return Group(*rows)


def _row(flight: Flight, now: float, width: int) -> Text:
    """``sha256:0123456789ab  ━━━━────  12.0 MiB of 30.1 MiB  4.0 MiB/s``: what has been sent of a blob.

    Where there is little room, the bar gives way first: the numbers say the same.
    """
    sent = min(flight.sent, flight.goal)
    bar = max(0, min(_BAR, _BAR - (_NARROW - width)))
    filled = bar * sent // flight.goal if flight.goal else bar
    row = Text(no_wrap=True, overflow="ellipsis")
    row.append(f"{flight.digest.short}  " if bar else flight.digest.short)
    row.append("━" * filled, style="cyan")
    row.append("─" * (bar - filled), style="dim")
    row.append(f"  {size(sent):>10} of {size(flight.goal):<10}")
    elapsed = now - flight.since
    if sent and elapsed >= 0.5:
        row.append(f"  {size(round(sent / elapsed))}/s")
    return row
