"""What is known of registries: by their host names, by the user, and by what a run finds out."""

from __future__ import annotations

import pytest

from mmgraph.names import Registry
from mmgraph.quirks import TABLE, Learned, Quirk, Quirks

EXAMPLE = Registry.parse("registry.example.com")


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", True),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", True),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", True),
        ("123456789012.dkr-ecr.us-east-1.on.aws", True),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com:443", True),
        ("public.ecr.aws", False),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.org", False),
    ],
)
def test_ecr_is_told_by_its_host(registry: str, expected: bool) -> None:
    """ECR is told by its host names, its lookalikes are not."""
    assert expected == Quirks().has(Registry.parse(registry), Quirk.MOUNTS_COMMITTED)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [("docker.io", True), ("index.docker.io", True), ("registry-1.docker.io", True), ("ghcr.io", False)],
)
def test_docker_hub_counts_manifests(registry: str, expected: bool) -> None:
    """Under each of its names; others are asked for as many as are wanted."""
    assert expected == Quirks().has(Registry.parse(registry), Quirk.COUNTS_MANIFESTS)


def test_what_is_known_is_not_learned() -> None:
    """What the table or the user has said already is no news."""
    quirks = Quirks({Quirk.REFUSES_MOUNTS: [EXAMPLE]})
    quirks.learn(EXAMPLE, Quirk.REFUSES_MOUNTS)
    assert () == quirks.learned


@pytest.mark.parametrize(
    ("learned", "expected"),
    [
        (Learned(EXAMPLE, Quirk.REFUSES_MOUNTS), "registry.example.com answers a mount with an error"),
        (
            Learned(EXAMPLE, Quirk.TOKEN_BY_GET),
            "registry.example.com has a token service that refuses POST: asked by GET",
        ),
    ],
)
def test_what_is_learned_reads_as_a_sentence(learned: Learned, expected: str) -> None:
    """After the registry's name."""
    assert expected == str(learned)


def test_every_row_has_evidence() -> None:
    """No row of the table stands without a source."""
    assert [] == [row for row in TABLE if len(row.evidence) < 10]


def test_declared_adds_to_the_table() -> None:
    """What the user says holds for that registry alone."""
    quirks = Quirks({Quirk.MOUNTS_COMMITTED: [EXAMPLE]})
    other = Registry.parse("other.example.com")
    assert [True, False] == [quirks.has(each, Quirk.MOUNTS_COMMITTED) for each in (EXAMPLE, other)]


def test_learned_is_told_once() -> None:
    """A quirk that shows itself again is not told again."""
    heard: list[Learned] = []
    quirks = Quirks(heard=heard.append)
    for _ in range(3):
        quirks.learn(EXAMPLE, Quirk.BLIND)
    assert [Learned(EXAMPLE, Quirk.BLIND)] == heard


def test_the_greatest_value_holds() -> None:
    """Of several sizes that a registry asked for, the greatest counts and is the one reported."""
    quirks = Quirks()
    for size in (4096, 1024, 8192):
        quirks.learn(EXAMPLE, Quirk.LEAST_CHUNK, size)
    assert (8192, (Learned(EXAMPLE, Quirk.LEAST_CHUNK, 8192),)) == (
        quirks.value(EXAMPLE, Quirk.LEAST_CHUNK),
        quirks.learned,
    )


def test_what_is_not_known_is_not_so() -> None:
    """A registry of which nothing is known has no quirk, and no amount of one."""
    quirks = Quirks()
    assert (False, 0) == (quirks.has(EXAMPLE, Quirk.BLIND), quirks.value(EXAMPLE, Quirk.LEAST_CHUNK))
