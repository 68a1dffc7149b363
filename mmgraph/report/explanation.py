"""Explanations for people: what is done about a node and why, who needs it, and what hangs on it. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.graph import Kind, Node
from mmgraph.plan import Action, Result, is_done
from mmgraph.report.outline import changes_of, name_of
from mmgraph.report.words import Style, listed, number, paint, paragraph, safe, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mmgraph.explain import Explanation, Part
    from mmgraph.plan import Goal, Step
    from mmgraph.rules import Violation

_SHOWN = 5
"""Specs, repositories or documents that are named in one sentence."""
_FULL = 10
"""Nodes that are explained one by one; of the rest only the names are told."""
_SENTENCES = 2_000
"""Characters of the sentences about evidence, with names in them that may be long."""
_STYLES = {
    Action.UPLOAD: Style.CREATE,
    Action.PUT: Style.CREATE,
    Action.CREATE: Style.CREATE,
    Action.MOUNT: Style.MOVE,
    Action.MOVE: Style.MOVE,
    Action.REPAIR: Style.MOVE,
}
_MEANINGS = {
    Action.PRESENT: "nothing is done, it is there",
    Action.MOUNT: "mounted, without its bytes",
    Action.UPLOAD: "its bytes are sent",
    Action.PUT: "it is sent",
    Action.UNCHANGED: "nothing is done, it is as it shall be",
    Action.CREATE: "the tag is new",
    Action.MOVE: "the tag names something else now",
    Action.REPAIR: "the tag is written again, and what is missing of its image is sent",
}

_FORBIDDEN = {
    "only-registries": "be written to another registry",
    "may-move": "move",
    "may-lose-platforms": "lose platforms",
    "same-digest": "have another digest than its source",
    "platforms": "lack platforms",
    "largest": "be too large",
    "attestations": "lack attestations",
    "foreign-layers": "have foreign layers",
    "docker-media-types": "have media types of Docker",
}
"""By the key of a rule what it says no to, behind "it would"."""


def explanation_text(
    explanations: Sequence[Explanation],
    *,
    colour: bool = False,
    width: int = 100,
    notes: Sequence[str] = (),
) -> str:
    """A paragraph for each of the first ``explanations``, the names of the others, and ``notes``, each a sentence."""
    width = max(width, 40)
    blocks = ["\n".join(_lines(each, colour, width)) for each in explanations[:_FULL]]
    rest = [_title(each) for each in explanations[_FULL:]]
    if rest:
        head = f"And {len(rest)} more, each of which can be asked for by its whole name:"
        blocks.append("\n".join([head, *(f"  {title}" for title in rest)]))
    if notes:
        blocks.append("\n".join(map(safe, notes)))
    return "\n\n".join(blocks) + "\n"


def _title(each: Explanation) -> str:
    if each.node is not None:
        return f"{each.node.kind} {each.node}"
    if each.goal is None:
        return ""
    destination = each.goal.spec.destination
    return f"{'tag' if destination.tag else 'image'} {destination}"


def _lines(each: Explanation, colour: bool, width: int) -> Iterator[str]:
    yield paint(_title(each), Style.STRONG, colour)
    for label, sentence in _sentences(each, colour):
        first, *rest = paragraph(sentence, width, 13)
        yield f"  {label + ':':<10} {first.lstrip()}"
        yield from rest


def _sentences(each: Explanation, colour: bool) -> Iterator[tuple[str, str]]:
    node, step, goal = each.node, each.step, each.goal
    if goal is not None and (broken := _broken_by(each, goal)):
        yield "action", f"{paint('forbidden', Style.FAILURE, colour)}: {_no(broken)}"
    elif goal is not None and goal.result is Result.FAILED:
        yield (
            "action",
            f"{paint('failed', Style.FAILURE, colour)}: {safe(goal.cause) or 'no cause was given'}",
        )
    if step is not None and node is not None:
        style = _STYLES.get(step.action, Style.FAINT)
        yield (
            ("otherwise" if goal is not None and _broken_by(each, goal) else "action"),
            f"{paint(str(step.action), style, colour)}: {_MEANINGS[step.action]}",
        )
        yield "reason", safe(step.reason)
    yield "evidence", safe(each.evidence, _SENTENCES)
    for violation in each.violations:
        yield "breaks", safe(violation.cause)
    if goal is not None:
        yield from _of_goal(goal)
    if step is None or node is None:
        return
    if node.kind is not Kind.TAG:
        label = f", {safe(step.label)}" if step.label else ""
        yield "size", f"{size(step.size)}{label}"
    if each.uncreated:
        yield (
            "missing",
            f"{node.repository} is not there, and has to be created before anything is sent to it",
        )
    yield from _of_bytes(each, node, step)
    yield from _of_neighbours(each)
    yield "fails", _if_it_failed(each, step)
    yield "alone", _alone(each)


def _broken_by(each: Explanation, goal: Goal) -> list[Violation]:
    """The rules that forbid what the spec wants."""
    return [broken for broken in each.violations if broken.destination == goal.spec.destination]


def _no(broken: Sequence[Violation]) -> str:
    """What the rules say no to, in their order, each once."""
    keys = dict.fromkeys(each.demand.partition(" ")[0] for each in broken)
    rules = "a rule" if len({each.rule for each in broken}) == 1 else "rules"
    verb = "says" if rules == "a rule" else "say"
    deeds = " and ".join(_FORBIDDEN.get(key, "break it") for key in keys)
    return f"it would {deeds}, and {rules} of mmgraph.toml {verb} no"


def _of_goal(goal: Goal) -> Iterator[tuple[str, str]]:
    spec = goal.spec
    limits = f", limited to {listed(spec.platforms)}" if spec.platforms else ""
    digest = f", which names {goal.source_digest}" if goal.source_digest else ""
    yield "source", f"{spec.source}{digest}{limits}"
    if goal.root is not None and goal.trimmed:
        yield "digest", f"{goal.root}, another than the source's, since platforms are left out"
    if changes := [*changes_of("+", goal.gains), *changes_of("-", goal.losses)]:
        yield "brings", "  ".join(changes)
    if goal.missing:
        yield "lacks", f"{listed(goal.missing)}, which the spec lists and the source has not"


def _of_bytes(each: Explanation, node: Node, step: Step) -> Iterator[tuple[str, str]]:
    """Where a blob or document is read, lands and is mounted."""
    if step.action is Action.UPLOAD and step.source is not None:
        others = [str(other.repository) for other in each.read_with]
        shared = f", once for this and for {_some(others)}" if others else ""
        yield "read", f"from {step.source}{shared}"
    elif step.source is not None and node.kind is not Kind.TAG:
        verb = "was read" if node.kind is not Kind.BLOB else "could be read"
        yield "read", f"{verb} from {step.source}"
    if step.mount_from is not None:
        yield "mounted", f"from {step.mount_from}"
    if each.mounts:
        verb = "is mounted" if is_done(step) else "lands here, and is mounted"
        places = [str(other.repository) for other in each.mounts]
        yield "landing", f"{verb} from here to {_some(places)}"


def _of_neighbours(each: Explanation) -> Iterator[tuple[str, str]]:
    documents = [f"{other.kind} {_within(other)}" for other in each.listed_by]
    if documents:
        yield "listed by", _some(documents)
    goals = _names(goal for goal in each.needed_by if goal is not each.goal)
    if goals:
        yield "needed by", f"{number(len(goals), 'spec')}: {_some(goals)}"
    if each.needs:
        yield (
            "needs",
            ", ".join(_part(part) for part in each.needs),
        )


def _part(part: Part) -> str:
    """What is done about it, and to how many."""
    count = number(part.count, part.kind, "indexes" if part.kind is Kind.INDEX else "")
    done = f"{count} there already" if part.action is Action.PRESENT else f"{part.action} {count}"
    return f"{done} ({size(part.bytes)})"


def _within(node: Node) -> str:
    return f":{node.name}" if node.kind is Kind.TAG else node.name[:19]


def _if_it_failed(each: Explanation, step: Step) -> str:
    if is_done(step):
        if step.source is None:
            return "nothing is sent for it, so it cannot fail"
        return "nothing is sent for it; should the registry not have it after all, it is sent from its source"
    goals = _names(each.blocked)
    told = (
        f"{number(len(goals), 'spec')} could not be done: {_some(goals)}"
        if goals
        else "no spec would be blocked"
    )
    if each.rerouted:
        places = list(dict.fromkeys(str(other.repository) for other in each.rerouted))
        told += (
            f"; {number(len(each.rerouted), 'mount')} to {_some(places)} would find another way,"
            " as one of them is uploaded and the others mount from there"
        )
    if step.action is Action.MOUNT:
        told += (
            "; where only the mount is refused, or what it is mounted from fails, its bytes are sent instead"
        )
    return told


def _alone(each: Explanation) -> str:
    others = [goal for goal in each.needed_by if goal is not each.goal]
    if not others:
        return f"{size(each.alone)} would not move without it, of {size(each.moved)} that move for it"
    verb = "needs" if len(others) == 1 else "need"
    return (
        f"{size(each.alone)} would not move without it and the {number(len(others), 'spec')} that {verb} it"
    )


def _names(goals: Iterable[Goal]) -> list[str]:
    """The goals' destinations; those that have only a digest with a short one."""
    destinations = [goal.spec.destination for goal in goals]
    return [str(each) if each.tag else f"{each.repository}{name_of(each)}" for each in destinations]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
