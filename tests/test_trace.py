"""What is shown of requests: one record each, for people and for programs, and never a secret."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import TYPE_CHECKING

import pytest

from mmgraph.errors import RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.oci import digest_of
from mmgraph.registry.trace import Exchange, TraceFile
from tests.support.raw import Raw, answer, script
from tests.test_client import BLOB, client, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.raw import Request

SIGNATURE = "canary-signature"


def exchange(**changes: object) -> Exchange:
    """Return a record."""
    fields = {
        "time": 1_800_000_000.0,
        "registry": "r.example",
        "operation": "GET blob",
        "method": "GET",
        "url": "https://r.example/v2/a/blobs/x",
        "status": 200,
        "sent": 0,
        "received": 5,
        "seconds": 0.25,
        "attempt": 1,
    }
    return Exchange(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "GET https://r.example/v2/a/blobs/x: 200, 0 bytes out, 5 in, 0.25 s"),
        (
            {"status": 0, "received": 0, "error": "reset", "attempt": 2},
            "GET https://r.example/v2/a/blobs/x: no answer: reset, 0 bytes out, 0 in, 0.25 s (attempt 2)",
        ),
    ],
)
def test_a_line_for_people(changes: dict[str, object], expected: str) -> None:
    """What was asked, what came of it, how much, how long, and which attempt it was."""
    assert expected == exchange(**changes).line()


@pytest.mark.parametrize(
    ("changes", "failed"),
    [({}, False), ({"status": 503}, True), ({"status": 0}, True), ({"attempt": 2}, True)],
)
def test_what_counts_as_failed(changes: dict[str, object], failed: bool) -> None:
    """No answer, an error, and whatever was asked before are shown with one -v."""
    assert failed == exchange(**changes).failed


def test_a_trace_is_its_owners_alone(tmp_path: Path) -> None:
    """Mode 0600, also where a file that all may read was there before."""
    path = tmp_path / "t.jsonl"
    path.write_text("old")
    path.chmod(0o644)
    trace = TraceFile(path, print)
    trace(exchange())
    trace.close()
    found = (stat.S_IMODE(path.stat().st_mode), json.loads(path.read_text())["operation"])
    assert (0o600, "GET blob") == found


def test_a_trace_does_not_follow_a_link(tmp_path: Path) -> None:
    """Somebody else's symbolic link is no place to write to."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        TraceFile(tmp_path / "link", print)


async def test_every_request_is_heard_once() -> None:
    """A redirected blob: both requests, with status and bytes; the signature's value is starred."""
    heard: list[Exchange] = []
    async with Raw(script(answer(200, BLOB))) as storage:
        target = f"http://{storage.address}/b?X-Amz-Signature={SIGNATURE}"
        async with (
            Raw(script(answer(307, location=target))) as server,
            client(plain_http=[Registry(server.address)], heard=heard.append) as wire,
        ):
            await read(wire, Repository(Registry(server.address), "a"), BLOB)
    found = [(each.operation, each.status, each.received) for each in heard]
    expected = [("GET blob", 307, 0), ("redirect", 200, len(BLOB))]
    starred = [each.url.rpartition("?")[2] for each in heard[1:]]
    assert (expected, ["X-Amz-Signature=***"]) == (found, starred)


async def test_a_repeated_request_says_so() -> None:
    """The second attempt is numbered."""
    heard: list[Exchange] = []
    found = answer(200, docker_content_digest=digest_of(b"x"))
    async with (
        Raw(script(answer(503), found)) as server,
        client(plain_http=[Registry(server.address)], heard=heard.append) as wire,
    ):
        await wire.resolve(Repository(Registry(server.address), "a"), "v1")
    assert [(503, 1), (200, 2)] == [(each.status, each.attempt) for each in heard]


async def test_a_place_that_is_refused_is_heard() -> None:
    """A redirect that the rules on addresses forbid has a record that says so."""
    heard: list[Exchange] = []
    async with (
        Raw(script(answer(307, location="http://169.254.169.254/latest"))) as server,
        client(plain_http=[Registry(server.address)], heard=heard.append) as wire,
    ):
        with pytest.raises(RegistryError, match="nothing allows that"):
            await read(wire, Repository(Registry(server.address), "a"), BLOB)
    found = [(each.operation, each.status, "nothing allows that" in each.error) for each in heard]
    assert [("GET blob", 307, False), ("redirect", 0, True)] == found


async def test_what_is_cancelled_is_heard() -> None:
    """A request that is cancelled before its answer has a record that says so."""
    heard: list[Exchange] = []
    came = asyncio.Event()

    async def silent(_: Request) -> bytes:
        came.set()
        await asyncio.Event().wait()
        return b""

    async with (
        Raw(silent) as server,
        client(plain_http=[Registry(server.address)], heard=heard.append) as wire,
    ):
        asked = asyncio.create_task(wire.resolve(Repository(Registry(server.address), "a"), "v1"))
        await came.wait()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    assert [("HEAD manifest", 0, "cancelled")] == [
        (each.operation, each.status, each.error) for each in heard
    ]
