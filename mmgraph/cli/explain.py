"""``mmgraph explain``: why the plan does what it does about one tag, manifest or blob."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mmgraph.cli import DONE, FAILED
from mmgraph.cli.offline import Offline, check_offline
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Selection, SpecsOrPlan

if TYPE_CHECKING:
    from mmgraph.plan import Plan
    from mmgraph.specs import CopySpec


def explain(
    name: Annotated[
        str,
        Parameter(
            metavar="NAME|DIGEST",
            help="A destination as --only takes it, or a digest, of which six digits will do: team/app:v1,"
            " 3f853d, team/app@sha256:3f853d.",
        ),
    ],
    /,
    *specs: SpecsOrPlan,
    format: Annotated[  # noqa: A002
        Literal["text", "json"], Parameter(help="How the result looks.")
    ] = "text",
    offline: Offline = False,
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Explain what a plan, made now or saved, does about what ``name`` means; 1 where that is not to be done."""
    from mmgraph.cli.inputs import load
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import say
    from mmgraph.cli.planned import planned
    from mmgraph.cli.rules import rules_for
    from mmgraph.cli.strays import notice_strays
    from mmgraph.plan import Result
    from mmgraph.report.words import number

    chosen = load(specs, selection)
    if offline:
        check_offline(chosen, network, repair=False, saved=False)
    rules = rules_for(chosen, selection)
    notice_strays(chosen, selection, network)

    async def work(_: Interrupts) -> int:
        made, _notes = await planned(chosen, selection, network, look, rules, offline=offline)
        told = _print(made, name, format, look)
        # What is explained has been told: of the others somebody must know why they are not counted.
        failed = {goal.spec for goal in made.goals if goal.result is Result.FAILED}
        if left := failed - told:
            verb = "is" if len(left) == 1 else "are"
            count = number(len(left), "spec" if left == failed else "other spec")
            say(f"{count} of the set cannot be planned, and {verb} not counted here")
        bad = any(g.result is Result.FAILED or made.broken_by(g) for g in made.goals if g.spec in told)
        return FAILED if bad else DONE

    return run(work)


def _print(made: "Plan", name: str, form: str, look: Look) -> "set[CopySpec]":
    """Explain what ``name`` means, and return the specs whose ends that are."""
    import sys

    from mmgraph.cli.output import emit, wants_colour, width
    from mmgraph.explain import Explainer
    from mmgraph.lookup import find

    subjects = find(made, name)
    told = {subject.goal.spec for subject in subjects if subject.goal is not None}
    explainer = Explainer(made)
    explanations = [explainer.explain(subject) for subject in subjects]
    if form == "json":
        from mmgraph.report.explanation_json import explanation_json

        emit(explanation_json(name, explanations, made.offline).decode())
        return told
    from mmgraph.report.explanation import explanation_text
    from mmgraph.report.offline import offline_lines

    colour, notes = wants_colour(sys.stdout, look.color), offline_lines(made)
    emit(explanation_text(explanations, colour=colour, width=width(), notes=notes))
    return told
