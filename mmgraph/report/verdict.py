"""A verification for people, and what is broken as copy specs. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.report.spec_lines import spec_lines
from mmgraph.report.words import number, safe, size

if TYPE_CHECKING:
    from mmgraph.verify import Verdict


def verdict_text(verdict: Verdict) -> str:
    """What is not as it should be, spec by spec, and a last line with the counts."""
    lines: list[str] = []
    for spec in verdict.broken:
        lines.append(safe(f"{spec.source} -> {spec.destination}"))
        lines += [
            safe(f"  {finding.what}: {finding.cause}") for finding in verdict.findings if finding.spec == spec
        ]
    broken = len(verdict.broken)
    read = f", {size(verdict.bytes)} read" if verdict.bytes else ""
    lines.append(
        f"Verified {number(verdict.specs, 'spec')}: {verdict.specs - broken} whole, {broken} broken."
        f" {number(verdict.manifests, 'manifest')} and {number(verdict.blobs, 'blob')} asked for{read}."
    )
    return "\n".join(lines) + "\n"


def verdict_specs(verdict: Verdict) -> str:
    """The broken specs, one a line."""
    return spec_lines(verdict.broken)
