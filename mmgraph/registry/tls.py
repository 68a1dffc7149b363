"""Whom TLS trusts at which origin, and with which certificate it shows who we are there.

Owns the contexts: one for each origin that anything is said of, made when it is first spoken to and never used at
another; one for all the others, which knows no secret. Must not know connections. Layout of the
directories: containers-certs.d(5) and Docker's "Verify repository client with certificates".
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mmgraph.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mmgraph.names import Registry
    from mmgraph.registry.wire import Origin


class Tls:
    """The contexts of a run.

    ``environ`` names the system's trust (``SSL_CERT_FILE``, ``SSL_CERT_DIR``) and the home directory;
    ``authority`` is trusted everywhere, ``authorities`` at one registry each, and certificates of ``insecure``
    registries are not checked. ``directories`` replaces the usual certs.d. Raises ``SpecError`` for files that
    hold no certificates.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        authority: Path | None = None,
        authorities: Mapping[Registry, Path] | None = None,
        insecure: Collection[Registry] = (),
        directories: Collection[Path] | None = None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._environ = environ
        self._authority = authority
        self._authorities = dict(authorities or {})
        self._insecure = frozenset(insecure)
        self._directories = tuple(_directories(environ) if directories is None else directories)
        self._warn = warn
        self._contexts: dict[tuple[Origin, Registry | None], ssl.SSLContext] = {}
        self._common: ssl.SSLContext | None = None
        """For all origins that nothing is said of: reading the system's authorities takes tens of milliseconds."""
        system = environ.get("SSL_CERT_FILE")
        files = (authority, *self._authorities.values(), Path(system) if system else None)
        for file in filter(None, files):
            _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), file)

    def context(self, origin: Origin, registry: Registry | None) -> ssl.SSLContext:
        """Return the context for ``origin``; ``registry`` is the one that lives there, None for any other host.

        Only a registry's own origin sees its client certificate, authority of its own and ``insecure``
        (GHSA-h3wm-jjqf-8jm2: oras showed client certificates wherever it was redirected to). At other hosts
        the authorities count that certs.d has for those hosts. Raises ``SpecError``.
        """
        key = (origin, registry)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = self._make(origin, registry)
        return context

    def _make(self, origin: Origin, registry: Registry | None) -> ssl.SSLContext:
        own = self._authorities.get(registry) if registry else None
        insecure = registry is not None and registry in self._insecure
        names: list[str] = [registry] if registry is not None else []
        names += [origin.short, f"{origin.short}:443"] if origin.port == 443 else [origin.short]
        directory = self._directory(names)
        if not (own or insecure or directory):
            if self._common is None:
                self._common = self._system()
            return self._common
        context = self._system()
        if own:
            _trust(context, own)
        if directory:
            self._read(directory, context, client=registry is not None)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _system(self) -> ssl.SSLContext:
        file, directory = self._environ.get("SSL_CERT_FILE"), self._environ.get("SSL_CERT_DIR")
        context = ssl.create_default_context(cafile=file or None, capath=directory or None)
        # Python 3.13 refuses authorities without key usage, which private ones often lack; Go and OpenSSL do not.
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if self._authority:
            _trust(context, self._authority)
        return context

    def _directory(self, names: Collection[str]) -> Path | None:
        """The first directory that there is: they are alternatives, not layers."""
        for parent in self._directories:
            for name in names:
                with suppress(OSError):  # unreadable for us: like Podman, go on
                    if (found := parent / name).is_dir():
                        return found
        return None

    def _read(self, directory: Path, context: ssl.SSLContext, *, client: bool) -> None:
        try:
            files = sorted(directory.iterdir())
        except OSError as error:
            self._warn(f"{directory} cannot be read: {error.strerror}")
            return
        for file in files:
            if file.suffix == ".crt":
                _trust(context, file)
        pairs = [file for file in files if file.suffix == ".cert"]
        if not client or not pairs:
            return
        key = pairs[0].with_suffix(".key")
        if not key.is_file():
            raise SpecError(
                f"{pairs[0]} is a client certificate, but its key {key.name} is missing;"
                " certificates of authorities are named *.crt"
            )
        if len(pairs) > 1:
            self._warn(f"{directory} has several client certificates; {pairs[0].name} is used")
        try:
            context.load_cert_chain(pairs[0], key, password=lambda: _encrypted(key))
        except (OSError, ssl.SSLError):
            raise SpecError(f"{pairs[0]} and {key.name} are not a certificate and its key") from None


def _trust(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except (OSError, ssl.SSLError) as error:
        # An OSError's text is the system's; OpenSSL's own says nothing that helps.
        why = error.strerror if not isinstance(error, ssl.SSLError) and error.strerror else "none is in it"
        raise SpecError(f"{file} cannot be read as certificates of authorities: {why}") from None


def _encrypted(key: Path) -> NoReturn:
    # OpenSSL would ask on the terminal, in the middle of everything.
    raise SpecError(f"{key} is encrypted; mmgraph takes client keys without a passphrase")


def _directories(environ: Mapping[str, str]) -> list[Path]:
    config = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if (home := environ.get("HOME")) else "")
    own = [Path(config) / "containers" / "certs.d"] if config else []
    return [*own, Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")]
