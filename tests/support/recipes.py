"""docs/recipes.md: files to write and commands to run, in order. ``python -m tests.support.recipes`` rewrites the page
with the real output of this version.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support.readme import ROOT, Step, Tour, rewritten, steps

RECIPES = ROOT / "docs" / "recipes.md"
_FENCE = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the file that it is if it has a name, and its lines."""

    language: str
    name: str
    body: str

    @property
    def steps(self) -> list[Step]:
        """The commands of a console block."""
        return steps(f"```console\n{self.body}```")[0]


def blocks() -> list[Block]:
    """The fenced blocks of the page, in order."""
    return [Block(match[1], match[2] or "", match[3]) for match in _FENCE.finditer(RECIPES.read_text())]


def write_files(directory: Path, tour: Tour | None = None) -> None:
    """Write every block that is a file; for a tour with its ports."""
    for block in blocks():
        if block.name:
            path = directory / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(tour.real(block.body) if tour else block.body)


def main() -> None:
    """Rewrite the page."""
    with tempfile.TemporaryDirectory() as name, Tour(Path(name), checkout=False) as tour:
        write_files(Path(name), tour)
        RECIPES.write_text(rewritten(RECIPES.read_text(), tour))


if __name__ == "__main__":
    main()
