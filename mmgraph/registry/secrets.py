"""What must never be seen: passwords and tokens as typed values, and the credential that is made of them.

Owns how a secret hides and how it is spelled in a header. Must not know files, helpers or HTTP.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Final

import msgspec

TOKEN_TEXT: Final = re.compile(r"[!-~]+")
"""What a bearer token may consist of: anything else could end the header that it stands in."""


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
    """What a login is made of: a password, an OAuth2 refresh token, a finished bearer token."""

    username: str = ""
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None

    @property
    def kind(self) -> str:
        """Which of them a token service or registry is shown first."""
        if self.registry_token is not None:
            return "registry token"
        return "identity token" if self.identity_token is not None else "basic"

    def basic(self) -> Secret | None:
        """Return the value of an Authorization header for Basic, None without a password."""
        return self._pair(self.password) if self.password is not None else None

    def identity_as_password(self) -> Secret | None:
        """Return the same with the identity token as password, as containerd sends it where POST is refused."""
        return self._pair(self.identity_token) if self.identity_token is not None else None

    def _pair(self, password: Secret) -> Secret:
        pair = f"{self.username}:{password.reveal()}".encode()
        return Secret(f"Basic {base64.b64encode(pair).decode()}")
