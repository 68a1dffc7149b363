"""The one layer of retries on the wire: pauses, what is given up and when, what became of answers that got lost."""

from __future__ import annotations

import asyncio
import email.utils
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.errors import DriftError, MmgraphError, NetworkError, RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.gate import Allowance, PausedError
from mmgraph.registry.policy import FREE_RETRIES, RETRIES_PER_REQUEST, ROUNDS_UNHEARD, TRIES
from mmgraph.registry.quota import QuotaError
from mmgraph.store import RawManifest, Traffic, Upload
from tests.support.raw import Raw, Request, answer, script
from tests.test_client import BLOB, chunks, digest_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.support.clock import ManualClock

X, Y, Z = digest_of(b"x"), digest_of(b"y"), digest_of(b"z")
OK = answer(200, docker_content_digest=X)
PUT_OK = answer(201, docker_content_digest=X)
MANIFEST = RawManifest(b"x", "application/json")


def at(server: Raw, path: str = "team/app") -> Repository:
    """Return a repository there."""
    return Repository(Registry(server.address), path)


def client(clock: ManualClock, *servers: Raw, **options: Any) -> Client:
    """Return a client that speaks plainly to the servers, with repeatable jitter."""
    return Client(
        credentials=Credentials({"XDG_RUNTIME_DIR": "/nonexistent", "HOME": "/nonexistent"}),
        clock=clock,
        plain_http=[Registry(server.address) for server in servers],
        chance=random.Random(1),
        **options,
    )


class Log:
    """A handler that notes when each request came, on our clock."""

    def __init__(self, clock: ManualClock, handler: Callable[[Request], Awaitable[bytes | None]]) -> None:
        self._clock = clock
        self._handler = handler
        self._began = clock.now()
        self.times: list[float] = []

    async def __call__(self, request: Request) -> bytes | None:
        """Note the time, and answer as the handler does."""
        self.times.append(self._clock.now() - self._began)
        return await self._handler(request)


async def errors_of(*asked: Awaitable[object]) -> list[MmgraphError]:
    """Await all, and return what failed."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    return [error for error in found if isinstance(error, MmgraphError)]


# Waiting


@pytest.mark.parametrize("form", ["seconds", "date", "epoch", "hub"])
async def test_retry_after_in_every_form(clock: ManualClock, form: str) -> None:
    """Seconds, a date, a Unix time, and Docker Hub's own header: the next request comes then, and not before."""
    wall = clock.wall()
    header = {
        "seconds": {"retry_after": "30"},
        "date": {"retry_after": email.utils.formatdate(wall + 30, usegmt=True)},
        "epoch": {"retry_after": str(int(wall) + 30)},
        "hub": {"x_retry_after": str(int(wall) + 30)},
    }[form]
    log = Log(clock, script(answer(429, b"", **header), OK))
    async with Raw(log) as server, client(clock, server) as wire:
        with clock.autojump():
            await wire.resolve(at(server), "v1")
    expected = [0.0, 30.0]
    assert expected == log.times


@pytest.mark.parametrize("junk", ["-1", "soon", "", "0"])
async def test_junk_falls_to_back_off(clock: ManualClock, junk: str) -> None:
    """A Retry-After that says nothing is none: the jittered back-off decides."""
    log = Log(clock, script(answer(429, retry_after=junk), OK))
    async with Raw(log) as server, client(clock, server) as wire:
        with clock.autojump():
            await wire.resolve(at(server), "v1")
    assert 0 < log.times[1] <= 0.5


def guarded(*answers: bytes) -> Callable[[Request], Awaitable[bytes | None]]:
    """Return a handler that wants a token for all but tokens, which its service answers so, the last for ever."""
    left = list(answers)

    async def handle(request: Request) -> bytes:
        if request.target.startswith("/token"):
            return left.pop(0) if len(left) > 1 else left[0]
        if "authorization" in request.headers:
            return OK
        realm = f'Bearer realm="http://{request.headers["host"]}/token"'
        return answer(401, www_authenticate=realm)

    return handle


