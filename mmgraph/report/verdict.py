"""A verification for people, and what is broken as copy specs. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmgraph.report.spec_lines import spec_lines
from mmgraph.report.words import number, safe, size
from mmgraph.verify import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.verify import Finding, Verdict

REMOVE: Final = (
    "What has other bytes must be removed at its registry first (by its own delete, or garbage collection):"
    " mmgraph apply --repair sends nothing that is there by the registry's word, and sends it once it is gone."
)
_SHOWN = 10
"""Tags that are named beside what they need."""


def verdict_text(verdict: Verdict) -> str:
    """What is not as it should be, each thing once with the tags that need it, and a last line with the counts."""
    lines = []
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for finding in verdict.findings:
        place = finding.spec.destination.repository
        bare = place in verdict.bare and finding.fault in (Fault.NAME, Fault.MISSING)
        what, cause = (str(place), "nothing of it is there") if bare else (finding.what, finding.cause)
        names = groups.setdefault((what, cause), {})
        names[_tag(finding) if bare else _name(finding)] = None
    for (what, cause), names in groups.items():
        # A finding about the tag itself, or its source, says already whose it is.
        needed = f" (needed by {_some(list(names))})" if "" not in names else ""
        lines.append(f"{safe(what)}: {safe(cause)}{needed}")
    return "\n".join([*lines, *advice(verdict), verdict_line(verdict)]) + "\n"


def advice(verdict: Verdict) -> list[str]:
    """What helps, a line for each thing."""
    lines = []
    missing = {finding.spec for finding in verdict.findings if finding.fault is Fault.MISSING}
    if missing - verdict.unnamed:
        lines.append("mmgraph apply --repair sends what is missing.")
    elif verdict.unnamed:
        lines.append("mmgraph apply writes these tags, and sends what they need.")
    if verdict.spoiled:
        lines.append(REMOVE)
    return lines


def verdict_line(verdict: Verdict) -> str:
    """The counts, in one line."""
    broken = len(verdict.broken)
    read = f", {size(verdict.bytes)} read" if verdict.bytes else ""
    return (
        f"Verified {number(verdict.specs, 'spec')}: {verdict.specs - broken} whole, {broken} broken."
        f" {number(verdict.manifests, 'manifest')} and {number(verdict.blobs, 'blob')} asked for{read}."
    )


def _name(finding: Finding) -> str:
    """Who needs what was found, as short as it is clear beside that; nobody where it is the tag itself."""
    destination = finding.spec.destination
    if finding.what == str(destination):
        return ""
    return _tag(finding) if finding.what.startswith(f"{destination.repository}@") else str(destination)


def _tag(finding: Finding) -> str:
    """Who needs what was found, beside the name of the repository."""
    destination = finding.spec.destination
    return f":{destination.tag}" if destination.tag else str(destination)


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more])


def verdict_specs(verdict: Verdict) -> str:
    """The broken specs, one a line; also those that only their registry can mend, since a repair comes after that."""
    return spec_lines(verdict.broken)
