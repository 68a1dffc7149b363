"""Events as lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from mmgraph.account import Account, End
from mmgraph.events import (
    Draining,
    Ended,
    Event,
    Finished,
    Landed,
    Landing,
    Moved,
    Notice,
    Outcome,
    Planned,
    Read,
    Retried,
    Started,
    Surprise,
)
from mmgraph.names import Reference, Registry, Repository
from mmgraph.plan import Plan
from mmgraph.report.events_json import EventLines, kinds, schema
from tests.golden import expected
from tests.golden.example import HOSTILE, digest_of, example
from tests.support.clock import ManualClock

PLACE = Repository.parse("mirror.example.com/library/app")
NAME = Reference.parse("mirror.example.com/library/app:1.0")
BLOB = digest_of("blob")
ALL: tuple[Event, ...] = (
    Read(1, 1),
    Planned(10, complete=True),
    Started(BLOB, 10, (PLACE,)),
    Moved(BLOB, 10, 10),
    Ended(BLOB),
    Landed(PLACE, BLOB, 10, Landing.FOUND),
    Retried(PLACE, BLOB, HOSTILE, 0.5),
    Surprise(PLACE, BLOB, HOSTILE),
    Notice(None, HOSTILE),
    Notice(Registry("quay.io"), "slow"),
    Finished(NAME, BLOB, Outcome.COPIED),
    Finished(NAME, None, Outcome.FAILED, HOSTILE),
    Draining(1, 25.0),
)


class Heard:
    """A stream, and what came out of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.clock = ManualClock()
        self.stream = EventLines(self.lines.append, self.clock, "mmgraph 0")

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The lines, read back."""
        return [json.loads(line) for line in self.lines]

    def of(self, name: str) -> list[dict[str, Any]]:
        """The lines about one kind of event, without what all of them have."""
        return [
            {key: value for key, value in line.items() if key not in {"event", "at"}}
            for line in self.documents
            if line["event"] == name
        ]


@pytest.fixture
def heard() -> Heard:
    """Return a stream that has begun."""
    return Heard()


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Plan the example once."""
    return example()


def done(plan: Plan, outcome: Outcome = Outcome.COPIED) -> Account:
    """Account for the example, all of one outcome."""
    return Account([End(goal, outcome, "why") for goal in plan.goals], 3, 2, 1, 0, (), {}, 83.0)


def test_every_line_is_what_the_schema_says(heard: Heard, plan: Plan) -> None:
    """By a validator that is not ours: each kind of event, the first line and the last."""
    for event in ALL:
        heard.stream(event)
    heard.stream.end(done(plan))
    Draft202012Validator.check_schema(schema())
    validator = Draft202012Validator(schema())
    for line in heard.documents:
        validator.validate(line)
    told = {line["event"] for line in heard.documents}
    assert {str(kind.__struct_config__.tag) for kind in kinds()} | {"version", "summary"} == told


def test_the_stream_is_as_it_shall_be(heard: Heard, plan: Plan) -> None:
    """The bytes are pinned; UPDATE_GOLDEN=1 rewrites the file."""
    for event in ALL:
        heard.stream(event)
    heard.stream.end(done(plan))
    text = "".join(heard.lines)
    assert expected("events.jsonl", text) == text


def test_every_event_is_among_the_examples() -> None:
    """So that a new one is not forgotten here."""
    assert set(kinds()) == set(map(type, ALL))


def test_the_schema_refuses_what_is_no_event() -> None:
    """A line of another kind, and one that lacks a field."""
    validator = Draft202012Validator(schema())
    for line in ({"event": "other", "at": 0.0}, {"event": "ended", "at": 0.0}):
        with pytest.raises(ValidationError):
            validator.validate(line)


def test_a_line_is_ascii_whatever_a_registry_wrote(heard: Heard) -> None:
    """One line each, with escapes, that a JSON reader turns back."""
    for event in ALL:
        heard.stream(event)
    assert [] == [line for line in heard.lines if not line.isascii() or not line[:-1].isprintable()]
    assert HOSTILE == heard.of("surprise")[0]["text"]


def test_the_first_line_tells_the_version(heard: Heard) -> None:
    """Before any event."""
    assert [
        {"event": "version", "at": 0, "format": "mmgraph-events", "version": "1.1", "tool": "mmgraph 0"}
    ] == (heard.documents)


async def test_bytes_are_told_once_a_second_and_none_is_lost(heard: Heard) -> None:
    """Of many pieces within a second there is one line; the rest comes with the end."""
    for _ in range(30):
        heard.stream(Moved(BLOB, 10, 5))
        await heard.clock.advance(0.1)
    heard.stream(Ended(BLOB))
    moved = heard.of("moved")
    assert (True, 300, 150) == (
        2 <= len(moved) <= 4,
        sum(line["read"] for line in moved),
        sum(line["sent"] for line in moved),
    )


def test_an_end_without_bytes_has_no_line_of_bytes(heard: Heard) -> None:
    """Nothing was moved since the last one, or at all."""
    heard.stream(Ended(BLOB))
    assert ["version", "ended"] == [line["event"] for line in heard.documents]


def test_reading_is_told_once_a_second_and_at_its_end(heard: Heard) -> None:
    """A thousand specs that are read within a second are two lines."""
    for number in range(1, 1001):
        heard.stream(Read(number, 1000))
    assert [1, 1000] == [line["done"] for line in heard.of("read")]


def test_at_its_end_it_tells_of_every_spec_once(heard: Heard, plan: Plan) -> None:
    """Also of those that the run was stopped before, and of those that were never begun."""
    first = plan.goals[0].spec.destination
    heard.stream(Finished(first, None, Outcome.UNCHANGED))
    heard.stream.end(done(plan, Outcome.STOPPED))
    expected = [str(goal.spec.destination) for goal in plan.goals]
    assert expected == [line["destination"] for line in heard.of("finished")]


def test_the_last_line_has_the_sums(heard: Heard, plan: Plan) -> None:
    """Every outcome is counted, those that there are none of too."""
    heard.stream.end(done(plan))
    outcomes = {str(outcome): 0 for outcome in Outcome} | {"copied": len(plan.goals)}
    [summary] = heard.of("summary")
    sums = {"downloaded": 3, "uploaded": 2, "mounted": 1, "found": 0, "surprises": 0, "seconds": 83.0}
    assert {"complete": True, "outcomes": outcomes, **sums} == summary
