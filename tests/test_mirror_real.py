"""A fleet mirrored between real registries: what arrives, what it costs on the wire, what the bill had said.

Each story is lived once and looked at by several tests. The source is always Debian's docker-registry.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from mmgraph.cache import MemoryCache
from mmgraph.server import LayoutStorage, MemoryStorage, RegistryServer
from mmgraph.store import Operation
from tests.support import oracle, skopeo
from tests.support.distribution import Distribution, count
from tests.support.mirror import Mirrored, Requests, bill_requests, mirror, spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.fleet import Fleet
    from mmgraph.plan import Plan

KINDS = ("distribution", "memory", "layout")
COPIED = {"oci": "team-0/service-0:v1", "alias": "team-1/service-6:latest", "mounted": "team-2/service-9:v3"}
"""What skopeo copies, config and layers proven; Docker's media types an OCI layout does not take."""

HEADS, GETS, TAGS = Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.GET_TAGS
POSTS, PUTS, PUT_MANIFESTS = Operation.POST_UPLOAD, Operation.PUT_BLOB, Operation.PUT_MANIFEST


class Wire(NamedTuple):
    """What one registry saw in one part of a story: requests by kind, and the blobs that went in and out."""

    counts: dict[str, int]
    read: list[str]
    committed: list[str]
    bytes_read: int
    bytes_committed: int | None
    """None where the registry's log does not say."""


class Place:
    """A registry of either make, and what it has seen since the last time it was asked."""

    def __init__(self, registry: Distribution | RegistryServer) -> None:
        self._registry = registry
        self.address = registry.address

    def seen(self) -> Wire:
        """Return what there was since the last call, and begin anew."""
        if isinstance(self._registry, RegistryServer):
            log = self._registry.log
            kinds = [str(request.kind) for request in log]
            wire = Wire(
                {kind: kinds.count(kind) for kind in sorted(set(kinds))},
                [request.name for request in log.select(Operation.GET_BLOB)],
                [request.name for request in log.select(PUTS, status=201)],
                log.bytes_sent(Operation.GET_BLOB),
                log.bytes_received(PUTS),
            )
            log.clear()
            return wire
        requests = self._registry.requests()
        read = [request for request in requests if request.operation is Operation.GET_BLOB]
        committed = [request for request in requests if request.operation is PUTS and request.status == 201]
        wire = Wire(
            {str(kind): number for kind, number in sorted(count(requests).items())},
            [request.name for request in read],
            [parse_qs(urlsplit(request.target).query)["digest"][0] for request in committed],
            sum(request.size for request in read),
            None,
        )
        self._registry.forget()
        return wire


class Part(NamedTuple):
    """One run of a story, as it told itself and as the registries saw it."""

    run: Mirrored
    source: Wire
    destinations: list[Wire]


class Story(NamedTuple):
    """A cold run, a second one, and what was at the destinations then."""

    cold: Part
    warm: Part
    closures: list[dict[str, dict[str, oracle.Closure]]]
    raw: list[dict[str, bytes]]
    """What skopeo reads as each tag, or of some stories as every fifth, a destination each."""


@pytest.fixture(scope="module")
def source(small_fleet: Fleet) -> Iterator[Distribution]:
    """Serve the fleet, as it lies on a disk, with a real registry."""
    registry = Distribution()
    small_fleet.write_distribution_storage(registry.storage)
    with registry:
        yield registry


async def enter(kind: str, directory: Path, stack: AsyncExitStack) -> Place:
    """Start an empty registry."""
    if kind == "distribution":
        return Place(stack.enter_context(Distribution()))
    storage = MemoryStorage() if kind == "memory" else LayoutStorage(directory / "layout")
    return Place(await stack.enter_async_context(RegistryServer(storage)))


