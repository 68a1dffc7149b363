"""The layers of the package: who may import whom, and what else holds for every module of it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE: Final = Path(__file__).parents[1] / "mmgraph"


class Room(NamedTuple):
    """A module's layer, and what it may import beyond layers 0 and 1, which are open to all above them."""

    layer: int
    imports: frozenset[str] = frozenset()


def _room(layer: int, imports: str = "") -> Room:
    return Room(layer, frozenset(imports.split()))


# A package stands for all its modules unless they are listed; its modules may import each other then.
LAYERS: Final = {
    "errors": _room(0),
    "names": _room(0, "errors"),
    "clock": _room(0),
    "collector": _room(0),
    "soundjson": _room(0),
    "tasks": _room(1),
    "flights": _room(0),
    "oci": _room(1),
    "specs": _room(1),
    "events": _room(1),
    "cachefile": _room(1),
    "quirks": _room(0, "names"),
    "store": _room(1),
    "behalf": _room(2),
    "graph": _room(2),
    "cache": _room(2),
    "closure": _room(2),
    "evidence": _room(2),
    "bill": _room(2),
    "rules": _room(2),
    "demands": _room(3, "rules"),
    "discover": _room(3, "graph closure"),
    "observe": _room(3, "graph closure evidence"),
    "plan": _room(3, "graph closure evidence bill rules memory"),
    "compile": _room(4, "graph closure evidence discover observe plan rules demands"),
    "compliance": _room(4, "closure evidence observe plan rules demands"),
    "soundness": _room(4, "graph bill plan"),
    "cost": _room(4, "graph plan"),
    "recall": _room(2, "flights"),
    "memory": _room(2),
    "difference": _room(4, "graph plan"),
    "ranking": _room(5, "plan cost"),
    "lookup": _room(4, "graph plan"),
    "reasons": _room(1),
    "grounds": _room(4, "graph plan rules"),
    "explain": _room(5, "graph plan cost grounds lookup rules"),
    "verify": _room(5, "closure discover"),
    "saved": _room(5, "graph bill memory plan soundness rules"),
    "staleness": _room(5, "graph evidence plan soundness"),
    "effort": _room(4, "graph plan"),
    "account": _room(5, "plan graph effort"),
    "work": _room(4, "graph plan"),
    "ready": _room(4),
    "sharing": _room(5, "plan ready work"),
    "tee": _room(3),
    "meter": _room(1),
    "transfer": _room(4, "tee"),
    "commits": _room(5, "graph evidence plan work"),
    "execute": _room(6, "behalf graph evidence plan account effort work ready sharing transfer commits"),
    "registry": _room(2),
    "registry.wire": _room(2),
    "registry.secrets": _room(2),
    "registry.programs": _room(2),
    "registry.helpers": _room(3, "registry.programs registry.secrets"),
    "registry.logins": _room(3, "registry.secrets"),
    "registry.credentials": _room(4, "registry.helpers registry.logins registry.secrets"),
    "registry.challenge": _room(2),
    "registry.tokens": _room(3, "registry.wire registry.secrets"),
    "registry.policy": _room(3, "registry.wire"),
    "registry.window": _room(3),
    "registry.gate": _room(4, "registry.policy registry.window"),
    "registry.health": _room(4, "registry.policy"),
    "registry.quota": _room(4, "registry.policy"),
    "registry.auth": _room(
        5,
        "registry.wire registry.credentials registry.challenge registry.origins"
        " registry.secrets registry.tokens",
    ),
    "registry.watch": _room(2),
    "registry.lean": _room(2),
    "registry.trace": _room(3, "registry.wire"),
    "registry.blame": _room(3, "registry.wire"),
    "registry.failures": _room(3, "registry.lean registry.wire registry.watch"),
    "registry.bodies": _room(
        4, "registry.lean registry.wire registry.failures registry.policy registry.watch"
    ),
    "registry.retries": _room(
        5,
        "registry.wire registry.failures registry.bodies registry.policy registry.gate registry.health"
        " registry.quota",
    ),
    "registry.refusals": _room(
        5, "registry.wire registry.blame registry.bodies registry.origins registry.policy"
    ),
    "registry.addresses": _room(2),
    "registry.origins": _room(3, "registry.wire registry.addresses"),
    "registry.tls": _room(3, "registry.wire"),
    "registry.resolver": _room(4, "registry.lean registry.addresses"),
    "registry.proxies": _room(4, "registry.wire registry.secrets"),
    "registry.sessions": _room(
        5,
        "registry.lean registry.wire registry.addresses registry.origins registry.tls registry.resolver"
        " registry.proxies",
    ),
    # Credentials pass through here on their way to auth, unread.
    "registry.connection": _room(
        6,
        "behalf registry.lean registry.wire registry.credentials registry.auth registry.gate registry.failures"
        " registry.bodies registry.watch registry.trace"
        " registry.retries registry.policy registry.origins registry.sessions registry.tokens",
    ),
    "registry.guard": _room(2),
    "registry.repositories": _room(6, "registry.wire registry.programs registry.refusals"),
    "registry.puts": _room(
        7,
        "registry.guard registry.wire registry.connection registry.refusals",
    ),
    "registry.chunks": _room(
        7,
        "registry.guard registry.wire registry.gate registry.bodies registry.retries registry.connection"
        " registry.origins registry.policy registry.refusals",
    ),
    "registry.uploads": _room(
        8,
        "registry.guard registry.wire registry.bodies registry.chunks registry.retries registry.connection"
        " registry.policy registry.refusals",
    ),
    "registry.client": _room(
        9,
        "registry.repositories registry.puts registry.blame registry.chunks registry.uploads"
        " registry.guard registry.wire registry.credentials registry.auth registry.gate registry.bodies"
        " registry.retries registry.connection registry.trace"
        " registry.policy registry.refusals registry.quota registry.origins registry.tls registry.proxies"
        " registry.sessions",
    ),
    "server": _room(3, "registry.wire"),
    "report": _room(6, "graph bill memory plan account effort cost difference explain ranking rules verify"),
    "cli": _room(10, "*"),
    "__main__": _room(11, "cli"),
}

