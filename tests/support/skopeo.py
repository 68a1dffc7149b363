"""skopeo as an independent judge, run without any configuration of the user. Knows nothing of mmgraph."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile


class SkopeoError(Exception):
    """skopeo said no; the message is its own."""


async def run(*arguments: str) -> bytes:
    """Run skopeo and return what it wrote to standard output.

    A missing skopeo is a ``FileNotFoundError``: without the judge nothing is proven.
    """
    binary = shutil.which("skopeo")
    if binary is None:
        raise FileNotFoundError("skopeo is not installed: the tests need an independent reader")
    with tempfile.TemporaryDirectory(prefix="mmgraph-skopeo-") as home:
        process = await asyncio.create_subprocess_exec(
            binary,
            "--insecure-policy",
            "--tmpdir",
            home,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "HOME": home, "XDG_RUNTIME_DIR": home},
        )
        try:
            output, errors = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
    if process.returncode != 0:
        raise SkopeoError(errors.decode(errors="replace").strip())
    return output


async def inspect_raw(reference: str) -> bytes:
    """Return the bytes of the manifest or index that ``host:port/repository:tag`` or ``…@digest`` names."""
    return await run("inspect", "--tls-verify=false", "--raw", f"docker://{reference}")


async def copy(source: str, destination: str, *options: str) -> None:
    """Copy an image with all its platforms from one registry to another, digests unchanged."""
    await run(
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        *options,
        f"docker://{source}",
        f"docker://{destination}",
    )
