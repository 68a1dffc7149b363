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

    from mmgraph.account import Account
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, say, wants_colour, width
    from mmgraph.cli.session import Looks, Session, open_session
    from mmgraph.execute import Execution
    from mmgraph.plan import Plan, Result

    chosen = load(specs, selection.only)

    async def work(interrupts: Interrupts) -> int:
        async with open_session(network, look.color) as session:
            found = await prepared(session)
            if found is None:
                return FAILED
            made, looks = found
            if dry_run:
                from mmgraph.report.text import plan_text

                colour = wants_colour(sys.stdout, look.color)
                emit(plan_text(made, unfold=False, colour=colour, width=width()))
                return FAILED if made.count(Result.FAILED) else DONE
            if not made.changes and not made.count(Result.FAILED):
                emit("mmgraph: nothing to do\n")
                return DONE
            session.view.begin(made)
            execution = Execution(
                made, session.client, session.clock, session.view, looks, max_failures=max_failures
            )
            interrupts.drain = execution.drain
            account = await execution.run()
        return end(account, made, interrupts)

    async def prepared(session: Session) -> tuple[Plan, Looks] | None:
        if isinstance(chosen, Plan):
            from mmgraph import staleness

            for line in await staleness.drift(chosen, session.client):
                say(line)
            looks, stale = await staleness.check(chosen, session.client, session.clock)
            if stale:
                say("Saved plan is stale: nothing was sent. Make it anew with mmgraph plan --out.")
                for each in stale:
                    say(f"  {each}")
                return None
            return staleness.settle(chosen, looks), looks
        return await session.compile(chosen, exact=dry_run, require_platforms=selection.require_platforms)

    def end(account: Account, made: Plan, interrupts: Interrupts) -> int:
        from mmgraph.report.summary import summary_text

        emit(summary_text(account, made, colour=wants_colour(sys.stdout, look.color)))
        if account.complete:
            return DONE
        return INTERRUPTED if interrupts.count else FAILED

    return run(work)
