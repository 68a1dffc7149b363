"""The plan as a page: one HTML file that opens from disk, asks no network, and shows tags, graph and bill.

Owns the form of the data in the page and how its parts are put together; what is shown is the parts' business
(``assets/``, vanilla JavaScript). Pure.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mmgraph.cost import Costs
from mmgraph.graph import Edge, Kind, Node
from mmgraph.plan import Action, Result
from mmgraph.report.graph_json import id_of
from mmgraph.report.offline import offline_lines
from mmgraph.report.text import plan_line
from mmgraph.report.violations import headline
from mmgraph.report.words import safe

if TYPE_CHECKING:
    from collections.abc import Hashable

    from mmgraph.names import Digest, Reference, Repository
    from mmgraph.plan import Goal, Plan

SCRIPTS: Final = (
    "model.js",
    "words.js",
    "fold.js",
    "layout.js",
    "draw.js",
    "view.js",
    "list.js",
    "details.js",
    "main.js",
)
"""In this order they are one module."""

_PLACE: Final = re.compile(r"\{\{([a-z]+)\}\}")
_KINDS: Final = tuple(Kind)
_ACTIONS: Final = tuple(Action)
_RESULTS: Final = tuple(Result)
_CAUSE_LIMIT: Final = 2000

T = TypeVar("T", bound="Hashable")


def page(plan: Plan, *, title: str = "mmgraph plan") -> bytes:
    """The page of a plan; ``title`` is its heading and the browser's. The same bytes for the same plan."""
    style = _part("page.css")
    script = "".join(map(_part, SCRIPTS))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    values = {
        "policy": html.escape(policy),
        "title": html.escape(safe(title)),
        "line": html.escape(plan_line(plan)),
        "style": style,
        "script": script,
        "data": _embedded(_Data(plan).value),
    }
    # In one pass: what is put in is not searched again.
    return _PLACE.sub(lambda found: values[found[1]], _part("page.html")).encode()


@cache
def _part(name: str) -> str:
    return (resources.files("mmgraph.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source of the Content Security Policy that allows exactly ``text``."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(value: object) -> str:
    """JSON that no parser of HTML takes for anything but text, in ASCII (so U+2028 is an escape too)."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Table:
    """Values by number, each once, in the order of their first use."""

    def __init__(self) -> None:
        self.places: dict[Any, int] = {}

    def place(self, value: object) -> int:
        return self.places.setdefault(value, len(self.places))


class _Data:
    """What the page knows of a plan: tables of names, and nodes, edges and goals as numbers into them.

    Numbers that may be nothing are one higher, and 0 is nothing.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._repositories = _Table()
        self._digests = _Table()
        self._texts = _Table()
        self._places = {node: place for place, node in enumerate(plan.steps)}
        nodes, edges = self._nodes(), self._edges()
        costs = Costs(plan)
        goals = [
            self._goal(goal, *each) for goal, *each in zip(plan.goals, costs.moved, costs.alone, strict=True)
        ]
        missing = [self._repository(repository) for repository in plan.missing]
        bill = plan.bill
        self.value = {
            **nodes,
            **edges,
            "goals": goals,
            "bill": {
                name: getattr(bill, name)
                for name in (
                    "naive",
                    "present",
                    "mounted",
                    "shared",
                    "uploaded",
                    "downloaded",
                    "saved",
                    "missing",
                )
            },
            "requests": [
                [registry, [[str(operation), count] for operation, count in counts.items()]]
                for registry, counts in bill.requests.items()
            ],
            "toCreate": missing,
            "unchecked": plan.unchecked,
            "offline": offline_lines(plan),
            "broken": self._broken(plan),
            "brokenTitle": headline(plan.violations).rstrip(":") if plan.violations else "",
            "kinds": _KINDS,
            "actions": _ACTIONS,
            "results": _RESULTS,
            "repositories": [[each.registry, each.path] for each in self._repositories.places],
            "digests": [each.removeprefix("sha256:") for each in self._digests.places],
            "texts": list(self._texts.places),
        }

    def _repository(self, repository: Repository) -> int:
        return self._repositories.place(repository)

    def _digest(self, digest: Digest | None) -> int:
        return 0 if digest is None else self._digests.place(str(digest)) + 1

    def _text(self, text: str, limit: int = 400) -> int:
        return self._texts.place(safe(text, limit))

    def _nodes(self) -> dict[str, object]:
        """Columns, aligned; the sparse ones are pairs of a node and a value, flat."""
        self._text("")
        steps = self._plan.steps
        mounts, olds, labels = [], [], []
        for place, step in enumerate(steps.values()):
            if step.mount_from is not None:
                mounts += [place, self._repository(step.mount_from)]
            if step.old is not None:
                olds += [place, self._digest(step.old)]
            if step.label:
                labels += [place, self._text(step.label)]
        return {
            "kind": "".join(str(_KINDS.index(node.kind)) for node in steps),
            "action": "".join(str(_ACTIONS.index(step.action)) for step in steps.values()),
            "repository": [self._repository(node.repository) for node in steps],
            "name": [self._name(node) for node in steps],
            "reason": [self._text(step.reason) for step in steps.values()],
            "size": [step.size for step in steps.values()],
            "source": [
                0 if step.source is None else self._repository(step.source) + 1 for step in steps.values()
            ],
            "target": [self._digest(step.target) for step in steps.values() if step.target is not None],
            "mountFrom": mounts,
            "old": olds,
            "label": labels,
        }

    def _name(self, node: Node) -> int:
        return self._text(node.name) if node.kind is Kind.TAG else self._digests.place(node.name)

    def _edges(self) -> dict[str, list[int]]:
        """``needs``: for each node how many it needs, and how far before it each of them is; ``mounts``: pairs."""
        needs: list[int] = []
        mounts: list[int] = []
        for node, place in self._places.items():
            before = [(self._places[first], edge) for first, edge in self._plan.graph.before(node)]
            needed = [place - first for first, edge in before if edge is Edge.NEED]
            needs += [len(needed), *needed]
            for first, edge in before:
                if edge is Edge.MOUNT:
                    mounts += [first, place]
        return {"needs": needs, "mounts": mounts}

    def _goal(self, goal: Goal, moved: int, alone: int) -> list[object]:
        return [
            _RESULTS.index(goal.result),
            0 if goal.node is None else self._places[goal.node] + 1,
            self._reference(goal.spec.destination),
            self._reference(goal.spec.source),
            self._digest(goal.root),
            self._digest(goal.old),
            self._digest(goal.source_digest),
            moved,
            alone,
            self._text(goal.cause, _CAUSE_LIMIT),
            [self._text(str(each)) for each in goal.missing],
            [self._text(each) for each in goal.gains],
            [self._text(each) for each in goal.losses],
            [self._text(str(each)) for each in goal.spec.platforms] if goal.trimmed else [],
        ]

    def _broken(self, plan: Plan) -> list[list[int]]:
        """Rules that are broken: by which goal (one higher), at which node (one higher), and how."""
        goals = {goal.spec.destination: place for place, goal in enumerate(plan.goals, 1)}
        ids = {id_of(node): place for node, place in self._places.items()} if plan.violations else {}
        return [
            [
                goals.get(each.destination, 0),
                ids.get(each.node or "", -1) + 1,
                self._text(str(each.destination)),
                self._text(each.cause, _CAUSE_LIMIT),
            ]
            for each in plan.violations
        ]

    def _reference(self, reference: Reference) -> list[int]:
        return [
            self._repository(reference.repository),
            self._text(reference.tag or ""),
            self._digest(reference.digest),
        ]
