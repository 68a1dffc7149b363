"""What an address leads to, and which kinds of address a registry may send us to.

Owns the kinds and the rule on them, as pure functions. Must not know sockets, resolvers, nor the errand on which we are
sent: what all of it stands against is told in ``origins``.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from enum import Enum
from typing import Final


class Kind(Enum):
    """What an address leads to; the value is its name in messages."""

    PUBLIC = "a public address"
    PRIVATE = "a private address"
    LOOPBACK = "an address of this machine"
    LINK_LOCAL = "a link-local address"
    METADATA = "a cloud's metadata service"
    UNUSABLE = "no address of a single host"


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, Oracle, OpenStack and most others
            "169.254.170.2",  # AWS: credentials of ECS tasks
            "169.254.170.23",  # AWS: credentials of EKS pods
            "fd00:ec2::254",
            "fd00:ec2::23",
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure's wire server, in a public range
            "192.0.0.192",  # Oracle, earlier
            "fd20:ce::254",  # Google
        ),
    )
)
_METADATA_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "instance-data", "metadata.goog"})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
_PRIVATE_NAMES: Final = re.compile(
    r"[^.]+|.*\.(?:local|localdomain|internal|intranet|private|corp|home|lan|home\.arpa)"
)
NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""Names that some resolver takes for an address."""


def kind_of_address(address: _Address) -> Kind:
    """Return what an address leads to; one that carries another inside (IPv4 in IPv6) is judged by that."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and (address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1)):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return kind_of_address(inner)
        if address.scope_id is not None:
            return Kind.LINK_LOCAL
    if address in _METADATA:
        return Kind.METADATA
    if address.is_loopback:
        return Kind.LOOPBACK
    if address.is_unspecified or address.is_multicast or address in _THIS_NETWORK:
        return Kind.UNUSABLE
    if address.is_link_local:
        return Kind.LINK_LOCAL
    if isinstance(address, ipaddress.IPv4Address) and address.is_reserved:
        return Kind.UNUSABLE
    old_private = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return Kind.PUBLIC if address.is_global and not old_private else Kind.PRIVATE


@functools.lru_cache(maxsize=1 << 10)
def kind_of_name(host: str) -> Kind | None:
    """Return what ``host`` leads to where its text tells: an address, this machine, a metadata service.

    Spellings that only some resolvers take for an address (``127.1``, ``2130706433``, ``0x7f.1``,
    ``0177.0.0.1``) are refused as such: what they mean depends on who reads them.
    """
    name = host.rstrip(".").lower()
    try:
        return kind_of_address(ipaddress.ip_address(name))
    except ValueError:
        pass
    if NUMERIC.fullmatch(name):
        return Kind.UNUSABLE
    if name == "localhost" or name.endswith(".localhost"):
        return Kind.LOOPBACK
    return Kind.METADATA if name in _METADATA_NAMES else None


def kind_unresolved(host: str) -> Kind:
    """Return what ``host`` seems to lead to, for a proxy that resolves names itself: by the name alone."""
    name = host.rstrip(".").lower()
    return kind_of_name(name) or (Kind.PRIVATE if _PRIVATE_NAMES.fullmatch(name) else Kind.PUBLIC)


def permitted(kind: Kind, own: Kind, *, opened: bool) -> bool:
    """Whether a registry at an address of the kind ``own`` may send us to one of ``kind``.

    ``opened``: the user has named that host for this registry. That opens private networks and this machine,
    never link-local addresses or metadata services, where nobody keeps blobs and everybody keeps secrets.
    """
    if kind is Kind.PUBLIC:
        return True
    if kind is Kind.PRIVATE:
        return opened or own in (Kind.PRIVATE, Kind.LOOPBACK, Kind.LINK_LOCAL)
    if kind is Kind.LOOPBACK:
        return opened or own is Kind.LOOPBACK
    return kind is own is Kind.LINK_LOCAL
