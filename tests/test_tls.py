"""TLS: whom it trusts at which registry, who sees a client certificate, and what is left unchecked."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from mmgraph.errors import NetworkError, SpecError
from mmgraph.names import Registry, Repository
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from mmgraph.registry.wire import origin
from tests.support.authority import Authority
from tests.support.distribution import Distribution
from tests.support.raw import Raw, Request, answer, script
from tests.test_client import SHORT, digest_of, read
from tests.test_connection import at, client

if TYPE_CHECKING:
    from pathlib import Path

OK = answer(200, docker_content_digest=digest_of(b"x"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


def routes(environ: dict[str, str] | None = None, **options: Any) -> Routes:
    """Return routes with nothing of this machine's own certs.d."""
    options.setdefault("directories", ())
    return Routes(Tls(environ or {}, **options), Proxies({}))


def shows(request: Request) -> bool:
    """Whether a client certificate was shown."""
    connection = request.writer.get_extra_info("ssl_object")
    return bool(connection.getpeercert())


# Whom it trusts


async def test_ssl_cert_file(authority: Authority) -> None:
    """SSL_CERT_FILE replaces the system's trust."""
    async with (
        Raw(script(OK), tls=authority.server("127.0.0.1")) as server,
        client(routes=routes({"SSL_CERT_FILE": str(authority.file)})) as wire,
    ):
        await wire.resolve(at(server), "v1")


async def test_an_authority_of_all(authority: Authority) -> None:
    """--ca is trusted besides the system's."""
    async with (
        Raw(script(OK), tls=authority.server("127.0.0.1")) as server,
        client(routes=routes(authority=authority.file)) as wire,
    ):
        await wire.resolve(at(server), "v1")


async def test_an_authority_of_one_registry(authority: Authority) -> None:
    """A registry's own authority counts there and nowhere else."""
    async with (
        Raw(script(OK), tls=authority.server("127.0.0.1")) as one,
        Raw(script(OK), tls=authority.server("127.0.0.1")) as other,
        client(routes=routes(authorities={Registry(one.address): authority.file})) as wire,
    ):
        await wire.resolve(at(one), "v1")
        with pytest.raises(NetworkError, match="certificate does not fit"):
            await wire.resolve(at(other), "v1")


@pytest.mark.parametrize("place", [".config/containers/certs.d", "x/containers/certs.d"])
async def test_certs_d_of_the_user(authority: Authority, tmp_path: Path, place: str) -> None:
    """The user's own certs.d is found by HOME and XDG_CONFIG_HOME."""
    environ = {"HOME": str(tmp_path)}
    if place.startswith("x/"):
        environ["XDG_CONFIG_HOME"] = f"{tmp_path}/x"
    async with Raw(script(OK), tls=authority.server("127.0.0.1")) as server:
        copy(authority, tmp_path / place / server.address)
        async with client(routes=Routes(Tls(environ), Proxies({}))) as wire:
            await wire.resolve(at(server), "v1")


async def test_the_first_directory_counts(authority: Authority, tmp_path: Path) -> None:
    """The directories of certs.d are alternatives: one that is there hides the later ones."""
    async with Raw(script(OK), tls=authority.server("127.0.0.1")) as server:
        (tmp_path / "a" / server.address).mkdir(parents=True)
        copy(authority, tmp_path / "b" / server.address)
        directories = (tmp_path / "a", tmp_path / "b")
        async with client(routes=routes(directories=directories)) as wire:
            with pytest.raises(NetworkError, match="certificate does not fit"):
                await wire.resolve(at(server), "v1")


@pytest.mark.parametrize(
    ("names", "life", "why"),
    [
        (("127.0.0.2",), timedelta(days=1), "mismatch"),
        (("registry.example.com",), timedelta(days=1), "mismatch"),
        (("127.0.0.1",), timedelta(days=-1), "expired"),
    ],
)
async def test_a_wrong_certificate(
    authority: Authority, names: tuple[str, ...], life: timedelta, why: str
) -> None:
    """A certificate of another host or of yesterday is refused, and the reason is in the message."""
    async with (
        Raw(script(OK), tls=authority.server(*names, life=life)) as server,
        client(routes=routes(authority=authority.file)) as wire,
    ):
        with pytest.raises(NetworkError, match=why):
            await wire.resolve(at(server), "v1")
    assert not server.requests


