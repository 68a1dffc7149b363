"""Repositories that must be created first: when a program runs, how often, what it sees, and what comes of failures."""

from __future__ import annotations

import asyncio
import random
import shlex
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmgraph.cache import MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.compile import Compiler
from mmgraph.errors import RegistryError, SpecError
from mmgraph.events import silent
from mmgraph.execute import Execution
from mmgraph.names import Registry, Repository
from mmgraph.quirks import Quirk, Quirks
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.repositories import TIMEOUT, Command, Repositories, said
from mmgraph.saved import read, write
from mmgraph.server import FaultPlan, MemoryStorage, Refuse, RegistryServer, Rule
from mmgraph.server import Quirks as ServerQuirks
from mmgraph.specs import read_specs
from mmgraph.staleness import check, settle
from mmgraph.store import Operation
from tests.support.clock import ManualClock
from tests.support.images import Maker
from tests.support.mirror import spec
from tests.test_helpers import alive, gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mmgraph.account import Account
    from mmgraph.clock import Clock
    from mmgraph.plan import Plan

POST, PUT = Operation.POST_UPLOAD, Operation.PUT_MANIFEST
CREATE = 'echo "$1" >>created'


class Place:
    """A registry that takes nothing for repositories that are not in ``created``, a source, and a client of both."""

    def __init__(self, home: Path, source: RegistryServer, server: RegistryServer, client: Client) -> None:
        self.home = home
        self.source = source
        self.server = server
        self.client = client
        self.make = Maker(source.storage)
        self.warnings: list[str] = []
        self.specs = ""

    def want(self, name: str, *layers: bytes, to: str = "") -> None:
        """Make an image at the source, to be copied under the same name, or ``to`` another."""
        path, _, tag = name.partition(":")
        self.make.image(path, *layers, tags=(tag,))
        self.specs += spec(f"{self.source.address}/{name}", f"{self.server.address}/{to or name}")

    def repository(self, path: str) -> Repository:
        """A repository at the destination."""
        return Repository(Registry(self.server.address), path)

    def runs(self) -> list[str]:
        """What the program was called with, a line each time."""
        path = self.home / "runs"
        return path.read_text().splitlines() if path.exists() else []

    def count(self, kind: Operation, path: str | None = None) -> int:
        """Requests of a kind, of all repositories or of one."""
        return self.server.log.count(kind, repository=path)

    async def plan(self) -> Plan:
        """Compile the specs as ``apply`` does."""
        compiler = Compiler(
            read_specs([("specs", self.specs.encode())]),
            self.client,
            self.client,
            MemoryCache(),
            SystemClock(),
            silent,
            exact=False,
            repository_first={Registry(self.server.address)},
        )
        plan = await compiler.plan()
        self.looks = compiler.evidence.looks
        return plan

    async def apply(self, plan: Plan | None = None) -> Account:
        """Carry out the specs, or a plan that was saved."""
        if plan is None:
            plan = await self.plan()
            looks = self.looks
        else:
            looks, _ = await check(plan, self.client, SystemClock())
            plan = settle(plan, looks)
        return await Execution(plan, self.client, SystemClock(), silent, looks).run()

    async def pid(self) -> int:
        """Return the number that a program wrote into the file ``pid``, once it is there."""
        path = self.home / "pid"
        while not (path.exists() and path.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
        return int(path.read_text())


@asynccontextmanager
async def place(
    home: Path,
    script: str = CREATE,
    words: Sequence[str] = ("{repository}",),
    *,
    clock: Clock | None = None,
    program: str = "",
    quirk: bool = False,
) -> AsyncIterator[Place]:
    """Start it all; ``script`` is what creates repositories, and None that nothing does."""
    path = home / "create"
    runs = f'echo "$@" >>{shlex.quote(str(home))}/runs'
    path.write_text(f"#!/bin/sh\ncd {shlex.quote(str(home))}\n{runs}\n{script}\n")
    path.chmod(0o755)
    quirks = ServerQuirks(created_in=str(home / "created"))
    environ = {"PATH": "/usr/bin:/bin", "AWS_SESSION_TOKEN": "canary-in-the-environment"}
    async with (
        RegistryServer(MemoryStorage()) as source,
        RegistryServer(MemoryStorage(), faults=FaultPlan(quirks=quirks)) as server,
    ):
        registry = Registry(server.address)
        commands = {registry: Command((program or str(path), *words))} if words else {}
        warnings: list[str] = []
        client = Client(
            credentials=Credentials({}, None, Path("/nonexistent")),
            clock=clock or SystemClock(),
            chance=random.Random(1),
            quirks=Quirks({Quirk.REPOSITORY_FIRST: [registry]} if quirk else {}),
            repositories=Repositories(commands, environ, clock or SystemClock(), warnings.append),
        )
        async with client:
            made = Place(home, source, server, client)
            made.warnings = warnings
            yield made


# What is run, and when


async def test_before_the_first_upload(tmp_path: Path) -> None:
    """A repository that was seen to be absent is created first, so that no request is refused."""
    async with place(tmp_path) as made:
        made.want("team/app:v1", b"one", b"two")
        account = await made.apply()
        refused = [
            request for request in made.server.log if request.status == 404 and request.method != "HEAD"
        ]
    expected = (True, ["team/app"], [Operation.GET_TAGS], (made.repository("team/app"),))
    assert expected == (
        account.complete,
        made.runs(),
        [request.kind for request in refused],
        made.client.repositories.created,
    )


async def test_once_a_repository(tmp_path: Path) -> None:
    """Fifty blobs and two tags in parallel: one run, and one word of it."""
    async with place(tmp_path, f"sleep 0.1; {CREATE}") as made:
        made.want("a:v1", *(b"layer %d" % number for number in range(50)))
        made.want("a:v2", b"another")
        account = await made.apply()
    assert (True, ["a"], ["created repository " + str(made.repository("a")) + " with "]) == (
        account.complete,
        made.runs(),
        [line.removesuffix(f"{tmp_path}/create") for line in made.warnings],
    )


async def test_each_repository(tmp_path: Path) -> None:
    """What is only mounted needs its repository too."""
    async with place(tmp_path) as made:
        for name in ("a:v1", "b:v1", "c:v1"):
            made.want(name, b"layer", to=name)
        account = await made.apply()
    assert (True, ["a", "b", "c"]) == (account.complete, sorted(made.runs()))


async def test_a_repository_that_is_there(tmp_path: Path) -> None:
    """One that exists, empty as it may be, is left alone."""
    (tmp_path / "created").write_text("a\n")
    async with place(tmp_path) as made:
        made.want("a:v1", b"layer")
        account = await made.apply()
    assert (True, []) == (account.complete, made.runs())


async def test_planning_runs_nothing(tmp_path: Path) -> None:
    """A plan lists what is missing, and that is all."""
    async with place(tmp_path) as made:
        made.want("b:v1", b"layer")
        made.want("a:v1", b"layer")
        plan = await made.plan()
    assert ((made.repository("a"), made.repository("b")), []) == (plan.missing, made.runs())


async def test_a_saved_plan(tmp_path: Path) -> None:
    """It asks for no tag list, so the repository is created when the first POST is refused, and once at that."""
    async with place(tmp_path) as made:
        made.want("a:v1", *(b"layer %d" % number for number in range(20)))
        made.want("b:v1", b"layer 1")
        raw = write(await made.plan(), "test")
    async with place(tmp_path) as later:
        raw = raw.replace(made.server.address.encode(), later.server.address.encode())
        raw = raw.replace(made.source.address.encode(), later.source.address.encode())
        later.want("a:v1", *(b"layer %d" % number for number in range(20)))
        later.want("b:v1", b"layer 1")
        account = await later.apply(read(raw))
        asked = later.count(Operation.GET_TAGS)
    assert (True, ["a", "b"], 0) == (account.complete, sorted(later.runs()), asked)


async def test_a_mount_is_asked_for_again(tmp_path: Path) -> None:
    """A repository that was not known to be absent gets its blob by mount all the same, once it is there."""
    (tmp_path / "created").write_text("a\n")
    async with place(tmp_path) as made:
        digest = Maker(made.server.storage).blob("a", b"layer")["digest"]
        upload = await made.client.start(made.repository("b"), digest, made.repository("a"))
    assert (None, ["b"]) == (upload, made.runs())


async def test_an_index_without_blobs(tmp_path: Path) -> None:
    """A manifest that is the first thing to be written there needs the repository too."""
    async with place(tmp_path) as made:
        made.make.index("a", tags=("v1",))
        made.specs = spec(f"{made.source.address}/a:v1", f"{made.server.address}/a:v1")
        first = await made.apply()
        plan = await made.plan()
    assert (True, ["a"], False) == (first.complete, made.runs(), plan.changes)


async def test_an_index_into_a_repository_that_is_not_known(tmp_path: Path) -> None:
    """Where only the PUT says that there is no repository, it is put once more."""
    async with place(tmp_path) as made:
        made.make.index("a", tags=("v1",))
        manifest = await made.client.manifest(Repository(Registry(made.source.address), "a"), "v1")
        found = await made.client.resolve(Repository(Registry(made.source.address), "a"), "v1")
        await made.client.put_manifest(made.repository("a"), "v1", found.digest, manifest)
    assert (["a"], 2) == (made.runs(), made.count(PUT))


async def test_no_command_no_request(tmp_path: Path) -> None:
    """Without a command nothing more is asked, and the repository is refused once for all that is to go there."""
    async with place(tmp_path, words=()) as made:
        made.want("a:v1", *(b"layer %d" % number for number in range(20)))
        account = await made.apply()
    assert (True, True) == (
        "create the repository there first" in account.ends[0].cause,
        made.count(POST) <= 2 * 16,
    )


async def test_what_a_token_service_says(tmp_path: Path) -> None:
    """A token service that is not there says nothing of the repository: no program is run."""
    async with place(tmp_path) as made:
        registry = Registry(made.server.address)
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{registry}/v2/gone"'}
        made.server.faults.add(Rule(Refuse(401, "UNAUTHORIZED", challenge), method="POST"))
        made.server.faults.add(Rule(Refuse(404, body=b"nobody"), method="GET"))
        with pytest.raises(RegistryError, match="the token service") as caught:
            await made.client.start(made.repository("a"), made.make.blob("a", b"x")["digest"], None)
    assert (404, []) == (caught.value.status, made.runs())


async def test_the_hint(tmp_path: Path) -> None:
    """At a registry that is known for it the refusal names the way out."""
    async with place(tmp_path, words=(), quirk=True) as made:
        with pytest.raises(RegistryError, match=r"create-repository in mmgraph\.toml; plan --missing-rep"):
            await made.client.start(made.repository("a"), made.make.blob("a", b"x")["digest"], None)


# What the program sees


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("{repository}",), "[team/app]"),
        (("create", "--name={repository}"), "[create][--name=team/app]"),
        (("{registry}/{repository}", "{other}"), "[HOST/team/app][{other}]"),
        (("{repository}; touch pwned", "$(touch pwned)"), "[team/app; touch pwned][$(touch pwned)]"),
        (("a  b", "", "{repository}"), "[a  b][][team/app]"),
        (("{{repository}}", "*"), "[{team/app}][*]"),
    ],
)
async def test_no_shell(tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    """Each word stays one, with its blanks and signs, and no shell ever sees it."""
    script = 'printf "[%s]" "$@" >seen; echo team/app >>created'
    async with place(tmp_path, script, words) as made:
        made.want("team/app:v1", b"layer")
        account = await made.apply()
    seen = (tmp_path / "seen").read_text().replace(made.server.address, "HOST")
    assert (True, expected, False) == (account.complete, seen, (tmp_path / "pwned").exists())


@pytest.mark.parametrize("path", ["--help", "a;b", "$(x)", "a b", "a\nb", "`x`", "../x", "-a", "a/--b", "A"])
def test_hostile_names_are_no_names(path: str) -> None:
    """A repository's grammar has no room for what a program could take for more than a name."""
    with pytest.raises(SpecError):
        Repository.parse(f"registry.example.com/{path}")


async def test_nothing_to_read(tmp_path: Path) -> None:
    """Its standard input is empty: what asks a question gets no answer from the terminal."""
    async with place(tmp_path, f"cat >stdin; {CREATE}") as made:
        made.want("a:v1", b"layer")
        account = await made.apply()
    assert (True, "") == (account.complete, (tmp_path / "stdin").read_text())


# Failures


@pytest.mark.parametrize(
    ("script", "program", "words"),
    [
        ("echo 'An error occurred' >&2; echo 'AccessDenied' >&2; exit 254", "", "failed with exit code 254"),
        (
            "echo 'An error occurred' >&2; echo 'AccessDenied' >&2; exit 1",
            "",
            'it said "An error occurred / Ac',
        ),
        ("exit 3", "", "failed with exit code 3"),
        ("kill -9 $$", "", "failed with exit code -9"),
        ("", "no-such-program", "no-such-program, the create-repository of mmgraph.toml, is not on the PATH"),
        ("", "./no-such-program", "is not there"),
        ("", "", "has been run to create it"),
        ("yes failure | head -c 300000 >&2; echo the end >&2; exit 1", "", "failure / failure / the end"),
    ],
)
async def test_a_failure(tmp_path: Path, script: str, program: str, words: str) -> None:
    """All images of the repository fail with one cause, others go on, and nothing is asked for ever."""
    async with place(tmp_path, script, program=program) as made:
        (tmp_path / "created").write_text("other\n")
        made.want("a:v1", *(b"layer %d" % number for number in range(50)))
        made.want("a:v2", b"another")
        made.want("other:v1", b"fine")
        account = await made.apply()
    ends = [end.outcome for end in account.ends]
    causes = {end.cause.partition(": ")[2] for end in account.ends[:2]}
    assert (["blocked", "blocked", "copied"], 1) == (ends, len(causes)), causes
    assert (True, True) == (words in causes.pop(), made.count(POST, "a") <= 34), made.runs()


async def test_somebody_was_faster(tmp_path: Path) -> None:
    """A program that fails since the repository exists by now has not failed."""
    async with place(tmp_path, f"{CREATE}; echo RepositoryAlreadyExists >&2; exit 254") as made:
        made.want("a:v1", b"layer")
        account = await made.apply()
        sessions = made.server.open_sessions
    assert (True, ["a"], 0, ()) == (account.complete, made.runs(), sessions, made.client.repositories.created)
    assert "and yet the repository is there" in made.warnings[0]


class Alone:
    """Repositories without a registry: one that is absent, and that takes nothing until a program has made it."""

    def __init__(self, home: Path, script: str, clock: Clock) -> None:
        self.home = home
        path = home / "create"
        path.write_text(f"#!/bin/sh\ncd {shlex.quote(str(home))}\n{script}\n")
        path.chmod(0o755)
        self.name = Repository(Registry("registry.example.com"), "a")
        commands = {self.name.registry: Command((str(path), "{repository}"))}
        environ = {"PATH": "/usr/bin:/bin"}
        self.repositories = Repositories(commands, environ, clock, lambda message: None)
        self.repositories.seen(self.name, False)

    async def write(self) -> str:
        """Do what needs the repository."""

        async def work() -> str:
            return "done"

        async def takes(_: Repository) -> bool:
            return False

        return await self.repositories.write(self.name, takes, work)

    async def pid(self) -> int:
        """Return the number that a program wrote into the file ``pid``, once it is there."""
        path = self.home / "pid"
        while not (path.exists() and path.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
        return int(path.read_text())


async def test_time(tmp_path: Path, clock: ManualClock) -> None:
    """A program that does not end is killed when its time is over, with its children."""
    alone = Alone(tmp_path, "sleep 1000 & echo $! >pid; wait", clock)
    task = asyncio.create_task(alone.write())
    child = await alone.pid()
    await clock.advance(TIMEOUT)
    with pytest.raises(RegistryError, match="did not end within 5 minutes"):
        await task
    assert await gone(child)


async def test_a_cancelled_program(tmp_path: Path) -> None:
    """It runs while anybody waits for it, and is killed with its children when the last one has left."""
    alone = Alone(tmp_path, "sleep 1000 & echo $! >pid; wait", SystemClock())
    tasks = [asyncio.create_task(alone.write()) for _ in range(2)]
    child = await alone.pid()
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    one_left = alive(child)
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    await alone.repositories.close()
    assert (True, True) == (one_left, await gone(child))


async def test_a_cancelled_run(tmp_path: Path) -> None:
    """What runs when a run is stopped is killed before the client is closed."""
    async with place(tmp_path, "sleep 1000 & echo $! >pid; wait") as made:
        made.want("a:v1", b"layer")
        task = asyncio.create_task(made.apply())
        child = await made.pid()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await gone(child)


async def test_few_at_a_time(tmp_path: Path) -> None:
    """However many repositories are missing, few programs run at once."""
    script = f"mkdir -p busy; touch busy/$1; ls busy | wc -l >>most; sleep 0.1; rm busy/$1; {CREATE}"
    async with place(tmp_path, script) as made:
        for number in range(9):
            made.want(f"a{number}:v1", b"layer %d" % number)
        account = await made.apply()
    most = max(map(int, (tmp_path / "most").read_text().split()))
    assert (True, True) == (account.complete, most <= 4)


# What is shown


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"", ""),
        (b"one\n\ntwo\nthree\n  four  \n", "two / three / four"),
        (b"\x1b[2Jred\xff", "\\x1b[2Jred\ufffd"),
        (b"The security token included in the request is expired", None),
        (
            b"see https://me:hunter22@host/path?X-Amz-Signature=canary&n=1",
            "see https://***@host/path?X-Amz-Signature=***&n=1",
        ),
        (b"password=hunter22 token: hunter22, --api-key hunter22", "password=*** token: ***, --api-key ***"),
        (b'{"SecretAccessKey": "hunter22"}', '{"SecretAccessKey": "***"}'),
        (b"Authorization: Bearer hunter22hunter22", "Authorization: Bearer ***"),
        (b"key AKIAABCDEFGHIJKLMNOP and eyJhbGciOiJIUzI1NiJ9.e30.x", "key *** and ***"),
        (b"called with canary-in-the-environment!", "called with ***!"),
        (b"read /home/me/.aws/credentials", None),
        (b"x" * 500, "x" * 200 + "\u2026"),
        (b"x" * (1 << 16), "x" * 200 + "\u2026"),
    ],
)
def test_said(output: bytes, expected: str | None) -> None:
    """The last lines of what a program wrote, fit to print and without secrets; None: as it is."""
    environ = {
        "AWS_SESSION_TOKEN": "canary-in-the-environment",
        "AWS_SHARED_CREDENTIALS_FILE": "/home/me/.aws/credentials",
        "KEY": "x",
    }
    assert (output.decode() if expected is None else expected) == said(output, environ)


@pytest.mark.parametrize(
    "value",
    [
        "aws {repository}",
        [],
        ["aws"],
        ["{repository}"],
        ["{repository}", "{repository}"],
        ["", "{repository}"],
        ["aws", "create"],
        ["aws", 1, "{repository}"],
        ["aws", ["{repository}"]],
        ["aws", "{registry}"],
        ["aws", "{repository}\0"],
        {"program": "aws"},
        None,
    ],
)
def test_what_is_no_command(value: object) -> None:
    """A command is a list of words, with the repository in one that is not the first."""
    with pytest.raises(SpecError, match="write a list of words, the program first"):
        Command.parse(value)
