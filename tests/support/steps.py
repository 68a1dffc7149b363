"""Counts what reading costs: lines of Python, and the tries of a regular expression. Knows no clock."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any


def lines(work: Callable[[], object], raises: tuple[type[Exception], ...]) -> int:
    """Return how many lines of Python ``work`` runs."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(*raises):
            work()
    finally:
        sys.settrace(before)
    return count


class Steps:
    """Matches as the engine of ``re`` does, by backtracking, and counts what it tries."""

    def __init__(self, pattern: re.Pattern[str], text: str, limit: int) -> None:
        self.text = text
        self.fold = bool(pattern.flags & re.IGNORECASE)
        self.count = 0
        self.limit = limit
        self.tree = parser.parse(pattern.pattern, pattern.flags)

    def run(self) -> int:
        """Return the steps of a full match from the beginning."""
        next((end for end in self.sequence(list(self.tree), 0) if end == len(self.text)), None)
        return self.count

    def sequence(self, items: list[Any], at: int) -> Iterator[int]:
        """Yield every end that ``items`` can reach from ``at``, the engine's favourite first."""
        self.count += 1
        if self.count > self.limit:
            raise OverflowError
        if not items:
            yield at
            return
        for end in self.one(items[0], at):
            yield from self.sequence(items[1:], end)

    def one(self, item: Any, at: int) -> Iterator[int]:
        """Yield the ends of one element."""
        kind, value = item
        if kind in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
            yield from self.repeat(value, at)
        elif kind is codes.SUBPATTERN:
            yield from self.sequence(list(value[3]), at)
        elif kind is codes.BRANCH:
            for branch in value[1]:
                yield from self.sequence(list(branch), at)
        elif kind is codes.AT:
            if at == (0 if value in {codes.AT_BEGINNING, codes.AT_BEGINNING_STRING} else len(self.text)):
                yield at
        elif kind in {codes.ASSERT, codes.ASSERT_NOT}:
            found = next(self.sequence(list(value[1]), at), None) is not None
            if found is (kind is codes.ASSERT):
                yield at
        elif at < len(self.text) and self.fits(kind, value, self.text[at]):
            yield at + 1

    def repeat(self, bounds: tuple[int, int, Any], at: int) -> Iterator[int]:
        """Yield the ends of a greedy repetition, longest first, without recursion for single characters."""
        least, most, inner = bounds
        body = list(inner)
        stack: list[tuple[int, int, Iterator[int]]] = [(0, at, self.sequence(body, at))]
        while stack:
            count, here, ends = stack[-1]
            end = next(ends, None) if count < int(most) else None
            if end is not None and (end > here or count < least):
                stack.append((count + 1, end, self.sequence(body, end)))
                continue
            stack.pop()
            if count >= least:
                yield here

    def fits(self, kind: Any, value: Any, character: str) -> bool:
        """Whether one character is what the element asks for."""
        if kind is codes.ANY:
            return True
        if kind is codes.IN:
            negate = value[0][0] is codes.NEGATE
            return (
                any(self.fits(each[0], each[1], character) for each in value if each[0] is not codes.NEGATE)
                is not negate
            )
        code = ord(character)
        if kind is codes.RANGE:
            cases = {code, ord(character.lower()), ord(character.upper()[0])} if self.fold else {code}
            return any(value[0] <= each <= value[1] for each in cases)
        if kind is codes.CATEGORY:
            return {
                codes.CATEGORY_DIGIT: character.isdigit(),
                codes.CATEGORY_SPACE: character.isspace(),
                codes.CATEGORY_WORD: character.isalnum() or character == "_",
            }[value]
        same = chr(value).lower() == character.lower() if self.fold else value == code
        return same is (kind is codes.LITERAL)


def counted(pattern: re.Pattern[str], text: str, limit: int) -> int:
    """Return the steps of a full match; ``limit`` where there are more."""
    try:
        return Steps(pattern, text, limit).run()
    except OverflowError:
        return limit
