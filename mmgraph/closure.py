"""Images and their closures: what a spec's source is, read down to its blobs. Knows no destination.

A closure is a root digest and a pool of documents that all closures of a set share, so that an index that forty
specs name is kept once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from mmgraph.names import Digest, Platform
from mmgraph.oci import Descriptor, Document, Index
from mmgraph.specs import CopySpec


class Image(msgspec.Struct, frozen=True, gc=False):
    """What one spec's destination shall be."""

    spec: CopySpec
    source_digest: Digest
    """What the source names."""
    root: Digest
    """What the destination shall name: the source's digest, or that of the index that ``limitPlatforms`` trimmed."""
    missing: tuple[Platform, ...] = ()
    """Platforms that the spec lists and the source lacks."""

    @property
    def trimmed(self) -> bool:
        """Whether the destination's digest differs from the source's."""
        return self.root != self.source_digest


class Unread(msgspec.Struct, frozen=True, gc=False):
    """A spec that cannot be planned, and why."""

    spec: CopySpec
    cause: str


def walk(root: Digest, documents: Mapping[Digest, Document]) -> Iterator[Document]:
    """Yield the documents of ``root``'s closure once each, children before the documents that list them."""
    seen = {root}
    stack: list[tuple[Document, Iterator[Descriptor]]] = [(documents[root], _children(documents[root]))]
    while stack:
        document, children = stack[-1]
        for child in children:
            if child.digest not in seen:
                seen.add(child.digest)
                below = documents[child.digest]
                stack.append((below, _children(below)))
                break
        else:
            stack.pop()
            yield document


def _children(document: Document) -> Iterator[Descriptor]:
    return iter(document.children if isinstance(document, Index) else ())


def blobs(root: Digest, documents: Mapping[Digest, Document]) -> dict[Digest, Descriptor]:
    """The distinct blobs of ``root``'s closure, foreign layers left out."""
    return {blob.digest: blob for document in walk(root, documents) for blob in document.blobs}
