"""A plan as a file: the same bytes for the same plan, and read as what a stranger may have written.

Owns the format; what must hold for a plan to be carried out is soundness's. Asks no registry.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import msgspec

from mmgraph.bill import Bill
from mmgraph.collector import uncollected
from mmgraph.errors import ContentError, InternalError, SpecError
from mmgraph.graph import Edge, Graph, Kind, Node
from mmgraph.names import Digest, Digests, Platform, Reference, Registry, Repository, printable, quote
from mmgraph.oci import Document, parse
from mmgraph.plan import Action, Goal, Plan, Result, Step
from mmgraph.soundness import Soundness
from mmgraph.specs import CopySpec, Origin, read_specs
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mmgraph.memory import Basis
    from mmgraph.rules import Violation

FORMAT: Final = "mmgraph-plan"
VERSION: Final = 1
SIZE_LIMIT: Final = 1 << 30
"""Bytes of a saved plan at most; one of two thousand tags has some thirty million."""
_COUNT_LIMIT: Final = 5_000_000
_BRACKETS_LIMIT: Final = 2 * _COUNT_LIMIT
_COMMAS_LIMIT: Final = 8 * _COUNT_LIMIT
"""Counted before anything is decoded: a decoded part has up to forty times the bytes that it has in the file."""
_BEGINNING: Final = re.compile(rb'\s*\{\s*"format"\s*:\s*"mmgraph-plan"')
_DOCUMENTS: Final = frozenset({Kind.MANIFEST, Kind.INDEX})
_FOREIGN: Final = re.compile("[^\x00-\x7e]")
Part = TypeVar("Part")
Whole = TypeVar("Whole")

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Wire(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """What all parts of the file have in common: what is not known is refused, what is not set left out."""


class _Spec(_Wire, frozen=True, kw_only=True):
    """A spec in its normal form and its end in the plan."""

    src: str
    dst: str
    platforms: tuple[str, ...] = ()
    file: str = ""
    number: _Count = 0
    line: _Count = 0
    result: Result
    cause: str = ""
    root: str | None = None
    source_digest: str | None = None
    old: str | None = None
    missing: tuple[str, ...] = ()
    gains: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    node: _Count | None = None


class _Node(_Wire, frozen=True, kw_only=True):
    """A node and its step."""

    kind: Kind
    repository: str
    name: str
    action: Action
    reason: str
    size: _Count = 0
    label: str = ""
    source: str | None = None
    mount_from: str | None = None
    proven_absent: bool = False
    target: str | None = None
    old: str | None = None


class _Document(_Wire, frozen=True, kw_only=True):
    """A manifest or index as it is sent; ``raw`` is base64."""

    digest: str
    media_type: str
    raw: bytes


class _Violation(_Wire, frozen=True, kw_only=True, omit_defaults=False):
    """A rule that is broken; ``node`` is named as in the graph, whether or not it is in it."""

    rule: str
    demand: str
    destination: str
    node: str | None
    found: str


class _Bill(_Wire, frozen=True, kw_only=True, omit_defaults=False):
    naive: _Count
    present: _Count
    mounted: _Count
    uploaded: _Count
    shared: _Count
    downloaded: _Count
    requests: dict[str, dict[Operation, _Count]]


class _Span(_Wire, frozen=True, kw_only=True):
    """From when to when something was seen, in UTC."""

    oldest: datetime
    newest: datetime


class _Offline(_Wire, frozen=True, kw_only=True, omit_defaults=False):
    """What a plan rests on for which nobody was asked: how old that is, and what could not be known."""

    seen: dict[str, _Span]
    """By registry."""
    unknown_names: tuple[str, ...]
    unknown_manifests: tuple[str, ...]
    unknown_blobs: _Count
    """Counted as missing."""


class _Saved(_Wire, frozen=True, kw_only=True, omit_defaults=False):
    """The file. ``edges`` are pairs of positions in ``nodes``; ``tool`` is what wrote it, for people."""

    format: str
    version: _Count
    tool: str
    specs: tuple[_Spec, ...]
    nodes: tuple[_Node, ...]
    edges: tuple[tuple[_Count, _Count, Edge], ...]
    documents: tuple[_Document, ...]
    bill: _Bill
    missing_repositories: tuple[str, ...] = ()
    """Names, for people: what creates them is the applying user's to say, and never the plan's."""
    unchecked_certificates: tuple[str, ...] = ()
    """Registries that the plan took at their word, for people: whom to believe is the applying user's to say."""
    violations: tuple[_Violation, ...] = ()
    """For programs to read: a plan that has any is not carried out, nor read."""
    offline: _Offline | None = None
    """As violations: of ``plan --offline``, for programs to read."""


