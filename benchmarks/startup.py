"""How long the command line takes to come up: its help, and a plan of nothing, beside an empty cyclopts app."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.run import call

TURNS: Final = 15
_EMPTY_APP: Final = "from cyclopts import App; App(name='empty')(['--help'])"


def commands(home: Path) -> dict[str, list[str]]:
    """What is run, by name; an empty set of specs is kept in ``home``."""
    nothing = home / "specs.json"
    nothing.write_text("")
    return {
        "empty cyclopts app": [sys.executable, "-c", _EMPTY_APP],
        "mmgraph --help": [sys.executable, "-m", "mmgraph", "--help"],
        "mmgraph plan of an empty set": [sys.executable, "-m", "mmgraph", "plan", str(nothing)],
    }


def measure(turns: int = TURNS) -> dict[str, list[tuple[float, float]]]:
    """Return wall and cpu seconds of each command, run in turns; once before, so that all is in the disk's cache."""
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="mmgraph-startup-") as directory:
        home = Path(directory)
        for number in range(turns + 1):
            for name, command in commands(home).items():
                wall, cpu, _ = call(command, home)
                if number:
                    found.setdefault(name, []).append((wall, cpu))
    return found
