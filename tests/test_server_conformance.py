"""The server passes the OCI distribution conformance suite, over memory and over a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mmgraph.server import Bearer, FaultPlan, LayoutStorage, MemoryStorage, Quirks, RegistryServer
from tests.conformance import run_conformance

if TYPE_CHECKING:
    from pathlib import Path

    from mmgraph.server import Storage


@pytest.fixture(params=["memory", "layout"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Make each kind of storage in turn."""
    return MemoryStorage() if request.param == "memory" else LayoutStorage(tmp_path / "registry")


@pytest.mark.parametrize("version", ["1.0", "1.1", "dev"])
async def test_conformance(storage: Storage, tmp_path: Path, version: str) -> None:
    """Every test of every version of the suite passes that is not about deleting."""
    async with RegistryServer(storage) as server:
        results = await run_conformance(
            server.address, tmp_path / "results", options={"OCI_VERSION": version}
        )

    assert () == results.failures
    assert results.passed > 500


async def test_conformance_of_sparse_content(storage: Storage, tmp_path: Path) -> None:
    """A registry that accepts missing references also passes the suite's tests of sparse manifests."""
    plan = FaultPlan(quirks=Quirks(accepts_missing=True))
    async with RegistryServer(storage, faults=plan) as server:
        results = await run_conformance(
            server.address, tmp_path / "results", options={"OCI_DATA_SPARSE": "true"}
        )

    assert () == results.failures


async def test_conformance_with_tokens(tmp_path: Path) -> None:
    """The suite also passes where every request needs a token."""
    auth = Bearer("user", "secret", anonymous=False)
    options = {"OCI_USERNAME": "user", "OCI_PASSWORD": "secret"}
    async with RegistryServer(MemoryStorage(), auth=auth) as server:
        results = await run_conformance(server.address, tmp_path / "results", options=options)

    assert () == results.failures
