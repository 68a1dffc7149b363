"""What a command works on: specs from files or standard input, or one saved plan. Asks no registry."""

import json
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mmgraph.cli.options import ALL, Selection
from mmgraph.cli.output import DASH, say
from mmgraph.errors import SpecError
from mmgraph.names import Registry, quote
from mmgraph.plan import Plan
from mmgraph.report.words import safe
from mmgraph.saved import SIZE_LIMIT, is_saved, read
from mmgraph.specs import CopySpec, matches, near_destinations, read_specs

DEFAULT: Final = Path("specs.json")
_TOOL: Final = re.compile(rb'"tool"\s*:\s*("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*")')
_HEAD: Final = 4096
"""Bytes of a saved plan that say what it is and what made it."""


def load(names: Sequence[str], selection: Selection) -> tuple[CopySpec, ...] | Plan:
    """Return the specs that ``names`` hold, or the plan where they are a single saved one.

    Raises ``SpecError`` with everything that is wrong, and ``OSError``.
    """
    inputs = _contents(names)
    if len(inputs) == 1 and is_saved(inputs[0][1]):
        if selection != ALL:
            raise SpecError(
                "a saved plan is taken as it is: give --only and --require-platforms to the mmgraph plan that makes it"
            )
        return _plan(*inputs[0])
    for name, content in inputs:
        if is_saved(content):
            raise SpecError(f"{name} is a saved plan, and stands alone: not beside specs or other plans")
    return narrow(read_specs(inputs), selection.only)


def _plan(name: str, content: bytes) -> Plan:
    try:
        return read(content)
    except SpecError as error:
        file = "standard input" if name == "-" else name
        raise SpecError(f"{file}: {error}; make it anew with mmgraph plan --out") from None


def load_specs(names: Sequence[str], selection: Selection) -> tuple[CopySpec, ...]:
    """As ``load``, for a command that takes no saved plan."""
    loaded = load(names, selection)
    if isinstance(loaded, Plan):
        file = "standard input" if {*names} <= {DASH, "-"} else names[0]
        shown = "PLAN" if file == "standard input" else file
        raise SpecError(
            f"{file} is a saved plan, and this takes specs: mmgraph plan {shown} --format specs makes specs of it"
        )
    return loaded


def saved_by(names: Sequence[str]) -> str:
    """A sentence for above a saved plan that ``names`` hold: which file it is, and what made it."""
    if not names or names[0] in {DASH, "-"}:
        return "Saved plan, from standard input"
    with Path(names[0]).open("rb") as file:
        found = _TOOL.search(file.read(_HEAD))
    tool = f", made by {safe(json.loads(found[1]), 80)}" if found else ""
    return f"Saved plan {safe(names[0], 400)}{tool}"


def refuse_strangers(chosen: Sequence[CopySpec] | Plan, allowed: Sequence[str]) -> None:
    """Raise ``SpecError`` where anything is read from or written to a registry that is not ``allowed``.

    Reading counts too: a stranger's plan reads with the logins of who applies it. All are, where none is named.
    """
    hosts = frozenset(map(Registry.parse, allowed))
    specs = [goal.spec for goal in chosen.goals] if isinstance(chosen, Plan) else chosen
    strange: dict[Registry, str] = {}
    for spec in specs if hosts else ():
        for end, reference in (("src", spec.source), ("dst", spec.destination)):
            if reference.repository.registry not in hosts:
                strange.setdefault(reference.repository.registry, f"{end} {quote(str(reference))}")
    if strange:
        named = ", ".join(f"{registry} ({example})" for registry, example in sorted(strange.items()))
        raise SpecError(f"--allow-host does not name {named}, so nothing was asked of any registry")


def narrow(specs: tuple[CopySpec, ...], only: Sequence[str]) -> tuple[CopySpec, ...]:
    """Return the specs whose destination one of ``only`` means; all where there are none. Each must mean one."""
    if not only:
        return specs
    matched: set[str] = set()
    kept = []
    for spec in specs:
        fitting = [pattern for pattern in only if matches(spec.destination, pattern)]
        matched.update(fitting)
        if fitting:
            kept.append(spec)
    for pattern in only:
        if pattern not in matched:
            near = near_destinations([spec.destination for spec in specs], pattern)
            raise SpecError(f"--only {quote(pattern)} matches no destination{near}")
    return tuple(kept)


def _contents(names: Sequence[str]) -> list[tuple[str, bytes]]:
    if not names:
        default = _default()
        name, content = _content(default)
        if default == DASH and not content.strip() and DEFAULT.is_file():
            say(f"standard input is empty, so there are no specs; ./{DEFAULT} is not read unless it is named")
        return [(name, content)]
    if sum(name in {DASH, "-"} for name in names) > 1:
        raise SpecError("standard input (-) is named twice, and can be read once")
    return [_content(name) for name in names]


def _content(name: str) -> tuple[str, bytes]:
    if name in {DASH, "-"}:
        content = sys.stdin.buffer.read(SIZE_LIMIT + 1)
        name = "-"
    else:
        with Path(name).open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise SpecError(f"{name} is longer than {SIZE_LIMIT} bytes")
    return name, content


def _default() -> str:
    """Return what to read where nothing is named: standard input if something is piped in, else the file.

    A terminal is not waited for. Neither is /dev/null: a job of cron or CI has it without anybody having
    piped an empty set in, which would be "nothing to do".
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        mode = stat.S_IFCHR  # standard input is closed
    if not stat.S_ISCHR(mode):
        return DASH
    if DEFAULT.is_file():
        return str(DEFAULT)
    raise SpecError(f"there are no specs: name a file, pipe them in, or have ./{DEFAULT}")
