"""One blob on its way: proof before the last byte, one GET for all, resume, mounts, and nothing left behind."""

import asyncio
import pickle
import random
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from mmgraph.clock import Clock, SystemClock
from mmgraph.errors import (
    ContentError,
    InternalError,
    MmgraphError,
    NetworkError,
    RegistryError,
    SpecError,
)
from mmgraph.names import Digest, Registry, Repository
from mmgraph.oci import digest_of
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.failures import (
    ExhaustedError,
    LimitedError,
    NoConnectionError,
    NoHttpError,
    SilenceError,
    UnknownHostError,
)
from mmgraph.registry.gate import PausedError
from mmgraph.registry.helpers import HelperError
from mmgraph.registry.refusals import RefusedError
from mmgraph.server import Cut, Delay, FaultPlan, Flip, Quirks, Refuse, Rule, Stall
from mmgraph.store import Operation, Pieces, Upload
from mmgraph.tee import Branch, SourceFailed, Tee
from mmgraph.transfer import SMALL, How, Outcome, Target, Transfer
from mmgraph.transfer import run as run_transfer
from tests.support.clock import ManualClock
from tests.support.raw import Raw, Request, answer
from tests.support.rig import Rig, rig

HUGE = bytes(64) * (1 << 19)
LARGE = bytes(range(256)) * (SMALL // 256 + 4096)


async def run(
    made: Transfer, client: Client, meter: "Meter", clock: Clock | None = None
) -> tuple[Outcome, ...]:
    """Carry out a transfer, by the system's clock unless told another."""
    return await run_transfer(made, client, meter, clock or SystemClock())


def plain_client(server: Raw, clock: Clock | None = None) -> Client:
    """A client that speaks to a raw server."""
    return Client(
        credentials=Credentials({}, None, Path("/nonexistent")),
        clock=clock or SystemClock(),
        plain_http=[Registry(server.address)],
        chance=random.Random(1),
    )


class Meter:
    """Counts the bytes a transfer tells of."""

    def __init__(self) -> None:
        self.read = self.sent = 0

    def __call__(self, read: int, sent: int) -> None:
        """Take note of bytes."""
        self.read += read
        self.sent += sent


def transfer(source: Repository, digest: Digest, size: int, *targets: Target) -> Transfer:
    """A transfer from one place."""
    return Transfer(digest, size, source, targets)


def ask_itself(repository: Repository, **options: bool) -> Target:
    """A target that may hold the blob already."""
    return Target(repository, repository, **options)  # type: ignore[arg-type]


async def move(rigged: Rig, made: Transfer, meter: Meter | None = None) -> list[How]:
    """Carry a transfer out and say what became of it, target by target."""
    return [outcome.how for outcome in await run(made, rigged.client, meter or Meter())]


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "small", "streamed"])
async def test_a_blob_arrives_as_it_was(content: bytes) -> None:
    """Whatever its size, the destination holds the very bytes, and each was counted once in and once out."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(source, content)
        meter = Meter()
        hows = await move(rigged, transfer(source, digest, len(content), ask_itself(target)), meter)
        expected = ([How.UPLOADED], content, len(content), len(content))
        assert expected == (hows, rigged.blob(target, digest), meter.read, meter.sent)


@pytest.mark.parametrize("content", [b"small" * 100, LARGE], ids=["small", "streamed"])
async def test_wrong_bytes_never_reach_a_commit(content: bytes) -> None:
    """A byte flipped at the end: the last chunk is withheld, so the upload's body never becomes whole."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(source, content)
        rigged.fault(0, Rule(Flip(len(content) - 1), Operation.GET_BLOB))
        outcomes = await run(
            transfer(source, digest, len(content), ask_itself(target)), rigged.client, Meter()
        )
        received = rigged.servers[1].log.bytes_received(Operation.PUT_BLOB)
        expected = (How.FAILED, ContentError, True, None, True)
        assert expected == (
            outcomes[0].how,
            type(outcomes[0].error),
            outcomes[0].of_source,
            rigged.blob(target, digest),
            received < len(content),
        )


