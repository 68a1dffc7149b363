"""What explain reads back: every reason that the planner can write has a sentence of its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from mmgraph import compile as compiler
from mmgraph import evidence, observe
from mmgraph import plan as planner
from mmgraph.explain import Explainer
from mmgraph.graph import Kind
from mmgraph.lookup import Subject
from mmgraph.names import Repository
from mmgraph.plan import Action
from tests.support.making import Bench, digest, manifest

if TYPE_CHECKING:
    from collections.abc import Iterator


HOLES = {
    "old": digest("old"),
    "place.path": "elsewhere",
    "tree.root.short": digest("tree").short,
    "tree.name": "1.0",
    "image.source_digest.short": digest("source").short,
}
"""What stands for the parts of reasons that are not the same in all plans."""
REASONS = {
    (Kind.TAG, Action.UNCHANGED): ["names it already"],
    (Kind.TAG, Action.CREATE): ["absent"],
    (Kind.TAG, Action.MOVE): ["names {old}"],
    (Kind.TAG, Action.REPAIR): ["names it, and parts of it are missing"],
    (Kind.MANIFEST, Action.PUT): ["absent", "not known", "parts of it are missing", "repository absent"],
    (Kind.BLOB, Action.UPLOAD): ["absent", "not known", "repository absent"],
    (Kind.BLOB, Action.MOUNT): ["mountable from {place.path}"],
    (Kind.BLOB, Action.PRESENT): [
        "found by HEAD",
        "listed by {image.source_digest.short}, the source",
        "listed by {tree.root.short}, which {tree.name} names",
    ],
}
"""What the planner writes, by the nodes and actions that it writes it for."""


def written(path: Path) -> Iterator[str]:
    """The reasons in a module: of steps and of what is known, and what is assigned to a name that says so."""
    found: list[ast.expr | None] = []
    for part in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Name)
            and part.func.id in ("Step", "Known")
        ):
            found += part.args[1:2]
        elif isinstance(part, ast.Assign):
            for target in part.targets:
                pairs = (
                    zip(target.elts, part.value.elts, strict=True)
                    if isinstance(target, ast.Tuple) and isinstance(part.value, ast.Tuple)
                    else [(target, part.value)]
                )
                found += [
                    value for name, value in pairs if isinstance(name, ast.Name) and name.id == "reason"
                ]
        elif isinstance(part, ast.arguments):
            defaults = zip(part.kwonlyargs, part.kw_defaults, strict=True)
            found += [value for name, value in defaults if name.arg == "found"]
    for value in found:
        if isinstance(value, ast.Constant):
            yield str(value.value)
        elif isinstance(value, ast.JoinedStr):
            yield ast.unparse(value)[2:-1]


def test_the_reasons_of_the_planner_are_known_here() -> None:
    """Who lets the planner write another one is told to let it be explained."""
    modules = [Path(module.__file__ or "") for module in (planner, evidence, observe, compiler)]
    found = {reason for module in modules for reason in written(module)}
    assert {reason for reasons in REASONS.values() for reason in reasons} == found


@pytest.mark.parametrize(("kind", "action"), REASONS)
def test_each_reason_has_a_sentence_of_its_own(kind: Kind, action: Action) -> None:
    """What reads reasons back knows all of them: none is told as it stands, and no two alike."""
    image = manifest("config", "layer")
    bench = Bench(image)
    bench.want("a:1", "a:1", image)
    plan = bench.plan()
    node = next(each for each in plan.steps if each.kind is kind)
    place = Repository(node.repository.registry, "elsewhere")
    sentences = []
    for reason in REASONS[kind, action]:
        told = re.sub(r"\{(.*?)\}", lambda hole: HOLES[hole[1]], reason)
        step = replace(plan.steps[node], action=action, reason=told, old=digest("old"), mount_from=place)
        changed = replace(plan, steps={**plan.steps, node: step})
        sentences.append(Explainer(changed).explain(Subject(node)).evidence)
    assert (len(set(sentences)), []) == (
        len(sentences),
        [sentence for sentence in sentences if "the plan says" in sentence.lower()],
    )