async def test_a_token_service_that_asks_to_wait(clock: ManualClock) -> None:
    """Its Retry-After holds for all that is asked for at its registry."""
    log = Log(clock, guarded(answer(429, retry_after="30"), answer(200, b'{"token":"t"}')))
    async with Raw(log) as server, client(clock, server) as wire:
        with clock.autojump():
            await asyncio.gather(*(wire.resolve(at(server, name), "v1") for name in "ab"))
    assert {0.0, 30.0} == set(log.times)


async def test_a_token_that_was_waited_for(clock: ManualClock) -> None:
    """Its life begins when it is handed out, not when it was first asked for: it is used as long as any other."""
    handle = guarded(answer(429, retry_after="120"), answer(200, b'{"token":"t","expires_in":60}'))
    async with Raw(handle) as server, client(clock, server) as wire:
        with clock.autojump():
            for _ in range(2):
                await wire.resolve(at(server), "v1")
    assert 2 == len([one for one in server.requests if one.target.startswith("/token")])


async def test_a_token_service_that_fails_for_ever(clock: ManualClock) -> None:
    """Repeating is within the budget of its registry, however many repositories need a token."""
    handle = guarded(answer(503))
    async with Raw(handle) as server, client(clock, server) as wire:
        with clock.autojump():
            errors = await errors_of(*(wire.resolve(at(server, f"r{number}"), "v1") for number in range(40)))
        asked = len([one for one in server.requests if one.target.startswith("/token")])
    told = [f"answered 503 after {TRIES} tries" in str(error) for error in errors]
    assert (40, True) == (len(errors), asked <= 40 + FREE_RETRIES + 80 * RETRIES_PER_REQUEST), asked
    assert any(told), errors


async def test_a_token_service_that_always_asks_to_wait(clock: ManualClock) -> None:
    """--max-wait bounds the waiting for all together, and who waited is told so."""
    handle = guarded(answer(429, retry_after="60"))
    async with Raw(handle) as server, client(clock, server, max_wait=300) as wire:
        began = clock.now()
        with clock.autojump():
            errors = await errors_of(*(wire.resolve(at(server, f"r{number}"), "v1") for number in range(60)))
        waited, address = clock.now() - began, server.address
    words = (
        "asks to wait for 60 seconds, after 300 that it was waited for, longer than --max-wait allows (300)"
    )
    said = {f"429, and the token service of {address} {words}" in str(error) for error in errors}
    assert (60, {True}, 300.0) == (len(errors), said, waited)


async def test_a_token_that_is_never_given(clock: ManualClock) -> None:
    """A token service that gives all others theirs, and one none, is asked for that one for --max-wait in all."""

    async def handle(request: Request) -> bytes:
        if request.target.startswith("/token"):
            return answer(429, retry_after="60") if "bad" in request.target else answer(200, b'{"token":"t"}')
        if "authorization" in request.headers:
            return OK
        return answer(401, www_authenticate=f'Bearer realm="http://{request.headers["host"]}/token"')

    async with Raw(handle) as server, client(clock, server, max_wait=300) as wire:

        async def others() -> None:
            for number in range(20):
                await clock.sleep(29)
                await wire.resolve(at(server, f"r{number}"), "v1")

        beside = asyncio.create_task(others())
        began = clock.now()
        with clock.autojump():
            (error,) = await errors_of(wire.resolve(at(server, "bad"), "v1"))
            waited = clock.now() - began
            await beside
    assert (True, True) == ("waited for" in str(error), 300 <= waited <= 360), (str(error), waited)


