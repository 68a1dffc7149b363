"""Events for programs, a line of JSON each, as they happen, and the schema of a line. Decides nothing.

Bytes under way and specs that were read come many times a second; of these, sums are told once a second.
"""

from __future__ import annotations

import json
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import msgspec

from mmgraph.events import Ended, Event, Finished, Moved, Outcome, Read
from mmgraph.names import Reference, Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgraph.account import Account
    from mmgraph.clock import Clock
    from mmgraph.names import Digest

FORMAT_VERSION: Final = "1.1"
"""Major: readers must refuse what they do not know. Minor: events or fields were added."""
_SECONDS: Final = 1.0
"""Between two lines about the same."""
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}


class EventLines:
    """A Reporter that hands each event to ``write`` as a line of JSON; the first line tells the format's version.

    ``tool`` is who writes this, and which version of it.
    """

    def __init__(self, write: Callable[[str], None], clock: Clock, tool: str) -> None:
        self._write = write
        self._clock = clock
        self._began = clock.now()
        self._read = self._began - _SECONDS
        """When it was last told how far reading has come."""
        self._flights: dict[Digest, _Flight] = {}
        self._finished: set[Reference] = set()
        self._line("version", {"format": "mmgraph-events", "version": FORMAT_VERSION, "tool": tool})

    def __call__(self, event: Event) -> None:
        """Write ``event``, or keep it for a sum."""
        now = self._clock.now()
        if isinstance(event, Moved):
            flight = self._flights.setdefault(event.digest, _Flight(now))
            flight.read += event.read
            flight.sent += event.sent
            if now - flight.told >= _SECONDS:
                self._tell(event.digest, flight, now)
            return
        if isinstance(event, Read):
            if now - self._read < _SECONDS and event.done < event.total:
                return
            self._read = now
        elif isinstance(event, Ended) and (ended := self._flights.pop(event.digest, None)):
            self._tell(event.digest, ended, now)
        elif isinstance(event, Finished):
            self._finished.add(event.destination)
        self._event(event)

    def end(self, account: Account) -> None:
        """Write the end of each spec that has not been told, and the last line: what it all came to."""
        for end in account.ends:
            destination = end.goal.spec.destination
            if destination not in self._finished:
                self._event(Finished(destination, end.goal.root, end.outcome, end.cause))
        self._line(
            "summary",
            {
                "complete": account.complete,
                "outcomes": {str(outcome): account.count(outcome) for outcome in Outcome},
                "downloaded": account.downloaded,
                "uploaded": account.uploaded,
                "mounted": account.mounted,
                "found": account.found,
                "surprises": len(account.surprises),
                "seconds": round(account.seconds, 3),
            },
        )

    def _tell(self, digest: Digest, flight: _Flight, now: float) -> None:
        if flight.read or flight.sent:
            self._event(Moved(digest, flight.read, flight.sent))
        flight.told, flight.read, flight.sent = now, 0, 0

    def _event(self, event: Event) -> None:
        fields = {name: _plain(getattr(event, name)) for name in event.__struct_fields__}
        self._line(str(event.__struct_config__.tag), fields)

    def _line(self, name: str, fields: dict[str, Any]) -> None:
        at = round(self._clock.now() - self._began, 3)
        # ASCII, with escapes for all else: causes are foreign text, and this may be looked at on a terminal.
        self._write(json.dumps({"event": name, "at": at, **fields}) + "\n")


class _Flight:
    """Bytes of one blob since they were last told of."""

    __slots__ = ("read", "sent", "told")

    def __init__(self, told: float) -> None:
        self.told = told
        self.read = self.sent = 0


def _plain(value: object) -> object:
    if isinstance(value, Repository | Reference):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def kinds() -> list[type[Event]]:
    """All events that there are."""
    return [kind for kind in Event.__subclasses__() if kind.__module__ == Event.__module__]


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line, version 1; events and fields may be added to it."""
    lines = [
        _schema_of(
            "version",
            "The first line.",
            {
                "format": {"const": "mmgraph-events"},
                "version": {"type": "string", "pattern": r"^1\.[0-9]+$"},
                "tool": _TEXT,
            },
        )
    ]
    for kind in kinds():
        fields = {field.name: _shape(field.type) for field in msgspec.structs.fields(kind)}
        lines.append(_schema_of(str(kind.__struct_config__.tag), _doc(kind), fields))
    lines.append(
        _schema_of(
            "summary",
            "The last line. A stream without it was cut off.",
            {
                "complete": {
                    "type": "boolean",
                    "description": "Whether every destination is confirmed to name what it shall.",
                },
                "outcomes": {
                    "type": "object",
                    "required": [str(outcome) for outcome in Outcome],
                    "properties": {str(outcome): _COUNT for outcome in Outcome},
                    "description": "How many specs ended so.",
                },
                **dict.fromkeys(("downloaded", "uploaded", "mounted", "found", "surprises"), _COUNT),
                "seconds": {"type": "number", "minimum": 0},
            },
        )
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mmgraph events",
        "description": "One line of mmgraph apply --format jsonl. Sizes are bytes. Of moved and read there is a line"
        " a second at most, with the sum of what happened since the last one.",
        "oneOf": lines,
    }


def _schema_of(name: str, description: str, fields: dict[str, Any]) -> dict[str, Any]:
    at = {"type": "number", "minimum": 0, "description": "Seconds since the first line."}
    return {
        "title": name,
        "description": description,
        "type": "object",
        "required": ["event", "at", *fields],
        "properties": {"event": {"const": name}, "at": at, **fields},
    }


def _doc(kind: type) -> str:
    return " ".join((kind.__doc__ or "").replace("``", "").split())


def _shape(kind: Any) -> dict[str, Any]:
    if get_origin(kind) in (Union, UnionType):
        shapes = [_shape(each) for each in get_args(kind) if each is not NoneType]
        return {"anyOf": [*shapes, {"type": "null"}]}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _shape(get_args(kind)[0])}
    if issubclass(kind, Enum):
        return {"enum": [str(each.value) for each in kind]}
    if kind is bool:
        return {"type": "boolean"}
    if kind is int:
        return dict(_COUNT)
    return {"type": "number"} if kind is float else dict(_TEXT)
