"""WWW-Authenticate as strangers write it.

Owns the scanner of challenges. Must not know sockets, credentials or tokens, nor whom to trust.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LIMIT: Final = 64 << 10
"""Characters of all headers together that are read."""
_CHALLENGES_LIMIT: Final = 16
_PARAMETERS_LIMIT: Final = 32


class Challenge(msgspec.Struct, frozen=True):
    """One challenge (RFC 9110, 11.6.1); scheme and parameter names are in lower case."""

    scheme: str
    parameters: dict[str, str]


# RFC 9110, 5.6: tokens, quoted strings. A quoted string that does not end matches nothing, in linear time.
_SEPARATOR: Final = re.compile(r"[ \t,]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")
_EQUALS: Final = re.compile(r"[ \t]*=[ \t]*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all WWW-Authenticate headers in order; a header ends at its first bad byte.

    Commas separate challenges as well as parameters, and may stand in quoted values: this is a scanner, since
    splitting would cut Docker Hub's ``scope="repository:a:pull,push"`` in two.
    """
    found: list[Challenge] = []
    left = _LIMIT
    for header in headers:
        text, left = header[:left], left - len(header[:left])
        for challenge in _scan(text):
            if len(found) == _CHALLENGES_LIMIT:
                return tuple(found)
            found.append(challenge)
    return tuple(found)


def _scan(text: str) -> Iterator[Challenge]:
    current: Challenge | None = None
    named_now = False  # nothing but blanks since the scheme's name
    at = 0
    while True:
        separator = _SEPARATOR.match(text, at)
        at = separator.end() if separator else at
        named_now = named_now and "," not in (separator.group() if separator else "")
        if named_now and (alone := _TOKEN68.match(text, at)):  # "Negotiate YII=": its one value has no name
            at, named_now = alone.end(), False
            continue
        word = _TOKEN.match(text, at)
        if word is None:
            break
        equals = _EQUALS.match(text, word.end())
        if equals is None:
            if current is not None:
                yield current
            current, named_now, at = Challenge(word.group().lower(), {}), True, word.end()
            continue
        quoted = _QUOTED.match(text, equals.end())
        value = quoted or _TOKEN.match(text, equals.end())
        if value is None:
            break
        at, named_now = value.end(), False
        if current is not None and len(current.parameters) < _PARAMETERS_LIMIT:
            content = _ESCAPED.sub(r"\1", quoted.group(1)) if quoted else value.group()
            current.parameters.setdefault(word.group().lower(), content)
    if current is not None:
        yield current
