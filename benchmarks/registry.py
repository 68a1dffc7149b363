"""Which registry stands at both ends of a benchmark, and what it says of itself. Starts none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

DISTRIBUTION_3: Final = "distribution-3"
"""As ``make bench-peers`` calls it: ``registry``, as ``go install`` does, is what many programs are called."""
DEBIAN: Final = "docker-registry"
_PEERS: Final = Path(__file__).parents[1] / ".cache" / "bench-peers"


def default() -> str:
    """Return distribution 3 from PATH or from where ``make bench-peers`` puts it, and without it Debian's."""
    return shutil.which(DISTRIBUTION_3) or shutil.which(DISTRIBUTION_3, path=str(_PEERS)) or DEBIAN


def version(binary: str) -> str:
    """Return what a registry of distribution says that it is, without its own path."""
    if shutil.which(binary) is None:
        return "not installed"  # which those parts say that need one
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, timeout=60)
    return " ".join(answer.stdout.split()[1:]) or "unknown"


def remark(told: str) -> str:
    """Return why numbers taken with a registry are not those that the reach is meant for, empty where they are."""
    if "/distribution/v3 " in told:
        return ""
    # https://go.dev/doc/go1.21: sha256 uses amd64's own instructions, three to four times as fast.
    return (
        "The registry is not distribution 3, which the reach is meant for and `make bench-peers` makes: where a"
        " registry hashes slowly, as Debian's does, built with Go 1.19, the machine is full before mmgraph is."
    )