@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_a_transfer_does_not_wait_for_a_token(clock: ManualClock, method: str) -> None:
    """Who holds slots goes back to the queue also where it is the token service that asks for a long pause."""
    async with Raw(guarded(answer(429, retry_after="60"))) as server, client(clock, server) as wire:
        asked = wire.start(at(server), X, None) if method == "POST" else wire.holds(at(server), X)
        with pytest.raises(PausedError) as caught:
            await asked
        paused = wire.paused(Registry(server.address))
    assert (True, False, 60.0, [1000.0]) == (caught.value.waits, caught.value.final, paused, [clock.now()])


async def test_a_cdn_that_asks_to_wait(clock: ManualClock) -> None:
    """The one request waits as long as a host elsewhere asks, and the registry's others go on."""
    log = Log(clock, script(answer(503, retry_after="40"), answer(200, b"x")))
    async with Raw(log) as cdn:
        away = answer(307, location=f"http://{cdn.address}/b")

        async def handle(request: Request) -> bytes:
            return away if request.target.endswith("/slow") else OK

        async with Raw(handle) as server, client(clock, server) as wire:
            slow = asyncio.create_task(wire.manifest(at(server), "slow"))
            while not clock.waiting:
                await clock.settle()
            await wire.resolve(at(server), "quick")
            paused = wire.paused(Registry(server.address))
            with clock.autojump():
                await slow
    assert ([0.0, 40.0], 0.0) == (log.times, paused)


async def test_a_cdn_that_always_asks_to_wait(clock: ManualClock) -> None:
    """It is waited for --max-wait in all."""
    log = Log(clock, script(answer(429, retry_after="40")))
    async with (
        Raw(log) as cdn,
        Raw(script(answer(307, location=f"http://{cdn.address}/b"))) as server,
        client(clock, server, max_wait=100) as wire,
    ):
        with clock.autojump(), pytest.raises(RegistryError, match="longer than --max-wait allows") as caught:
            await wire.manifest(at(server), "v1")
    assert ([0.0, 40.0, 80.0, 100.0], 429) == (log.times, caught.value.status)


async def test_a_transfer_does_not_wait_for_a_cdn(clock: ManualClock) -> None:
    """Who holds slots goes back to the queue for as long as the CDN asks, for --max-wait over all its attempts."""
    async with (
        Raw(script(answer(429, retry_after="40"))) as cdn,
        Raw(script(answer(307, location=f"http://{cdn.address}/b"))) as server,
        client(clock, server, max_wait=100) as wire,
    ):
        found = []
        for _ in range(4):
            try:
                async with wire.blob(at(server), X, 1):
                    pass
            except RegistryError as error:
                found.append((error.waits, error.seconds))
    assert [(True, 40.0), (True, 40.0), (True, 20.0), (False, 0.0)] == found


async def test_an_upload_host_that_asks_to_wait(clock: ManualClock) -> None:
    """A streamed blob, which goes from the start again, goes so once the host that keeps it takes it."""
    async with (
        Raw(script(answer(503, retry_after="40"))) as storage,
        Raw(script(OK)) as server,
        client(clock, server) as wire,
    ):
        upload = Upload(at(server), f"http://{storage.address}/u")
        with pytest.raises(RegistryError, match="503") as caught:
            await wire.send(upload, digest_of(BLOB), len(BLOB), chunks(BLOB))
    assert (False, 40.0) == (caught.value.final, caught.value.seconds)


LONG = answer(429, retry_after="1000000000")


@pytest.mark.parametrize("jobs", [1, 16])
async def test_a_pause_that_is_too_long(clock: ManualClock, jobs: int) -> None:
    """What asks for more than --max-wait is waited for so long, asked once more, and given up for all together."""
    log = Log(clock, script(LONG))
    async with Raw(log) as server, client(clock, server, jobs=jobs, max_wait=60) as wire:
        with clock.autojump():
            errors = await errors_of(*(wire.resolve(at(server), f"v{number}") for number in range(100)))
            errors += await errors_of(wire.resolve(at(server), "later"))
    words = "for 1000000000 seconds, after 60 that it was waited for, longer than --max-wait allows (60)"
    said = {words in str(error) for error in errors}
    assert (101, {True}, {0.0, 60.0}, True) == (len(errors), said, set(log.times), len(log.times) <= 2 * jobs)


