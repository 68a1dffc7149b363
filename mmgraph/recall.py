"""A source and destination that asks each question once: for two sets of specs that are read one after the other.

Owns the answers of one run. So both sets are judged by the same answers, and the second costs only what it alone asks.
Must not know what is asked over HTTP.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mmgraph.flights import Once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from mmgraph.names import Digest, Repository
    from mmgraph.store import Place, RawManifest, Resolved


class Recall:
    """Passes questions on to ``place``; failures are remembered like answers, manifests are the cache's business."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._resolved: Once[tuple[Repository, str], Resolved] = Once()
        self._found: Once[tuple[Repository, str], Resolved | None] = Once()
        self._existing: Once[Repository, bool | None] = Once()
        self._held: Once[tuple[Repository, Digest], bool] = Once()

    async def resolve(self, repository: Repository, name: str) -> Resolved:
        """As ``Source.resolve``."""
        return await self._resolved.get((repository, name), partial(self._place.resolve, repository, name))

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """As ``Destination.find``."""
        return await self._found.get((repository, name), partial(self._place.find, repository, name))

    async def exists(self, repository: Repository) -> bool | None:
        """As ``Destination.exists``."""
        return await self._existing.get(repository, partial(self._place.exists, repository))

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """As ``Destination.has_blob``."""
        return await self._held.get((repository, digest), partial(self._place.has_blob, repository, digest))

    async def manifest(self, repository: Repository, name: str) -> RawManifest:
        """As ``Source.manifest``."""
        return await self._place.manifest(repository, name)

    def blob(
        self, repository: Repository, digest: Digest, size: int, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """As ``Source.blob``."""
        return self._place.blob(repository, digest, size, start)
