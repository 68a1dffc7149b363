"""The source side of planning: tags to digests, digests to closures. Reads through ``Source``, and cannot write."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from mmgraph.closure import Documents, Image
from mmgraph.errors import ContentError
from mmgraph.flights import Once
from mmgraph.oci import DEPTH_LIMIT, TREE_LIMIT, Document, Index, limit_platforms
from mmgraph.tasks import Share

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgraph.names import Digest, Registry, Repository
    from mmgraph.specs import CopySpec
    from mmgraph.store import RawManifest, Source


_ASIDE: Final = 16
"""Manifests that are read at once of a registry beside transfers, at most. A link that is full of blobs answers after
three times its delay: at 40 ms these are 130 a second, and with half as many the transfers waited for discovery."""


PLACES: Final = 2 * _ASIDE
"""Places of a registry that says nothing of them."""


def beside(places: int) -> int:
    """Return how many manifests are read beside transfers of a registry that so many requests may be under way at."""
    return max(1, min(_ASIDE, places // 2))


class Discovery:
    """Reads the sources of one set of specs; each distinct tag is asked for once, each manifest read once."""

    def __init__(
        self,
        source: Source,
        documents: Documents,
        places: Callable[[Registry], int] = lambda registry: PLACES,
    ) -> None:
        self._source = source
        self._documents = documents
        self._tags: Once[tuple[Repository, str], Digest] = Once()
        self._places = places
        self._aside: dict[Registry, Share] = {}

    async def image(self, spec: CopySpec) -> Image:
        """Return what the spec's destination shall be; reads an index only where platforms are limited.

        Raises ``RegistryError``, ``NetworkError``, and ``SpecError`` where none of the platforms is there.
        """
        repository = spec.source.repository
        digest = spec.source.digest or await self._resolve(repository, spec.source.tag or "")
        if not spec.platforms:
            return Image(spec, digest, digest)
        document = await self._documents.load(digest, partial(self._fetch, repository))
        if not isinstance(document, Index):
            return Image(spec, digest, digest)
        await self._load_indexes(repository, document)
        selection = limit_platforms(document, spec.platforms, self._documents)
        for index in selection.rewritten.values():
            self._documents.keep(index)
        return Image(spec, digest, selection.root.digest, selection.missing)

    async def read(self, image: Image, *, aside: bool = False) -> None:
        """Read the whole closure of ``image``; raises as ``image`` does.

        ``aside``: blobs are being copied meanwhile, and a few manifests at once are enough. More would wait for places
        at the source all the time, and who waits for one goes before a transfer that needs several.
        """
        fetch = self._fetch_aside if aside else self._fetch
        await self._documents.load_closure(image.root, partial(fetch, image.spec.source.repository))

    async def _resolve(self, repository: Repository, tag: str) -> Digest:
        return await self._tags.get((repository, tag), partial(self._ask, repository, tag))

    async def _ask(self, repository: Repository, tag: str) -> Digest:
        resolved = await self._source.resolve(repository, tag)
        if resolved.manifest is not None:
            self._documents.read(resolved.digest, resolved.manifest)
        return resolved.digest

    async def _fetch_aside(self, repository: Repository, digest: Digest) -> RawManifest:
        registry = repository.registry
        share = self._aside.get(registry)
        if share is None:
            share = self._aside[registry] = Share(lambda: beside(self._places(registry)))
        async with share:
            return await self._fetch(repository, digest)

    async def _fetch(self, repository: Repository, digest: Digest) -> RawManifest:
        return await self._source.manifest(repository, digest)

    async def _load_indexes(self, repository: Repository, index: Index) -> None:
        """Load the indexes below ``index``, which choosing platforms looks into; not the manifests."""
        seen = {index.digest}
        level: list[Document] = [index]
        for _ in range(DEPTH_LIMIT):
            nested = {
                child.digest
                for document in level
                if isinstance(document, Index)
                for child in document.children
                if child.is_index
            }
            nested -= seen
            seen |= nested
            if len(seen) > TREE_LIMIT:
                raise ContentError(f"{index.digest} has more than {TREE_LIMIT} indexes below it")
            level = await asyncio.gather(
                *(self._documents.load(digest, partial(self._fetch, repository)) for digest in sorted(nested))
            )