async def test_a_long_pause_that_helps(clock: ManualClock) -> None:
    """A registry that asks for a day, and answers after --max-wait, is not given up."""
    log = Log(clock, script(answer(429, retry_after="86400"), OK))
    async with Raw(log) as server, client(clock, server, max_wait=60) as wire:
        with clock.autojump():
            await wire.resolve(at(server), "v1")
    assert [0.0, 60.0] == log.times


async def test_a_second_pause_that_is_too_long(clock: ManualClock) -> None:
    """Whoever asks for more than --max-wait a second time is given up, whatever it answered in between."""
    log = Log(clock, script(LONG, OK, LONG))
    async with Raw(log) as server, client(clock, server, max_wait=60) as wire:
        with clock.autojump():
            await wire.resolve(at(server), "v1")
            (error,) = await errors_of(wire.resolve(at(server), "v2"))
    assert ([0.0, 60.0, 60.0], True) == (log.times, "--max-wait" in str(error))


async def test_no_pause_at_all(clock: ManualClock) -> None:
    """With --max-wait 0 who is told to wait fails at once; images of other registries go on."""
    async with Raw(script(LONG)) as server, Raw(script(OK)) as other:
        async with client(clock, server, other, jobs=1, max_wait=0) as wire:
            errors = await errors_of(*(wire.resolve(at(server), f"v{number}") for number in range(5)))
            await wire.resolve(at(other), "v1")
        said = {"for 1000000000 seconds, longer than --max-wait allows (0)" in str(error) for error in errors}
        pauses = wire.traffic()[Registry(server.address)].pauses
        assert (1, 5, {True}, 0) == (len(server.requests), len(errors), said, pauses)


async def test_a_storm_of_429(clock: ManualClock) -> None:
    """Nine of ten requests told to wait: all are answered in the end, and none comes before the gate opens."""
    chance = random.Random(7)
    opens = [0.0]
    early = []

    async def busy(_: Request) -> bytes:
        if clock.now() < opens[0]:
            early.append(clock.now())
        if chance.random() < 0.9:
            opens[0] = clock.now() + 2
            return answer(429, retry_after="2")
        return OK

    async with Raw(busy) as server, client(clock, server, jobs=1) as wire:
        with clock.autojump():
            errors = await errors_of(*(wire.resolve(at(server), f"v{number}") for number in range(20)))
    assert ([], []) == (errors, early)


async def test_waiting_for_ever_is_bounded(clock: ManualClock) -> None:
    """A registry that always asks for another moment is given up after --max-wait seconds of them in all."""
    log = Log(clock, script(answer(429, retry_after="10")))
    words = r"to wait for 10 seconds, after 60 that it was waited for, longer than --max-wait allows \(60\)"
    async with Raw(log) as server, client(clock, server, max_wait=60) as wire:
        with clock.autojump(), pytest.raises(RegistryError, match=words):
            await wire.resolve(at(server), "v1")
    expected = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    assert expected == log.times


async def test_a_transfer_is_sent_back(clock: ManualClock) -> None:
    """Who holds slots does not wait through a long pause: it fails as one that only needs time, at once."""
    async with Raw(script(answer(429, retry_after="60"))) as server, client(clock, server) as wire:
        with pytest.raises(PausedError) as caught:
            await wire.start(at(server), X, None)
        paused = wire.paused(Registry(server.address))
        assert (True, False, 60.0, 1) == (
            caught.value.waits,
            caught.value.final,
            paused,
            len(server.requests),
        )


