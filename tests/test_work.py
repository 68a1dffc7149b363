"""The ledger: what becomes ready when, what a failure blocks, who is elected, what is sent again."""

from collections.abc import Iterable

from mmgraph.graph import Kind, Node
from mmgraph.names import Registry, Repository
from mmgraph.oci import Document
from mmgraph.plan import Action, Plan
from mmgraph.work import REVIVALS, Ledger, State, Work
from tests.support.making import Bench, digest, index, manifest


class Watched:
    """A ledger and all that it has told."""

    def __init__(self, plan: Plan, nodes: Iterable[Node] | None = None) -> None:
        self.ready: list[Work] = []
        self.ended: list[tuple[str, State]] = []
        self.ledger = Ledger(
            plan, self.ready.append, lambda work: self.ended.append((work.node.name, work.state))
        )
        self.ledger.extend(plan.steps if nodes is None else nodes)

    def take(self) -> list[str]:
        """What has become ready since the last look, as ``repository/kind``."""
        taken = list(self.ready)
        self.ready.clear()
        return [f"{work.node.repository.path}/{work.node.kind}" for work in taken]

    def blob(self, repository: str, name: str) -> Work:
        """The work on a named blob."""
        return self.at(Kind.BLOB, repository, digest(name))

    def at(self, kind: Kind, repository: str, name: str) -> Work:
        """The work on a node."""
        work = self.ledger.get(Node(kind, Repository(Registry("dst.example"), repository), name))
        assert work is not None
        return work


def bench(*repositories: str, committed_only: bool = False) -> tuple[Bench, Document]:
    """One image with one blob, wanted in several repositories."""
    image = manifest("config")
    made = Bench(image, committed_only=["dst.example"] if committed_only else [])
    for repository in repositories:
        made.want("s:1", f"{repository}:1", image)
    return made, image


def test_what_waits_for_nothing_is_ready_first() -> None:
    """``config -> manifest -> tag``: the blob starts alone."""
    watched = Watched(bench("a")[0].plan())
    assert ["a/blob"] == watched.take()


def test_what_is_done_readies_what_waited_for_it() -> None:
    """The manifest follows the blob, the tag the manifest."""
    made, image = bench("a")
    watched = Watched(made.plan())
    watched.take()
    watched.ledger.done(watched.blob("a", "config"))
    after_blob = watched.take()
    watched.ledger.done(watched.at(Kind.MANIFEST, "a", image.digest))
    assert (["a/manifest"], ["a/tag"]) == (after_blob, watched.take())


def test_a_failure_blocks_exactly_what_needs_it() -> None:
    """The blob in a fails: a's manifest and tag are blocked by it, b finds another way."""
    watched = Watched(bench("a", "b")[0].plan())
    watched.take()
    failed = watched.blob("a", "config")
    watched.ledger.fail(failed, "denied")
    states = {
        f"{work.node.repository.path}/{work.node.kind}": (work.state, work.blocker) for work in watched.ledger
    }
    expected = {
        "a/blob": (State.FAILED, None),
        "a/manifest": (State.BLOCKED, failed),
        "a/tag": (State.BLOCKED, failed),
        "b/blob": (State.READY, None),
        "b/manifest": (State.WAITING, None),
        "b/tag": (State.WAITING, None),
    }
    assert expected == states


def test_the_first_of_those_that_waited_becomes_the_landing() -> None:
    """``a`` fails, ``b`` uploads in its place, ``c`` waits for ``b`` and mounts from there."""
    watched = Watched(bench("a", "b", "c")[0].plan())
    watched.take()
    watched.ledger.fail(watched.blob("a", "config"), "denied")
    b, c = watched.blob("b", "config"), watched.blob("c", "config")
    elected = (watched.take(), b.action, c.action, c.state, c.mount_from)
    watched.ledger.done(b)
    expected = (["b/blob"], Action.UPLOAD, Action.MOUNT, State.WAITING, b.node.repository)
    assert (expected, ["b/manifest", "c/blob"]) == (elected, watched.take())


