"""Memory over time while 32 blobs of 10 GiB are copied at once.

The blobs are sparse files, served by ``mmgraph serve``; the destination throws them away. None comes to its end, so
that their digests need not be true: what is looked at is what a long transfer takes while it lasts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tests.support.distribution import roomy_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSFERS: Final = 32
SIZE: Final = 10 << 30
SECONDS: Final = 24


class Flow(msgspec.Struct, frozen=True):
    """What was seen: resident megabytes once a second, and the most that the kernel has seen."""

    transfers: int
    """Uploads that were open at once, as the destination counted them."""
    gigabytes: float
    """What arrived there."""
    resident: list[float]
    peak: float


def lay_out(directory: Path, transfers: int, size: int) -> None:
    """Write an OCI layout of one image with so many sparse layers; only its documents have true digests."""
    blobs = directory / "big" / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def keep(document: dict[str, object], media_type: str) -> dict[str, object]:
        raw = json.dumps(document).encode()
        digest = hashlib.sha256(raw).hexdigest()
        (blobs / digest).write_bytes(raw)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(raw)}

    layers = []
    for number in range(transfers):
        name = hashlib.sha256(f"layer {number}".encode()).hexdigest()
        with (blobs / name).open("wb") as file:
            file.truncate(size)
        layers.append(
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": f"sha256:{name}",
                "size": size,
            }
        )
    config = keep({"architecture": "amd64", "os": "linux"}, "application/vnd.oci.image.config.v1+json")
    media_type = "application/vnd.oci.image.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
    manifest = keep(document, media_type)
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (directory / "big" / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "big" / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))


@contextmanager
def _serving(command: list[str], told: list[str]) -> Iterator[str]:
    """Yield the address that a server prints; ``told`` gets what else it prints."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            told += process.stdout.read().splitlines()


def _status(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Resident megabytes of a process now, and at most so far."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    fields = {line.partition(":")[0]: line.split() for line in lines}
    return int(fields["VmRSS"][1]) / 1000, int(fields["VmHWM"][1]) / 1000


def measure(transfers: int = TRANSFERS, size: int = SIZE, seconds: int = SECONDS) -> Flow:
    """Copy for so long, look once a second, and stop. Raises ``RuntimeError`` where copying ended by itself."""
    work = Path(tempfile.mkdtemp(prefix="mmgraph-flow-", dir=roomy_directory()))
    told: list[str] = []
    resident: list[float] = []
    peak = 0.0
    try:
        lay_out(work / "images", transfers, size)
        serve = [sys.executable, "-m", "mmgraph", "serve", str(work / "images")]
        with _serving(serve, []) as source, _serving([sys.executable, "-m", "benchmarks.sink"], told) as sink:
            specs = work / "specs.json"
            specs.write_text(json.dumps({"src": f"{source}/big:v1", "dst": f"{sink}/big:v1"}))
            with (work / "log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "mmgraph", "apply", "--jobs", str(transfers), str(specs)],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "HOME": str(work), "XDG_CACHE_HOME": str(work)},
                )
            try:
                for _ in range(seconds):
                    time.sleep(1)
                    if process.poll() is not None:
                        raise RuntimeError(
                            f"apply ended with {process.returncode}: {(work / 'log').read_text()[-500:]}"
                        )
                    now, peak = _status(process)
                    resident.append(round(now, 1))
                process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                process.wait(20)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
    finally:
        shutil.rmtree(work)
    counted = json.loads(told[-1])
    return Flow(counted["uploads_at_once"], counted["bytes"] / 1e9, resident, peak)


if __name__ == "__main__":
    print(json.dumps(msgspec.to_builtins(measure()), indent=1))
