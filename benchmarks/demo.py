"""The images of the demo: a small fleet pushed to one registry, and specs that mirror it to another."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from benchmarks.fleet import Fleet, Shape

DEMO: Final = Shape("DEMO", 4, 2, 3, 0.05, 3)
"""Eight images and four aliases, each for three platforms; the last repository is copied for two of them."""
_LIMIT: Final = {"limitPlatforms": ["linux/amd64", "linux/arm64"]}


def main(source: str, destination: str, path: str) -> None:
    """Push the images to ``source`` and write the specs to the file ``path``."""
    fleet = Fleet(DEMO)
    fleet.push(source)
    specs = [json.loads(line) for line in fleet.specs(source, destination, "mirror/").splitlines()]
    for spec in specs:
        if f"service-{DEMO.repositories - 1}:" in spec["src"]:
            spec["transform"] = _LIMIT
    Path(path).write_text("".join(json.dumps(spec) + "\n" for spec in specs))
    megabytes = fleet.truth().unique_bytes / 1e6
    print(f"pushed {len(specs)} tags of {DEMO.repositories} repositories, {megabytes:.0f} MB of layers")


if __name__ == "__main__":
    main(*sys.argv[1:])