async def test_a_mount_that_is_always_told_to_wait(clock: ManualClock) -> None:
    """A mount is asked for three times in all the turns of its transfer; then the blob is uploaded."""

    async def no_mounts(request: Request) -> bytes:
        if "mount=" in request.target:
            return answer(429, retry_after="60")
        return answer(202, location="/v2/team/app/blobs/uploads/1")

    async with Raw(no_mounts) as server, client(clock, server) as wire:
        turns: list[object] = []
        with clock.autojump():
            for _ in range(4):
                try:
                    turns.append(await wire.start(at(server), X, at(server, "team/base")))
                except PausedError as error:
                    turns.append(error.status)
                    await clock.sleep(wire.paused(Registry(server.address)))
        mounts = sum("mount=" in target for target in server.seen)
    told = [turn if turn == 429 else isinstance(turn, Upload) for turn in turns]
    assert (3, [429, 429, 429, True]) == (mounts, told)


async def test_one_kind_that_is_always_told_to_wait(clock: ManualClock) -> None:
    """Where other requests of the same go are answered, the registry was worth waiting for, and is not given up."""

    async def picky(request: Request) -> bytes:
        if "v1" in request.target:
            return answer(429, retry_after="40")
        await clock.sleep(1)  # the answer to what left with it, and comes when the next pause has begun
        return OK

    async with Raw(picky) as server, client(clock, server, max_wait=60) as wire:

        async def one_by_one(tag: str) -> list[MmgraphError]:
            return [error for _ in range(5) for error in await errors_of(wire.resolve(at(server), tag))]

        with clock.autojump():
            refused, errors = await asyncio.gather(one_by_one("v1"), one_by_one("v2"))
    assert (5, []) == (len(refused), errors)


async def test_writes_that_are_always_told_to_wait(clock: ManualClock) -> None:
    """Who answers each look at a tag, and tells each write to wait, is waited for once, not once for each image."""

    async def read_only(request: Request) -> bytes:
        await request.read()
        return answer(429, retry_after="10") if request.method == "PUT" else answer(404)

    log = Log(clock, read_only)
    async with Raw(log) as server, client(clock, server, max_wait=60) as wire:
        errors = []
        with clock.autojump():
            for tag in ("v1", "v2", "v3"):
                await wire.find(at(server), tag)
                errors += await errors_of(wire.put_manifest(at(server), tag, X, MANIFEST))
                await wire.find(at(server), tag)
    puts = sum(request.method == "PUT" for request in server.requests)
    assert (3, 7, 60.0) == (len(errors), puts, log.times[-1])


async def test_a_back_off_holds_no_slot(clock: ManualClock) -> None:
    """While one request waits to be repeated, another uses the only slot."""
    first = script(answer(500), OK)

    async def by_name(request: Request) -> bytes | None:
        return await first(request) if request.target.endswith("/slow") else OK

    async with Raw(by_name) as server, client(clock, server, jobs=1) as wire:
        slow = asyncio.create_task(wire.resolve(at(server), "slow"))
        while not clock.waiting:
            await clock.settle()
        await wire.resolve(at(server), "quick")
        assert False is slow.done()
        with clock.autojump():
            await slow


async def test_requests_per_second(clock: ManualClock) -> None:
    """What the user allows at a registry is kept, however many slots there are."""
    log = Log(clock, script(OK))
    async with Raw(log) as server:
        allowances = {Registry(server.address): Allowance(per_second=2)}
        async with client(clock, server, allowances=allowances) as wire:
            with clock.autojump():
                await asyncio.gather(*(wire.resolve(at(server), f"v{number}") for number in range(4)))
    expected = [0.0, 0.5, 1.0, 1.5]
    assert expected == log.times


async def test_jobs_of_one_registry(clock: ManualClock) -> None:
    """A registry's own number of jobs is its windows' cap."""
    async with Raw(script(OK)) as server:
        allowances = {Registry(server.address): Allowance(jobs=3)}
        async with client(clock, server, allowances=allowances) as wire:
            await wire.resolve(at(server), "v1")
            expected = {Registry(server.address): Traffic(read_window=3, write_window=3)}
            assert expected == wire.traffic()