async def test_a_small_blob_in_tiny_pieces_is_held_in_larger_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes at a time would be held at fifty each: they are joined, and the blob arrives as it was."""
    content = bytes(range(256)) * 40

    async def dribble(request: Request) -> bytes | None:
        request.writer.write(answer(200, content_length=str(len(content))))
        for start in range(0, len(content), 2):
            request.writer.write(content[start : start + 2])
            await asyncio.sleep(0)
        return b""

    async with rig() as rigged, Raw(dribble) as server:
        target = rigged.repository(1, "b")
        pieces: list[int] = []
        send = rigged.client.send

        async def note(upload: Upload, digest: Digest, size: int, body: Pieces, chunk: int) -> None:
            pieces.extend(map(len, body))
            await send(upload, digest, size, body, chunk)

        monkeypatch.setattr(rigged.client, "send", note)
        source = Repository(Registry(server.address), "a")
        await move(rigged, transfer(source, digest_of(content), len(content), ask_itself(target)))
        assert (content, True) == (rigged.blob(target, digest_of(content)), min(pieces[:-1]) >= 4096)


async def test_a_broken_stream_goes_on_where_it_broke() -> None:
    """The source hangs up in the middle: one more GET with a Range, and the destination gets each byte once."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(source, LARGE)
        rigged.fault(0, Rule(Cut(2 * 1024 * 1024), Operation.GET_BLOB, count=1))
        meter = Meter()
        hows = await move(rigged, transfer(source, digest, len(LARGE), ask_itself(target)), meter)
        received = rigged.servers[1].log.bytes_received(Operation.PUT_BLOB)
        gets = [request.range != "" for request in rigged.servers[0].log.select(Operation.GET_BLOB)]
        expected = ([How.UPLOADED], LARGE, len(LARGE), len(LARGE), [False, True])
        assert expected == (hows, rigged.blob(target, digest), received, meter.read, gets)


async def test_a_source_that_never_gets_on_is_given_up() -> None:
    """Every answer breaks after a KiB: three breaks without progress end it, with the network's error."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(source, LARGE)
        rigged.fault(0, Rule(Cut(1024), Operation.GET_BLOB))
        outcomes = await run(transfer(source, digest, len(LARGE), ask_itself(target)), rigged.client, Meter())
        expected = (How.FAILED, True, None)
        assert expected == (outcomes[0].how, outcomes[0].of_source, rigged.blob(target, digest))


class Ranges:
    """A source of raw bytes that breaks the first answer in the middle and answers a Range as ``second`` says."""

    def __init__(self, content: bytes, second: Callable[[bytes, int], bytes]) -> None:
        self.ranges: list[str] = []
        self._content = content
        self._second = second

    async def __call__(self, request: Request) -> bytes | None:
        """Answer a GET."""
        asked = request.headers.get("range", "")
        self.ranges.append(asked)
        if len(self.ranges) == 1:
            whole = answer(200, self._content)
            return whole[: len(whole) // 2].replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
        if asked:
            return self._second(self._content, int(asked.removeprefix("bytes=").rstrip("-")))
        return answer(200, self._content)


def shifted(content: bytes, start: int) -> bytes:
    """A 206 that begins elsewhere."""
    size = len(content)
    return answer(206, content[start + 1 :], content_range=f"bytes {start + 1}-{size - 1}/{size}")


def longer(content: bytes, start: int) -> bytes:
    """A 206 with one byte too many."""
    size = len(content)
    return answer(206, content[start:] + b"x", content_range=f"bytes {start}-{size - 1}/{size}")


@pytest.mark.parametrize("content", [LARGE[: SMALL // 2], LARGE], ids=["small", "streamed"])
@pytest.mark.parametrize(
    "second",
    [
        lambda content, start: answer(200, content),
        lambda content, start: answer(416),
        lambda content, start: answer(206, content[start:]),
        shifted,
        longer,
    ],
    ids=["200", "416", "206 without a range", "another offset", "another length"],
)
async def test_a_source_that_cannot_go_on_begins_again(
    content: bytes, second: Callable[[bytes, int], bytes]
) -> None:
    """From zero: the destination gets each byte once, and every byte read is counted."""
    source = Ranges(content, second)
    async with rig() as rigged, Raw(source) as server:
        target = rigged.repository(1, "b")
        digest = digest_of(content)
        meter = Meter()
        async with plain_client(server) as client:
            rigged.client = client
            made = transfer(
                Repository(Registry(server.address), "a"), digest, len(content), ask_itself(target)
            )
            hows = await move(rigged, made, meter)
        received = rigged.servers[1].log.bytes_received(Operation.PUT_BLOB)
        expected = ([How.UPLOADED], content, len(content), True, ["", True, ""])
        assert expected == (
            hows,
            rigged.blob(target, digest),
            received,
            meter.read > len(content),
            [source.ranges[0], source.ranges[1] != "", *source.ranges[2:]],
        )


async def test_the_put_waits_for_the_first_bytes() -> None:
    """A source that keeps silent: no PUT is open at the destination, which would drop it for being idle."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(source, LARGE)
        rigged.fault(0, Rule(Stall(), Operation.GET_BLOB))
        task = asyncio.create_task(
            run(transfer(source, digest, len(LARGE), ask_itself(target)), rigged.client, Meter())
        )
        while not rigged.servers[0].log.count(Operation.GET_BLOB):
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        puts = rigged.servers[1].log.count(Operation.PUT_BLOB)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert 0 == puts


