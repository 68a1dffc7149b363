"""What a plan that was made offline rests on, in sentences: how old it is, and what could not be known. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mmgraph.memory import UNKNOWN
from mmgraph.plan import Result
from mmgraph.report.words import listed, number, safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.memory import Basis, Span
    from mmgraph.plan import Plan

_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_DATE: Final = {"type": "string", "format": "date-time"}
SCHEMA: Final = {
    "type": ["object", "null"],
    "required": ["seen", "unknown_names", "unknown_manifests", "unknown_blobs"],
    "description": "What it rests on, where no registry was asked (--offline).",
    "properties": {
        "seen": {
            "type": "object",
            "description": "When the names of each registry were looked at.",
            "additionalProperties": {
                "type": "object",
                "required": ["oldest", "newest"],
                "properties": {"oldest": _DATE, "newest": _DATE},
            },
        },
        "unknown_names": _TEXTS,
        "unknown_manifests": _TEXTS,
        "unknown_blobs": {"type": "integer", "minimum": 0, "description": "Counted as missing."},
    },
}
"""The JSON Schema of ``basis_object``."""
_NAMED = 3
"""Names of which nothing is known that are named."""


def offline_lines(plan: Plan) -> list[str]:
    """Return the sentences, without line ends; none where registries were asked."""
    basis = plan.offline
    if basis is None:
        return []
    return [_age(basis), *_ages(basis), *_unknown(plan, basis)]


def basis_object(basis: Basis) -> dict[str, Any]:
    """The same for programs, as JSON."""
    return {
        "seen": {
            str(registry): {"oldest": _iso(span.oldest), "newest": _iso(span.newest)}
            for registry, span in basis.spans.items()
        },
        "unknown_names": list(basis.names),
        "unknown_manifests": list(map(str, basis.manifests)),
        "unknown_blobs": basis.blobs,
    }


def _iso(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _age(basis: Basis) -> str:
    asked = "Offline: no registry was asked."
    if basis.span is None:
        return f"{asked} Nothing is known of any name of the set."
    return f"{asked} As known on {_between(basis.span)}."


def _ages(basis: Basis) -> Iterator[str]:
    """The dates of each registry, where they differ."""
    if len({*map(_between, basis.spans.values())}) > 1:
        for registry, span in basis.spans.items():
            yield f"  {safe(registry)}: {_between(span)}"


def _unknown(plan: Plan, basis: Basis) -> Iterator[str]:
    lacking = sum(goal.result is Result.FAILED and UNKNOWN in goal.cause for goal in plan.goals)
    if lacking:
        # What to do about it stands with each spec's cause.
        where = UNKNOWN.partition(":")[0]
        yield f"Not known: {number(lacking, 'spec')} cannot be planned, as part of what is needed is {where}."
    if len(basis.names) == 1:
        yield f"Not known: what {safe(basis.names[0])} names."
    elif basis.names:
        named = listed(basis.names[:_NAMED])
        if len(basis.names) > _NAMED:
            named += f" and {number(len(basis.names) - _NAMED, 'other')}"
        yield f"Not known: what each of {len(basis.names)} names stands for: {named}."
    if basis.manifests:
        yield f"Not known: what {number(len(basis.manifests), 'manifest')} of which the digest is known lists."
    if basis.blobs:
        yield f"Not known: whether registries hold {number(basis.blobs, 'blob')} already; counted as missing."


def _between(span: Span) -> str:
    oldest, newest = (
        datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
        for seconds in (span.oldest, span.newest)
    )
    return oldest if oldest == newest else f"{oldest} (oldest) .. {newest} (newest)"
