"""The running sums of an execution: bytes, tags, rate, remaining time. Hears events, adds, shows nothing.

Cheap, since thousands of events a second come; whoever shows the sums looks at them a few times a second.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from mmgraph.events import (
    Draining,
    Ended,
    Event,
    Finished,
    Landed,
    Landing,
    Moved,
    Outcome,
    Planned,
    Read,
    Started,
)
from mmgraph.graph import Kind, Node
from mmgraph.plan import Action, Plan, Result
from mmgraph.report.words import number, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.names import Digest

_OPEN = (Outcome.FAILED, Outcome.BLOCKED, Outcome.STOPPED)
_WINDOW = 15.0
"""Seconds over which the rate is taken."""


class Flight:
    """One running transfer. ``goal`` is the bytes to send, to all targets together."""

    __slots__ = ("digest", "goal", "read", "sent", "since", "size")

    def __init__(self, digest: Digest, size: int, targets: int, since: float) -> None:
        self.digest = digest
        self.size = size
        self.goal = size * targets
        self.since = since
        self.read = 0
        self.sent = 0


class Totals:
    """The sums of one run."""

    def __init__(self) -> None:
        self.flights: dict[Digest, list[Flight]] = {}
        """Running transfers by digest; two of one digest can run, to different places."""
        self.tags = 0
        """Specs that are to be written or have failed; those that are unchanged are not among them."""
        self.ends: Counter[Outcome] = Counter()
        self.reading: Read | None = None
        self.draining: Draining | None = None
        self.moved = 0
        """Bytes sent, those of transfers that failed included: what the rate is about."""
        self._plan: Plan | None = None
        self._open = False
        """Whether more is to enter the plan, so that the total is not known yet."""
        self._total = 0
        self._landed = 0
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def begun(self) -> bool:
        """Whether the plan is known."""
        return self._plan is not None

    def begin(self, plan: Plan, now: float, more: int = 0) -> None:
        """Take the totals from the plan; ``more`` specs will enter it later."""
        self._samples.append((now, self.moved))
        self._plan = plan
        # What a saved plan has left may be less than its bill, which is that of the whole.
        uploads = (step.size for step in plan.steps.values() if step.action is Action.UPLOAD)
        self._total = plan.bill.uploaded if more else sum(uploads)
        self.tags = len(plan.goals) - plan.count(Result.UNCHANGED) + more
        self._open = bool(more)

    def add(self, event: Event, now: float) -> None:
        """Count what ``event`` says."""
        if isinstance(event, Moved):
            flights = self.flights.get(event.digest)
            if flights:
                flights[0].read += event.read
                flights[0].sent += event.sent
            self.moved += event.sent
        elif isinstance(event, Landed):
            self._land(event)
        elif isinstance(event, Started):
            flight = Flight(event.digest, event.size, len(event.targets), now)
            self.flights.setdefault(event.digest, []).append(flight)
        elif isinstance(event, Ended):
            flights = self.flights.get(event.digest, [])
            if len(flights) > 1:
                flights.pop(0)
            else:
                self.flights.pop(event.digest, None)
        elif isinstance(event, Finished):
            self.ends[event.outcome] += 1
            if self._open and event.outcome is Outcome.UNCHANGED:
                self.tags -= 1  # only reading it has shown that
        elif isinstance(event, Planned):
            self._total += event.size
            self._open = not event.complete
        elif isinstance(event, Read):
            self.reading = event
        elif isinstance(event, Draining):
            self.draining = event

    def _land(self, event: Landed) -> None:
        """Let a blob count as sent, and the total follow where it came another way than planned."""
        if event.how == Landing.UPLOADED:
            self._landed += event.size
        if self._plan is None or event.how == Landing.PUT:
            return
        step = self._plan.steps.get(Node(Kind.BLOB, event.repository, event.digest))
        planned = step is not None and step.action is Action.UPLOAD
        if planned and event.how != Landing.UPLOADED:
            self._total -= event.size
        elif not planned and event.how == Landing.UPLOADED:
            self._total += event.size

    @property
    def total(self) -> int:
        """Bytes to send, as far as is known by now."""
        return max(self._total, self.done)

    @property
    def done(self) -> int:
        """Bytes sent that count: those of blobs that landed, and of transfers that run."""
        running = sum(min(flight.sent, flight.goal) for flight in self._running())
        return self._landed + running

    @property
    def finished(self) -> int:
        """Specs that came to their end, other than unchanged."""
        return self.ends.total() - self.ends[Outcome.UNCHANGED]

    @property
    def running(self) -> int:
        """How many transfers run."""
        return sum(map(len, self.flights.values()))

    def oldest(self, count: int, least: int) -> list[Flight]:
        """The running transfers of ``least`` bytes to show: the oldest, so that lines stay where they are."""
        large = (flight for flight in self._running() if flight.size >= least)
        return sorted(large, key=lambda flight: (flight.since, flight.digest))[:count]

    def below(self, size: int) -> list[Flight]:
        """The running transfers of blobs that are smaller than ``size`` bytes."""
        return [flight for flight in self._running() if flight.size < size]

    def _running(self) -> Iterator[Flight]:
        for flights in self.flights.values():
            yield from flights

    def rate(self, now: float) -> float | None:
        """Bytes sent a second over the last seconds, None before there is anything to go by."""
        if not self._samples or now - self._samples[-1][0] >= 0.05:
            self._samples.append((now, self.moved))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        began, moved = self._samples[0]
        if now - began < 0.5:
            return None
        return (self.moved - moved) / (now - began)

    def line(self, now: float) -> str:
        """The sums in one line: ``12 of 40 tags, 3.1 MiB of 30.0 MiB (10 %), 1.2 MiB/s, 22 s left``."""
        return ", ".join(self.phrases(now))

    def phrases(self, now: float) -> list[str]:
        """The parts of ``line``."""
        if not self.begun:
            read = self.reading
            return [f"reading {read.done} of {number(read.total, 'spec')}" if read else "reading"]
        done, total = self.done, self.total
        phrases = [f"{self.finished} of {number(self.tags, 'tag')}"]
        bad = [f"{self.ends[outcome]} {outcome}" for outcome in _OPEN if self.ends[outcome]]
        if bad:
            phrases[0] += f" ({', '.join(bad)})"
        if total:
            share = "so far" if self._open else f"({100 * done // total} %)"
            phrases.append(f"{size(done)} of {size(total)} {share}")
            rate = self.rate(now)
            if rate is not None and done < total:
                phrases.append(f"{size(round(rate))}/s")
            if rate is not None and done < total and not self._open:
                phrases.append(f"{seconds((total - done) / rate)} left" if rate >= 1 else "? left")
        if self.draining is not None:
            phrases.append(f"stopping: {number(self.running, 'transfer')} to end")
        return phrases
