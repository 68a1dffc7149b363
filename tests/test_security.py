"""docs/security.md promises what tests keep: each test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"


def named() -> list[tuple[str, str]]:
    """Return the tests that the page names, as file and function."""
    return re.findall(r"`(tests/\w+\.py)::(test_\w+)`", PAGE.read_text())


def functions_of(file: str) -> set[str]:
    """Return the names of the tests in a file; none where there is no such file."""
    path = ROOT / file
    if not path.exists():
        return set()
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_named_test_is_there() -> None:
    """A test that was renamed or removed takes no promise with it unnoticed."""
    assert [] == sorted({f"{file}::{test}" for file, test in named() if test not in functions_of(file)})


def test_every_promise_names_a_test() -> None:
    """Each row of a table of promises says which test keeps it."""
    rows = [
        line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line != "| --- | --- |"
    ]
    promises = [row for row in rows if row != "| promise | kept by |"]
    assert [] == [row for row in promises if not re.search(r"`tests/\w+\.py::test_\w+`", row)]
    assert len(promises) > 30
