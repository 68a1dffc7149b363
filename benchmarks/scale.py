"""A plan of very many images, without a network: what planning itself costs, in seconds and memory, and whether both
grow with the set alone.

Closures are made up one after the other: an index, two platforms, each with a config and seven layers, of which four
are its own, one is shared with the next tag, one with the repository and one with all. The documents of all of them
stay in memory with their bytes, in the pool in which a run keeps them.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import resource
import subprocess
import sys
import time

from mmgraph.closure import Documents, Image
from mmgraph.collector import seldom, uncollected
from mmgraph.evidence import Evidence, Look
from mmgraph.names import Digest, Platform, Reference, Registry, Repository
from mmgraph.oci import OCI_INDEX, OCI_MANIFEST, digest_of
from mmgraph.plan import Plan, Planner
from mmgraph.specs import CopySpec, Origin
from mmgraph.store import RawManifest

TAGS = 20
"""Of each repository."""
_PLATFORMS = ("amd64", "arm64")


def _blob(name: str, size: int, kind: str = "layer.v1.tar+gzip") -> dict[str, object]:
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": f"sha256:{hashlib.sha256(name.encode()).hexdigest()}",
        "size": size,
    }


class _Elsewhere:
    """A ``ManifestCache`` that is empty; as the one on disk, it keeps nothing in memory of what is put there."""

    def get(self, digest: Digest) -> RawManifest | None:
        """Return None."""

    def put(self, digest: Digest, manifest: RawManifest) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""


def _read(number: int, documents: Documents) -> Digest:
    """Make up the documents of an image, let them be read as those of a registry are, and return its root."""

    def keep(content: dict[str, object]) -> RawManifest:
        manifest = RawManifest(json.dumps(content).encode(), str(content["mediaType"]))
        documents.read(digest_of(manifest.raw), manifest)
        return manifest

    repository, tag = divmod(number, TAGS)
    entries = []
    for platform in _PLATFORMS:
        layers = [
            _blob(f"base {platform}", 30_000_000),
            _blob(f"runtime {repository} {platform}", 20_000_000),
            _blob(f"dependencies {repository} {tag // 2} {platform}", 12_000_000),
            _blob(f"application {number} {platform}", 4_000_000),
            *(_blob(f"settings {number} {platform} {part}", 2_000) for part in range(3)),
        ]
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _blob(f"config {number} {platform}", 6_000, "config.v1+json"),
            "layers": layers,
        }
        manifest = keep(content)
        entries.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": digest_of(manifest.raw),
                "size": len(manifest.raw),
                "platform": {"os": "linux", "architecture": platform},
            }
        )
    return digest_of(keep({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).raw)


def made(images: int) -> tuple[Plan, float]:
    """Plan so many images into an empty registry, and return the cpu seconds of that, once all have been read.

    As ``Compiler`` does it: the collector looks at nothing meanwhile, and then once at all that was built.
    """
    source, destination = Registry("src.example"), Registry("dst.example")
    evidence, documents = Evidence(), Documents(_Elsewhere())
    planner = Planner(evidence, documents)
    roots = [_read(number, documents) for number in range(images)]
    began = time.process_time()
    with uncollected():
        for number, root in enumerate(roots):
            repository, tag = divmod(number, TAGS)
            path = f"team/service-{repository}"
            here = Repository(destination, path)
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
    gc.collect(0)
    return plan, time.process_time() - began


def measure(images: int) -> dict[str, float]:
    """Return what a plan of so many images takes."""
    with seldom():  # as every command that opens a session does
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
