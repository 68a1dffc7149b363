"""A login file's forms, and that nothing in one comes out but entries and declared errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import SpecError
from mmgraph.registry.logins import Logins, normal
from mmgraph.registry.secrets import Credential, Secret

CANARY = "correct-horse-battery"
KEY = "registry.example.com"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("registry.example.com", "registry.example.com"),
        ("registry.example.com/team/app", "registry.example.com/team/app"),
        ("https://registry.example.com/v1/", "registry.example.com"),
        ("http://registry.example.com:5000/any/path", "registry.example.com:5000"),
        ("registry.example.com/v2", "registry.example.com"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine"),
        ("", ""),
    ],
)
def test_normal(key: str, expected: str) -> None:
    """Legacy keys mean their host, Docker Hub has one name, the rest stays."""
    assert expected == normal(key)


@pytest.mark.parametrize(
    ("auths", "expected"),
    [
        (
            {KEY: {"username": "a", "password": "p"}, f"https://{KEY}": {"username": "b", "password": "p"}},
            "a",
        ),
        (
            {f"https://{KEY}": {"username": "b", "password": "p"}, KEY: {"username": "a", "password": "p"}},
            "a",
        ),
        ({KEY: {}, f"https://{KEY}": {"username": "b", "password": "p"}}, "b"),
        ({f"https://{KEY}": {"username": "b", "password": "p"}, KEY: {}}, "b"),
    ],
)
def test_two_spellings_of_a_key(auths: dict[str, Any], expected: str) -> None:
    """Today's spelling beats a legacy one, whatever their order, and something beats nothing."""
    found = Logins("file", json.dumps({"auths": auths}).encode()).entries[KEY].credential
    assert found is not None
    assert expected == found.username


def test_a_byte_order_mark() -> None:
    """A file that PowerShell wrote is read."""
    content = b"\xef\xbb\xbf" + json.dumps({"auths": {KEY: {"identitytoken": "i"}}}).encode()
    expected = Credential(identity_token=Secret("i"))
    assert expected == Logins("file", content).entries[KEY].credential


@pytest.mark.parametrize("token", ["a\r\nb", "a b", "\u00e9"])
def test_a_registry_token_that_would_end_its_header(token: str) -> None:
    """What cannot stand in a header is a problem of its key alone."""
    content = json.dumps(
        {"auths": {KEY: {"registrytoken": token}, "other.example.com": {"identitytoken": "i"}}}
    )
    logins = Logins("file", content.encode())
    expected = ('file: registrytoken of "registry.example.com" is not a token', "")
    assert expected == (logins.entries[KEY].problem, logins.entries["other.example.com"].problem)


def test_a_key_with_a_password_is_not_shown() -> None:
    """Who has written a password into a key does not find it in a message."""
    logins = Logins("file", json.dumps({"auths": {f"me:{CANARY}@host": 7}}).encode())
    (entry,) = logins.entries.values()
    expected = (True, False)
    assert expected == (bool(entry.problem), CANARY in entry.problem)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
TEXTS = st.sampled_from(["", "me:p", "bWU6cA==", "bWU6cA", "////", CANARY]) | st.text(max_size=20)
ENTRIES = st.dictionaries(
    st.sampled_from(["auth", "identitytoken", "registrytoken", "username", "password"]), TEXTS | VALUES
)
KEYS = st.sampled_from([KEY, f"https://{KEY}/v1/", "docker.io", "/", "a@b", "x" * 300]) | st.text(max_size=20)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "auths": VALUES | st.dictionaries(KEYS, ENTRIES | VALUES, max_size=4),
        "credHelpers": VALUES | st.dictionaries(KEYS, TEXTS, max_size=4),
        "credsStore": VALUES | TEXTS,
    },
)


@given(FILES | VALUES, st.booleans())
def test_any_json_is_read_or_refused(document: Any, legacy: bool) -> None:
    """Whatever JSON a file holds, entries or the declared error come of it, and no message quotes it."""
    messages: list[str] = []
    try:
        logins = Logins("file", json.dumps(document).encode("utf-8", "surrogatepass"), legacy=legacy)
        messages += [entry.problem for entry in logins.entries.values()]
    except SpecError as error:
        messages.append(str(error))
    assert not any(CANARY in message for message in messages)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Whatever bytes a file holds, only the declared error comes of it."""
    try:
        Logins("file", content)
    except SpecError:
        return
