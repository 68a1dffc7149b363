"""On the way to a connection: what hangs there is ended by the clock, says where, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from mmgraph.errors import NetworkError
from mmgraph.names import Registry, Repository
from mmgraph.registry.policy import ROUNDS_UNHEARD, TRIES
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from tests.support.authority import Authority
from tests.support.raw import Raw, Request, answer
from tests.test_client import digest_of
from tests.test_connection import at, client, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.support.clock import ManualClock

OK = answer(200, docker_content_digest=digest_of(b"x"))
NAME = "registry.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


class Full:
    """A listener that has no room for another connection: what comes is neither refused nor accepted."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._listener = self._open.enter_context(socket.socket())
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        for _ in range(4):
            one = self._open.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()


class Mute:
    """A listener that accepts and never says a word; ``heard`` is what each connection was told first."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Listen until the other side has hung up."""
        self.heard.append(await reader.read(1))
        while await reader.read(1 << 16):
            pass
        writer.close()


async def here(host: str, port: int) -> Sequence[str]:
    """Know all names as loopback."""
    return ["127.0.0.1"]


def routes(lookup: Callable[[str, int], Awaitable[Sequence[str]]] = here, **options: object) -> Routes:
    """Return routes that need nothing of this machine."""
    return Routes(Tls({}, directories=(), **options), Proxies({}), lookup=lookup)  # type: ignore[arg-type]


def nothing_left(before: set[asyncio.Task[object]]) -> list[str]:
    """Return what still runs of what began after ``before``, but for the watchdog and the servers of a test."""
    gc.collect()  # sockets that nobody closed warn, and warnings are errors
    left = [str(task.get_coro()) for task in asyncio.all_tasks() - before]
    return [
        name for name in left if "Watchdog" not in name and "Listener." not in name and "Mute" not in name
    ]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_connection(clock: ManualClock, scheme: str) -> None:
    """A host that neither refuses nor accepts is given up after 30 seconds each, in as many rounds as any."""
    before = asyncio.all_tasks()
    with Full() as full:
        there = Repository(Registry(f"{NAME}:{full.port}"), "team/app")
        options = {"plain_http": [there.registry]} if scheme == "http" else {}
        began = clock.now()
        async with client(clock, routes=routes(), **options) as wire:
            with clock.autojump(0.004), pytest.raises(NetworkError) as caught:
                await wire.resolve(there, "v1")
            counts = sum(wire.counts()[there.registry].values())
    waited = clock.now() - began
    words = f"no connection to {NAME}:{full.port} within 30 s, after {ROUNDS_UNHEARD} tries"
    assert (True, 0, [], True) == (
        words in str(caught.value),
        counts,
        nothing_left(before),
        30 * ROUNDS_UNHEARD <= waited <= 31 * ROUNDS_UNHEARD + 20,
    )


async def test_no_address(clock: ManualClock) -> None:
    """A name server that never answers is part of it."""
    asked = []

    async def silent(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        await asyncio.Event().wait()
        return []

    there = Repository(Registry(NAME), "team/app")
    before = asyncio.all_tasks()
    async with client(clock, routes=routes(silent)) as wire:
        with clock.autojump(0.004), pytest.raises(NetworkError, match=f"no connection to {NAME} within 30 s"):
            await wire.resolve(there, "v1")
    assert ({NAME}, []) == (set(asked), nothing_left(before))


async def test_no_end_of_the_handshake(clock: ManualClock) -> None:
    """A host that takes the ClientHello and falls silent is given up in the same way, and named for it."""
    before = asyncio.all_tasks()
    mute = Mute()
    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        there = Repository(Registry(f"{NAME}:{port}"), "team/app")
        async with client(clock, routes=routes()) as wire:
            began = clock.now()
            with clock.autojump(0.004), pytest.raises(NetworkError) as caught:
                await wire.resolve(there, "v1")
            waited = clock.now() - began
    words = f"TLS handshake with {NAME}:{port} did not end within 30 s, after {ROUNDS_UNHEARD} tries"
    assert (True, [b"\x16"] * ROUNDS_UNHEARD, [], True) == (
        words in str(caught.value),
        mute.heard,
        nothing_left(before),
        30 * ROUNDS_UNHEARD <= waited <= 32 * ROUNDS_UNHEARD + 20,
    )


async def test_a_handshake_that_hangs_once(clock: ManualClock, authority: Authority) -> None:
    """The next try has a connection of its own, and the request is sent once."""
    connections = []
    tls = authority.server(NAME)

    async def second_time_lucky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        if len(connections) == 1:
            await Mute()(reader, writer)
            return
        await writer.start_tls(tls)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(second_time_lucky, "127.0.0.1", 0) as server:
        there = Repository(Registry(f"{NAME}:{server.sockets[0].getsockname()[1]}"), "team/app")
        async with client(clock, routes=routes(authority=authority.file)) as wire:
            with clock.autojump(0.004):
                await wire.resolve(there, "v1")
            counts = sum(wire.counts()[there.registry].values()), wire.retries.total()
    assert (2, (0, 1)) == (len(connections), counts)


async def test_an_answer_has_its_own_time(clock: ManualClock) -> None:
    """Silence on a connection is no lack of one: a minute, told as such."""

    async def silent(request: Request) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async with Raw(silent) as server, plain(server, clock) as wire:
        with clock.autojump(0.004), pytest.raises(NetworkError, match="no answer for 60 s"):
            await wire.resolve(at(server), "v1")


async def test_a_connection_that_is_kept_is_none_to_wait_for(clock: ManualClock) -> None:
    """The second request on a connection has a minute for its answer from the start."""

    async def once(request: Request) -> bytes | None:
        if len(server.requests) == 1:
            return OK
        await asyncio.Event().wait()
        return None

    async with Raw(once) as server, plain(server, clock) as wire:
        await wire.resolve(at(server), "v1")
        began = clock.now()
        with clock.autojump(0.004), pytest.raises(NetworkError, match="no answer for 60 s, after"):
            await wire.resolve(at(server), "v1")
        assert 60 * TRIES <= clock.now() - began
