"""No secret in anything that is written: every command, over registries that make it use all that is secret.

The source wants a password from a login file, the destination one from a credential helper; both issue tokens, and
both redirect blobs to a signed URL, where somebody repeats the signature while refusing it. A proxy with a password
and another login file are in the environment. What is looked through: both outputs of every command, and each file
that is there afterwards and was not before.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from mmgraph.server import Bearer, MemoryStorage, Redirect, RegistryServer, Rule
from mmgraph.store import Operation
from tests.support.command import ROOT, Command, Done, end
from tests.support.images import Maker
from tests.support.mirror import spec
from tests.support.raw import Raw, Request, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD, HELPED, SIGNATURE = "canary-password", "canary-helper", "canary-signature"
PROXY, VARIABLE = "canary-proxy", "canary-variable"
BASIC: Final = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
HELPED_BASIC: Final = base64.b64encode(f"me:{HELPED}".encode()).decode()
VARIABLE_BASIC: Final = base64.b64encode(f"me:{VARIABLE}".encode()).decode()

HELPER: Final = f"""#!{sys.executable}
import json, sys
server = sys.stdin.read().strip()
print("not to be shown: {HELPED}", file=sys.stderr)
print(json.dumps({{"ServerURL": server, "Username": "me", "Secret": "{HELPED}"}}))
"""
BROKEN_HELPER: Final = f"""#!{sys.executable}
import sys
print("not to be shown: {HELPED}")
sys.exit("nor this: {HELPED}")
"""
CRASH: Final = """
import mmgraph.oci
def crash(raw, *more, **others):
    raise ZeroDivisionError("a fault of our own")
