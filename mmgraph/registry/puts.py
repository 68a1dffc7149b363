"""A manifest on its way in: one PUT, by digest or by tag, and what confirms it.

Owns which answer is believed. Must not know what is in a manifest, nor how a tag is read: it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.errors import ContentError
from mmgraph.oci import digest_of
from mmgraph.registry import wire
from mmgraph.registry.connection import Call
from mmgraph.registry.guard import LandedError, TagGuard
from mmgraph.registry.refusals import refused
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmgraph.clock import Clock
    from mmgraph.names import Digest, Repository
    from mmgraph.registry.connection import Connections
    from mmgraph.store import RawManifest, Resolved


class Puts:
    """Puts manifests; ``find`` and ``resolve`` look at a name, as ``Destination`` and ``Source`` do."""

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        find: Callable[[Repository, str], Awaitable[Resolved | None]],
        resolve: Callable[[Repository, str], Awaitable[Resolved]],
    ) -> None:
        self._wire = connections
        self._clock = clock
        self._find = find
        self._resolve = resolve

    async def put(
        self, repository: Repository, name: str, digest: Digest, manifest: RawManifest, old: Digest | None
    ) -> None:
        """See ``Writer.put_manifest``."""
        call = Call(
            Operation.PUT_MANIFEST,
            repository,
            wire.manifest_path(repository, name),
            wire.push_scopes(repository),
            headers={"Content-Type": manifest.media_type},
            data=manifest.raw,
        )
        try:
            # By digest it is the same bytes whoever puts them: repeated without a look.
            if ":" in name:
                answer = await self._wire.ask(call)
            else:
                guard = TagGuard(self._find, self._clock, repository, name, digest, old)
                answer = await self._wire.ask(call, look=guard.look, before=guard.before)
        except LandedError:
            return
        if ":" not in name and wire.immutable(answer.status, answer.said):
            found = await self._find(repository, name)
            if found is not None and found.digest == digest:
                return  # somebody else was faster with the same bytes
        if answer.status != 201:  # a web server that is no registry says 200 to everything
            raise refused(answer)
        named = wire.header_digest(answer.header("Docker-Content-Digest"))
        if named is not None and digest_of(manifest.raw, named.algorithm) == named:
            return
        there = await self._resolve(repository, name)
        if there.digest != digest:
            raise ContentError(f"{answer.shown}: put as {digest}, read back as {there.digest}", status=201)
