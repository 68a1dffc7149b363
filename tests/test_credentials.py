"""Login files: where they are, whose they are, and what of them may be seen."""

from __future__ import annotations

import base64
import json
import os
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from mmgraph.errors import SpecError
from mmgraph.names import Repository
from mmgraph.registry.credentials import Credentials, Login
from mmgraph.registry.secrets import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
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


def helper(home: Path, name: str, script: str) -> None:
    """Write a credential helper onto the PATH of ``find``."""
    path = write(home / "bin" / f"docker-credential-{name}", f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def files(home: Path, environ: Mapping[str, str], warnings: list[str] | None = None) -> Credentials:
    """Return the login files below ``home``."""
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    return Credentials(
        {"XDG_RUNTIME_DIR": str(home / "run"), "PATH": path, **environ},
        home=home,
        warn=(warnings if warnings is not None else []).append,
    )


async def login(home: Path, repository: Repository = APP, **environ: str) -> Login | None:
    """Look a repository up with an environment of its own."""
    return await files(home, environ).find(repository)


async def find(home: Path, repository: Repository = APP, **environ: str) -> Credential | None:
    """Return the credential alone."""
    found = await login(home, repository, **environ)
    return found.credential if found else None


def user(credential: Credential | None) -> str | None:
    """Return who it is, None for nobody."""
    return credential.username if credential else None


async def test_a_login_is_user_and_password(tmp_path: Path) -> None:
    """A docker login file's auth is decoded; a colon in the password stays."""
    write(tmp_path / ".docker/config.json", {"auths": {"registry.example.com": entry("me", "a:b")}})
    assert Credential("me", Secret("a:b")) == await find(tmp_path)


async def test_nobody(tmp_path: Path) -> None:
    """Without any login file there is no credential."""
    assert None is await find(tmp_path)


ORDER = [
    ("run/containers/auth.json", "runtime"),
    (".config/containers/auth.json", "config"),
    (".docker/config.json", "docker"),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
async def test_order_of_files(tmp_path: Path, first: int) -> None:
    """podman's files come before docker's, and the first that has the key wins."""
    for path, name in ORDER[first:]:
        write(tmp_path / path, auths(**{"registry.example.com": name}))
    assert ORDER[first][1] == user(await find(tmp_path))


async def test_the_next_file_is_asked(tmp_path: Path) -> None:
    """A file without the key does not end the search."""
    write(tmp_path / "run/containers/auth.json", auths(**{"other.example.com": "other"}))
    write(tmp_path / ".docker/config.json", auths(**{"registry.example.com": "me"}))
    expected = "me"
    assert expected == user(await find(tmp_path))


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("XDG_CONFIG_HOME", "containers/auth.json"),
        ("DOCKER_CONFIG", "config.json"),
        ("REGISTRY_AUTH_FILE", ""),
    ],
)
async def test_the_environment_moves_files(tmp_path: Path, variable: str, path: str) -> None:
    """The variables that podman and docker read move the files."""
    write(
        tmp_path / "elsewhere" / path if path else tmp_path / "elsewhere",
        auths(**{"registry.example.com": "me"}),
    )
    expected = "me"
    environ: dict[str, Any] = {variable: str(tmp_path / "elsewhere")}
    assert expected == user(await find(tmp_path, **environ))


async def test_docker_auth_config_comes_first(tmp_path: Path) -> None:
    """DOCKER_AUTH_CONFIG holds JSON itself, and wins over all files."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "file"}))
    found = await find(tmp_path, DOCKER_AUTH_CONFIG=auths(**{"registry.example.com": "inline"}))
    expected = "inline"
    assert expected == user(found)


async def test_an_authfile_stands_alone(tmp_path: Path) -> None:
    """With --authfile nothing else is read, the environment included."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "file"}))
    authfile = write(tmp_path / "mine.json", auths(**{"other.example.com": "me"}))
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "REGISTRY_AUTH_FILE": "/nonexistent"}
    assert None is await Credentials(environ, authfile, tmp_path).find(APP)


