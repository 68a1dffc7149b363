"""What a failed exchange means: the exceptions of aiohttp as our own errors, and requests fit for a message.

Owns the translation, once for all that touch a socket. Must not know what is asked or how often it is repeated.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from typing import Final

from mmgraph.errors import ContentError, MmgraphError, NetworkError
from mmgraph.registry import wire
from mmgraph.registry.lean import aiohttp
from mmgraph.registry.watch import CONNECT, TLS, StalledError


class LimitedError(NetworkError):
    """A failure that repeating hardly changes: a certificate that does not fit, a host nobody knows."""

    attempts = 1


class UnknownHostError(LimitedError):
    """A name without an address; resolvers fail for a moment now and then."""

    attempts = 2


class NoConnectionError(NetworkError):
    """Nothing was sent, since there was no connection: refused, reset, or no TLS where it was expected."""


class ExhaustedError(NoConnectionError):
    """Nothing was sent, since this machine had no socket to give: that tells nothing of the registry."""

    common = True


class NoHttpError(NetworkError):
    """No HTTP on a connection without TLS, as where TLS is wanted: the alert of a handshake, or OpenSSL hangs up."""

    hint = "; if TLS is spoken there, do without --plain-http"


class SilenceError(NetworkError):
    """A connection, and no answer in time."""


_CHECK: Final = ": check host and port"
_PLAIN: Final = "; if the registry has none, say so with --plain-http"
ADVICE: Final = (_CHECK, _PLAIN)
"""What helps; it stays at the end where more is said of what failed."""


def shown(method: str, url: str) -> str:
    """Return method and URL, fit for a message."""
    return f"{method} {wire.escape(wire.redact(url))}"


_CLIENT_CERTIFICATE: Final = re.compile(
    r"ALERT_(?:BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_(?:REQUIRED|EXPIRED|REVOKED|UNKNOWN))"
)
"""Alerts of a server that does not like ours, or has got none (TLS 1.3 tells after the handshake)."""
_UNKNOWN_AUTHORITY: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's X509_V_ERR_*: self-signed, or without a way to an authority that is trusted."""


def _misfit(error: Exception) -> str:
    """What is wrong with a certificate, and what helps where the registry is right."""
    text = wire.escape(getattr(error, "verify_message", "") or str(error))
    if getattr(error, "verify_code", 0) in _UNKNOWN_AUTHORITY:
        return f"{text}; --ca FILE or certs.d/HOST trusts another authority"
    return text


def _exhausted(error: BaseException) -> ExhaustedError | None:
    """The error of a request for which there was no socket: of this process, or of the whole machine."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return ExhaustedError(
            f"this machine, not the registry, is in the way: mmgraph may have no more than {limit} files and"
            " connections open here; raise the limit (ulimit -n), or ask for less at once (--jobs)"
        )
    if number == errno.ENFILE:
        return ExhaustedError(
            "this machine, not the registry, is in the way: it has as many files and connections open as its"
            " kernel allows for all programs together (fs.file-max)"
        )
    return None


def failed(method: str, url: str, error: BaseException) -> MmgraphError:
    """What an exception of aiohttp means for us."""
    where = shown(method, url)
    if (ours := _exhausted(error)) is not None:
        return ours
    wordless = NoHttpError if url.startswith("http://") else NetworkError
    if isinstance(error, StalledError):
        if error.phase is CONNECT:
            return NoConnectionError(
                f"{where}: no connection to {wire.origin(url).short} within {CONNECT.seconds:.0f} s"
            )
        if error.phase is TLS:
            return NoConnectionError(
                f"{where}: TLS handshake with {wire.origin(url).short} did not end within {TLS.seconds:.0f} s"
            )
        return SilenceError(f"{where}: {error}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return LimitedError(f"{where}: the certificate does not fit: {_misfit(error.certificate_error)}")
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = wire.escape(getattr(error.os_error, "reason", None) or str(error.os_error))
        return NoConnectionError(f"{where}: no TLS is spoken there ({reason}){_PLAIN}")
    if isinstance(error, OSError) and _CLIENT_CERTIFICATE.search(str(error)):
        return LimitedError(
            f"{where}: it wants another client certificate than it was shown, or any at all; certs.d holds them as"
            " HOST/NAME.cert and HOST/NAME.key"
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return LimitedError(f"{where}: the proxy {error.host}:{error.port} cannot be reached")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        family = NetworkError if error.status >= 500 or error.status in (408, 429) else LimitedError
        return family(f"{where}: the proxy answered {error.status} {wire.escape(error.message)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UnknownHostError(f"{where}: the host name is not known")
    if isinstance(error, ValueError):
        return ContentError(f"{where}: not a request that can be sent")
    if isinstance(error, aiohttp.ClientResponseError):
        return wordless(f"{where}: not an HTTP answer: {wire.escape(' '.join(error.message.split()))}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return NoConnectionError(f"{where}: no connection in time")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return SilenceError(f"{where}: no answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        family = wordless if isinstance(error, aiohttp.ServerDisconnectedError) else NetworkError
        return family(f"{where}: the connection was closed before the answer was complete")
    text = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError):
        text = _unconnected(error)
    family = NoConnectionError if isinstance(error, aiohttp.ClientConnectorError) else NetworkError
    return family(f"{where}: {wire.escape(text)}")


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    """Why there is no connection, without asyncio's own words, which are "Connect call failed" and a tuple."""
    # Where a name has several addresses, the error of all together has no number of its own, and quotes theirs.
    of_all = re.findall(r"\[Errno ([0-9]+)\]", str(error.os_error))
    numbers = [error.os_error.errno] if error.os_error.errno else [int(each) for each in of_all]
    if errno.ECONNREFUSED in numbers:
        return f"nothing listens there{_CHECK}"
    return os.strerror(numbers[0]) if numbers else error.os_error.strerror or type(error).__name__


def cause(url: str, error: BaseException) -> BaseException | None:
    """What the error is raised from: not aiohttp's own where it might quote a signature of the URL (I7)."""
    return error if wire.redact(url) == url else None
