"""Bad days of headers and words: cookies, screens rewritten, signatures, certificates; one host for both sides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mmgraph.server import Headers, Rule
from mmgraph.store import Operation
from tests.scenarios.reading import aim
from tests.scenarios.redirects import arrived_bare, redirect
from tests.scenarios.rows import Row
from tests.scenarios.stage import LARGE
from tests.scenarios.tokens import realm
from tests.scenarios.weather import OPERATIONS
from tests.support.hostile import PASS, errors, head, reply

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

HEAD = Operation.HEAD_MANIFEST
POST = Operation.POST_UPLOAD
PUT = Operation.PUT_BLOB


RUDE = "\x1b[2J\x1b]8;;http://attacker.test\x07click\x1b]8;;\x07 \u202egnp.exe \u200b \x9b31m"


def dead(host: str, arrange: Any) -> Any:
    """Return an arrangement with a host that hangs up on everybody."""

    async def arranged(stage: Stage) -> None:
        made = await stage.internet.host(host)
        made.trick(None)
        await arrange(stage)

    return arranged


def cookies(stage: Stage) -> None:
    """Harbor: who returns the session's cookie needs a CSRF token too."""
    stage.image()
    for host in (stage.src, stage.dst):
        host.faults.add(Rule(Headers({"Set-Cookie": "sid=CANARY-cookie; Path=/; HttpOnly"})))
        host.trick(
            reply(403, errors("DENIED", "CSRF token not found")), where=lambda one: "cookie" in one.headers
        )


def rude(where: str, status: int, body: bytes) -> Any:
    """Return an arrangement: one operation is refused in words that rewrite a screen."""

    def arrange(stage: Stage) -> None:
        host, kind = OPERATIONS[where]
        stage.image()
        stage.internet.hosts[host].trick(
            reply(status, body), kind, where=lambda one: "authorization" in one.headers
        )

    return arrange


def short(stage: Stage, run: Run) -> object:
    """No cause is longer than a person reads."""
    return [len(line) for line in run.causes.splitlines() if len(line) > 1500]


def end_of(where: str) -> str:
    """Return what becomes of the spec where the operation fails."""
    return (
        "blocked"
        if "blob" in where or where in {"POST at DST", "PUT at DST", "manifest at DST"}
        else "failed"
    )


def many_headers(number: int, length: int) -> Any:
    """Return an arrangement: a blob's answer has so many headers of such a length."""

    def arrange(stage: Stage) -> None:
        content, name, kind = aim(stage, "blob small")
        lines = [(f"X-{at}", "x" * length) for at in range(number)]
        stage.src.trick(head(200, ("Content-Length", str(len(content))), *lines) + content, kind, name=name)

    return arrange


def warned(*values: str) -> Any:
    """Return an arrangement: every HEAD of a manifest at the destination is answered with warnings."""

    def arrange(stage: Stage) -> None:
        for name in ("app", "other", "third"):
            stage.image(name.encode(), repository=name)

        async def warn(exchange: Exchange) -> bytes | None:
            if "authorization" not in exchange.headers:
                return PASS
            lines = [("Warning", f'299 - "{value}"') for value in values]
            return head(404, ("Content-Length", "0"), *lines)

        stage.dst.trick(warn, HEAD)

    return arrange


def warnings_shown(*texts: str) -> Callable[[Stage, Run], object]:
    """Return a check that just these were shown, each once."""

    def check(stage: Stage, run: Run) -> object:
        found = [line for line in run.output.splitlines() if " warns: " in line]
        return None if [f"dst.example warns: {text}" for text in texts] == found else found

    return check