async def test_registry_auth_file_stands_alone(tmp_path: Path) -> None:
    """With REGISTRY_AUTH_FILE nothing else is read."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "file"}))
    alone = write(tmp_path / "mine.json", auths(**{"other.example.com": "me"}))
    assert None is await find(tmp_path, REGISTRY_AUTH_FILE=str(alone))


async def test_dockercfg(tmp_path: Path) -> None:
    """The oldest form has the entries at the top."""
    write(tmp_path / ".dockercfg", {"https://registry.example.com/v1/": entry("old")})
    expected = "old"
    assert expected == user(await find(tmp_path))


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
async def test_the_most_specific_key(tmp_path: Path, keys: list[str], expected: str | None) -> None:
    """A key of a repository beats one of its namespace and host; legacy keys mean their host."""
    write(tmp_path / ".docker/config.json", auths(**{key: str(number) for number, key in enumerate(keys)}))
    found = user(await find(tmp_path))
    assert expected == (keys[int(found)] if found else None)


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
)
async def test_docker_hub(tmp_path: Path, key: str) -> None:
    """Docker Hub's login is found under all its names."""
    write(tmp_path / ".docker/config.json", auths(**{key: "me"}))
    expected = "me"
    assert expected == user(await find(tmp_path, Repository.parse("alpine")))


async def test_tokens(tmp_path: Path) -> None:
    """Identity and registry tokens are read, an ACR-like user beside them."""
    login = {**entry("me", ""), "identitytoken": "refresh", "registrytoken": "bearer"}
    write(tmp_path / ".docker/config.json", {"auths": {"registry.example.com": login}})
    assert Credential("me", None, Secret("refresh"), Secret("bearer")) == await find(tmp_path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"credHelpers": {"registry.example.com": "one"}, "credsStore": "two"}, "one"),
        ({"credHelpers": {"other.example.com": "one"}, "credsStore": "two"}, "two"),
        ({"credsStore": "two", "auths": {"registry.example.com": {}}}, "two"),
        ({"credsStore": "two", "auths": {"registry.example.com": entry("file")}}, "file"),
        (
            {
                "credHelpers": {"registry.example.com": "one"},
                "auths": {"registry.example.com": entry("file")},
            },
            "one",
        ),
        (
            {
                "credHelpers": {"registry.example.com": "one"},
                "auths": {"registry.example.com/team": entry("file")},
            },
            "file",
        ),
        ({"credHelpers": {"registry.example.com": "empty"}, "credsStore": "two"}, None),
        ({"credHelpers": {"registry.example.com": ""}, "credsStore": "two"}, None),
        ({"credHelpers": {"https://registry.example.com/v1/": "one"}}, "one"),
    ],
)
async def test_helpers(tmp_path: Path, config: dict[str, Any], expected: str | None) -> None:
    """A host's helper beats the store, an entry in the file beats the store, the most specific key beats all."""
    for name in ("one", "two"):
        helper(tmp_path, name, f'cat >/dev/null; echo \'{{"Username":"{name}","Secret":"s"}}\'')
    helper(tmp_path, "empty", "cat >/dev/null; echo credentials not found in native keychain; exit 1")
    write(tmp_path / ".docker/config.json", config)
    assert expected == user(await find(tmp_path))


async def test_a_helper_that_has_nothing_passes_on(tmp_path: Path) -> None:
    """Where a helper knows no credential the next file is asked, as podman does."""
    helper(tmp_path, "empty", "cat >/dev/null; echo credentials not found in native keychain; exit 1")
    write(tmp_path / "run/containers/auth.json", {"credHelpers": {"registry.example.com": "empty"}})
    write(tmp_path / ".docker/config.json", auths(**{"registry.example.com": "me"}))
    expected = "me"
    assert expected == user(await find(tmp_path))


@pytest.mark.parametrize(
    ("image", "auths", "expected"),
    [
        ("registry.example.com/app", {}, ["registry.example.com"]),
        ("registry.example.com/app", {"registry.example.com": {}}, ["registry.example.com"]),
        (
            "registry.example.com/app",
            {"https://registry.example.com/v1/": {}},
            ["https://registry.example.com/v1/", "registry.example.com"],
        ),
        (
            "registry.example.com/app",
            {"https://registry.example.com/\nhost=evil": {}},
            ["registry.example.com"],
        ),
        ("alpine", {}, ["https://index.docker.io/v1/", "docker.io"]),
        ("alpine", {"docker.io": {}}, ["docker.io", "https://index.docker.io/v1/"]),
    ],
)
async def test_what_a_store_is_asked(
    tmp_path: Path, image: str, auths: dict[str, Any], expected: list[str]
) -> None:
    """A store is asked by the key that docker login wrote, then by the usual ones, each of the same host."""
    helper(
        tmp_path,
        "store",
        f"(cat; echo) >>{tmp_path}/asked; echo credentials not found in native keychain; exit 1",
    )
    write(tmp_path / ".docker/config.json", {"credsStore": "store", "auths": auths})
    await find(tmp_path, Repository.parse(image))
    assert expected == (tmp_path / "asked").read_text().splitlines()


