"""Bad days of a destination's answers: cut, endless, lying about their length, with headers too long to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmgraph.server import Cut, Drop, Rule
from mmgraph.store import Operation
from tests.scenarios.rows import Row
from tests.scenarios.stage import SMALL
from tests.scenarios.writing import PATH, location, trick
from tests.support.hostile import PASS, errors, head, reply

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

HEAD, TAGS = Operation.HEAD_MANIFEST, Operation.GET_TAGS
POST, PUT, PUT_MANIFEST = Operation.POST_UPLOAD, Operation.PUT_BLOB, Operation.PUT_MANIFEST


def without_end(status: int) -> Any:
    """Return a trick that answers ``status`` with a body that never ends."""

    async def act(exchange: Exchange) -> bytes | None:
        if "authorization" not in exchange.headers:
            return PASS
        await exchange.drain()
        await exchange.send(head(status, ("Transfer-Encoding", "chunked")))
        filler = b"10000\r\n" + b"[" * 65_536 + b"\r\n"
        while True:
            await exchange.send(filler)
            exchange.host.poured += len(filler)

    return act


def lying(status: int, *lines: tuple[str, str], body: bytes = b"") -> Any:
    """Return a trick that answers with these headers and this body, whatever they say of each other."""

    async def act(exchange: Exchange) -> bytes | None:
        if "authorization" not in exchange.headers:
            return PASS
        await exchange.drain()
        await exchange.send(head(status, *lines) + body)
        return None

    return act


def fault(action: Any, kind: Operation) -> Any:
    """Return an arrangement in which the fault plan spoils the first answer of a kind."""

    def arrange(stage: Stage) -> None:
        stage.image()
        stage.dst.faults.add(Rule(action, kind=kind, count=1))

    return arrange


def poured_little(stage: Stage, run: Run) -> object:
    """What went beyond any limit is what buffers hold, and no more."""
    return [stage.dst.poured] if stage.dst.poured > 64 << 20 else None


def padded(length: int) -> Callable[[str], str]:
    """Return what makes a Location of that many characters."""
    return lambda session: f"{PATH}{session}?_state=" + "x" * length


ROWS = (
    Row(1, "cl-short", f"DST {TAGS}", fault(Cut(1), TAGS)),
    *(Row(1, "cl-short", f"DST {kind} none", fault(Drop(), kind)) for kind in (HEAD, TAGS, POST)),
    Row(
        7,
        "lying-length",
        "DST two lengths",
        trick(lying(404, ("Content-Length", "0"), ("Content-Length", "5")), HEAD),
        end="failed",
    ),
    Row(
        7,
        "lying-length",
        "DST error cut",
        trick(lying(403, ("Content-Length", "4096"), body=errors("DENIED")), POST),
        end="blocked",
        words=("403",),
    ),
    *(
        Row(
            8,
            "infinite-body",
            f"DST {kind} {status}",
            trick(without_end(status), kind),
            end=end,
            check=poured_little,
        )
        for kind, status, end in (
            (TAGS, 200, "copied"),
            (TAGS, 404, "copied"),
            (POST, 403, "blocked"),
            (PUT, 400, "blocked"),
            (PUT_MANIFEST, 403, "blocked"),
        )
    ),
    Row(
        93,
        "header-limits",
        "upload at 30000",
        location(padded(30_000)),
    ),
    Row(
        93,
        "header-limits",
        "upload at 40000",
        location(padded(40_000)),
        end="blocked",
    ),
    Row(
        17,
        "gzip-answer",
        "DST HEAD",
        trick(reply(404, b"", ("Content-Encoding", "gzip")), HEAD, content=SMALL),
    ),
)
