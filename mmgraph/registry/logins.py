"""One login file: its text as entries by normal key, whichever of docker's and podman's forms it has.

Owns the forms (containers-auth.json(5), docker/cli's ``configfile``). Must not know where files are, which of
them counts, or HTTP. A file's content never reaches a message.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from mmgraph.errors import SpecError
from mmgraph.names import Registry, quote
from mmgraph.registry.secrets import TOKEN_TEXT, Credential, Secret


class Entry(msgspec.Struct, frozen=True):
    """What stands under a key: a credential, nothing (the store has it), or something that is wrong."""

    server: str
    """The key as it is written, which is how a store knows it."""
    credential: Credential | None = None
    problem: str = ""


class Logins:
    """A login file's entries and helpers, by normal key (``host[/path]``).

    A helper that is the empty string says that its host's entry is not in the store.
    """

    __slots__ = ("entries", "helpers", "name", "store")

    def __init__(self, name: str, content: bytes, *, legacy: bool = False) -> None:
        """Read ``content``; ``legacy`` is the form of ``~/.dockercfg``. Raises ``SpecError``."""
        self.name = name
        document = _decode(name, content)
        if not isinstance(document, dict):
            raise SpecError(f"{name} is not a login file: its JSON is not an object")
        entries = document if legacy else document.get("auths") or {}
        helpers = {} if legacy else document.get("credHelpers") or {}
        store = "" if legacy else document.get("credsStore") or ""
        if not (
            isinstance(entries, dict)
            and isinstance(helpers, dict)
            and all(isinstance(helper, str) for helper in helpers.values())
            and isinstance(store, str)
        ):
            raise SpecError(
                f"{name} is not a login file: auths and credHelpers are objects, helpers and credsStore names"
            )
        self.store = store
        self.helpers: dict[str, str] = {normal(key): helper for key, helper in helpers.items()}
        self.entries: dict[str, Entry] = {}
        for key, value in entries.items():
            entry = _entry(name, key, value)
            known = self.entries.get(normal(key))
            if known is None or _rank(entry) > _rank(known):
                self.entries[normal(key)] = entry


def normal(key: str) -> str:
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


def _rank(entry: Entry) -> tuple[bool, bool]:
    """Of several spellings of a key the one with something under it, then the one of today's form."""
    return entry.credential is not None or bool(entry.problem), entry.server == normal(entry.server)


def _decode(name: str, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))  # PowerShell's mark
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # The cause is cut off: a parser's message may quote the file.
        raise SpecError(f"{name} is not a login file: it is not JSON") from None


_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")


def _entry(name: str, key: str, value: Any) -> Entry:
    """Read an entry; one that is wrong is a problem of its key, not of the whole file."""
    about = quote(re.sub(r".*@", "…@", normal(key)))  # who writes "user:password@host" shall not find it here
    if not isinstance(value, dict):
        return Entry(key, problem=f"{name}: the entry of {about} is not an object")
    texts = {field: value.get(field) or "" for field in _FIELDS}
    for field, text in texts.items():
        if not isinstance(text, str):
            return Entry(key, problem=f"{name}: {field} of {about} is not a string")
    username, password = texts["username"], texts["password"]
    if texts["auth"]:
        try:
            pair = base64.b64decode(texts["auth"].strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            pair = ""
        username, colon, password = pair.partition(":")
        if not colon:
            return Entry(key, problem=f"{name}: auth of {about} is not base64 of user:password")
        password = password.strip("\0")  # docker's own reader does so (configfile, decodeAuth)
    if texts["registrytoken"] and not TOKEN_TEXT.fullmatch(texts["registrytoken"]):
        return Entry(key, problem=f"{name}: registrytoken of {about} is not a token")
    secrets = [_secret(text) for text in (password, texts["identitytoken"], texts["registrytoken"])]
    return Entry(key, Credential(username, *secrets) if any(secrets) else None)


def _secret(text: str) -> Secret | None:
    return Secret(text) if text else None