async def test_a_helper_that_fails(tmp_path: Path) -> None:
    """A helper that fails is an error that names file, helper and registry, and what it said is not shown."""
    helper(tmp_path, "bad", f"echo {CANARY}; echo {CANARY} >&2; exit 3")
    write(tmp_path / ".docker/config.json", {"credHelpers": {"registry.example.com": "bad"}})
    with pytest.raises(SpecError) as caught:
        await find(tmp_path)
    shown = "".join(traceback.format_exception(caught.value))
    words = ("~/.docker/config.json", '"bad"', "registry.example.com", "code 3", "--anonymous")
    expected: tuple[list[str], bool] = ([], False)
    assert expected == ([word for word in words if word not in shown], CANARY in shown)


async def test_anonymous_looks_nothing_up(tmp_path: Path) -> None:
    """For a registry of --anonymous no file is read and no helper run."""
    write(tmp_path / ".docker/config.json", f"{{{CANARY}")
    credentials = Credentials({}, home=tmp_path, anonymous=[APP.registry])
    assert None is await credentials.find(APP)


async def test_where_a_login_came_from(tmp_path: Path) -> None:
    """A login says which file and key it is from, with ~ for the home, and nothing of what is secret."""
    write(tmp_path / ".docker/config.json", auths(**{"registry.example.com/team": "me"}))
    expected = "the credential for registry.example.com/team from ~/.docker/config.json"
    assert expected == str(await login(tmp_path))


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ({"auths": {"registry.example.com": entry("me")}}, 0),
        ({"auths": {"registry.example.com": entry("you")}}, 1),
        ({"auths": {"registry.example.com": entry("me", "other")}}, 1),
        ({"auths": {"registry.example.com": {}}}, 0),
        ({"auths": {"registry.example.com/team": entry("you")}}, 0),
        ({"auths": {"other.example.com": entry("you")}}, 0),
        ({"credHelpers": {"registry.example.com": "any"}}, 0),
        ("{", 0),
    ],
)
async def test_files_that_disagree(tmp_path: Path, later: object, expected: int) -> None:
    """Two files with other credentials under one key are a warning, once, that names both and no content."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "me"}))
    write(tmp_path / ".docker/config.json", later)
    warnings: list[str] = []
    credentials = files(tmp_path, {}, warnings)
    await credentials.find(APP)
    await credentials.find(Repository.parse("registry.example.com/other"))
    message = (
        "~/run/containers/auth.json and ~/.docker/config.json disagree about registry.example.com:"
        " ~/run/containers/auth.json is followed"
    )
    assert [message] * expected == warnings


async def test_helpers_that_disagree(tmp_path: Path) -> None:
    """Two files that name different helpers for a host are a warning too."""
    helper(tmp_path, "one", 'cat >/dev/null; echo \'{"Username":"me","Secret":"s"}\'')
    write(tmp_path / "run/containers/auth.json", {"credHelpers": {"registry.example.com": "one"}})
    write(tmp_path / ".docker/config.json", {"credHelpers": {"registry.example.com": "two"}})
    warnings: list[str] = []
    await files(tmp_path, {}, warnings).find(APP)
    expected = 1
    assert expected == len(warnings)


async def test_a_later_file_is_not_needed(tmp_path: Path) -> None:
    """A file that is broken is no error where an earlier one has the key."""
    write(tmp_path / "run/containers/auth.json", auths(**{"registry.example.com": "me"}))
    write(tmp_path / ".docker/config.json", "{")
    expected = "me"
    assert expected == user(await find(tmp_path))


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
async def test_a_broken_file(tmp_path: Path, content: str) -> None:
    """A file that is no login file is named, and nothing of it is shown, not even in a traceback."""
    write(tmp_path / ".docker/config.json", content)
    with pytest.raises(SpecError) as caught:
        await find(tmp_path)
    shown = "".join(traceback.format_exception(caught.value))
    expected = (True, False)
    assert expected == ("~/.docker/config.json" in shown, CANARY in shown)


async def test_an_authfile_that_is_missing(tmp_path: Path) -> None:
    """A file named by the user must exist."""
    with pytest.raises(SpecError, match="does not exist"):
        await Credentials({}, tmp_path / "missing.json", tmp_path).find(APP)


async def test_an_unreadable_file(tmp_path: Path) -> None:
    """What is there and cannot be read is an error, not an anonymous run."""
    (tmp_path / ".docker/config.json").mkdir(parents=True)
    with pytest.raises(SpecError, match="cannot be read"):
        await find(tmp_path)


async def test_an_empty_file(tmp_path: Path) -> None:
    """An empty login file holds no login."""
    write(tmp_path / ".docker/config.json", "")
    assert None is await find(tmp_path)
