"""Connections that are opened before they are needed: when, how many, and that none is in anybody's way."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import TYPE_CHECKING

from mmgraph.errors import NetworkError
from mmgraph.names import Registry, Repository
from mmgraph.registry.gate import Allowance
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from tests.support.listener import Listener
from tests.support.proxy import RecordingProxy
from tests.support.raw import Raw, Request, answer
from tests.test_client import digest_of
from tests.test_connection import at, client, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from mmgraph.registry.client import Client
    from tests.support.clock import ManualClock

FOUND = answer(200, docker_content_digest=digest_of(b"x"))
WAITING = 5


class Slow:
    """A registry that answers nobody until it is let; ``asked`` is set once somebody has asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, request: Request) -> bytes:
        """Wait, and then have everything."""
        self.asked.set()
        await self.go.wait()
        return FOUND


def look(asking: Client, repository: Repository, count: int) -> list[asyncio.Task[object]]:
    """Look at so many tags at once."""
    return [asyncio.create_task(asking.find(repository, f"v{number}")) for number in range(count)]


async def until(holds: Callable[[], bool]) -> None:
    """Return when it does: the sockets of this machine know no clock."""
    while not holds():
        await asyncio.sleep(0.001)


async def test_who_waits_for_the_scout_is_connected_meanwhile(clock: ManualClock) -> None:
    """While the first request is under way alone, each that waits for it gets a connection; all are used then."""
    slow = Slow()
    async with Raw(slow) as server, plain(server, clock) as asking:
        tasks = look(asking, at(server), 1 + WAITING)
        await until(lambda: server.connections == 1 + WAITING)
        await slow.asked.wait()  # spare connections may be accepted before the first request has been read
        meanwhile = len(server.requests)
        slow.go.set()
        await asyncio.gather(*tasks)
        found = (meanwhile, len(server.requests), server.connections)
    assert (1, 1 + WAITING, 1 + WAITING) == found


async def test_who_is_alone_opens_one(clock: ManualClock) -> None:
    """Where nobody waits nothing is opened beside the one connection."""
    slow = Slow()
    async with Raw(slow) as server, plain(server, clock) as asking:
        (task,) = look(asking, at(server), 1)
        await slow.asked.wait()
        slow.go.set()
        await task
        assert 1 == server.connections


async def test_none_is_left_behind(clock: ManualClock) -> None:
    """Who is stopped while spare connections are there, or still being opened, leaves none."""
    slow = Slow()
    async with Raw(slow) as server:
        async with plain(server, clock) as asking:
            tasks = look(asking, at(server), 1 + WAITING)
            await slow.asked.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        slow.go.set()
        await until(lambda: server.open == 0)
        left = [task for task in asyncio.all_tasks() if "Sessions._spare" in repr(task)]
    assert [] == left


async def test_what_cannot_be_opened_is_no_news(clock: ManualClock) -> None:
    """Where nobody listens each request says so for itself, and nothing else does."""
    nobody = Registry("127.0.0.1:1")
    async with client(clock, plain_http=[nobody]) as asking:
        tasks = look(asking, Repository(nobody, "team/app"), 1 + WAITING)
        while not all(task.done() for task in tasks):
            await clock.advance(1)
        errors = [type(task.exception()) for task in tasks]
    assert (1 + WAITING, True) == (
        len(errors),
        all(issubclass(each, NetworkError) for each in errors if each),
    )


async def test_a_name_that_cannot_be_asked_for_is_no_news(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A label of 64 characters fails as each request's own failure, and nobody finds an exception lying about."""
    nobody = Registry(f"{'a' * 64}.example")
    async with client(clock, plain_http=[nobody]) as asking:
        tasks = look(asking, Repository(nobody, "team/app"), 1 + WAITING)
        while not all(task.done() for task in tasks):
            await clock.advance(1)
        failed = sum(task.exception() is not None for task in tasks)
    gc.collect()
    assert (1 + WAITING, []) == (failed, caplog.messages)


async def test_none_where_requests_are_paced(clock: ManualClock) -> None:
    """Who lets a registry have a request a second does not open all connections at once."""
    slow = Slow()
    async with Raw(slow) as server:
        registry = Registry(server.address)
        async with plain(server, clock, allowances={registry: Allowance(per_second=1)}) as asking:
            tasks = look(asking, at(server), 1 + WAITING)
            await slow.asked.wait()
            await clock.advance(0.5)
            meanwhile = server.connections
            slow.go.set()
            while not all(task.done() for task in tasks):
                await clock.advance(1)
    assert 1 == meanwhile


class Grumpy(Listener):
    """A registry that tells connections on which nothing is asked 408, as HAProxy does, and leaves them open."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.told = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 0.05)
            except TimeoutError:
                writer.write(answer(408))
                self.told += 1
                await reader.read()
            else:
                await self.go.wait()
                while True:
                    writer.write(FOUND)
                    await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_what_was_said_before_anything_was_asked_is_no_answer(clock: ManualClock) -> None:
    """A connection on which the registry has spoken unasked is dropped, and no request is sent again for it."""
    async with Grumpy() as server:
        registry = Registry(server.address)
        async with client(clock, plain_http=[registry]) as asking:
            tasks = look(asking, Repository(registry, "team/app"), 1 + WAITING)
            await until(lambda: server.told == WAITING)
            await asyncio.sleep(0.01)  # until it has come here: nothing tells
            server.go.set()
            await asyncio.gather(*tasks)
            again = sum(asking.retries.values())
    assert 0 == again


async def test_none_through_a_proxy(clock: ManualClock) -> None:
    """A proxy is asked for what is needed, and sees no connection without a request."""
    slow, registry = Slow(), Registry("registry.example.com")
    async with Raw(slow) as server, RecordingProxy({"registry.example.com:80": server.address}) as proxy:
        routes = Routes(Tls({}, directories=()), Proxies({"HTTP_PROXY": f"http://{proxy.address}"}))
        async with client(clock, plain_http=[registry], routes=routes) as asking:
            tasks = look(asking, Repository(registry, "team/app"), 1 + WAITING)
            await slow.asked.wait()
            meanwhile = server.connections
            slow.go.set()
            await asyncio.gather(*tasks)
    assert 1 == meanwhile


async def test_to_wait_for_the_scout_is_no_strain(clock: ManualClock) -> None:
    """The window learns from how long answers take once asked for: all take a second here, so that it doubles."""
    held = list[asyncio.Event]()
    let = 0

    async def hold(request: Request) -> bytes:
        held.append(asyncio.Event())
        if let < 100:
            await held[-1].wait()
        return FOUND

    async with Raw(hold) as server, plain(server, clock) as asking:
        tasks = look(asking, at(server), 100)
        for let in (1, 1 + 33, 100):  # the scout; all that there is room for since; the rest
            await until(lambda: len(held) >= min(let, 34))  # noqa: B023
            await clock.advance(1)
            for event in held:
                event.set()
            await until(lambda: sum(task.done() for task in tasks) >= let)  # noqa: B023
            if let == 34:
                size = asking.traffic()[Registry(server.address)].read_window
    assert 66 == size
