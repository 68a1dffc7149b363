"""Blobs in chunks: each byte once where all is well, on from the session's own offset where it is not."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mmgraph.cache import MemoryCache
from mmgraph.compile import Compiler
from mmgraph.errors import InternalError, RegistryError, SpecError
from mmgraph.execute import Execution
from mmgraph.names import Registry, Repository
from mmgraph.oci import digest_of
from mmgraph.quirks import Quirk
from mmgraph.registry.chunks import LARGEST, cut, least, offset, taken
from mmgraph.registry.client import Client
from mmgraph.server import (
    Cut,
    Drop,
    FaultPlan,
    Flip,
    Headers,
    MemoryStorage,
    Refuse,
    RegistryServer,
    Rule,
    Stall,
)
from mmgraph.server import Quirks as Oddities
from mmgraph.specs import read_specs
from mmgraph.store import Operation
from mmgraph.transfer import SMALL, How, Outcome, Target, Transfer, run
from tests.support.clock import ManualClock
from tests.support.command import Command
from tests.support.distribution import Distribution
from tests.support.images import Maker
from tests.support.mirror import NO_LOGINS, spec
from tests.support.raw import Raw, Request, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from mmgraph.clock import Clock

MIB = 1 << 20
LARGE = random.Random(5).randbytes(SMALL + 3 * MIB + 5)
"""Seven MiB and a little: it is streamed."""
SMALLER = LARGE[: 3 * MIB]
"""Held whole."""
CHUNK = 2 * MIB
POST, PATCH, STATUS, PUT = (
    Operation.POST_UPLOAD,
    Operation.PATCH_UPLOAD,
    Operation.GET_UPLOAD,
    Operation.PUT_BLOB,
)
LOST = Refuse(404, "BLOB_UPLOAD_UNKNOWN")


# What headers say


@pytest.mark.parametrize(
    ("header", "sent", "expected"),
    [
        ("0-9", 10, 10),
        ("bytes=0-9", 10, 10),
        ("bytes 0-9", 10, 10),
        (" 0-9 ", 10, 10),
        ("0-0", 10, 0),
        ("0-0", 1, 1),
        ("0--1", 10, 0),
        ("0-99", 10, 100),
        ("1-9", 10, None),
        ("9", 10, None),
        ("0-" + "9" * 20, 10, None),
        ("0-9\n", 10, 10),
        ("", 10, None),
        (None, 10, None),
    ],
)
def test_offset(header: str | None, sent: int, expected: int | None) -> None:
    """A Range says how many bytes a session holds, in all the forms that are in use."""
    assert expected == offset(header, sent)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, 30), ("0-29", 30), ("0-19", 20), ("0-9", 10), ("0-8", None), ("0-30", None), ("junk", None)],
)
def test_taken(header: str | None, expected: int | None) -> None:
    """After the bytes 10 to 29 a session stands between them, or what it says is not believed."""
    assert expected == taken(header, 10, 30)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("16", 16),
        (" 16 ", 16),
        (None, 0),
        ("", 0),
        ("-1", 0),
        ("1e9", 0),
        ("9" * 20, 0),
        ("1" + "0" * 18, 10**18),
    ],
)
def test_least(header: str | None, expected: int) -> None:
    """OCI-Chunk-Min-Length is a number of bytes; junk asks for nothing."""
    assert expected == least(header)


async def pieces(*lengths: int, failure: Exception | None = None) -> AsyncIterator[bytes]:
    """Yield pieces of so many bytes, and fail at the end."""
    for length in lengths:
        yield bytes(length)
    if failure is not None:
        raise failure


@pytest.mark.parametrize(
    ("lengths", "size", "expected"),
    [
        ((10,), 10, [4, 4, 2]),
        ((8,), 8, [4, 4]),
        ((1,) * 9, 9, [4, 4, 1]),
        ((3, 0, 3, 3), 9, [4, 4, 1]),
        ((2,), 2, [2]),
    ],
)
async def test_cut(lengths: tuple[int, ...], size: int, expected: list[int]) -> None:
    """However a body comes, its chunks are of one length, but the last."""
    assert expected == [len(chunk) async for chunk in cut(pieces(*lengths), size, 4)]


@pytest.mark.parametrize(
    ("lengths", "failure"),
    [((8,), ValueError()), ((4, 4), ValueError()), ((9,), None), ((4, 4, 1), None), ((7,), None)],
)
async def test_the_last_chunk_waits_for_the_end(lengths: tuple[int, ...], failure: Exception | None) -> None:
    """A body that fails at its end, or is of another length, never gives its last chunk away."""
    found = 0

    async def take() -> None:
        nonlocal found
        async for chunk in cut(pieces(*lengths, failure=failure), 8, 4):
            found += len(chunk)

    with pytest.raises((ValueError, InternalError)):
        await take()
    assert found in (0, 4)


# What is sent


class Stage(NamedTuple):
    """A source with one blob, a destination, a client that sends chunks, and a clock that jumps."""

    source: RegistryServer
    destination: RegistryServer
    client: Client
    clock: ManualClock
    storage: MemoryStorage
    content: bytes

    async def move(self, chunk: int = CHUNK) -> Outcome:
        """Carry out one transfer, with memory for ``chunk`` bytes."""
        return await move(self.source, self.destination.address, self.client, self.clock, self.content, chunk)

    @property
    def arrived(self) -> bool:
        """Whether the destination holds the blob, byte by byte."""
        return holds(self.storage, self.content)

    def sent(self, kind: Operation) -> list[int]:
        """The bytes that each request of one kind brought."""
        return [request.bytes_received for request in self.destination.log.select(kind)]

    def ends(self, outcome: Outcome) -> tuple[How, bool, int, int]:
        """What became of it: outcome, blob, bytes that were received in all, sessions that are open."""
        received = sum(self.sent(PATCH)) + sum(self.sent(PUT))
        return outcome.how, self.arrived, received, self.destination.open_sessions


def holds(storage: MemoryStorage, content: bytes) -> bool:
    """Whether a storage holds the blob, byte by byte."""
    wanted = digest_of(content)
    if storage.blob_size("b", wanted) is None:
        return False
    with storage.open_blob("b", wanted) as file:
        return file.read() == content


async def move(
    source: RegistryServer, destination: str, client: Client, clock: ManualClock, content: bytes, chunk: int
) -> Outcome:
    """Carry out one transfer from ``a`` at a source to ``b`` at a destination."""
    target = Target(Repository(Registry(destination), "b"), None, chunk=chunk)
    place = Repository(Registry(source.address), "a")
    async with asyncio.timeout(20):
        with clock.autojump():
            [outcome] = await run(
                Transfer(digest_of(content), len(content), place, (target,)),
                client,
                lambda read, sent: None,
                clock,
            )
    return outcome


def laid(content: bytes) -> MemoryStorage:
    """Return a storage with one blob in ``a``."""
    storage = MemoryStorage()
    upload = storage.upload("a")
    upload.write(content)
    assert upload.commit(digest_of(content))
    return storage


@asynccontextmanager
async def stage(
    *rules: Rule, content: bytes = LARGE, chunk: int = CHUNK, oddities: Oddities | None = None
) -> AsyncIterator[Stage]:
    """Set the stage; ``rules`` are the destination's."""
    storage, clock = MemoryStorage(), ManualClock()
    async with (
        RegistryServer(laid(content)) as source,
        RegistryServer(storage, faults=FaultPlan(rules, quirks=oddities)) as destination,
        client(clock, {destination.address: chunk}) as made,
    ):
        yield Stage(source, destination, made, clock, storage, content)


