"""Every bad day of the table: outcome, the destination's state, the ledger, and no secret in any output."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.stage import stage
from tests.scenarios.table import ELSEWHERE, ROWS
from tests.support.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.scenarios.rows import Row
    from tests.scenarios.stage import Run, Stage

_UNSEEMLY = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What must never reach a terminal: control characters but the newline, bidirectional and zero-width ones."""


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority for all rows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
async def test_scenario(row: Row, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """The run ends as the row says, and what is left behind is as it should be."""
    async with stage(authority, settings=dict(row.settings), source_settings=dict(row.source_settings)) as s:
        arranged = row.arrange(s)
        if inspect.isawaitable(arranged):
            await arranged
        if not s.specs:
            s.image()
        before = {name: dict(s.dst.storage.tags(name)) for name in s.dst.storage.repositories()}

        run = await s.run()

        if run.error is not None:
            raise run.error
        problems = {
            "outcome": _outcome(row, run),
            "words": [word for word in row.words if word not in run.causes],
            "state": await _state(s, run, before),
            "ledger": _ledger(row, s),
            "credentials": _credentials(s),
            "output": _output(run, caplog.text),
            "check": row.check(s, run),
        }
        assert {} == {name: found for name, found in problems.items() if found}, run.causes


def _outcome(row: Row, run: Run) -> object:
    expected = dict.fromkeys(run.ends, row.end) if isinstance(row.end, str) else row.end
    return None if expected == run.ends and run.ends else run.ends


async def _state(s: Stage, run: Run, before: Mapping[str, Mapping[str, str]]) -> object:
    """Every tag is whole (the oracle raises otherwise), and names the planned digest or what it named before."""
    assert run.plan is not None
    closures = {}
    for host in s.internet.hosts.values():
        if host is not s.src:
            host.faults.clear()  # the oracle's is another day
            closures[host.name] = await s.closures(host)
    wrong = []
    for goal, outcome in zip(run.plan.goals, run.ends.values(), strict=True):
        place, tag = goal.spec.destination.repository, goal.spec.destination.tag or ""
        found = closures.get(place.registry, {}).get(place.path, {}).get(tag, ("",))[0]
        old = before.get(place.path, {}).get(tag, "") if place.registry == s.dst.name else ""
        if found != (goal.root if outcome in {"copied", "moved", "repaired", "unchanged"} else old):
            wrong.append((str(place), tag, found))
    return wrong


def _ledger(row: Row, s: Stage) -> object:
    """Every blob was committed once and its bytes came once, more often only as the row allows; no storm."""
    sent = s.sent_blobs()
    often = {digest: sizes for digest, sizes in sent.items() if len(sizes) > 1 + row.again}
    asked = len(s.src.asked) + len(s.dst.asked)
    assert s.dst.backend is not None
    left = s.dst.backend.open_sessions
    return often or (asked if asked > row.requests else None) or (left if left > row.sessions else None)


def _credentials(s: Stage) -> object:
    """Each origin saw its own credentials or none, and no cookie."""
    wrong: list[object] = [f"{name}: a host that nobody names" for name in s.internet.strangers]
    for host in s.internet.hosts.values():
        own = {host.basic} if host.password else set()
        wrong += host.authorizations - own - host.lent - {f"Bearer {token}" for token in host.issued}
        wrong += [one.headers["cookie"] for one in host.asked if "cookie" in one.headers]
    return wrong


def _output(run: Run, logged: str) -> object:
    """No canary and no character that could rewrite what a person reads."""
    text = run.output + logged
    return re.findall(r".{0,60}CANARY.{0,30}", text) or [
        text[max(0, match.start() - 40) : match.end()] for match in _UNSEEMLY.finditer(text)
    ]


GAPS = (
    3,
    6,
    9,
    15,
    18,
    23,
    26,
    29,
    33,
    37,
    42,
    44,
    49,
    54,
    59,
    62,
    66,
    70,
    74,
    77,
    86,
    87,
    92,
    95,
)
NUMBERS = frozenset(range(1, 97)).difference(GAPS)
"""All bad days there are."""


def test_no_day_is_missing() -> None:
    """Each has rows, or tests elsewhere."""
    assert NUMBERS == {row.number for row in ROWS} | {each.number for each in ELSEWHERE}


def test_no_row_is_there_twice() -> None:
    """A title names one row."""
    assert len(ROWS) == len({row.title for row in ROWS})


@pytest.mark.parametrize("name", sorted({name for each in ELSEWHERE for name in each.tests}))
def test_elsewhere(name: str) -> None:
    """A test that the table points at is where it says."""
    file, _, test = name.partition("::")
    source = (Path(__file__).parents[2] / file).read_text()
    assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), name
