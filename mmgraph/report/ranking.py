"""The tags and blobs of a plan that cost most, for people, in place of all of them. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.report.outline import name_of
from mmgraph.report.words import Style, number, paint, paragraph, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgraph.plan import Goal
    from mmgraph.ranking import Ranking

_MEANING = (
    "alone: bytes that would not move without the tag. moves: bytes that move for it; what several tags need counts at"
    " each, so that the column can add up to more than is sent."
)
_SHOWN = 3
"""Specs that are named for one blob."""


def ranking_blocks(ranking: Ranking, *, colour: bool, width: int) -> Iterator[list[str]]:
    """Two blocks of lines, tags and blobs; what moves nothing is in neither."""
    if not ranking.tags:
        yield ["No bytes move."]
        return
    yield list(_tags(ranking, colour, width))
    yield list(_blobs(ranking, colour, width))


def _tags(ranking: Ranking, colour: bool, width: int) -> Iterator[str]:
    rows = [("alone", "moves", "tag")]
    rows += [(size(tag.alone), size(tag.moved), _name(tag.goal)) for tag in ranking.tags]
    yield paint("Tags by the bytes that move for them alone:", Style.STRONG, colour)
    yield from paragraph(_MEANING, width, 2)
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for alone, moved, name in rows:
        yield f"  {alone:>{widths[0]}}  {moved:>{widths[1]}}  {name}"
    if ranking.other_tags:
        yield f"  and {number(ranking.other_tags, 'more tag')}"


def _blobs(ranking: Ranking, colour: bool, width: int) -> Iterator[str]:
    if not ranking.blobs:
        return
    yield paint("Blobs by the bytes that are sent, and the tags that need them:", Style.STRONG, colour)
    column = max(len("sent"), *(len(size(blob.moved)) for blob in ranking.blobs))
    yield f"  {'sent':>{column}}  blob"
    for blob in ranking.blobs:
        several = f" to {len(blob.registries)} registries" if len(blob.registries) > 1 else ""
        names = _some([_name(goal) for goal in blob.needed_by])
        yield f"  {size(blob.moved):>{column}}  {blob.digest}{several}"
        yield from paragraph(f"{number(len(blob.needed_by), 'tag')}: {names}", width, column + 4)
    if ranking.other_blobs:
        yield f"  and {number(ranking.other_blobs, 'more blob')}"


def _name(goal: Goal) -> str:
    destination = goal.spec.destination
    return str(destination) if destination.tag else f"{destination.repository}{name_of(destination)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