async def test_traffic(clock: ManualClock) -> None:
    """Retries, pauses and windows are told: a 429 halves the window of reads, and not that of writes."""
    async with Raw(script(answer(429, retry_after="30"), OK)) as server, client(clock, server) as wire:
        with clock.autojump():
            await wire.resolve(at(server), "v1")
        expected = {Registry(server.address): Traffic(1, 1, 30.0, 16, 16)}
        assert expected == wire.traffic()


# Giving up


async def test_a_message_says_how_often_it_was_tried(clock: ManualClock) -> None:
    """Whoever reads the error knows that repeating was no use."""
    async with Raw(script(answer(502))) as server, client(clock, server) as wire:
        with clock.autojump(), pytest.raises(RegistryError, match="502, after 8 tries") as caught:
            await wire.resolve(at(server), "v1")
    assert (TRIES, True) == (caught.value.tries, caught.value.final)


async def test_a_repository_that_fails_for_ever(clock: ManualClock) -> None:
    """The first failure to the last try is the last that is repeated there; the next requests are sent once."""

    async def by_repository(request: Request) -> bytes:
        return answer(500) if "/bad/" in request.target else OK

    async with Raw(by_repository) as server, client(clock, server) as wire:
        with clock.autojump():
            for number in range(20):
                await errors_of(wire.resolve(at(server, "bad"), f"v{number}"))
                await wire.resolve(at(server, "good"), f"v{number}")
        bad = sum("/bad/" in request.target for request in server.requests)
    assert TRIES + 19 == bad


async def test_the_budget_of_retries(clock: ManualClock) -> None:
    """A registry that fails in every repository is repeated for as long as the budget lasts, and not beyond."""
    async with Raw(script(answer(500))) as server, client(clock, server) as wire:
        with clock.autojump():
            asked = [wire.resolve(at(server, f"r{number}"), "v1") for number in range(100)]
            errors = await errors_of(*asked)
        retries = wire.traffic()[Registry(server.address)].retries
    assert (100, FREE_RETRIES + 50) == (len(errors), retries)


async def test_nobody_there(clock: ManualClock) -> None:
    """All that ask a registry which does not exist fail with one cause, after a few rounds and not one by one."""
    gone = Registry("127.0.0.1:1")
    async with client(clock) as wire:
        with clock.autojump():
            errors = await errors_of(
                *(wire.find(Repository(gone, "a"), f"v{number}") for number in range(50))
            )
        causes = Counter(str(error).partition(" cannot be reached")[0] for error in errors)
        closed = wire.closed(gone, write=True)
    assert (50, True, True) == (
        len(errors),
        causes[gone] >= 50 - 16,
        f"after {ROUNDS_UNHEARD} tries" in (closed or ""),
    )


async def test_a_registry_that_goes_away_and_comes_back(clock: ManualClock) -> None:
    """A restart of some seconds is waited out: nobody fails, and everybody waits at the gate."""
    async with Raw(script(OK)) as server, client(clock, server) as wire:
        place = at(server)
        await wire.resolve(place, "v1")
        assert server._server is not None
        server._server.close()
        await asyncio.gather(*(task for task in server._tasks if task.cancel()), return_exceptions=True)

        async def come_back() -> None:
            await clock.sleep(3)
            port = int(place.registry.rpartition(":")[2])
            server._server = await asyncio.start_server(server._accept, "127.0.0.1", port)

        with clock.autojump():
            back = asyncio.create_task(come_back())
            errors = await errors_of(*(wire.resolve(place, f"v{number}") for number in range(20)))
            await back
    assert [] == errors