def client(clock: Clock, chunks: Mapping[str, int]) -> Client:
    """Return a client that sends chunks."""
    return Client(
        credentials=NO_LOGINS,
        clock=clock,
        chance=random.Random(1),
        plain_http=[Registry(address) for address in chunks],
        chunks={Registry(address): size for address, size in chunks.items()},
    )


@pytest.mark.parametrize("content", [LARGE, SMALLER, LARGE[: 3 * CHUNK]], ids=["streamed", "held", "even"])
async def test_each_byte_goes_once(content: bytes) -> None:
    """A blob that is longer than a chunk goes in chunks, each of full length but the last, and one empty PUT."""
    async with stage(content=content) as s:
        outcome = await s.move()
        sizes = [min(CHUNK, len(content) - start) for start in range(0, len(content), CHUNK)]
        expected = (How.UPLOADED, True, sizes, [0], 0)
        assert expected == (outcome.how, s.arrived, s.sent(PATCH), s.sent(PUT), s.destination.open_sessions)


@pytest.mark.parametrize("chunk", [0, 8 * MIB, len(LARGE)])
async def test_what_is_not_longer_than_a_chunk_goes_whole(chunk: int) -> None:
    """A blob that fits into one request is one PUT."""
    async with stage(chunk=chunk or 8 * MIB) as s:
        outcome = await s.move(0)
        assert (How.UPLOADED, [], [len(LARGE)]) == (outcome.how, s.sent(PATCH), s.sent(PUT))


