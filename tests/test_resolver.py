"""Names to addresses: what a registry's own name and what other names may lead to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from mmgraph.registry.addresses import Kind
from mmgraph.registry.resolver import ForbiddenError, GuardedResolver, system_lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN, OTHER = "registry.example.com", "storage.example.net"
PUBLIC, PRIVATE, LOOPBACK = "93.184.216.34", "10.0.0.5", "127.0.0.1"


class Names:
    """Answers of a name server, the last one of a name again and again; counts what is asked."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {OWN: [*answers["own"]], OTHER: [*answers.get("other", ())]}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the next answer."""
        self.asked.append(host)
        left = self.answers[host]
        return left.pop(0) if len(left) > 1 else left[0]


def guard(names: Names, *, opened: bool = False) -> GuardedResolver:
    """Return a resolver for the registry."""
    return GuardedResolver(OWN, lambda host, port: opened and (host, port) == (OTHER, 443), names)


async def addresses(resolver: GuardedResolver, host: str, port: int = 443) -> list[str]:
    """Resolve."""
    return [found["host"] for found in await resolver.resolve(host, port)]


@pytest.mark.parametrize("address", [PUBLIC, PRIVATE, LOOPBACK, "169.254.1.1", "::1"])
async def test_a_registrys_own_name(address: str) -> None:
    """The registry that the user has named is spoken to wherever it is."""
    assert [address] == await addresses(guard(Names(own=[[address]])), OWN)


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ([PUBLIC], [PUBLIC], [PUBLIC]),
        ([PUBLIC], [PRIVATE], Kind.PRIVATE),
        ([PUBLIC], [LOOPBACK], Kind.LOOPBACK),
        ([PUBLIC], ["::ffff:127.0.0.1"], Kind.LOOPBACK),
        ([PUBLIC], ["169.254.169.254"], Kind.METADATA),
        ([PUBLIC], ["0.0.0.0"], Kind.UNUSABLE),
        ([PUBLIC], [PRIVATE, PUBLIC], [PUBLIC]),
        ([PRIVATE], [PRIVATE], [PRIVATE]),
        ([PRIVATE], [LOOPBACK], Kind.LOOPBACK),
        ([PRIVATE], ["169.254.169.254"], Kind.METADATA),
        ([PRIVATE, PUBLIC], [PRIVATE], Kind.PRIVATE),
        ([LOOPBACK], [LOOPBACK, PRIVATE], [LOOPBACK, PRIVATE]),
    ],
)
async def test_another_name(own: list[str], other: list[str], expected: list[str] | Kind) -> None:
    """Where a registry sends us is judged by the addresses there, seen from the registry's own."""
    resolver = guard(Names(own=[own], other=[other]))
    await resolver.resolve(OWN, 443)
    found: list[str] | Kind
    try:
        found = await addresses(resolver, OTHER)
    except ForbiddenError as error:
        found = error.kind
    assert expected == found


async def test_a_registry_that_nobody_has_looked_up() -> None:
    """Before anything is known of the registry it counts as public."""
    with pytest.raises(ForbiddenError):
        await addresses(guard(Names(own=[[PRIVATE]], other=[[PRIVATE]])), OTHER)


async def test_a_registry_does_not_become_private() -> None:
    """A name that was public once is never private: its owner could lend it an inner address for a moment."""
    resolver = guard(Names(own=[[PUBLIC], [PRIVATE]], other=[[PRIVATE]]))
    for _ in range(2):
        await resolver.resolve(OWN, 443)
    with pytest.raises(ForbiddenError):
        await addresses(resolver, OTHER)


async def test_rebinding() -> None:
    """A name is judged anew each time it is resolved, and what is returned is what was judged."""
    names = Names(own=[[PUBLIC]], other=[[PUBLIC], [LOOPBACK]])
    resolver = guard(names)
    first = await addresses(resolver, OTHER)
    with pytest.raises(ForbiddenError):
        await addresses(resolver, OTHER)
    assert ([PUBLIC], [OTHER, OTHER]) == (first, names.asked)


@pytest.mark.parametrize(
    ("address", "port", "expected"), [(PRIVATE, 443, True), (LOOPBACK, 443, True), (PRIVATE, 80, False)]
)
async def test_an_opened_host(address: str, port: int, expected: bool) -> None:
    """What the user has opened may be private, at that port."""
    resolver = guard(Names(own=[[PUBLIC]], other=[[address]]), opened=True)
    try:
        found = [address] == await addresses(resolver, OTHER, port)
    except ForbiddenError:
        found = False
    assert expected == found


@pytest.mark.parametrize(
    ("host", "forbidden"),
    [
        (OWN, False),
        (OTHER, False),
        (PUBLIC, False),
        (PRIVATE, True),
        (LOOPBACK, True),
        ("127.1", True),
        ("2130706433", True),
        ("localhost", True),
        ("metadata.google.internal", True),
    ],
)
async def test_names_that_tell_by_themselves(host: str, forbidden: bool) -> None:
    """Addresses written as such are judged before aiohttp has them, since it resolves none."""
    found = False
    try:
        guard(Names(own=[[PUBLIC]])).check(host, 443)
    except ForbiddenError:
        found = True
    assert forbidden == found


def test_a_registry_that_is_an_address() -> None:
    """A registry at 10.0.0.5 may send us to 10.0.0.6 and not to this machine."""
    resolver = GuardedResolver(PRIVATE, lambda host, port: False, system_lookup)
    resolver.check("10.0.0.6", 443)
    with pytest.raises(ForbiddenError):
        resolver.check(LOOPBACK, 443)


async def test_a_name_without_addresses() -> None:
    """No address at all is an error of the network."""
    with pytest.raises(OSError, match="no address"):
        await guard(Names(own=[[]])).resolve(OWN, 443)


async def test_the_systems_answer() -> None:
    """The system knows this machine."""
    assert {"127.0.0.1", "::1"} & set(await system_lookup("localhost", 443))


async def test_what_aiohttp_is_handed() -> None:
    """Addresses come as numbers, with their family, so that nobody resolves again."""
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    expected = [(socket.AF_INET, numeric), (socket.AF_INET6, numeric)]
    found = await guard(Names(own=[[PUBLIC, "2606:2800:220:1::1"]])).resolve(OWN, 443)
    assert expected == [(each["family"], each["flags"]) for each in found]
