"""Login files: where they are, whose they are, and what of them may be seen."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.errors import SpecError
from mmgraph.names import Repository
from mmgraph.registry.credentials import Credential, Credentials, Secret

if TYPE_CHECKING:
    from pathlib import Path

APP = Repository.parse("registry.example.com/team/app")
CANARY = "correct-horse-battery"


def entry(user: str, password: str = CANARY) -> dict[str, str]:
    """Return an entry as docker login writes it."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def auths(**users: str) -> str:
    """Return a login file with one user for each key."""
    return json.dumps({"auths": {key: entry(user) for key, user in users.items()}})


def write(path: Path, content: object) -> Path:
    """Write a login file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def find(home: Path, repository: Repository = APP, **environ: str) -> Credential | None:
    """Look a repository up with an environment of its own."""
    return Credentials({"XDG_RUNTIME_DIR": str(home / "run"), **environ}, home=home).find(repository)


def user(credential: Credential | None) -> str | None:
    """Return who it is, None for nobody."""
    return credential.username if credential else None


def test_a_login_is_user_and_password(tmp_path: Path) -> None:
    """A docker login file's auth is decoded; a colon in the password stays."""
    write(tmp_path / ".docker/config.json", {"auths": {"registry.example.com": entry("me", "a:b")}})
    assert Credential("me", Secret("a:b")) == find(tmp_path)


def test_nobody(tmp_path: Path) -> None:
    """Without any login file there is no credential."""
    assert None is find(tmp_path)


ORDER = [
    ("run/containers/auth.json", "runtime"),
    (".config/containers/auth.json", "config"),
    (".docker/config.json", "docker"),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_order_of_files(tmp_path: Path, first: int) -> None:
    """podman's files come before docker's, and the first that has the key wins."""
    for path, name in ORDER[first:]:
        write(tmp_path / path, auths(**{"registry.example.com": name}))
    assert ORDER[first][1] == user(find(tmp_path))


def test_the_next_file_is_asked(tmp_path: Path) -> None:
    """A file without the key does not end the search."""
    write(tmp_path / "run/containers/auth.json", auths(**{"other.example.com": "other"}))
    write(tmp_path / ".docker/config.json", auths(**{"registry.example.com": "me"}))
    expected = "me"
    assert expected == user(find(tmp_path))


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("XDG_CONFIG_HOME", "containers/auth.json"),
        ("DOCKER_CONFIG", "config.json"),
        ("REGISTRY_AUTH_FILE", ""),
    ],
)
def test_the_environment_moves_files(tmp_path: Path, variable: str, path: str) -> None:
    """The variables that podman and docker read move the files."""
    write(
        tmp_path / "elsewhere" / path if path else tmp_path / "elsewhere",
        auths(**{"registry.example.com": "me"}),
    )
    expected = "me"
    environ: dict[str, Any] = {variable: str(tmp_path / "elsewhere")}
    assert expected == user(find(tmp_path, **environ))


def test_docker_auth_config_comes_first(tmp_path: Path) -> None:
    """DOCKER_AUTH_CONFIG holds JSON itself, and wins over all files."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "file"}))
    found = find(tmp_path, DOCKER_AUTH_CONFIG=auths(**{"registry.example.com": "inline"}))
    expected = "inline"
    assert expected == user(found)


def test_an_authfile_stands_alone(tmp_path: Path) -> None:
    """With --authfile nothing else is read, the environment included."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "file"}))
    authfile = write(tmp_path / "mine.json", auths(**{"other.example.com": "me"}))
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "REGISTRY_AUTH_FILE": "/nonexistent"}
    assert None is Credentials(environ, authfile, tmp_path).find(APP)


