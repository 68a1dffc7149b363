"""Options and mmgraph.toml as the values that the client takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mmgraph.cli import main
from mmgraph.cli.app import app
from mmgraph.cli.options import Network
from mmgraph.cli.routes import allowances, chunks, routes
from mmgraph.names import Registry
from mmgraph.registry.gate import Allowance
from mmgraph.registry.origins import Opening
from tests.support.authority import Authority
from tests.support.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
insecure = ["c.example"]
[registry."a.example"]
jobs = 3
upload-chunk = "16MiB"
requests-per-second = 0.5
trust-realm = "sso.example"
insecure = true
[registry."b.example:5000"]
trust-realm = ["x.example", "y.example:1"]
trust-upload-host = "s3.corp"
requests-per-second = 7
upload-chunk = 65536
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


def test_chunks(network: Network) -> None:
    """A registry's chunks are bytes, or a number with a unit."""
    assert {A: 16 << 20, B: 65_536} == chunks(network)


@pytest.mark.parametrize(
    "value", ['"16 MB"', '"1GiB"', '"33MiB"', '"63KiB"', "0", "-1", '""', '"MiB"', "true", "1.5"]
)
def test_chunks_that_make_no_sense(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no size, or none that can be, is refused before anybody is asked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mmgraph.toml").write_text(f"[registry.'a.example']\nupload-chunk = {value}\n")
    (tmp_path / "specs.json").write_text(json.dumps({"src": "a.example/a:v1", "dst": "a.example/b:v1"}))
    code = main(["plan", "--no-cache"])
    assert (1, True) == (code, "upload-chunk" in capsys.readouterr().err)


def test_chunks_for_a_registry_that_takes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that cannot work is refused with who says so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mmgraph.toml").write_text("[registry.'ghcr.io']\nupload-chunk = '16MiB'\n")
    (tmp_path / "specs.json").write_text(json.dumps({"src": "a.example/a:v1", "dst": "a.example/b:v1"}))
    code = main(["plan", "--no-cache"])
    assert (1, True) == (code, "rust-oci-client#35" in capsys.readouterr().err)


def test_unchecked(network: Network) -> None:
    """Registries of tables join those that are listed."""
    assert {A, C} == network.unchecked()


@pytest.mark.parametrize(
    ("config", "flags", "expected"),
    [
        ("", [], "the certificate does not fit: unable to get local issuer certificate; --ca FILE"),
        ("[registry.'{}']\nca = 'authority.pem'", [], "404"),
        ("ca = 'authority.pem'", [], "404"),
        ("", ["--ca", "authority.pem"], "404"),
        ("", ["--insecure", "{}"], "404"),
        ("", ["--insecure", "{}"], "the certificate of {} is not checked (--insecure)"),
        ("[registry.'{}']\ninsecure = true", [], "404"),
        (
            "insecure = ['{}', 'other.example']",
            [],
            "! The certificate of {} is not checked (--insecure). 1 spec",
        ),
        ("", ["--insecure", "127.0.0.1:1"], "the certificate does not fit"),
    ],
)
def test_a_private_authority(
    config: str,
    flags: list[str],
    expected: str,
    private: tuple[Authority, Distribution],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A registry with a private certificate is spoken to when the user says how, and only then."""
    authority, server = private
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "authority.pem").write_bytes(authority.file.read_bytes())
    (tmp_path / "mmgraph.toml").write_text(config.format(server.address))
    spec = {"src": f"{server.address}/a:v1", "dst": f"{server.address}/b:v1"}
    (tmp_path / "specs.json").write_text(json.dumps(spec))
    code = main(["plan", "--no-cache", *(flag.format(server.address) for flag in flags)])
    shown = "".join(capsys.readouterr())
    assert (1, True) == (code, expected.format(server.address) in " ".join(shown.split())), shown


def test_a_saved_plan_tells_whose_certificate_was_not_checked(
    private: tuple[Authority, Distribution],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever it is looked at, without the option it was made with."""
    address = private[1].address
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "specs.json").write_text(json.dumps({"src": f"{address}/a:v1", "dst": f"{address}/b:v1"}))
    main(["plan", "--no-cache", "--insecure", address, "--out", "plan.json", "specs.json"])
    capsys.readouterr()
    told = f"The certificate of {address} is not checked (--insecure)."
    shown = []
    for arguments in (["plan", "plan.json"], ["graph", "plan.json"], ["apply", "plan.json"]):
        main(arguments)
        shown.append(told in capsys.readouterr().out)
    assert [True, True, True] == shown


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, Distribution]]:
    """Run a registry with a private certificate."""
    home = tmp_path_factory.mktemp("private")
    authority = Authority(home)
    certificate, key = authority.files(home, "127.0.0.1")
    tls = {"certificate": str(certificate), "key": str(key)}
    with Distribution(settings={"http": {"tls": tls}}) as server:
        yield authority, server
