"""From specs to a plan: discovery and observation side by side, then planning, image by image in spec order.

Owns the order in which things are asked; decides nothing that ``plan`` could, and is handed nothing that writes.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from mmgraph.closure import Documents, Image, Unread, blobs, walk
from mmgraph.collector import uncollected
from mmgraph.demands import lost_platforms, unmet
from mmgraph.discover import PLACES, Discovery
from mmgraph.errors import MmgraphError
from mmgraph.events import Read, Reporter
from mmgraph.evidence import Evidence, Look, Presence
from mmgraph.graph import prepare
from mmgraph.observe import Observer
from mmgraph.oci import Index, digest_of
from mmgraph.plan import Plan, Planner
from mmgraph.reasons import Why, say
from mmgraph.rules import NONE, Change, Rules, Violation, together
from mmgraph.tasks import Ahead, both, each

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence

    from mmgraph.clock import Clock
    from mmgraph.graph import Node
    from mmgraph.names import Digest, Registry, Repository
    from mmgraph.specs import CopySpec
    from mmgraph.store import Destination, ManifestCache, Source

_WIDTH = 256
"""Specs that are read at once; what is under way at a registry is the client's concern."""

_AHEAD = 16
"""Images that are read at once of a source registry while others are copied already."""

_FEW = 32
"""Unchanged images that are always worth a look for what they hold."""


class Tree(NamedTuple):
    """What a name of a destination points at."""

    repository: Repository
    name: str
    """The tag; empty where the set itself names the digest."""
    root: Digest


class Question(NamedTuple):
    """A blob or manifest that a repository may hold."""

    repository: Repository
    digest: Digest
    manifest: bool


