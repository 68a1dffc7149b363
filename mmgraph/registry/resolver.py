"""Names to addresses for the connections of one registry, with the rules on addresses applied to the very ones used.

Owns the hand-over to aiohttp: what passes here is what is connected to, so a name cannot be checked at one address
and spoken to at another (DNS rebinding). Must not know requests, nor why a host is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

from mmgraph.registry.addresses import Kind, kind_of_address, kind_of_name, permitted
from mmgraph.registry.lean import aiohttp

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host, to be spoken to at a port; raises ``OSError``."""


class ForbiddenError(Exception):
    """All that a name leads to is forbidden; ``kind`` is what the first of its addresses is."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.kind = kind


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedResolver(aiohttp.abc.AbstractResolver):
    """Resolves for one registry at ``host``: its own name to anything, others only to what the rules permit.

    ``opened`` says whether the user has named a host and port for this registry.
    """

    def __init__(self, host: str, opened: Callable[[str, int], bool], lookup: Lookup) -> None:
        self._host = _bare(host)
        self._opened = opened
        self._lookup = lookup
        self._own = kind_of_name(host)

    def check(self, host: str, port: int) -> None:
        """Raise ``ForbiddenError`` where the text of ``host`` already tells: aiohttp asks nobody about addresses."""
        kind = kind_of_name(host)
        if kind is not None and _bare(host) != self._host and not self._permitted(kind, host, port):
            raise ForbiddenError(kind)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Return the addresses to connect to. Raises ``ForbiddenError``."""
        addresses = await self._lookup(host, port)
        kinds = {address: kind_of_address(ipaddress.ip_address(address)) for address in addresses}
        if _bare(host) == self._host:
            self._learn(set(kinds.values()))
        else:
            allowed = [address for address in addresses if self._permitted(kinds[address], host, port)]
            if addresses and not allowed:
                raise ForbiddenError(kinds[addresses[0]])
            addresses = allowed
        if not addresses:
            raise OSError(None, "the name has no address")
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Do nothing: nothing is held."""

    def _permitted(self, kind: Kind, host: str, port: int) -> bool:
        return permitted(kind, self._own or Kind.PUBLIC, opened=self._opened(_bare(host), port))

    def _learn(self, kinds: set[Kind]) -> None:
        """Know the registry as what all its addresses are; once seen to be public, it is never private again.

        Else whoever owns a public registry's name could lend it a private address for a moment, and be sent
        inside.
        """
        kind = kinds.pop() if len(kinds) == 1 else Kind.PUBLIC
        if self._own is None or kind is Kind.PUBLIC:
            self._own = kind


def _bare(host: str) -> str:
    return host.rstrip(".").lower()


def _result(host: str, address: str, port: int) -> aiohttp.abc.ResolveResult:
    return aiohttp.abc.ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
