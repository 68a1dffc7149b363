"""``mmgraph cache info`` and ``mmgraph cache clear``: what is kept between runs, and how to be rid of it."""

import json
import os
import re
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from mmgraph.cli import DONE
from mmgraph.cli.options import CACHE_LIMIT, CacheLimit
from mmgraph.errors import SpecError
from mmgraph.names import quote

if TYPE_CHECKING:
    from pathlib import Path

    from mmgraph.cachefile import Contents

_SIZE: Final = re.compile(r"([0-9]{1,12}) ?(|KiB|MiB|GiB)")
_UNITS: Final = {"": 0, "KiB": 10, "MiB": 20, "GiB": 30}


def limit_of(text: str) -> int:
    """Bytes that ``--cache-limit`` spells; raises ``SpecError``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SpecError(f"--cache-limit {quote(text)}: write bytes, or such as 512MiB or 2GiB")
    return int(match[1]) << _UNITS[match[2]]


def info(
    *,
    format: Annotated[Literal["text", "json"], Parameter(help="How the result looks.")] = "text",  # noqa: A002
    cache_limit: CacheLimit = CACHE_LIMIT,
) -> int:
    """Say where the cache is and what it holds."""
    from mmgraph.cache import default_path
    from mmgraph.cachefile import contents
    from mmgraph.cli.output import emit

    limit = limit_of(cache_limit)
    path = default_path(os.environ)
    try:
        held = contents(path)
    except sqlite3.Error as error:
        raise _unusable(path, error) from None
    emit(as_json(path, held, limit) if format == "json" else as_text(path, held, limit))
    return DONE


def clear() -> int:
    """Forget all manifests and names, and say what that freed."""
    from mmgraph import cachefile
    from mmgraph.cache import default_path
    from mmgraph.cli.output import emit
    from mmgraph.report.words import size

    path = default_path(os.environ)
    try:
        freed = cachefile.clear(path)
    except sqlite3.Error as error:
        raise _unusable(path, error) from None
    emit(f"{size(max(freed, 0))} freed\n")
    return DONE


def _unusable(path: "Path", error: sqlite3.Error) -> SpecError:
    from mmgraph.cachefile import is_busy

    advice = "try again later" if is_busy(error) else "mmgraph cache clear removes it"
    return SpecError(f"{path}: {error}: {advice}")


def as_text(path: "Path", held: "Contents", limit: int) -> str:
    """The contents for people."""
    from mmgraph.report.words import number, safe, size

    lines = [
        safe(str(path), 4000),
        f"  {number(held.manifests, 'manifest')} of {size(held.manifest_bytes)}{_between(held.used, 86400, 'used')}",
        f"  {number(held.names, 'tag')} remembered{_between(held.seen, 1, 'seen')}",
        f"  {size(held.disk_bytes)} on disk, and {size(limit)} at most (--cache-limit)",
    ]
    return "\n".join(lines) + "\n"


def _between(span: tuple[int, int] | None, unit: int, what: str) -> str:
    if span is None:
        return ""
    first, last = (_date(each * unit)[:10] for each in span)
    return f", last {what} on {first}" if first == last else f", last {what} from {first} to {last}"


def as_json(path: "Path", held: "Contents", limit: int) -> str:
    """The same for programs."""
    used, seen = held.used, held.seen
    made: dict[str, Any] = {
        "path": str(path),
        "manifests": held.manifests,
        "manifest_bytes": held.manifest_bytes,
        "used": None
        if used is None
        else {"oldest": _date(used[0] * 86400)[:10], "newest": _date(used[1] * 86400)[:10]},
        "tags": held.names,
        "seen": None if seen is None else {"oldest": _date(seen[0]), "newest": _date(seen[1])},
        "disk_bytes": held.disk_bytes,
        "limit": limit,
    }
    return json.dumps(made, indent=2) + "\n"


def _date(seconds: int) -> str:
    """RFC 3339; a number that no date has, since somebody has spoilt it, is that of 1970."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, OSError, ValueError):
        return _date(0)
