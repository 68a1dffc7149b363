"""The OCI distribution conformance suite, built once and run against an address. Knows nothing of mmgraph."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULE: Final = "github.com/opencontainers/distribution-spec/conformance"
VERSION: Final = "v0.0.0-20260831232431-97274622c111"
CACHE: Final = Path(__file__).parents[1] / ".cache" / "conformance"
NO_DELETES: Final = {
    "OCI_API_BLOBS_DELETE": "false",
    "OCI_API_MANIFESTS_DELETE": "false",
    "OCI_API_TAGS_DELETE": "false",
}


class ConformanceError(AssertionError):
    """The suite could not be built or did not run; its own words."""


class Results(NamedTuple):
    """What became of the suite's tests; ``failures`` are ``name: reason``."""

    passed: int
    skipped: int
    disabled: int
    failures: tuple[str, ...]


async def binary() -> Path:
    """Return the suite's program, built from the Go module on first use. Raises where there is no Go."""
    program = CACHE / VERSION / "conformance"
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            raise FileNotFoundError("go is not installed: the conformance suite is a Go program")
        program.parent.mkdir(parents=True, exist_ok=True)
        building = program.with_name(f"building-{os.getpid()}")
        await _run(go, "install", f"{MODULE}@{VERSION}", environment={**os.environ, "GOBIN": str(building)})
        (building / "conformance").replace(program)
        building.rmdir()
    return program


async def run_conformance(
    address: str, results: Path, *, options: Mapping[str, str] | None = None
) -> Results:
    """Run the suite over plain HTTP, deletes off, and return its results; reports are left in ``results``.

    ``options`` are more ``OCI_…`` variables of the suite. What it pushes stays in the repositories
    ``conformance/repo1`` and ``conformance/repo2``.
    """
    program = await binary()
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(results),
        "OCI_REGISTRY": address,
        "OCI_TLS": "disabled",
        "OCI_LOG": "error",
        "OCI_RESULTS_DIR": str(results),
        **NO_DELETES,
        **(options or {}),
    }
    report = _report(results)
    output = await _run(str(program), environment=environment, directory=results, expect=(0, 1))
    if not report.exists():
        raise ConformanceError(output)
    return _read(report)


def _report(results: Path) -> Path:
    results.mkdir(parents=True, exist_ok=True)
    report = results / "junit.xml"
    report.unlink(missing_ok=True)
    return report


def _read(report: Path) -> Results:
    counts = {"passed": 0, "skipped": 0, "disabled": 0}
    failures = []
    for case in ElementTree.parse(report).iter("testcase"):
        status = case.get("status", "")
        if status in counts:
            counts[status] += 1
        else:
            failures.append(f"{case.get('name')}: {case.findtext('system-out') or status}")
    return Results(counts["passed"], counts["skipped"], counts["disabled"], tuple(failures))


async def _run(
    *command: str,
    environment: Mapping[str, str],
    directory: Path | None = None,
    expect: tuple[int, ...] = (0,),
) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(environment),
        cwd=directory,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode not in expect:
        raise ConformanceError(output.decode(errors="replace"))
    return output.decode(errors="replace")
