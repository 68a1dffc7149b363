"""``mmgraph apply``: do it."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mmgraph.cli import DONE, FAILED, INTERRUPTED
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Selection, SpecsOrPlan


def apply(
    *specs: SpecsOrPlan,
    dry_run: Annotated[
        bool, Parameter(alias="-n", negative="", show_default=False, help="Print the plan and stop.")
    ] = False,
    keep_going: Annotated[
        bool,
        Parameter(
            alias="-k",
            negative="",
            show_default=False,
            help="Go on with the rest where a spec fails; so it does without this too.",
        ),
    ] = False,
    max_failures: Annotated[
        int | None,
        Parameter(metavar="N", validator=Number(gte=1), help="Start nothing new after so many failed specs."),
    ] = None,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Carry out specs or a saved plan."""
    import sys

    from mmgraph import staleness
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, say, wants_colour, width
    from mmgraph.cli.session import Looks, Session, open_session
    from mmgraph.execute import Execution
    from mmgraph.plan import Plan, Result
    from mmgraph.report.summary import summary_text
    from mmgraph.report.text import plan_text

    chosen = load(specs, selection)

    async def work(interrupts: Interrupts) -> int:
        account = None
        async with open_session(network, look.color) as session:
            made, looks, stale = await prepared(session)
            todo = made.changes or made.count(Result.FAILED)
            if todo and not stale and not dry_run:
                session.view.begin(made)
                execution = Execution(
                    made, session.client, session.clock, session.view, looks, max_failures=max_failures
                )
                interrupts.drain = execution.drain
                account = await execution.run()
        # Only now, when progress no longer holds the terminal.
        if stale:
            say("Saved plan is stale, and nothing was sent. Make it anew with mmgraph plan --out.")
            for each in stale:
                say(f"  {each}")
            return FAILED
        colour = wants_colour(sys.stdout, look.color)
        if dry_run:
            emit(plan_text(made, unfold=False, colour=colour, width=width()))
            return FAILED if made.count(Result.FAILED) else DONE
        if account is None:
            emit("mmgraph: nothing to do\n")
            return DONE
        emit(summary_text(account, made, colour=colour))
        if account.complete:
            return DONE
        return INTERRUPTED if interrupts.count else FAILED

    async def prepared(session: Session) -> tuple[Plan, Looks, tuple[staleness.Stale, ...]]:
        if not isinstance(chosen, Plan):
            made, looks = await session.compile(
                chosen, exact=dry_run, require_platforms=selection.require_platforms
            )
            return made, looks, ()
        for line in await staleness.drift(chosen, session.client):
            session.warn(line)
        looks, stale = await staleness.check(chosen, session.client, session.clock)
        return staleness.settle(chosen, looks), looks, stale

    return run(work)
