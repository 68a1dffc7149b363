"""Bad days of a source: bodies that break, lie, stall, drip, or are somebody else's; redirects that lead astray."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mmgraph.oci import OCI_INDEX, OCI_MANIFEST
from mmgraph.server import Cut, Flip, Rule
from mmgraph.store import Operation
from tests.scenarios.rows import Row
from tests.scenarios.stage import LARGE, SMALL
from tests.support.hostile import PASS, head, reply
from tests.support.images import digest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

HEAD, GET, BLOB = Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.GET_BLOB
PUT = Operation.PUT_BLOB

OBJECTS = {
    "blob small": (SMALL, BLOB),
    "blob streamed": (LARGE, BLOB),
    "manifest": (SMALL, GET),
    "index": (SMALL, GET),
}


def aim(stage: Stage, thing: str) -> tuple[bytes, str, Operation]:
    """Make the default image around ``thing``; return its bytes, its digest and how it is read."""
    stage.content, kind = OBJECTS[thing]
    root = stage.image()
    if kind is BLOB:
        return stage.content, digest(stage.content), kind
    index = stage.src.storage.manifest("app", root["digest"])
    assert index is not None
    if thing == "index":
        return index.raw, root["digest"], kind
    child = json.loads(index.raw)["manifests"][0]["digest"]
    manifest = stage.src.storage.manifest("app", child)
    assert manifest is not None
    return manifest.raw, child, kind


def spoil(
    thing: str, act: Callable[[Exchange, bytes], Awaitable[bytes | None]], count: int | None = 1
) -> Any:
    """Return an arrangement in which ``act`` answers the first ``count`` reads of ``thing``."""

    def arrange(stage: Stage) -> None:
        content, name, kind = aim(stage, thing)

        async def trick(exchange: Exchange) -> bytes | None:
            return await act(exchange, content)

        stage.src.trick(trick, kind, name=name, count=count)

    return arrange


def fault(thing: str, make: Callable[[bytes], Any], count: int | None = 1) -> Any:
    """Return an arrangement in which the source's own fault plan spoils the first reads of ``thing``."""

    def arrange(stage: Stage) -> None:
        content, name, kind = aim(stage, thing)
        stage.src.faults.add(Rule(make(content), kind=kind, name=name, count=count))

    return arrange


def media(content: bytes) -> str:
    """Return the Content-Type that a body needs."""
    if content in {SMALL, LARGE}:
        return "application/octet-stream"
    return OCI_INDEX if b'"manifests"' in content else OCI_MANIFEST


def typed(status: int, content: bytes, *headers: tuple[str, str]) -> bytes:
    """Return the head of an answer with ``content``'s type."""
    return head(status, ("Content-Type", media(content)), *headers)


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


