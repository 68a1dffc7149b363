"""Bad days of a destination: sessions that get lost, commits without an answer, parts that vanish, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmgraph.names import Digest
from mmgraph.server import Cut, Drop, Rule
from mmgraph.store import Operation
from tests.scenarios.reading import aim
from tests.scenarios.rows import Row
from tests.scenarios.stage import DESTINATION, LARGE, SMALL
from tests.support.hostile import PASS, errors, head, reply
from tests.support.images import digest

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

HEAD, GET, BLOB = Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.GET_BLOB
HEAD_BLOB, POST, PUT, PUT_MANIFEST = (
    Operation.HEAD_BLOB,
    Operation.POST_UPLOAD,
    Operation.PUT_BLOB,
    Operation.PUT_MANIFEST,
)
BLOBS = {"blob small": SMALL, "blob streamed": LARGE}
MANIFESTS = ("manifest", "tag")
"""What is put by digest, and what by tag: the child and the index."""


def put_name(stage: Stage, thing: str) -> tuple[Operation, str]:
    """Make the default image around ``thing``; return how and under what name it is put."""
    if thing in BLOBS:
        aim(stage, thing)
        return PUT, digest(stage.content)
    root = stage.image()
    if thing == "tag":
        return PUT_MANIFEST, "v1"
    held = stage.src.storage.manifest("app", root["digest"])
    assert held is not None
    return PUT_MANIFEST, json.loads(held.raw)["manifests"][0]["digest"]


PUTS = (*BLOBS, *MANIFESTS)


def fault(thing: str, action: Any, count: int | None = 1) -> Any:
    """Return an arrangement in which the destination's own fault plan spoils the first writes of ``thing``."""

    def arrange(stage: Stage) -> None:
        kind, name = put_name(stage, thing)
        stage.dst.faults.add(Rule(action, kind=kind, name=name, count=count))

    return arrange


def everywhere(action: Any, kind: Operation, content: bytes = SMALL, count: int | None = 1) -> Any:
    """Return an arrangement in which the destination spoils the first requests of one kind."""

    def arrange(stage: Stage) -> None:
        stage.image(content)
        stage.dst.faults.add(Rule(action, kind=kind, count=count))

    return arrange


def once_sent(stage: Stage, run: Run) -> object:
    """The blob was sent once."""
    sent = stage.sent_blobs().get(digest(stage.content), [])
    return sent if sent != [len(stage.content)] else None


def trick(act: Any, kind: Operation | None, *, content: bytes = SMALL, **where: Any) -> Any:
    """Return an arrangement with a trick at the destination."""

    def arrange(stage: Stage) -> None:
        stage.content = content
        stage.image()
        stage.dst.trick(act, kind, **where)

    return arrange


# Sessions


def location(make: Callable[[str], str], content: bytes = SMALL) -> Any:
    """Return an arrangement: each upload's Location is what ``make`` makes of the session's name."""

    def arrange(stage: Stage) -> None:
        stage.content = content
        stage.image()

        async def open_session(exchange: Exchange) -> bytes | None:
            if exchange.headers.get("authorization") != stage.dst.basic:
                return PASS
            session = f"{len(stage.dst.asked):032x}"
            return head(202, ("Location", make(session)), ("Content-Length", "0"))

        async def commit(exchange: Exchange) -> bytes | None:
            body = b""
            while piece := await exchange.more():
                body += piece
            upload = stage.dst.storage.upload("app")
            upload.write(body)
            if not upload.commit(Digest(exchange.digest)):
                return reply(400, errors("DIGEST_INVALID"))
            return reply(201, b"", ("Location", f"/v2/app/blobs/{exchange.digest}"))

        stage.dst.trick(open_session, POST)
        for host in stage.internet.hosts.values():
            if host is not stage.src:
                host.trick(commit, PUT)
                host.trick(commit, None, name="sha256:*", where=in_session)

    return arrange


def in_session(exchange: Exchange) -> bool:
    """Whether a blob is committed there, wherever Location has sent it."""
    return exchange.method == "PUT" and "/blobs/uploads" in exchange.path


def kept(target: str) -> Callable[[Stage, Run], object]:
    """Return a check that the commit went to ``target``, with the session's name and the digest put in."""

    def check(stage: Stage, run: Run) -> object:
        puts = [one.target for one in stage.dst.asked if one.method == "PUT" and "manifests" not in one.path]
        wanted = [
            target.split("{session}", maxsplit=1)[0] in one and one.rpartition("digest=")[0][-1] in "?&"
            for one in puts
        ]
        return puts if not puts or not all(wanted) else None

    return check


