"""The plan that a command shows: of specs, made now or of what is remembered; or a saved one, as it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmgraph.cli.config import NAME
from mmgraph.cli.options import NETWORK, Look, Network, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgraph.plan import Plan
    from mmgraph.rules import Rules
    from mmgraph.specs import CopySpec

REPAIRS_ASK: Final = (
    "A repair asks for every manifest and blob of the set before it sends anything:"
    " that is not among the requests."
)


async def planned(
    chosen: "Sequence[CopySpec] | Plan",
    selection: Selection,
    network: Network,
    look: Look,
    rules: "Rules",
    *,
    exact: bool = True,
    repair: bool = False,
    offline: bool = False,
) -> "tuple[Plan, list[str]]":
    """Return the plan, and what is to be said under it.

    ``exact``: so that its bill is what apply will need; else answered by looks at the tags alone.
    """
    from mmgraph.plan import Plan, Planner

    if not isinstance(chosen, Plan) and not chosen and _unsaid(network):
        # Nothing to do, and nothing said of registries that could be wrong: what speaks to them is not loaded.
        from mmgraph.evidence import Evidence

        return Planner(Evidence(), {}).finish(), []
    if isinstance(chosen, Plan):
        from mmgraph.cli.routes import cautioned
        from mmgraph.compliance import judged

        return judged(cautioned(network, chosen), rules), []
    if offline:
        from mmgraph.cli.offline import recalled
        from mmgraph.report.offline import offline_lines

        made = await recalled(chosen, selection, network, rules, exact=exact)
        return made, offline_lines(made)
    from mmgraph.cli.session import open_session

    async with open_session(network, look.color) as session:
        made, _looks = await session.compile(
            chosen, exact=exact, require_platforms=selection.require_platforms, repair=repair, rules=rules
        )
        return made, [*session.notes, *([REPAIRS_ASK] if repair else [])]


def _unsaid(network: Network) -> bool:
    """Whether neither options nor a file say anything of registries."""
    return network == NETWORK and not Path(NAME).exists()