async def chunked_short(exchange: Exchange, content: bytes) -> bytes | None:
    """Half of a chunked body, and no last chunk."""
    await exchange.send(
        typed(200, content, ("Transfer-Encoding", "chunked")) + chunk(content[: len(content) // 2])
    )
    return None


async def chunked_whole(exchange: Exchange, content: bytes) -> bytes | None:
    """A whole chunked body."""
    return typed(200, content, ("Transfer-Encoding", "chunked")) + chunk(content) + b"0\r\n\r\n"


async def unframed_short(exchange: Exchange, content: bytes) -> bytes | None:
    """Half of a body that nothing frames."""
    await exchange.send(typed(200, content) + content[: len(content) // 2])
    return None


def lengths(*differences: int) -> Any:
    """Return a trick that gives so many lengths, each so far off."""

    async def act(exchange: Exchange, content: bytes) -> bytes | None:
        lines = [("Content-Length", str(len(content) + more)) for more in differences]
        await exchange.send(typed(200, content, *lines) + content)
        return None

    return act


async def infinite(exchange: Exchange, content: bytes) -> bytes | None:
    """The content, and then more without end."""
    await exchange.send(typed(200, content, ("Transfer-Encoding", "chunked")) + chunk(content))
    filler = chunk(b"x" * 65_536)
    while True:
        await exchange.send(filler)
        exchange.host.poured += len(filler)


async def gzipped(exchange: Exchange, content: bytes) -> bytes | None:
    """The right bytes under a Content-Encoding that nobody asked for."""
    length = ("Content-Length", str(len(content)))
    return typed(200, content, ("Content-Encoding", "gzip"), length) + content


async def silence(exchange: Exchange, content: bytes) -> bytes | None:
    """The headers and a tenth of the body, then nothing."""
    length = ("Content-Length", str(len(content)))
    await exchange.send(typed(200, content, length) + content[: len(content) // 10])
    await exchange.hang()
    return None


async def no_answer(exchange: Exchange, content: bytes) -> bytes | None:
    """Not even headers."""
    await exchange.hang()
    return None


async def drip(exchange: Exchange, content: bytes) -> bytes | None:
    """A byte a second."""
    await exchange.send(typed(200, content, ("Content-Length", str(len(content)))))
    for byte in content:
        await exchange.send(bytes([byte]))
        await exchange.host.clock.sleep(1)
    return None


async def flap(exchange: Exchange, content: bytes) -> bytes | None:
    """A KiB from wherever it was asked, then nothing more."""
    start = int((exchange.headers.get("range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
    rest = content[start:]
    span = ("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    lines = [("Content-Length", str(len(rest))), *([span] if start else [])]
    await exchange.send(typed(206 if start else 200, content, *lines) + rest[:1024])
    return None


def resumed(second: Callable[[bytes, int], bytes], *, always: bool = False) -> Any:
    """Return an arrangement: a large blob breaks at 3 MB, and ``second`` answers the first range; ``always``: each."""

    def arrange(stage: Stage) -> None:
        content, name, _ = aim(stage, "blob streamed")
        stage.src.faults.add(Rule(Cut(3_000_000), kind=BLOB, name=name, count=None if always else 1))

        async def range_answer(exchange: Exchange) -> bytes | None:
            return second(content, 3_000_000) if "range" in exchange.headers else PASS

        stage.src.trick(range_answer, BLOB, name=name, skip=1, count=None if always else 1)

    return arrange


def partial(content: bytes, start: int, shown: str | None) -> bytes:
    """Return a 206 of ``content`` from ``start``, with a Content-Range of one's own."""
    lines = [("Content-Length", str(len(content) - start))]
    if shown is not None:
        lines.append(("Content-Range", shown))
    return head(206, *lines) + content[start:]


def changed(content: bytes, start: int) -> bytes:
    """Return the honest range of another blob."""
    other = content[:-1] + b"!"
    return partial(other, start, f"bytes {start}-{len(content) - 1}/{len(content)}")


# What must hold beyond the row's outcome


def nothing_written(stage: Stage, run: Run) -> object:
    """Of what is spoilt no whole body left, and no manifest that needs it."""
    whole = [one.received for one in stage.dst.select(PUT, digest(stage.content)) if not one.left]
    return whole or stage.dst.count(Operation.PUT_MANIFEST)


def reads(stage: Stage, *, most: int, kind: Operation = BLOB) -> object:
    """The source was not asked for one thing more often than ``most``."""
    names = [one.digest for one in stage.src.select(kind)]
    return {name: names.count(name) for name in names if names.count(name) > most}


def read_twice(stage: Stage, run: Run) -> object:
    """Nothing wrong is written, and no more than two readings are made."""
    return nothing_written(stage, run) or reads(stage, most=2)


def manifest_read_twice(stage: Stage, run: Run) -> object:
    """No manifest is read more than twice."""
    return reads(stage, most=2, kind=GET)


def resumed_by_range(stage: Stage, run: Run) -> object:
    """The second reading is of the rest alone, from where the first broke."""
    asked = [one.headers.get("range", "") for one in stage.src.select(BLOB, digest(stage.content))]
    return asked if asked != ["", f"bytes={len(stage.content) // 2}-"] else None


def poured_little(stage: Stage, run: Run) -> object:
    """What went beyond the end is what buffers hold, and no more."""
    return [stage.src.poured] if stage.src.poured > 64 << 20 else nothing_written(stage, run)


BODIES = (
    *(Row(1, "cl-short", thing, fault(thing, lambda content: Cut(len(content) // 2))) for thing in OBJECTS),
    Row(
        1,
        "cl-short",
        "each byte once",
        fault("blob streamed", lambda content: Cut(len(content) // 2)),
        check=resumed_by_range,
    ),
    *(Row(2, "chunked-short", thing, spoil(thing, chunked_short)) for thing in OBJECTS),
    *(Row(2, "chunked-whole", thing, spoil(thing, chunked_whole)) for thing in OBJECTS),
    *(
        Row(2, "unframed-short", thing, spoil(thing, unframed_short))
        for thing in ("blob small", "blob streamed")
    ),
    *(
        Row(
            4,
            "bit-flip",
            thing,
            fault(thing, lambda content: Flip(len(content) - 1), None),
            end="blocked",
            words=("sha256:",),
            again=1,
            check=read_twice,
        )
        for thing in ("blob small", "blob streamed")
    ),
    *(
        Row(4, "bit-flip", f"{thing} once", fault(thing, lambda content: Flip(len(content) - 1)), again=1)
        for thing in ("blob small", "blob streamed")
    ),
    *(
        Row(
            4,
            "bit-flip",
            thing,
            fault(thing, lambda content: Flip(40), None),
            end="failed",
            words=("sent other bytes", "after 2 tries"),
            check=manifest_read_twice,
        )
        for thing in ("manifest", "index")
    ),
    *(
        Row(4, "bit-flip", f"{thing} once", fault(thing, lambda content: Flip(40)), check=manifest_read_twice)
        for thing in ("manifest", "index")
    ),
    *(
        Row(
            7,
            "lying-length",
            f"{thing} {name}",
            spoil(thing, lengths(*by), None),
            end="blocked" if kind is BLOB else "failed",
            check=nothing_written,
        )
        for thing, (_, kind) in OBJECTS.items()
        for name, by in (("longer", (1,)), ("shorter", (-1,)), ("two", (0, 1)))
    ),
    *(
        Row(
            8,
            "infinite-body",
            thing,
            spoil(thing, infinite, None),
            end="blocked" if kind is BLOB else "failed",
            again=1,
            check=poured_little,
        )
        for thing, (_, kind) in OBJECTS.items()
    ),
    *(
        Row(10, "range-wrong-offset", name, resumed(second), again=1)
        for name, second in {
            "another start": lambda content, start: partial(
                content, start + 1, f"bytes {start + 1}-{len(content) - 1}/{len(content)}"
            ),
            "none": lambda content, start: partial(content, start, None),
            "another total": lambda content, start: partial(
                content, start, f"bytes {start}-{len(content) - 1}/{len(content) + 1}"
            ),
            "ignored": lambda content, start: reply(200, content),
            "refused": lambda content, start: reply(416),
        }.items()
    ),
    Row(11, "range-other-content", "once", resumed(changed), again=1),
    Row(
        11,
        "range-other-content",
        "for ever",
        resumed(changed, always=True),
        end="blocked",
        words=("sent other bytes",),
        again=1,
        check=nothing_written,
    ),
    Row(
        12,
        "flapping",
        "blob streamed",
        spoil("blob streamed", flap, None),
        end="blocked",
        words=("given up",),
        again=8,
        check=lambda stage, run: reads(stage, most=32),
    ),
    *(Row(13, "stall-src", f"{thing} body", spoil(thing, silence)) for thing in OBJECTS),
    *(Row(13, "stall-src", f"{thing} headers", spoil(thing, no_answer)) for thing in OBJECTS),
    *(Row(14, "drip-src", thing, spoil(thing, drip)) for thing in OBJECTS),
    Row(14, "drip-src", "for ever", spoil("blob streamed", drip, None), end="blocked", again=8),
    *(
        Row(
            17,
            "gzip-blob",
            thing,
            spoil(thing, gzipped, None),
            end="blocked" if kind is BLOB else "failed",
            words=("gzip",),
            check=nothing_written,
        )
        for thing, (_, kind) in OBJECTS.items()
    ),
)

ROWS = BODIES