class Compiler:
    """Compiles one set of specs.

    ``exact``: read every closure and ask for every blob that evidence leaves open, so that the bill is exact (plan).
    Otherwise only what is to change is read, and nothing is asked per blob (apply). ``repair``: believe no evidence,
    ask for every node of every closure, of unchanged tags too. ``rules``: what breaks one fails, and is not planned.
    ``found``: the reason to believe in what was asked for by its digest.

    What is asked at the same time is answered in any order; what is learnt is noted in the order of the specs, so that
    the same answers give the same plan.
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
        repair: bool = False,
        require_platforms: bool = False,
        committed_only: Collection[Registry] = (),
        repository_first: Collection[Registry] = (),
        chunk: Callable[[Registry, int], int] = lambda registry, size: 0,
        places: Callable[[Registry], int] = lambda registry: PLACES,
        rules: Rules = NONE,
        found: Why = Why.ASKED,
    ) -> None:
        self._specs = specs
        self._found = found
        self._rules = rules
        self._broken: dict[CopySpec, tuple[Violation, ...]] = {}
        self._report = report
        self._clock = clock
        self._exact = exact or repair
        self._repair = repair
        self._require_platforms = require_platforms
        self._cache = cache
        self._documents = Documents(cache)
        self.evidence = Evidence()
        self._discovery = Discovery(source, self._documents, places)
        self._observer = Observer(destination, self._documents, self.evidence, clock)
        self._images: dict[CopySpec, Image | Unread] = {}
        self._planner = Planner(self.evidence, self._documents, committed_only, repository_first, chunk)
        self._entered: set[CopySpec] = set()
        self._ahead: Ahead[list[Image]] | None = None
        self._done = 0

    async def plan(self) -> Plan:
        """Read what must be read and return the plan."""
        await each(self._specs, self._survey, _WIDTH)
        return await self._whole()

    async def begin(self) -> Plan:
        """Look at every name of the set, and return the plan of all that is settled by that.

        What is to change is read from here on, and enters the plan as ``growth`` goes on. Where only the whole set
        tells how an image is to be copied, the whole set is read first, and the plan is complete.
        """
        await each(self._specs, self._survey, _WIDTH)
        changed = self._changed()
        if not changed or not self._may_grow():
            return await self._whole()
        prepare()
        reading = {image.spec for image in changed}
        settled = [spec for spec in self._specs if spec not in reading]
        groups: dict[tuple[Repository, Digest], list[Image]] = {}
        for image in changed:
            groups.setdefault((image.spec.source.repository, image.root), []).append(image)
        self._ahead = Ahead(groups.values(), self._read_all, _AHEAD, self._clock, _source)
        try:
            await self._learn(self._old())
            await self._learn(self._cached())
            await each(self._silent_repositories(), self._observer.ask_repository, _WIDTH)
        except BaseException:
            await self._ahead.close()
            raise
        for spec in settled:
            self._enter(spec)
        return self._planner.growing()

    @property
    def growing(self) -> bool:
        """Whether ``growth`` has more to add to the plan."""
        return self._ahead is not None

    async def growth(self) -> AsyncGenerator[Sequence[Node], None]:
        """Let each image enter the plan once it has been read, and yield the nodes that it added.

        In the order of the specs, but for what is read slowly: where a blob lands follows from it, and a run that was
        cut off has left blobs there (I4). Specs with one source enter together, so that registries that want the same
        share a GET. First it yields nothing, at once; closed between that and its end, it leaves the rest of the specs
        open.
        """
        assert self._ahead is not None
        try:
            yield ()
            async for images in self._ahead:
                count = len(self._planner)
                for image in images:
                    self._reconcile(image)
                await self._judge(images)
                for image in images:  # nothing is awaited from here on: what has entered is handed on
                    self._enter(image.spec)
                yield self._planner.since(count)
        finally:
            ahead, self._ahead = self._ahead, None
            for spec in self._specs:
                if spec not in self._entered:
                    self._planner.leave(spec)
            self._planner.sort(self._specs)
            self._cache.flush()
            await ahead.close()  # last: who is cancelled twice does not come back from it

    async def close(self) -> None:
        """Stop reading, also where ``growth`` has never been begun."""
        if self._ahead is not None:
            await self._ahead.close()

    def finish(self) -> Plan:
        """The plan with all that has entered."""
        violations = tuple(each for spec in self._specs for each in self._broken.get(spec, ()))
        return replace(self._planner.finish(), violations=violations)

    async def _whole(self) -> Plan:
        """Read all that must be read, and then plan it in the order of the specs."""
        if not self._exact and not self._changed():
            return self._enter_all()
        prepare()
        await each(self._changed() if not self._exact else self._readable(), self._read, _WIDTH)
        for image in self._changed():
            self._reconcile(image)
        if not self._repair:
            self._take_sources()
            await self._learn(self._old())
        # What breaks a rule enters no plan, so that nothing lands where it would have gone.
        await self._judge(self._changed())
        if not self._repair:
            await self._learn(self._unchanged())
        self._cache.flush()  # from here on a run may be killed, and the next one knows what this one read
        await each(self._silent_repositories(), self._observer.ask_repository, _WIDTH)
        if self._exact:
            await self._ask(self._open())
        return self._enter_all()

    def _enter_all(self) -> Plan:
        with uncollected():  # nothing is dropped, and nothing awaited
            for spec in self._specs:
                self._enter(spec)
            return self.finish()

    def _enter(self, spec: CopySpec) -> None:
        image = self._images[spec]
        self._entered.add(spec)
        if isinstance(image, Unread):
            self._planner.fail(image)
        else:
            self._planner.add(image, closure=self._exact or self._changes(image))

    def _may_grow(self) -> bool:
        """Whether each image can be planned without having read the others.

        Not where a source's repository is one to mount from, for any image; nor where blobs may have been finished by
        a run that was cut off, which only what unchanged names consist of can tell.
        """
        if self._exact or self._rules.whole_set:
            return False
        places = {spec.destination.repository.registry for spec in self._specs}
        if any(image.spec.source.repository.registry in places for image in self._changed()):
            return False
        return all(self._changes(image) or self._is_cached(image.root) for image in self._readable())

    def _cached(self) -> list[Tree]:
        """What unchanged names consist of, which the cache knows."""
        return [self._tree(image) for image in self._readable() if not self._changes(image)]

    def _tree(self, image: Image) -> Tree:
        destination = image.spec.destination
        return Tree(destination.repository, destination.tag or "", image.root)

    async def _survey(self, spec: CopySpec) -> None:
        """Learn what the spec wants and what its destination names, both at once; nothing where it breaks a rule."""
        if violations := self._rules.of_name(spec.destination):
            self._refuse(spec, violations)
        else:
            await self._look(spec)
        self._done += 1
        self._report(Read(self._done, len(self._specs)))

    async def _look(self, spec: CopySpec) -> None:
        destination = spec.destination
        name = destination.name
        image, _ = await both(
            self._try(spec, self._discovery.image(spec)), self._observer.look(destination.repository, name)
        )
        failure = self.evidence.failures.get((destination.repository, name))
        if isinstance(image, Image) and failure is not None:
            image = Unread(spec, failure)
        if isinstance(image, Image) and image.missing and self._require_platforms:
            lacking = ", ".join(map(str, image.missing))
            image = Unread(spec, f"{spec.source} lacks {lacking}, and --require-platforms asks for all")
        self._images[spec] = image

    async def _judge(self, images: Sequence[Image]) -> None:
        """Fail each of ``images``, which are to be written, that breaks a rule."""
        if not self._rules:
            return
        changed = [image for image in images if self._is_read(image) and self._changes(image)]

        async def load(image: Image) -> None:
            old, destination = self._named(image), image.spec.destination
            if old is not None and self._rules.asks_for_losses(destination):
                await self._observer.load(destination.repository, old)  # read already, but for a repair

        await each(changed, load, _WIDTH)
        for image in changed:
            old, destination = self._named(image), image.spec.destination
            lost = () if old is None else lost_platforms(old, image.root, self._documents)
            change = Change(destination, image.source_digest, image.root, old, lost)
            try:
                violations = unmet(self._rules, change, list(walk(image.root, self._documents)))
            except MmgraphError as error:
                self._images[image.spec] = Unread(image.spec, _cause(image.spec, error))
                continue
            if violations:
                self._refuse(image.spec, violations)

    def _refuse(self, spec: CopySpec, violations: tuple[Violation, ...]) -> None:
        self._broken[spec] = violations
        self._images[spec] = Unread(spec, together(violations))

    async def _try(self, spec: CopySpec, work: Awaitable[Image]) -> Image | Unread:
        try:
            return await work
        except MmgraphError as error:
            return Unread(spec, _cause(spec, error))

    async def _read_all(self, images: Sequence[Image]) -> None:
        for image in images:
            await self._read(image, aside=True)

    async def _read(self, image: Image, *, aside: bool = False) -> None:
        try:
            await self._discovery.read(image, aside=aside)
        except MmgraphError as error:
            self._images[image.spec] = Unread(image.spec, _cause(image.spec, error))

    def _is_read(self, image: Image) -> bool:
        return isinstance(self._images[image.spec], Image)

    def _readable(self) -> list[Image]:
        images = (self._images[spec] for spec in self._specs)
        return [image for image in images if isinstance(image, Image)]

    def _changes(self, image: Image) -> bool:
        return self._named(image) != image.root

    def _changed(self) -> list[Image]:
        return [image for image in self._readable() if self._changes(image)]

    def _named(self, image: Image) -> Digest | None:
        """What the image's destination names now."""
        destination = image.spec.destination
        return self.evidence.looks[destination.repository, destination.name].digest

    async def _learn(self, trees: Sequence[Tree]) -> None:
        """Read trees at the destination, and take what they list as evidence."""
        read: set[Tree] = set()

        async def load(tree: Tree) -> None:
            if await self._observer.load(tree.repository, tree.root):
                read.add(tree)

        await each(trees, load, _WIDTH)
        for tree in trees:
            if tree in read:
                reason = say(Why.TAG if tree.name else Why.FOUND, digest=tree.root.short, name=tree.name)
                self._observer.hold(tree.repository, tree.root, reason)

    def _old(self) -> list[Tree]:
        """What the tags to move name today."""
        old = []
        for image in self._changed():
            digest, destination = self._named(image), image.spec.destination
            if digest is not None and destination.tag:
                old.append(Tree(destination.repository, destination.tag, digest))
        return old

    def _unchanged(self) -> list[Tree]:
        """What unchanged names consist of: where that is known already, or worth a few GETs.

        It is worth them where another repository would upload a blob that nobody is known to hold: a run that was cut
        off, and whose cache is lost, must not send what it has finished (I4). The GETs go to the destination, and
        there are at most four images for each that changes, the nearest in the set: those share the most.
        """
        changed = self._changed()
        if not self._exact and not changed:
            return []
        place = {image.spec: number for number, image in enumerate(self._readable())}
        changing = [place[image.spec] for image in changed]
        wanted = {} if self._exact else self._unheld(changed)
        known, unknown = [], []
        for image in self._readable():
            if self._changes(image):
                continue
            tree = self._tree(image)
            if self._exact or self._is_cached(image.root):
                known.append(tree)
            elif wanted.get(tree.repository.registry, set()) - {
                tree.repository
            }:  # its own POST finds its own
                unknown.append((_distance(changing, place[image.spec]), tree))
        nearest = sorted(unknown, key=lambda pair: pair[0])[: max(_FEW, 4 * len(changed))]
        return known + [tree for _, tree in nearest]

    def _unheld(self, changed: Sequence[Image]) -> dict[Registry, set[Repository]]:
        """By registry, the repositories that want a blob which no repository is known to hold."""
        unheld: dict[Registry, set[Repository]] = {}
        for image in changed:
            place = image.spec.destination.repository
            if any(
                self.evidence.holder(place.registry, digest) is None
                for digest in blobs(image.root, self._documents)
            ):
                unheld.setdefault(place.registry, set()).add(place)
        return unheld

    def _is_cached(self, root: Digest) -> bool:
        stack, seen = [root], {root}
        try:
            while stack:
                document = self._documents.cached(stack.pop())
                if document is None:
                    return False
                children = document.children if isinstance(document, Index) else ()
                fresh = [child.digest for child in children if child.digest not in seen]
                seen.update(fresh)
                stack += fresh
        except MmgraphError:
            return False
        return True

    def _reconcile(self, image: Image) -> None:
        """Recognise a destination that names its image by another algorithm.

        distribution names every manifest by sha256, also one that was asked for, and put, as sha512.
        """
        if not self._is_read(image):
            return
        destination = image.spec.destination
        name = (destination.repository, destination.name)
        look = self.evidence.looks[name]
        if look.digest is None or look.digest.algorithm == image.root.algorithm:
            return
        if digest_of(self._documents[image.root].raw, look.digest.algorithm) == look.digest:
            self.evidence.looks[name] = Look(image.root, look.at)

    def _take_sources(self) -> None:
        """Where source and destination share a registry, the source repository is one to mount from."""
        registries = {spec.destination.repository.registry for spec in self._specs}
        for image in self._changed():
            source = image.spec.source.repository
            if source.registry in registries:
                reason = say(Why.SOURCE, digest=image.source_digest.short)
                self._observer.hold(source, image.root, reason, trimmed=image.trimmed)

    def _silent_repositories(self) -> list[Repository]:
        """Repositories to write to in which no name of the set was found."""
        found = {
            repository for (repository, _), look in self.evidence.looks.items() if look.digest is not None
        }
        wanted = dict.fromkeys(image.spec.destination.repository for image in self._changed())
        return [repository for repository in wanted if repository not in found]

    def _open(self) -> list[Question]:
        """What evidence leaves open; every node of every closure where a repair believes none."""
        opened: dict[Question, None] = {}
        for image in self._readable() if self._repair else self._changed():
            repository = image.spec.destination.repository
            for document in walk(image.root, self._documents):
                if self._repair:
                    opened[Question(repository, document.digest, manifest=True)] = None
                for blob in document.blobs:
                    if self.evidence.known(repository, blob.digest).presence is Presence.UNKNOWN:
                        opened[Question(repository, blob.digest, manifest=False)] = None
        return list(opened)

    async def _ask(self, questions: Sequence[Question]) -> None:
        answers: dict[Question, Presence] = {}

        async def ask(question: Question) -> None:
            work = self._observer.ask_manifest if question.manifest else self._observer.ask_blob
            answers[question] = await work(question.repository, question.digest)

        await each(questions, ask, _WIDTH)
        for question in questions:
            if answers[question] is Presence.PRESENT:
                self.evidence.hold(question.repository, question.digest, say(self._found))
            elif answers[question] is Presence.ABSENT:
                self.evidence.lack(question.repository, question.digest)


def _source(images: Sequence[Image]) -> Registry:
    """Where they are read: who waits for one registry does not keep the images of another from being read."""
    return images[0].spec.source.repository.registry


def _cause(spec: CopySpec, error: MmgraphError) -> str:
    """What stopped ``spec``; the same words for all where it is not about their sources."""
    return str(error) if error.common else f"{spec.source}: {error}"


def _distance(places: Sequence[int], place: int) -> int:
    """How far ``place`` is from the nearest of ``places``, which are sorted."""
    after = bisect_left(places, place)
    return min(abs(place - near) for near in places[max(0, after - 1) : after + 1])
