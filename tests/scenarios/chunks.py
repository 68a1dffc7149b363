"""Bad days of a destination that is sent blobs in chunks: offsets, odd answers, least lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgraph.names import Digest, Registry
from mmgraph.server import Drop, Headers, Quirks, Rule
from mmgraph.store import Operation
from tests.scenarios.rows import Row
from tests.scenarios.stage import LARGE, SMALL
from tests.support.hostile import PASS, errors, head, reply
from tests.support.images import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

POST, PATCH, STATUS, PUT = (
    Operation.POST_UPLOAD,
    Operation.PATCH_UPLOAD,
    Operation.GET_UPLOAD,
    Operation.PUT_BLOB,
)
CHUNKS = {"blob small": (SMALL, 1000), "blob streamed": (LARGE, 1 << 20)}
"""What is sent, and in chunks of how many bytes."""
STORAGE = "storage.example"


def chunked(thing: str, *rules: Rule, content: bytes = b"") -> Any:
    """Return an arrangement: the destination is sent chunks, and its own fault plan spoils some."""

    def arrange(stage: Stage) -> None:
        stage.content, chunk = CHUNKS[thing]
        stage.content = content or stage.content
        stage.options["chunks"] = {Registry(stage.dst.name): chunk}
        stage.image()
        for rule in rules:
            stage.dst.faults.add(rule)

    return arrange


def lost(thing: str) -> Any:
    """Return an arrangement: the second chunk is refused for its offset, and the session is not there any more."""

    def arrange(stage: Stage) -> None:
        chunked(thing)(stage)
        stage.dst.trick(reply(416, errors("BLOB_UPLOAD_INVALID")), PATCH, skip=1, count=1)
        stage.dst.trick(reply(404, errors("BLOB_UPLOAD_UNKNOWN")), STATUS, count=1)

    return arrange


def each_byte_once(asked: int) -> Callable[[Stage, Run], object]:
    """Return a check: the registry took each byte of the blob once, and was asked ``asked`` times where it stood."""

    def check(stage: Stage, run: Run) -> object:
        assert stage.dst.backend is not None
        log = stage.dst.backend.log
        taken = sum(one.bytes_received for one in log.select(PATCH) if one.status != 416)
        found = (
            taken,
            stage.dst.count(STATUS),
            [one.received for one in stage.dst.select(PUT, digest(stage.content))],
        )
        return found if found != (len(stage.content), asked, [0]) else None

    return check


def two_sessions(stage: Stage, run: Run) -> object:
    """The blob was begun anew, once."""
    sessions = {one.name for one in stage.dst.select(PATCH)}
    return sessions if len(sessions) != 2 else None


def chunks_of(*sizes: int) -> Callable[[Stage, Run], object]:
    """Return a check: chunks of these sizes were sent, and no others."""

    def check(stage: Stage, run: Run) -> object:
        found = [one.received for one in stage.dst.select(PATCH)]
        return found if found != list(sizes) else None

    return check


async def at_storage(stage: Stage) -> None:
    """Chunks and commit go to another host, which puts the blob where it belongs."""
    chunked("blob streamed")(stage)
    other = await stage.internet.host(STORAGE)
    held = bytearray()
    place = f"http://{STORAGE}/v2/app/blobs/uploads/{7:032x}?sig=CANARY%2Fsignature"

    async def open_session(exchange: Exchange) -> bytes | None:
        if (
            exchange.headers.get("authorization") != stage.dst.basic
            or digest(stage.content) not in exchange.query
        ):
            return PASS
        return head(202, ("Location", place), ("Content-Length", "0"))

    async def take(exchange: Exchange) -> bytes | None:
        if not exchange.headers.get("content-range", "").startswith(f"{len(held)}-"):
            return reply(416)
        while piece := await exchange.more():
            held.extend(piece)
        return reply(202, b"", ("Location", place), ("Range", f"0-{len(held) - 1}"))

    async def commit(exchange: Exchange) -> bytes | None:
        upload = stage.dst.storage.upload("app")
        upload.write(bytes(held))
        return reply(201 if upload.commit(Digest(exchange.digest)) else 400)

    stage.dst.trick(open_session, POST)
    other.trick(take, PATCH)
    other.trick(commit, PUT)


def bare(stage: Stage, run: Run) -> object:
    """Nothing that was sent to the other host says who sent it, and it was sent chunks."""
    asked = stage.internet.hosts[STORAGE].asked
    return [one.headers for one in asked if "authorization" in one.headers] or len(asked) != 6


ROWS = (
    *(
        Row(
            45,
            "patch-416",
            f"answer lost {thing}",
            chunked(thing, Rule(Drop(effect=True), kind=PATCH, skip=1, count=1)),
            check=each_byte_once(1),
        )
        for thing in CHUNKS
    ),
    *(
        Row(
            45,
            "patch-416",
            f"names fewer than it has {thing}",
            chunked(thing, Rule(Headers({"Range": "0-499"}), kind=PATCH, count=1)),
            check=each_byte_once(1),
        )
        for thing in CHUNKS
    ),
    *(Row(45, "patch-416", f"session lost {thing}", lost(thing), check=two_sessions) for thing in CHUNKS),
    *(
        Row(
            46,
            "patch-201",
            thing,
            chunked(thing),
            settings={"quirks": Quirks(patch_status=201)},
            check=each_byte_once(0),
        )
        for thing in CHUNKS
    ),
    Row(
        47,
        "chunk-min",
        "16 MiB",
        chunked("blob streamed", content=LARGE * 4),
        settings={"quirks": Quirks(least_chunk=16 << 20)},
        check=chunks_of(16 << 20, 4 << 20),
    ),
    *(
        Row(
            47,
            "chunk-min",
            f"absurd {thing}",
            chunked(thing),
            end="blocked",
            words=("asks for chunks of at least 1000000000000000000 bytes", "without upload-chunk"),
            settings={"quirks": Quirks(least_chunk=10**18)},
            check=chunks_of(),
        )
        for thing in CHUNKS
    ),
    Row(41, "loc-other-host", "public in chunks", at_storage, check=bare),
)
