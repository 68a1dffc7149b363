"""Rules for what may be written: the values, and which of them a destination breaks by its name alone.

Pure: knows no file that rules stand in, no image and no registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.names import Digest, Platform, Reference, Registry
from mmgraph.specs import fits, forms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_SHOWN: Final = 5
"""Platforms or registries that a sentence lists."""


class Violation(msgspec.Struct, frozen=True):
    """A demand that is not met: whose, what it demands, at which destination and node, and what was found."""

    rule: str
    demand: str
    """As it stands in mmgraph.toml."""
    destination: Reference
    found: str
    """What the node does or is, as the rest of a sentence; foreign words in it are quoted."""
    kind: str = ""
    """Blob, manifest, index or tag; nothing where a destination without a tag is at fault by its name."""
    name: str = ""
    """The node's digest or tag."""

    @property
    def node(self) -> str | None:
        """The node's id, as the graph in JSON has it; the node of a foreign layer is in no graph."""
        if not self.kind:
            return None
        return f"{self.kind} {self.destination.repository}{':' if self.kind == 'tag' else '@'}{self.name}"

    @property
    def cause(self) -> str:
        """A sentence without the destination."""
        about = f"{self.kind} {self.name} " if self.kind else ""
        return f"{self.rule} ({self.demand}): {about}{self.found}"

    def __str__(self) -> str:
        return f"{self.destination}: {self.cause}"


def together(violations: Sequence[Violation]) -> str:
    """All that one destination breaks, as a sentence."""
    return "; ".join(each.cause for each in violations)


def heading(sentence: str) -> str | None:
    """Which rules a sentence of ``together`` is about, without what was found; None where it is another."""
    if not sentence.startswith("rule ") or "): " not in sentence:
        return None
    more = sentence.count("; rule ")
    return f"breaks {sentence.partition('): ')[0]})" + (f" and {more} more" if more else "")


class Change(msgspec.Struct, frozen=True):
    """What shall become of one destination."""

    destination: Reference
    source_digest: Digest
    """What the source names."""
    root: Digest
    """What the destination shall name."""
    old: Digest | None = None
    """What it names now."""
    lost: tuple[str, ...] | None = ()
    """Platforms that it lists now and would not then; None where that is not known."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One table: the destinations it is for, and what it demands of them. What it does not say it does not demand."""

    name: str
    """For messages: ``rule 3``, or with the name that it has been given."""
    patterns: tuple[str, ...] = ()
    """Globs over destinations, as ``--only`` takes them; none are all destinations."""
    only_registries: tuple[Registry, ...] = ()
    may_move: bool = True
    may_lose_platforms: bool = True
    same_digest: bool = False
    platforms: tuple[Platform, ...] = ()
    largest: int | None = None
    """Bytes of an image: its manifests, indexes and distinct blobs, foreign layers left out."""
    attestations: bool = False
    foreign_layers: bool = True
    docker_media_types: bool = True

    def covers(self, names: Collection[str]) -> bool:
        """Whether the rule is for the destination with these ``specs.forms``."""
        return not self.patterns or any(fits(names, pattern) for pattern in self.patterns)


class Rules(msgspec.Struct, frozen=True):
    """All rules of a run. They add up: none takes back what another demands."""

    rules: tuple[Rule, ...] = ()
    whole_set: bool = False
    """Whether one violation stops all of the set."""

    def __bool__(self) -> bool:
        return bool(self.rules)

    def of_name(self, destination: Reference) -> tuple[Violation, ...]:
        """What is broken by the destination's name alone, before any registry is asked."""
        place = destination.repository.registry
        return tuple(
            Violation(
                rule.name,
                f"only-registries = {array(rule.only_registries)}",
                destination,
                f"would be written to {place}",
                "tag" if destination.tag else "",
                destination.tag or "",
            )
            for rule in self.covering(destination)
            if rule.only_registries and place not in rule.only_registries
        )

    def asks_for_losses(self, destination: Reference) -> bool:
        """Whether ``Change.lost`` counts at ``destination``."""
        return any(not rule.may_lose_platforms for rule in self.covering(destination))

    def idle(self, destinations: Sequence[Reference]) -> tuple[Rule, ...]:
        """The rules that are for none of ``destinations``: their globs may be misspelled."""
        names = [forms(destination) for destination in destinations]
        return tuple(rule for rule in self.rules if rule.patterns and not any(map(rule.covers, names)))

    def covering(self, destination: Reference) -> Iterator[Rule]:
        """The rules that are for ``destination``, in the order of the file."""
        names = forms(destination) if self.rules else ()
        return (rule for rule in self.rules if rule.covers(names))


NONE: Final = Rules()
"""Everything may be written."""


def array(values: Sequence[object]) -> str:
    """The values as TOML writes them; what is left out of many is told by an ellipsis."""
    shown = [f'"{value}"' for value in values[:_SHOWN]]
    return f"[{', '.join([*shown, '…'] if len(values) > _SHOWN else shown)}]"


def enumerated(values: Sequence[object]) -> str:
    """The values in a row; of many, some and how many more there are."""
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(map(str, values[:_SHOWN])) + more
