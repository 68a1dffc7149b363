"""Registries that options or mmgraph.toml name and no spec of the set has: such a line does nothing, and is misspelt.

A file serves many sets, so of what stands there only that is told which is near a registry of this one.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from mmgraph.cli.config import NAME, read
from mmgraph.cli.options import Network, Selection
from mmgraph.cli.output import say
from mmgraph.names import Registry
from mmgraph.plan import Plan
from mmgraph.specs import CopySpec

_OPTIONS: Final = ("anonymous", "plain_http", "insecure", "mount_after_manifest")
_PAIRS: Final = ("trust_realm", "trust_upload_host")
_CLOSE: Final = 0.8
"""How alike two names must be (difflib's ratio): one letter too many or too few of ten."""


def notice_strays(chosen: Sequence[CopySpec] | Plan, selection: Selection, network: Network) -> None:
    """Say which registries are named and not of a whole set, and what is near them."""
    specs = [goal.spec for goal in chosen.goals] if isinstance(chosen, Plan) else chosen
    if selection.only or not specs:
        return
    known = {end.repository.registry for spec in specs for end in (spec.source, spec.destination)}
    document = read(Path(NAME))
    tables = {Registry.parse(name): name for name in document.get("registry", {})}
    in_file = {*tables, *_of_file(document)}
    for registry, name in tables.items():
        near = _near(registry, known)
        if registry not in known and near:
            say(f'notice: [registry."{name}"] of {NAME} is for no registry of this set; near it is {near}')
    for option, registry in dict.fromkeys(_of_options(network)):
        if registry in known or registry in in_file:
            continue
        near = _near(registry, known)
        there = f"near it is {near}" if near else f"there are {_some(known)}"
        say(f"notice: {option} {registry} is for no registry of this set; {there}")


def _of_options(network: Network) -> Iterator[tuple[str, Registry]]:
    for option in (*_OPTIONS, *_PAIRS):
        for text in getattr(network, option):
            yield f"--{option.replace('_', '-')}", Registry.parse(text.partition("=")[0])


def _of_file(document: dict[str, object]) -> Iterator[Registry]:
    """The registries in lists outside tables."""
    for option in (*_OPTIONS, *_PAIRS):
        value = document.get(option.replace("_", "-"), ())
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield Registry.parse(text.partition("=")[0])


def _near(registry: Registry, known: Iterable[Registry]) -> Registry | None:
    """The one that was perhaps meant: of the same host with another port, or spelt nearly so."""
    candidates = sorted(known)
    host = registry.partition(":")[0]
    for candidate in candidates:
        if candidate.partition(":")[0] == host:
            return candidate
    close = difflib.get_close_matches(registry, candidates, n=1, cutoff=_CLOSE)
    return Registry(close[0]) if close else None


def _some(known: Iterable[Registry]) -> str:
    first, *rest = sorted(known)
    return f"{first} and {len(rest)} more" if rest else str(first)
