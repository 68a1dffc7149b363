"""What a fault plan does to requests, and which requests it picks."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from mmgraph.server import (
    Cut,
    Delay,
    Drop,
    FaultPlan,
    Flip,
    Headers,
    MemoryStorage,
    Redirect,
    Refuse,
    RegistryServer,
    Rule,
    Stall,
)
from mmgraph.store import Operation
from tests.support.clock import ManualClock
from tests.test_server import MANIFEST, TIMEOUT, Client, digest_of, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONTENT = bytes(range(256)) * 4096
DIGEST = digest_of(CONTENT)
BLOB = f"/v2/a/blobs/{DIGEST}"


@asynccontextmanager
async def faulty(*rules: Rule, seed: int = 0) -> AsyncIterator[tuple[RegistryServer, Client]]:
    """Start a registry that holds a blob of 1 MiB and an image, and do wrong from then on."""
    plan = FaultPlan(seed=seed)
    async with (
        aiohttp.ClientSession(auto_decompress=False, timeout=TIMEOUT) as session,
        RegistryServer(MemoryStorage(), faults=plan) as server,
    ):
        client = Client(session, server.url)
        await client.push_blob("a", CONTENT)
        await client.push_image("a", "1")
        server.log.clear()
        for rule in rules:
            plan.add(rule)
        yield server, client


async def test_refusal() -> None:
    """A refused request has the status, the code and the headers of the plan."""
    refuse = Refuse(429, "TOOMANYREQUESTS", {"Retry-After": "7"})
    async with faulty(Rule(refuse, kind=Operation.GET_BLOB)) as (_, client):
        reply = await client.ask("GET", BLOB)

        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (429, "TOOMANYREQUESTS", "7")


async def test_refusal_with_a_body() -> None:
    """A refusal can have any body."""
    async with faulty(Rule(Refuse(503, body=b"<html>"))) as (_, client):
        reply = await client.ask("GET", "/v2/")

        assert (reply.status, reply.body) == (503, b"<html>")


async def test_refused_request_has_no_effect() -> None:
    """What is refused is not done."""
    async with faulty(Rule(Refuse(500), kind=Operation.PUT_MANIFEST)) as (server, client):
        await client.push_manifest("a", "2", {})

        assert ["1"] == list(server.storage.tags("a"))


@pytest.mark.parametrize(
    ("rule", "hits"),
    [
        (Rule(Refuse(500)), [1, 1, 1, 1]),
        (Rule(Refuse(500), count=2), [1, 1, 0, 0]),
        (Rule(Refuse(500), skip=1, count=1), [0, 1, 0, 0]),
        (Rule(Refuse(500), skip=3), [0, 0, 0, 1]),
        (Rule(Refuse(500), kind=Operation.GET_TAGS), [0, 0, 0, 0]),
        (Rule(Refuse(500), method="HEAD"), [0, 0, 0, 0]),
        (Rule(Refuse(500), repository="b*"), [0, 0, 0, 0]),
        (Rule(Refuse(500), repository="?", name="sha256:*"), [1, 1, 1, 1]),
        (Rule(Refuse(500), name="latest"), [0, 0, 0, 0]),
        (Rule(Refuse(500), probability=0), [0, 0, 0, 0]),
    ],
)
async def test_rule_picks(rule: Rule, hits: list[int]) -> None:
    """A rule hits the requests that match it, from the first to the last that it counts."""
    async with faulty(rule) as (server, client):
        statuses = [(await client.ask("GET", BLOB)).status for _ in range(4)]

        assert [500 if hit else 200 for hit in hits] == statuses
        assert (sum(hits),) == server.faults.fired


async def test_rule_picks_mounts() -> None:
    """A rule can hit mounts and spare plain uploads."""
    async with faulty(Rule(Refuse(403, "DENIED"), kind=Operation.POST_UPLOAD, mount=True)) as (_, client):
        mount = await client.ask("POST", f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a")
        plain = await client.ask("POST", "/v2/b/blobs/uploads/")

        assert (mount.status, plain.status) == (403, 202)


async def test_probability_is_repeatable() -> None:
    """The same seed hits the same requests."""
    plans = [FaultPlan([Rule(Drop(), probability=0.5)], seed=7) for _ in range(2)]
    hits = [[plan.actions("GET", Operation.GET_BLOB) for _ in range(64)] for plan in plans]

    assert hits[0] == hits[1]
    assert 0 < plans[0].fired[0] < 64


async def test_cleared_plan() -> None:
    """A plan that has been cleared does nothing."""
    async with faulty(Rule(Refuse(500))) as (server, client):
        server.faults.clear()

        assert 200 == (await client.ask("GET", BLOB)).status


async def test_delay() -> None:
    """A delayed request waits on the server's clock and is answered after it."""
    clock = ManualClock()
    plan = FaultPlan([Rule(Delay(30))])
    async with RegistryServer(MemoryStorage(), faults=plan, clock=clock) as server, talk(server) as client:
        asking = asyncio.create_task(client.ask("GET", "/v2/"))
        while not clock.waiting:
            await asyncio.sleep(0)
        assert not asking.done()
        await clock.advance(30)

        assert 200 == (await asking).status


@pytest.mark.parametrize("after", [0, 1, 300_000, len(CONTENT) - 1])
async def test_cut_answer(after: int) -> None:
    """An answer is cut after so many bytes of its body, and the log counts them."""
    async with faulty(Rule(Cut(after), kind=Operation.GET_BLOB)) as (server, client):
        received = bytearray()
        async with client.session.get(client.base + BLOB) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await _read_into(received, answer)
        entry = server.log.select(Operation.GET_BLOB)[0]

        assert CONTENT[:after] == received
        assert (after, 0, "Cut") == (entry.bytes_sent, entry.status, entry.fault)