async def test_one_request_that_a_registry_cannot_stand(clock: ManualClock) -> None:
    """A registry that hangs up on one request and answers others is not given up for it (I6)."""

    async def by_name(request: Request) -> bytes | None:
        return None if request.target.endswith("/poison") else OK

    async with Raw(by_name) as server, client(clock, server) as wire:
        await wire.resolve(at(server), "v1")
        with clock.autojump():
            errors = await errors_of(wire.resolve(at(server), "poison"))
            await wire.resolve(at(server), "v2")
    assert (1, TRIES) == (len(errors), errors[0].tries)


# Refused writes


@pytest.mark.parametrize(
    ("refusal", "posts"),
    [
        (answer(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), 3),
        (answer(403, b'{"errors":[{"code":"DENIED"}]}'), 3),
        (answer(405, b'{"errors":[{"code":"UNSUPPORTED"}]}'), 2),
        (answer(403, b'{"errors":[{"code":"DENIED","message":"in read only mode"}]}'), 1),
    ],
)
async def test_one_refusal_is_enough(clock: ManualClock, refusal: bytes, posts: int) -> None:
    """One POST a repository that takes no uploads, and fewer at a registry that takes no writes at all."""
    async with Raw(script(refusal)) as server, client(clock, server) as wire:
        failed = 0
        for number in range(30):
            failed += len(await errors_of(wire.start(at(server, f"r{number % 3}"), X, None)))
        assert (posts, 30) == (len(server.requests), failed)


async def test_a_read_only_registry_can_be_read(clock: ManualClock) -> None:
    """What takes no writes is closed for writes alone, with one clear cause."""
    refusal = answer(405, b'{"errors":[{"code":"DENIED","message":"currently read-only"}]}')

    async def by_method(request: Request) -> bytes:
        return OK if request.method == "HEAD" else refusal

    async with Raw(by_method) as server, client(clock, server) as wire:
        await errors_of(wire.start(at(server), X, None))
        [error] = await errors_of(wire.put_manifest(at(server, "other"), "v1", X, MANIFEST))
        await wire.resolve(at(server), "v1")
    host = server.requests[0].headers["host"]
    expected = (f"{host} takes no writes: {host} does not accept the push", 2)
    assert expected == (str(error).partition(" to ")[0], len(server.requests))


# Lost answers


class Tags:
    """A registry of one tag that takes the first PUT or loses it, and loses its answer in any case."""

    def __init__(self, named: str | None, *, takes: bool = False, meanwhile: str | None = None) -> None:
        self.named = named
        self._takes = takes
        self._meanwhile = meanwhile
        self.puts = 0

    async def __call__(self, request: Request) -> bytes | None:
        """Answer as a registry, but for the first PUT."""
        body = await request.read()
        if request.method != "PUT":
            return answer(200, docker_content_digest=self.named) if self.named else answer(404)
        self.puts += 1
        if self.puts > 1 or self._takes:
            self.named = digest_of(body)
        if self.puts > 1:
            return PUT_OK
        if self._meanwhile is not None:
            self.named = self._meanwhile
        return None


@pytest.mark.parametrize(
    ("tags", "puts"),
    [
        (Tags(Y, takes=True), 1),
        (Tags(None, takes=True), 1),
        (Tags(Y), 2),
    ],
)
async def test_a_tag_whose_answer_was_lost(clock: ManualClock, tags: Tags, puts: int) -> None:
    """The tag is read: the new digest is done, the old one is put again."""
    old = None if tags.named is None else Y
    async with Raw(tags) as server, client(clock, server) as wire:
        with clock.autojump():
            await wire.put_manifest(at(server), "v1", X, MANIFEST, old)
    assert (X, puts) == (tags.named, puts and tags.puts)


async def test_a_tag_that_somebody_else_took_meanwhile(clock: ManualClock) -> None:
    """A third value after a lost answer is drift: said so, and left alone."""
    tags = Tags(Y, meanwhile=Z)
    async with Raw(tags) as server, client(clock, server) as wire:
        with clock.autojump(), pytest.raises(DriftError, match="moved meanwhile"):
            await wire.put_manifest(at(server), "v1", X, MANIFEST, Y)
    assert (Z, 1) == (tags.named, tags.puts)