async def test_insecure(authority: Authority) -> None:
    """--insecure leaves one registry's certificate unchecked, whatever is wrong with it, and no other one's."""
    async with (
        Raw(script(OK), tls=authority.server("x", life=timedelta(days=-1))) as one,
        Raw(script(OK), tls=authority.server("127.0.0.1")) as other,
        client(routes=routes(insecure=[Registry(one.address)])) as wire,
    ):
        await wire.resolve(at(one), "v1")
        with pytest.raises(NetworkError, match="certificate does not fit"):
            await wire.resolve(at(other), "v1")


async def test_a_redirect_of_an_insecure_registry(authority: Authority) -> None:
    """Where an unchecked registry redirects to, certificates are checked."""
    async with Raw(script(answer(200, SHORT)), tls=authority.server("127.0.0.1")) as storage:
        move = answer(307, location=f"https://{storage.address}/b")
        async with (
            Raw(script(answer(200), move), tls=authority.server("127.0.0.1")) as server,
            client(routes=routes(insecure=[Registry(server.address)])) as wire,
        ):
            with pytest.raises(NetworkError, match="certificate does not fit"):
                await read(wire, at(server), SHORT)
    assert not storage.requests


# Who sees a client certificate


async def test_a_client_certificate(authority: Authority, tmp_path: Path) -> None:
    """A registry that demands a client certificate gets the one of its certs.d."""
    async with Raw(script(OK), tls=authority.server("127.0.0.1", demanding=True)) as server:
        directory = copy(authority, tmp_path / server.address)
        authority.client(directory)
        async with client(routes=routes(directories=[tmp_path])) as wire:
            await wire.resolve(at(server), "v1")
        assert all(shows(request) for request in server.requests)


async def test_no_client_certificate(authority: Authority, tmp_path: Path) -> None:
    """A registry that demands one where there is none is an error."""
    async with Raw(script(OK), tls=authority.server("127.0.0.1", demanding=True)) as server:
        copy(authority, tmp_path / server.address)
        async with client(routes=routes(directories=[tmp_path])) as wire:
            with pytest.raises(NetworkError):
                await wire.resolve(at(server), "v1")


async def test_a_client_certificate_is_shown_to_nobody_else(authority: Authority, tmp_path: Path) -> None:
    """Another origin, redirected to, sees no client certificate, not even the one that certs.d has for it."""
    async with Raw(script(answer(200, SHORT)), tls=authority.server("127.0.0.1")) as storage:
        move = answer(307, location=f"https://{storage.address}/b")
        async with Raw(script(answer(200), move), tls=authority.server("127.0.0.1")) as server:
            for place in (server, storage):
                authority.client(copy(authority, tmp_path / place.address))
            async with client(routes=routes(directories=[tmp_path])) as wire:
                assert SHORT == await read(wire, at(server), SHORT)
        assert ([True, True], [False]) == (
            [shows(request) for request in server.requests],
            [shows(request) for request in storage.requests],
        )


def test_a_real_registry_that_demands_one(authority: Authority, tmp_path: Path) -> None:
    """distribution with client certificates is spoken to with one, and without one is an error at once."""
    certificate, key = authority.files(tmp_path, "127.0.0.1")
    tls = {"certificate": str(certificate), "key": str(key), "clientcas": [str(authority.file)]}
    with Distribution(settings={"http": {"tls": tls}}) as server:
        repository = Repository(Registry(server.address), "team/app")
        authority.client(copy(authority, tmp_path / "certs.d" / server.address))

        async def find(directory: Path) -> object:
            async with client(routes=routes(authority=authority.file, directories=[directory])) as wire:
                return await wire.find(repository, "v1")

        with pytest.raises(NetworkError, match=r"certs\.d holds them"):
            asyncio.run(find(tmp_path / "none"))
        assert None is asyncio.run(find(tmp_path / "certs.d"))