async def test_a_chunk_says_what_it_is() -> None:
    """A PATCH has the type, length and range that the distribution-spec asks for."""
    async with stage() as s:
        await s.move()
        headers = [request.headers for request in s.destination.log.select(PATCH)]
        last = f"{3 * CHUNK}-{len(LARGE) - 1}"
        expected = [("application/octet-stream", str(CHUNK), f"0-{CHUNK - 1}"), last]
        first = headers[0]
        found = (first["content-type"], first["content-length"], first["content-range"])
        assert expected == [found, headers[-1]["content-range"]]


async def test_a_limit_on_bodies_is_passed_under() -> None:
    """Where a proxy takes no body of a whole blob, chunks get it through."""
    async with stage(oddities=Oddities(body_limit=CHUNK)) as s:
        assert (How.UPLOADED, True, len(LARGE), 0) == s.ends(await s.move())


async def test_the_refusal_of_a_whole_blob_names_chunks() -> None:
    """A 413 says what helps."""
    async with stage(chunk=8 * MIB, oddities=Oddities(body_limit=CHUNK)) as s:
        assert "upload-chunk" in str((await s.move(0)).error)


@pytest.mark.parametrize("content", [LARGE, SMALLER], ids=["streamed", "held"])
@pytest.mark.parametrize(
    "fault",
    [
        Cut(MIB // 2, request=True),
        Drop(),
        Drop(effect=True),
        Refuse(408),
        Refuse(503),
        Refuse(500),
        Refuse(416, "RANGE_INVALID"),
        Headers({"Range": f"0-{MIB - 1}"}),
    ],
    ids=lambda fault: type(fault).__name__ + str(getattr(fault, "status", getattr(fault, "effect", ""))),
)
@pytest.mark.parametrize("which", [0, 1])
async def test_it_goes_on_from_where_the_session_stands(fault: Cut, content: bytes, which: int) -> None:
    """Whatever becomes of a chunk, the session is asked, and no byte comes twice."""
    if isinstance(fault, Headers):
        which = 0
    async with stage(Rule(fault, kind=PATCH, skip=which, count=1), content=content) as s:
        outcome = await s.move()
        stands = len(s.destination.log.select(STATUS))
        expected = ((How.UPLOADED, True, len(content), 0), 1, [0])
        assert expected == (s.ends(outcome), stands, s.sent(PUT)), outcome.error


async def test_a_session_that_takes_a_part_gets_the_rest() -> None:
    """An answer that names fewer bytes than were sent is followed."""
    size = 3 * MIB
    content = LARGE[:size]
    seen: list[str] = []

    async def handle(request: Request) -> bytes:
        await request.read()
        if request.method == "PATCH":
            seen.append(request.headers["content-range"])
            # Half of the first chunk is taken, then all.
            end = MIB - 1 if len(seen) == 1 else int(request.headers["content-range"].partition("-")[2])
            return answer(202, location="/s", range=f"0-{end}")
        return answer(202 if request.method == "POST" else 201, location="/s")

    outcome = await at_raw(handle, content)
    assert (How.UPLOADED, [f"0-{CHUNK - 1}", f"{MIB}-{CHUNK - 1}", f"{CHUNK}-{size - 1}"]) == (
        outcome.how,
        seen,
    )


async def at_raw(
    handle: Callable[[Request], Awaitable[bytes | None]], content: bytes, seen: list[str] | None = None
) -> Outcome:
    """Carry out one transfer to a server of raw bytes; ``seen`` gets methods and targets."""
    clock = ManualClock()
    async with (
        RegistryServer(laid(content)) as source,
        Raw(handle) as server,
        client(clock, {server.address: CHUNK}) as made,
    ):
        outcome = await move(source, server.address, made, clock, content, CHUNK)
        if seen is not None:
            seen += server.seen
        return outcome


@pytest.mark.parametrize("status", [201, 202, 204])
async def test_a_chunk_is_accepted_in_three_ways(status: int) -> None:
    """ECR answers 201."""
    async with stage(oddities=Oddities(patch_status=status)) as s:
        assert (How.UPLOADED, True, len(LARGE), 0) == s.ends(await s.move())


async def test_locations_change_and_are_followed() -> None:
    """Each chunk, question and commit goes where the answer before said."""
    places = iter(range(100))

    async def handle(request: Request) -> bytes | None:
        await request.read()
        if request.method == "PATCH" and request.target == "/v2/b/1":
            return None
        if request.method == "GET":
            return answer(204, location=f"asked-{next(places)}", range=f"0-{CHUNK - 1}")
        end = request.headers.get("content-range", "0-0").partition("-")[2]
        return answer(
            {"POST": 202, "PATCH": 202}.get(request.method, 201),
            location=f"/v2/b/{next(places)}",
            range=f"0-{end}",
        )

    seen: list[str] = []
    outcome = await at_raw(handle, SMALLER, seen)
    expected = [
        "POST /v2/b/blobs/uploads/",
        "PATCH /v2/b/0",
        "PATCH /v2/b/1",
        "GET /v2/b/1",
        "PATCH /v2/b/asked-2",
        f"PUT /v2/b/3?digest={digest_of(SMALLER)}",
    ]
    assert (How.UPLOADED, expected) == (outcome.how, seen)


@pytest.mark.parametrize(
    ("extra", "how"),
    [
        ({"range": f"0-{10 * MIB}", "location": "/s"}, How.FAILED),
        ({"range": "0-0", "location": "/s"}, How.FAILED),
        ({"range": "junk", "location": "/s"}, How.FAILED),
        ({"range": f"0-{10**18}", "location": "/s"}, How.FAILED),
        ({"location": "http://169.254.169.254/s"}, How.FAILED),
        ({"location": "ftp://there/s"}, How.FAILED),
        ({"range": ""}, How.UPLOADED),
        ({}, How.UPLOADED),
    ],
    ids=["beyond", "never any", "junk", "absurd", "inner host", "no http", "no location", "nothing"],
)
async def test_odd_answers_to_a_chunk_end(extra: dict[str, str], how: How) -> None:
    """A session that stands where it cannot, or is sent where nobody goes, ends after a few requests."""

    async def handle(request: Request) -> bytes:
        await request.read()
        if request.method == "PATCH":
            return answer(202, b"", **extra)
        return answer(202 if request.method == "POST" else 201, location="/s")

    seen: list[str] = []
    outcome = await at_raw(handle, SMALLER, seen)
    assert (how, True) == (outcome.how, len(seen) <= 12), (outcome.error, seen)


async def test_a_peer_that_falls_silent_in_a_chunk() -> None:
    """The watchdog ends it, and the rest goes on from where the session stands."""
    hung: list[str] = []

    async def handle(request: Request) -> bytes | None:
        if request.method == "PATCH" and not hung:
            hung.append(request.headers["content-range"])
            await request.reader.readexactly(MIB)
            await asyncio.sleep(10)  # without reading on
            return None
        await request.read()
        if request.method == "GET":
            return answer(204, location="/s", range=f"0-{MIB - 1}")
        if request.method == "PATCH":
            hung.append(request.headers["content-range"])
        return answer({"POST": 202, "PATCH": 202}.get(request.method, 201), location="/s")

    outcome = await at_raw(handle, SMALLER)
    expected = [f"0-{CHUNK - 1}", f"{MIB}-{CHUNK - 1}", f"{CHUNK}-{3 * MIB - 1}"]
    assert (How.UPLOADED, expected) == (outcome.how, hung)


@pytest.mark.parametrize("where", [0, 1, CHUNK + 1, 10**18])
async def test_a_session_that_is_lost_is_cancelled(where: int) -> None:
    """One that stands outside of the chunk that is held ends, and the transfer may begin anew."""

    async def handle(request: Request) -> bytes:
        await request.read()
        if request.method == "PATCH" and request.headers["content-range"].startswith(str(CHUNK)):
            return answer(416)
        if request.method == "GET":
            return answer(204, location="/s", range=f"0-{where - 1}" if where < CHUNK else f"0-{where + MIB}")
        place = "/later" if request.method == "PATCH" else "/s"
        return answer({"POST": 202, "PATCH": 202}.get(request.method, 201), location=place)

    seen: list[str] = []
    outcome = await at_raw(handle, SMALLER, seen)
    expected = ["POST /v2/b/blobs/uploads/", "PATCH /s", "PATCH /later", "GET /later", "DELETE /later"]
    assert outcome.error is not None
    assert (False, True, expected) == (outcome.error.final, "lost" in str(outcome.error), seen)


async def test_wrong_bytes_are_never_sent_whole() -> None:
    """Where the source's bytes are not the blob's, the last chunk stays here and nothing is committed."""
    async with stage() as s:
        s.source.faults.add(Rule(Flip(len(LARGE) - 1), kind=Operation.GET_BLOB))
        outcome = await s.move()
        expected: tuple[How, bool, list[int], list[int], int] = (How.FAILED, True, [CHUNK] * 3, [], 0)
        assert expected == (
            outcome.how,
            outcome.of_source,
            s.sent(PATCH),
            s.sent(PUT),
            s.destination.open_sessions,
        )


@pytest.mark.parametrize(
    "fault", [Drop(), Drop(effect=True), Refuse(503), Refuse(404, "BLOB_UPLOAD_UNKNOWN")], ids=str
)
async def test_a_commit_is_looked_for_and_repeated(fault: Drop) -> None:
    """A commit without a good answer costs a look and perhaps another PUT, and no byte."""
    async with stage(Rule(fault, kind=PUT, count=1)) as s:
        outcome = await s.move()
        assert (How.UPLOADED, True, len(LARGE), 0) == s.ends(outcome), outcome.error


@pytest.mark.parametrize("kind", [PATCH, PUT])
async def test_a_transfer_that_is_cancelled_cancels_its_session(kind: Operation) -> None:
    """In the middle of a chunk or of the commit: the session is ended where it stands then."""
    async with stage(Rule(Stall(request=True), kind=kind, skip=int(kind is PATCH))) as s:
        task = asyncio.create_task(s.move())
        await s.destination.log.reached(kind, 1 + int(kind is PATCH))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert 0 == s.destination.open_sessions


@pytest.mark.parametrize(("which", "how"), [(0, How.FAILED), (2, How.UPLOADED)])
async def test_a_long_pause(which: int, how: How) -> None:
    """Before the first chunk it goes back to the queue; later it waits, since all that was sent would be lost."""
    rule = Rule(Refuse(429, "TOOMANYREQUESTS", {"Retry-After": "60"}), kind=PATCH, skip=which, count=1)
    async with stage(rule) as s:
        outcome = await s.move()
        assert (how, how is How.FAILED) == (outcome.how, outcome.waits)


async def test_a_registry_that_fails_for_ever_is_given_up() -> None:
    """Repeating a chunk has its number, and nobody repeats after that."""
    async with stage(Rule(Refuse(503), kind=PATCH)) as s:
        outcome = await s.move()
        assert outcome.error is not None
        assert (True, 8, 0) == (outcome.error.final, len(s.sent(PATCH)), s.destination.open_sessions)


async def test_repeated_chunks_count_as_retries() -> None:
    """What is sent again is no request of its own."""
    async with stage(Rule(Drop(), kind=PATCH, count=2)) as s:
        await s.move()
        registry = Registry(s.destination.address)
        counts = s.client.counts()[registry]
        assert (4, 2, 2) == (counts[PATCH], s.client.retries[registry, PATCH], counts[STATUS])


# How long a chunk is


async def test_a_least_length_is_learned_and_begun_anew() -> None:
    """A registry that asks for longer chunks gets them at the next attempt, in one more session."""
    async with stage(oddities=Oddities(least_chunk=3 * MIB)) as s:
        first = await s.move()
        registry = Registry(s.destination.address)
        assert first.error is not None
        learned = (first.how, first.error.final, s.client.quirks.value(registry, Quirk.LEAST_CHUNK))
        chunk = s.client.chunk(registry, len(LARGE))
        second = await s.move(chunk)
        expected = ((How.FAILED, False, 3 * MIB), How.UPLOADED, [3 * MIB, 3 * MIB, MIB + 5], 0)
        assert expected == (learned, second.how, s.sent(PATCH), s.destination.open_sessions)


async def test_a_least_length_of_what_is_held_costs_nothing() -> None:
    """What is held whole anyway goes in longer chunks at once."""
    async with stage(content=SMALLER, chunk=MIB, oddities=Oddities(least_chunk=CHUNK)) as s:
        assert (How.UPLOADED, [CHUNK, MIB]) == ((await s.move()).how, s.sent(PATCH))


async def test_a_least_length_that_grows_later() -> None:
    """An answer to a chunk may ask for longer ones, too."""
    rule = Rule(Headers({"OCI-Chunk-Min-Length": str(3 * MIB)}), kind=PATCH, skip=1, count=1)
    async with stage(rule) as s:
        first = await s.move()
        assert first.error is not None
        found = (first.error.final, s.client.chunk(Registry(s.destination.address), len(LARGE)))
        assert ((False, 3 * MIB), [CHUNK, CHUNK], 0) == (found, s.sent(PATCH), s.destination.open_sessions)


async def test_an_absurd_least_length_is_refused() -> None:
    """More than is held: one clear error, and no session stays open."""
    async with stage(oddities=Oddities(least_chunk=10**18)) as s:
        outcome = await s.move()
        assert isinstance(outcome.error, RegistryError)
        named = f"chunks of at least {10**18} bytes" in str(outcome.error)
        found = (outcome.error.final, named, s.destination.open_sessions, len(s.sent(PATCH)))
        assert (True, True, 0, 0) == found


async def test_a_least_length_is_nobodys_business_where_blobs_go_whole() -> None:
    """Without upload-chunk the header changes nothing, and nothing is learned."""
    async with (
        RegistryServer(laid(LARGE)) as source,
        RegistryServer(MemoryStorage(), faults=FaultPlan(quirks=Oddities(least_chunk=10**18))) as destination,
        client(clock := ManualClock(), {}) as made,
    ):
        outcome = await move(source, destination.address, made, clock, LARGE, 0)
        assert (How.UPLOADED, ()) == (outcome.how, made.quirks.learned)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("ghcr.io", MIB, "takes a blob in one piece only (oras-project/rust-oci-client#35"),
        ("europe-docker.pkg.dev", MIB, "dotnet/sdk-container-builds#287"),
        ("public.ecr.aws", MIB, "dotnet/sdk#33019"),
        ("r.example", LARGEST + 1, f"{LARGEST} at most"),
        ("r.example", 0, "at most"),
    ],
)
def test_registries_that_cannot_have_chunks(name: str, size: int, words: str) -> None:
    """What cannot work is said at once, with who says so."""
    with pytest.raises(SpecError) as caught:
        Client(credentials=NO_LOGINS, clock=ManualClock(), chunks={Registry(name): size})
    assert words in str(caught.value)


