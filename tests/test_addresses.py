"""What an address leads to, alone, by a name's text and behind a proxy; which kinds a registry may send us to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.registry.addresses import Kind, kind_of_address, kind_of_name, kind_unresolved, permitted


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", Kind.PUBLIC),
        ("2606:2800:220:1:248:1893:25c8:1946", Kind.PUBLIC),
        ("10.0.0.1", Kind.PRIVATE),
        ("172.16.0.1", Kind.PRIVATE),
        ("172.32.0.1", Kind.PUBLIC),
        ("192.168.1.1", Kind.PRIVATE),
        ("100.64.0.1", Kind.PRIVATE),
        ("198.18.0.7", Kind.PRIVATE),
        ("fd12::1", Kind.PRIVATE),
        ("fec0::1", Kind.PRIVATE),
        ("127.0.0.1", Kind.LOOPBACK),
        ("127.255.0.3", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("169.254.0.1", Kind.LINK_LOCAL),
        ("fe80::1", Kind.LINK_LOCAL),
        ("fe80::1%eth0", Kind.LINK_LOCAL),
        ("169.254.169.254", Kind.METADATA),
        ("169.254.170.2", Kind.METADATA),
        ("fd00:ec2::254", Kind.METADATA),
        ("100.100.100.200", Kind.METADATA),
        ("168.63.129.16", Kind.METADATA),
        ("0.0.0.0", Kind.UNUSABLE),
        ("0.1.2.3", Kind.UNUSABLE),
        ("::", Kind.UNUSABLE),
        ("224.0.0.1", Kind.UNUSABLE),
        ("ff02::1", Kind.UNUSABLE),
        ("255.255.255.255", Kind.UNUSABLE),
        ("::ffff:127.0.0.1", Kind.LOOPBACK),
        ("::ffff:10.0.0.1", Kind.PRIVATE),
        ("::ffff:a9fe:a9fe", Kind.METADATA),
        ("::ffff:8.8.8.8", Kind.PUBLIC),
        ("::127.0.0.1", Kind.LOOPBACK),
        ("64:ff9b::a00:1", Kind.PRIVATE),
        ("64:ff9b::a9fe:a9fe", Kind.METADATA),
        ("2002:7f00:1::", Kind.LOOPBACK),
    ],
)
def test_kind_of_address(address: str, expected: Kind) -> None:
    """An address is judged by what it leads to, also where it is wrapped in another one."""
    assert expected == kind_of_address(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_what_it_maps(address: ipaddress.IPv4Address) -> None:
    """Wrapping an IPv4 address in IPv6 changes nothing about it."""
    assert kind_of_address(address) == kind_of_address(ipaddress.ip_address(f"::ffff:{address}"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry.example.com", None),
        ("localhost", Kind.LOOPBACK),
        ("LocalHost.", Kind.LOOPBACK),
        ("a.localhost", Kind.LOOPBACK),
        ("notlocalhost", None),
        ("127.0.0.1", Kind.LOOPBACK),
        ("127.0.0.1.", Kind.LOOPBACK),
        ("127.1", Kind.UNUSABLE),
        ("2130706433", Kind.UNUSABLE),
        ("0x7f000001", Kind.UNUSABLE),
        ("0x7f.0.0.1", Kind.UNUSABLE),
        ("0177.0.0.1", Kind.UNUSABLE),
        ("127.0.0.0x1", Kind.UNUSABLE),
        ("example.0x", Kind.UNUSABLE),
        ("1.2.3.4.5", Kind.UNUSABLE),
        ("0", Kind.UNUSABLE),
        ("::ffff:7f00:1", Kind.LOOPBACK),
        ("metadata.google.internal", Kind.METADATA),
        ("10.0.0.1.nip.io", None),
    ],
)
def test_kind_of_name(host: str, expected: Kind | None) -> None:
    """Names that stand for addresses are known without asking, and odd spellings of addresses are refused."""
    assert expected == kind_of_name(host)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry.example.com", Kind.PUBLIC),
        ("registry", Kind.PRIVATE),
        ("registry.corp", Kind.PRIVATE),
        ("a.b.internal", Kind.PRIVATE),
        ("10.1.2.3", Kind.PRIVATE),
        ("localhost", Kind.LOOPBACK),
        ("metadata.google.internal", Kind.METADATA),
    ],
)
def test_kind_unresolved(host: str, expected: Kind) -> None:
    """Where a proxy resolves, the name alone tells what is inside."""
    assert expected == kind_unresolved(host)


@pytest.mark.parametrize(
    ("own", "allowed", "opened"),
    [
        (Kind.PUBLIC, {Kind.PUBLIC}, {Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK}),
        (Kind.PRIVATE, {Kind.PUBLIC, Kind.PRIVATE}, {Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK}),
        (
            Kind.LOOPBACK,
            {Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK},
            {Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK},
        ),
        (
            Kind.LINK_LOCAL,
            {Kind.PUBLIC, Kind.PRIVATE, Kind.LINK_LOCAL},
            {Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK, Kind.LINK_LOCAL},
        ),
    ],
)
def test_permitted(own: Kind, allowed: set[Kind], opened: set[Kind]) -> None:
    """A registry sends us outwards and sideways, never further in than it is itself."""
    found = [{kind for kind in Kind if permitted(kind, own, opened=each)} for each in (False, True)]
    assert [allowed, opened] == found
