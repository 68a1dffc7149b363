"""Registries that are named and not of the set are told, with what is near them."""

from pathlib import Path

import pytest

from mmgraph.cli.options import ALL, Network, Selection
from mmgraph.cli.strays import notice_strays
from mmgraph.names import Reference
from mmgraph.specs import CopySpec

SPECS = (CopySpec(Reference.parse("src.example/a:1"), Reference.parse("localhost:5055/a:1")),)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a directory without a file of options."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("network", "config", "expected"),
    [
        (
            Network(plain_http=("localhost",)),
            "",
            "--plain-http localhost is for no registry of this set; near it is localhost:5055",
        ),
        (
            Network(trust_realm=("other.test=sso.example",)),
            "",
            "--trust-realm other.test is for no registry of this set; there are localhost:5055 and",
        ),
        (
            Network(),
            '[registry."localhst:5055"]\njobs = 3\n',
            '[registry."localhst:5055"] of mmgraph.toml is for no registry of this set; near it is localhost:5055',
        ),
        (Network(plain_http=("localhost:5055",)), "", ""),
        (Network(), '[registry."quite.another.test"]\njobs = 3\n', ""),
        (Network(insecure=("quite.another.test",)), 'insecure = ["quite.another.test"]\n', ""),
    ],
)
def test_what_is_of_no_registry_of_the_set_is_told(
    network: Network, config: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options always; of a file, which serves many sets, only what is nearly one of this set."""
    Path("mmgraph.toml").write_text(config)
    notice_strays(SPECS, ALL, network)
    err = capsys.readouterr().err
    assert (bool(expected), True) == (bool(err), expected in err), err


@pytest.mark.parametrize(("specs", "selection"), [((), ALL), (SPECS, Selection(only=("a:1",)))])
def test_a_part_of_a_set_and_none_say_nothing(
    specs: tuple[object, ...], selection: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other registries may be those of what is left out."""
    notice_strays(specs, selection, Network(plain_http=("localhost",)))  # type: ignore[arg-type]
    assert "" == capsys.readouterr().err
