"""What a registry must understand of a manifest: type, references, subject. Knows no storage and no HTTP.

It is deliberately apart from ``mmgraph.oci``: the tests' opponent must not share the client's mistakes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mmgraph.errors import SpecError
from mmgraph.names import Digest

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_MANIFESTS: Final = frozenset({"", INDEX, MANIFEST, DOCKER_MANIFEST, DOCKER_LIST})
"""Types of what is put as a manifest; a descriptor without a type, which it must have, is taken for one too."""
LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a manifest that must be accepted (distribution-spec, "Pushing Manifests"); more is refused."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A reference to content (image-spec, descriptor.md)."""

    digest: str
    size: int = 0
    media_type: str = ""
    urls: list[str] | None = None


class Document(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest or an index; unknown fields are kept in its bytes and not looked at."""

    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    def blobs(self) -> list[Digest]:
        """Return the blobs that must be in the repository: config and layers, but those with ``urls``."""
        named = [*([self.config] if self.config else []), *(self.layers or [])]
        return [Digest.parse(one.digest) for one in named if not one.urls]

    def children(self) -> list[Descriptor]:
        """Return the manifests and indexes that an index names."""
        return [one for one in self.manifests or [] if one.media_type in _MANIFESTS]

    def others(self) -> list[Digest]:
        """Return what else an index names: image-spec (image-index.md) lets ``manifests`` list any type.

        It is a blob, or a manifest of a type that is not known here.
        """
        return [Digest(one.digest) for one in self.manifests or [] if one.media_type not in _MANIFESTS]

    @property
    def guessed_type(self) -> str:
        """The media type: the document's own word, else what its fields are (mediaType is optional)."""
        return self.media_type or (INDEX if self.manifests is not None else MANIFEST)

    @property
    def kind_of_artifact(self) -> str:
        """What the referrers API calls ``artifactType``: the field, else an image's config media type."""
        return self.artifact_type or (self.config.media_type if self.config else "")


_DECODER: Final = msgspec.json.Decoder(Document)


def parse(raw: bytes) -> Document:
    """Return the manifest that ``raw`` is, or raise ``SpecError`` with what is wrong with it."""
    try:
        document = _DECODER.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise SpecError(f"not a manifest: {error}") from None
    if document.manifests is not None and (document.config is not None or document.layers is not None):
        # A document that is two things shows different contents to different readers (CVE-2021-41190).
        raise SpecError("not a manifest: it has the fields of an index and of an image")
    document.blobs()
    for one in (*(document.manifests or []), *([document.subject] if document.subject else [])):
        Digest.parse(one.digest)
    return document
