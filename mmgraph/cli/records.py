"""What ``apply`` leaves for programs: events on standard output, a report, the specs that are left.

Owns where each goes and that it is written however a run ends. Must not know how to copy anything.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TextIO

from msgspec.structs import replace

from mmgraph import __version__
from mmgraph.account import CONFIRMED, Account, unstarted
from mmgraph.cli import FAILED
from mmgraph.cli.output import DASH, emit, say, tell, write
from mmgraph.clock import SystemClock
from mmgraph.errors import SpecError
from mmgraph.names import Reference, quote
from mmgraph.plan import STALE, Goal, Plan, Result
from mmgraph.report.account_json import account_json
from mmgraph.report.events_json import EventLines
from mmgraph.report.spec_lines import spec_line
from mmgraph.specs import CopySpec

if TYPE_CHECKING:
    from mmgraph.execute import Execution
    from mmgraph.registry.client import Client
    from mmgraph.rules import Violation
    from mmgraph.staleness import Stale

Format = Literal["text", "jsonl"]
_TOOL: Final = f"mmgraph {__version__}"


class Records:
    """The records of one run of ``chosen``; what is known of it is put into the fields as it comes to be.

    Raises ``SpecError`` where files are asked for that cannot be.
    """

    def __init__(
        self,
        chosen: Sequence[CopySpec] | Plan,
        *,
        report: Path | None,
        failed: Path | None,
        form: Format,
    ) -> None:
        self._report = report
        self._failed = failed
        self._check(form)
        self._goals = chosen.goals if isinstance(chosen, Plan) else [_open(spec) for spec in chosen]
        self._pins = {goal.spec: goal.source_digest for goal in self._goals}
        self._broken: OSError | None = None
        self._clock = SystemClock()
        self._began = self._clock.now()
        self._of_program = form == "jsonl" or any(map(_is_dash, self._files))
        self.stream = EventLines(self._line, self._clock, _TOOL) if form == "jsonl" else None
        self.plan: Plan | None = None
        self.client: Client | None = None
        self.execution: Execution | None = None
        self.notes: Sequence[str] = ()
        self.violations: Sequence[Violation] = ()

    @property
    def _files(self) -> list[Path]:
        return [path for path in (self._report, self._failed) if path is not None]

    def _check(self, form: Format) -> None:
        if sum(map(_is_dash, self._files)) + (form == "jsonl") > 1:
            raise SpecError("standard output takes one of --format jsonl, --report - and --failed -")
        if len(self._files) == 2 and self._report == self._failed:
            raise SpecError("--report and --failed name the same file")
        for path in self._files:  # better now than when hours have been spent on what it is about
            if not _is_dash(path) and not path.parent.is_dir():
                raise SpecError(f"{quote(str(path))} cannot be written: there is no such directory")
            if path.is_dir():
                raise SpecError(f"{quote(str(path))} cannot be written: it is a directory")

    @property
    def people(self) -> TextIO:
        """Where people read: standard output, unless that is for a program."""
        return sys.stderr if self._of_program else sys.stdout

    def show(self, text: str) -> None:
        """Show people what it came to."""
        if self._of_program:
            tell(text)
        else:
            emit(text)

    def broken(self, code: int, violations: "Sequence[Violation]") -> int:
        """Rules are broken, and nothing was carried out for it; return ``code``, as ``close`` does."""
        self.violations = violations
        causes: dict[Reference, str] = {}
        for each in violations:
            causes.setdefault(each.destination, each.cause)
        return self.close(code, self._unstarted("rules are broken, so nothing was sent", causes))

    def stale(self, code: int, stale: "Sequence[Stale]") -> int:
        """The plan is stale, and nothing was carried out for it; return ``code``, as ``close`` does."""
        causes = {each.destination: f"{STALE}it {each.change}" for each in stale}
        return self.close(code, self._unstarted("the saved plan is stale, so nothing was sent", causes))

    def timed(self, account: Account) -> Account:
        """Return what was carried out as of a run that began before: with its reading, and its waiting for others."""
        return replace(account, seconds=self._clock.now() - self._began)

    def stopped(self) -> None:
        """The run is stopped at once: write what can be told of it."""
        account = self.timed(self.execution.account()) if self.execution else self._unstarted(_STOPPED)
        self.close(FAILED, account)

    def close(self, code: int, account: Account | None = None) -> int:
        """Write all that is asked for, of a run in which there was nothing to do where there is no ``account``.

        Returns the exit code: ``code``, where there is nothing to be said against it.
        """
        account = account or self._unstarted("")
        if self.stream is not None:
            self.stream.end(account)
        errors = [self._broken] if self._broken else []
        for path, content in self._contents(account):
            try:
                write(path, content)
            except OSError as error:
                errors.append(error)
        for each in errors:
            say(f"{each.filename}: {each.strerror}")
        return (code or FAILED) if errors else code

    def _contents(self, account: Account) -> Iterable[tuple[Path, bytes]]:
        if self._report is not None:
            yield (
                self._report,
                account_json(
                    account,
                    self.plan.bill if self.plan else None,
                    tool=_TOOL,
                    violations=self.violations or (self.plan.violations if self.plan else ()),
                    notes=self.notes,
                ),
            )
        if self._failed is not None:
            left = [end.goal for end in account.ends if end.outcome not in CONFIRMED]
            # What is left of a saved plan is the images that were planned, whatever their tags name by now.
            lines = [spec_line(goal.spec, self._pins.get(goal.spec)) for goal in left]
            yield self._failed, "".join(f"{line}\n" for line in lines).encode()

    def _unstarted(self, why: str, causes: Mapping[Reference, str] | None = None) -> Account:
        goals = self.plan.goals if self.plan else self._goals
        ends = unstarted(goals, why, causes or {})
        if self.client is None:
            return Account(ends, 0, 0, 0, 0, (), {}, 0.0)
        client = self.client
        seconds = self._clock.now() - self._began
        return Account(
            ends, 0, 0, 0, 0, (), client.counts(), seconds, client.traffic(), client.quirks.learned
        )

    def _line(self, line: str) -> None:
        if self._broken is None:
            try:
                emit(line)
            except OSError as error:  # said at the end: a reporter may not raise
                self._broken = error


_STOPPED: Final = "the run was stopped before it"


def _is_dash(path: Path) -> bool:
    return str(path) in {DASH, "-"}


def _open(spec: CopySpec) -> Goal:
    return Goal(spec, Result.OPEN)
