"""Sizes, counts and durations in words, and the escape for all foreign text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.report import words


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (30 * 1024**2 + 100_000, "30.1 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (2**70, "1024.0 EiB"),
    ],
)
def test_a_size_has_a_binary_unit_and_one_decimal(count: int, expected: str) -> None:
    """Bytes are shown in the largest unit that keeps the number below 1024."""
    assert expected == words.size(count)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_duration_has_two_units_at_most(duration: float, expected: str) -> None:
    """Seconds are shown as people say them."""
    assert expected == words.seconds(duration)


@pytest.mark.parametrize(("part", "whole", "expected"), [(0, 0, 0), (999, 1000, 99), (1000, 1000, 100)])
def test_a_hundred_percent_is_all_of_it(part: int, whole: int, expected: int) -> None:
    """Percents are rounded down, and of nothing there are 0."""
    assert expected == words.percent(part, whole)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u200bb\ufeff\u2028", r"a\u200bb\ufeff\u2028"),
        ("\u3164\u115f\ufe0f", r"\u3164\u115f\ufe0f"),
        ("\ud800", r"\ud800"),
        ("::error::x", r"\x3a:error::x"),
        ("x  ::add-mask::y", r"x  \x3a:add-mask::y"),
        ("##vso[task.x]", r"\x23#vso[task.x]"),
        ("##[error]", r"\x23#[error]"),
        ("connect to [::1]:5000", "connect to [::1]:5000"),
    ],
)
def test_foreign_text_obeys_nobody(text: str, expected: str) -> None:
    """Controls, invisible and bidirectional characters and CI commands are escaped, and nothing else is."""
    assert expected == words.safe(text)


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    """Whatever comes in, one line of printable characters that can be encoded comes out."""
    assert words.safe(text).isprintable()
    words.safe(text).encode()


def test_long_text_is_cut() -> None:
    """Text ends with an ellipsis where it is longer than a message should be."""
    assert "aaa…" == words.safe("a" * 1000, 3)


def test_lines_break_between_phrases() -> None:
    """A phrase stays whole but where it is longer than a line, and further lines are indented."""
    expected = ["head  one two,", "   three,", "   a very long", "   phrase"]
    assert expected == words.wrapped("head  ", ["one two", "three", "a very long phrase"], 14, 3)


def test_colours_take_no_room() -> None:
    """The columns of painted text are those of the text, where wide characters count twice."""
    assert 6 == words.columns(words.paint("漢字ab", words.Style.CREATE, colour=True))


def test_a_long_word_overflows_where_it_stands() -> None:
    """A URL in a cause stays whole and where it belongs, and no line is a lone colon."""
    expected = ["  GET https://registry.example/v2/x :", "  it is 404"]
    assert expected == words.paragraph("GET https://registry.example/v2/x : it is 404", 14, 2)


def test_a_line_that_counts_is_folded_for_a_terminal_alone() -> None:
    """A program that cuts it out of a pipe gets one line."""
    assert ["one two three"] == words.folded("one two three", None)
    assert ["one two", "  three"] == words.folded("one two three", 9)


def test_a_phrase_that_is_longer_than_its_line_is_broken_at_a_space() -> None:
    """A terminal would break it anywhere, even before a comma."""
    assert [
        "same image as :v2: 9 blobs, 12 MiB",
        "  shared with :v2, :v1, 3 present",
    ] == words.wrapped("same image as :v2: ", ["9 blobs, 12 MiB shared with :v2, :v1", "3 present"], 34, 2)


def test_no_line_begins_with_a_sign_that_belongs_to_a_number() -> None:
    """A number and its % stay together."""
    assert ["saves 5 MiB", "  (17 %): 2"] == words.folded("saves 5 MiB (17 %): 2", 13)
