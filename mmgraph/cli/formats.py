"""What a plan is printed as: one view a format. Decides nothing about the plan."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mmgraph.cli.options import Look

if TYPE_CHECKING:
    from mmgraph.plan import Plan

Format = Literal["text", "json", "markdown", "html", "dot", "svg", "specs", "github"]
HELP: Final = (
    "json is what --out saves; markdown fits into a comment; html is one page to open in a browser; specs has each"
    " source pinned to its digest; github is text, with annotations and the step's summary in a job of GitHub Actions."
)
NOTED: Final = frozenset({"text", "github", "markdown", "json"})
"""The formats that say themselves what a plan rests on."""
_SUMMARY_LIMIT: Final = 1 << 20
"""Bytes that GitHub takes as the summary of one step, of all that wrote to it."""


def rendered(
    made: "Plan", form: Format, look: Look, notes: Sequence[str], *, unfold: bool, top: int | None = None
) -> bytes:
    """Return the plan in that format; ``unfold``: what is there already too, where that makes a difference.

    ``top``: in text, so many of the tags and blobs instead, those that cost most.
    """
    if form == "json":
        from mmgraph import __version__, saved

        return saved.write(made, f"mmgraph {__version__}")
    if form == "markdown":
        from mmgraph.report.markdown import plan_markdown

        return plan_markdown(made, notes=notes).encode()
    if form == "html":
        from mmgraph.report.page import page

        return page(made)
    if form in ("dot", "svg"):
        from mmgraph.report.dot import dot
        from mmgraph.report.svg import svg

        drawn = dot(made, unfold=unfold)
        return svg(drawn) if form == "svg" else drawn.encode()
    if form == "specs":
        from mmgraph.report.spec_lines import pinned_lines

        return pinned_lines(made).encode()
    above = _tell_github(made, notes, os.environ) if form == "github" else ""
    return f"{above}{_text(made, look, notes, unfold=unfold, top=top)}".encode()


def _text(made: "Plan", look: Look, notes: Sequence[str], *, unfold: bool, top: int | None) -> str:
    """The plan for people."""
    from mmgraph.cli.creation import programs
    from mmgraph.cli.output import wants_colour, width
    from mmgraph.ranking import rank
    from mmgraph.report.text import plan_text

    return plan_text(
        made,
        unfold=unfold,
        colour=wants_colour(sys.stdout, look.color),
        width=width(),
        fold=sys.stdout.isatty(),
        notes=notes,
        creators=programs(),
        ranking=None if top is None else rank(made, top),
    )


def _tell_github(made: "Plan", notes: Sequence[str], environ: Mapping[str, str]) -> str:
    """Append to the step's summary, where there is one, and return the annotations, where a runner reads them."""
    from mmgraph.report.github import plan_annotations
    from mmgraph.report.markdown import plan_markdown

    summarize(plan_markdown(made, notes=notes), environ)
    return plan_annotations(made) if environ.get("GITHUB_ACTIONS") == "true" else ""


def summarize(text: str, environ: Mapping[str, str]) -> None:
    """Append Markdown to the summary of a step of GitHub Actions, where there is one."""
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        path, added = Path(summary), text.encode()
        written = path.stat().st_size if path.exists() else 0
        if written + len(added) <= _SUMMARY_LIMIT:  # GitHub drops all of one that is longer
            with path.open("ab") as file:
                file.write(added)
