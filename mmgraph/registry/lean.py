"""aiohttp's client as all of ``registry`` imports it: without the authorities that it would read on the way.

aiohttp makes two default TLS contexts when it is imported, and reading the system's authorities for them takes 40 ms
of every start. Nobody needs them: ``sessions`` hands in a context of ``tls`` for each request. What is not handed one
trusts nobody now.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks for authorities, as ``ssl.get_default_verify_paths`` has it."""


@contextmanager
def _no_authorities() -> Iterator[None]:
    kept = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _no_authorities():
    import aiohttp as aiohttp  # noqa: PLC0414 - for others to take from here
