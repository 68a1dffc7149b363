"""Explanations for programs, as JSON, and the schema, which is made of the same types. Pure; decides nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from mmgraph.graph import Kind
from mmgraph.plan import Action, Result
from mmgraph.report.graph_json import id_of
from mmgraph.report.offline import SCHEMA as OFFLINE_SCHEMA
from mmgraph.report.offline import basis_object
from mmgraph.report.violations import violation_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mmgraph.explain import Explanation
    from mmgraph.graph import Node
    from mmgraph.memory import Basis
    from mmgraph.plan import Goal

FORMAT_VERSION: Final = "1.1"
"""Major: readers must refuse what they do not know. Minor: fields were added."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


def _means(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


class _Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all parts have in common: what does not apply is left out."""


class Spec(_Wire, frozen=True, kw_only=True):
    """The spec whose end it is."""

    src: str
    dst: str
    result: Result
    cause: Annotated[str, _means("Why it cannot be planned.")] = ""
    platforms: tuple[str, ...] = ()
    root: Annotated[str | None, _means("What the destination shall name.")] = None
    source_digest: Annotated[str | None, _means("What the source names.")] = None
    old: Annotated[str | None, _means("What the destination names now.")] = None
    gains: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    missing: Annotated[tuple[str, ...], _means("Platforms that the spec lists and the source lacks.")] = ()


class Part(_Wire, frozen=True, kw_only=True):
    """Nodes of one kind with one action that it needs, directly or not."""

    kind: Kind
    action: Action
    count: _Count
    bytes: _Count


class Broken(_Wire, frozen=True, kw_only=True):
    """A rule of mmgraph.toml that it breaks, or the spec whose end it is."""

    rule: str
    demand: Annotated[str, _means("As it stands in mmgraph.toml.")]
    destination: str
    node: Annotated[str | None, _means("An id, whether or not the graph has it.")]
    found: str


class Entry(_Wire, frozen=True, kw_only=True):
    """One node, or one spec that has none."""

    id: Annotated[str | None, _means("The node, as in mmgraph graph --format json.")] = None
    kind: Kind | None = None
    registry: str | None = None
    repository: Annotated[str | None, _means("The path, without the registry.")] = None
    name: Annotated[str | None, _means("The digest, or the tag.")] = None
    action: Action | None = None
    reason: str | None = None
    evidence: Annotated[str, _means("Where what is known of it comes from, as a sentence.")]
    spec: Spec | None = None
    violations: tuple[Broken, ...] = ()
    size: Annotated[int | None, _means("Bytes; tags have none.")] = None
    platform: str | None = None
    source: Annotated[str | None, _means("The repository that it is read from.")] = None
    mount_from: Annotated[str | None, _means("The repository that it is mounted from.")] = None
    landing: Annotated[
        str | None, _means("The node that it is mounted from, where that is in the graph.")
    ] = None
    repository_missing: Annotated[bool, _means("Whether its repository has to be created first.")] = False
    listed_by: Annotated[tuple[str, ...], _means("The nodes that need it directly.")] = ()
    needed_by: Annotated[
        tuple[str, ...], _means("The destinations of the specs that need it, its own too.")
    ] = ()
    needs: tuple[Part, ...] = ()
    read_with: Annotated[tuple[str, ...], _means("Uploads elsewhere that the same GET feeds.")] = ()
    mounts: Annotated[tuple[str, ...], _means("The nodes that are mounted from it.")] = ()
    blocked: Annotated[tuple[str, ...], _means("The destinations that could not be done if it failed.")] = ()
    rerouted: Annotated[tuple[str, ...], _means("The mounts that would find another way if it failed.")] = ()
    bytes_moved: Annotated[int | None, _means("What moves for it.")] = None
    bytes_alone: Annotated[
        int | None, _means("What would not move if it and every spec that needs it were dropped.")
    ] = None


class Explanations(_Wire, frozen=True, kw_only=True):
    """What ``mmgraph explain --format json`` prints."""

    format: Literal["mmgraph-explanation"]
    version: Annotated[str, msgspec.Meta(pattern=r"^1\.[0-9]+$")]
    name: Annotated[str, _means("What was asked for.")]
    explanations: tuple[Entry, ...]
    offline: Annotated[
        dict[str, Any] | None,
        msgspec.Meta(extra_json_schema=OFFLINE_SCHEMA),
    ] = None


def explanation_json(name: str, explanations: Sequence[Explanation], basis: Basis | None = None) -> bytes:
    """The answer to ``name``: an entry for each node and spec that it means; sizes are bytes.

    ``basis`` is what it rests on, where no registry was asked.
    """
    document = Explanations(
        format="mmgraph-explanation",
        version=FORMAT_VERSION,
        name=name,
        explanations=tuple(map(_entry, explanations)),
        offline=None if basis is None else basis_object(basis),
    )
    # ASCII, with escapes for all else: parts of it are foreign text, and this may be looked at on a terminal.
    return json.dumps(msgspec.to_builtins(document), indent=1).encode() + b"\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of it, version 1; fields may be added to it."""
    made = msgspec.json.schema(Explanations)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mmgraph explanation", **made}


def _entry(each: Explanation) -> Entry:
    spec = _spec(each.goal) if each.goal else None
    violations = tuple(Broken(**fields) for fields in violation_objects(each.violations))
    node, step = each.node, each.step
    if node is None or step is None:
        return Entry(evidence=each.evidence, spec=spec, violations=violations)
    return Entry(
        id=id_of(node),
        kind=node.kind,
        registry=str(node.repository.registry),
        repository=node.repository.path,
        name=str(node.name),
        action=step.action,
        reason=step.reason,
        evidence=each.evidence,
        spec=spec,
        violations=violations,
        size=step.size if node.kind is not Kind.TAG else None,
        platform=step.label or None,
        source=_text(step.source),
        mount_from=_text(step.mount_from),
        landing=id_of(each.landing) if each.landing else None,
        repository_missing=each.uncreated,
        listed_by=_ids(each.listed_by),
        needed_by=_destinations(each.needed_by),
        needs=tuple(
            Part(kind=part.kind, action=part.action, count=part.count, bytes=part.bytes)
            for part in each.needs
        ),
        read_with=_ids(each.read_with),
        mounts=_ids(each.mounts),
        blocked=_destinations(each.blocked),
        rerouted=_ids(each.rerouted),
        bytes_moved=each.moved,
        bytes_alone=each.alone,
    )


def _spec(goal: Goal) -> Spec:
    return Spec(
        src=str(goal.spec.source),
        dst=str(goal.spec.destination),
        result=goal.result,
        cause=goal.cause,
        platforms=tuple(map(str, goal.spec.platforms)),
        root=_text(goal.root),
        source_digest=_text(goal.source_digest),
        old=_text(goal.old),
        gains=goal.gains,
        losses=goal.losses,
        missing=tuple(map(str, goal.missing)),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _ids(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(map(id_of, nodes))


def _destinations(goals: Iterable[Goal]) -> tuple[str, ...]:
    return tuple(str(goal.spec.destination) for goal in goals)
