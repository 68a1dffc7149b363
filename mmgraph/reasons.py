"""Why a plan does what it does about a node: a small language of sentences, written and read here and nowhere else.

Owns the words. A step carries its reason as the sentence, so that a saved plan can be read by people; whoever has to
know what it says reads it back here. Knows no plan.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec


class Why(StrEnum):
    """What a reason says. Braces hold what differs between reasons of one kind."""

    ABSENT = "absent"
    """A tag is not there; or the registry said no to a digest."""
    NO_REPOSITORY = "repository absent"
    """Its repository has no list of tags."""
    UNKNOWN = "not known"
    BROKEN = "parts of it are missing"
    """A manifest or index is there, and not whole."""
    ASKED = "found by HEAD"
    REMEMBERED = "listed by what another tag named when last seen"
    """Offline: what was asked for by its digest is below a name that is none of the set's."""
    TAG = "listed by {digest}, which {name} names"
    FOUND = "listed by {digest}, which the set names"
    """The set names it by its digest, and it was found there."""
    SOURCE = "listed by {digest}, the source"
    """The destination's repository is the source of another spec."""
    MOUNTABLE = "mountable from {name}"
    SKIPPED = "{name}, to mount it from, is skipped"
    """What it was to be mounted from is left out of a saved plan."""
    NAMES = "names {digest}"
    """A tag, something else than it shall."""
    NAMES_IT = "names it already"
    NAMES_BROKEN = "names it, and parts of it are missing"


class Reason(msgspec.Struct, frozen=True):
    """A reason that has been read."""

    why: Why
    digest: str = ""
    """A digest, whole or short."""
    name: str = ""
    """Of the tag that names the digest, or the path of the repository to mount from."""


def say(why: Why, *, digest: str = "", name: str = "") -> str:
    """Return the sentence."""
    return why.value.format(digest=digest, name=name)


def read(text: str) -> Reason | None:
    """Return what ``text`` says; None where it is no sentence of this language."""
    for why, shape in _SHAPES.items():
        if (found := shape.fullmatch(text)) is not None:
            return Reason(why, **found.groupdict())
    return None


def _shape(why: Why) -> re.Pattern[str]:
    """What matches the sentence: a digest has no blanks, and a name is foreign text."""
    holes = {"digest": r"(?P<digest>[^\s:]+:[^\s,]+)", "name": r"(?P<name>.+)"}
    parts = re.split(r"\{(\w+)\}", why.value)
    return re.compile(
        "".join(holes[part] if odd % 2 else re.escape(part) for odd, part in enumerate(parts)), re.DOTALL
    )


_FIXED: Final = [why for why in Why if "{name}" not in why.value]
# What is the same in all reasons of a kind comes first: "the set" is not the name of a tag.
_SHAPES: Final = {why: _shape(why) for why in (*_FIXED, *(why for why in Why if why not in _FIXED))}