async def live(
    fleet: Fleet, source: Distribution, kinds: tuple[str, ...], directory: Path, *platforms: str
) -> Story:
    """Mirror the fleet to new registries, twice; then let the oracle and skopeo read what is there."""
    async with AsyncExitStack() as stack:
        origin = Place(source)
        places = [await enter(kind, directory, stack) for kind in kinds]
        specs = "".join(
            spec(f"{source.address}/{repository}:{tag}", f"{place.address}/{repository}:{tag}", *platforms)
            for repository, tag, _ in fleet.images()
            for place in places
        )
        cache = MemoryCache()
        origin.seen()
        cold = Part(await mirror(specs, cache=cache), origin.seen(), [place.seen() for place in places])
        warm = Part(await mirror(specs, cache=cache), origin.seen(), [place.seen() for place in places])
        closures = [await oracle.walk(place.address, list(fleet.tags)) for place in places]
        names = [f"{repository}:{tag}" for repository, tag, _ in fleet.images()]
        every = 1 if kinds == ("distribution",) and not platforms else 5
        raw = [await inspected(place.address, names[::every]) for place in places]
        for number, place in enumerate(places):
            for tag, name in COPIED.items():
                target = f"oci:{directory}/copy-{number}:{tag}"
                image = f"docker://{place.address}/{name}"
                await skopeo.run("copy", "--all", "--src-tls-verify=false", image, target)
    return Story(cold, warm, closures, raw)


async def inspected(address: str, names: list[str]) -> dict[str, bytes]:
    """Return what ``skopeo inspect --raw`` shows for each tag, a few at a time."""
    room = asyncio.Semaphore(4)
    found: dict[str, bytes] = {}

    async def inspect(name: str) -> None:
        async with room:
            found[name] = await skopeo.inspect_raw(f"{address}/{name}")

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(inspect(name))
    return found