def test_registry_auth_file_stands_alone(tmp_path: Path) -> None:
    """With REGISTRY_AUTH_FILE nothing else is read."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "file"}))
    alone = write(tmp_path / "mine.json", auths(**{"other.example.com": "me"}))
    assert None is find(tmp_path, REGISTRY_AUTH_FILE=str(alone))


def test_dockercfg(tmp_path: Path) -> None:
    """The oldest form has the entries at the top."""
    write(tmp_path / ".dockercfg", {"https://registry.example.com/v1/": entry("old")})
    expected = "old"
    assert expected == user(find(tmp_path))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            ["registry.example.com", "registry.example.com/team", "registry.example.com/team/app"],
            "registry.example.com/team/app",
        ),
        (["registry.example.com", "registry.example.com/team"], "registry.example.com/team"),
        (["registry.example.com", "registry.example.com/other"], "registry.example.com"),
        (["registry.example.com/team/ap"], None),
        (["https://registry.example.com"], "https://registry.example.com"),
        (["https://registry.example.com/v2/"], "https://registry.example.com/v2/"),
        (["registry.example.com/v1/"], "registry.example.com/v1/"),
        (["http://registry.example.com/v1/", "registry.example.com"], "registry.example.com"),
        (["REGISTRY.example.com"], "REGISTRY.example.com"),
        (["registry.example.com:443"], None),
        (["example.com"], None),
    ],
)
def test_the_most_specific_key(tmp_path: Path, keys: list[str], expected: str | None) -> None:
    """A key of a repository beats one of its namespace and host; legacy keys mean their host."""
    write(tmp_path / ".docker/config.json", auths(**{key: str(number) for number, key in enumerate(keys)}))
    found = user(find(tmp_path))
    assert expected == (keys[int(found)] if found else None)


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
)
def test_docker_hub(tmp_path: Path, key: str) -> None:
    """Docker Hub's login is found under all its names."""
    write(tmp_path / ".docker/config.json", auths(**{key: "me"}))
    expected = "me"
    assert expected == user(find(tmp_path, Repository.parse("alpine")))


def test_tokens(tmp_path: Path) -> None:
    """Identity and registry tokens are read, an ACR-like user beside them."""
    login = {**entry("me", ""), "identitytoken": "refresh", "registrytoken": "bearer"}
    write(tmp_path / ".docker/config.json", {"auths": {"registry.example.com": login}})
    assert Credential("me", None, Secret("refresh"), Secret("bearer")) == find(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"credHelpers": {"registry.example.com": "gcloud"}},
        {"credHelpers": {"registry.example.com": "gcloud"}, "auths": {"registry.example.com": entry("me")}},
        {"credsStore": "gcloud", "auths": {"registry.example.com": {}}},
    ],
)
def test_helpers_are_not_passed_over(tmp_path: Path, config: dict[str, Any]) -> None:
    """A login that a helper keeps is an error that names it, not silence."""
    write(tmp_path / ".docker/config.json", config)
    with pytest.raises(SpecError, match=r'registry\.example\.com in the credential helper "gcloud"'):
        find(tmp_path)


def test_a_store_without_a_login(tmp_path: Path) -> None:
    """A store is no obstacle to a registry that nobody logged in to."""
    write(tmp_path / ".docker/config.json", {"credsStore": "desktop", "auths": {"other.example.com": {}}})
    assert None is find(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        f"{{{CANARY}",
        f'"{CANARY}"',
        f'{{"auths": "{CANARY}"}}',
        f'{{"auths": {{"registry.example.com": "{CANARY}"}}}}',
        f'{{"auths": {{"registry.example.com": {{"auth": "{CANARY}"}}}}}}',
        f'{{"auths": {{"registry.example.com": {{"auth": ["{CANARY}"]}}}}}}',
        "[" * 100_000,
        '{"auths": {"registry.example.com": {"auth": "/////w=="}}}',
    ],
)
def test_a_broken_file(tmp_path: Path, content: str) -> None:
    """A file that is no login file is named, and nothing of it is shown, not even in a traceback."""
    path = write(tmp_path / ".docker/config.json", content)
    with pytest.raises(SpecError, match=r"config\.json") as caught:
        find(tmp_path)
    shown = "".join(traceback.format_exception(caught.value))
    expected = (True, False)
    assert expected == (str(path) in shown, CANARY in shown)


def test_an_authfile_that_is_missing(tmp_path: Path) -> None:
    """A file named by the user must exist."""
    with pytest.raises(SpecError, match="does not exist"):
        Credentials({}, tmp_path / "missing.json", tmp_path).find(APP)


def test_an_unreadable_file(tmp_path: Path) -> None:
    """What is there and cannot be read is an error, not an anonymous run."""
    (tmp_path / ".docker/config.json").mkdir(parents=True)
    with pytest.raises(SpecError, match="cannot be read"):
        find(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    """An empty login file holds no login."""
    write(tmp_path / ".docker/config.json", "")
    assert None is find(tmp_path)


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