async def test_a_registry_without_tls() -> None:
    """Where no TLS is spoken, the message names the option for that."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        there = Repository(Registry(f"registry.example.com:{port}"), "team/app")
        found = Routes(Tls({}, directories=()), Proxies({}), lookup=lookup)
        async with client(routes=found) as wire:
            with pytest.raises(NetworkError, match=r"no TLS is spoken there .* --plain-http"):
                await wire.resolve(there, "v1")


def test_contexts_are_made_once(authority: Authority) -> None:
    """An origin has one context, and as a foreign one another."""
    here, registry = origin("https://registry.example.com/"), Registry("registry.example.com")
    tls = Tls({}, authorities={registry: authority.file}, directories=())
    contexts = [tls.context(here, registry), tls.context(here, registry), tls.context(here, None)]
    assert [True, False] == [contexts[0] is each for each in contexts[1:]]


def test_the_systems_authorities_are_loaded_once(authority: Authority, tmp_path: Path) -> None:
    """Origins that nothing is said of share a context, which no origin with rules of its own gets."""
    authority.client(tmp_path / "known.example.com")
    careless = Registry("careless.example.com")
    tls = Tls({}, authority=authority.file, insecure=[careless], directories=[tmp_path])
    names = ("a.example.com", "b.example.com", "known.example.com", careless)
    contexts = [tls.context(origin(f"https://{name}/"), Registry(name)) for name in names]
    contexts += [tls.context(origin(f"https://{name}/"), None) for name in ("c.example.com", careless)]
    assert [0, 0, 2, 3, 0, 0] == [contexts.index(each) for each in contexts]


# Files that do not help


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
@pytest.mark.parametrize("way", ["authority", "authorities", "SSL_CERT_FILE"])
def test_a_file_without_certificates(tmp_path: Path, way: str, content: bytes | None) -> None:
    """A file of authorities that is missing or holds none fails at once and is named."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    environ = {"SSL_CERT_FILE": str(file)} if way == "SSL_CERT_FILE" else {}
    options: dict[str, Any] = {"authority": file} if way == "authority" else {}
    if way == "authorities":
        options = {"authorities": {Registry("r.example.com"): file}}
    with pytest.raises(SpecError, match=r"ca\.pem cannot be read as certificates of authorities"):
        Tls(environ, directories=(), **options)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "its key client.key is missing"),
        ("junk", "are not a certificate and its key"),
        ("encrypted", "without a passphrase"),
        ("authority", "cannot be read as certificates"),
    ],
)
def test_a_pair_that_is_none(authority: Authority, tmp_path: Path, damage: str, message: str) -> None:
    """A client certificate without a key that fits is the user's error, and nothing asks for a passphrase."""
    directory = tmp_path / "r.example.com"
    authority.client(directory)
    key = directory / "client.key"
    if damage == "missing":
        key.unlink()
    elif damage == "junk":
        key.write_text("junk")
    elif damage == "authority":
        (directory / "ca.crt").write_text("junk")
    else:
        key.write_bytes(encrypted(key.read_bytes()))
    with pytest.raises(SpecError, match=message):
        Tls({}, directories=[tmp_path]).context(origin("https://r.example.com/"), Registry("r.example.com"))


def test_several_pairs(authority: Authority, tmp_path: Path) -> None:
    """Of several client certificates the first by name is used, and that is said."""
    warnings: list[str] = []
    for name in ("b", "a"):
        authority.client(tmp_path / "r.example.com", name)
    tls = Tls({}, directories=[tmp_path], warn=warnings.append)
    tls.context(origin("https://r.example.com/"), Registry("r.example.com"))
    assert [f"{tmp_path}/r.example.com has several client certificates; a.cert is used"] == warnings


def test_the_default_checks(tmp_path: Path) -> None:
    """Without a word of the user, names and authorities are checked."""
    context = Tls({}, directories=[tmp_path]).context(
        origin("https://r.example.com/"), Registry("r.example.com")
    )
    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)


def copy(authority: Authority, directory: Path) -> Path:
    """Put the authority into a directory of certs.d."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ca.crt").write_bytes(authority.file.read_bytes())
    return directory


def encrypted(key: bytes) -> bytes:
    """Return a key that needs a passphrase."""
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
