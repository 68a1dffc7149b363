"""Rules as they stand in mmgraph.toml: ``[[rule]]`` tables, and ``[rules]`` for what holds for all of them.

They are no options: nothing in the environment and no flag changes or leaves out one of them.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

from mmgraph.cli import FAILED
from mmgraph.cli.config import NAME, read
from mmgraph.cli.options import ALL, Selection
from mmgraph.cli.output import say
from mmgraph.errors import SpecError
from mmgraph.names import Platform, Registry, near_platform, quote
from mmgraph.plan import Goal, Plan, Result
from mmgraph.report.violations import LIMIT, headline, violation_lines
from mmgraph.report.words import safe
from mmgraph.rules import Rule, Rules, Violation
from mmgraph.specs import CopySpec, near_destinations

Part = TypeVar("Part")

_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kKMGT]?i?B)?")
_UNITS: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_DEMANDS: Final = {
    "may-move": False,
    "may-lose-platforms": False,
    "same-digest": True,
    "attestations": True,
    "foreign-layers": False,
    "docker-media-types": False,
}
"""The keys that are true or false, with the value that demands something."""
_OTHERS: Final = ("only-registries", "platforms", "largest")
KEYS: Final = ("for", "name", *_DEMANDS, *_OTHERS)
"""All that a rule can say."""


def read_rules() -> Rules:
    """The rules of ``./mmgraph.toml``, none where it has none. Raises ``SpecError`` for the first that is wrong."""
    return parse(read(Path(NAME)))


def parse(tables: dict[str, Any]) -> Rules:
    """The rules in a whole file. Raises ``SpecError`` that names file, table and key."""
    settings, rules = tables.get("rules", {}), tables.get("rule", [])
    if not isinstance(settings, dict):
        raise SpecError(f"{NAME}: write a table [rules], with scope in it; the rules themselves are [[rule]]")
    if unknown := sorted(settings.keys() - {"scope"}):
        advice = "scope can; the rules themselves are tables [[rule]]"
        raise SpecError(f"{NAME}: [rules]: {quote(unknown[0])} cannot be said of all rules: {advice}")
    scope = settings.get("scope", "image")
    if scope not in ("image", "set"):
        raise SpecError(f'{NAME}: [rules]: scope is "image" or "set", not {quote(str(scope))}')
    if not isinstance(rules, list) or not all(isinstance(table, dict) for table in rules):
        raise SpecError(f"{NAME}: write a table for each rule, with two brackets: [[rule]]")
    return Rules(tuple(_rule(number, table) for number, table in enumerate(rules, 1)), scope == "set")


def rules_for(chosen: Sequence[CopySpec] | Plan, selection: Selection = ALL) -> Rules:
    """The rules of ``./mmgraph.toml``; of those that are for no destination of a whole set it is said so."""
    rules = read_rules()
    if not selection.only:
        specs = [goal.spec for goal in chosen.goals] if isinstance(chosen, Plan) else chosen
        destinations = [spec.destination for spec in specs]
        for rule in rules.idle(destinations) if destinations else ():
            near = near_destinations(destinations, rule.patterns[0])
            say(f"notice: {rule.name} of {NAME} is for no destination of this set{near}")
    return rules


def refuse(violations: Sequence[Violation]) -> int:
    """Say which rules are broken, and that nothing was sent for it; return the exit code."""
    say(f"nothing was sent: {headline(violations)}")
    for line in violation_lines(violations):
        say(f"  {line}")
    return FAILED


def complain(made: Plan) -> None:
    """Say which rules a plan breaks, and what in it cannot be planned."""
    for line in violation_lines(made.violations):
        say(line)
    told = {violation.destination for violation in made.violations}
    say_failures(
        goal for goal in made.goals if goal.result is Result.FAILED and goal.spec.destination not in told
    )


def say_failures(failed: Iterable[Goal]) -> None:
    """Say which specs cannot be planned and why, each once: as many as of broken rules, and how many more there are."""
    lines = list(dict.fromkeys(safe(f"{goal.spec.destination}: {goal.cause}") for goal in failed))
    for line in lines[:LIMIT]:
        say(line)
    if len(lines) > LIMIT:
        say(f"and {len(lines) - LIMIT} more that cannot be planned, {len(lines)} in all")


def _rule(number: int, table: dict[str, Any]) -> Rule:
    name = table.get("name")
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise SpecError(f"{NAME}: rule {number}: name is a text")
    return _Table(f"rule {number}" if name is None else f"rule {quote(name)}", table).rule()


class _Table:
    """One ``[[rule]]``, checked key by key."""

    def __init__(self, title: str, table: dict[str, Any]) -> None:
        self._title = title
        self._table = table

    def rule(self) -> Rule:
        """The rule, or ``SpecError``."""
        table = self._table
        for key in table:
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, n=1)
                known = f"write {near[0]}" if near else f"the keys are {', '.join(KEYS)}"
                raise self._wrong(f"{quote(key)} is not a key of a rule: {known}")
        if table.keys() <= {"for", "name"}:
            raise self._wrong(f"it demands nothing: say one of {', '.join((*_DEMANDS, *_OTHERS))}")
        for key, value in _DEMANDS.items():
            self._check_switch(key, value)
        demands = {key.replace("-", "_"): value for key, value in _DEMANDS.items() if key in table}
        return Rule(
            name=self._title,
            patterns=self._patterns(),
            only_registries=self._each("only-registries", "registries", Registry.parse),
            platforms=self._each("platforms", "platforms", _platform),
            largest=self._largest(),
            **demands,
        )

    def _check_switch(self, key: str, demand: bool) -> None:
        value = self._table.get(key, demand)
        words = f"write {key} = {str(demand).lower()}, or leave it out"
        if not isinstance(value, bool):
            raise self._wrong(f"{key} is neither true nor false: {words}")
        if value is not demand:
            reason = "rules add up, and none takes back what another demands"
            raise self._wrong(f"{key} = {str(value).lower()} demands nothing ({reason}): {words}")

    def _wrong(self, message: str) -> SpecError:
        return SpecError(f"{NAME}: {self._title}: {message}")

    def _patterns(self) -> tuple[str, ...]:
        if "for" not in self._table:
            return ()
        value = self._table["for"]
        patterns = [value] if isinstance(value, str) else value
        if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
            raise self._wrong('for is a glob over destinations, such as "registry.example/*", or an array')
        if not patterns or not all(patterns):
            raise self._wrong("for is empty, and means no destination: leave it out to mean all")
        return tuple(patterns)

    def _each(self, key: str, what: str, parse: Callable[[str], Part]) -> tuple[Part, ...]:
        texts = self._table.get(key)
        if texts is None:
            return ()
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise self._wrong(f"{key} is an array of {what}")
        if not texts:
            raise self._wrong(f"{key} is empty: leave it out")
        try:
            return tuple(map(parse, texts))
        except SpecError as error:
            raise self._wrong(f"{key}: {error}") from None

    def _largest(self) -> int | None:
        value = self._table.get("largest")
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        factor = _UNITS.get(match[2] or "B") if match else None
        if match is None or factor is None:
            raise self._wrong(
                f'largest is a number of bytes, or one with a unit ("500 MiB", "2GiB"), not {quote(str(value))}'
            )
        return int(Decimal(match[1]) * factor)


def _platform(text: str) -> Platform:
    platform = Platform.parse(text)
    if near := near_platform(platform):
        raise SpecError(f"{quote(text)} is not a platform that is known: write {near}")
    return platform
