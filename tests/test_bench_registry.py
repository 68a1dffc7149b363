"""Which registry stands at both ends of the benchmarks, and whether that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import registry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two empty directories: the one on PATH, and the one that ``make bench-peers`` fills."""
    path, peers = tmp_path / "path", tmp_path / "peers"
    for each in (path, peers):
        each.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(registry, "_PEERS", peers)
    return path, peers


def put(directory: Path, script: str = "") -> Path:
    """A program by the name that ``make bench-peers`` gives distribution 3."""
    program = directory / registry.DISTRIBUTION_3
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_without_distribution_3_it_is_debians(places: tuple[Path, Path]) -> None:
    """Where ``make bench-peers`` has not run, what the tests need is there."""
    assert registry.default() == "docker-registry"


def test_what_bench_peers_has_built_is_found_without_make(places: tuple[Path, Path]) -> None:
    """``python -m benchmarks.run`` has not make's PATH, and runs at the same registry."""
    assert str(put(places[1])) == registry.default()


def test_path_comes_first(places: tuple[Path, Path]) -> None:
    """Somebody's own distribution 3 stands before the one that was built."""
    put(places[1])
    assert str(put(places[0])) == registry.default()


def test_a_version_has_no_path(tmp_path: Path) -> None:
    """Distribution says by which path it was called, which is kept out of results."""
    program = put(tmp_path, "echo $0 github.com/distribution/distribution/v3 v3.1.2+unknown")
    assert registry.version(str(program)) == "github.com/distribution/distribution/v3 v3.1.2+unknown"


def test_what_is_not_there_has_no_version(tmp_path: Path) -> None:
    """Parts that need no registry run where none is installed."""
    assert registry.version(str(tmp_path / "absent")) == "not installed"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("github.com/distribution/distribution/v3 v3.1.2+unknown", False),
        ("github.com/docker/distribution 2.8.2+ds1", True),
        ("unknown", True),
    ],
)
def test_another_registry_is_remarked_on(told: str, expected: bool) -> None:
    """Numbers that were not taken with distribution 3 say so, and how to make it."""
    assert expected == ("make bench-peers" in registry.remark(told))