def test_the_elected_can_fail_too() -> None:
    """``a`` and then ``b`` fail: ``c`` uploads."""
    watched = Watched(bench("a", "b", "c")[0].plan())
    watched.take()
    watched.ledger.fail(watched.blob("a", "config"), "denied")
    watched.take()
    watched.ledger.fail(watched.blob("b", "config"), "denied")
    assert (["c/blob"], Action.UPLOAD) == (watched.take(), watched.blob("c", "config").action)


def test_after_an_election_the_rest_waits_for_the_blob_itself() -> None:
    """A registry that mounts what is committed: c waits for b's blob, since b's manifest might wait for c's."""
    made, _ = bench("a", "b", "c", committed_only=True)
    watched = Watched(made.plan())
    watched.take()
    watched.ledger.fail(watched.blob("a", "config"), "denied")
    first = watched.take()
    watched.ledger.done(watched.blob("b", "config"))
    assert (["b/blob"], ["b/manifest", "c/blob"]) == (first, watched.take())


def test_an_election_never_waits_backwards() -> None:
    """x lands at r1 and fails late, when the manifests left at r2 wait for r3 and r3's wait for x: all go on."""
    one, two, three, five = manifest("x"), manifest("x", "z"), manifest("x", "y"), manifest("x", "y2", "y")
    made = Bench(one, two, three, five, committed_only=["dst.example"])
    made.want("s:1", "r1:1", one)
    made.want("s:2", "r2:1", two)
    made.want("s:3", "r3:1", three)
    made.want("s:5", "r2:2", five)
    watched = Watched(made.plan())
    watched.ledger.fail(watched.blob("r2", "z"), "lost")
    watched.ledger.fail(watched.blob("r1", "x"), "denied")
    for _ in range(20):
        ready = list(watched.ready)
        watched.ready.clear()
        for work in ready:
            if not work.settled:
                watched.ledger.done(work)
    states = {str(work.state) for work in watched.ledger if not work.settled}
    assert set() == states


def test_parts_that_another_refusal_has_sent_on_their_way_are_waited_for() -> None:
    """Two manifests share a and b: one is refused for a, the other for b; neither starts before both are back."""
    one, two = manifest("a", "b"), manifest("a", "b", "c")
    made = Bench(one, two)
    made.want("s:1", "r:1", one)
    made.want("s:2", "r:2", two)
    watched = Watched(made.plan())
    watched.take()
    for name in ("a", "b", "c"):
        watched.ledger.done(watched.blob("r", name))
    manifests = [watched.at(Kind.MANIFEST, "r", document.digest) for document in (one, two)]
    for work in manifests:
        work.state = State.RUNNING
    watched.take()
    watched.ledger.revive(manifests[0], [digest("a")])
    watched.ledger.revive(manifests[1], [digest("b")])
    watched.take()
    watched.ledger.done(watched.blob("r", "a"))
    early = watched.take()
    watched.ledger.done(watched.blob("r", "b"))
    assert ([], ["r/manifest", "r/manifest"]) == (early, watched.take())


def test_many_tags_of_one_manifest_bring_it_back_once() -> None:
    """Seven tags are refused for one lost blob: it is sent once, its manifest once, and every tag gets its turn."""
    image = manifest("config")
    made = Bench(image)
    for number in range(7):
        made.want("s:1", f"a:{number}", image)
    for part in (image.digest, digest("config")):
        made.evidence.hold(Repository(Registry("dst.example"), "a"), part, "listed by an old tag")
    watched = Watched(made.plan())
    tags = [watched.at(Kind.TAG, "a", str(number)) for number in range(7)]
    watched.take()
    revived = [watched.ledger.revive(tag, [digest("config")]) for tag in tags[:6]]
    again = watched.take()
    watched.ledger.done(watched.blob("a", "config"))
    watched.ledger.done(watched.at(Kind.MANIFEST, "a", image.digest))
    watched.take()
    late = watched.ledger.revive(tags[6], [digest("config")])
    assert ([True] * 6, ["a/blob"], True, ["a/tag"]) == (revived, again, late, watched.take())


def test_a_tag_that_fails_blocks_nothing_else() -> None:
    """Two tags of one image: one cannot be written, the other is as it was."""
    image = manifest("config")
    made = Bench(image)
    made.want("s:1", "a:1", image)
    made.want("s:1", "a:2", image)
    watched = Watched(made.plan())
    watched.ledger.fail(watched.at(Kind.TAG, "a", "1"), "immutable")
    assert (State.FAILED, State.WAITING) == tuple(
        watched.at(Kind.TAG, "a", name).state for name in ("1", "2")
    )


