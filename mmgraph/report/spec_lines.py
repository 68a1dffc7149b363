"""Specs written back as specs: one JSON object a line, which any command takes as its input again. Decides nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mmgraph.names import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmgraph.names import Digest
    from mmgraph.plan import Plan
    from mmgraph.specs import CopySpec


def spec_lines(specs: Iterable[CopySpec]) -> str:
    """The specs as they are, in their normal form."""
    return "".join(f"{spec_line(spec)}\n" for spec in specs)


def pinned_lines(plan: Plan) -> str:
    """The plan's specs with each source pinned to the digest that it names now: a lock file to commit.

    Tags stay beside the digests, for people. What could not be planned has no digest and stays as it is, so that
    nothing of the set is lost.
    """
    return "".join(f"{spec_line(goal.spec, goal.source_digest)}\n" for goal in plan.goals)


def spec_line(spec: CopySpec, pin: Digest | None = None) -> str:
    """One spec as JSON, its source pinned to ``pin`` where there is one."""
    source = spec.source if pin is None else Reference(spec.source.repository, spec.source.tag, pin)
    made: dict[str, object] = {"src": str(source), "dst": str(spec.destination)}
    if spec.platforms:
        made["transform"] = {"limitPlatforms": [str(platform) for platform in spec.platforms]}
    return json.dumps(made)
