"""What a plan of very many images costs to save, to read back with all its digests checked, and to show."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import time
from typing import Final

from benchmarks.scale import made
from mmgraph import saved
from mmgraph.cli.formats import Format, rendered
from mmgraph.cli.options import LOOK

FORMATS: Final[tuple[Format, ...]] = ("text", "github", "markdown", "html", "dot", "specs")
"""All but json, which is what is saved, and svg, which graphviz draws of dot."""


def measure(images: int) -> dict[str, dict[str, float]]:
    """Return for writing, reading and each format the seconds, the bytes and the most memory so far."""
    plan, _ = made(images)
    found: dict[str, dict[str, float]] = {}

    def note(name: str, began: float, size: int) -> None:
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        found[name] = {"seconds": round(seconds, 2), "megabytes": size / 1e6, "rss_mb": peak}
        gc.collect()

    note("the plan itself", time.perf_counter(), 0)
    began = time.perf_counter()
    raw = saved.write(plan, "mmgraph")
    note("write", began, len(raw))
    for form in FORMATS:
        began = time.perf_counter()
        size = len(rendered(plan, form, LOOK, (), unfold=False))
        note(form, began, size)
    del plan
    began = time.perf_counter()
    again = saved.read(raw)
    note("read", began, len(raw))
    if len(again.goals) != images:
        raise RuntimeError(f"{len(again.goals)} images were read, not {images}")
    return found


def main(arguments: list[str]) -> None:
    """Save, read and show a plan, in this process, and print what that took as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description=main.__doc__)
    parser.add_argument("images", type=int)
    print(json.dumps(measure(parser.parse_args(arguments).images)))


if __name__ == "__main__":
    main(sys.argv[1:])
