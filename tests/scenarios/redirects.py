"""Bad days on the way to a blob: redirects that leak, loop, lead inside, or must keep every byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgraph.server import Redirect, Rule
from tests.scenarios.rows import Row
from tests.support.hostile import PASS, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange
from tests.scenarios.reading import (
    BLOB,
    OBJECTS,
    aim,
    typed,
)

SIGNED = "/b%2Fc%3Ad%7Ee+f==?X-Sig=CANARY%2Fsig%3D%3d~+==&x=%7E"


def redirect(
    thing: str, to: str, hosts: tuple[str, ...] = (), count: int | None = None, **settings: Any
) -> Any:
    """Return an arrangement in which reads of ``thing`` are sent to ``to``, where hosts serve it."""

    async def arrange(stage: Stage) -> None:
        content, name, kind = aim(stage, thing)
        for host in hosts:
            made = await stage.internet.host(host, **settings)
            made.trick(typed(200, content, ("Content-Length", str(len(content)))) + content)

        async def away(exchange: Exchange) -> bytes | None:
            if exchange.headers.get("authorization") != stage.src.basic:
                return PASS
            cookie = ("Set-Cookie", "s=CANARY-cookie; Domain=example; Path=/")
            lines = [("Location", to.replace("{name}", name)), cookie, ("Content-Length", "0")]
            return head(307, *lines)

        stage.src.trick(away, kind, name=name, count=count)

    return arrange


def arrived_bare(host: str, target: str | None = None) -> Callable[[Stage, Run], object]:
    """Return a check that ``host`` was asked, for the exact bytes, with nothing that says by whom."""

    def check(stage: Stage, run: Run) -> object:
        asked = stage.internet.hosts[host].asked
        told = {"authorization", "cookie", "proxy-authorization", "x-api-key", "referer"}
        wrong = [one.headers for one in asked if told & one.headers.keys()]
        other = [one.target for one in asked if target not in {None, one.target}]
        return wrong or other or (None if asked else ["nobody came"])

    return check


def nobody_came(stage: Stage, run: Run) -> object:
    """No host but the two registries was so much as looked up."""
    return stage.internet.strangers or [
        host.name
        for host in stage.internet.hosts.values()
        if host.asked and host.name not in {stage.src.name, stage.dst.name}
    ]


INNER = {
    "loopback": "http://127.0.0.1:9/x",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "ipv6 loopback": "http://[::1]:9/x",
    "mapped": "http://[::ffff:127.0.0.1]/x",
    "decimal": "http://2130706433/x",
    "octal": "http://0177.0.0.1/x",
    "short": "http://127.1/x",
    "hex": "http://0x7f000001/x",
    "unicode dots": "http://127。0。0。1/x",
    "localhost": "http://localhost/x",
    "user name": "http://dst.example@127.0.0.1/x",
}

REDIRECTS = (
    *(
        Row(
            19,
            "signed-url-chars",
            thing,
            redirect(thing, f"http://cdn.example{SIGNED}", ("cdn.example",)),
            check=arrived_bare("cdn.example", SIGNED),
        )
        for thing in OBJECTS
    ),
    *(
        Row(20, "redirect-auth", f"{thing} {name}", redirect(thing, to, (host,)), check=arrived_bare(host))
        for thing in OBJECTS
        for name, to, host in (
            ("host", "http://cdn.example/x", "cdn.example"),
            ("port", "http://src.example:8080/x", "src.example:8080"),
            ("host below", "http://cdn.src.example/x", "cdn.src.example"),
        )
    ),
    *(
        Row(
            21,
            "redirect-down",
            f"{thing} {name}",
            redirect(thing, to),
            end="blocked" if OBJECTS[thing][1] is BLOB else "failed",
            check=nobody_came,
        )
        for thing in ("blob small", "manifest")
        for name, to in INNER.items()
    ),
    *(
        Row(
            22,
            "redirect-loop",
            f"{thing} {name}",
            redirect(thing, to),
            end="blocked" if OBJECTS[thing][1] is BLOB else "failed",
            words=("redirects",),
            requests=40,
        )
        for thing in OBJECTS
        for name, to in (
            (
                "self",
                "http://src.example/v2/app/"
                + ("blobs" if OBJECTS[thing][1] is BLOB else "manifests")
                + "/{name}",
            ),
        )
    ),
)


def tls_hosts(name: str, target: str) -> Any:
    """Return an arrangement: the source sends its readers on to ``name``, which has TLS."""

    async def arrange(stage: Stage) -> None:
        content, digest_, kind = aim(stage, "blob small")
        tls = stage.authority.server(name.removesuffix(":443"))
        made = await stage.internet.host(name, tls=tls)
        made.trick(typed(200, content, ("Content-Length", str(len(content)))) + content)
        stage.src.faults.add(Rule(Redirect(f"https://{name}{target}"), kind=kind, name=digest_))

    return arrange


SECURE = {"tls": True}

SECURED = (
    *(
        Row(
            20,
            "redirect-auth",
            case,
            tls_hosts(name, "/x%2Fy"),
            check=arrived_bare(name, "/x%2Fy"),
            source_settings=settings,
        )
        for case, name, settings in (
            ("scheme", "src.example:443", {}),
            ("https host", "cdn.example", SECURE),
            ("http to https", "cdn.example", {}),
        )
    ),
    *(
        Row(
            21,
            "redirect-down",
            f"{thing} https to http",
            redirect(thing, "http://cdn.example/x", ("cdn.example",)),
            end="blocked" if OBJECTS[thing][1] is BLOB else "failed",
            words=("https to http",),
            check=nobody_came,
            source_settings=SECURE,
        )
        for thing in OBJECTS
    ),
)


async def hops(stage: Stage) -> None:
    """Fifty hosts that each send on to the next."""
    _, name, kind = aim(stage, "blob small")
    cdn = await stage.internet.host("cdn.example")

    async def onward(exchange: Exchange) -> bytes | None:
        number = int(exchange.path.strip("/") or 0) + 1
        return head(307, ("Location", f"http://cdn.example/{number}"), ("Content-Length", "0"))

    cdn.trick(onward)
    stage.src.faults.add(Rule(Redirect("http://cdn.example/0"), kind=kind, name=name))


def few_hops(stage: Stage, run: Run) -> object:
    """Five redirects are followed a try."""
    asked = stage.internet.hosts["cdn.example"].count()
    return asked if not 0 < asked <= 5 else None


ROWS = (
    *REDIRECTS,
    *SECURED,
    Row(22, "redirect-loop", "50 hops", hops, end="blocked", words=("redirects",), check=few_hops),
)