@pytest.mark.parametrize("content", [b"small" * 100, LARGE], ids=["small", "streamed"])
async def test_one_get_serves_every_registry(content: bytes) -> None:
    """Three destinations, one GET, three whole copies."""
    async with rig(3) as rigged:
        source = rigged.repository(0, "a")
        digest = rigged.put_blob(source, content)
        targets = [rigged.repository(number, "b") for number in (1, 2, 3)]
        hows = await move(rigged, transfer(source, digest, len(content), *map(ask_itself, targets)))
        expected = ([How.UPLOADED] * 3, [content] * 3, 1)
        gets = rigged.servers[0].log.count(Operation.GET_BLOB)
        assert expected == (hows, [rigged.blob(target, digest) for target in targets], gets)


async def test_one_registry_that_refuses_does_not_stop_the_other() -> None:
    """A 403 in the middle of one upload of a tee: the other gets the whole blob from the same GET."""
    async with rig(2) as rigged:
        source, bad, good = (rigged.repository(number, "b") for number in (0, 1, 2))
        digest = rigged.put_blob(source, LARGE)
        rigged.fault(1, Rule(Refuse(403, "DENIED"), Operation.PUT_BLOB))
        outcomes = await run(
            transfer(source, digest, len(LARGE), ask_itself(bad), ask_itself(good)), rigged.client, Meter()
        )
        expected = ([How.FAILED, How.UPLOADED], True, LARGE, 1)
        assert expected == (
            [outcome.how for outcome in outcomes],
            isinstance(outcomes[0].error, RegistryError),
            rigged.blob(good, digest),
            rigged.servers[0].log.count(Operation.GET_BLOB),
        )


async def test_a_source_that_lies_fails_every_branch() -> None:
    """Both uploads of a tee end before their last chunk, and neither destination is blamed."""
    async with rig(2) as rigged:
        source, one, two = (rigged.repository(number, "b") for number in (0, 1, 2))
        digest = rigged.put_blob(source, LARGE)
        rigged.fault(0, Rule(Flip(10), Operation.GET_BLOB))
        outcomes = await run(
            transfer(source, digest, len(LARGE), ask_itself(one), ask_itself(two)), rigged.client, Meter()
        )
        expected = [(How.FAILED, True), (How.FAILED, True)]
        assert expected == [(outcome.how, outcome.of_source) for outcome in outcomes]


async def test_a_granted_mount_reads_nothing() -> None:
    """201 for the mount: no GET, no PUT, the blob is there."""
    async with rig() as rigged:
        source, landing, target = (
            rigged.repository(0, "a"),
            rigged.repository(1, "lib"),
            rigged.repository(1, "b"),
        )
        digest = rigged.put_blob(landing, b"content")
        hows = await move(rigged, transfer(source, digest, 7, Target(target, landing)))
        expected = ([How.MOUNTED], b"content", 0)
        assert expected == (hows, rigged.blob(target, digest), len(rigged.servers[0].log))


async def test_a_refused_mount_leaves_a_session_to_use() -> None:
    """202 for the mount: the session comes back, and an upload goes on with it without another POST."""
    plans = [FaultPlan(), FaultPlan(quirks=Quirks(no_mounts=True))]
    async with rig(plans=plans) as rigged:
        source, landing, target = (
            rigged.repository(0, "a"),
            rigged.repository(1, "lib"),
            rigged.repository(1, "b"),
        )
        digest = rigged.put_blob(source, b"content")
        rigged.put_blob(landing, b"content")
        first = await run(transfer(source, digest, 7, Target(target, landing)), rigged.client, Meter())
        again = Target(target, landing, session=first[0].session)
        hows = await move(rigged, transfer(source, digest, 7, again))
        posts = rigged.servers[1].log.count(Operation.POST_UPLOAD)
        expected = (How.REFUSED, [How.UPLOADED], b"content", 1)
        assert expected == (first[0].how, hows, rigged.blob(target, digest), posts)


