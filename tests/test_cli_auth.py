"""``mmgraph auth check``: which logins apply, whether they are taken, and that none is shown."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mmgraph.server import Basic, Bearer, MemoryStorage, RegistryServer
from mmgraph.store import Operation
from tests.support.command import Command
from tests.support.raw import Raw, answer, script

CANARY = "correct-horse-battery"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Hand out a command line with nothing around it."""
    return Command(tmp_path)


def specs(*pairs: tuple[str, str]) -> str:
    """Return copy specs."""
    return "".join(json.dumps({"src": source, "dst": destination}) + "\n" for source, destination in pairs)


def logins(command: Command, auths: Mapping[str, str], **more: object) -> None:
    """Write docker's login file: a password for each key."""
    entries = {
        key: {"auth": base64.b64encode(f"me:{password}".encode()).decode()} for key, password in auths.items()
    }
    path = command.directory / "home/.docker/config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": entries, **more}))


async def test_text(command: Command) -> None:
    """Each registry's login, file and key, and what came of asking; no secret anywhere."""
    async with (
        RegistryServer(MemoryStorage()) as source,
        RegistryServer(MemoryStorage(), auth=Bearer("me", CANARY)) as target,
    ):
        logins(command, {f"{target.address}/team": CANARY})
        done = await command.run(
            "auth", "check", stdin=specs((f"{source.address}/a:1", f"{target.address}/team/a:1"))
        )
        first, second = sorted([source.address, target.address])
        paragraphs = {
            source.address: f"{source.address}: anonymous\n  pull a: ok, the registry asks for nothing\n",
            target.address: (
                f"{target.address}: basic from ~/.docker/config.json, key {target.address}/team\n"
                "  push team/a: ok, there is a token\n"
            ),
        }
        expected = paragraphs[first] + paragraphs[second] + "All logins will do.\n"
        assert (0, expected, False) == (done.code, done.out, CANARY in done.err)
        counts = (target.log.count(Operation.PING), target.log.count(Operation.TOKEN))
        assert (2, 1) == counts


async def test_json(command: Command) -> None:
    """The same for programs; different keys of one registry are rows of their own."""
    async with RegistryServer(MemoryStorage(), auth=Bearer("me", CANARY)) as server:
        logins(command, {f"{server.address}/good": CANARY, f"{server.address}/bad": f"not-{CANARY}"})
        done = await command.run(
            *("auth", "check", "--format", "json"),
            stdin=specs(
                (f"{server.address}/good/a:1", f"{server.address}/good/b:1"),
                (f"{server.address}/good/c:1", f"{server.address}/bad/c:1"),
                (f"{server.address}/open/d:1", f"{server.address}/good/d:1"),
            ),
        )
        result: Any = json.loads(done.out)
        rows = [
            (
                row["kind"],
                row["key"],
                row["ok"],
                [(each["action"], each["repository"], each["ok"]) for each in row["checks"]],
            )
            for row in result["logins"]
        ]
        expected = [
            ("anonymous", None, True, [("pull", "open/d", True)]),
            ("basic", f"{server.address}/bad", False, [("push", "bad/c", False)]),
            ("basic", f"{server.address}/good", True, [("pull", "good/a", True), ("push", "good/b", True)]),
        ]
        assert (1, False, expected) == (done.code, result["ok"], rows)
        assert CANARY not in done.out + done.err


async def test_a_refusal_says_what_to_do(command: Command) -> None:
    """A login that is refused is named by its file and key."""
    async with RegistryServer(MemoryStorage(), auth=Basic("me", CANARY)) as server:
        logins(command, {server.address: "old"})
        done = await command.run(
            "auth", "check", stdin=specs((f"{server.address}/a:0", f"{server.address}/a:1"))
        )
        wanted = (
            f"the credential for {server.address} from ~/.docker/config.json is not taken:"
            f" docker login {server.address}"
        )
        assert (1, True, True) == (
            done.code,
            wanted in done.out,
            "1 of 1 login will not do" in done.out,
        ), done


