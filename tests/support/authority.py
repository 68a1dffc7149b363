"""Certificates that tests make for themselves: an authority with its file, servers' contexts, clients' pairs."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """An authority whose certificate is in ``file``."""

    def __init__(self, home: Path) -> None:
        self._ca = trustme.CA()
        self.file = home / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def server(
        self, *names: str, demanding: bool = False, life: timedelta = timedelta(days=1)
    ) -> ssl.SSLContext:
        """Return a server's context with a certificate for the names; ``demanding`` a client's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, not_after=datetime.now(UTC) + life).configure_cert(context)
        if demanding:
            context.verify_mode = ssl.CERT_REQUIRED
        else:
            context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(self.file)
        return context

    def client(self, directory: Path, name: str = "client") -> None:
        """Write a client's certificate and key as certs.d has them."""
        directory.mkdir(parents=True, exist_ok=True)
        issued = self._ca.issue_cert("client@example.com")
        issued.cert_chain_pems[0].write_to_path(str(directory / f"{name}.cert"))
        issued.private_key_pem.write_to_path(str(directory / f"{name}.key"))

    def files(self, home: Path, name: str) -> tuple[Path, Path]:
        """Write a server's certificate and key."""
        issued = self._ca.issue_cert(name)
        certificate, key = home / "server.pem", home / "server.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key
