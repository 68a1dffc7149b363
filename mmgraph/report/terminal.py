"""Whether to animate and whether to colour, from the environment. Pure: looks at no stream itself.

The two are separate questions: libraries that take FORCE_COLOR for a terminal write cursor codes into the
logs of CI (pypa/pip#13354).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DUMB = frozenset({"", "dumb", "unknown"})
_NO = frozenset({"0", "false"})


def animated(environ: Mapping[str, str], isatty: bool) -> bool:
    """Whether lines may be rewritten in place: on a terminal that can, outside CI."""
    in_ci = environ.get("CI", "").lower() not in _NO | {""}
    return isatty and not in_ci and environ.get("TERM", "").lower() not in _DUMB


def coloured(environ: Mapping[str, str], isatty: bool) -> bool:
    """Whether to colour: FORCE_COLOR beats NO_COLOR (no-color.org), that CLICOLOR_FORCE, that CLICOLOR."""
    force = environ.get("FORCE_COLOR", "").lower()
    if force:
        return force not in _NO
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "").lower() not in _NO | {""}:
        return True
    if environ.get("CLICOLOR", "").lower() in _NO:
        return False
    return isatty and environ.get("TERM", "").lower() not in _DUMB