async def test_a_tag_answered_by_a_proxy_in_between(clock: ManualClock) -> None:
    """502 to a PUT by tag says nothing of what became of it: the tag is read."""
    puts = script(answer(502))

    async def by_method(request: Request) -> bytes | None:
        return OK if request.method == "HEAD" else await puts(request)

    async with Raw(by_method) as server, client(clock, server) as wire:
        with clock.autojump():
            await wire.put_manifest(at(server), "v1", X, MANIFEST, Y)
        expected = ["PUT /v2/team/app/manifests/v1", "HEAD /v2/team/app/manifests/v1"]
        assert expected == server.seen


@pytest.mark.parametrize(("length", "landed"), [(len(BLOB), True), (len(BLOB) // 2, False)])
async def test_a_stream_whose_answer_was_lost(clock: ManualClock, length: int, landed: bool) -> None:
    """The blob is looked for: there with its whole length it is done, cut short it is not."""

    async def by_method(request: Request) -> bytes | None:
        if request.method == "HEAD":
            return answer(200, content_length=str(length))
        await request.read()
        return None

    async with Raw(by_method) as server, client(clock, server) as wire:
        upload = Upload(at(server), f"http://{server.address}/u")
        errors = await errors_of(wire.send(upload, digest_of(BLOB), len(BLOB), chunks(BLOB)))
    assert (not landed, False) == (bool(errors), any(error.final for error in errors))


async def test_a_small_blob_cut_short_is_sent_again(clock: ManualClock) -> None:
    """HEAD that shows another length is no proof: the session is ended, and a new one gets the whole blob."""
    answers: dict[str, Sequence[bytes | None]] = {
        "HEAD": [answer(200, content_length="1")],
        "POST": [answer(202, location="/second")],
        "PUT": [None, answer(201)],
        "DELETE": [answer(204)],
    }
    handlers = {method: script(*left) for method, left in answers.items()}

    async def by_method(request: Request) -> bytes | None:
        return await handlers[request.method](request)

    async with Raw(by_method) as server, client(clock, server) as wire:
        with clock.autojump():
            await wire.send(Upload(at(server), f"http://{server.address}/first"), X, 1000, b"x" * 1000)
        expected = ["PUT", "HEAD", "DELETE", "POST", "PUT"]
        assert expected == [request.method for request in server.requests]


# Quotas


async def test_the_reserve_of_a_quota(clock: ManualClock) -> None:
    """Once the rate headers leave only the reserve, manifests are no longer asked for; tags still are."""
    left = [8]

    async def counted(request: Request) -> bytes:
        if request.method == "GET":
            left[0] -= 1
        rate = {"ratelimit_limit": "100;w=21600", "ratelimit_remaining": f"{left[0]};w=21600"}
        body = b"" if request.method == "HEAD" else b"x"
        return answer(200, body, docker_content_digest=X, content_type="application/json", **rate)

    async with Raw(counted) as server, client(clock, server) as wire:
        await wire.resolve(at(server), "v1")
        asked = [wire.manifest(at(server, f"r{number}"), "v1") for number in range(10)]
        errors = await errors_of(*asked)
        await wire.resolve(at(server), "v2")
        quota = wire.quotas()[Registry(server.address)]
    assert ({QuotaError}, 7, 3, 5, 7) == (
        set(map(type, errors)),
        len(errors),
        quota.spent,
        left[0],
        quota.needed,
    )


async def test_errors_of_the_network_are_marked(clock: ManualClock) -> None:
    """A network that fails to the last try says how often, and nobody repeats it above."""
    async with Raw(script(None)) as server, client(clock, server) as wire:
        with clock.autojump():
            [error] = await errors_of(wire.resolve(at(server), "v1"))
    assert (True, True) == (isinstance(error, NetworkError), error.final)
