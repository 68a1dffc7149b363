"""Words that all views share: sizes, counts, seconds, and the one escape for all foreign text.

Knows nothing of plans. Everything that a registry or a manifest can have written goes through ``safe``.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
TEXT_LIMIT: Final = 400
"""Characters of one piece of foreign text."""
LONG_LIMIT: Final = 1000
"""Characters of a broken rule: a destination and two digests can have 700."""

# What str.isprintable lets pass and a terminal shows as nothing: joiners, fillers, variation selectors.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_PAINT: Final = re.compile("\x1b\\[[0-9;]*m")
# CI runners obey lines of a log: GitHub "::name::" at the start of a line, also behind blanks, and "##[name"
# anywhere; Azure and TeamCity "##vso[" and "##teamcity[".
_RUNNER_COMMAND: Final = re.compile(r"(?<!\S):(?=:[A-Za-z])|#(?=#[A-Za-z]*\[)")


def safe(text: str, limit: int = TEXT_LIMIT) -> str:
    """Foreign text made fit to show: one line, nothing invisible, nothing a terminal or runner obeys, cut.

    Escaped are C0 and C1 controls, bidirectional and zero-width characters, separators other than the space,
    and whatever else Unicode does not call printable.
    """
    if len(text) > limit:
        text = text[:limit] + "…"
    if not text.isascii() or not text.isprintable():
        text = "".join(c if c.isprintable() and not _INVISIBLE.match(c) else _escaped(c) for c in text)
    return _RUNNER_COMMAND.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes: two for East Asian wide, none for combining ones."""
    text = _PAINT.sub("", text)
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def size(count: int) -> str:
    """``count`` bytes in binary units with one decimal: ``512 B``, ``30.1 MiB``."""
    if count < 1024:
        return f"{count} B"
    value, power = count / 1024, 0
    while round(value, 1) >= 1024 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.1f} {_UNITS[power]}"


def percent(part: int, whole: int) -> int:
    """Whole percents, rounded down, so that 100 means all of it; 0 of nothing."""
    return 100 * part // whole if whole else 0


def number(count: int, one: str, many: str = "") -> str:
    """``1 blob``, ``3 blobs``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def seconds(duration: float) -> str:
    """A duration in two units at most: ``0.4 s``, ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if duration < 9.95:
        return f"{max(duration, 0.0):.1f} s"
    whole = round(duration)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(words: Iterable[object]) -> str:
    """Foreign words in a row, divided by commas."""
    return ", ".join(safe(str(word)) for word in words)


def wrapped(head: str, phrases: Sequence[str], width: int, indent: int, divider: str = ", ") -> list[str]:
    """``head`` and then ``phrases`` as lines, broken between phrases where they fit; later ones begin at ``indent``."""
    lines, line, bare = [], head, True
    for index, phrase in enumerate(phrases):
        piece = phrase + (divider.rstrip() if index < len(phrases) - 1 else "")
        gap = "" if bare else "  " if divider == "  " else " "
        if divider == ", " and columns(piece) + (columns(line) if bare else indent) > width:
            # Longer than its line: broken at spaces too, since a terminal would do so anywhere.
            first, *rest = _words(piece, lambda word: columns(word) > width - indent)
            if not bare:
                lines.append(line)
                line, gap, bare = " " * indent, "", True
            for word in (first, *rest):
                if not bare and columns(line) + 1 + columns(word) > width:
                    lines.append(line)
                    line, gap = " " * indent, ""
                line += gap + word
                bare, gap = False, " "
            continue
        if not bare and columns(line) + len(gap) + columns(piece) > width:
            lines.append(line)
            line, gap = " " * indent, ""
        line += gap + piece
        bare = False
    return [each.rstrip() for each in (*lines, line)]


def paragraph(text: str, width: int, indent: int) -> list[str]:
    """``text`` broken at spaces: a word that is too long for any line stays whole, so that it can be copied.

    It stands where it stands, and overflows; no line begins with punctuation alone.
    """
    words = _words(text, lambda word: columns(word) > width - indent)
    return wrapped(" " * indent, words, width, indent, divider=" ")


_AMOUNTS: Final = frozenset({"B", "KiB", "MiB", "GiB", "TiB"})
"""What stays with the number before it."""


def _words(text: str, stays: Callable[[str], bool]) -> list[str]:
    """``text`` divided at spaces, but not before punctuation alone nor before what ``stays`` where it stands."""
    words: list[str] = []
    for word in text.split(" "):
        bare = word.strip("(),.;:")
        if words and (stays(word) or bare in _AMOUNTS or not any(map(str.isalnum, word))):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def folded(line: str, width: int | None) -> list[str]:
    """A line that counts: as it is where ``width`` is None, else broken at spaces, with further lines set in."""
    if width is None:
        return [line]
    # A sign alone, such as %, stays with its number.
    first, *rest = _words(line, lambda _: False)
    return wrapped(first, [f" {rest[0]}", *rest[1:]] if rest else [], width, 2, divider=" ")


def spec_causes(
    specs: Iterable[tuple[str, str, str | tuple[str, ...]]], mark: str, width: int, limit: int | None = None
) -> Iterator[str]:
    """Specs (source, destination, cause) under their causes; one cause often stops many. ``limit``: so many of each.

    Of several causes each is told by itself, and as a whole.
    """
    causes: dict[str | tuple[str, ...], list[str]] = {}
    for source, destination, cause in specs:
        causes.setdefault(cause, []).append(f"  {mark} {source} -> {destination}")
    for cause, lines in causes.items():
        yield from lines[:limit]
        if limit is not None and len(lines) > limit:
            yield f"  {mark} and {len(lines) - limit} more"
        told = [safe(cause)] if isinstance(cause, str) else [safe(each, LONG_LIMIT) for each in cause]
        for text in told:
            yield from paragraph(text or "no cause was given", width, 6)


class Style(Enum):
    """How a piece of text is set off where colours are shown."""

    CREATE = "32"
    MOVE = "33"
    FAILURE = "31"
    FAINT = "2"
    STRONG = "1"


def paint(text: str, style: Style, colour: bool) -> str:
    """``text`` in ``style``, or as it is without ``colour``."""
    return f"\x1b[{style.value}m{text}\x1b[0m" if colour and text else text