async def test_a_blob_that_is_there_is_never_read() -> None:
    """The registry answers 201 to the question whether it has the blob: no byte moves."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(target, b"content")
        hows = await move(rigged, transfer(source, digest, 7, ask_itself(target)))
        assert ([How.FOUND], 0) == (hows, len(rigged.servers[0].log))


async def test_a_blind_registry_is_asked_first() -> None:
    """HEAD finds the blob where a self-mount would not."""
    plans = [FaultPlan(), FaultPlan(quirks=Quirks(blind_self_mount=True))]
    async with rig(plans=plans) as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(target, b"content")
        hows = await move(rigged, transfer(source, digest, 7, Target(target, None, ask_first=True)))
        kinds = [request.kind for request in rigged.servers[1].log if request.kind is not Operation.PING]
        assert ([How.FOUND], [Operation.HEAD_BLOB]) == (hows, kinds)


@pytest.mark.parametrize("proven", [True, False])
async def test_the_get_starts_early_only_where_absence_is_proven(proven: bool) -> None:
    """While the POST waits for its answer, the source has been asked or has not."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(source, b"content")
        rigged.fault(1, Rule(Delay(30), Operation.POST_UPLOAD))
        made = transfer(source, digest, 7, ask_itself(target, proven_absent=proven))
        task = asyncio.create_task(run(made, rigged.client, Meter()))
        while not rigged.servers[1].log.running or (
            proven and not rigged.servers[0].log.count(Operation.GET_BLOB)
        ):
            await asyncio.sleep(0.005)
        asked = rigged.servers[0].log.count(Operation.GET_BLOB)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert int(proven) == asked


async def test_a_cancelled_transfer_leaves_no_session() -> None:
    """The source stalls in mid-blob, the run is cancelled: the destination has no open session."""
    async with rig(2) as rigged:
        source, one, two = (rigged.repository(number, "b") for number in (0, 1, 2))
        digest = rigged.put_blob(source, LARGE)
        rigged.fault(0, Rule(Stall(1024 * 1024), Operation.GET_BLOB))
        made = transfer(source, digest, len(LARGE), ask_itself(one), ask_itself(two))
        task = asyncio.create_task(run(made, rigged.client, Meter()))
        while not all(server.log.running for server in rigged.servers[1:]):
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(200):
            if not any(server.open_sessions for server in rigged.servers[1:]):
                break
            await asyncio.sleep(0.005)
        assert [0, 0] == [server.open_sessions for server in rigged.servers[1:]]


async def test_a_silent_registry_holds_no_cancelled_transfer_up(clock: ManualClock) -> None:
    """A POST that is never answered is waited for five seconds of the clock more, for its session, and ends then."""
    asked = asyncio.Event()

    async def silent(request: Request) -> bytes | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    async with Raw(silent) as server, plain_client(server, clock) as client:
        there = Repository(Registry(server.address), "a")
        made = transfer(there, digest_of(HUGE), len(HUGE), ask_itself(there))
        before = asyncio.all_tasks()
        task = asyncio.create_task(run(made, client, Meter(), clock))
        await asked.wait()
        began = clock.now()
        task.cancel()
        with clock.autojump():
            await asyncio.gather(task, return_exceptions=True)
        left = [str(each.get_coro()) for each in asyncio.all_tasks() - before]
        ours = [name for name in left if "Watchdog" not in name and "Listener." not in name]
        assert (5.0, True, []) == (clock.now() - began, task.cancelled(), ours)


async def test_a_failed_upload_leaves_no_session() -> None:
    """The source lies: the session is cancelled, not left to expire."""
    async with rig() as rigged:
        source, target = rigged.repository(0, "a"), rigged.repository(1, "b")
        digest = rigged.put_blob(source, b"content")
        rigged.fault(0, Rule(Flip(), Operation.GET_BLOB))
        hows = await move(rigged, transfer(source, digest, 7, ask_itself(target)))
        assert ([How.FAILED], 0) == (hows, rigged.servers[1].open_sessions)


