"""Who we are to a registry: the login files of docker and podman, read and never written.

Owns where those files are, their forms and the order of their keys (containers-auth.json(5), docker/cli's
``configfile``). Must not know HTTP. A file's content never reaches a message.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmgraph.errors import SpecError
from mmgraph.names import Registry, Repository, quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FILE_LIMIT: Final = 16 << 20


class Secret:
    """A password or token. Its text comes out by ``reveal`` alone: not by ``str``, ``repr`` or formatting."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret's text, to be sent and nothing else."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return "Secret()"

    def __reduce__(self) -> Any:
        raise TypeError("a secret does not leave the process")


class Credential(msgspec.Struct, frozen=True):
    """What an entry of a login file offers: a password, an OAuth2 refresh token, a finished bearer token."""

    username: str = ""
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None

    def basic(self) -> Secret | None:
        """Return the value of an Authorization header for Basic, None without a password."""
        if self.password is None:
            return None
        pair = f"{self.username}:{self.password.reveal()}".encode()
        return Secret(f"Basic {base64.b64encode(pair).decode()}")


class _Login:
    """One login file: where its text came from and what it says, by normal key."""

    __slots__ = ("entries", "helpers", "name", "store")

    def __init__(self, name: str, document: Any, *, legacy: bool = False) -> None:
        self.name = name
        if not isinstance(document, dict):
            raise SpecError(f"{name} is not a login file: its JSON is not an object")
        entries = document if legacy else document.get("auths") or {}
        helpers = {} if legacy else document.get("credHelpers") or {}
        store = "" if legacy else document.get("credsStore") or ""
        if not (isinstance(entries, dict) and isinstance(helpers, dict) and isinstance(store, str)):
            raise SpecError(
                f"{name} is not a login file: auths and credHelpers are objects, credsStore is a name"
            )
        self.store = store
        self.entries: dict[str, Any] = {}
        self.helpers = {_normal(key): helper for key, helper in helpers.items() if helper}
        for key, entry in entries.items():
            normal = _normal(key)
            if key == normal or normal not in self.entries:  # a key in today's form beats a legacy one
                self.entries[normal] = entry

    def find(self, registry: Registry, key: str) -> Credential | None:
        """Return the entry under ``key``, None for none; raise ``SpecError`` where a helper keeps it."""
        helper = self.helpers.get(key)
        if helper:
            raise self._helper(helper, registry)
        if key not in self.entries:
            return None
        credential = self._credential(self.entries[key], key)
        if credential is None and self.store:  # docker login leaves an empty entry beside the store's
            raise self._helper(self.store, registry)
        return credential

    def _helper(self, helper: object, registry: Registry) -> SpecError:
        return SpecError(
            f"{self.name} keeps the login for {registry} in the credential helper {quote(str(helper))}, and"
            " helpers are not supported yet: log in to a file of its own and name it with --authfile"
        )

    def _credential(self, entry: Any, key: str) -> Credential | None:
        if not isinstance(entry, dict):
            raise SpecError(f"{self.name}: the entry of {quote(key)} is not an object")
        texts: dict[str, str] = {}
        for field in ("auth", "username", "password", "identitytoken", "registrytoken"):
            value = entry.get(field) or ""
            if not isinstance(value, str):
                raise SpecError(f"{self.name}: {field} of {quote(key)} is not a string")
            texts[field] = value
        username, password = texts["username"], texts["password"]
        if texts["auth"]:
            try:
                pair = base64.b64decode(texts["auth"].strip(), validate=True).decode()
            except (binascii.Error, ValueError):
                raise SpecError(f"{self.name}: auth of {quote(key)} is not base64 of user:password") from None
            username, colon, password = pair.partition(":")
            if not colon:
                raise SpecError(f"{self.name}: auth of {quote(key)} is not base64 of user:password")
            password = password.strip("\0")  # docker's own reader does so (configfile, decodeAuth)
        credential = Credential(
            username,
            Secret(password) if password else None,
            Secret(texts["identitytoken"]) if texts["identitytoken"] else None,
            Secret(texts["registrytoken"]) if texts["registrytoken"] else None,
        )
        if credential.password or credential.identity_token or credential.registry_token:
            return credential
        return None


def _normal(key: str) -> str:
    """Return a file's key as ``host[/path]``; keys with a scheme or an API version mean the host alone."""
    bare = key.removeprefix("http://").removeprefix("https://")
    name, _, path = bare.partition("/")
    if bare != key or path.strip("/") in ("v1", "v2"):
        path = ""
    try:
        name = Registry.parse(name)
    except SpecError:
        name = name.lower()
    return f"{name}/{path}".rstrip("/")


class Credentials:
    """The login files that the environment names, in podman's order; each is read when first needed."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, authfile: Path | None = None, home: Path | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._authfile = authfile
        self._home = home
        self._logins: list[_Login] | None = None
        self._found: dict[Repository, Credential | None] = {}

    def find(self, repository: Repository) -> Credential | None:
        """Return the credential for ``repository``: the first file that has one, its most specific key.

        Raises ``SpecError`` for a file that cannot be read and for a login that only a credential helper
        knows.
        """
        if repository not in self._found:
            self._found[repository] = self._find(repository)
        return self._found[repository]

    def _find(self, repository: Repository) -> Credential | None:
        if self._logins is None:
            self._logins = list(self._read_all())
        parts = repository.path.split("/")
        keys = ["/".join((repository.registry, *parts[:count])) for count in range(len(parts), -1, -1)]
        for login in self._logins:
            for key in keys:
                credential = login.find(repository.registry, key)
                if credential is not None:
                    return credential
        return None

    def _read_all(self) -> Iterator[_Login]:
        alone = self._authfile or _path(self._environ.get("REGISTRY_AUTH_FILE"))
        if alone is not None:
            login = _read(alone, required=True)
            if login is not None:
                yield login
            return
        inline = self._environ.get("DOCKER_AUTH_CONFIG")
        if inline:
            yield _Login("DOCKER_AUTH_CONFIG", _decode("DOCKER_AUTH_CONFIG", inline.encode()))
        for path, legacy in self._paths():
            login = _read(path, legacy=legacy)
            if login is not None:
                yield login

    def _paths(self) -> Iterator[tuple[Path, bool]]:
        home = self._home or Path(self._environ.get("HOME") or "~").expanduser()
        runtime = _path(self._environ.get("XDG_RUNTIME_DIR"))
        yield (
            (runtime or Path(f"/run/containers/{os.getuid()}"))
            / ("containers/auth.json" if runtime else "auth.json"),
            False,
        )
        yield (
            (_path(self._environ.get("XDG_CONFIG_HOME")) or home / ".config") / "containers/auth.json",
            False,
        )
        yield (_path(self._environ.get("DOCKER_CONFIG")) or home / ".docker") / "config.json", False
        yield home / ".dockercfg", True


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _read(path: Path, *, legacy: bool = False, required: bool = False) -> _Login | None:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise SpecError(f"the login file {path} does not exist") from None
        return None
    except OSError as error:
        raise SpecError(f"the login file {path} cannot be read: {error.strerror}") from None
    if len(content) > _FILE_LIMIT:
        raise SpecError(f"the login file {path} is longer than {_FILE_LIMIT} bytes")
    return _Login(str(path), _decode(str(path), content), legacy=legacy) if content.strip() else None


def _decode(name: str, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # The cause is cut off: a parser's message may quote the file.
        raise SpecError(f"{name} is not a login file: it is not JSON") from None
