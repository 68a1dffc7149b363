"""From specs to a plan: discovery and observation side by side, then planning, image by image in spec order.

Owns the order in which things are asked; decides nothing that ``plan`` could, and is handed nothing that writes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from mmgraph.closure import Documents, Image, Unread, blobs
from mmgraph.discover import Discovery
from mmgraph.errors import MmgraphError
from mmgraph.events import Read, Reporter
from mmgraph.evidence import Evidence, Look, Presence
from mmgraph.observe import Observer
from mmgraph.oci import digest_of
from mmgraph.plan import Plan, Planner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from mmgraph.clock import Clock
    from mmgraph.names import Digest, Registry, Repository
    from mmgraph.specs import CopySpec
    from mmgraph.store import Destination, ManifestCache, Source

_WIDTH = 256
"""Specs that are read at once; what is under way at a registry is the client's concern."""

T = TypeVar("T")


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], width: int = _WIDTH) -> None:
    """Await ``work`` for every item, ``width`` at a time; the first exception cancels the rest."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())


class Compiler:
    """Compiles one set of specs.

    ``exact``: read every closure and ask for every blob that evidence leaves open, so that the bill is exact (plan).
    Otherwise only what is to change is read, and nothing is asked per blob (apply).
    """

    def __init__(
        self,
        specs: Sequence[CopySpec],
        source: Source,
        destination: Destination,
        cache: ManifestCache,
        clock: Clock,
        report: Reporter,
        *,
        exact: bool,
        require_platforms: bool = False,
        committed_only: Collection[Registry] = (),
    ) -> None:
        self._specs = specs
        self._report = report
        self._exact = exact
        self._require_platforms = require_platforms
        self._committed_only = committed_only
        self._cache = cache
        self._documents = Documents(cache)
        self.evidence = Evidence()
        self._discovery = Discovery(source, self._documents)
        self._observer = Observer(destination, self._documents, self.evidence, clock)
        self._images: dict[CopySpec, Image | Unread] = {}
        self._done = 0

    async def plan(self) -> Plan:
        """Read what must be read and return the plan."""
        await each(self._specs, self._survey)
        await each(self._changed() if not self._exact else self._readable(), self._read)
        self._reconcile()
        self._take_sources()
        await each(self._old(), self._read_old)
        await each(self._unchanged(), self._read_unchanged)
        self._cache.flush()  # from here on a run may be killed, and the next one knows what this one read
        await each(self._silent_repositories(), self._observer.ask_repository)
        if self._exact:
            await each(self._open_blobs(), self._ask_blob)
        planner = Planner(self.evidence, self._documents, self._committed_only)
        for spec in self._specs:
            image = self._images[spec]
            if isinstance(image, Unread):
                planner.fail(image)
            else:
                planner.add(image, closure=self._exact or self._changes(image))
        return planner.finish()

    async def _survey(self, spec: CopySpec) -> None:
        """Learn what the spec wants and what its destination names, both at once."""
        destination = spec.destination
        name = destination.tag or str(destination.digest)
        image, _ = await asyncio.gather(
            self._try(spec, self._discovery.image(spec)), self._observer.look(destination.repository, name)
        )
        failure = self.evidence.failures.get((destination.repository, name))
        if isinstance(image, Image) and failure is not None:
            image = Unread(spec, failure)
        if isinstance(image, Image) and image.missing and self._require_platforms:
            lacking = ", ".join(map(str, image.missing))
            image = Unread(spec, f"{spec.source} lacks {lacking}, and --require-platforms asks for all")
        self._images[spec] = image
        self._done += 1
        self._report(Read(self._done, len(self._specs)))

    async def _try(self, spec: CopySpec, work: Awaitable[Image]) -> Image | Unread:
        try:
            return await work
        except MmgraphError as error:
            return Unread(spec, f"{spec.source}: {error}")

    async def _read(self, image: Image) -> None:
        try:
            await self._discovery.read(image)
        except MmgraphError as error:
            self._images[image.spec] = Unread(image.spec, f"{image.spec.source}: {error}")

    def _readable(self) -> list[Image]:
        return [image for image in self._images.values() if isinstance(image, Image)]

    def _changes(self, image: Image) -> bool:
        return self._named(image) != image.root

    def _changed(self) -> list[Image]:
        return [image for image in self._readable() if self._changes(image)]

    def _named(self, image: Image) -> Digest | None:
        """What the image's destination names now."""
        destination = image.spec.destination
        return self.evidence.looks[destination.repository, destination.tag or str(destination.digest)].digest

    def _unchanged(self) -> list[Image]:
        """Unchanged images whose closures are evidence: where they are known already, or worth a few GETs.

        They are worth it where a blob would be uploaded that another repository of the registry may hold (I4: a run
        that was cut off before the last tag must not send what it has finished). The GETs go to the destination.
        """
        if not self._exact and not self._changed():
            return []
        wanted = self._unheld() if not self._exact else {}
        unchanged = []
        for image in self._readable():
            if self._changes(image):
                continue
            place = image.spec.destination.repository
            others = wanted.get(place.registry, set()) - {place}  # what it has itself, its own POST finds
            if self._exact or others or self._is_cached(image.root):
                unchanged.append(image)
        return unchanged

    def _unheld(self) -> dict[Registry, set[Repository]]:
        """By registry, the repositories that want a blob which no repository is known to hold."""
        unheld: dict[Registry, set[Repository]] = {}
        for image in self._changed():
            place = image.spec.destination.repository
            if any(
                self.evidence.holder(place.registry, digest) is None
                for digest in blobs(image.root, self._documents)
            ):
                unheld.setdefault(place.registry, set()).add(place)
        return unheld

    async def _read_unchanged(self, image: Image) -> None:
        destination = image.spec.destination
        await self._observer.tree(destination.repository, destination.tag or "the set", image.root)

    def _is_cached(self, root: Digest) -> bool:
        stack = [root]
        try:
            while stack:
                document = self._documents.cached(stack.pop())
                if document is None:
                    return False
                stack.extend(child.digest for child in getattr(document, "children", ()))
        except MmgraphError:
            return False
        return True

    def _reconcile(self) -> None:
        """Recognise a destination that names its image by another algorithm.

        distribution names every manifest by sha256, also one that was asked for, and put, as sha512.
        """
        for image in self._changed():
            destination = image.spec.destination
            name = (destination.repository, destination.tag or str(destination.digest))
            look = self.evidence.looks[name]
            if look.digest is None or look.digest.algorithm == image.root.algorithm:
                continue
            raw = self._documents[image.root].raw
            if digest_of(raw, look.digest.algorithm) == look.digest:
                self.evidence.looks[name] = Look(image.root, look.at)

    def _take_sources(self) -> None:
        """Where source and destination share a registry, the source repository is one to mount from."""
        registries = {spec.destination.repository.registry for spec in self._specs}
        for image in self._changed():
            source = image.spec.source.repository
            if source.registry in registries:
                reason = f"listed by {image.source_digest.short}, the source"
                self._observer.hold(source, image.root, reason, trimmed=image.trimmed)

    def _old(self) -> list[tuple[Repository, str, Digest]]:
        old = []
        for image in self._changed():
            digest = self._named(image)
            destination = image.spec.destination
            if digest is not None and destination.tag:
                old.append((destination.repository, destination.tag, digest))
        return old

    async def _read_old(self, old: tuple[Repository, str, Digest]) -> None:
        await self._observer.tree(*old)

    def _silent_repositories(self) -> list[Repository]:
        """Repositories to write to in which no name of the set was found."""
        found = {
            repository for (repository, _), look in self.evidence.looks.items() if look.digest is not None
        }
        wanted = dict.fromkeys(image.spec.destination.repository for image in self._changed())
        return [repository for repository in wanted if repository not in found]

    def _open_blobs(self) -> list[tuple[Repository, Digest]]:
        opened: dict[tuple[Repository, Digest], None] = {}
        for image in self._changed():
            repository = image.spec.destination.repository
            for digest in blobs(image.root, self._documents):
                if self.evidence.known(repository, digest).presence is Presence.UNKNOWN:
                    opened[repository, digest] = None
        return list(opened)

    async def _ask_blob(self, opened: tuple[Repository, Digest]) -> None:
        await self._observer.ask_blob(*opened)
