"""Made documents and specs for tests of planning: small, deterministic, real documents that the parser reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmgraph.closure import Image, Unread
from mmgraph.evidence import Evidence, Look
from mmgraph.names import Digest, Platform, Reference
from mmgraph.oci import OCI_INDEX, OCI_MANIFEST, Document, Index, Manifest, digest_of, parse
from mmgraph.plan import Plan, Planner
from mmgraph.specs import CopySpec, Origin

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def content(name: str, size: int = 10) -> bytes:
    """The bytes of the blob called ``name``."""
    return (name.encode() * (size // len(name) + 1))[:size]


def digest(name: str, size: int = 10) -> Digest:
    """The digest of the blob called ``name``."""
    return digest_of(content(name, size))


def manifest(config: str, *layers: str, size: int = 10, **extra: Any) -> Manifest:
    """An image manifest over named blobs of ``size`` bytes each."""

    def descriptor(name: str, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest(name, size), "size": size}

    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, _CONFIG),
        "layers": [descriptor(layer, _LAYER) for layer in layers],
        **extra,
    }
    parsed = parse(json.dumps(document).encode(), OCI_MANIFEST)
    assert isinstance(parsed, Manifest)
    return parsed


def index(children: Mapping[str, Document] | Sequence[Document], **extra: Any) -> Index:
    """An index over documents, by platform where a mapping is given."""
    pairs = children.items() if isinstance(children, Mapping) else [("", child) for child in children]
    entries = []
    for platform, child in pairs:
        entry: dict[str, Any] = {
            "mediaType": child.media_type,
            "digest": child.digest,
            "size": len(child.raw),
        }
        if platform:
            wanted = Platform.parse(platform)
            entry["platform"] = {"os": wanted.os, "architecture": wanted.architecture}
            if wanted.variant:
                entry["platform"]["variant"] = wanted.variant
        entries.append(entry)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **extra}
    parsed = parse(json.dumps(document).encode(), OCI_INDEX)
    assert isinstance(parsed, Index)
    return parsed


def spec(source: str, destination: str, *platforms: str) -> CopySpec:
    """A copy spec between short names: ``a:1`` is ``src.example/a:1`` or ``dst.example/a:1``."""

    def full(name: str, host: str) -> Reference:
        return Reference.parse(name if "." in name.partition("/")[0] else f"{host}/{name}")

    return CopySpec(
        full(source, "src.example"),
        full(destination, "dst.example"),
        tuple(sorted(map(Platform.parse, platforms))),
        Origin("specs.json", 1, 1),
    )


class Bench:
    """A planner's surroundings: documents, evidence, and a plan of images added in order."""

    def __init__(self, *documents: Document, committed_only: Sequence[str] = ()) -> None:
        self.documents: dict[Digest, Document] = {document.digest: document for document in documents}
        self.evidence = Evidence()
        self.images: list[Image] = []
        self.committed_only = committed_only

    def want(self, source: str, destination: str, root: Document, now: Document | None = None) -> None:
        """Add a spec whose source is ``root`` and whose destination names ``now`` (None: nothing)."""
        made = spec(source, destination)
        name = made.destination.tag or str(root.digest)
        place = made.destination.repository
        self.evidence.looks[place, name] = Look(now.digest if now else None, 0.0)
        self.images.append(Image(made, root.digest, root.digest))

    def plan(self) -> Plan:
        """The plan of all that was wanted."""
        from mmgraph.names import Registry

        planner = Planner(self.evidence, self.documents, [Registry(name) for name in self.committed_only])
        for image in self.images:
            planner.add(image)
        return planner.finish()


def half_failed(cause: str) -> Plan:
    """A plan of two specs: ``tool:2``, an image of three blobs, and ``gone:1``, which has failed for that cause."""
    image = manifest("config", "layer", "other")
    bench = Bench(image)
    bench.want("a:1", "tool:2", image)
    planner = Planner(bench.evidence, bench.documents)
    planner.add(bench.images[0])
    planner.fail(Unread(spec("gone:1", "gone:1"), cause))
    return planner.finish()