class _Head(msgspec.Struct):
    """What tells a plan from other JSON."""

    format: str = ""
    version: int = 0


@uncollected()
def write(plan: Plan, tool: str) -> bytes:
    """Return the file's content; ``tool`` is the name and version of the program that made the plan.

    It has the documents of the graph's manifests and indexes, and no others.
    """
    places = {node: place for place, node in enumerate(plan.steps)}
    documents = {node.name: plan.documents[Digest(node.name)] for node in places if node.kind in _DOCUMENTS}
    saved = _Saved(
        format=FORMAT,
        version=VERSION,
        tool=tool,
        specs=tuple(_write_goal(goal, places) for goal in plan.goals),
        nodes=tuple(_write_step(node, step) for node, step in plan.steps.items()),
        # In this order, both what comes before and what comes after a node keep their order.
        edges=tuple(
            (places[first], place, edge)
            for node, place in places.items()
            for first, edge in plan.graph.before(node)
        ),
        documents=tuple(
            _Document(digest=str(each.digest), media_type=each.media_type, raw=each.raw)
            for each in documents.values()
        ),
        bill=_write_bill(plan.bill),
        missing_repositories=tuple(map(str, plan.missing)),
        unchecked_certificates=tuple(map(str, plan.unchecked)),
        violations=tuple(map(_write_violation, plan.violations)),
        offline=None if plan.offline is None else _write_basis(plan.offline),
    )
    # ASCII, with escapes for all else: reasons are partly foreign text, and this may be seen on a terminal.
    return _FOREIGN.sub(_escaped, msgspec.json.encode(saved).decode()).encode() + b"\n"


def _escaped(character: re.Match[str]) -> str:
    units = character[0].encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def is_saved(raw: bytes) -> bool:
    """Whether ``raw`` is meant to be a saved plan, sound or not."""
    if _BEGINNING.match(raw):
        return True
    try:
        return msgspec.json.decode(raw, type=_Head).format == FORMAT
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


