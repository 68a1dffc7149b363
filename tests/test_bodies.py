"""Bodies on their way: peers that fall silent or drip, in both directions; what is sent once; what stops at once."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.errors import ContentError, InternalError, NetworkError, RegistryError
from mmgraph.names import Digest, Registry, Repository
from mmgraph.registry.bodies import Stream, Whole
from mmgraph.registry.client import Client
from mmgraph.store import Pieces, Upload
from tests.support.raw import Raw, Request, answer
from tests.test_client import client, digest_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.clock import ManualClock

SIZE = 16 << 20
"""More than what sockets hold on the way."""
BLOB = bytes(SIZE)


def at(server: Raw) -> Repository:
    """Return a repository there."""
    return Repository(Registry(server.address), "team/app")


def plain(server: Raw, clock: ManualClock) -> Client:
    """Return a client that speaks to it without TLS."""
    return client(clock, plain_http=[Registry(server.address)])


async def forever(request: Request) -> bytes | None:
    """Read the head and say nothing any more."""
    await asyncio.Event().wait()
    return None


async def pieces(clock: ManualClock | None = None, seconds: float = 0) -> AsyncIterator[bytes]:
    """Yield the blob in pieces, the first three each after so many seconds."""
    for start in range(0, SIZE, 256 << 10):
        if clock is not None and start < 3 * (256 << 10):
            await clock.sleep(seconds)
        yield BLOB[start : start + (256 << 10)]


async def download(wire: Client, server: Raw) -> int:
    """Read a blob; how much came."""
    got = 0
    async with wire.blob(at(server), digest_of(BLOB), SIZE) as stream:
        async for chunk in stream:
            got += len(chunk)
    return got


async def upload(wire: Client, server: Raw, body: Any) -> None:
    """Send a blob."""
    session = Upload(at(server), f"http://{server.address}/u")
    await wire.send(session, digest_of(BLOB), SIZE, body)


async def silent_body(request: Request) -> bytes | None:
    """Send a head and a KiB, and nothing more."""
    request.writer.write(answer(200, content_length=str(SIZE)) + bytes(1024))
    return await forever(request)


def dripping(clock: ManualClock) -> Callable[[Request], Any]:
    """Send a byte a second."""

    async def handle(request: Request) -> bytes | None:
        request.writer.write(answer(200, content_length=str(SIZE)))
        while True:
            request.writer.write(b"x")
            await clock.sleep(1)

    return handle


def sipping(clock: ManualClock) -> Callable[[Request], Any]:
    """Take a byte a second of what is sent."""

    async def handle(request: Request) -> bytes | None:
        while True:
            await request.reader.read(1)
            await clock.sleep(1)

    return handle


async def test_a_blob_that_stops_coming_is_given_up(clock: ManualClock) -> None:
    """Headers and a KiB, then silence: an error of the network after a minute."""
    async with Raw(silent_body) as server, plain(server, clock) as wire:
        began = clock.now()
        with clock.autojump(), pytest.raises(NetworkError, match=r"nothing more came|only 1024 bytes"):
            await download(wire, server)
        assert 60 <= clock.now() - began <= 62


async def test_a_blob_that_drips_is_given_up(clock: ManualClock) -> None:
    """A byte a second is below the floor."""
    async with Raw(dripping(clock)) as server, plain(server, clock) as wire:
        with clock.autojump(), pytest.raises(NetworkError, match=r"only .* bytes in 6. s"):
            await download(wire, server)


async def test_a_reader_who_takes_his_time_is_no_stall(clock: ManualClock) -> None:
    """Our own slow destination is not counted against the source."""

    async def handle(request: Request) -> bytes | None:
        return answer(200, BLOB)

    got = 0
    async with Raw(handle) as server, plain(server, clock) as wire:
        with clock.autojump():
            async with wire.blob(at(server), digest_of(BLOB), SIZE) as stream:
                async for chunk in stream:
                    if got < 1 << 20:
                        await clock.sleep(70)
                    got += len(chunk)
    assert SIZE == got


async def test_a_destination_that_takes_nothing_is_given_up(clock: ManualClock) -> None:
    """It stops reading: an error of the network, and not for ever."""
    async with Raw(forever) as server, plain(server, clock) as wire:
        with clock.autojump(), pytest.raises(NetworkError, match=r"took nothing|only"):
            await upload(wire, server, pieces())


async def test_a_destination_that_sips_is_given_up(clock: ManualClock) -> None:
    """It reads a byte a second."""
    async with Raw(sipping(clock)) as server, plain(server, clock) as wire:
        with clock.autojump(), pytest.raises(NetworkError, match=r"took nothing|only"):
            await upload(wire, server, pieces())


async def test_a_slow_source_is_not_held_against_the_destination(clock: ManualClock) -> None:
    """Each piece of the body takes our source more than a minute."""

    async def handle(request: Request) -> bytes | None:
        await request.read()
        return answer(201)

    async with Raw(handle) as server, plain(server, clock) as wire:
        with clock.autojump():
            await upload(wire, server, pieces(clock, 70))
        assert [SIZE] == [len(request.body) for request in server.requests]


async def test_a_commit_may_take_minutes(clock: ManualClock) -> None:
    """A registry copies the blob before it answers: four minutes are no stall."""

    async def handle(request: Request) -> bytes | None:
        await request.read()
        await clock.sleep(240)
        return answer(201)

    async with Raw(handle) as server, plain(server, clock) as wire:
        with clock.autojump():
            await upload(wire, server, pieces())
        assert 1 == len(server.requests)


async def test_a_commit_without_an_answer_is_given_up(clock: ManualClock) -> None:
    """Everything was taken, and no answer comes."""

    async def handle(request: Request) -> bytes | None:
        if request.method == "HEAD":
            return answer(404)
        await request.read()
        return await forever(request)

    async with Raw(handle) as server, plain(server, clock) as wire:
        with clock.autojump(), pytest.raises(NetworkError, match=r"no answer to what was sent for 300 s"):
            await upload(wire, server, pieces())


async def test_an_early_no_stops_the_upload(clock: ManualClock) -> None:
    """413 after the first bytes: the error is the registry's, and the rest is not sent."""
    taken = 0

    async def handle(request: Request) -> bytes | None:
        nonlocal taken
        taken = len(await request.reader.read(1024))
        request.writer.write(answer(413))
        while data := await request.reader.read(1 << 20):
            taken += len(data)
        return None

    async with Raw(handle) as server, plain(server, clock) as wire:
        with pytest.raises(RegistryError) as caught:
            await upload(wire, server, pieces(clock, 0))
        await asyncio.sleep(0.05)
    assert (413, True) == (caught.value.status, taken < SIZE // 2)


async def test_an_encoded_blob_is_refused(clock: ManualClock) -> None:
    """gzip was not asked for, and nothing is decoded."""

    async def handle(request: Request) -> bytes | None:
        return answer(200, BLOB, content_encoding="gzip")

    async with Raw(handle) as server, plain(server, clock) as wire:
        with pytest.raises(ContentError, match=r"encoded as gzip"):
            await download(wire, server)


class Sink:
    """A writer that takes everything."""

    transport = None

    def __init__(self) -> None:
        self.taken = b""

    async def write(self, chunk: bytes | memoryview) -> None:
        """Take it."""
        self.taken += chunk


@pytest.mark.parametrize("body", [lambda: Whole(b"x"), lambda: Stream(aiter_of(b"x"), 1)])
async def test_a_body_is_sent_once(body: Callable[[], Whole | Stream]) -> None:
    """Whoever asks for it a second time gets an error and no byte."""
    made, sink = body(), Sink()
    await made.write(sink)  # type: ignore[arg-type]
    with pytest.raises(InternalError):
        await made.write(sink)  # type: ignore[arg-type]
    assert b"x" == sink.taken


async def aiter_of(*chunks: bytes) -> AsyncIterator[bytes]:
    """Yield the chunks."""
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("there", "expected"), [(True, None), (False, ContentError)])
async def test_a_commit_under_another_algorithm_is_looked_at(
    there: bool, expected: type[Exception] | None, streamed: bool
) -> None:
    """A PUT of sha512 answered with sha256 proves nothing: HEAD decides."""
    content = b"content"
    digest = Digest(f"sha512:{hashlib.sha512(content).hexdigest()}")

    async def handle(request: Request) -> bytes | None:
        await request.read()
        if request.method == "HEAD":
            return answer(200 if there else 404, content_length="7" if there else "0")
        return answer(201, docker_content_digest=digest_of(content))

    failure: type[Exception] | None = None
    async with Raw(handle) as server, client(plain_http=[Registry(server.address)]) as wire:
        session = Upload(at(server), f"http://{server.address}/u")
        try:
            await wire.send(session, digest, 7, aiter_of(content) if streamed else content)
        except ContentError as error:
            failure = type(error)
        heads = [request.method for request in server.requests].count("HEAD")
    assert (expected, 1) == (failure, heads)


class Writer:
    """Takes bytes, as the connection would."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def write(self, chunk: bytes) -> None:
        """Keep a piece."""
        self.taken.append(chunk)


@pytest.mark.parametrize("held", [bytes(1_000_000), (bytes(600_000), bytes(400_000))], ids=["one", "two"])
async def test_a_body_that_was_sent_holds_its_bytes_no_longer(held: bytes | Pieces) -> None:
    """Body, watch and request refer to each other until the collector comes: the bytes do not wait for it."""
    body, writer = Whole(held), Writer()
    await body.write(writer)  # type: ignore[arg-type]
    assert (1_000_000, None, 0) == (sum(map(len, writer.taken)), body._value, len(body._pieces))


async def test_pieces_are_sent_as_they_came() -> None:
    """What is held in pieces is neither joined nor copied."""
    pieces, writer = (b"one", b"two", b"three"), Writer()
    await Whole(pieces).write(writer)  # type: ignore[arg-type]
    assert [True] * 3 == [sent is piece for sent, piece in zip(writer.taken, pieces, strict=True)]