async def _read_into(received: bytearray, answer: aiohttp.ClientResponse) -> None:
    async for piece in answer.content.iter_any():
        received += piece


async def test_cut_request() -> None:
    """A request is cut after so many bytes of its body, and the session keeps them."""
    async with faulty(Rule(Cut(100, request=True), kind=Operation.PATCH_UPLOAD)) as (server, client):
        opened = await client.ask("POST", "/v2/a/blobs/uploads/")
        with pytest.raises(aiohttp.ClientError):
            await client.ask("PATCH", opened.headers["Location"], CONTENT)
        status = await client.ask("GET", opened.headers["Location"])

        assert "0-99" == status.headers["Range"]
        assert 100 == server.log.bytes_received(Operation.PATCH_UPLOAD)


async def test_dropped_request() -> None:
    """A request dropped before it was done has no effect and no answer."""
    async with faulty(Rule(Drop(), kind=Operation.POST_UPLOAD)) as (server, client):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.ask("POST", "/v2/a/blobs/uploads/")

        assert 0 == server.open_sessions


async def test_lost_answer() -> None:
    """A request whose answer is lost has its effect."""
    async with faulty(Rule(Drop(effect=True), kind=Operation.POST_UPLOAD)) as (server, client):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.ask("POST", f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a")

        assert 200 == (await client.ask("HEAD", f"/v2/b/blobs/{DIGEST}")).status
        assert [entry.status for entry in server.log.select(Operation.POST_UPLOAD)] == [0]


@pytest.mark.parametrize("offset", [0, 300_000, len(CONTENT) - 1])
async def test_flipped_byte(offset: int) -> None:
    """A spoilt blob differs in the one byte."""
    async with faulty(Rule(Flip(offset), kind=Operation.GET_BLOB)) as (_, client):
        body = (await client.ask("GET", BLOB)).body

        assert [offset] == [place for place in range(len(CONTENT)) if body[place] != CONTENT[place]]


async def test_changed_headers() -> None:
    """Headers are set, changed or left out as the plan says."""
    change = Headers(
        {"docker-content-digest": None, "Content-Type": f"{MANIFEST}; charset=utf-8", "X-New": "1"}
    )
    async with faulty(Rule(change, kind=Operation.GET_MANIFEST)) as (_, client):
        reply = await client.ask("GET", "/v2/a/manifests/1")

        assert "Docker-Content-Digest" not in reply.headers
        assert (f"{MANIFEST}; charset=utf-8", "1") == (reply.headers["Content-Type"], reply.headers["X-New"])


async def test_redirect() -> None:
    """A blob is redirected to wherever the plan says."""
    there = Redirect("http://cdn.example:1/{repository}/{name}?token=x")
    async with faulty(Rule(there, kind=Operation.GET_BLOB)) as (_, client):
        reply = await client.ask("GET", BLOB)

        assert (307, f"http://cdn.example:1/a/{DIGEST}?token=x") == (reply.status, reply.headers["Location"])


@pytest.mark.parametrize("stall", [Stall(), Stall(300_000), Stall(request=True)])
async def test_stall(stall: Stall) -> None:
    """A stalled request is logged at once, does not end by itself, and does not hold up the server's end."""
    async with faulty(Rule(stall, kind=Operation.GET_BLOB)) as (server, client):
        asking = asyncio.create_task(client.ask("GET", BLOB))
        await server.log.reached(Operation.GET_BLOB)

        assert not asking.done()
        assert stall.after == server.log.bytes_sent(Operation.GET_BLOB)
        await server.stop()
        with pytest.raises(aiohttp.ClientError):
            await asking


async def test_stalled_upload() -> None:
    """An upload stalls after so many bytes of its body."""
    async with faulty(Rule(Stall(100, request=True), kind=Operation.PATCH_UPLOAD)) as (server, client):
        opened = await client.ask("POST", "/v2/a/blobs/uploads/")
        asking = asyncio.create_task(client.ask("PATCH", opened.headers["Location"], CONTENT))
        await server.log.reached(Operation.PATCH_UPLOAD)

        assert 100 == server.log.bytes_received(Operation.PATCH_UPLOAD)
        await server.stop()
        with pytest.raises(aiohttp.ClientError):
            await asking


async def test_two_rules() -> None:
    """Every rule that fires does its action."""
    rules = (Rule(Flip(), kind=Operation.GET_BLOB), Rule(Headers({"X-New": "1"})))
    async with faulty(*rules) as (_, client):
        reply = await client.ask("GET", BLOB)

        assert (CONTENT[0] ^ 1, "1") == (reply.body[0], reply.headers["X-New"])


async def test_requests_at_one_time() -> None:
    """The log knows how many requests were being answered at one time."""
    async with faulty(Rule(Stall(), kind=Operation.PING)) as (server, client):
        asking = [asyncio.create_task(client.ask("GET", "/v2/")) for _ in range(3)]
        await server.log.reached(Operation.PING, 3)

        assert (server.log.running, server.log.peak) == (3, 3)
        await server.stop()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_refusal_is_the_specs_json() -> None:
    """The plan's refusals look like a registry's."""
    async with faulty(Rule(Refuse(403, "DENIED"))) as (_, client):
        body = json.loads((await client.ask("GET", "/v2/")).body)

        assert [error["code"] for error in body["errors"]] == ["DENIED"]