def finish_blobs(watched: Watched, *names: str) -> None:
    """Report blobs of repository ``a`` as done, and forget what that readied."""
    for name in names:
        watched.ledger.done(watched.blob("a", name))
    watched.take()


def test_parts_that_a_registry_names_as_missing_are_sent_again_and_no_others() -> None:
    """MANIFEST_BLOB_UNKNOWN for one of two blobs: that one is uploaded plainly, then the manifest follows."""
    image = manifest("config", "layer")
    made = Bench(image)
    made.want("s:1", "a:1", image)
    watched = Watched(made.plan())
    finish_blobs(watched, "config", "layer")
    refused = watched.at(Kind.MANIFEST, "a", image.digest)
    revived = watched.ledger.revive(refused, [digest("layer")])
    layer = watched.blob("a", "layer")
    first = watched.take()
    watched.ledger.done(layer)
    expected = (True, ["a/blob"], Action.UPLOAD, None, ["a/manifest"])
    assert expected == (revived, first, layer.action, layer.mount_from, watched.take())


def test_a_part_that_was_only_observed_can_be_sent_too() -> None:
    """Evidence said the blob is there, the registry says it is not: it gets a work of its own."""
    image = manifest("config")
    made = Bench(image)
    made.want("s:1", "a:1", image)
    made.evidence.hold(Repository(Registry("dst.example"), "a"), digest("config"), "listed by an old tag")
    watched = Watched(made.plan())
    first = watched.take()
    watched.ledger.revive(watched.at(Kind.MANIFEST, "a", image.digest), [digest("config")])
    assert (["a/manifest"], ["a/blob"]) == (first, watched.take())


def test_a_child_that_a_registry_lacks_is_put_again() -> None:
    """An index is refused for a child that was seen: the child is put, then the index."""
    image = manifest("config")
    whole = index({"linux/amd64": image})
    made = Bench(image, whole)
    made.want("s:1", "a:1", whole)
    place = Repository(Registry("dst.example"), "a")
    for part in (image.digest, digest("config")):
        made.evidence.hold(place, part, "listed by an old tag")
    watched = Watched(made.plan())
    first = watched.take()
    watched.ledger.revive(watched.at(Kind.INDEX, "a", whole.digest), [image.digest])
    second = watched.take()
    watched.ledger.done(watched.at(Kind.MANIFEST, "a", image.digest))
    assert (["a/index"], ["a/manifest"], ["a/index"]) == (first, second, watched.take())


def test_where_none_of_the_parts_is_named_all_are_sent_again() -> None:
    """A registry that does not say what it lacks gets everything."""
    image = manifest("config", "layer")
    made = Bench(image)
    made.want("s:1", "a:1", image)
    watched = Watched(made.plan())
    finish_blobs(watched, "config", "layer")
    watched.ledger.revive(watched.at(Kind.MANIFEST, "a", image.digest), [])
    assert ["a/blob", "a/blob"] == watched.take()


def test_a_registry_that_always_misses_something_is_believed_in_the_end() -> None:
    """After four rounds the refusal is final."""
    made, image = bench("a")
    watched = Watched(made.plan())
    refused = watched.at(Kind.MANIFEST, "a", image.digest)
    rounds = []
    for _ in range(REVIVALS + 1):
        finish_blobs(watched, "config")
        rounds.append(watched.ledger.revive(refused, []))
    assert [True] * REVIVALS + [False] == rounds


def test_a_second_manifest_that_waits_keeps_waiting_for_a_part_that_is_sent_again() -> None:
    """Two manifests share a blob: the one that still waits for its own does not start before the blob is back."""
    one, two = manifest("shared"), manifest("shared", "own")
    made = Bench(one, two)
    made.want("s:1", "a:1", one)
    made.want("s:2", "a:2", two)
    watched = Watched(made.plan())
    watched.take()
    watched.ledger.done(watched.blob("a", "shared"))
    watched.ledger.revive(watched.at(Kind.MANIFEST, "a", one.digest), [digest("shared")])
    watched.take()
    watched.ledger.done(watched.blob("a", "own"))
    early = watched.take()
    watched.ledger.done(watched.blob("a", "shared"))
    assert ([], ["a/manifest", "a/manifest"]) == (early, watched.take())


