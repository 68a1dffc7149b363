"""JSON objects that every parser reads alike: the quick way refuses what the careful one refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph import soundjson

if TYPE_CHECKING:
    from collections.abc import Callable

STRINGS = st.text(st.sampled_from('ab"\\{}[]:, é\x7f\x00\n\ud800'), max_size=3)
NUMBERS = st.integers() | st.floats() | st.sampled_from([-0.0, 1e308, 2**63, 2**64, 10**400])


class Pairs(list[tuple[str, Any]]):
    """An object's members as they stand in the text, equal keys and all."""


VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(STRINGS, inner), max_size=4).map(Pairs),
    max_leaves=8,
)
OBJECTS = st.lists(st.tuples(STRINGS, VALUES), max_size=4).map(Pairs)


def written(value: object, *, escape: bool = False) -> str:
    """``value`` as JSON, equal keys and all; ``escape``: with escapes for all that is not ASCII."""
    if isinstance(value, Pairs):
        members = (f"{json.dumps(key, ensure_ascii=escape)}: {written(each)}" for key, each in value)
        return f"{{{','.join(members)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value, ensure_ascii=escape)


def careful(raw: bytes) -> dict[str, Any]:
    """What Python's own parser makes of ``raw``, which shows all keys of an object, where msgspec's agrees."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    def refuse(name: str) -> object:
        raise ValueError(name)

    found: dict[str, Any] = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=refuse)
    msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return found


def outcome(parser: Callable[[bytes], dict[str, Any]], raw: bytes) -> str:
    """What the parser finds, with its types, or that it refuses."""
    try:
        return repr(parser(raw))
    except (ValueError, msgspec.MsgspecError):
        return "refused"


@given(OBJECTS, st.booleans())
def test_whatever_is_written_is_read_as_python_reads_it(value: Pairs, escape: bool) -> None:
    """The same values of the same types, or both refuse: keys that stand twice, at any depth, are one reason."""
    raw = written(value, escape=escape).encode("utf-8", "surrogatepass")

    assert outcome(careful, raw) == outcome(soundjson.fields, raw)


@given(OBJECTS, st.data())
def test_whatever_is_spoilt_is_read_as_python_reads_it(value: Pairs, data: st.DataObject) -> None:
    """So is a text in which any byte was changed, put in or taken out."""
    raw = written(value).encode("utf-8", "surrogatepass")
    place = data.draw(st.integers(0, len(raw)))
    between = data.draw(
        st.sampled_from([b"", b'"', b"\\", b"{", b"}", b",", b":", b"\x1f", b"\xff", b"0", b"-"])
    )

    raw = raw[:place] + between + raw[place + data.draw(st.integers(0, 2)) :]

    assert outcome(careful, raw) == outcome(soundjson.fields, raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":"","a":""}',
        b'{"b":{"a":1,"a":2}}',
        b'{"b":[{"a":{},"a":{}}]}',
        b'{"a":{"b":"x"},"a":{"b":"x"}}',
        b'{"":0,"":0}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":"\\"","a":"x"}',
        b'{"a":NaN}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b"[]",
        b"3",
        b"",
    ],
)
def test_what_two_parsers_read_differently_is_refused(raw: bytes) -> None:
    """Wherever it stands."""
    with pytest.raises(ValueError, match=r"."):
        soundjson.fields(raw)


@pytest.mark.parametrize("raw", [b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"a":' + b"[" * 100_000])
def test_what_is_nested_too_deep_is_refused(raw: bytes) -> None:
    """By an error that can be told from all others."""
    with pytest.raises(RecursionError):
        soundjson.fields(raw)


def test_parts_are_kept_byte_for_byte() -> None:
    """Spaces, escapes and the forms of numbers are as they were."""
    parts = soundjson.members(b'{ "a" : [ 1.0, "\\u003c" ] ,"b":{ } }')

    assert ([b"1.0", b'"\\u003c"'], b"{ }") == (
        [bytes(part) for part in soundjson.elements(parts["a"])],
        bytes(parts["b"]),
    )
