"""A plan of very many images, without a network: what planning itself costs, in seconds and memory, and whether both
grow with the set alone.

Closures are made up as they are asked for, as documents that stay on disk would be: an index, two platforms, each with
a config and seven layers, of which four are its own, one is shared with the next tag, one with the repository and one
with all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache

from mmgraph.closure import Image
from mmgraph.evidence import Evidence, Look
from mmgraph.names import Digest, Platform, Reference, Registry, Repository
from mmgraph.oci import OCI_INDEX, OCI_MANIFEST, Document, parse
from mmgraph.plan import Plan, Planner
from mmgraph.specs import CopySpec, Origin

TAGS = 20
"""Of each repository."""
_PLATFORMS = ("amd64", "arm64")


def _blob(name: str, size: int, kind: str = "layer.v1.tar+gzip") -> dict[str, object]:
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": f"sha256:{hashlib.sha256(name.encode()).hexdigest()}",
        "size": size,
    }


@lru_cache(maxsize=64)
def _documents(number: int) -> tuple[Document, ...]:
    """The documents of an image, the index last."""
    repository, tag = divmod(number, TAGS)
    made = []
    entries = []
    for platform in _PLATFORMS:
        layers = [
            _blob(f"base {platform}", 30_000_000),
            _blob(f"runtime {repository} {platform}", 20_000_000),
            _blob(f"dependencies {repository} {tag // 2} {platform}", 12_000_000),
            _blob(f"application {number} {platform}", 4_000_000),
            *(_blob(f"settings {number} {platform} {part}", 2_000) for part in range(3)),
        ]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _blob(f"config {number} {platform}", 6_000, "config.v1+json"),
            "layers": layers,
        }
        manifest = parse(json.dumps(document).encode(), OCI_MANIFEST)
        made.append(manifest)
        entries.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": manifest.digest,
                "size": len(manifest.raw),
                "platform": {"os": "linux", "architecture": platform},
            }
        )
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    made.append(parse(json.dumps(index).encode(), OCI_INDEX))
    return tuple(made)


class Made(Mapping[Digest, Document]):
    """The documents of the image that is being planned, and of no other unless ``keep``."""

    def __init__(self, *, keep: bool = False) -> None:
        self._now: dict[Digest, Document] = {}
        self._keep = keep

    def turn_to(self, number: int) -> Digest:
        """Hold the documents of an image, and return its root."""
        documents = _documents(number)
        if not self._keep:
            self._now = {}
        self._now.update((document.digest, document) for document in documents)
        return documents[-1].digest

    def __getitem__(self, digest: Digest) -> Document:
        return self._now[digest]

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._now)

    def __len__(self) -> int:
        return len(self._now)


def made(images: int, *, keep: bool = False) -> tuple[Plan, float]:
    """Plan so many images into an empty registry, and return the cpu seconds too; ``keep``: with all documents."""
    source, destination = Registry("src.example"), Registry("dst.example")
    evidence, documents = Evidence(), Made(keep=keep)
    planner = Planner(evidence, documents)
    making = 0.0
    began = time.process_time()
    for number in range(images):
        repository, tag = divmod(number, TAGS)
        path = f"team/service-{repository}"
        here = Repository(destination, path)
        before = time.process_time()
        root = documents.turn_to(number)
        making += time.process_time() - before
        if not tag:
            evidence.empty(here)
        evidence.looks[here, f"v{tag}"] = Look(None, 0.0)
        spec = CopySpec(
            Reference(Repository(source, path), f"v{tag}"),
            Reference(here, f"v{tag}"),
            tuple[Platform, ...](),
            Origin("specs.json", number, number),
        )
        planner.add(Image(spec, root, root))
    plan = planner.finish()
    return plan, time.process_time() - began - making


def measure(images: int) -> dict[str, float]:
    """Return what a plan of so many images takes."""
    plan, seconds = made(images)
    return {
        "images": images,
        "nodes": len(plan.graph),
        "edges": plan.graph.edge_count(),
        "cpu_seconds": round(seconds, 2),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def main(arguments: list[str]) -> None:
    """Plan ever more images, each number in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=main.__doc__)
    parser.add_argument("--images", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(json.dumps(measure(options.one)))
        return
    for images in options.images:
        command = [sys.executable, "-m", "benchmarks.scale", "--one", str(images)]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
