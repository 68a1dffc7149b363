"""Options and mmgraph.toml as the values that the client takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mmgraph.cli.app import app
from mmgraph.cli.options import Network
from mmgraph.cli.routes import allowances, routes
from mmgraph.names import Registry
from mmgraph.registry.gate import Allowance
from mmgraph.registry.origins import Opening

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
insecure = ["c.example"]
[registry."a.example"]
jobs = 3
requests-per-second = 0.5
trust-realm = "sso.example"
insecure = true
[registry."b.example:5000"]
trust-realm = ["x.example", "y.example:1"]
trust-upload-host = "s3.corp"
requests-per-second = 7
"""
A, B, C = Registry("a.example"), Registry("b.example:5000"), Registry("c.example")


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """Return the options of a run with the configuration above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mmgraph.toml").write_text(CONFIG)
    _, bound, _ = app.parse_args(["plan", "x.json"], exit_on_error=False, print_error=False)
    found = bound.arguments["network"]
    assert isinstance(found, Network)
    return found


def test_openings(network: Network) -> None:
    """A registry's hosts are opened for it alone."""
    trust = routes(network, {}, print).trust
    expected = (
        {Opening(A, "sso.example", None), Opening(B, "x.example", None), Opening(B, "y.example", 1)},
        {Opening(B, "s3.corp", None)},
    )
    assert expected == (set(trust.realms), set(trust.uploads))


def test_allowances(network: Network) -> None:
    """Jobs and pace of one registry come together."""
    assert {A: Allowance(3, 0.5), B: Allowance(None, 7.0)} == allowances(network)


def test_unchecked(network: Network) -> None:
    """Registries of tables join those that are listed."""
    assert {A, C} == network.unchecked()
