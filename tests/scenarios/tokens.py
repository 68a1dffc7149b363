"""Bad days of tokens: they run out, lie about their lives, have no end, or are to be fetched from a stranger."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmgraph.store import Operation
from tests.scenarios.rows import Row
from tests.scenarios.stage import LARGE
from tests.support.hostile import PASS, errors, head, reply
from tests.support.images import digest

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

BLOB = Operation.GET_BLOB
PUT = Operation.PUT_BLOB
TOKEN = Operation.TOKEN
BEARER = {"wants": "bearer"}


def slow_source(seconds: float) -> Any:
    """Return an arrangement: a large blob comes in pieces, over that many seconds."""

    def arrange(stage: Stage) -> None:
        stage.content = LARGE
        stage.image()

        async def slowly(exchange: Exchange) -> bytes | None:
            if exchange.headers.get("authorization") != stage.src.basic:
                return PASS
            await exchange.send(head(200, ("Content-Length", str(len(LARGE)))))
            for at in range(0, len(LARGE), 1 << 18):
                await exchange.send(LARGE[at : at + (1 << 18)])
                await stage.clock.sleep(seconds / 20)
            return None

        stage.src.trick(slowly, BLOB, name=digest(LARGE))

    return arrange


def tokens(claims: dict[str, object]) -> Any:
    """Return an arrangement: the destination's token service says this of each token."""

    def arrange(stage: Stage) -> None:
        stage.image()

        async def issue(exchange: Exchange) -> bytes | None:
            if exchange.headers.get("authorization") != stage.dst.basic:
                return PASS
            issued = stage.dst.issue()
            said = issued | {"access_token": issued["token"]} | claims
            return reply(
                200, json.dumps({key: value for key, value in said.items() if value is not None}).encode()
            )

        stage.dst.trick(issue, TOKEN)

    return arrange


def few_tokens(most: int) -> Callable[[Stage, Run], object]:
    """Return a check that no more tokens were asked for."""
    return lambda stage, run: max(0, stage.dst.count(TOKEN) - most)


def token_storm(stage: Stage) -> None:
    """All tokens are worthless from the middle on."""
    for number in range(40):
        stage.image(b"layer %d" % number, repository=f"app{number % 2}", tag=f"v{number}")

    async def revoke(exchange: Exchange) -> bytes | None:
        stage.dst.tokens.clear()
        return PASS

    stage.dst.trick(revoke, PUT, skip=10, count=1)


def one_a_scope(stage: Stage, run: Run) -> object:
    """Each set of scopes was asked for once, and once more after all were revoked."""
    asked = [one.query for one in stage.dst.select(TOKEN)]
    return {query: asked.count(query) for query in asked if asked.count(query) > 2}


async def endless(exchange: Exchange) -> bytes | None:
    """A token without end."""
    await exchange.send(head(200, ("Transfer-Encoding", "chunked")) + b'a\r\n{"token":"\r\n')
    filler = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    while True:
        await exchange.send(filler)
        exchange.host.poured += len(filler)


def token_huge(stage: Stage) -> None:
    """A token body without end."""
    stage.image()
    stage.dst.trick(endless, TOKEN)


def realm(url: str, *, host: str = "", trusted: bool = False) -> Any:
    """Return an arrangement: the destination names a token service of its choice."""

    async def arrange(stage: Stage) -> None:
        stage.dst.wants, stage.dst.realm = "bearer", url
        if host:
            service = await stage.internet.host(host)
            if trusted:
                service.lent.add(stage.dst.basic)

            async def issue(exchange: Exchange) -> bytes | None:
                if trusted and exchange.headers.get("authorization") != stage.dst.basic:
                    return reply(401, errors("UNAUTHORIZED"))
                return reply(200, json.dumps(stage.dst.issue()).encode())

            service.trick(issue)
        if trusted:
            stage.options["trust"] = stage.trust(realm=f"{stage.dst.name}={host}:80")
        stage.image()

    return arrange


def no_password_at(host: str) -> Callable[[Stage, Run], object]:
    """Return a check that ``host`` was asked anonymously, and that the way out was named."""

    def check(stage: Stage, run: Run) -> object:
        told = [one.headers for one in stage.internet.hosts[host].asked if "authorization" in one.headers]
        return told or (None if "--trust-realm" in run.output else ["the option is not named"])

    return check


def strangers(stage: Stage, run: Run) -> object:
    """Nobody else was asked."""
    return stage.internet.strangers


SKEWS: dict[str, dict[str, object]] = {
    "from the future": {"issued_at": "2099-01-01T00:00:00Z"},
    "from the past": {"issued_at": "1999-01-01T00:00:00Z"},
    "life 0": {"expires_in": 0},
    "life negative": {"expires_in": -1},
    "life endless": {"expires_in": 10**12},
    "life in words": {"expires_in": "soon"},
    "life as text": {"expires_in": "300"},
    "life as list": {"expires_in": []},
    "life missing": {"expires_in": None},
    "date in words": {"issued_at": "yesterday"},
}

TOKENS = (
    Row(52, "token-expires", "60 s", slow_source(150), settings=BEARER | {"life": 60.0}, requests=90),
    Row(52, "token-expires", "2 s", slow_source(30), settings=BEARER | {"life": 2.0}, requests=90, again=1),
    *(
        Row(53, "token-skew", case, tokens(claims), settings=BEARER, check=few_tokens(6))
        for case, claims in SKEWS.items()
    ),
    Row(53, "token-skew", "access_token", tokens({"token": None}), settings=BEARER),
    Row(55, "token-storm", "revoked", token_storm, settings=BEARER, requests=400, again=1, check=one_a_scope),
    Row(
        56,
        "token-huge",
        "no end",
        token_huge,
        end="failed",
        settings=BEARER,
        check=lambda stage, run: stage.dst.poured > 64 << 20,
    ),
    Row(
        57,
        "realm-other-host",
        "attacker",
        realm("http://attacker.test/token", host="attacker.test"),
        check=no_password_at("attacker.test"),
    ),
    *(
        Row(57, "realm-other-host", name, realm(f"http://{name}/token"), end="failed", check=strangers)
        for name in (
            "127.0.0.1:9",
            "169.254.169.254",
            "[::1]:9",
            "2130706433",
            "0177.0.0.1",
            "metadata.google.internal",
        )
    ),
    Row(
        58,
        "realm-split-private",
        "opted in",
        realm("http://auth.corp.internal/token", host="auth.corp.internal", trusted=True),
        check=lambda stage, run: [
            one.headers
            for one in stage.internet.hosts["auth.corp.internal"].asked
            if one.headers.get("authorization") != stage.dst.basic
        ],
    ),
    Row(
        58,
        "realm-split-private",
        "not opted in",
        realm("http://auth.corp.internal/token", host="auth.corp.internal"),
        end="failed",
        words=("--trust-realm",),
        check=lambda stage, run: stage.internet.hosts["auth.corp.internal"].asked,
    ),
)

ROWS = TOKENS