async def test_a_slow_start_at_one_registry_holds_the_tee_for_all() -> None:
    """The one GET waits until every target has answered its POST."""
    async with rig(2) as rigged:
        source, one, two = (rigged.repository(number, "b") for number in (0, 1, 2))
        digest = rigged.put_blob(source, b"content")
        rigged.fault(2, Rule(Delay(0.05), Operation.POST_UPLOAD))
        hows = await move(rigged, transfer(source, digest, 7, ask_itself(one), ask_itself(two)))
        assert ([How.UPLOADED] * 2, 1) == (hows, rigged.servers[0].log.count(Operation.GET_BLOB))


async def chunks(count: int, failure: SourceFailed | None = None) -> AsyncGenerator[bytes, None]:
    """``count`` chunks of ten bytes, then the end or a failure."""
    for number in range(count):
        yield bytes([number % 256]) * 10
    if failure is not None:
        raise failure


async def test_a_tee_waits_for_its_slowest_branch() -> None:
    """With ten bytes of buffer and nobody reading one branch, the stream is read one chunk far."""
    tee = Tee(chunks(5), 2, 10)
    pump = asyncio.create_task(tee.pump())
    fast = tee.branches[0].read()
    first = await anext(fast)
    await asyncio.sleep(0)
    held = [branch.held for branch in tee.branches]
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)
    assert (bytes(10), [0, 10]) == (first, held)


async def test_a_closed_branch_holds_nobody_up() -> None:
    """One consumer gives up, the other gets everything."""
    tee = Tee(chunks(5), 2, 10)
    tee.branches[1].close()
    pump = asyncio.create_task(tee.pump())
    got = [chunk[0] async for chunk in tee.branches[0].read()]
    await pump
    assert [0, 1, 2, 3, 4] == got


async def test_a_failure_reaches_every_branch_after_what_came_before() -> None:
    """Each consumer gets the chunks that were fine, then the failure of the source."""
    failure = SourceFailed(NetworkError("gone"))
    tee = Tee(chunks(1, failure), 2, 100)
    pump = asyncio.create_task(tee.pump())
    got = []
    for branch in tee.branches:
        stream = branch.read()
        got.append(len(await anext(stream)))
        with pytest.raises(SourceFailed, match="gone"):
            await anext(stream)
    await pump
    assert [10, 10] == got


async def hungry(branch: Branch) -> int:
    """Read a branch as fast as it comes; how much that was."""
    return sum([len(chunk) async for chunk in branch.read()])


async def sipping(branch: Branch, clock: ManualClock, seconds: float) -> None:
    """Take a chunk each so many seconds, until cut loose."""
    try:
        async with asyncio.timeout(None) as branch.patience:
            async for _ in branch.read():
                await clock.sleep(seconds)
    except TimeoutError:
        return


@pytest.mark.parametrize(
    ("every", "after"), [(10_000, 14), (70, 14), (12, 58)], ids=["silent", "too rarely", "too little"]
)
async def test_a_branch_that_holds_others_up_is_cut_loose(
    clock: ManualClock, every: float, after: float
) -> None:
    """After fifteen seconds without a byte, or a minute below the floor, and not before, the rest goes on."""
    tee = Tee(chunks(500), 2, 10)
    tasks = [
        asyncio.create_task(tee.pump()),
        asyncio.create_task(sipping(tee.branches[0], clock, every)),
        rest := asyncio.create_task(hungry(tee.branches[1])),
        watch := asyncio.create_task(tee.watch(clock)),
    ]
    await clock.advance(after)
    before = tee.branches[0].closed
    await clock.advance(10)
    got = await rest
    watch.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (False, True, 5000) == (before, tee.branches[0].closed, got)


async def test_nobody_is_cut_loose_where_all_are_stuck(clock: ManualClock) -> None:
    """Two branches that take nothing for an hour: there is nobody to go on without them."""
    tee = Tee(chunks(50), 2, 10)
    tasks = [asyncio.create_task(tee.pump()), asyncio.create_task(tee.watch(clock))]
    await clock.advance(3600)
    closed = [branch.closed for branch in tee.branches]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [False, False] == closed


