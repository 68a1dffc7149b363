"""``--offline``: a plan of what is remembered. Opens no connection, and looks no login up."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from msgspec.structs import replace

from mmgraph.cli.options import Network, Selection
from mmgraph.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.plan import Plan
    from mmgraph.rules import Rules
    from mmgraph.specs import CopySpec

Offline = Annotated[
    bool,
    Parameter(
        negative="",
        show_default=False,
        help="Ask no registry: go by the manifest cache, and say how old what it knows is, and what it lacks. For"
        " specs: of a saved plan nobody is asked anyway.",
    ),
]


def check_offline(
    chosen: "Sequence[CopySpec] | Plan", network: Network, *, repair: bool, saved: bool
) -> None:
    """Raise ``SpecError`` where ``--offline`` contradicts what else is asked for."""
    from mmgraph.plan import Plan

    if isinstance(chosen, Plan):
        raise SpecError(
            "a saved plan is shown as it is, and nobody is asked for that: --offline is for specs"
        )
    if saved:
        raise SpecError(
            "a plan made --offline is not saved: it may be long out of date, and apply would refuse it;"
            " --format json prints it"
        )
    if repair:
        raise SpecError("--repair believes nothing that is not asked for, and --offline asks nobody")
    if network.no_cache:
        raise SpecError("--offline goes by the manifest cache, and --no-cache does not read it")


async def recalled(
    specs: "Sequence[CopySpec]", selection: Selection, network: Network, rules: "Rules", *, exact: bool = True
) -> "Plan":
    """Return the plan of ``specs`` by what is remembered, with what it rests on."""
    from mmgraph.cache import DiskCache, default_path
    from mmgraph.cli.output import say
    from mmgraph.clock import SystemClock
    from mmgraph.compile import Compiler
    from mmgraph.events import silent
    from mmgraph.memory import Memory
    from mmgraph.quirks import Quirk, Quirks
    from mmgraph.reasons import Why

    quirks = Quirks({Quirk.MOUNTS_COMMITTED: network.committed_only()})
    registries = {spec.destination.repository.registry for spec in specs}
    with DiskCache(default_path(os.environ), say) as cache:
        memory = Memory(cache)
        compiler = Compiler(
            specs,
            memory,
            memory,
            cache,
            SystemClock(),
            silent,
            exact=exact,
            require_platforms=selection.require_platforms,
            committed_only={each for each in registries if quirks.has(each, Quirk.MOUNTS_COMMITTED)},
            rules=rules,
            found=Why.REMEMBERED,
        )
        made = await compiler.plan()
    return replace(made, offline=memory.basis)


def warn_offline(made: "Plan") -> None:
    """Say on standard error what a plan rests on that was made offline."""
    from mmgraph.cli.output import say
    from mmgraph.report.offline import offline_lines

    for line in offline_lines(made):
        say(line)
