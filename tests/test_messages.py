"""Whoever reads an error knows who is to blame, for which image, at which registry, and what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trustme

from mmgraph.errors import MmgraphError, NetworkError
from mmgraph.names import Registry, Repository
from mmgraph.registry.blame import other_bytes, sentence
from mmgraph.registry.credentials import Credentials
from mmgraph.registry.retries import give_up
from mmgraph.server import Flip, Rule
from mmgraph.store import Operation
from tests.support.making import content, manifest
from tests.support.raw import Raw, answer, script
from tests.support.rig import rig
from tests.support.tls import Guarded, certified
from tests.test_client import client, digest_of
from tests.test_execute import Run, lay

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = digest_of(b"x")
AT = "https://ghcr.io/v2/acme/app"
GO = "Client sent an HTTP request to an HTTPS server."
NO_PLAIN_HTTP = "TLS is spoken there, so do without --plain-http"
OTHER = digest_of(b"y")
TOO_LARGE = "r.example takes nothing as large as this for app (413): raise its limit, or its proxy's"
LOGIN = "the login of ~/.docker/config.json may pull but not push"

MESSAGES = [
    (
        (Operation.PUT_MANIFEST, f"{AT}/manifests/v1", 403, ("DENIED",), "", LOGIN, 1),
        f"ghcr.io refused the push to acme/app (403 DENIED): {LOGIN}",
    ),
    (
        (Operation.GET_MANIFEST, f"{AT}/manifests/v1", 401, ("UNAUTHORIZED",), "", "log in", 1),
        "ghcr.io refused the pull from acme/app (401 UNAUTHORIZED): log in",
    ),
    (
        (Operation.GET_MANIFEST, f"{AT}/manifests/v1", 404, ("MANIFEST_UNKNOWN",), "", "", 1),
        "ghcr.io has no acme/app:v1 (404 MANIFEST_UNKNOWN): check the name and the tag, and the login",
    ),
    (
        (Operation.POST_UPLOAD, f"{AT}/blobs/uploads/", 404, ("NAME_UNKNOWN",), "", "", 1),
        "ghcr.io has no repository acme/app (404 NAME_UNKNOWN): create the repository there first",
    ),
    (
        (Operation.PUT_BLOB, f"{AT}/blobs/uploads/u?_state=x", 413, (), "", "", 1),
        "ghcr.io takes nothing as large as this for acme/app (413): raise its limit, or its proxy's",
    ),
    (
        (Operation.PUT_BLOB, "https://r.example/v2/app/blobs/uploads/u", 413, (), "", "", 1),
        f"{TOO_LARGE}, or have blobs sent to it in chunks (upload-chunk in mmgraph.toml)",
    ),
    (
        (Operation.PATCH_UPLOAD, "https://r.example/v2/app/blobs/uploads/u", 413, (), "", "", 1),
        f"{TOO_LARGE}, or send it shorter chunks (upload-chunk)",
    ),
    (
        (Operation.PUT_MANIFEST, "https://r.example/v2/app/manifests/v1", 413, (), "", "", 1),
        TOO_LARGE,
    ),
    (
        (Operation.HEAD_MANIFEST, f"{AT}/manifests/v1", 429, ("TOOMANY",), "slow", "", 7),
        'ghcr.io asks to wait with acme/app (429 TOOMANY, after 7 tries): run it again later; it said "slow"',
    ),
    (
        (Operation.GET_BLOB, f"{AT}/blobs/{DIGEST}", 404, ("BLOB_UNKNOWN",), "", "", 1),
        f"ghcr.io has no blob {DIGEST} in acme/app (404 BLOB_UNKNOWN)",
    ),
    (
        (Operation.GET_BLOB, "https://cdn.example/x?sig=abc", 403, (), "expired", "", 1),
        'cdn.example, where the registry keeps its blobs, refused the request (403); it said "expired"',
    ),
    (
        (Operation.POST_UPLOAD, f"{AT}/blobs/uploads/", 405, ("UNSUPPORTED",), "", "", 1),
        "ghcr.io does not accept the push to acme/app (405 UNSUPPORTED): nothing can be pushed there",
    ),
    (
        (Operation.PUT_MANIFEST, f"{AT}/manifests/v1", 503, (), "", "", 8),
        "ghcr.io failed with acme/app (503, after 8 tries): its log says why; run it again when it is well",
    ),
    (
        (Operation.POST_UPLOAD, f"{AT}/blobs/uploads/", 400, (), GO, "", 1),
        f'ghcr.io does not accept the push to acme/app (400): {NO_PLAIN_HTTP}; it said "{GO}"',
    ),
]


@pytest.mark.parametrize(("refusal", "expected"), MESSAGES, ids=lambda value: None)
def test_what_a_refusal_means(
    refusal: tuple[Operation, str, int, tuple[str, ...], str, str, int], expected: str
) -> None:
    """One sentence: who, what, which image, the registry's code, what to do."""
    assert expected == sentence(*refusal)


