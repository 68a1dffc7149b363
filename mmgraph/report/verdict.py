"""A verification for people, and what is broken as copy specs. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.report.spec_lines import spec_lines
from mmgraph.report.words import number, safe, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.verify import Finding, Verdict

_SHOWN = 10
"""Tags that are named beside what they need."""


def verdict_text(verdict: Verdict) -> str:
    """What is not as it should be, each thing once with the tags that need it, and a last line with the counts."""
    lines = []
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for finding in verdict.findings:
        names = groups.setdefault((finding.what, finding.cause), {})
        names[_name(finding)] = None
    for (what, cause), names in groups.items():
        # A finding about the tag itself, or its source, says already whose it is.
        needed = f" (needed by {_some(list(names))})" if "" not in names else ""
        lines.append(f"{safe(what)}: {safe(cause)}{needed}")
    if any(finding.what != str(finding.spec.source) for finding in verdict.findings):
        lines.append("mmgraph apply --repair sends what is missing.")
    return "\n".join([*lines, verdict_line(verdict)]) + "\n"


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
    if finding.what.startswith(f"{destination.repository}@") and destination.tag:
        return f":{destination.tag}"
    return str(destination)


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more])


def verdict_specs(verdict: Verdict) -> str:
    """The broken specs, one a line."""
    return spec_lines(verdict.broken)