@uncollected()
def read(raw: bytes) -> Plan:
    """Return the plan that ``write`` wrote. Raises ``SpecError`` that says where it is wrong, and what is."""
    if len(raw) > SIZE_LIMIT:
        _refuse("$", f"it has {len(raw)} bytes, more than the {SIZE_LIMIT} that are read")
    if not raw or raw.isspace():
        _refuse("$", "it is empty")
    if raw.count(b"{") + raw.count(b"[") > _BRACKETS_LIMIT or raw.count(b",") > _COMMAS_LIMIT:
        _refuse("$", f"it has more than {_BRACKETS_LIMIT} parts, or {_COMMAS_LIMIT} values")
    try:
        head = msgspec.json.decode(raw, type=_Head)
        if head.format != FORMAT:
            _refuse("$.format", f"it is {quote(head.format)}, not {quote(FORMAT)}: this is something else")
        if head.version != VERSION:
            _refuse("$.version", f"it is {head.version}, and this mmgraph reads {VERSION}")
        saved = msgspec.json.decode(raw, type=_Saved)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(f"the saved plan cannot be read: {printable(str(error))}") from None
    return _Reader(saved).plan()


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a saved plan."""
    made = msgspec.json.schema(_Saved)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mmgraph saved plan", **made}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _write_goal(goal: Goal, places: Mapping[Node, int]) -> _Spec:
    spec = goal.spec
    return _Spec(
        src=str(spec.source),
        dst=str(spec.destination),
        platforms=tuple(map(str, spec.platforms)),
        file=spec.origin.file,
        number=spec.origin.number,
        line=spec.origin.line,
        result=goal.result,
        cause=goal.cause,
        root=_text(goal.root),
        source_digest=_text(goal.source_digest),
        old=_text(goal.old),
        missing=tuple(map(str, goal.missing)),
        gains=goal.gains,
        losses=goal.losses,
        node=None if goal.node is None else places[goal.node],
    )


def _write_step(node: Node, step: Step) -> _Node:
    return _Node(
        kind=node.kind,
        repository=str(node.repository),
        name=str(node.name),
        action=step.action,
        reason=step.reason,
        size=step.size,
        label=step.label,
        source=_text(step.source),
        mount_from=_text(step.mount_from),
        proven_absent=step.proven_absent,
        target=_text(step.target),
        old=_text(step.old),
    )


def _write_violation(violation: Violation) -> _Violation:
    return _Violation(
        rule=violation.rule,
        demand=violation.demand,
        destination=str(violation.destination),
        node=violation.node,
        found=violation.found,
    )


def _write_basis(basis: Basis) -> _Offline:
    date = partial(datetime.fromtimestamp, tz=UTC)
    seen = {
        str(place): _Span(oldest=date(span.oldest), newest=date(span.newest))
        for place, span in basis.spans.items()
    }
    lacking = tuple(map(str, basis.manifests))
    return _Offline(
        seen=seen, unknown_names=basis.names, unknown_manifests=lacking, unknown_blobs=basis.blobs
    )


def _write_bill(bill: Bill) -> _Bill:
    return _Bill(
        naive=bill.naive,
        present=bill.present,
        mounted=bill.mounted,
        uploaded=bill.uploaded,
        shared=bill.shared,
        downloaded=bill.downloaded,
        requests={
            str(registry): dict(sorted(counts.items())) for registry, counts in sorted(bill.requests.items())
        },
    )


def _refuse(where: str, message: str) -> NoReturn:
    raise SpecError(f"the saved plan is not sound: {where}: {message}")


def _each(where: str, work: Callable[[Part], Whole], parts: Iterable[Part]) -> list[Whole]:
    """Do ``work`` with every part; what is wrong with one is said with its place."""
    done = []
    for place, part in enumerate(parts):
        try:
            done.append(work(part))
        except (SpecError, ContentError) as error:
            _refuse(f"{where}[{place}]", str(error))
    return done


def _unchecked(registries: frozenset[Registry], text: str) -> Registry:
    if text not in registries:
        raise SpecError(f"{quote(text)} is no registry that its specs name")
    return Registry(text)


class _Repositories(dict[str, Repository]):
    """Repositories by their names in full; each is named thousands of times, and read once."""

    def __missing__(self, text: str) -> Repository:
        repository = Repository.parse(text)
        if str(repository) != text:
            raise SpecError(f"{quote(text)} is not written in full, as {quote(str(repository))}")
        self[text] = repository
        return repository


class _Reader:
    """Builds the plan of one file, part by part."""

    def __init__(self, saved: _Saved) -> None:
        self._saved = saved
        self._repositories = _Repositories()
        self._digests = Digests()
        self._nodes: list[Node] = []
        self._steps: dict[Node, Step] = {}
        self._names: set[str] = set()
        self._graph = Graph()
        self._documents: dict[Digest, Document] = {}

    def plan(self) -> Plan:
        """Return the plan, or raise ``SpecError``."""
        saved = self._saved
        if saved.violations:
            first = saved.violations[0]
            broken = f"it broke {first.rule} ({first.demand}) at {first.destination} when it was made"
            _refuse("$.violations", f"{printable(broken)}, so it is not carried out")
        if saved.offline is not None:
            _refuse("$.offline", "it was made offline, of what was known by then, so it is not carried out")
        for name, items in (("nodes", saved.nodes), ("edges", saved.edges), ("specs", saved.specs)):
            if len(items) > _COUNT_LIMIT:
                _refuse(f"$.{name}", f"there are {len(items)}, more than {_COUNT_LIMIT}")
        specs = self._specs()
        _each("$.nodes", self._add_node, saved.nodes)
        self._names = {node.name for node in self._nodes if node.kind in _DOCUMENTS}
        _each("$.documents", self._add_document, saved.documents)
        _each("$.edges", self._add_edge, saved.edges)
        if any(first >= then for first, then, _ in saved.edges):  # else, as in a planner's, there is no cycle
            try:
                self._graph.check()
            except InternalError as error:
                _refuse("$.edges", str(error))
        goals = _each("$.specs", self._goal, zip(specs, saved.specs, strict=True))
        missing = _each("$.missingRepositories", self._repositories.__getitem__, saved.missing_repositories)
        plan = Plan(self._graph, self._steps, tuple(goals), self._documents, self._bill(), tuple(missing))
        named = partial(_unchecked, plan.registries)
        unchecked = _each("$.uncheckedCertificates", named, saved.unchecked_certificates)
        if unchecked != sorted(set(unchecked)):
            _refuse("$.uncheckedCertificates", "they are not sorted and distinct")
        plan = msgspec.structs.replace(plan, unchecked=tuple(unchecked))
        soundness = Soundness(plan)
        _each("$.nodes", soundness.check_node, self._nodes)
        _each("$.specs", soundness.check_goal, goals)
        _each("$.missingRepositories", soundness.check_missing, plan.missing)
        if list(plan.missing) != sorted(set(plan.missing)):
            _refuse("$.missingRepositories", "they are not sorted and distinct")
        try:
            soundness.check_bill()
        except SpecError as error:
            _refuse("$.bill", str(error))
        return plan

    def _specs(self) -> list[CopySpec]:
        """The specs, under all the rules that hold where they are read from their own files."""
        lines = (
            {"src": spec.src, "dst": spec.dst, "transform": {"limitPlatforms": spec.platforms}}
            for spec in self._saved.specs
        )
        try:
            specs = read_specs([("$.specs", b"\n".join(map(msgspec.json.encode, lines)))])
        except SpecError as error:
            _refuse("$.specs", str(error).partition("\n")[0])
        if len(specs) != len(self._saved.specs):
            _refuse("$.specs", "two of them have one destination")
        return [
            CopySpec(
                spec.source, spec.destination, spec.platforms, Origin(saved.file, saved.number, saved.line)
            )
            for spec, saved in zip(specs, self._saved.specs, strict=True)
        ]

    def _goal(self, pair: tuple[CopySpec, _Spec]) -> Goal:
        spec, saved = pair
        if (str(spec.source), str(spec.destination)) != (saved.src, saved.dst):
            raise SpecError(f"{quote(saved.src)} or {quote(saved.dst)} is not written in full")
        if tuple(map(str, spec.platforms)) != saved.platforms:
            raise SpecError("its platforms are not in normal form, sorted and distinct")
        if saved.node is not None and saved.node >= len(self._nodes):
            raise SpecError(f"there is no node {saved.node}")
        return Goal(
            spec,
            saved.result,
            saved.cause,
            self._digest(saved.root),
            self._digest(saved.source_digest),
            self._digest(saved.old),
            tuple(map(Platform.parse, saved.missing)),
            saved.gains,
            saved.losses,
            None if saved.node is None else self._nodes[saved.node],
        )

    def _digest(self, text: str | None) -> Digest | None:
        return None if text is None else self._digests[text]

    def _add_node(self, saved: _Node) -> None:
        repository = self._repositories[saved.repository]
        if saved.kind is Kind.TAG:
            text = f"{repository}:{saved.name}"
            reference = Reference.parse(text)
            if reference.tag is None or str(reference) != text or reference.digest is not None:
                raise SpecError(f"{quote(saved.name)} is not a tag")
            node = Node(saved.kind, repository, reference.tag)
        else:
            node = Node(saved.kind, repository, self._digests[saved.name])
        if node in self._steps:
            raise SpecError(f"{node} is there twice")
        self._nodes.append(node)
        self._graph.add(node)
        self._steps[node] = Step(
            saved.action,
            saved.reason,
            saved.size,
            saved.label,
            None if saved.source is None else self._repositories[saved.source],
            None if saved.mount_from is None else self._repositories[saved.mount_from],
            saved.proven_absent,
            self._digest(saved.target),
            self._digest(saved.old),
        )

    def _add_document(self, saved: _Document) -> None:
        digest = self._digests[saved.digest]
        if digest not in self._names:
            raise SpecError(f"no node is it: {digest}")
        if digest in self._documents:
            raise SpecError(f"{digest} is there twice")
        self._documents[digest] = parse(saved.raw, saved.media_type, digest, self._digests)

    def _add_edge(self, saved: tuple[int, int, Edge]) -> None:
        first, then, edge = saved
        if not (first < len(self._nodes) > then):
            raise SpecError(f"there is no node {max(first, then)}")
        self._graph.join(self._nodes[first], self._nodes[then], edge)

    def _bill(self) -> Bill:
        saved = self._saved.bill
        registries = _each("$.bill.requests", Registry.parse, saved.requests)
        counts = dict(zip(registries, saved.requests.values(), strict=True))
        return Bill(
            saved.naive, saved.present, saved.mounted, saved.uploaded, saved.shared, saved.downloaded, counts
        )