@pytest.fixture(scope="module", params=[*((kind,) for kind in KINDS), KINDS[:2]], ids="+".join)
def story(
    request: pytest.FixtureRequest,
    small_fleet: Fleet,
    source: Distribution,
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    """Live one story for each kind of destination, and one with two destinations at once."""
    return asyncio.run(live(small_fleet, source, request.param, tmp_path_factory.mktemp("story")))


@pytest.fixture(scope="module")
def slim_story(small_fleet: Fleet, source: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live a story in which every index is limited to one platform."""
    directory = tmp_path_factory.mktemp("slim")
    return asyncio.run(live(small_fleet, source, ("distribution",), directory, "linux/arm64"))


def test_fleet_is_a_fair_size(small_fleet: Fleet) -> None:
    """The fleet has at least forty images of several platforms, no two alike."""
    roots = {root for _, _, root in small_fleet.images()}

    assert 40 == sum(len(small_fleet.documents[root].children) >= 2 for root in roots)


def test_everything_arrives(story: Story, small_fleet: Fleet) -> None:
    """An independent reader finds each tag's whole closure at each destination, equal to the source's."""
    assert [small_fleet.closures()] * len(story.closures) == story.closures


def test_skopeo_reads_the_same_bytes(story: Story, small_fleet: Fleet) -> None:
    """``skopeo inspect --raw`` shows for each tag the bytes that the source has."""
    known = {f"{name}:{tag}": small_fleet.documents[root].raw for name, tag, root in small_fleet.images()}

    assert [{name: known[name] for name in raw} for raw in story.raw] == story.raw


def test_outcomes(story: Story) -> None:
    """Every spec of the cold run ends as created and every one of the second as unchanged."""
    ends = [set(part.run.ends.values()) for part in (story.cold, story.warm)]

    assert [{"copied"}, {"unchanged"}] == ends


def test_no_surprises(story: Story) -> None:
    """Where nothing goes wrong, nothing is said to have gone another way."""
    assert [] == [*story.cold.run.account.surprises, *story.warm.run.account.surprises]


def test_each_blob_is_read_once(story: Story, small_fleet: Fleet) -> None:
    """The source sees one GET for each distinct blob of the set, however many destinations there are."""
    assert sorted(small_fleet.content) == sorted(story.cold.source.read)


def test_each_blob_is_uploaded_once(story: Story, small_fleet: Fleet) -> None:
    """Each registry sees one PUT for each distinct blob of the set."""
    expected = [sorted(small_fleet.content)] * len(story.cold.destinations)

    assert expected == [sorted(wire.committed) for wire in story.cold.destinations]


def test_cold_requests_at_the_source(story: Story, small_fleet: Fleet) -> None:
    """The source is asked for tags, manifests and blobs, each once, and pinged once."""
    expected = {str(kind): number for kind, number in small_fleet.truth().source.items()}

    assert expected | {"GET ping": 1} == story.cold.source.counts


def test_cold_requests_at_a_destination(story: Story, small_fleet: Fleet) -> None:
    """A destination sees nothing per blob but its upload, no HEAD and no GET, and one POST as the probe."""
    truth = small_fleet.truth()
    expected = {str(kind): number for kind, number in truth.destination.items()}
    expected[POSTS] += 1
    expected |= {"GET tags": truth.repositories, "GET ping": 1}

    assert [expected] * len(story.cold.destinations) == [wire.counts for wire in story.cold.destinations]


def test_warm_requests(story: Story, small_fleet: Fleet) -> None:
    """A second run costs a HEAD for each tag at each end and one ping a registry, and nothing else."""
    expected = {"GET ping": 1, "HEAD manifest": small_fleet.truth().tags}

    seen = [story.warm.source.counts, *(wire.counts for wire in story.warm.destinations)]
    assert [expected] * len(seen) == seen


def test_account_counts_what_the_wire_shows(story: Story) -> None:
    """The bytes that a run says it moved are those that the registries saw."""
    account = story.cold.run.account
    sent = [wire.bytes_committed for wire in story.cold.destinations]
    known = [account.uploaded // len(sent) if size is not None else None for size in sent]

    assert (story.cold.source.bytes_read, known) == (account.downloaded, sent)


def test_limited_images_arrive(slim_story: Story, small_fleet: Fleet) -> None:
    """Each limited index has the images of the one platform, with their attestations, and stays an index."""
    expected = {}
    for name, tag, root in small_fleet.images():
        entries = json.loads(small_fleet.documents[root].raw)["manifests"]
        wanted = {e["digest"] for e in entries if e["platform"].get("architecture") == "arm64"}
        attests = "vnd.docker.reference.digest"
        expected[f"{name}:{tag}"] = [
            entry
            for entry in entries
            if entry["digest"] in wanted or entry.get("annotations", {}).get(attests) in wanted
        ]

    found = {name: json.loads(raw)["manifests"] for name, raw in slim_story.raw[0].items()}
    assert {name: expected[name] for name in found} == found


def test_limited_images_keep_their_type(slim_story: Story, small_fleet: Fleet) -> None:
    """A limited index has every field of the original but ``manifests`` as it was."""
    expected = {}
    for name, tag, root in small_fleet.images():
        expected[f"{name}:{tag}"] = json.loads(small_fleet.documents[root].raw) | {"manifests": 0}

    found = {name: json.loads(raw) | {"manifests": 0} for name, raw in slim_story.raw[0].items()}
    assert {name: expected[name] for name in found} == found


def test_limited_images_read_nothing_else(slim_story: Story, small_fleet: Fleet) -> None:
    """Of the other platform neither manifests nor blobs are read at the source."""
    kept = {
        digest for tags in slim_story.closures[0].values() for _, sizes in tags.values() for digest in sizes
    }
    blobs = kept & set(small_fleet.content)
    indexes = {root for _, _, root in small_fleet.images()}
    manifests = kept & set(small_fleet.documents) | indexes
    expected = {
        "GET blob": len(blobs),
        "GET manifest": len(manifests),
        "GET ping": 1,
        "HEAD manifest": small_fleet.truth().tags,
    }

    assert expected == slim_story.cold.source.counts


def test_warm_requests_of_limited_images(slim_story: Story, small_fleet: Fleet) -> None:
    """With a manifest cache, a second run of limited images costs no GET either."""
    expected = {"GET ping": 1, "HEAD manifest": small_fleet.truth().tags}

    assert [expected] * 2 == [slim_story.warm.source.counts, slim_story.warm.destinations[0].counts]


class Bill(NamedTuple):
    """An exact plan, and what its execution then cost."""

    run: Mirrored
    source: Wire
    destination: Wire
    addresses: tuple[str, str]


async def pay(fleet: Fleet, source: Distribution, kind: str, directory: Path, half: bool) -> Bill:
    """Plan exactly, then carry out that plan; ``half``: some of the tags are there before."""
    async with AsyncExitStack() as stack:
        origin, place = Place(source), await enter(kind, directory, stack)
        lines = fleet.specs(source.address, place.address).splitlines(keepends=True)
        if half:
            await mirror("".join(line for line in lines if "service-4:v" in line or "service-6:v1" in line))
        origin.seen()
        place.seen()

        async def forget(_: Plan) -> None:
            origin.seen()
            place.seen()

        run = await mirror("".join(lines), exact=True, between=forget)
        return Bill(run, origin.seen(), place.seen(), (origin.address, place.address))


@pytest.fixture(
    scope="module",
    params=[("distribution", False), ("distribution", True), ("memory", True), ("layout", False)],
    ids=lambda value: f"{value[0]}, half full" if value[1] else f"{value[0]}, empty",
)
def bill(
    request: pytest.FixtureRequest,
    small_fleet: Fleet,
    source: Distribution,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bill:
    """Plan and execute once for each kind of destination, empty and half full."""
    kind, half = request.param
    return asyncio.run(pay(small_fleet, source, kind, tmp_path_factory.mktemp("bill"), half))


def test_bill_adds_up(bill: Bill, small_fleet: Fleet) -> None:
    """Every byte of the naive copy is in exactly one class."""
    said = bill.run.plan.bill

    assert small_fleet.truth().naive_bytes == said.present + said.mounted + said.uploaded + said.shared


def test_bill_equals_the_requests_of_the_run(bill: Bill) -> None:
    """By registry and kind, the bill's requests are the looks of planning and all that came after."""
    looks = {
        registry: {"HEAD manifest": kinds["HEAD manifest"]} for registry, kinds in bill.run.planning.items()
    }
    found: Requests = {}
    for part in (looks, bill.run.applying):
        for registry, kinds in part.items():
            found.setdefault(registry, {}).update(kinds)

    assert bill_requests(bill.run.plan) == found


def test_bill_equals_the_requests_on_the_wire(bill: Bill) -> None:
    """What each registry saw once the plan was made is the bill without its looks; a probe is a POST."""
    expected = []
    for address in bill.addresses:
        kinds = dict(bill_requests(bill.run.plan).get(address, {}))
        del kinds["HEAD manifest"]
        if probes := kinds.pop("POST probe", 0):
            kinds["POST upload"] += probes
        expected.append(kinds)

    assert expected == [bill.source.counts, bill.destination.counts]


def test_bill_equals_the_bytes_on_the_wire(bill: Bill) -> None:
    """The bytes that the bill says are read and sent are those that the registries saw."""
    said, sent = bill.run.plan.bill, bill.destination.bytes_committed
    uploaded = said.uploaded if sent is not None else None

    assert (said.downloaded, uploaded) == (bill.source.bytes_read, sent)


def test_bill_equals_the_account(bill: Bill) -> None:
    """The bytes that the run accounts for are those of the bill."""
    said, account = bill.run.plan.bill, bill.run.account

    assert (said.downloaded, said.uploaded, said.mounted) == (
        account.downloaded,
        account.uploaded,
        account.mounted,
    )
