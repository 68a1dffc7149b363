"""What a failed exchange means: the exceptions of aiohttp as our own errors, and requests fit for a message.

Owns the translation, once for all that touch a socket. Must not know what is asked or how often it is repeated.
"""

from __future__ import annotations

import aiohttp

from mmgraph.errors import ContentError, MmgraphError, NetworkError
from mmgraph.registry import wire


class LimitedError(NetworkError):
    """A failure that repeating hardly changes: a certificate that does not fit, a host nobody knows."""

    attempts = 1


class UnknownHostError(LimitedError):
    """A name without an address; resolvers fail for a moment now and then."""

    attempts = 2


class NoConnectionError(NetworkError):
    """Nothing was sent, since there was no connection: refused, reset, or no TLS where it was expected."""


class SilenceError(NetworkError):
    """A connection, and no answer in time."""


def shown(method: str, url: str) -> str:
    """Return method and URL, fit for a message."""
    return f"{method} {wire.escape(wire.redact(url))}"


def failed(method: str, url: str, error: BaseException) -> MmgraphError:
    """What an exception of aiohttp means for us."""
    where = shown(method, url)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return LimitedError(
            f"{where}: the certificate does not fit: {wire.escape(str(error.certificate_error))}"
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
        return NetworkError(f"{where}: not an HTTP answer: {wire.escape(error.message)}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return NoConnectionError(f"{where}: no connection in time")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return SilenceError(f"{where}: no answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return NetworkError(f"{where}: the connection was closed before the answer was complete")
    text = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    family = NoConnectionError if isinstance(error, aiohttp.ClientConnectorError) else NetworkError
    return family(f"{where}: {wire.escape(text)}")


def cause(url: str, error: BaseException) -> BaseException | None:
    """What the error is raised from: not aiohttp's own where it might quote a signature of the URL (I7)."""
    return error if wire.redact(url) == url else None
