"""Images and their closures: what a spec's source is, read down to its blobs. Knows no destination.

A closure is a root digest in a pool of documents that all closures of a set share, so that an index which forty specs
name is read and kept once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping

import msgspec

from mmgraph.errors import ContentError
from mmgraph.flights import Turns
from mmgraph.names import Digest, Digests, Platform
from mmgraph.oci import DEPTH_LIMIT, TREE_LIMIT, Descriptor, Document, Index, parse
from mmgraph.specs import CopySpec
from mmgraph.store import ManifestCache, RawManifest
from mmgraph.tasks import each

CLOSURE_LIMIT = 64 * 1024 * 1024
"""Bytes of one image's manifests and indexes at most."""
_WIDTH = 64
"""Manifests of one image that are read at once."""

Fetch = Callable[[Digest], Awaitable[RawManifest]]
"""Reads one manifest by its digest; the bytes have been proven."""


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


class Documents(Mapping[Digest, Document]):
    """The pool: every manifest and index of a run, by digest, each fetched at most once.

    A digest is fetched by one task; others that want it wait, and try themselves where that one failed, since their
    repository may have what the first one's lacks.
    """

    def __init__(self, cache: ManifestCache) -> None:
        self._cache = cache
        self._documents: dict[Digest, Document] = {}
        self._digests = Digests()
        self._turns: Turns[Digest] = Turns()

    def __getitem__(self, digest: Digest) -> Document:
        return self._documents[digest]

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)

    def keep(self, document: Document) -> None:
        """Add a document that mmgraph made."""
        self._documents[document.digest] = document

    def read(self, digest: Digest, manifest: RawManifest) -> Document:
        """Add a manifest that was read from a registry, or raise ``ContentError``."""
        document = parse(manifest.raw, manifest.media_type, digest, self._digests)
        self._cache.put(digest, manifest)
        self._documents[digest] = document
        return document

    def cached(self, digest: Digest) -> Document | None:
        """The document from the pool or the cache, without a request."""
        document = self._documents.get(digest)
        if document is None and (manifest := self._cache.get(digest)) is not None:
            document = parse(manifest.raw, manifest.media_type, digest, self._digests)
            self._documents[digest] = document
        return document

    async def load(self, digest: Digest, fetch: Fetch) -> Document:
        """Return the document from the pool, the cache, or else by ``fetch``."""
        while (document := self.cached(digest)) is None:
            if not await self._turns.begin(digest):
                continue
            try:
                return self.read(digest, await fetch(digest))
            finally:
                self._turns.end(digest)
        return document

    async def load_closure(self, root: Digest, fetch: Fetch) -> None:
        """Load every document below ``root``, level by level; the first that fails ends it.

        Raises ``ContentError`` where a document is not what its descriptor says, or the tree is too deep or large:
        by its documents, their bytes, or its entries, which a few indexes that list each other often multiply.
        """
        level = [await self.load(root, fetch)]
        seen = {root}
        size = len(level[0].raw)
        for _ in range(DEPTH_LIMIT):
            children = {
                child.digest: child
                for document in level
                if isinstance(document, Index)
                for child in document.children
                if child.digest not in seen
            }
            seen.update(children)
            size += sum(child.size for child in children.values())
            if not children:
                self._refuse_too_many(root)
                return
            if len(seen) > TREE_LIMIT or size > CLOSURE_LIMIT:
                raise ContentError(
                    f"{root} has more than {TREE_LIMIT} manifests, or {CLOSURE_LIMIT} bytes of them"
                )
            await each(children, lambda digest: self.load(digest, fetch), _WIDTH)
            level = [self._documents[digest] for digest in children]
            for child, document in zip(children.values(), level, strict=True):
                _agree(child, document)
        raise ContentError(f"{root} nests indexes deeper than {DEPTH_LIMIT} levels")

    def _refuse_too_many(self, root: Digest) -> None:
        entries: dict[Digest, int] = {}
        for document in walk(root, self._documents):
            listed = document.manifests if isinstance(document, Index) else ()
            entries[document.digest] = sum(1 + entries.get(child.digest, 0) for child in listed)
        if entries[root] > TREE_LIMIT:
            raise ContentError(
                f"{root} has more than {TREE_LIMIT} entries, those of nested indexes counted each time"
            )


def _agree(descriptor: Descriptor, document: Document) -> None:
    if len(document.raw) != descriptor.size:
        raise ContentError(
            f"{descriptor.digest} has {len(document.raw)} bytes, and the index that lists it says {descriptor.size}"
        )
    if descriptor.is_index != isinstance(document, Index):
        raise ContentError(
            f"{descriptor.digest} is listed as {descriptor.media_type} and is {document.media_type}"
        )
