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
    return f"{asked} Tags are as last seen {_when(basis.span)}."


def _ages(basis: Basis) -> Iterator[str]:
    """The dates of each registry, where they differ."""
    if len({*map(_when, basis.spans.values())}) > 1:
        for registry, span in basis.spans.items():
            yield f"  those of {safe(registry)} {_when(span)}"


def _unknown(plan: Plan, basis: Basis) -> Iterator[str]:
    lacking = sum(goal.result is Result.FAILED and UNKNOWN in goal.cause for goal in plan.goals)
    if lacking:
        # What that is, and what to do about it, stands with each spec's cause.
        who = "it needs" if lacking == 1 else "they need"
        yield f"{number(lacking, 'spec')} cannot be planned, since not all that {who} is known."
    if len(basis.names) == 1:
        yield f"Not known: what {safe(basis.names[0])} names."
    elif basis.names:
        named = listed(basis.names[:_NAMED])
        if len(basis.names) > _NAMED:
            named += f" and {number(len(basis.names) - _NAMED, 'other')}"
        yield f"Not known: what each of {len(basis.names)} names stands for: {named}."
    if basis.manifests:
        verb = "lists" if len(basis.manifests) == 1 else "list"
        yield f"Not known: what {number(len(basis.manifests), 'manifest')} {verb}, beyond the digest."
    if basis.blobs:
        verb = "counts" if basis.blobs == 1 else "count"
        blobs = number(basis.blobs, "blob")
        yield f"Not known: whether registries hold {blobs} already, which {verb} as missing."


def _when(span: Span) -> str:
    oldest, newest = (
        datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
        for seconds in (span.oldest, span.newest)
    )
    return f"on {oldest}" if oldest == newest else f"between {oldest} and {newest}"