# What else is installed may be imported only there. msgspec is open to all, and so is the standard library.
OTHERS: Final = {
    "aiohttp": frozenset({"registry.lean"}),
    "aiohttp.web": frozenset({"server"}),
    "cyclopts": frozenset({"cli"}),
    "msgspec": frozenset(LAYERS),
    "publicsuffixlist": frozenset({"registry.origins"}),
    "networkx": frozenset({"graph"}),
    "rich": frozenset({"report", "cli"}),
    "yarl": frozenset({"registry.sessions"}),  # the URLs of aiohttp
}

WRITERS: Final = frozenset({"store", "transfer", "commits", "execute", "registry.client", "cli"})
"""Who may name what changes a registry; whatever plans is not among them, so it cannot write."""


class Import(NamedTuple):
    """One import, wherever it stands: ``module`` is absolute, ``names`` what is taken out of it."""

    path: Path
    line: int
    module: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        names = f" import {', '.join(self.names)}" if self.names else ""
        return f"{self.path}:{self.line}: {self.module}{names}"


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    """Yield each module of ``package`` by its name inside it; ``""`` is the package itself."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(package: Path, path: Path) -> Iterator[Import]:
    """Yield all imports of a file, wherever they stand, each name on its own."""
    known = {name for name, _ in modules(package)}
    inside = path.relative_to(package.parent).with_suffix("").parts
    home = inside[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, ())
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(home[: len(home) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                if whole == "aiohttp.web" or whole.removeprefix(f"{package.name}.") in known:
                    yield Import(path, node.lineno, whole, ())
                else:
                    yield Import(path, node.lineno, module, (alias.name,))


def room_of(name: str, layers: dict[str, Room] = LAYERS) -> str | None:
    """Return the entry of the table that ``name`` belongs to: itself, else a package around it, else None.

    A package whose modules are listed (``registry``) stands only for itself.
    """
    if name in layers:
        return name
    outer = name.rpartition(".")[0]
    split = any(entry.startswith(f"{outer}.") for entry in layers)
    return room_of(outer, layers) if outer and not split else None


def offences(package: Path, layers: dict[str, Room] = LAYERS) -> Iterator[str]:
    """Yield each module that has no room in the table, and each import that the table does not allow."""
    for name, path in modules(package):
        room = room_of(name, layers) if name else ""
        if room is None:
            yield f"{path}: not in the table of layers"
            continue
        for found in imports(package, path):
            head, _, rest = found.module.partition(".")
            if head == package.name:
                if not _allowed(room, rest, layers):
                    yield f"{found}: not for {room or 'the package itself'}"
            elif head not in sys.stdlib_module_names and head != "__future__":
                key = found.module if found.module.startswith("aiohttp.web") else head
                if room not in OTHERS.get("aiohttp.web" if key != head else head, ()):
                    yield f"{found}: not for {room or 'the package itself'}"


def _allowed(room: str, imported: str, layers: dict[str, Room]) -> bool:
    target = room_of(imported, layers) if imported else ""
    if target == "":  # the package itself holds nothing but its version
        return True
    if target is None or room == "":
        return False
    own = layers[room]
    if target == room or target in own.imports or "*" in own.imports:
        return True
    return own.layer >= 1 and layers[target].layer < min(own.layer, 2)


def test_every_import_goes_down_the_layers() -> None:
    """No module imports sideways, upwards, or a library that is another module's business."""
    assert [] == list(offences(PACKAGE))


def test_the_table_itself_goes_down() -> None:
    """Whatever the table allows lies in a lower layer, except that names may know errors, and quirks names."""
    upward = [
        (name, other)
        for name, room in LAYERS.items()
        for other in room.imports - {"*"}
        if LAYERS[other].layer >= room.layer
        and (name, other) not in {("names", "errors"), ("quirks", "names")}
    ]
    assert [] == upward


