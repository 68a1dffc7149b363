"""What hides a secret, and how it is spelled where it is meant to be seen."""

from __future__ import annotations

import base64
import pickle

import pytest

from mmgraph.registry.secrets import Credential, Secret

CANARY = "correct-horse-battery"


def test_a_secret_does_not_show() -> None:
    """No way of printing a secret shows it, alone or within a credential."""
    secret = Secret(CANARY)
    credential = Credential("me", secret, secret, secret)
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r}",
        f"{[secret]}",
        str(credential),
        repr(credential),
    ]
    assert not any(CANARY in text for text in shown)


def test_a_secret_is_not_pickled() -> None:
    """A secret cannot be written to another process or file."""
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))


def test_basic() -> None:
    """Basic is base64 of user and password in UTF-8 (RFC 7617)."""
    expected = Secret(f"Basic {base64.b64encode('me:pä:ss'.encode()).decode()}")
    assert expected == Credential("me", Secret("pä:ss")).basic()


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (Credential("me", Secret("p")), "basic"),
        (Credential("me", Secret("p"), Secret("i")), "identity token"),
        (Credential("me", Secret("p"), Secret("i"), Secret("r")), "registry token"),
    ],
)
def test_kind(credential: Credential, expected: str) -> None:
    """What is shown first gives a credential its name."""
    assert expected == credential.kind


def test_an_identity_token_as_password() -> None:
    """An identity token can stand in for a password; where there is none, nothing can."""
    expected = (Secret(f"Basic {base64.b64encode(b'me:i').decode()}"), None)
    found = (
        Credential("me", identity_token=Secret("i")).identity_as_password(),
        Credential("me", Secret("p")).identity_as_password(),
    )
    assert expected == found