mmgraph.oci.parse = crash
"""
"""Python runs a sitecustomize module before anything else."""

COMMON: Final = ("specs.json", "--authfile=auth.json", "--no-cache", "-vv", "--trace=trace.jsonl")
OF_A_PLAN: Final = ("saved.plan", "--authfile=auth.json", "--no-cache", "-vv", "--trace=trace.jsonl")
SAVE: Final = ("--debug", "plan", *COMMON, "--out=saved.plan")


class Row(NamedTuple):
    """Commands that run one after the other."""

    title: str
    commands: tuple[tuple[str, ...], ...]
    says: str = ""
    """What the last one says, so that it is known to have come so far."""
    asks: bool = True
    """Whether registries are asked, and issue tokens."""
    crash: bool = False
    helper: str = HELPER


ROWS: Final = (
    Row("plan", (SAVE,), "/b"),
    Row("plan as JSON", (("--debug", "plan", *COMMON, "--format=json"),), "mmgraph"),
    Row("plan, repair", (("--debug", "plan", *COMMON, "--repair", "--all"),), "/b"),
    Row("a saved plan shown", (SAVE, ("--debug", "plan", "saved.plan")), "/b"),
    Row("apply", (("--debug", "apply", *COMMON),), "X-Amz-Signature=***"),
    Row("apply without a word", (("apply", "specs.json", "--authfile=auth.json"),), "X-Amz-Signature=***"),
    Row("apply a saved plan", (SAVE, ("--debug", "apply", *OF_A_PLAN)), "X-Amz-Signature=***"),
    *(
        Row(f"graph {format_}", (("--debug", "graph", *COMMON, f"--format={format_}", *more),), says)
        for format_, more, says in (
            ("dot", ("--all",), "digraph"),
            ("json", (), "nodes"),
            ("svg", ("--collapse",), "<svg"),
        )
    ),
    Row("graph of a saved plan", (SAVE, ("--debug", "graph", "saved.plan")), "digraph"),
    *(
        Row(f"explain {format_}", (("--debug", "explain", "b:1", *COMMON, f"--format={format_}"),), "b:1")
        for format_ in ("text", "json")
    ),
    *(
        Row(f"verify {level}", (("--debug", "verify", *COMMON, f"--level={level}"),), "needed by :1")
        for level in ("head", "read", "full")
    ),
    *(
        Row(
            f"auth check {format_}",
            (("auth", "check", "specs.json", "--authfile=auth.json", "-vv", f"--format={format_}"),),
            "auth.json",
        )
        for format_ in ("text", "json")
    ),
    *(
        Row(f"schema {what}", (("schema", what),), "$schema", asks=False)
        for what in ("specs", "plan", "graph")
    ),
    Row("a helper that fails", (("--debug", "apply", *COMMON),), "canary", helper=BROKEN_HELPER),
    *(
        Row(f"a crash of {command}", (("--debug", command, *COMMON),), "ZeroDivisionError", crash=True)
        for command in ("plan", "apply", "graph", "verify")
    ),
)


class World(NamedTuple):
    """The command, and what must not be seen of it."""

    command: Command
    variables: dict[str, str]
    auths: tuple[Bearer, Bearer]
    given: frozenset[Path]
    """Files that hold secrets from the start."""

    async def run(self, *arguments: str) -> Done:
        """Run a command in the environment that holds secrets."""
        return await self.command.run(*arguments, variables=self.variables)

    @property
    def tokens(self) -> list[str]:
        """What the registries have issued."""
        return [token for auth in self.auths for token in auth._tokens]

    def leaks(self, done: list[Done]) -> list[str]:
        """Return the secrets that are in anything written."""
        texts = [text for each in done for text in (each.out, each.err)]
        files = [
            path for path in self.command.directory.rglob("*") if path.is_file() and path not in self.given
        ]
        texts += [path.read_bytes().decode("latin-1") for path in files]
        secrets = [PASSWORD, HELPED, SIGNATURE, PROXY, VARIABLE, BASIC, HELPED_BASIC, VARIABLE_BASIC]
        return [secret for secret in (*secrets, *self.tokens) if any(secret in text for text in texts)]


async def says_no(request: Request) -> bytes | None:
    """Repeat what must not be seen, as some object stores do."""
    return answer(403, f"signature of {request.target} is not {SIGNATURE}".encode())


@asynccontextmanager
async def world(directory: Path, row: Row) -> AsyncIterator[World]:
    """Start the registries; one of two images is at its destination already."""
    command = Command(directory)
    auths = Bearer("me", PASSWORD, anonymous=False), Bearer("me", HELPED, anonymous=False)
    storages = MemoryStorage(), MemoryStorage()
    Maker(storages[0]).image("b", b"layer", config=b'{"b":1}', tags=("1",))
    for storage in storages:
        Maker(storage).image("c", b"another", config=b'{"c":1}', tags=("1",))
    async with (
        Raw(says_no) as elsewhere,
        RegistryServer(storages[0], auth=auths[0]) as source,
        RegistryServer(storages[1], auth=auths[1]) as destination,
    ):
        target = f"http://{elsewhere.address}/b?X-Amz-Signature={SIGNATURE}"
        for server in (source, destination):
            server.faults.add(Rule(Redirect(target), Operation.GET_BLOB))
        logins = {
            "auths": {source.address: {"auth": BASIC}},
            "credHelpers": {destination.address: "canary"},
        }
        programs = directory / "programs"
        programs.mkdir()
        helper = programs / "docker-credential-canary"
        helper.write_text(row.helper)
        helper.chmod(0o700)
        given = {helper, command.write("auth.json", json.dumps(logins))}
        if row.crash:
            (programs / "sitecustomize.py").write_text(CRASH)
        specs = [spec(f"{source.address}/{name}:1", f"{destination.address}/{name}:1") for name in "bc"]
        command.write("specs.json", "".join(specs))
        variables = {
            "PATH": f"{programs}:{command.environment['PATH']}",
            "PYTHONPATH": f"{ROOT}:{programs}",
            "https_proxy": f"http://me:{PROXY}@127.0.0.1:9",
            "no_proxy": "127.0.0.1",
            "DOCKER_AUTH_CONFIG": json.dumps({"auths": {"elsewhere.example": {"auth": VARIABLE_BASIC}}}),
        }
        yield World(command, variables, auths, frozenset(given))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
async def test_commands(tmp_path: Path, row: Row) -> None:
    """Each command, verbose, traced, and with tracebacks, comes as far as it shall and shows no secret."""
    async with world(tmp_path, row) as w:
        done = [await w.run(*arguments) for arguments in row.commands]
        texts = done[-1].out + done[-1].err
        found = w.leaks(done), len(w.tokens) > 0, row.says in texts
    assert ([], row.asks, True) == found, texts


async def test_a_server(tmp_path: Path) -> None:
    """``serve`` says nothing of the headers and the queries that it is sent, nor keeps them, also where it fails."""
    command = Command(tmp_path)
    process = await command.start("--debug", "serve", "images")
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode()

    def ask() -> list[int]:
        connection = http.client.HTTPConnection(first.split()[-1])
        headers = {"Authorization": f"Basic {BASIC}", "Cookie": f"sid={PASSWORD}"}
        statuses = []
        for method, path in (
            ("GET", "/v2/"),
            ("POST", "/v2/a/blobs/uploads/"),
            ("PUT", f"/v2/a/manifests/1?sig={SIGNATURE}"),
            ("GET", f"/v2/a/manifests/{SIGNATURE}?sig={SIGNATURE}"),
        ):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        return statuses

    statuses = await asyncio.to_thread(ask)
    process.send_signal(signal.SIGINT)
    done = await end(process)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240
    texts = [first, done.out, done.err, *(path.read_bytes().decode("latin-1") for path in files)]
    leaks = [s for s in (BASIC, PASSWORD, SIGNATURE) if any(s in text for text in texts)]
    assert ([200, 202, 400, 404], 0, []) == (statuses, done.code, leaks), texts
