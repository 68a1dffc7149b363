"""The destination side of planning: cheap evidence of what is there. Reads through ``Destination``, and cannot write.

In the order of cost: one HEAD a name; the tree of what it names today; one question a repository; one HEAD a blob,
and that only for a plan whose bill shall be exact.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mmgraph.closure import Documents, walk
from mmgraph.errors import MmgraphError
from mmgraph.evidence import Evidence, Look, Presence
from mmgraph.names import Digest
from mmgraph.oci import Index

if TYPE_CHECKING:
    from mmgraph.clock import Clock
    from mmgraph.names import Repository
    from mmgraph.store import Destination, RawManifest


class Observer:
    """Gathers evidence about the destinations of one set of specs."""

    def __init__(
        self, destination: Destination, documents: Documents, evidence: Evidence, clock: Clock
    ) -> None:
        self._destination = destination
        self._documents = documents
        self._evidence = evidence
        self._clock = clock

    async def look(self, repository: Repository, name: str) -> None:
        """HEAD the tag or digest ``name``; a failure is kept, since it is not the same as "absent"."""
        try:
            resolved = await self._destination.find(repository, name)
        except MmgraphError as error:
            self._evidence.failures[repository, name] = str(error)
            return
        if resolved is None and ":" in name:  # a digest; no tag has a colon
            self._evidence.lack(repository, Digest(name))
        digest = resolved.digest if resolved else None
        self._evidence.looks[repository, name] = Look(digest, self._clock.now())
        if resolved and resolved.manifest is not None:
            try:
                self._documents.read(resolved.digest, resolved.manifest)
            except MmgraphError:
                pass  # an old tag may name what mmgraph does not copy; it can still be moved

    async def load(self, repository: Repository, root: Digest) -> bool:
        """Read what ``root`` consists of at the destination, down to its manifests; the pool has it then.

        What cannot be read or understood is no evidence, and no failure: False.
        """
        try:
            await self._documents.load_closure(root, partial(self._fetch, repository))
        except MmgraphError:
            return False
        return True

    def hold(self, repository: Repository, root: Digest, reason: str, *, trimmed: bool = False) -> None:
        """Take every manifest and blob of a closure that has been read as present in ``repository``.

        ``trimmed``: the indexes are mmgraph's own, and not there.
        """
        for document in walk(root, self._documents):
            if not (trimmed and isinstance(document, Index)):
                self._evidence.hold(repository, document.digest, reason)
            for blob in document.blobs:
                self._evidence.hold(repository, blob.digest, reason)

    async def ask_repository(self, repository: Repository) -> None:
        """Ask for one tag: a repository whose tag list answers 404 is taken to hold nothing."""
        try:
            if await self._destination.exists(repository) is False:
                self._evidence.empty(repository)
        except MmgraphError:
            pass  # "not known" is what any other answer means; writing will show what is wrong

    async def ask_blob(self, repository: Repository, digest: Digest) -> Presence:
        """HEAD a blob."""
        try:
            found = await self._destination.has_blob(repository, digest)
        except MmgraphError:
            return Presence.UNKNOWN  # as above
        return Presence.PRESENT if found else Presence.ABSENT

    async def ask_manifest(self, repository: Repository, digest: Digest) -> Presence:
        """HEAD a manifest or index by its digest."""
        try:
            found = await self._destination.find(repository, digest)
        except MmgraphError:
            return Presence.UNKNOWN
        return Presence.PRESENT if found else Presence.ABSENT

    async def _fetch(self, repository: Repository, digest: Digest) -> RawManifest:
        return await self._destination.manifest(repository, digest)
