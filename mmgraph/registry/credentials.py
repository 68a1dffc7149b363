"""Who we are to a registry: which login file, key and helper apply to a repository.

Owns where login files are and the order in which they, their keys and their helpers are asked. Must not know a
file's form or HTTP. Files are read and never written.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.clock import Clock, SystemClock
from mmgraph.errors import SpecError
from mmgraph.names import HUB, Registry, Repository
from mmgraph.registry.helpers import HelperError, Helpers
from mmgraph.registry.logins import Logins
from mmgraph.registry.secrets import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_FILE_LIMIT: Final = 16 << 20
_HUB_SERVER: Final = "https://index.docker.io/v1/"
"""How docker spells Docker Hub to a store, and in its login file."""
_SERVER: Final = re.compile(r"[!-~]{1,1024}")


class Login(msgspec.Struct, frozen=True):
    """The credential that applies to a repository, and where it came from: ``file``, ``key``, ``helper``."""

    credential: Credential
    file: str
    key: str
    helper: str = ""

    @property
    def kind(self) -> str:
        """What a person calls it: basic, identity token, registry token, helper NAME."""
        return f"helper {self.helper}" if self.helper else self.credential.kind

    def __str__(self) -> str:
        helper = f" (helper {self.helper})" if self.helper else ""
        return f"the credential for {self.key} from {self.file}{helper}"


class _Source(msgspec.Struct):
    """A place where a login file may be; it is read when a search first comes there."""

    name: str
    path: Path | None = None
    inline: bytes = b""
    legacy: bool = False
    required: bool = False
    read: bool = False
    logins: Logins | None = None


class Credentials:
    """The login files that the environment names, in podman's order.

    ``authfile`` is read instead of all of them, ``anonymous`` are the registries that nothing is looked up for,
    ``warn`` hears of files that disagree. ``clock`` passes the time that helpers are given.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        authfile: Path | None = None,
        home: Path | None = None,
        *,
        clock: Clock | None = None,
        anonymous: Collection[Registry] = (),
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._home = home or Path(self._environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111
        self._helpers = Helpers(self._environ, clock or SystemClock())
        self._sources = list(self._all(authfile))
        self._anonymous = frozenset(anonymous)
        self._warn = warn
        self._warned: set[str] = set()
        self._found: dict[Repository, Login | None] = {}

    async def find(self, repository: Repository) -> Login | None:
        """Return the login for ``repository``, None for none: the first file's that has one, most specific key.

        Raises ``SpecError`` for a file that cannot be read, and ``HelperError`` for a helper that fails: to go
        on without the login would be to fail later, at the registry, for a reason that nobody finds.
        """
        if repository not in self._found:
            anonymous = self.is_anonymous(repository.registry)
            self._found[repository] = None if anonymous else await self._find(repository)
        return self._found[repository]

    def is_anonymous(self, registry: Registry) -> bool:
        """Whether nothing is looked up for ``registry``, as the user wants it."""
        return registry in self._anonymous

    async def close(self) -> None:
        """Kill the helpers that still run."""
        await self._helpers.close()

    async def _find(self, repository: Repository) -> Login | None:
        parts = repository.path.split("/")
        keys = ["/".join((repository.registry, *parts[:count])) for count in range(len(parts), -1, -1)]
        for number, source in enumerate(self._sources):
            logins = self._read(source)
            if logins is None:
                continue
            login = await self._look(logins, repository.registry, keys)
            if login is not None:
                self._compare(login, self._sources[number + 1 :])
                return login
        return None

    async def _look(self, logins: Logins, registry: Registry, keys: list[str]) -> Login | None:
        for key in keys:
            if helper := logins.helpers.get(key):
                credential = await self._ask(helper, logins, registry)
                if credential is not None:
                    return Login(credential, logins.name, key, helper)
            entry = logins.entries.get(key)
            if entry is not None and entry.problem:
                raise SpecError(entry.problem)
            if entry is not None and entry.credential is not None:
                return Login(entry.credential, logins.name, key)
        # A store may know more hosts than the file lists: docker-credential-ecr-login knows all of ECR.
        if logins.store and registry not in logins.helpers:
            credential = await self._ask(logins.store, logins, registry)
            if credential is not None:
                return Login(credential, logins.name, registry, logins.store)
        return None

    async def _ask(self, helper: str, logins: Logins, registry: Registry) -> Credential | None:
        """Ask a helper for ``registry`` under each name that it may know it by, and no other host's."""
        entry = logins.entries.get(registry)
        servers = dict.fromkeys((_HUB_SERVER, HUB) if registry == HUB else (registry,))
        if entry is not None and _SERVER.fullmatch(entry.server):
            servers = {entry.server: None, **servers}
        for server in servers:
            try:
                credential = await self._helpers.get(helper, registry, server)
            except HelperError as error:
                raise HelperError(f"{logins.name}: {error}") from None
            if credential is not None:
                return credential
        return None

    def _compare(self, login: Login, others: list[_Source]) -> None:
        """Warn where a later file says something else of the same key: the user may mean that one."""
        for source in others:
            try:
                other = self._read(source)
            except SpecError:
                continue  # it is not needed
            if other is None:
                continue
            entry = other.entries.get(login.key)
            if login.helper:
                differs = other.helpers.get(login.key, login.helper) not in ("", login.helper)
            else:
                differs = (
                    entry is not None
                    and entry.credential is not None
                    and entry.credential != login.credential
                )
            message = f"{login.file} and {other.name} disagree about {login.key}: {login.file} is followed"
            if differs and message not in self._warned:
                self._warned.add(message)
                self._warn(message)

    def _read(self, source: _Source) -> Logins | None:
        if not source.read:
            content = source.inline if source.path is None else self._content(source.path, source)
            if content.strip():
                source.logins = Logins(source.name, content, legacy=source.legacy)
            source.read = True  # only now: a file that is wrong is wrong for everybody who comes to it
            source.inline = b""
        return source.logins

    def _content(self, path: Path, source: _Source) -> bytes:
        try:
            with path.open("rb") as file:
                content = file.read(_FILE_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            if source.required:
                raise SpecError(f"the login file {source.name} does not exist") from None
            return b""
        except OSError as error:
            raise SpecError(f"the login file {source.name} cannot be read: {error.strerror}") from None
        if len(content) > _FILE_LIMIT:
            raise SpecError(f"the login file {source.name} is longer than {_FILE_LIMIT} bytes")
        return content

    def _all(self, authfile: Path | None) -> Iterator[_Source]:
        environ = self._environ
        alone = authfile or _path(environ.get("REGISTRY_AUTH_FILE"))
        if alone is not None:
            yield self._source(alone, required=True)
            return
        inline = environ.get("DOCKER_AUTH_CONFIG")
        if inline:
            yield _Source("DOCKER_AUTH_CONFIG", inline=inline.encode(errors="surrogateescape"))
        runtime = _path(environ.get("XDG_RUNTIME_DIR"))
        if runtime is not None:
            yield self._source(runtime / "containers/auth.json")
        else:
            yield self._source(Path(f"/run/containers/{os.getuid()}/auth.json"))
        config = _path(environ.get("XDG_CONFIG_HOME")) or self._home / ".config"
        yield self._source(config / "containers/auth.json")
        yield self._source((_path(environ.get("DOCKER_CONFIG")) or self._home / ".docker") / "config.json")
        yield self._source(self._home / ".dockercfg", legacy=True)

    def _source(self, path: Path, *, legacy: bool = False, required: bool = False) -> _Source:
        name = f"~/{path.relative_to(self._home)}" if path.is_relative_to(self._home) else str(path)
        return _Source(name, path, legacy=legacy, required=required)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
