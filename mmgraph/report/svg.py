"""A picture of a DOT graph, drawn by Graphviz where it is installed. Knows nothing of what is drawn."""

from __future__ import annotations

import shutil
import subprocess

from mmgraph.errors import SpecError
from mmgraph.report.words import safe

_SECONDS = 120.0


def svg(dot_text: str) -> bytes:
    """The graph as SVG, or ``SpecError`` where Graphviz is not installed, fails or takes too long."""
    program = shutil.which("dot")
    if program is None:
        raise SpecError(
            "SVG needs Graphviz, which is not installed: apt install graphviz, brew install graphviz, or see"
            " https://graphviz.org/download; DOT needs nothing"
        )
    try:
        done = subprocess.run(  # noqa: S603
            [program, "-Tsvg"], input=dot_text.encode(), capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SpecError(
            f"Graphviz took more than {_SECONDS:.0f} seconds: draw less, with --focus or --collapse"
        ) from None
    except OSError as error:
        raise SpecError(f"Graphviz cannot be run: {error}") from error
    if done.returncode:
        raise SpecError(f"Graphviz failed: {safe(done.stderr.decode(errors='replace').strip())}")
    return done.stdout
