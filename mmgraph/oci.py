"""Descriptors, manifests and indexes beside their raw bytes, and choosing platforms from an index.

Knows the documents of image-spec and Docker's schema 2; knows nothing of registries, files or how bytes travel. The
raw bytes are what is sent on; the parsed form only says what they refer to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NoReturn

import msgspec

from mmgraph.errors import ContentError, InternalError, SpecError
from mmgraph.names import Digest, Platform, quote

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_LIST})

# Documents that are manifests, though none that can be copied: asked for as such, so that the refusal is clear.
_SCHEMA_1_TYPES: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
_ARTIFACT_TYPE: Final = "application/vnd.oci.artifact.manifest.v1+json"
_RETIRED_TYPES: Final = _SCHEMA_1_TYPES | {_ARTIFACT_TYPE}

# What servers say that do not know what they serve; containerd accepts text/plain from old registries too.
_VAGUE_TYPES: Final = frozenset(
    {"", "text/plain", "application/json", "text/json", "application/octet-stream", "binary/octet-stream"}
)

MANIFEST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a manifest or index at most (distribution-spec: registries SHOULD take 4 MiB, and most take no more)."""
DEPTH_LIMIT: Final = 8
"""Levels of indexes at most, the root being the first."""
_TREE_LIMIT: Final = 100_000
_SIZE_LIMIT: Final = 2**63 - 1

_ATTESTATION_TYPE: Final = "attestation-manifest"
_ATTESTATION_TYPE_KEY: Final = "vnd.docker.reference.type"
_ATTESTATION_DIGEST_KEY: Final = "vnd.docker.reference.digest"


class Descriptor(msgspec.Struct, frozen=True, gc=False):
    """What a document says of something else: type, digest and size in bytes (image-spec, descriptor.md).

    ``attests`` is the image that a BuildKit attestation manifest speaks of (its ``vnd.docker.reference.*``
    annotations).
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    attests: Digest | None = None

    @property
    def is_manifest(self) -> bool:
        """Whether it is an image manifest, also of a kind that mmgraph refuses to copy."""
        return self.media_type in MANIFEST_TYPES or self.media_type in _RETIRED_TYPES

    @property
    def is_index(self) -> bool:
        """Whether it is an index or a manifest list."""
        return self.media_type in INDEX_TYPES

    @property
    def foreign(self) -> bool:
        """Whether it is a blob with URLs of its own: neither fetched from the source nor required of a destination."""
        return bool(self.urls) and not self.is_manifest and not self.is_index


class Manifest(msgspec.Struct, frozen=True, gc=False):
    """An image manifest; ``media_type`` is the Content-Type to send it with."""

    raw: bytes
    media_type: str
    digest: Digest
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What a repository must hold before this manifest: distinct, the config first, foreign layers left out."""
        return _distinct(d for d in (self.config, *self.layers) if not d.foreign)


class Index(msgspec.Struct, frozen=True, gc=False):
    """An index or manifest list; ``media_type`` is the Content-Type to send it with."""

    raw: bytes
    media_type: str
    digest: Digest
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests and indexes it lists, distinct by digest; ``manifests`` has every entry."""
        return _distinct(d for d in self.manifests if d.is_manifest or d.is_index)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What else it lists, distinct by digest: image-spec allows any media type, and those are blobs."""
        return _distinct(d for d in self.manifests if not (d.is_manifest or d.is_index or d.foreign))


Document = Manifest | Index


class Selection(msgspec.Struct, frozen=True):
    """An index limited to some platforms.

    ``rewritten`` holds the indexes that mmgraph made, by their new digests, ``root`` among them; it is empty where
    nothing was removed, and ``root`` is the original then. ``missing`` are the wanted platforms that are not there,
    ``available`` those that are: both sorted, neither counts attestations or ``unknown/unknown``.
    """

    root: Index
    rewritten: dict[Digest, Index]
    missing: tuple[Platform, ...]
    available: tuple[Platform, ...]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A descriptor at its place in a tree of indexes.

    ``platform`` is its own, else that of the nearest outer index descriptor that has one. ``attested`` is the
    platform of the image it attests, where it attests one of this tree.
    """

    descriptor: Descriptor
    platform: Platform | None
    attested: Platform | None = None

    @property
    def label(self) -> str:
        """The platform for people: ``linux/amd64``, ``attestation for linux/amd64``, or nothing."""
        if self.descriptor.attests is not None:
            return f"attestation for {self.attested}" if self.attested else "attestation"
        return str(self.platform) if self.platform else ""


def digest_of(raw: bytes, algorithm: str = "sha256") -> Digest:
    """Return the digest of ``raw``."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}")


def parse(raw: bytes, content_type: str, digest: Digest | None = None) -> Document:
    """Return the manifest or index in ``raw``, or raise ``ContentError``; the caller knows the image's name.

    ``raw`` must have ``digest`` where one is given. The type is the Content-Type's, else that of the ``mediaType``
    field, which OCI documents may lack, else it follows from the fields. Where two of these disagree the document is
    refused: what one client reads as an index another would read as a manifest (CVE-2021-41190).
    """
    raise NotImplementedError


def limit_platforms(
    index: Index, platforms: Collection[Platform], nested: Mapping[Digest, Document]
) -> Selection:
    """Return ``index`` with the images for ``platforms`` and their attestations, and nothing else.

    ``nested`` has the documents of all nested indexes. An image's platform is its own, else that of the outer
    descriptor of its nested index. The result stays an index, also with one image left. What is kept is kept byte for
    byte and in order; where nothing goes, ``index`` itself comes back. Raises ``SpecError`` where the index has none
    of the platforms, and ``ContentError`` for a tree that is too deep or too large.
    """
    raise NotImplementedError


def platforms_of(index: Index, nested: Mapping[Digest, Document]) -> tuple[Entry, ...]:
    """Return every descriptor of the tree under ``index``, outer before inner, with its effective platform.

    Nested indexes that ``nested`` does not hold are listed and not entered.
    """
    raise NotImplementedError


def _distinct(descriptors: Iterator[Descriptor]) -> tuple[Descriptor, ...]:
    seen: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        seen.setdefault(descriptor.digest, descriptor)
    return tuple(seen.values())