async def test_a_refused_push_names_the_login(tmp_path: Path) -> None:
    """The file that the login is from is named, and nothing of what is secret in it."""
    login = tmp_path / "auth.json"
    refusal = answer(403, b'{"errors":[{"code":"DENIED","message":"no \\u001b[31mpush"}]}')
    challenge = answer(401, www_authenticate="Basic realm=x")
    async with Raw(script(challenge, refusal)) as server:
        login.write_text(json.dumps({"auths": {server.address: {"username": "me", "password": "canary"}}}))
        options = {"credentials": Credentials({}, login), "plain_http": [Registry(server.address)]}
        async with client(**options) as wire:
            with pytest.raises(MmgraphError) as caught:
                await wire.start(Repository(Registry(server.address), "acme/app"), DIGEST, None)
        text = str(caught.value)
        expected = (f"{server.address} refused the push to acme/app (403 DENIED): ", True, False, False)
        found = (text[: len(expected[0])], str(login) in text, "canary" in text, "\x1b" in text)
        assert expected == found


@pytest.mark.parametrize(
    ("registry", "plain", "expected"),
    [
        ("127.0.0.1:1", True, "cannot be reached"),
        ("no-such-host.invalid", False, "the host name is not known"),
    ],
)
async def test_a_registry_that_cannot_be_reached(registry: str, plain: bool, expected: str) -> None:
    """Nobody listens, or nobody knows the name: the registry is named, and what is wrong."""
    place = Registry(registry)
    async with client(plain_http=[place] if plain else []) as wire:
        with pytest.raises(MmgraphError) as caught:
            await wire.resolve(Repository(place, "a"), "v1")
    assert (True, True) == (registry in str(caught.value), expected in str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("what", "advice"),
    [
        ("nothing listens there", ": check host and port"),
        ("no TLS is spoken there (WRONG)", "; if the registry has none, say so with --plain-http"),
        ("Broken pipe", ""),
    ],
)
def test_what_helps_stands_at_the_end(what: str, advice: str) -> None:
    """First how often it was tried."""
    error = NetworkError(f"{what}{advice}")
    give_up(error, 5)
    assert f"{what}, after 5 tries{advice}" == str(error)


async def test_nobody_listens() -> None:
    """It is said how often that was tried, and then what to check."""
    place = Registry("127.0.0.1:1")
    async with client(plain_http=[place]) as wire:
        with pytest.raises(MmgraphError) as caught:
            await wire.resolve(Repository(place, "a"), "v1")
    expected = "nothing listens there, after 5 tries: check host and port"
    assert expected == str(caught.value)[-len(expected) :]


@pytest.mark.parametrize(
    ("url", "tries", "expected"),
    [
        (
            f"{AT}/manifests/{DIGEST}",
            2,
            f"ghcr.io sent other bytes than asked for as acme/app@{DIGEST} ({OTHER}",
        ),
        (f"{AT}/manifests/v1", 1, f"ghcr.io sent other bytes than asked for as acme/app:v1 ({OTHER}): "),
        ("https://cdn.example/x?sig=abc", 1, f"cdn.example sent other bytes than asked for ({OTHER}): "),
    ],
)
def test_other_bytes(url: str, tries: int, expected: str) -> None:
    """Who sent them, for which image, what they are, and what to do."""
    found = other_bytes(url, OTHER, tries)
    shown = found[: len(expected)], "push the image there again" in found, f"after {tries} tries" in found
    assert (expected, True, tries > 1) == shown


async def test_a_source_that_lies_about_a_blob() -> None:
    """A blob that never comes right: which, of which source, how often it was asked for, and what to do."""
    async with rig() as rigged:
        image = manifest("config")
        await lay(rigged, "a", "1", image, "config")
        rigged.fault(0, Rule(Flip(), Operation.GET_BLOB))
        account = await Run(rigged, [("a:1", "b:1")]).apply()
        source, name = rigged.servers[0].address, digest_of(content("config", 10))
    cause = account.ends[0].cause
    expected = f"{source}/a sent other bytes for {name}", True, True
    found = (
        cause[cause.index(source) :][: len(expected[0])],
        "after 2 tries" in cause,
        "push it there again" in cause,
    )
    assert expected == found, cause


HTTPS = {
    "alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "hung up": None,
    "Go": b"HTTP/1.0 400 Bad Request\r\n\r\n" + GO.encode(),
}


@pytest.mark.parametrize("name", HTTPS)
async def test_tls_where_none_was_expected(name: str) -> None:
    """Servers with TLS that are spoken to without it answer in three ways, and each message names the option."""
    async with Raw(script(HTTPS[name])) as server:
        place = Registry(server.address)
        async with client(plain_http=[place]) as wire:
            with pytest.raises(MmgraphError) as caught:
                await wire.resolve(Repository(place, "a"), "v1")
    text = str(caught.value)
    expected = (f"{place} cannot be reached: ", True, True)
    found = text[: len(expected[0])], "after 5 tries" in text, text.endswith("do without --plain-http")
    assert expected == found, text


async def test_tls_of_distribution(tmp_path: Path) -> None:
    """What a real registry with TLS says to who speaks without it is understood."""
    tls = certified(trustme.CA(), tmp_path, clients=False)
    with Guarded(settings={"http": {"tls": tls}}) as server:
        place = Registry(server.address)
        async with client(plain_http=[place]) as wire:
            with pytest.raises(MmgraphError) as read:
                await wire.resolve(Repository(place, "a"), "v1")
        async with client(plain_http=[place]) as wire:
            with pytest.raises(MmgraphError) as written:
                await wire.start(Repository(place, "a"), DIGEST, None)
    texts = [str(read.value), str(written.value)]
    assert [True, True] == ["do without --plain-http" in text and place in text for text in texts], texts