def test_the_table_knows_of_a_least_length() -> None:
    """Amazon ECR takes parts of 5 MiB at least."""
    ecr = Registry("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    made = Client(credentials=NO_LOGINS, clock=ManualClock(), chunks={ecr: MIB})
    assert (5 * MIB, 0) == (made.chunk(ecr, 6 * MIB), made.chunk(ecr, 5 * MIB))


def test_chunks_count_as_memory() -> None:
    """Each target of a streamed blob holds one."""
    places = [Repository(Registry(f"{name}.example"), "b") for name in ("one", "two")]
    targets = [
        Transfer(
            digest_of(LARGE), len(LARGE), places[0], tuple(Target(each, None, chunk=chunk) for each in places)
        ).buffer
        for chunk in (0, CHUNK)
    ]
    assert 2 * CHUNK == targets[1] - targets[0]


# Several registries


async def test_one_in_chunks_and_one_whole_share_a_get() -> None:
    """Two registries, of which one is sent chunks: one GET, and the blob at both."""
    storages = [MemoryStorage(), MemoryStorage()]
    clock = ManualClock()
    async with (
        RegistryServer(laid(LARGE)) as source,
        RegistryServer(storages[0]) as one,
        RegistryServer(storages[1]) as two,
        client(clock, {one.address: CHUNK}) as made,
    ):
        targets = tuple(
            Target(Repository(Registry(each.address), "b"), None, chunk=chunk)
            for each, chunk in ((one, CHUNK), (two, 0))
        )
        place = Repository(Registry(source.address), "a")
        with clock.autojump():
            outcomes = await run(
                Transfer(digest_of(LARGE), len(LARGE), place, targets), made, lambda read, sent: None, clock
            )
        arrived = [holds(storage, LARGE) for storage in storages]
        gets = source.log.count(Operation.GET_BLOB)
    assert ([How.UPLOADED] * 2, [True] * 2, 1) == ([outcome.how for outcome in outcomes], arrived, gets)


@pytest.mark.parametrize(("budget", "gets"), [(8 * MIB, 1), (4 * MIB, 2)])
async def test_chunks_that_do_not_fit_together_go_apart(budget: int, gets: int) -> None:
    """Where the chunks of two registries are more than a run may hold, each has a GET of its own."""
    clock = ManualClock()
    async with (
        RegistryServer(held := MemoryStorage()) as source,
        RegistryServer(MemoryStorage()) as one,
        RegistryServer(MemoryStorage()) as two,
        client(clock, {one.address: CHUNK, two.address: CHUNK}) as made,
    ):
        Maker(held).image("a", LARGE, tags=("v1",))
        lines = [spec(f"{source.address}/a:v1", f"{each.address}/a:v1") for each in (one, two)]
        parsed = read_specs([("specs", "".join(lines).encode())])
        compiler = Compiler(parsed, made, made, MemoryCache(), clock, lambda event: None, exact=False)
        with clock.autojump():
            plan = await compiler.plan()
            looks = compiler.evidence.looks
            account = await Execution(plan, made, clock, lambda event: None, looks, budget=budget).run()
        found = source.log.count(Operation.GET_BLOB, name=str(digest_of(LARGE)))
    assert (["copied", "copied"], gets) == ([str(end.outcome) for end in account.ends], found)


# Real registries


async def test_a_real_registry() -> None:
    """A blob of 20 MiB arrives at distribution byte by byte."""
    content = random.Random(7).randbytes(20 * MIB)
    clock = ManualClock()
    with Distribution() as server:
        async with (
            RegistryServer(laid(content)) as source,
            client(clock, {server.address: 4 * MIB}) as made,
        ):
            outcome = await move(source, server.address, made, clock, content, 4 * MIB)
            back = await read(made, server.address, content)
        counts = server.counts()
        assert [] == server.uploads()
        assert (How.UPLOADED, True, 5, 1) == (outcome.how, back == content, counts[PATCH], counts[PUT])


async def read(made: Client, address: str, content: bytes) -> bytes:
    """Return what a registry holds under the digest of ``content``."""
    place = Repository(Registry(address), "b")
    async with made.blob(place, digest_of(content), len(content)) as stream:
        return b"".join([piece async for piece in stream])


class Buffering:
    """A proxy that takes each request whole before it passes it on, as nginx does by default, and breaks one off."""

    def __init__(self, server: str, breaks: int) -> None:
        self.server = server
        self.breaks = breaks
        self.patches: list[int] = []

    async def __call__(self, request: Request) -> bytes | None:
        """Answer for the registry behind."""
        if request.method == "PATCH":
            self.patches.append(0)
            if len(self.patches) == self.breaks:
                self.patches[-1] = len(await request.reader.readexactly(3 * MIB))
                request.writer.transport.abort()
                return None
        body = await request.read()
        if request.method == "PATCH":
            self.patches[-1] = len(body)
        host, _, port = self.server.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        kept = {name: value for name, value in request.headers.items() if name != "connection"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in kept.items())
        writer.write(
            f"{request.method} {request.target} HTTP/1.1\r\nconnection: close\r\n{lines}\r\n".encode() + body
        )
        found = await reader.read()
        writer.close()
        return found


async def test_a_real_registry_behind_a_proxy_that_breaks_off() -> None:
    """A reset in the middle of a chunk: the session is asked, and every other chunk comes once."""
    content = random.Random(7).randbytes(20 * MIB)
    clock = ManualClock()
    with Distribution() as server:
        proxy = Buffering(server.address, breaks=3)
        async with (
            RegistryServer(laid(content)) as source,
            Raw(proxy) as front,
            client(clock, {front.address: 4 * MIB}) as made,
        ):
            outcome = await move(source, front.address, made, clock, content, 4 * MIB)
            back = await read(made, front.address, content)
        sent = [4 * MIB, 4 * MIB, 3 * MIB, 4 * MIB, 4 * MIB, 4 * MIB]
        assert (How.UPLOADED, True, sent) == (outcome.how, back == content, proxy.patches), outcome.error
        assert (1, 0) == (server.counts()[STATUS], len(server.uploads()))


async def test_a_real_registry_that_has_part_of_a_chunk() -> None:
    """distribution ends such a session (2.8): it is lost, and the next attempt begins anew."""
    clock = ManualClock()
    with Distribution() as server:
        host, _, port = server.address.partition(":")
        broken: list[bool] = []

        async def relay(request: Request) -> bytes | None:
            reader, writer = await asyncio.open_connection(host, int(port))
            lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            head = f"{request.method} {request.target} HTTP/1.1\r\nconnection: close\r\n{lines}\r\n"
            if request.method == "PATCH" and not broken:
                broken.append(True)
                writer.write(head.encode() + await request.reader.readexactly(MIB))
                await writer.drain()
                while not server.uploads():
                    await asyncio.sleep(0.01)
                writer.transport.abort()
                return None
            writer.write(head.encode() + await request.read())
            found = await reader.read()
            writer.close()
            return found

        async with (
            RegistryServer(laid(LARGE)) as source,
            Raw(relay) as front,
            client(clock, {front.address: CHUNK}) as made,
        ):
            first = await move(source, front.address, made, clock, LARGE, CHUNK)
            second = await move(source, front.address, made, clock, LARGE, CHUNK)
            back = await read(made, front.address, LARGE)
        expected = (How.FAILED, How.UPLOADED, True)
        assert expected == (first.how, second.how, back == LARGE), (first.error, second.error)


async def test_the_bill_counts_chunks(tmp_path: Path) -> None:
    """What apply of a saved plan costs a registry that is sent chunks is what the plan said, PATCHes too."""
    async with (
        RegistryServer(MemoryStorage()) as source,
        RegistryServer(MemoryStorage()) as destination,
    ):
        make, command = Maker(source.storage), Command(tmp_path)
        layers = [bytes([number]) * size for number, size in enumerate((CHUNK, CHUNK + 1, 5 * CHUNK, 9))]
        make.image("a", *layers, tags=("1",))
        make.image("b", *layers[1:], LARGE, tags=("1",))
        pairs = ((f"{source.address}/{name}:1", f"{destination.address}/{name}:1") for name in "ab")
        command.write("specs.json", "".join(spec(*pair) for pair in pairs))
        command.write("mmgraph.toml", f'[registry."{destination.address}"]\nupload-chunk = {CHUNK}\n')
        planned = await command.run("plan", "--out", "mirror.plan")
        destination.log.clear()
        done = await command.run("apply", "mirror.plan")
        bill = json.loads((tmp_path / "mirror.plan").read_text())["bill"]["requests"][destination.address]
        wire = Counter(str(request.kind) for request in destination.log if request.kind != Operation.PING)
    bill["POST upload"] += bill.pop("POST probe", 0)
    assert (0, 0, bill) == (planned.code, done.code, dict(wire)), done
    assert 2 + 5 + -(-len(LARGE) // CHUNK) == bill["PATCH upload"]
