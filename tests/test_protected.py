"""Real registries behind real protection: passwords, tokens, TLS, client certificates, helpers. Who saw what is read
from the registries' own side.

Each story is one mirror of a fleet by the command line. What arrived is read, once the guarded registry has stopped,
through an open one over the same storage.
"""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import trustme

from mmgraph.server import Delay, FaultPlan, MemoryStorage, RegistryServer, Rule
from mmgraph.store import Operation
from tests.support import oracle
from tests.support.command import Command, Done
from tests.support.distribution import Distribution
from tests.support.issuer import Signer, TokenService
from tests.support.tls import Guarded, Witness, certified, passwords

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.fleet import Fleet

READER, WRITER = ("reader", "canary-of-the-source-1"), ("writer", "canary-of-the-destination-2")
HELPER: Final = """#!{python}
import json, sys
server = sys.stdin.read().strip()
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:] + [server]) + "\\n")
login = {logins!r}.get(server)
if login is None:
    print("credentials not found in native keychain")
    sys.exit(1)
print(json.dumps({{"ServerURL": server, "Username": login[0], "Secret": login[1]}}))
"""


class Bench(NamedTuple):
    """A directory to work in, a fleet, and what is to be closed in the end."""

    command: Command
    fleet: Fleet
    stack: AsyncExitStack

    @property
    def home(self) -> Path:
        """The directory."""
        return self.command.directory

    def registry(self, *, guarded: bool = False, filled: bool = False, **settings: Any) -> Distribution:
        """Start a registry; ``filled`` has the fleet, ``guarded`` wants TLS."""
        made = (Guarded if guarded else Distribution)(settings=settings)
        if filled:
            self.fleet.write_distribution_storage(made.storage)
        return self.stack.enter_context(made)

    async def witness(self, registry: Distribution) -> Witness:
        """Put a witness in front of a registry."""
        return await self.stack.enter_async_context(Witness(registry.address))

    async def service(self, algorithm: str, life: int) -> TokenService:
        """Start a token service at which the writer may push."""
        signer = Signer(algorithm)
        return await self.stack.enter_async_context(TokenService(dict([WRITER]), signer, life=life))

    def logins(self, logins: dict[str, tuple[str, str]], **more: object) -> None:
        """Write docker's login file."""
        auths = {
            key: {"auth": base64.b64encode(":".join(login).encode()).decode()}
            for key, login in logins.items()
        }
        path = self.home / "home" / ".docker" / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"auths": auths, **more}))

    def helper(self, name: str, logins: dict[str, tuple[str, str]]) -> Path:
        """Write an executable ``docker-credential-NAME``; return the file to which it writes its questions."""
        log, program = self.home / f"{name}.log", self.home / "bin" / f"docker-credential-{name}"
        program.parent.mkdir(exist_ok=True)
        program.write_text(HELPER.format(python=sys.executable, log=str(log), logins=logins))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        log.touch()
        return log

    async def mirror(self, source: str, destination: str, *options: str) -> Done:
        """Mirror the fleet; no password is in what is said about it."""
        self.command.write("specs.json", self.fleet.specs(source, destination))
        path = f"{self.home / 'bin'}:{self.command.environment['PATH']}"
        done = await self.command.run("apply", *options, variables={"PATH": path})
        assert [] == [word for _, word in (READER, WRITER) if word in done.out + done.err]
        return done

    async def arrived(self, registry: Distribution) -> bool:
        """Whether the whole fleet is there, as an open registry over the same storage shows it."""
        registry.stop()
        with Distribution(registry.storage) as open_registry:
            found = await oracle.walk(open_registry.address, list(self.fleet.tags))
        return found == self.fleet.closures()


@pytest.fixture
async def bench(tmp_path: Path, tiny_fleet: Fleet) -> Any:
    """Hand out a bench with the fleet."""
    async with AsyncExitStack() as stack:
        yield Bench(Command(tmp_path), tiny_fleet, stack)


# Passwords


async def test_passwords(bench: Bench) -> None:
    """With a login at each end, each registry sees its own and never the other's."""
    source = bench.registry(filled=True, auth=passwords(bench.home / "here", dict([READER])))
    target = bench.registry(auth=passwords(bench.home / "there", dict([WRITER])))
    here, there = await bench.witness(source), await bench.witness(target)
    bench.logins({here.address: READER, there.address: WRITER})

    done = await bench.mirror(here.address, there.address)

    seen = (here.seen, here.passwords, there.seen, there.passwords)
    expected = ({("Basic", READER[0])}, {READER[1]}, {("Basic", WRITER[0])}, {WRITER[1]})
    assert (0, expected, True) == (done.code, seen, await bench.arrived(target)), done.err


async def test_helpers(bench: Bench) -> None:
    """Helpers are asked for their registry by name, and what they know goes there and nowhere else."""
    source = bench.registry(filled=True, auth=passwords(bench.home / "here", dict([READER])))
    target = bench.registry(auth=passwords(bench.home / "there", dict([WRITER])))
    here, there = await bench.witness(source), await bench.witness(target)
    one = bench.helper("one", {there.address: WRITER})
    store = bench.helper("store", {here.address: READER, there.address: ("somebody", "else")})
    bench.logins({}, credHelpers={there.address: "one"}, credsStore="store")

    done = await bench.mirror(here.address, there.address)

    asked = [{tuple(json.loads(line)) for line in log.read_text().splitlines()} for log in (one, store)]
    seen = (here.seen, there.seen)
    assert [{("get", there.address)}, {("get", here.address)}] == asked
    assert (0, ({("Basic", READER[0])}, {("Basic", WRITER[0])})) == (done.code, seen), done.err
    assert await bench.arrived(target)


