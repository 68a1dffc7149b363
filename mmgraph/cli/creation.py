"""Which programs create repositories: ``create-repository`` in the tables of registries in mmgraph.toml.

No option: it names a program that is run, so neither a flag nor the environment nor a plan can say it.
"""

from pathlib import Path
from typing import Any

from mmgraph.cli.config import NAME, read
from mmgraph.errors import SpecError
from mmgraph.names import Registry, quote
from mmgraph.registry.repositories import KEY, Command


def commands() -> dict[Registry, Command]:
    """Return what creates repositories, by registry, as the file in the current directory says; ``SpecError``."""
    found: dict[Registry, Command] = {}
    tables = read(Path(NAME)).get("registry", {})
    for name, table in tables.items():
        if KEY not in table:
            continue
        registry = Registry.parse(name)
        if registry in found:
            raise SpecError(f"{NAME}: {KEY} of {quote(registry)} is there twice: {quote(name)} is the same")
        found[registry] = _command(name, table[KEY])
    return found


def _command(name: str, value: Any) -> Command:
    try:
        return Command.parse(value)
    except SpecError as error:
        raise SpecError(f"{NAME}: {KEY} of {quote(name)} is no command: {error}") from None


def programs() -> dict[Registry, str]:
    """Return the names of the programs that create repositories, by registry."""
    return {registry: command.program for registry, command in commands().items()}