def test_what_plans_cannot_name_a_writer() -> None:
    """Only the modules that execute import the interfaces that change a registry."""
    found = [
        str(each)
        for name, path in modules(PACKAGE)
        if room_of(name) not in WRITERS
        for each in imports(PACKAGE, path)
        if each.module == "mmgraph.store" and {"Writer", "Transport"} & set(each.names)
    ]
    assert [] == found


def _called(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_all_waits_go_through_the_clock() -> None:
    """Nobody but clock.py sleeps on a clock of the system."""
    sleeps = {"time.sleep", "asyncio.sleep", "sleep"}
    found = [
        f"{path}:{line}: {call}"
        for name, path in modules(PACKAGE)
        if name != "clock"
        for line, call in _called(path)
        if call in sleeps
    ]
    assert [] == found


def test_no_module_is_too_long_to_be_read() -> None:
    """A module has at most 500 lines and a function at most 80."""
    found = []
    for _, path in modules(PACKAGE):
        text = path.read_text()
        if (length := len(text.splitlines())) > 500:
            found.append(f"{path}: {length} lines")
        for node in ast.walk(ast.parse(text, str(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 80:
                    found.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    assert [] == found


def _package(root: Path, files: dict[str, str]) -> Path:
    package = root / "mmgraph"
    for name in (*LAYERS, ""):
        path = package / f"{name.replace('.', '/')}.py"
        if name in {"", "registry", "server", "report", "cli"}:
            path = package / name / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for name, text in files.items():
        (package / name).write_text(text)
    return package


def _shown(found: Iterable[str], root: Path) -> list[str]:
    return [offence.removeprefix(f"{root}/mmgraph/") for offence in found]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("names.py", "import mmgraph.store", "names.py:1: mmgraph.store: not for names"),
        ("oci.py", "from mmgraph import specs", "oci.py:1: mmgraph.specs: not for oci"),
        ("specs.py", "from . import events", "specs.py:1: mmgraph.events: not for specs"),
        ("plan.py", "from .execute import run", "plan.py:1: mmgraph.execute import run: not for plan"),
        ("plan.py", "def f():\n    import networkx", "plan.py:2: networkx: not for plan"),
        (
            "observe.py",
            "if TYPE_CHECKING:\n    from mmgraph.discover import Discovery",
            "observe.py:2: mmgraph.discover import Discovery: not for observe",
        ),
        (
            "registry/gate.py",
            "from .auth import Tokens",
            "registry/gate.py:1: mmgraph.registry.auth import Tokens: not for registry.gate",
        ),
        (
            "registry/wire.py",
            "from aiohttp import hdrs",
            "registry/wire.py:1: aiohttp import hdrs: not for registry.wire",
        ),
        (
            "registry/client.py",
            "from aiohttp import web",
            "registry/client.py:1: aiohttp.web: not for registry.client",
        ),
        ("server/app.py", "import aiohttp", "server/app.py:1: aiohttp: not for server"),
        ("transfer.py", "import requests", "transfer.py:1: requests: not for transfer"),
        (
            "execute.py",
            "from rich.table import Table",
            "execute.py:1: rich.table import Table: not for execute",
        ),
        (
            "__init__.py",
            "from mmgraph.cli import main",
            "__init__.py:1: mmgraph.cli import main: not for the package itself",
        ),
        ("journal.py", "", "journal.py: not in the table of layers"),
        ("registry/pool.py", "", "registry/pool.py: not in the table of layers"),
    ],
)
def test_an_offence_is_found(tmp_path: Path, name: str, text: str, expected: str) -> None:
    """A forbidden import is named with its file and line, however it is spelled and wherever it stands."""
    assert [expected] == _shown(offences(_package(tmp_path, {name: text})), tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.py", "from mmgraph.errors import SpecError"),
        ("store.py", "from mmgraph.names import Digest"),
        ("plan.py", "from mmgraph.graph import Graph\nfrom mmgraph.specs import CopySpec\nimport msgspec"),
        ("registry/lean.py", "import aiohttp"),
        ("registry/connection.py", "from mmgraph.registry import gate, lean, wire"),
        (
            "server/app.py",
            "from aiohttp import web\nfrom . import storage\nfrom mmgraph.registry.wire import url",
        ),
        ("server/log.py", "import aiohttp.web\nfrom aiohttp.web import Request"),
        ("cli/apply.py", "from mmgraph import __version__, execute\nimport cyclopts, rich.console"),
    ],
)
def test_what_the_table_allows_passes(tmp_path: Path, name: str, text: str) -> None:
    """Imports down the layers, inside a package, and of a module's own library are no offence."""
    assert [] == list(offences(_package(tmp_path, {"server/storage.py": "", name: text})))
