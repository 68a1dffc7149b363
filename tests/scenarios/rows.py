"""What a row of the table of bad days is. Knows no row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage

Check = Callable[["Stage", "Run"], object]
"""Returns what is not as it should be: empty or None where all is well."""


@dataclass(frozen=True)
class Row:
    """One bad day, for one object at one side.

    ``arrange`` makes images and mischief (by default one image is made after it). ``end`` is the outcome of each
    spec, by name where they differ; ``words`` are in the causes. ``again`` is how often blobs may be sent a second
    time; ``requests`` how many requests there may be at all,
    ``sessions`` how many upload sessions may be left open.
    """

    number: int
    name: str
    case: str
    arrange: Callable[[Stage], object]
    end: str | Mapping[str, str] = "copied"
    words: tuple[str, ...] = ()
    again: int = 0
    requests: int = 60
    sessions: int = 0
    check: Check = lambda stage, run: None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the destination, as of ``Host``."""
    source_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called in a test's name."""
        return f"{self.number:02}-{self.name}-{self.case}".replace(" ", "-")


@dataclass(frozen=True)
class Elsewhere:
    """A bad day that tests of their own keep: ``file.py::test``."""

    number: int
    name: str
    tests: tuple[str, ...]
