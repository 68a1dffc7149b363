"""Real registries behind protection: with passwords, with TLS, with client certificates, and who came to them.

Owns what of distribution's configuration guards it, and the witness that stands in front of a registry and notes
which credentials go by. Knows no client.
"""

from __future__ import annotations

import asyncio
import base64
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import bcrypt
import trustme

from tests.support.distribution import Distribution
from tests.support.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

_USER: Final = re.compile(r'auth\.user\.name[="\\: ]+(?P<name>[A-Za-z0-9_-]+)')
_AUTHORIZATION: Final = re.compile(rb"\r\nAuthorization: (?P<scheme>\S+) (?P<secret>\S+)\r\n", re.IGNORECASE)


def passwords(path: Path, users: dict[str, str]) -> dict[str, Any]:
    """Write an htpasswd file; return distribution's configuration of ``auth`` for it."""
    lines = [
        f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n" for user, word in users.items()
    ]
    path.write_text("".join(lines))
    return {"htpasswd": {"realm": "a test", "path": str(path)}}


class Guarded(Distribution):
    """A registry that may ask for TLS and for logins; its log tells who was let in."""

    def users(self) -> set[str]:
        """Return the names of those whose requests were authorized; needs ``log: {level: info}``."""
        return {match["name"] for match in _USER.finditer(self._errors.read_text())}

    def _answers(self) -> bool:
        # With TLS, and with it a client's certificate, there is nothing simple to ask: Go's server answers what
        # is no TLS with 400, in plain words, as soon as it listens.
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 400 and self._alive()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def certified(ca: trustme.CA, home: Path, *, clients: bool) -> dict[str, Any]:
    """Write a server's certificate for 127.0.0.1; return distribution's configuration of ``tls`` for it.

    ``clients``: nobody gets in without a certificate of the same authority.
    """
    issued = ca.issue_cert("127.0.0.1")
    certificate, key, authority = home / "server.pem", home / "server.key", home / "clients.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    ca.cert_pem.write_to_path(str(authority))
    settings: dict[str, Any] = {"certificate": str(certificate), "key": str(key)}
    if clients:
        settings["clientcas"] = [str(authority)]
    return settings


class Witness(Listener):
    """Stands in front of a registry as a context manager, hands all on, and notes every Authorization header."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self.seen: set[tuple[str, str]] = set()
        """Schemes, and for Basic the user, for Bearer the token."""
        self.passwords: set[str] = set()
        self._upstream = upstream

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._upstream.rpartition(":")
        with suppress(OSError, asyncio.CancelledError):
            further, back = await asyncio.open_connection(host, int(port))
            try:
                await asyncio.gather(
                    self._hand_on(reader, back, watch=True), self._hand_on(further, writer, watch=False)
                )
            finally:
                back.close()
        writer.close()

    async def _hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watch: bool
    ) -> None:
        last = b""
        while piece := await reader.read(1 << 16):
            if watch:
                self._look(last + piece)
                last = (last + piece)[-16_384:]
            writer.write(piece)
            await writer.drain()
        writer.close()

    def _look(self, content: bytes) -> None:
        for match in _AUTHORIZATION.finditer(content):
            scheme, secret = match["scheme"].decode().capitalize(), match["secret"].decode()
            if scheme == "Basic":
                user, _, password = base64.b64decode(secret).decode().partition(":")
                self.seen.add((scheme, user))
                self.passwords.add(password)
            else:
                self.seen.add((scheme, secret))