def at_storage(where: str, *, inner: bool = False, trust: str = "") -> Any:
    """Return an arrangement: uploads go on at another host."""

    async def arrange(stage: Stage) -> None:
        if not inner:
            await stage.internet.host(where)
        if trust:
            stage.options["trust"] = stage.trust(upload=f"{stage.dst.name}={trust}")
        location(lambda session: f"http://{where}/v2/app/blobs/uploads/{session}?sig=CANARY%2Fsignature")(
            stage
        )

    return arrange


def bare_there(host: str) -> Callable[[Stage, Run], object]:
    """Return a check that what went to ``host`` says nothing of who sent it."""

    def check(stage: Stage, run: Run) -> object:
        asked = stage.internet.hosts[host].asked
        return [one.headers for one in asked if "authorization" in one.headers] or (
            None if asked else ["nobody"]
        )

    return check


def only_registries(stage: Stage, run: Run) -> object:
    """Nobody else was asked."""
    return stage.internet.strangers


async def refuse_early(exchange: Exchange, code: int) -> bytes | None:
    """A refusal after a thousand bytes of the body; what still comes is taken, as servers linger."""
    await exchange.drain(1000)
    await exchange.send(
        reply(code, errors("DENIED" if code == 403 else "SIZE_INVALID"), ("Connection", "close"))
    )
    await exchange.drain()
    return None