async def test_what_keeps_up_is_never_cut_loose(clock: ManualClock) -> None:
    """A source that says nothing for an hour is not its destinations' fault."""

    async def source() -> AsyncGenerator[bytes, None]:
        yield bytes(10)
        await clock.sleep(3600)
        yield bytes(10)

    tee = Tee(source(), 2, 10)
    tasks = [
        asyncio.create_task(tee.pump()),
        *(asyncio.create_task(hungry(branch)) for branch in tee.branches),
        watch := asyncio.create_task(tee.watch(clock)),
    ]
    await clock.advance(3601)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert [20, 20] == [await task for task in tasks[1:3]]


async def test_a_stuck_destination_is_served_later(clock: ManualClock) -> None:
    """One of two destinations stops reading: the other gets all, the first a failure worth another attempt."""
    async with rig(2, clock=clock) as rigged:
        source, stuck, good = (rigged.repository(number, "b") for number in (0, 1, 2))
        digest = rigged.put_blob(source, HUGE)
        rigged.fault(1, Rule(Stall(1024, request=True), Operation.PUT_BLOB))
        made = transfer(source, digest, len(HUGE), ask_itself(stuck), ask_itself(good))
        with clock.autojump():
            outcomes = await run(made, rigged.client, Meter(), clock)
        blame = rigged.servers[1].address in str(outcomes[0].error)
        expected = ([How.FAILED, How.UPLOADED], NetworkError, True, False, HUGE)
        assert expected == (
            [outcome.how for outcome in outcomes],
            type(outcomes[0].error),
            blame,
            outcomes[0].of_source,
            rigged.blob(good, digest),
        )


def test_buffers_are_bounded_by_the_kind_of_transfer() -> None:
    """A small blob reserves its size, a stream a constant, a mount nothing."""
    place, other = Repository("r.example", "a"), Repository("r.example", "b")  # type: ignore[arg-type]
    digest = digest_of(b"")
    small = Transfer(digest, 100, place, (Target(place, place),))
    large = Transfer(digest, 10**12, place, (Target(place, place),))
    mount = Transfer(digest, 10**12, place, (Target(place, other),))
    assert (100, True, 0) == (small.buffer, large.buffer <= 2 * 1024 * 1024, mount.buffer)


def test_an_outcome_without_a_failure_names_none() -> None:
    """The plain value of success has no error and blames nobody."""
    place = Repository("r.example", "a")  # type: ignore[arg-type]
    outcome = Outcome(Target(place, place), How.UPLOADED)
    assert (None, False, None) == (outcome.error, outcome.of_source, outcome.session)


PLACE = Repository(Registry("r.example"), "a")
ELSEWHERE = Target(
    PLACE, Repository(Registry("r.example"), "b"), ask_first=True, session=Upload(PLACE, "/x?y"), chunk=5
)


def test_a_transfer_can_be_sent_to_another_process() -> None:
    """Pickled and read again it is the same, with a session that is open, and its names are what they were."""
    made = Transfer(digest_of(b"x"), 1, PLACE, (Target(PLACE, None, proven_absent=True), ELSEWHERE))
    again = pickle.loads(pickle.dumps(made))
    assert (made, Digest, Registry) == (again, type(again.digest), type(again.source.registry))


@pytest.mark.parametrize(
    "family",
    [
        SpecError,
        HelperError,
        InternalError,
        ContentError,
        RegistryError,
        RefusedError,
        PausedError,
        NetworkError,
        NoConnectionError,
        ExhaustedError,
        NoHttpError,
        SilenceError,
        LimitedError,
        UnknownHostError,
    ],
)
def test_a_failure_can_be_sent_from_another_process(family: type[MmgraphError]) -> None:
    """Pickled and read again it has its words and all by which is decided what is tried again, and when."""
    error = family("words")
    error.tries, error.seconds = 3, 2.5
    error.final, error.common, error.waits = not family.final, not family.common, not family.waits
    if isinstance(error, RegistryError):
        error.status, error.codes, error.detail = 429, ("TOOMANYREQUESTS",), (str(digest_of(b"x")),)
    if isinstance(error, RefusedError):
        error.operation = Operation.PUT_BLOB
    made = Outcome(ELSEWHERE, How.FAILED, error=error, of_source=True)
    again = pickle.loads(pickle.dumps(made))
    assert (ELSEWHERE, How.FAILED, True, family, "words", vars(error)) == (
        again.target,
        again.how,
        again.of_source,
        type(again.error),
        str(again.error),
        vars(again.error),
    )
