"""A small made-up plan that has everything a plan can have: the subject of the golden files."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from mmgraph.closure import Image, Unread, walk
from mmgraph.evidence import Evidence, Look
from mmgraph.names import Digest, Platform, Reference, Repository
from mmgraph.oci import OCI_INDEX, OCI_MANIFEST, Document, Index, limit_platforms, parse
from mmgraph.plan import Plan, Planner
from mmgraph.specs import CopySpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIB = 1024 * 1024
HOSTILE = 'denied: \x1b[31m"quoted" back\\slash &#8238; <b>\u202egnp.exe\u200b\r\n::error::owned ##vso[task]'
"""What a registry may write where people then read it."""

Blob = tuple[str, int]


def digest_of(text: str) -> Digest:
    """Return a digest that is the same in every run."""
    return Digest(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


class Pool:
    """Documents in the making."""

    def __init__(self) -> None:
        self.documents: dict[Digest, Document] = {}

    def manifest(self, *blobs: Blob) -> Digest:
        """Add a manifest of blobs, each a name and a size, the config first."""
        config, *layers = (
            {"mediaType": "application/x", "digest": digest_of(name), "size": size} for name, size in blobs
        )
        return self._add({"schemaVersion": 2, "config": config, "layers": layers}, OCI_MANIFEST)

    def index(
        self, entries: Sequence[tuple[Digest, str]], attestations: Mapping[Digest, Digest] = {}
    ) -> Digest:
        """Add an index of manifests with their platforms, and of attestations by what they attest."""
        listed: list[dict[str, Any]] = []
        for digest, platform in entries:
            listed.append(self._entry(digest, *platform.split("/", 1)))
        for attested, digest in attestations.items():
            listed.append(
                self._entry(digest, "unknown", "unknown")
                | {
                    "annotations": {
                        "vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": attested,
                    }
                }
            )
        return self._add({"schemaVersion": 2, "manifests": listed}, OCI_INDEX)

    def _entry(self, digest: Digest, os: str, architecture: str) -> dict[str, Any]:
        document = self.documents[digest]
        return {
            "mediaType": document.media_type,
            "digest": digest,
            "size": len(document.raw),
            "platform": {"os": os, "architecture": architecture},
        }

    def _add(self, value: dict[str, Any], media_type: str) -> Digest:
        document = parse(json.dumps(value | {"mediaType": media_type}).encode(), media_type)
        self.documents[document.digest] = document
        return document.digest


def spec(source: str, destination: str, *platforms: str) -> CopySpec:
    """Return a spec of references as people write them."""
    wanted = tuple(sorted(map(Platform.parse, platforms)))
    return CopySpec(Reference.parse(source), Reference.parse(destination), wanted)


def hold(evidence: Evidence, pool: Pool, repository: str, root: Digest, reason: str) -> None:
    """Let a repository hold a closure."""
    place = Repository.parse(repository)
    for document in walk(root, pool.documents):
        for digest in (document.digest, *(blob.digest for blob in document.blobs)):
            evidence.hold(place, digest, reason)


def _app(pool: Pool, version: str, *platforms: str) -> Digest:
    images: list[tuple[Digest, str]] = []
    attestations = {}
    for platform in platforms:
        base = (f"base {platform}", 29 * MIB)
        image = pool.manifest(
            (f"config {version} {platform}", 1900), base, (f"{version} {platform}", 3 * MIB)
        )
        images.append((image, platform))
        attestations[image] = pool.manifest(("empty", 2), (f"sbom {version} {platform}", 64_000))
    return pool.index(images, attestations)


def example(*, unchanged: bool = False) -> Plan:
    """Return the plan; ``unchanged``: only what is as it should be."""
    pool, evidence = Pool(), Evidence()
    mirror = "mirror.example.com/library/app"
    old = _app(pool, "1.0", "linux/amd64", "linux/s390x")
    new = _app(pool, "1.1", "linux/amd64", "linux/arm64")
    hold(evidence, pool, mirror, old, f"listed by {old.short}, which 1.0 names")

    def look(repository: str, name: str, digest: Digest | None) -> None:
        evidence.looks[Repository.parse(repository), name] = Look(digest, 0.0)

    planner = Planner(evidence, pool.documents)
    look(mirror, "1.0", old)
    planner.add(Image(spec("app:1.0", f"{mirror}:1.0", "linux/arm64"), old, old, (Platform.parse("arm64"),)))
    if unchanged:
        return planner.finish()

    look(mirror, "1.1", None)
    planner.add(Image(spec("app:1.1", f"{mirror}:1.1"), new, new))
    look(mirror, "latest", old)
    planner.add(Image(spec("app:1.1", f"{mirror}:latest"), new, new))
    _add_tool(planner, evidence, pool)
    backup = "backup.example.com:5000/app"
    evidence.empty(Repository.parse(backup))
    planner.add(Image(spec("app:1.1", f"{backup}:1.1"), new, new))
    planner.fail(Unread(spec("quay.io/team/gone:1", "mirror.example.com/team/gone:1"), HOSTILE))
    return planner.finish()


def _add_tool(planner: Planner, evidence: Evidence, pool: Pool) -> None:
    """A limited image that mounts from app and from a repository outside the set, and one by digest."""
    base, common = "mirror.example.com/lib/base", ("certificates", 5 * MIB)
    outside = pool.manifest(("config of base", 700), common)
    hold(evidence, pool, base, outside, "found by HEAD")
    images = [
        (
            pool.manifest(
                (f"tool config {platform}", 1200),
                (f"base {platform}", 29 * MIB),
                common,
                *((f"tool {platform} {part}", 10_000 + part) for part in range(4)),
            ),
            platform,
        )
        for platform in ("linux/amd64", "linux/arm64", "windows/amd64")
    ]
    whole = pool.documents[pool.index(images)]
    assert isinstance(whole, Index)
    tool = spec(
        "quay.io/team/tool:v2", "mirror.example.com/team/tool:2", "linux/amd64", "linux/arm64", "linux/s390x"
    )
    selection = limit_platforms(whole, tool.platforms, pool.documents)
    pool.documents.update(selection.rewritten)
    planner.add(Image(tool, whole.digest, selection.root.digest, selection.missing))
    single = pool.manifest(("single config", 900), ("single", 2 * MIB), common)
    pinned = f"mirror.example.com/team/tool@{single}"
    planner.add(Image(spec(f"quay.io/team/tool@{single}", pinned), single, single))
