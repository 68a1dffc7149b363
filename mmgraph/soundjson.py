"""JSON objects that every parser reads alike. Knows no field of any document.

What two parsers could read differently is refused: a key that stands twice in one object, ``NaN``, bytes that are no
UTF-8.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import msgspec

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


def fields(raw: bytes) -> dict[str, Any]:
    """Return the object in ``raw``; raises ``ValueError``, and ``RecursionError`` where it is nested too deep."""
    found = _plain(raw)
    return _careful(raw) if found is None else found


def members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Return the parts of an object that has been read, byte for byte."""
    return _MEMBERS.decode(raw)


def elements(raw: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """Return the parts of an array that has been read, byte for byte."""
    return _ELEMENTS.decode(raw)


def _plain(raw: bytes) -> dict[str, Any] | None:
    """Return the object, in a third of the time of the careful way; None where only that can say what is wrong.

    Of two equal keys msgspec drops the first. Where there is no backslash, every quotation mark begins or ends a
    string, so that those of a key that was dropped are missed when the rest is written again.
    """
    if b"\\" in raw:
        return None
    try:
        found = _OBJECT.decode(raw)
        whole = _encode(found).count(b'"') == raw.count(b'"')
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    return found if whole else None


def _careful(raw: bytes) -> dict[str, Any]:
    found = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    try:
        # Indexes are cut up with it, so it must agree; an object is all it takes.
        _MEMBERS.decode(raw)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    assert isinstance(found, dict)
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
