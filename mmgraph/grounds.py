"""Where what a plan knows of a node comes from: a sentence for each kind of evidence, asked for or remembered.

Owns these sentences. Parts of them may be foreign text. Pure; must not know how they are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.graph import Kind, Node
from mmgraph.plan import Action, Goal, Plan, Result, Step
from mmgraph.reasons import Reason, Why, read

if TYPE_CHECKING:
    from mmgraph.rules import Violation


class Grounds:
    """The sentences about the nodes of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._offline = plan.offline is not None

    def of(self, node: Node, step: Step, landing: Node | None) -> str:
        """Where what is known of ``node`` comes from; ``landing`` is the blob it is mounted from, in the graph."""
        if step.action is Action.MOUNT:
            return self._mount(node, step, landing)
        if step.action is Action.PRESENT:
            return self._present(node, step)
        if node.kind is Kind.TAG:
            return self._tag(step)
        sentence = self._missing(node, step)
        if step.action is Action.UPLOAD:
            return f"{sentence} No other repository of {node.repository.registry} is known to hold it."
        return sentence

    def without_node(self, goal: Goal | None) -> str:
        """The same of what is not in the graph."""
        if goal is not None and (broken := self._plan.broken_by(goal)):
            return self._forbidden(broken)
        if goal is None or goal.result is Result.FAILED:
            return "It cannot be planned, so it is not in the graph."
        if self._offline:
            return "It was there under its own digest when it was last looked at; what it consists of was not read."
        return "It was found there under its own digest (HEAD), and what it consists of was not read."

    def _forbidden(self, broken: tuple[Violation, ...]) -> str:
        if any(each.demand.startswith("only-registries") for each in broken):
            return "Its name alone says so: neither source nor destination was looked at, so it is not in the graph."
        if self._offline:
            return (
                "What it shall be is known, and what it is, as far as the rule asks; it is not in the graph."
            )
        return (
            "Its source was read and its destination looked at; as a rule forbids it, it is not in the graph."
        )

    def _tag(self, step: Step) -> str:
        looked = (
            "When the tag was last looked at, it named"
            if self._offline
            else "The tag was looked at (HEAD), and names"
        )
        match read(step.reason):
            case Reason(Why.NAMES_IT):
                return f"{looked} {step.target} already."
            case Reason(Why.ABSENT):
                none = (
                    "When the tag was last looked at, there was none"
                    if self._offline
                    else "The tag was looked at (HEAD): there is none"
                )
                return f"{none} of that name. It shall name {step.target}."
            case Reason(Why.NAMES_BROKEN):
                return f"{looked} {step.target}, parts of which are missing."
            case Reason(Why.NAMES):
                return f"{looked} {step.old}. It shall name {step.target}."
        return _told(step)

    def _missing(self, node: Node, step: Step) -> str:
        path = node.repository.path
        match read(step.reason):
            case Reason(Why.ABSENT) if self._offline:
                return f"It was not there when the registry was last asked for it in {path}."
            case Reason(Why.ABSENT):
                return f"It is not there: the registry was asked for it (HEAD) in {path} and said so."
            case Reason(Why.NO_REPOSITORY):
                return (
                    f"It is not there: the list of tags of {path} answers 404, so the repository is taken to hold"
                    " nothing."
                )
            case Reason(Why.UNKNOWN) if self._offline:
                return f"Nothing that is remembered says that {path} holds it, so it counts as missing."
            case Reason(Why.UNKNOWN):
                return (
                    f"Nothing that was read says that {path} holds it, and it was not asked for; the registry says so"
                    " when it is sent."
                )
            case Reason(Why.BROKEN):
                return "Something lists it there, but parts of it are missing, so the registry cannot have it whole."
            case Reason(Why.SKIPPED, name=name):
                return f"It was to be mounted from {name}, which is skipped."
        return _told(step)

    def _mount(self, node: Node, step: Step, landing: Node | None) -> str:
        place, path = step.mount_from, node.repository.path
        if landing is None and self._offline:
            return f"{place} was last seen to hold it, and {path} was not."
        if landing is None:
            return f"{place} was found to hold it when the plan was made, and {path} was not."
        known = self._plan.steps[landing]
        if known.action is Action.PRESENT:
            return f"{path} is not known to hold it, and {place} is: {self._holding(landing, known)}."
        return f"Nobody at {node.repository.registry} is known to hold it. It lands in {place} first."

    def _present(self, node: Node, step: Step) -> str:
        """What its registry said of it itself is known; what only something else lists is believed."""
        reason = read(step.reason)
        told = reason is not None and (
            reason.why is Why.ASKED
            or (reason.why in (Why.TAG, Why.FOUND) and node.name.startswith(reason.digest))
        )
        if told and not self._offline:
            return f"It is there: {self._holding(node, step)}."
        return f"It is taken to be there: {self._holding(node, step)}; mmgraph verify asks."

    def _holding(self, node: Node, step: Step) -> str:
        """How it is known that a blob or manifest is there."""
        path = node.repository.path
        match read(step.reason):
            case Reason(Why.ASKED):
                return f"the registry was asked for it (HEAD) in {path}, and has it"
            case Reason(Why.REMEMBERED):
                return f"another tag of {path} was last seen to name what lists it"
            case Reason(Why.SOURCE, digest=digest):
                seen = ", which was last seen" if self._offline else ""
                return f"{path} is a source of the set too, and {digest}{seen} there lists it"
            case Reason(Why.FOUND, digest=digest):
                how = "when it was last looked at" if self._offline else "(HEAD)"
                return f"{digest} was found in {path} under its own digest {how}, and what it lists with it"
            case Reason(Why.TAG, digest=digest, name=name):
                itself = node.name.startswith(digest)
                if self._offline:
                    what = "it" if itself else f"{digest}, which lists it"
                    return f"{name} of {path} was last seen to name {what}"
                return (
                    f"{name} of {path} names it (HEAD)"
                    if itself
                    else f"{name} of {path} names {digest} (HEAD), which lists it"
                )
        return f"the plan says, {step.reason}"


def _told(step: Step) -> str:
    return f"The plan says: {step.reason}."
