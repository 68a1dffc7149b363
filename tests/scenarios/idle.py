"""Bad days of two at once: the source is slow, and the destination drops uploads that idle meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mmgraph.clock import within
from mmgraph.store import Operation
from tests.scenarios.reading import aim, typed
from tests.scenarios.rows import Row
from tests.scenarios.stage import LARGE
from tests.support.hostile import PASS
from tests.support.images import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

BLOB, PUT = Operation.GET_BLOB, Operation.PUT_BLOB
IDLE = 10.0
"""Seconds without a byte after which the destination hangs up."""
NAMED = digest(LARGE)


async def impatient(exchange: Exchange) -> bytes | None:
    """Hang up on an upload in which nothing came for a while; hand on what comes whole."""
    whole = b""
    while exchange.left:
        try:
            whole += await within(exchange.host.clock, IDLE, exchange.more())
        except TimeoutError:
            return None
    again = asyncio.StreamReader(limit=1 << 26)
    again.feed_data(whole)
    again.feed_eof()
    exchange.reader, exchange.left, exchange.received = again, len(whole), 0
    return PASS


def stalling(first: int, seconds: float | None) -> Any:
    """Return an arrangement: after ``first`` bytes the source is silent for ``seconds``, or for good, once."""

    def arrange(stage: Stage) -> None:
        content, name, kind = aim(stage, "blob streamed")

        async def stall(exchange: Exchange) -> bytes | None:
            await exchange.send(typed(200, content, ("Content-Length", str(len(content)))) + content[:first])
            await (stage.clock.sleep(seconds) if seconds is not None else asyncio.Event().wait())
            await exchange.send(content[first:])
            return None

        stage.src.trick(stall, kind, name=name, count=1)
        stage.dst.trick(impatient, PUT, name=name)

    return arrange


def healed(uploads: int, most: float) -> Callable[[Stage, Run], object]:
    """Return a check: so many uploads, each of a session of its own, and bytes read at most as often; in time."""

    def check(stage: Stage, run: Run) -> object:
        assert run.account is not None
        sessions = [one.path for one in stage.dst.select(PUT, NAMED)]
        read = run.account.downloaded / len(LARGE)
        waited = stage.clock.now() - 1000
        right = len(sessions) == len(set(sessions)) == uploads and read < uploads + 0.1 and waited <= most
        return None if right else (sessions, read, waited)

    return check


ROWS = (
    Row(
        16,
        "slow-src-idle-dst",
        "a pause after the first piece",
        stalling(2 << 20, 30),
        again=1,
        check=healed(2, 60),
    ),
    Row(
        16,
        "slow-src-idle-dst",
        "silence after the first piece",
        stalling(2 << 20, None),
        again=1,
        check=healed(2, 120),
    ),
    Row(
        16,
        "slow-src-idle-dst",
        "a pause before the first piece",
        stalling(0, 30),
        check=healed(1, 60),
    ),
    Row(
        16,
        "slow-src-idle-dst",
        "silence before the first piece",
        stalling(0, None),
        check=healed(1, 120),
    ),
)
