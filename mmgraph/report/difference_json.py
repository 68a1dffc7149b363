"""A difference for programs, as JSON, and the schema, which is made of the same types. Pure; decides nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from mmgraph.difference import Sort
from mmgraph.plan import Result
from mmgraph.report.offline import SCHEMA as OFFLINE_SCHEMA
from mmgraph.report.offline import basis_object
from mmgraph.store import Operation

if TYPE_CHECKING:
    from mmgraph.difference import Change, Difference, End
    from mmgraph.difference import Delta as Numbers
    from mmgraph.memory import Basis

FORMAT_VERSION: Final = "2.0"
"""Major: readers must refuse what they do not know. Minor: fields were added."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What all parts have in common."""


class Side(_Wire, frozen=True, kw_only=True):
    """What one plan means for a tag; ``bytes`` are those of its blobs and manifests."""

    src: str
    limits: Annotated[
        tuple[str, ...], msgspec.Meta(description="Its spec's limitPlatforms, empty where it takes all.")
    ]
    result: Result
    digest: str | None
    platforms: Annotated[tuple[str, ...] | None, msgspec.Meta(description="Null where it is no index.")]
    bytes: _Count


class Tag(_Wire, frozen=True, kw_only=True):
    """A destination that differs; the side that does not have it is null."""

    dst: str
    how: Annotated[
        Sort,
        msgspec.Meta(
            description="unknown: the specs are the same, and one of them or both cannot be planned, so that"
            " nobody can say whether it differs."
        ),
    ]
    old: Side | None
    new: Side | None
    gains: Annotated[tuple[str, ...], msgspec.Meta(description="Platforms that only the new one has.")]
    losses: Annotated[tuple[str, ...], msgspec.Meta(description="Platforms that only the old one has.")]


class Delta(_Wire, frozen=True, kw_only=True):
    """One number in both plans; ``change`` is new less old."""

    old: _Count
    new: _Count
    change: int


class Needed(_Wire, frozen=True, kw_only=True):
    """Bytes that the destinations need at one registry, each blob and manifest once; nothing is deleted there."""

    old: _Count
    new: _Count
    change: int
    added: _Count
    removed: _Count


class Counts(_Wire, frozen=True, kw_only=True):
    """How many destinations differ, and in which way; ``unknown`` cannot be compared."""

    added: _Count
    removed: _Count
    changed: _Count
    unknown: _Count
    same: _Count


_Basis = Annotated[dict[str, Any] | None, msgspec.Meta(extra_json_schema=OFFLINE_SCHEMA)]


class Bases(_Wire, frozen=True, kw_only=True):
    """Of each side, null where registries were asked, and of a saved plan."""

    old: _Basis
    new: _Basis


class Document(_Wire, frozen=True, kw_only=True):
    """What ``mmgraph diff --format json`` prints. Sums that are the same in both are there too."""

    format: Literal["mmgraph-difference"]
    version: Annotated[str, msgspec.Meta(pattern=r"^2\.[0-9]+$")]
    differs: Annotated[
        bool | None,
        msgspec.Meta(description="Null where no difference is known and something cannot be compared."),
    ]
    counts: Counts
    failed: Annotated[
        Delta,
        msgspec.Meta(description="Specs that cannot be planned; bill, requests and needed are without them."),
    ]
    tags: tuple[Tag, ...]
    bill: dict[str, Delta]
    requests: dict[str, dict[Operation, Delta]]
    needed: dict[str, Needed]
    offline: Annotated[
        Bases, msgspec.Meta(description="What the sides rest on for which no registry was asked (--offline).")
    ]


def difference_json(difference: Difference, old: Basis | None = None, new: Basis | None = None) -> bytes:
    """The whole difference; sizes are bytes. ``old`` and ``new`` are what the sides rest on that were made offline."""
    document = Document(
        format="mmgraph-difference",
        version=FORMAT_VERSION,
        differs=difference.differs,
        counts=Counts(
            added=difference.count(Sort.ADDED),
            removed=difference.count(Sort.REMOVED),
            changed=difference.count(Sort.CHANGED),
            unknown=difference.count(Sort.UNKNOWN),
            same=difference.same,
        ),
        failed=_delta(difference.failed),
        tags=tuple(map(_tag, difference.changes)),
        bill={name: _delta(each) for name, each in difference.bill.items()},
        requests={
            str(registry): {operation: _delta(each) for operation, each in kinds.items()}
            for registry, kinds in difference.requests.items()
        },
        needed={
            str(registry): Needed(
                old=each.old, new=each.new, change=each.change, added=each.added, removed=each.removed
            )
            for registry, each in difference.storage.items()
        },
        offline=Bases(old=_basis(old), new=_basis(new)),
    )
    # ASCII, with escapes for all else: platforms are foreign text, and this may be looked at on a terminal.
    return json.dumps(msgspec.to_builtins(document), indent=1).encode() + b"\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of it, version 2; fields may be added to it."""
    made = msgspec.json.schema(Document)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mmgraph difference", **made}


def _basis(basis: Basis | None) -> dict[str, Any] | None:
    return None if basis is None else basis_object(basis)


def _delta(numbers: Numbers) -> Delta:
    return Delta(old=numbers.old, new=numbers.new, change=numbers.change)


def _tag(change: Change) -> Tag:
    return Tag(
        dst=str(change.destination),
        how=change.sort,
        old=_side(change.old),
        new=_side(change.new),
        gains=change.gains,
        losses=change.losses,
    )


def _side(end: End | None) -> Side | None:
    if end is None:
        return None
    return Side(
        src=str(end.source),
        limits=tuple(map(str, end.limits)),
        result=end.result,
        digest=None if end.root is None else str(end.root),
        platforms=end.platforms,
        bytes=end.bytes,
    )
