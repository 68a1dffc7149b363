"""docs/design.md tells of the modules that there are."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_layers import LAYERS

PAGE = Path(__file__).parents[1] / "docs" / "design.md"
UNTOLD = {"registry", "__main__"}
"""What has no content of its own."""


def test_the_table_of_modules() -> None:
    """Each module is in the table, in its layer, and no other one."""
    rows = re.findall(r"^\| (\d+) \| (`.+?`) \| ", PAGE.read_text(), re.MULTILINE)
    told = {
        name.replace("/", "."): int(layer)
        for layer, names in rows
        for name in re.findall(r"`([\w/]+?)(?:\.py|/)`", names)
    }
    assert {name: room.layer for name, room in LAYERS.items() if name not in UNTOLD} == told


def test_the_table_goes_upwards() -> None:
    """Its rows stand in the order of their layers, as the page says."""
    layers = [int(layer) for layer in re.findall(r"^\| (\d+) \| `", PAGE.read_text(), re.MULTILINE)]
    assert sorted(layers) == layers
