"""A token service of its own process's making: JWTs as distribution checks them, and a log of who asked for what.

Owns keys, claims and the log. Knows no client: what it hands out is what its user table says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import parse_qs

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

ISSUER: Final = "tests"
SERVICE: Final = "mirror"
_LEEWAY: Final = 60
"""Seconds that distribution lets a token live beyond its end (registry/auth/token/token.go, ``Leeway``)."""


class Asked(NamedTuple):
    """One question to the token service."""

    method: str
    user: str
    """Whose password came with it, right or wrong; nothing where none did."""
    scopes: tuple[str, ...]
    status: int


class Signer:
    """A key, its certificate, and how a token names it: RS256 by ``kid``, ES256 by ``x5c``."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = (
            rsa.generate_private_key(65537, 2048)
            if algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )
        self._key = key
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens of a test")])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )

    def write(self, path: Path) -> None:
        """Write what distribution calls ``rootcertbundle``."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def token(self, claims: dict[str, Any]) -> str:
        """Return a signed JWT in its compact form (RFC 7519)."""
        header = {"typ": "JWT", "alg": self.algorithm, **self._named()}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_base64(self._sign(signed.encode()))}"

    def _named(self) -> dict[str, Any]:
        if self.algorithm == "RS256":
            der = self._key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            # libtrust's key id: 240 bits of the key's hash in twelve groups of four (docker/libtrust, util.go).
            text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
            return {"kid": ":".join(text[start : start + 4] for start in range(0, len(text), 4))}
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return {"x5c": [base64.b64encode(der).decode()]}

    def _sign(self, content: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(content, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(content, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class TokenService:
    """A token service on loopback as a context manager; a known user may do all, everybody else may pull.

    ``life`` is a token's in seconds, as it says itself and as distribution takes it.
    """

    def __init__(self, users: dict[str, str], signer: Signer, *, life: int) -> None:
        self.asked: list[Asked] = []
        self.tokens: list[str] = []
        """All that have been handed out."""
        self._users = users
        self._signer = signer
        self._life = life
        self._runner: web.ServerRunner | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._address

    def settings(self, bundle: Path) -> dict[str, Any]:
        """Return distribution's configuration of ``auth`` for this service; ``bundle`` is written."""
        self._signer.write(bundle)
        realm = f"http://{self._address}/token"
        return {
            "token": {
                "realm": realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(bundle),
            }
        }

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self._address = f"{host}:{port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            form = parse_qs((await request.read()).decode())
            scopes = form.get("scope", [])
            given = (form.get("username", [""])[0], form.get("password", [""])[0])
        else:
            scopes = request.query.getall("scope", [])
            given = _basic(request.headers.get("Authorization", ""))
        known = bool(given[0]) and self._users.get(given[0]) == given[1]
        refused = bool(given[0] or given[1]) and not known
        wanted = tuple(scope for text in scopes for scope in text.split())
        self.asked.append(Asked(request.method, given[0], wanted, 401 if refused else 200))
        if refused:
            return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401)
        token = self._token(given[0], wanted, known=known)
        self.tokens.append(token)
        key = "access_token" if request.method == "POST" else "token"
        return web.json_response({key: token, "expires_in": self._life})

    def _token(self, user: str, scopes: tuple[str, ...], *, known: bool) -> str:
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = [action for action in actions.split(",") if known or action == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": now + self._life - _LEEWAY,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        return self._signer.token(claims)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    user, _, password = base64.b64decode(value).decode().partition(":")
    return user, password


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
