"""Makes images of any shape and puts them straight into a storage. Knows no client and no mirroring."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from mmgraph.names import Digest
from mmgraph.oci import OCI_INDEX, OCI_MANIFEST
from mmgraph.store import RawManifest

if TYPE_CHECKING:
    from mmgraph.server import Storage

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
AMD64: Final = {"os": "linux", "architecture": "amd64"}
ARM64: Final = {"os": "linux", "architecture": "arm64"}
UNKNOWN: Final = {"os": "unknown", "architecture": "unknown"}

Descriptor = dict[str, Any]


def digest(content: bytes, algorithm: str = "sha256") -> Digest:
    """Return the digest of ``content``."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def descriptor(content: bytes, media_type: str, algorithm: str = "sha256", **more: Any) -> Descriptor:
    """Return what a document says of ``content``."""
    described = {"mediaType": media_type, "digest": digest(content, algorithm), "size": len(content)}
    return described | more


class Maker:
    """Puts images into the repositories of one storage; each method returns what describes the thing."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def blob(self, repository: str, content: bytes, media_type: str = LAYER, **more: Any) -> Descriptor:
        """Put a blob; ``algorithm`` is that of its digest."""
        algorithm = more.pop("algorithm", "sha256")
        upload = self.storage.upload(repository, algorithm)
        upload.write(content)
        upload.commit(digest(content, algorithm))
        return descriptor(content, media_type, algorithm, **more)

    def document(
        self,
        repository: str,
        raw: bytes,
        media_type: str,
        *tags: str,
        algorithm: str = "sha256",
        **more: Any,
    ) -> Descriptor:
        """Put a manifest or index as it is."""
        self.storage.put_manifest(repository, digest(raw, algorithm), RawManifest(raw, media_type), tags)
        return descriptor(raw, media_type, algorithm, **more)

    def image(
        self, repository: str, *layers: bytes, tags: tuple[str, ...] = (), config: bytes = b"{}", **more: Any
    ) -> Descriptor:
        """Put an OCI image manifest with these layers; ``more`` is for the descriptor."""
        body = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(repository, config, CONFIG),
            "layers": [self.blob(repository, layer) for layer in layers],
        }
        return self.document(repository, json.dumps(body).encode(), OCI_MANIFEST, *tags, **more)

    def index(
        self, repository: str, *children: Descriptor, tags: tuple[str, ...] = (), **more: Any
    ) -> Descriptor:
        """Put an OCI index that lists ``children``; ``more`` is for the descriptor."""
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        return self.document(repository, json.dumps(body, indent=2).encode(), OCI_INDEX, *tags, **more)


def attestation(child: Descriptor) -> dict[str, Any]:
    """Return what BuildKit puts on the descriptor of an attestation of ``child``."""
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": child["digest"],
    }
    return {"platform": UNKNOWN, "annotations": annotations}
