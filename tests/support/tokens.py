"""A token service as distribution trusts one: JSON Web Tokens, signed, with their certificate. Knows one user."""

from __future__ import annotations

import base64
import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.raw import Raw, Request, answer

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "mmgraph-tests"
SERVICE = "registry"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class TokenService:
    """Tokens for whoever has the password or the refresh token; ``server`` serves them at ``/token``.

    ``rights`` are the actions on each repository; others get an empty token. ``post`` is the status that POST is
    answered with where it is not understood.
    """

    def __init__(
        self,
        home: Path,
        *,
        password: str,
        refresh: str = "",
        life: float = 60,
        post: int = 200,
        rights: Mapping[str, frozenset[str]],
    ) -> None:
        authority = trustme.CA()
        self.bundle = home / "tokens.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        issued = authority.issue_cert("tokens.example.com")
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        lines = issued.cert_chain_pems[0].bytes().decode().splitlines()
        self._certificate = "".join(lines[1:-1])
        self._password, self._refresh = password, refresh
        self._life, self._post, self._rights = life, post, rights
        self.server = Raw(self._answer)
        self.asked: list[str] = []

    def settings(self) -> dict[str, Any]:
        """Return what distribution needs to know."""
        token = {
            "realm": f"http://{self.server.address}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(self.bundle),
        }
        return {"auth": {"token": token}}

    async def _answer(self, request: Request) -> bytes:
        body = await request.read()
        self.asked.append(request.method)
        if request.method == "POST" and self._post != 200:
            return answer(self._post)
        form = parse_qs(body.decode() if request.method == "POST" else urlsplit(request.target).query)
        if request.method == "POST":
            known = form.get("refresh_token") == [self._refresh]
        else:
            pair = base64.b64decode(request.headers.get("authorization", "").partition(" ")[2]).decode()
            known = pair.partition(":")[2] in {self._password, self._refresh} - {""}
        if not known:
            return answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}')
        scopes = [scope for text in form.get("scope", []) for scope in text.split()]
        return answer(200, json.dumps({"token": self._token(scopes), "expires_in": self._life}).encode())

    def _token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            _, name, actions = scope.split(":")
            allowed = self._rights.get(name, frozenset()) & set(actions.split(","))
            access.append({"type": "repository", "name": name, "actions": sorted(allowed)})
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "me",
            "aud": SERVICE,
            "jti": secrets.token_hex(8),
            "access": access,
            "exp": int(now + self._life),
            "nbf": now - 1,
            "iat": now,
        }
        header = {"typ": "JWT", "alg": "ES256", "x5c": [self._certificate]}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
