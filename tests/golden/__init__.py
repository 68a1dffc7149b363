"""Outputs as they shall be, in files beside this one, for people to read in a diff."""

from __future__ import annotations

import os
from pathlib import Path


def expected(name: str, actual: str) -> str:
    """Return the text of the golden file ``name``; where ``UPDATE_GOLDEN`` is set, ``actual`` becomes it."""
    path = Path(__file__).parent / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(actual)
    return path.read_text()
