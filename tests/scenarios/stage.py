"""The stage of a bad day: a source and a destination that go wrong on cue, and a run watched from all sides.

Owns how a row of the table is carried out and all that comes of it. Judges nothing.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mmgraph import saved
from mmgraph.cache import MemoryCache
from mmgraph.compile import Compiler
from mmgraph.execute import Execution
from mmgraph.names import Registry
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.origins import Opening, Trust
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from mmgraph.report.dot import dot
from mmgraph.report.graph_json import graph_json
from mmgraph.report.lines import Lines
from mmgraph.report.summary import summary_text
from mmgraph.report.text import plan_text
from mmgraph.specs import read_specs
from mmgraph.store import Operation
from tests.support import oracle
from tests.support.clock import ManualClock
from tests.support.hostile import Host, Internet
from tests.support.images import AMD64, Descriptor
from tests.support.mirror import spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mmgraph.account import Account
    from mmgraph.events import Event
    from mmgraph.plan import Plan
    from mmgraph.registry.trace import Exchange
    from tests.support.authority import Authority

SMALL = b"small layer " * 200
LARGE = bytes(range(256)) * 20_480
"""5 MiB: more than is held whole, so that it is streamed."""
_PATIENCE = 60.0
"""Real seconds after which a run that jumps over every wait can only be one that waits for ever."""
SOURCE, DESTINATION = "src.example", "dst.example"


class Run(NamedTuple):
    """What came of a run; ``output`` is every text that it could show to anybody."""

    account: Account | None
    plan: Plan | None
    events: list[Event]
    error: BaseException | None
    output: str

    @property
    def ends(self) -> dict[str, str]:
        """The outcome of each spec by its destination, without the host where it is the usual one."""
        if self.account is None:
            return {}
        usual = f"{DESTINATION}/"
        return {str(end.goal.spec.destination).removeprefix(usual): end.outcome for end in self.account.ends}

    @property
    def causes(self) -> str:
        """Why specs failed, one a line."""
        return "\n".join(end.cause for end in self.account.ends if end.cause) if self.account else ""


@dataclass
class Stage:
    """Two registries among other hosts, a clock that jumps, and what the client is told."""

    internet: Internet
    src: Host
    dst: Host
    clock: ManualClock
    authority: Authority
    content: bytes = SMALL
    specs: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    """For the client and the compiler: ``jobs``, ``exact``, ``committed_only``, ``trust`` and so on."""
    between: Callable[[Plan], Awaitable[None]] | None = None
    planned: str = ""
    """What a row keeps in mind of the time of planning."""

    def image(
        self, *layers: bytes, repository: str = "app", tag: str = "v1", host: Host | None = None
    ) -> Descriptor:
        """Make an index of one image at the source, and a spec that copies it."""
        host = host or self.src
        config = json.dumps({"of": repository}).encode()
        child = host.make.image(repository, *(layers or (self.content,)), config=config, platform=AMD64)
        root = host.make.index(repository, child, tags=(tag,))
        self.want(f"{repository}:{tag}")
        return root

    def want(self, source: str, destination: str = "") -> None:
        """Add a spec; names without a host are the source's and the destination's."""
        self.specs.append(spec(f"{self.src.name}/{source}", f"{self.dst.name}/{destination or source}"))

    async def run(self) -> Run:
        """Plan and carry out, jumping over every wait; keep whatever is said."""
        heard: list[str] = []
        traced: list[Exchange] = []
        events: list[Event] = []
        stream = io.StringIO()
        account = plan = error = None
        with self.clock.autojump(0.005):
            try:
                async with asyncio.timeout(_PATIENCE):
                    with Lines(stream, self.clock) as lines:

                        def note(event: Event) -> None:
                            events.append(event)
                            lines(event)

                        plan, account = await self._carried_out(note, heard.append, traced.append)
            except TimeoutError:
                raise AssertionError("it waits for ever") from None
            except Exception as caught:
                error = caught
        texts = [stream.getvalue(), *heard, repr(events)]
        texts += [f"{each.line()}\n{msgspec.json.encode(each).decode()}" for each in traced]
        if plan is not None:
            texts += [plan_text(plan, unfold=True), saved.write(plan, "test").decode(), dot(plan), repr(plan)]
            texts.append(graph_json(plan).decode())
        if account is not None and plan is not None:
            texts += [summary_text(account, plan), repr(account)]
        if error is not None:
            texts += traceback.format_exception(error)
        return Run(account, plan, events, error, "\n".join(texts))

    async def _carried_out(
        self, note: Callable[[Event], None], warn: Callable[[str], None], heard: Callable[[Exchange], None]
    ) -> tuple[Plan, Account]:
        options = {"heard": heard, **self.options}
        compiling: dict[str, Any] = {
            key: options.pop(key) for key in ("committed_only", "repair") if key in options
        }
        compiling["exact"] = options.pop("exact", False)
        async with self.client(warn, **options) as client:
            parsed = read_specs([("specs", "".join(self.specs).encode())])
            compiler = Compiler(parsed, client, client, MemoryCache(), self.clock, note, **compiling)
            plan = await compiler.plan()
            if self.between is not None:
                await self.between(plan)
            execution = Execution(plan, client, self.clock, note, compiler.evidence.looks)
            return plan, await execution.run()

    def client(
        self,
        warn: Callable[[str], None] = lambda message: None,
        *,
        trust: Trust | None = None,
        **options: Any,
    ) -> Client:
        """Return a client that knows the passwords of both, and reaches everything through the proxy."""
        logins = {
            host.name: {"auth": host.basic.removeprefix("Basic ")}
            for host in self.internet.hosts.values()
            if host.password
        }
        environ = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": logins})}
        proxies = Proxies({"http_proxy": self.internet.proxy, "https_proxy": self.internet.proxy})
        plain = [Registry(host.name) for host in self.internet.hosts.values() if host.tls is None]
        return Client(
            credentials=Credentials(environ, None, Path("/nonexistent")),
            clock=self.clock,
            plain_http=plain,
            warn=warn,
            chance=random.Random(1),
            routes=Routes(Tls({}, authority=self.authority.file), proxies, trust or Trust()),
            **options,
        )

    @staticmethod
    def trust(realm: str = "", upload: str = "") -> Trust:
        """Return what ``--trust-realm`` and ``--trust-upload-host`` open."""
        return Trust(
            (Opening.parse(realm, "--trust-realm"),) if realm else (),
            (Opening.parse(upload, "--trust-upload-host"),) if upload else (),
        )

    async def closures(self, host: Host) -> dict[str, dict[str, oracle.Closure]]:
        """Return what the oracle reads at a host, by its back door."""
        assert host.backend is not None
        return await oracle.walk(host.backend.address, list(host.storage.repositories()))

    def tags(self, repository: str = "app") -> dict[str, str]:
        """Return what the destination's tags name."""
        return {tag: str(named) for tag, named in self.dst.storage.tags(repository).items()}

    def sent_blobs(self) -> dict[str, list[int]]:
        """Return the bytes of each upload's body that the destination was sent, by digest, in order."""
        sent: dict[str, list[int]] = {}
        for one in self.dst.select(Operation.PUT_BLOB):
            sent.setdefault(one.digest, []).append(one.received)
        return sent


@asynccontextmanager
async def stage(
    authority: Authority, *, settings: dict[str, Any], source_settings: dict[str, Any]
) -> AsyncIterator[Stage]:
    """Open the stage; ``settings`` are the destination's, as of ``Host``; ``tls`` may be True."""
    clock = ManualClock()
    async with Internet(clock) as internet:
        for name, each in ((SOURCE, source_settings), (DESTINATION, settings)):
            if each.get("tls"):
                each["tls"] = authority.server(name)
        src = await internet.host(
            SOURCE, **{"password": "CANARY-password-of-source", "wants": "basic"} | source_settings
        )
        dst = await internet.host(
            DESTINATION, **{"password": "CANARY-password-of-destination", "wants": "basic"} | settings
        )
        yield Stage(internet, src, dst, clock, authority)