def test_a_tag_whose_manifest_was_taken_to_be_there_brings_it_back() -> None:
    """The root and its blob were seen, the PUT by tag is refused: blob, root, then the tag with it."""
    image = manifest("config")
    made = Bench(image)
    made.want("s:1", "a:2", image)
    for part in (image.digest, digest("config")):
        made.evidence.hold(Repository(Registry("dst.example"), "a"), part, "listed by an old tag")
    watched = Watched(made.plan())
    first = watched.take()
    tag = watched.at(Kind.TAG, "a", "2")
    revived = watched.ledger.revive(tag, [digest("config")])
    second = watched.take()
    watched.ledger.done(watched.blob("a", "config"))
    root = watched.at(Kind.MANIFEST, "a", image.digest)
    expected = (["a/tag"], True, ["a/blob"], ["a/manifest"], [tag])
    assert expected == (first, revived, second, watched.take(), watched.ledger.tags(root))


def grown(made: Bench, count: int) -> tuple[Watched, list[Node]]:
    """A ledger that knows the plan's first ``count`` images, and the nodes of the rest."""
    plan = made.plan()
    nodes = list(plan.steps)
    tags = [place for place, node in enumerate(nodes) if node.kind is Kind.TAG]
    cut = tags[count - 1] + 1
    watched = Watched(plan, nodes[:cut])
    return watched, nodes[cut:]


def test_what_enters_waits_for_what_is_under_way() -> None:
    """b's blob is to be mounted from a's, which is being uploaded when b enters."""
    watched, rest = grown(bench("a", "b")[0], 1)
    watched.take()
    watched.ledger.extend(rest)
    before = watched.take()
    watched.ledger.done(watched.blob("a", "config"))
    assert ([], ["a/manifest", "b/blob"]) == (before, watched.take())


def test_what_enters_late_starts_at_once() -> None:
    """a's blob is there when b enters: b's can be mounted at once."""
    watched, rest = grown(bench("a", "b")[0], 1)
    watched.ledger.done(watched.blob("a", "config"))
    watched.take()
    watched.ledger.extend(rest)
    assert ["b/blob"] == watched.take()


def test_what_enters_after_its_landing_failed_lands_itself() -> None:
    """a's blob has failed when b and c enter: b uploads, and c waits for b."""
    watched, rest = grown(bench("a", "b", "c")[0], 1)
    watched.ledger.fail(watched.blob("a", "config"), "denied")
    watched.take()
    watched.ledger.extend(rest)
    ready = watched.take()
    b, c = watched.blob("b", "config"), watched.blob("c", "config")
    watched.ledger.done(b)
    assert (["b/blob"], Action.UPLOAD, b.node.repository, ["b/manifest", "c/blob"]) == (
        ready,
        b.action,
        c.mount_from,
        watched.take(),
    )


def test_what_enters_after_an_election_mounts_from_the_elected() -> None:
    """a has failed and b was elected and is done when c enters: c mounts from b at once."""
    watched, rest = grown(bench("a", "b", "c")[0], 2)
    watched.ledger.fail(watched.blob("a", "config"), "denied")
    watched.ledger.done(watched.blob("b", "config"))
    watched.take()
    watched.ledger.extend(rest)
    c = watched.blob("c", "config")
    assert (["c/blob"], Action.MOUNT, "b") == (watched.take(), c.action, c.mount_from and c.mount_from.path)


def test_what_enters_after_a_part_of_it_failed_is_blocked() -> None:
    """A second tag of a repository whose blob has failed: its manifest and tag are blocked, and the goal is told."""
    one, two = manifest("config", "one"), manifest("config", "two")
    made = Bench(one, two)
    made.want("s:1", "a:1", one)
    made.want("s:2", "a:2", two)
    watched, rest = grown(made, 1)
    failed = watched.blob("a", "config")
    watched.ledger.fail(failed, "denied")
    watched.ended.clear()
    watched.ledger.extend(rest)
    states = [(work.state, work.blocker) for node in rest if (work := watched.ledger.get(node)) is not None]
    assert [(State.READY, None), (State.BLOCKED, failed), (State.BLOCKED, failed)] == states
    assert [two.digest, "2"] == [name for name, _ in watched.ended]


