"""The pages that are made from the command line: they say what it says, and read well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

from mmgraph.cli.app import app
from tests.support.command import ROOT, Command

DOCS: Final = ROOT / "docs"
_SURROUNDINGS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"COLUMNS": "40", "FORCE_COLOR": "1", "LC_ALL": "C"},
    {"COLUMNS": "300", "MMGRAPH_JOBS": "3"},
)


@pytest.mark.parametrize("variables", _SURROUNDINGS)
def test_the_pages_are_what_the_command_line_says(tmp_path: Path, variables: dict[str, str]) -> None:
    """Made anew anywhere, docs/cli.md and docs/mmgraph.1 come out as they are; else run make docs."""
    done = subprocess.run(
        [sys.executable, DOCS / "reference.py", "--check"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_groff_has_nothing_to_say_against_the_manual() -> None:
    """The man page is set without a warning."""
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", DOCS / "mmgraph.1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


async def test_each_option_of_each_help_page_is_in_both(tmp_path: Path) -> None:
    """No command and no option that --help shows is missing in the pages, as a reader sees them."""
    command = Command(tmp_path)
    shown: set[str] = set()
    names = [name for name in app if not name.startswith("-") and name not in ("auth", "cache")]
    for name in (*names, "auth check", "cache info", "cache clear"):
        arguments = name.split()
        page = (await command.run(*arguments, "--help", variables={"COLUMNS": "200"})).out
        shown |= {f"mmgraph {' '.join(arguments)}", *re.findall(r"(?<![\w-])--?[a-z][a-z-]*", page)}
    manual = _typeset()
    reference = (DOCS / "cli.md").read_text()
    assert [] == sorted(word for word in shown if word not in manual or word not in reference)


@pytest.mark.parametrize("page", ["cli.md", "mmgraph.1"])
def test_the_pages_have_all_that_is_no_option(page: str) -> None:
    """Exit codes, variables and files have chapters."""
    text = (DOCS / page).read_text().replace("\\", "").lower()
    chapters = (
        "exit codes",
        "environment",
        "files",
        "mmgraph.toml",
        "130",
        "xdg_cache_home",
        "registry_auth_file",
    )
    assert [] == [word for word in chapters if word not in text]


def test_links_of_the_reference_lead_somewhere() -> None:
    """Each command of the list at the top has its chapter."""
    text = (DOCS / "cli.md").read_text()
    anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_the_wheel_brings_the_manual(tmp_path: Path) -> None:
    """What pip installs has the man page where man looks for it."""
    building = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(building, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("/share/man/man1/mmgraph.1"))
        assert (DOCS / "mmgraph.1").read_bytes() == wheel.read(name)


def _typeset() -> str:
    """The manual in lines so long that none is broken."""
    return subprocess.run(
        ["groff", "-man", "-Tascii", "-P-c", "-P-b", "-P-o", "-P-u", "-rLL=200n", DOCS / "mmgraph.1"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