WORDS = (
    Row(65, "cookie-csrf", "both", cookies),
    *(
        Row(81, "error-escape", f"{where} {case}", rude(where, 403, body), end=end_of(where), check=short)
        for where in OPERATIONS
        if where != "tags at DST"
        for case, body in (
            ("json", errors("DENIED", RUDE * 100, {"digest": RUDE})),
            ("text", (RUDE * 1000).encode()),
            ("10 MiB", b"\x1b[31m" * (2 << 20)),
            ("code", errors(RUDE, "no")),
        )
    ),
    Row(
        82,
        "secrets",
        "signed URL that fails",
        dead(
            "cdn.example",
            redirect("blob small", "http://cdn.example/b?X-Amz-Signature=CANARY&Expires=CANARY&token=CANARY"),
        ),
        end="blocked",
    ),
    Row(82, "secrets", "realm with user", realm("http://u:CANARY@dst.example/token"), end="failed"),
    Row(
        82,
        "secrets",
        "realm with query",
        dead("nowhere.example", realm("http://nowhere.example/token?key=CANARY")),
        end="failed",
    ),
    Row(
        93,
        "header-limits",
        "Location of 30 KiB",
        redirect("blob small", "http://cdn.example/" + "x" * 30_000, ("cdn.example",)),
        check=arrived_bare("cdn.example"),
    ),
    Row(
        93,
        "header-limits",
        "Location of 40 KiB",
        redirect("blob small", "http://cdn.example/" + "x" * 40_000),
        end="blocked",
    ),
    Row(93, "header-limits", "10000 headers", many_headers(10_000, 1), end="blocked"),
    Row(93, "header-limits", "a header of 100 KiB", many_headers(1, 100_000), end="blocked"),
    Row(93, "header-limits", "100 headers", many_headers(100, 10)),
    Row(94, "warning-299", "1 MiB", warned("x" * (1 << 20)), end="failed", check=warnings_shown()),
    Row(
        94,
        "warning-299",
        "twice",
        warned("this is old", "this is old"),
        check=warnings_shown("this is old"),
    ),
    Row(
        94,
        "warning-299",
        "control characters",
        warned("\u202egnp.exe \u200b \x9b31m"),
        check=warnings_shown("\\u202egnp.exe \\u200b \\x9b31m"),
    ),
    Row(
        94,
        "warning-299",
        "many and long",
        warned("y" * 1000, *(f"number {number}" for number in range(9))),
        check=warnings_shown("y" * 300 + "…", *(f"number {number}" for number in range(4))),
    ),
)

# Names, certificates, limits


def secure(name: str, **served: Any) -> Any:
    """Return an arrangement: the destination is ``name``, over TLS, with a certificate of one's own making."""

    async def arrange(stage: Stage) -> None:
        names = served.pop("names", (name,))
        host = await stage.internet.host(
            name, password="CANARY-secure", wants="basic", tls=stage.authority.server(*names, **served)
        )
        stage.image()
        stage.specs = [line.replace(stage.dst.name, host.name) for line in stage.specs]

    return arrange


def elsewhere(name: str) -> Any:
    """Return an arrangement: the destination is a host that nobody knows."""

    def arrange(stage: Stage) -> None:
        stage.image()
        stage.specs = [line.replace(stage.dst.name, name) for line in stage.specs]

    return arrange


def at(name: str) -> Callable[[Stage, Run], object]:
    """Return a check that the host by that name was not told who we are, and holds nothing."""
    return lambda stage, run: stage.internet.hosts[name].asked


def one_host(stage: Stage) -> None:
    """Source and destination are one host, one request at a time."""
    stage.options["jobs"] = 1
    stage.content = LARGE
    for number in range(4):
        stage.image(LARGE, b"layer %d" % number, repository=f"lib{number}", host=stage.dst)
    stage.specs = [
        line.replace(stage.src.name, stage.dst.name).replace("/lib", "/app").replace("/app", "/lib", 1)
        for line in stage.specs
    ]


REST = (
    Row(91, "dns-tls", "right", secure("secure.example")),
    Row(
        91,
        "dns-tls",
        "wrong name",
        secure("secure.example", names=("other.example",)),
        end="failed",
        words=("certificate",),
        check=at("secure.example"),
    ),
    Row(
        91,
        "dns-tls",
        "expired",
        secure("secure.example", life=timedelta(days=-1)),
        end="failed",
        words=("certificate",),
        check=at("secure.example"),
    ),
    Row(96, "limiter-deadlock", "one host", one_host, requests=200),
)

ROWS = (*WORDS, *REST)