async def cut_half(exchange: Exchange) -> bytes | None:
    """Half of the body is read, then the connection ends."""
    await exchange.drain(exchange.left // 2)
    return None


def no_empty_body(stage: Stage, run: Run) -> object:
    """Two requests were on the wire, each in a session of its own, none without a body."""
    puts = stage.dst.select(PUT, digest(stage.content))
    sessions = {one.name for one in puts}
    return (
        [one.received for one in puts]
        if len(puts) != 2 or len(sessions) != 2 or not all(one.received for one in puts)
        else None
    )


def stopped_at_once(stage: Stage, run: Run) -> object:
    """One request, and of a large body the smaller part."""
    sent = [one.received for one in stage.dst.select(PUT, digest(stage.content))]
    return sent if len(sent) != 1 or (stage.content is LARGE and sent[0] > len(LARGE) // 2) else None


PATH = "/v2/app/blobs/uploads/"
SESSIONS = (
    Row(40, "loc-relative", "name", location(lambda session: session), check=kept(PATH)),
    Row(40, "loc-relative", "absolute path", location(lambda session: PATH + session), check=kept(PATH)),
    Row(
        40, "loc-relative", "query only", location(lambda session: f"?s={session}"), check=kept(f"{PATH}?s=")
    ),
    Row(
        40,
        "loc-relative",
        "no scheme",
        location(lambda session: f"//{DESTINATION}{PATH}{session}"),
        check=kept(PATH),
    ),
    Row(41, "loc-other-host", "public", at_storage("storage.example"), check=bare_there("storage.example")),
    *(
        Row(
            41,
            "loc-other-host",
            name,
            at_storage(name, inner=True),
            end="blocked",
            requests=100,
            check=only_registries,
        )
        for name in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "[::1]", "2130706433", "storage.internal")
    ),
    Row(
        41,
        "loc-other-host",
        "opened",
        at_storage("storage.internal", trust="storage.internal:80"),
        check=bare_there("storage.internal"),
    ),
    Row(
        43,
        "loc-query",
        "raw",
        location(lambda session: f"{PATH}{session}?_state=a%2Bb&x=&y=%7E%3a+=="),
        check=kept(PATH),
    ),
    Row(
        43,
        "loc-query",
        "streamed",
        location(lambda session: f"{PATH}{session}?_state=a%2Bb&x=", LARGE),
        check=lambda stage, run: [
            one.target for one in stage.dst.select(PUT) if "?_state=a%2Bb&x=&digest=" not in one.target
        ],
    ),
    *(
        Row(
            48,
            "put-lost-answer",
            thing,
            fault(thing, Drop(effect=True)),
            check=once_sent if thing in BLOBS else lambda s, r: None,
        )
        for thing in PUTS
    ),
    *(
        Row(48, "put-lost", thing, fault(thing, Drop()), again=1, sessions=thing == "blob small")
        for thing in PUTS
    ),
    *(
        Row(
            50,
            "put-early-413",
            f"{thing} {code}",
            trick(
                lambda exchange, code=code: refuse_early(exchange, code),
                PUT,
                content=content,
                name=digest(content),
            ),
            end="blocked",
            words=(str(code),),
            check=stopped_at_once,
        )
        for thing, content in BLOBS.items()
        for code in (413, 403)
    ),
    *(
        Row(
            51,
            "put-replay",
            thing,
            trick(cut_half, PUT, content=content, name=digest(content), count=1),
            again=1,
            sessions=thing == "blob small",
            check=no_empty_body,
        )
        for thing, content in BLOBS.items()
    ),
    *(
        Row(
            16,
            "slow-src-idle-dst",
            thing,
            fault(thing, Cut(1000, request=True)),
            again=1,
            sessions=thing == "blob small",
        )
        for thing in BLOBS
    ),
)


# Silence at the destination


async def silent(exchange: Exchange) -> bytes | None:
    """The body is read, and no answer comes."""
    await exchange.drain()
    await exchange.hang()
    return None


async def deaf(exchange: Exchange) -> bytes | None:
    """A thousand bytes of the body are read, and then none; nor does an answer come."""
    await exchange.drain(1000)
    await exchange.host.clock.sleep(10_000_000)
    return None


async def sip(exchange: Exchange) -> bytes | None:
    """A hundred bytes a second are read."""
    while exchange.left:
        await exchange.more(100)
        await exchange.host.clock.sleep(1)
    return None


SILENCE = (
    *(
        Row(13, "stall-dst", str(kind), trick(silent, kind, count=1), again=1, sessions=kind is PUT)
        for kind in (HEAD, Operation.GET_TAGS, POST, PUT, PUT_MANIFEST)
    ),
    Row(13, "stall-dst", "body up", trick(deaf, PUT, content=LARGE, name=digest(LARGE), count=1), again=1),
    Row(14, "drip-dst", "body up", trick(sip, PUT, content=LARGE, name=digest(LARGE), count=1), again=1),
)

# Refusals


def immutable(same: bool) -> Any:
    """Return an arrangement: the tag is there by the time it is written, and may not be moved."""

    def arrange(stage: Stage) -> None:
        root = stage.image()

        async def taken(exchange: Exchange) -> bytes | None:
            await exchange.drain()
            held = stage.src.storage.manifest("app", root["digest"])
            assert held is not None
            if same:
                stage.dst.storage.put_manifest("app", root["digest"], held, ["v1"])
            return reply(
                400, errors("TAG_INVALID", "ImageTagAlreadyExistsException: the tag v1 is immutable")
            )

        stage.dst.trick(taken, PUT_MANIFEST, name="v1")

    return arrange


def absent(stage: Stage) -> None:
    """No repository is made by pushing to it."""
    stage.image()
    stage.image(b"two", repository="other")
    body = errors("NAME_UNKNOWN", "The repository with name 'app' does not exist in the registry")
    stage.dst.trick(reply(404, body), POST, repository="app")


def read_only(status: int, code: str, message: str) -> Any:
    """Return an arrangement: no upload may begin at the destination; another one takes them."""

    async def arrange(stage: Stage) -> None:
        stage.options["jobs"] = 2
        for number in range(8):
            stage.image(b"layer %d" % number, b"another %d" % number, repository=f"app{number}")
        other = await stage.internet.host("more.example", password="CANARY-more", wants="basic")
        stage.specs.append(stage.specs[0].replace(stage.dst.name, other.name))
        stage.dst.trick(reply(status, errors(code, message)), POST)

    return arrange


EIGHT = {f"app{number}:v1": "blocked" for number in range(8)} | {"more.example/app0:v1": "copied"}


def few_posts(stage: Stage, run: Run) -> object:
    """A registry that takes no writes is not asked for each image; the other one has its image."""
    other = stage.internet.hosts["more.example"].storage.tags("app0")
    return max(0, stage.dst.count(POST) - 12) or not other


REFUSED = (
    Row(75, "tag-immutable", "other", immutable(False), end="failed", words=("immutable",)),
    Row(
        88,
        "repo-absent",
        "one of two",
        absent,
        end={"app:v1": "blocked", "other:v1": "copied"},
        words=("NAME_UNKNOWN",),
        check=lambda stage, run: max(0, sum(one.repository == "app" for one in stage.dst.select(POST)) - 4),
    ),
    *(
        Row(
            89,
            "read-only-dst",
            case,
            read_only(status, code, words),
            end=EIGHT,
            requests=120,
            check=few_posts,
        )
        for case, status, code, words in (
            ("405", 405, "UNSUPPORTED", "the registry is in read-only mode"),
            ("denied", 403, "DENIED", "system is read-only"),
        )
    ),
)

ROWS = (*SESSIONS, *SILENCE, *REFUSED)