async def test_a_helper_that_knows_nothing(bench: Bench) -> None:
    """A helper without a login means anonymous, so that what is open is read and what is closed is refused."""
    source = bench.registry(filled=True)
    target = bench.registry(auth=passwords(bench.home / "there", dict([WRITER])))
    here, there = await bench.witness(source), await bench.witness(target)
    bench.helper("store", {})
    bench.logins({}, credsStore="store")

    done = await bench.mirror(here.address, there.address)

    assert (1, set(), set()) == (done.code, here.seen, there.seen)
    assert there.address in done.err + done.out


# Tokens


@pytest.mark.parametrize(("algorithm", "life"), [("RS256", 60), ("ES256", 60)])
async def test_tokens(bench: Bench, algorithm: str, life: int) -> None:
    """The token service sees the password and the registry only tokens; each set of scopes is asked for once."""
    service = await bench.service(algorithm, life)
    source = bench.registry(filled=True)
    target = bench.registry(auth=service.settings(bench.home / "bundle.pem"))
    here, there = await bench.witness(source), await bench.witness(target)
    bench.logins({there.address: WRITER})

    done = await bench.mirror(here.address, there.address, f"--trust-realm={there.address}={service.address}")

    scopes = [asked.scopes for asked in service.asked]
    assert (0, True) == (done.code, await bench.arrived(target)), done.err
    assert (set(), set()) == (here.seen, there.seen - {("Bearer", token) for token in service.tokens})
    assert {("writer", 200)} == {(asked.user, asked.status) for asked in service.asked}
    assert sorted(set(scopes)) == sorted(scopes)


async def test_tokens_that_live_for_two_seconds(bench: Bench) -> None:
    """A run that lasts longer than its tokens gets new ones on the way, and no image fails for it."""
    service = await bench.service("ES256", 2)
    slow = FaultPlan([Rule(Delay(0.3), kind=Operation.GET_BLOB)])
    storage = MemoryStorage()
    target = bench.registry(auth=service.settings(bench.home / "bundle.pem"))
    there = await bench.witness(target)
    bench.logins({there.address: WRITER})
    async with RegistryServer(storage, faults=slow) as source:
        await asyncio.to_thread(bench.fleet.push, source.address)
        trust = f"--trust-realm={there.address}={service.address}"

        done = await bench.mirror(source.address, there.address, trust, "--jobs=4")

    assert (0, True) == (done.code, await bench.arrived(target)), done.err
    assert set() == there.seen - {("Bearer", token) for token in service.tokens}
    asked = Counter(asked.scopes for asked in service.asked)
    assert max(asked.values()) >= 2


async def test_a_realm_that_is_not_trusted(bench: Bench) -> None:
    """A token service elsewhere gets no password until it is trusted by name; what to say is in the message."""
    service = await bench.service("RS256", 60)
    source = bench.registry(filled=True)
    target = bench.registry(auth=service.settings(bench.home / "bundle.pem"))
    here, there = await bench.witness(source), await bench.witness(target)
    bench.logins({there.address: WRITER})

    done = await bench.mirror(here.address, there.address)

    assert (1, {""}) == (done.code, {asked.user for asked in service.asked}), done.err
    assert "--trust-realm" in done.err + done.out


# TLS


async def test_an_authority_of_our_own(bench: Bench) -> None:
    """A registry with a certificate of a private authority is pushed to, with a password, once that is named."""
    ca = trustme.CA()
    tls = certified(ca, bench.home, clients=False)
    source = bench.registry(filled=True)
    auth = passwords(bench.home / "there", dict([WRITER]))
    target = bench.registry(guarded=True, http={"tls": tls}, auth=auth, log={"level": "info"})
    bench.logins({target.address: WRITER})
    ca.cert_pem.write_to_path(str(bench.home / "authority.pem"))

    refused = await bench.mirror(source.address, target.address)
    done = await bench.mirror(source.address, target.address, "--ca=authority.pem")

    assert isinstance(target, Guarded)
    assert (1, 0, {WRITER[0]}) == (refused.code, done.code, target.users()), refused.err + done.err
    assert await bench.arrived(target)


async def test_certificates_of_clients(bench: Bench) -> None:
    """A registry that lets nobody in without a certificate is pushed to with that of certs.d."""
    ca = trustme.CA()
    tls = certified(ca, bench.home, clients=True)
    source = bench.registry(filled=True)
    auth = passwords(bench.home / "there", dict([WRITER]))
    target = bench.registry(guarded=True, http={"tls": tls}, auth=auth, log={"level": "info"})
    bench.logins({target.address: WRITER})
    place = bench.home / "home" / ".config" / "containers" / "certs.d" / target.address
    place.mkdir(parents=True)
    ca.cert_pem.write_to_path(str(place / "ca.crt"))

    refused = await bench.mirror(source.address, target.address)
    issued = ca.issue_cert("client@example.com")
    issued.cert_chain_pems[0].write_to_path(str(place / "client.cert"))
    issued.private_key_pem.write_to_path(str(place / "client.key"))
    done = await bench.mirror(source.address, target.address)

    assert isinstance(target, Guarded)
    assert (1, 0, {WRITER[0]}) == (refused.code, done.code, target.users()), refused.err + done.err
    assert await bench.arrived(target)
