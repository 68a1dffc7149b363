"""mmgraph.toml: options that stand in a file, for all commands, for one command, or for one registry.

Only the file in the current directory is read, not those above it: what a stranger left in a shared parent
directory must not be able to switch TLS off.
"""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cyclopts import App
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from mmgraph.errors import SpecError
from mmgraph.names import Registry, printable, quote, without_credentials

NAME: Final = "mmgraph.toml"
_LIMIT: Final = 1 << 20
_SWITCHES: Final = ("anonymous", "plain-http", "mount-after-manifest", "insecure")
_HOSTS: Final = ("trust-realm", "trust-upload-host")
_NO_OPTION: Final = "create-repository"
"""What a registry's table can hold and no flag can say; read by ``cli.creation``."""
_VALUES: Final[dict[str, tuple[str, type | tuple[type, ...], str]]] = {
    "ca": ("registry-ca", str, "a file"),
    "jobs": ("registry-jobs", int, "a number"),
    "requests-per-second": ("requests-per-second", (int, float), "a number"),
    "upload-chunk": ("registry-upload-chunk", (int, str), 'a number of bytes, or such as "16MiB"'),
}
"""What a registry's table can hold with a value: its option, the value's type, and that type in words."""
_COMMON: Final = frozenset(
    {
        *("jobs", "authfile", "anonymous", "plain-http", "mount-after-manifest", "no-cache"),
        "cache-limit",
        *("require-platforms", "ca", "insecure", "trust-realm", "trust-upload-host"),
        *("color", "max-failures", "keep-going", "max-wait"),
    }
)
"""What may stand outside a table: each command takes those that it has."""
_NO_OPTIONS: Final = ("registry", "rule", "rules")
"""Tables that are read in another way; the rules by ``cli.rules``."""


class File:
    """A source of options for cyclopts, behind flags and environment: the first source that has one wins."""

    def __init__(self) -> None:
        self._document: dict[str, Any] | None = None

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Give ``arguments`` what the file says and nothing before has said."""
        if not commands:
            return
        document = read(Path(NAME))
        tables = {name: value for name, value in document.items() if name in _commands(app)}
        loose = {name: value for name, value in document.items() if name not in {*tables, *_NO_OPTIONS}}
        problems = [_not_loose(name, loose[name], _commands(app)) for name in sorted(loose.keys() - _COMMON)]
        problems += [
            f"{NAME}: {name} is a command, so write a table: [{name}]"
            for name, table in tables.items()
            if not isinstance(table, dict)
        ]
        if problems:
            raise SpecError("\n".join(problems))
        known = {name.lstrip("-") for argument in arguments for name in argument.names}
        options = {name: value for name, value in loose.items() if name in known}
        for key, registries in _of_registries(document.get("registry", {})).items():
            if key in known and registries:
                options[key] = [*_list(options.get(key, [])), *registries]
        table = tables.get(commands[0], {})
        if len(commands) == 1 and (unknown := sorted(table.keys() - known)):
            # By the names that a help page shows: some are only what a registry's table becomes.
            names = [
                name[2:]
                for argument in arguments
                for name in argument.names
                if name.startswith("--") and argument.show
            ]
            raise SpecError(
                "\n".join(
                    f"{NAME}: {quote(name)} is not an option of {commands[0]}"
                    f"{_near(name, names, f'mmgraph {commands[0]} --help lists them')}"
                    for name in unknown
                )
            )
        options |= table
        Dict(options, source=NAME, use_commands_as_keys=False)(app, commands, arguments)


def read(path: Path) -> dict[str, Any]:
    """What the file says, nothing where there is none. Raises ``SpecError``."""
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return {}
    if len(content) > _LIMIT:
        raise SpecError(f"{path} is longer than {_LIMIT} bytes")
    try:
        return tomllib.loads(content.decode())
    except RecursionError:
        raise SpecError(f"{path} is nested too deep") from None
    except ValueError as error:  # TOML's, UTF-8's, and that of int() for more digits than it takes
        raise SpecError(f"{path} is not TOML: {printable(without_credentials(str(error)))}") from None


def _not_loose(name: str, value: Any, commands: set[str]) -> str:
    """Say that ``name`` cannot stand outside a table, and what was meant."""
    if isinstance(value, dict):
        near = difflib.get_close_matches(name, sorted(commands | {*_NO_OPTIONS}), n=1)
        write = f"write [{near[0]}]" if near else f"the commands are {', '.join(sorted(commands))}"
        return f"{NAME}: {quote(name)} is no table of a command: {write}"
    near = difflib.get_close_matches(name, sorted(commands), n=1)
    if near and not difflib.get_close_matches(name, _COMMON, n=1):
        return f"{NAME}: {quote(name)} is no option: where the command {near[0]} is meant, write a table [{near[0]}]"
    return (
        f"{NAME}: {quote(name)} is not an option that can stand outside a table"
        f"{_near(name, _COMMON, ', '.join(sorted(_COMMON)) + ' can')}"
    )


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    """A sentence's end: the nearest of ``known``, or how all are found."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f": write {near[0]}" if near else f": {otherwise}"


def _commands(app: App) -> set[str]:
    root = next(iter(app.app_stack.current_frame))
    return {name for name in root if not name.startswith("-")}


def _of_registries(tables: Any) -> dict[str, list[str]]:
    """Turn ``[registry."HOST"]`` tables into options that list registries, alone or with ``=`` and a value."""
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise SpecError(f'{NAME}: write tables for registries: [registry."HOST"]')
    found: dict[str, list[str]] = {}
    for name, table in tables.items():
        Registry.parse(name)
        for key, value in table.items():
            if key == _NO_OPTION:
                continue
            option, entries = _of_registry(name, key, value)
            found.setdefault(option, []).extend(entries)
    return found


def _of_registry(name: str, key: str, value: Any) -> tuple[str, list[str]]:
    """Return what one line of a registry's table becomes: an option and its entries."""
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise SpecError(f"{NAME}: {key} of {quote(name)} is true or false")
        return key, [name] if value else []
    if key in _HOSTS:
        if not all(isinstance(host, str) for host in _list(value)):
            raise SpecError(f"{NAME}: {key} of {quote(name)} is a host, or a list of hosts")
        return key, [f"{name}={host}" for host in _list(value)]
    if key in _VALUES:
        option, kind, words = _VALUES[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SpecError(f"{NAME}: {key} of {quote(name)} is {words}")
        return option, [f"{name}={value}"]
    known = ", ".join((*_SWITCHES, *_HOSTS, *_VALUES, _NO_OPTION))
    raise SpecError(f"{NAME}: {quote(key)} cannot be said of a registry: {known} can")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
