"""A registry's quota of manifests: what is spent, what is left, and where it stops."""

from __future__ import annotations

import pytest

from mmgraph.names import HUB, Registry
from mmgraph.registry.quota import Quota, QuotaError, Quotas

REGISTRY = Registry(HUB)


def headers(left: int, limit: int = 100) -> dict[str, str]:
    """Return Docker Hub's headers."""
    return {"ratelimit-limit": f"{limit};w=21600", "ratelimit-remaining": f"{left};w=21600"}


def spend(quotas: Quotas, name: str) -> None:
    """Read a manifest and get an answer that tells nothing."""
    quotas.spend(REGISTRY, name)
    quotas.answered(REGISTRY, name)


def test_a_registry_that_tells_of_none() -> None:
    """Without headers there is no quota, however much is read."""
    quotas = Quotas()
    for number in range(1000):
        spend(quotas, str(number))
    expected: dict[Registry, Quota] = {}
    assert expected == quotas.known


def test_it_stops_at_the_reserve() -> None:
    """With ten left of a hundred, five are read: the rest is kept, and what was not read is counted."""
    quotas = Quotas()
    quotas.heard(REGISTRY, headers(10))
    refused = 0
    for number in range(8):
        try:
            spend(quotas, str(number))
        except QuotaError:
            refused += 1
    assert (3, Quota(100, 5, 21600, 5, 3)) == (refused, quotas.known[REGISTRY])


def test_what_is_under_way_is_counted() -> None:
    """The registry's number does not know of the requests that have not reached it yet."""
    quotas = Quotas()
    quotas.heard(REGISTRY, headers(10))
    quotas.spend(REGISTRY, "a")
    quotas.spend(REGISTRY, "b")
    quotas.heard(REGISTRY, headers(10))
    assert 8 == quotas.known[REGISTRY].left


def test_the_registry_is_right() -> None:
    """Others use the same quota, and its window moves on: the latest header counts."""
    quotas = Quotas()
    quotas.heard(REGISTRY, headers(5))
    with pytest.raises(QuotaError, match=r"^deferred: quota: docker\.io allows 100 manifests in 6 h"):
        quotas.spend(REGISTRY, "a")
    quotas.heard(REGISTRY, headers(90))
    spend(quotas, "a")
    assert Quota(100, 89, 21600, 1, 0) == quotas.known[REGISTRY]


def test_the_registry_says_that_nothing_is_left() -> None:
    """A refusal without numbers stops it, too."""
    quotas = Quotas()
    quotas.exhausted(REGISTRY)
    with pytest.raises(QuotaError, match="allows no more manifests now"):
        quotas.spend(REGISTRY, "a")


@pytest.mark.parametrize("limit", ["100", "x;w=1", ""])
def test_other_headers_are_none(limit: str) -> None:
    """What is not a number within a window is no quota."""
    quotas = Quotas()
    quotas.heard(REGISTRY, {"ratelimit-limit": limit, "ratelimit-remaining": limit})
    expected: dict[Registry, Quota] = {}
    assert expected == quotas.known


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (
            Quota(100, 5, 21600, 42, 12),
            "quota: 42 manifests read of 100 in 6 h, 5 left, at least 12 still needed",
        ),
        (Quota(100, 58, 21600, 42, 0), "quota: 42 manifests read of 100 in 6 h, 58 left"),
        (Quota(100, 99, 21600, 1, 0), "quota: 1 manifest read of 100 in 6 h, 99 left"),
        (Quota(0, 0, 0, 3, 1), "quota: 3 manifests read, 0 left, at least 1 still needed"),
    ],
)
def test_words(quota: Quota, expected: str) -> None:
    """One line says what was spent, what is left and what is still needed."""
    assert expected == quota.words
