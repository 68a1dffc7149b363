"""What memory mmgraph takes: not more for larger blobs, and how much a node of the graph."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import registry
from benchmarks.fleet import SHAPES, TINY, Fleet, Shape
from benchmarks.run import call, say
from benchmarks.tools import TOOLS, Job
from tests.support.distribution import Distribution, roomy_directory

LARGE: Final = Shape("LARGE", 1, 1, 1, 8.0, 0)
"""One image of four layers, 240 MB the largest."""


def nodes(fleet: Fleet) -> int:
    """Return how many nodes the graph of a mirror of ``fleet`` has: what its repositories hold, and tags."""
    held = [fleet.held(repository) for repository in fleet.tags]
    tags = sum(len(tags) for tags in fleet.tags.values())
    return sum(len(documents) + len(blobs) for documents, blobs in held) + tags


def peak(shape: Shape, work: Path) -> tuple[int, float]:
    """Mirror a fleet of this shape with mmgraph and return its nodes and the peak RSS in megabytes."""
    home = Path(tempfile.mkdtemp(dir=work))
    try:
        fleet = Fleet(shape, directory=home / "blobs")
        fleet.write_distribution_storage(home / "source")
        binary = registry.default()
        with (
            Distribution(home / "source", binary=binary) as source,
            Distribution(binary=binary) as destination,
        ):
            command = TOOLS["mmgraph"].command(Job(fleet, source.address, destination.address, home))
            return nodes(fleet), call(command, home)[2]
    finally:
        shutil.rmtree(home)


def main(arguments: list[str]) -> None:
    """Compare the peak memory of mmgraph on a tiny fleet, on large blobs and on many nodes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=main.__doc__)
    parser.add_argument("--many", choices=sorted(SHAPES), default="M", help="the fleet of many nodes (M)")
    options = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="mmgraph-memory-", dir=roomy_directory()))
    try:
        rows = {}
        for shape in (TINY, LARGE, SHAPES[options.many]):
            say(f"mirroring {shape.name}")
            rows[shape.name] = peak(shape, work)
    finally:
        shutil.rmtree(work)
    print("| fleet | nodes | peak RSS MB |\n|---|---|---|")
    for name, (count, megabytes) in rows.items():
        print(f"| {name} | {count} | {megabytes:.0f} |")
    (few, base), (many, top) = rows[TINY.name], rows[options.many]
    kilobytes, larger = (top - base) * 1000 / (many - few), rows["LARGE"][1] - base
    print(f"\nA node takes {kilobytes:.2f} kB; larger blobs {larger:+.0f} MB.")


if __name__ == "__main__":
    main(sys.argv[1:])