async def test_nobody_pushes(command: Command) -> None:
    """A token that anybody gets is not one to push with."""
    async with RegistryServer(MemoryStorage(), auth=Bearer("me", CANARY)) as server:
        done = await command.run(
            "auth", "check", stdin=specs((f"{server.address}/a:1", f"{server.address}/b:1"))
        )
        expected = (
            f"{server.address}: anonymous\n"
            "  pull a: ok, there is a token\n"
            "  push b: FAILED, there is a token for anybody, and no login that it would let push\n"
            "1 of 1 login will not do.\n"
        )
        assert (1, expected) == (done.code, done.out)


def jwt(*actions: str) -> bytes:
    """Return a token service's answer with a token for those actions on repository ``b``."""
    claims = {"access": [{"type": "repository", "name": "b", "actions": actions}]}
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims, {})
    )
    return answer(200, json.dumps({"token": ".".join(parts)}).encode())


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["pull", "push"], "  push b: ok, there is a token\n"),
        (["pull"], "  push b: FAILED, there is a token, but not one to push\n"),
    ],
)
async def test_a_token_that_grants_less(command: Command, actions: list[str], expected: str) -> None:
    """A service that silently grants less than it was asked for is found out where its tokens say so."""
    realm = ""

    async def serve(request: Any) -> bytes:
        if request.target.startswith("/token"):
            return jwt(*actions)
        if "authorization" in request.headers:
            return answer(200)
        return answer(401, www_authenticate=f'Bearer realm="{realm}",service="s"')

    async with Raw(serve) as server:
        realm = f"http://{server.address}/token"
        logins(command, {server.address: CANARY})
        done = await command.run(
            "auth", "check", stdin=specs((f"{server.address}/b:0", f"{server.address}/b:1"))
        )
    assert expected in done.out


async def test_a_helper(command: Command) -> None:
    """A helper is named as the kind of login; one that fails is a row that says so."""
    async with RegistryServer(MemoryStorage(), auth=Basic("me", CANARY)) as server:
        for name, text in (
            ("good", f'cat >/dev/null; echo \'{{"Username":"me","Secret":"{CANARY}"}}\''),
            ("bad", f"echo {CANARY}; exit 1"),
        ):
            path = command.write(f"docker-credential-{name}", f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        logins(command, {}, credHelpers={server.address: "good", "127.0.0.1:1": "bad"})
        variables = {"PATH": f"{command.directory}:{command.environment['PATH']}"}
        done = await command.run(
            "auth", "check", stdin=specs(("127.0.0.1:1/a:1", f"{server.address}/a:1")), variables=variables
        )
        words = (
            "127.0.0.1:1: error\n",
            'the credential helper "bad" for 127.0.0.1:1 failed with exit code 1',
            f"{server.address}: helper good from ~/.docker/config.json, key {server.address}\n",
            "  push a: ok, user and password are taken\n",
        )
        assert (1, [], False) == (
            done.code,
            [word for word in words if word not in done.out],
            CANARY in done.out + done.err,
        )


async def test_anonymous(command: Command) -> None:
    """A registry of --anonymous is asked as by a stranger."""
    async with RegistryServer(MemoryStorage(), auth=Bearer("me", CANARY)) as server:
        logins(command, {server.address: CANARY})
        done = await command.run(
            *("auth", "check", "--anonymous", server.address),
            stdin=specs((f"{server.address}/a:1", f"{server.address}/b:1")),
        )
        expected = f"{server.address}: anonymous (--anonymous)\n  pull a: ok, there is a token\n"
        assert expected in done.out


async def test_disagreement_is_told(command: Command) -> None:
    """Files that disagree about a key are a warning on standard error that names both."""
    async with Raw(script(answer(200))) as server:
        logins(command, {server.address: CANARY})
        path = command.directory / "home/containers/auth.json"
        path.parent.mkdir(parents=True)
        entry = {"auth": base64.b64encode(b"me:other").decode()}
        path.write_text(json.dumps({"auths": {server.address: entry}}))
        done = await command.run(
            "auth", "check", stdin=specs((f"{server.address}/a:1", f"{server.address}/b:1"))
        )
        expected = f"~/containers/auth.json and ~/.docker/config.json disagree about {server.address}"
        assert (0, True) == (done.code, expected in done.err)