def test_what_enters_with_another_source_reads_from_there_what_was_lost() -> None:
    """a:1's blob could be read nowhere: a:2, of the same manifest and another source, unblocks all but a:1's tag."""
    image = manifest("config", "layer")
    made = Bench(image)
    made.want("bad:1", "a:1", image)
    made.want("good:1", "a:2", image)
    watched, rest = grown(made, 1)
    lost = watched.blob("a", "config")
    lost.tried.add(Repository(Registry("src.example"), "bad"))
    watched.ledger.done(watched.blob("a", "layer"))
    watched.ledger.fail(lost, "gone")
    watched.take()
    good = Repository(Registry("src.example"), "good")
    watched.ledger.offer(rest[-1], good)
    watched.ledger.extend(rest)
    ready = watched.take()
    watched.ledger.done(lost)
    root = watched.at(Kind.MANIFEST, "a", image.digest)
    expected = (["a/blob"], good, ["a/manifest"], ["2"])
    assert expected == (
        ready,
        lost.source,
        watched.take(),
        [work.node.name for work in watched.ledger.tags(root)],
    )


def test_what_was_sent_again_enters_late_and_is_unblocked_all_the_same() -> None:
    """A child and its blob were taken to be there, and the blob is lost: another source brings it and both back."""
    image = manifest("config")
    whole = index([image])
    made = Bench(image, whole)
    made.want("bad:1", "a:1", whole)
    made.want("good:1", "a:2", whole)
    for part in (image.digest, digest("config")):
        made.evidence.hold(Repository(Registry("dst.example"), "a"), part, "listed by an old tag")
    watched, rest = grown(made, 1)
    root = watched.at(Kind.INDEX, "a", whole.digest)
    watched.ledger.revive(root, [image.digest])
    child = watched.at(Kind.MANIFEST, "a", image.digest)
    watched.ledger.revive(child, [digest("config")])
    lost = watched.blob("a", "config")
    lost.tried.add(Repository(Registry("src.example"), "bad"))
    watched.ledger.fail(lost, "gone")
    watched.ledger.offer(rest[-1], Repository(Registry("src.example"), "good"))
    watched.ledger.extend(rest)
    watched.take()
    for work in (lost, child):
        watched.ledger.done(work)
    assert ["a/manifest", "a/index"] == watched.take()


def test_what_is_blocked_by_more_than_a_source_stays_blocked() -> None:
    """Of two blobs one was lost by its source, the other refused by the registry: another source helps the first."""
    image = manifest("config", "layer")
    made = Bench(image)
    made.want("bad:1", "a:1", image)
    made.want("good:1", "a:2", image)
    watched, rest = grown(made, 1)
    lost, denied = watched.blob("a", "config"), watched.blob("a", "layer")
    lost.tried.add(Repository(Registry("src.example"), "bad"))
    watched.ledger.fail(denied, "denied")
    watched.ledger.fail(lost, "gone")
    watched.ledger.offer(rest[-1], Repository(Registry("src.example"), "good"))
    watched.ledger.extend(rest)
    root, tag = watched.at(Kind.MANIFEST, "a", image.digest), watched.at(Kind.TAG, "a", "2")
    assert (State.BLOCKED, State.BLOCKED, denied) == (root.state, tag.state, tag.blocker)


def test_a_tag_is_refused_for_good_once_its_manifest_could_not_be_sent_again() -> None:
    """Two tags are refused at once; what the first one brought back failed meanwhile: the second waits for nothing."""
    image = manifest("config")
    made = Bench(image)
    made.want("s:1", "a:1", image)
    made.want("s:1", "a:2", image)
    for part in (image.digest, digest("config")):
        made.evidence.hold(Repository(Registry("dst.example"), "a"), part, "listed by an old tag")
    watched = Watched(made.plan())
    one, two = (watched.at(Kind.TAG, "a", name) for name in "12")
    one.state = two.state = State.RUNNING
    watched.ledger.revive(one, [digest("config")])
    watched.ledger.fail(watched.blob("a", "config"), "denied")
    assert not watched.ledger.revive(two, [digest("config")])
