"""The Makefile: what it takes away is what it has made."""

import shutil
import subprocess
from pathlib import Path

from tests.support.command import ROOT

PACKAGES = ("mmgraph", "tests", "benchmarks", "docs")
MADE = (
    *(f"{package}/__pycache__/a.pyc" for package in PACKAGES),
    ".venv/bin/python",
    ".cache/bench-peers/crane",
    "demo/1.log",
    ".mypy_cache/a",
)
OWN = (
    "mirror/a/index.json",
    "upstream/a/index.json",
    "dist/a.whl",
    "mine/__pycache__/a.pyc",
    "tour.json",
    "specs.json",
)


def test_clean_leaves_what_is_the_users(tmp_path: Path) -> None:
    """Registries of the tour's names, wheels and plans, whatever git ignores, stay."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in (*MADE, *OWN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "--silent", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {name for name in (*MADE, *OWN) if (tmp_path / name).exists()}
    assert set(OWN) == left
