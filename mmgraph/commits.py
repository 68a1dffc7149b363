"""Manifests, indexes and tags on their way: written last, since they make an image visible. Moves no blobs.

Owns the order of root and tags, the last look before a tag is written, and the healing where a registry says that
parts are missing. Runs one task a root or tag, started by ``execute``; they share nothing but the ledger, which no
task changes across an ``await``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.errors import DriftError, MmgraphError, RegistryError
from mmgraph.events import Landed, Landing
from mmgraph.graph import Kind
from mmgraph.store import RawManifest
from mmgraph.work import State

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from mmgraph.clock import Clock
    from mmgraph.events import Reporter
    from mmgraph.evidence import Look
    from mmgraph.graph import Node
    from mmgraph.names import Digest, Repository
    from mmgraph.plan import Plan
    from mmgraph.store import Transport
    from mmgraph.work import Ledger, Work

_LOOK_AGE = 30.0
"""Seconds after which a look at a tag is too old to hand it over by. Once it is, ``registry.guard`` watches that it is
not held up on its way for long."""
_MISSING = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


class Commits:
    """Writes the manifests, indexes and tags of one plan. ``goals`` are the nodes that specs end in."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        transport: Transport,
        clock: Clock,
        looks: Mapping[tuple[Repository, str], Look],
        goals: Container[Node],
        report: Reporter,
        surprise: Callable[[Work, str], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._transport = transport
        self._clock = clock
        self._looks = looks
        self._goals = goals
        self._report = report
        self._surprise = surprise

    async def write(self, work: Work) -> None:
        """Write a manifest, an index or a tag, and settle its work; never raises but for cancellation."""
        if work.node.kind is Kind.TAG:
            await self._write_tag(work)
        else:
            await self._write_root(work)

    async def _write_root(self, work: Work) -> None:
        """PUT a manifest or index: with its first tag in one request, by digest where no tag waits for it."""
        tags = self._ledger.tags(work)
        for tag in tags:
            if not await self._may_write(tag):
                continue
            tag.state = State.RUNNING
            error = await self._put(work, tag.node.name, tag.step.old)
            if error is None:
                self._landed(work)
                self._ledger.done(work)
                self._ledger.done(tag)
                return
            if self._revive(work, error):
                tag.state = State.WAITING
                return
            self._ledger.fail(tag, str(error))
        if tags and not self._ledger.needed(work) and work.node not in self._goals:
            self._ledger.fail(work, "none of its tags could be written")
            return
        error = await self._put(work, work.digest)
        if error is None:
            self._landed(work)
            self._ledger.done(work)
        elif not self._revive(work, error):
            self._ledger.fail(work, str(error))

    async def _write_tag(self, work: Work) -> None:
        """PUT a further tag of a manifest or index that is there."""
        if not await self._may_write(work):
            return
        error = await self._put(work, work.node.name, work.step.old)
        if error is None:
            self._ledger.done(work)
        elif not self._revive(work, error):
            self._ledger.fail(work, str(error))

    async def _put(self, work: Work, name: str, old: Digest | None = None) -> MmgraphError | None:
        document = self._plan.documents[work.digest]
        manifest = RawManifest(document.raw, document.media_type)
        try:
            await self._transport.put_manifest(work.node.repository, name, work.digest, manifest, old)
        except MmgraphError as error:
            return error
        return None

    async def _may_write(self, tag: Work) -> bool:
        """Whether the tag still names what the plan says; a look older than ``_LOOK_AGE`` is renewed first.

        A third value fails the tag: somebody else moved it. There is no compare-and-swap in the protocol, so this
        narrows the window to about a round trip and cannot close it.
        """
        repository, name = tag.node.repository, tag.node.name
        look = self._looks.get((repository, name))
        if look is not None and self._clock.now() - look.at <= _LOOK_AGE:
            return True
        try:
            resolved = await self._transport.find(repository, name)
        except MmgraphError as error:
            self._ledger.fail(tag, str(error))
            return False
        digest = resolved.digest if resolved else None
        if digest in (tag.step.old, tag.digest):
            return True
        self._ledger.fail(tag, str(DriftError.moved(tag.node, tag.step.old, digest)))
        return False

    def _revive(self, work: Work, error: MmgraphError) -> bool:
        """Where the registry says that parts of a manifest are missing, send them again: it is right."""
        if not isinstance(error, RegistryError) or not _MISSING.intersection(error.codes):
            return False
        revived = self._ledger.revive(work, error.detail)
        if revived:
            self._surprise(work, f"the registry lacks what it was seen to have: sending that again ({error})")
        return revived

    def _landed(self, work: Work) -> None:
        self._report(Landed(work.node.repository, work.digest, work.step.size, Landing.PUT))
