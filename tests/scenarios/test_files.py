"""Disks that are full."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mmgraph.server import MemoryStorage, RegistryServer
from tests.support.command import Command, end
from tests.support.images import Maker
from tests.support.mirror import spec


async def test_a_full_disk_keeps_the_old_plan(tmp_path: Path) -> None:
    """A plan that cannot be written is a failure, and the file of the same name is as it was, alone."""
    command = Command(tmp_path)
    storage = MemoryStorage()
    Maker(storage).image("app", b"layer", tags=("v1",))
    async with RegistryServer(storage) as source, RegistryServer(MemoryStorage()) as destination:
        command.write("specs.json", spec(f"{source.address}/app:v1", f"{destination.address}/app:v1"))
        command.write("plan.json", "the old one")
        small_files = f"ulimit -f 1; exec {sys.executable} -m mmgraph plan --no-cache --out plan.json"

        done = await end(
            await asyncio.create_subprocess_exec(
                *("sh", "-c", small_files),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=tmp_path,
                # Compiled modules would be cut short as well, and stay.
                env={**command.environment, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        )

    left = (done.code, *_files(tmp_path))
    assert (1, "the old one", ["plan.json", "specs.json"]) == left, done.err


def _files(directory: Path) -> tuple[str, list[str]]:
    names = sorted(path.name for path in directory.iterdir() if path.is_file())
    return (directory / "plan.json").read_text(), names
