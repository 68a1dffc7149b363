"""What a run came to, for programs, as JSON, and the schema, which is made of the same types. Pure; decides nothing."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from mmgraph.events import Outcome
from mmgraph.report.graph_json import id_of
from mmgraph.report.violations import violation_objects
from mmgraph.store import Operation, Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmgraph.account import Account, End
    from mmgraph.bill import Bill
    from mmgraph.names import Registry
    from mmgraph.rules import Violation

FORMAT_VERSION: Final = "1.1"
"""Major: readers must refuse what they do not know. Minor: fields were added."""


def _means(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_Digest = str | None


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What all parts have in common."""


class Bytes(_Wire, frozen=True, kw_only=True):
    """Bytes of blobs that moved, or were spared."""

    downloaded: Annotated[int, msgspec.Meta(ge=0, description="Read, what had to be read again included.")]
    uploaded: Annotated[int, msgspec.Meta(ge=0, description="Sent, what had to be sent again not included.")]
    mounted: _Count
    found: Annotated[int, msgspec.Meta(ge=0, description="To be uploaded, and there already.")]


class Spec(_Wire, frozen=True, kw_only=True):
    """One spec's end, and what was done for it."""

    src: str
    dst: str
    platforms: Annotated[tuple[str, ...], _means("As in limitPlatforms.")]
    outcome: Outcome
    cause: Annotated[str, _means("Why it failed, or is blocked or stopped.")]
    digest: Annotated[_Digest, _means("What the destination shall name; null where that is not known.")]
    old: Annotated[_Digest, _means("What the destination named before.")]
    missing: Annotated[tuple[str, ...], _means("Platforms that the spec lists and the source lacks.")]
    bytes: Bytes
    requests: Annotated[
        dict[Operation, int],
        _means(
            "Those of its transfers and writes; not those that read images before, nor pings, tokens, redirects and"
            " probes, nor repetitions."
        ),
    ]
    seconds: Annotated[
        float, msgspec.Meta(ge=0, description="From the start of what was first done for it to its end.")
    ]


class Pair(_Wire, frozen=True, kw_only=True):
    """A number of the plan's bill, null where nothing was planned, and what it came to."""

    predicted: _Count | None
    observed: _Count


class Sums(_Wire, frozen=True, kw_only=True):
    """The bytes of the whole run."""

    downloaded: Pair
    uploaded: Pair
    mounted: Pair
    found: _Count


class Mounted(_Wire, frozen=True, kw_only=True):
    """Mounts from other repositories: those that the registry answered, and those that it did."""

    asked: _Count
    granted: _Count


class Place(_Wire, frozen=True, kw_only=True):
    """How it went at one registry, from the first request on."""

    requests: Annotated[
        dict[Operation, Pair],
        _means(
            "The bill knows no pings, tokens, redirects, re-reads of tags and looks for repositories, nor what a repair"
            " asks before it; repetitions are in neither number."
        ),
    ]
    retries: Annotated[int, msgspec.Meta(ge=0, description="Requests that failed and were sent again.")]
    pauses: Annotated[int, msgspec.Meta(ge=0, description="How often all requests there waited together.")]
    paused_seconds: _Seconds
    read_window: Annotated[int, msgspec.Meta(ge=0, description="Requests under way at once, as of the end.")]
    write_window: _Count
    mounts: Mounted
    learned: Annotated[tuple[str, ...], _means("What it turned out to differ in.")]


class Surprise(_Wire, frozen=True, kw_only=True):
    """Where a registry did not do what the plan expected; the work went another way."""

    node: Annotated[str, _means("An id, as in the graph.")]
    text: str


class Broken(_Wire, frozen=True, kw_only=True):
    """A rule of mmgraph.toml that is broken."""

    rule: str
    demand: str
    destination: str
    node: str | None
    found: str


class Report(_Wire, frozen=True, kw_only=True):
    """What ``mmgraph apply --report`` writes."""

    format: Literal["mmgraph-report"]
    version: Annotated[str, msgspec.Meta(pattern=r"^1\.[0-9]+$")]
    tool: str
    complete: Annotated[bool, _means("Whether every destination is confirmed to name what it shall.")]
    seconds: Annotated[
        float,
        msgspec.Meta(ge=0, description="Since the run began: of reading and waiting, and of carrying out."),
    ]
    outcomes: Annotated[dict[Outcome, int], _means("How many specs ended so.")]
    specs: Annotated[
        tuple[Spec, ...],
        _means(
            "In the order of the set. What several specs need counts for the one that entered the graph first, and what"
            " is read for several registries at once for the first of those; so the bytes of all specs, and the"
            " requests that move blobs and write manifests, add up to those of the run."
        ),
    ]
    bytes: Sums
    registries: dict[str, Place]
    surprises: tuple[Surprise, ...]
    violations: tuple[Broken, ...]
    notes: Annotated[tuple[str, ...], _means("What is left of quotas, which repositories are new.")]


def account_json(
    account: Account,
    bill: Bill | None,
    *,
    tool: str,
    violations: Sequence[Violation] = (),
    notes: Sequence[str] = (),
) -> bytes:
    """The whole account; ``bill`` is that of the plan, None where there is none. Sizes are bytes."""
    predicted = bill.requests if bill is not None else None
    report = Report(
        format="mmgraph-report",
        version=FORMAT_VERSION,
        tool=tool,
        complete=account.complete,
        seconds=_rounded(account.seconds),
        outcomes={outcome: account.count(outcome) for outcome in Outcome},
        specs=tuple(map(_spec, account.ends)),
        bytes=Sums(
            downloaded=_pair(bill.downloaded if bill else None, account.downloaded),
            uploaded=_pair(bill.uploaded if bill else None, account.uploaded),
            mounted=_pair(bill.mounted if bill else None, account.mounted),
            found=account.found,
        ),
        registries={
            str(registry): _place(registry, account, predicted) for registry in _registries(account, bill)
        },
        surprises=tuple(Surprise(node=id_of(each.node), text=each.text) for each in account.surprises),
        violations=tuple(Broken(**fields) for fields in violation_objects(violations)),
        notes=tuple(notes),
    )
    # ASCII, with escapes for all else: causes are foreign text, and this may be looked at on a terminal.
    return json.dumps(msgspec.to_builtins(report), indent=1).encode() + b"\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of it, version 1; fields may be added to it."""
    made = msgspec.json.schema(Report)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mmgraph report", **made}


def _spec(end: End) -> Spec:
    goal, effort = end.goal, end.effort
    return Spec(
        src=str(goal.spec.source),
        dst=str(goal.spec.destination),
        platforms=tuple(map(str, goal.spec.platforms)),
        outcome=end.outcome,
        cause=end.cause,
        digest=_text(goal.root),
        old=_text(goal.old),
        missing=tuple(map(str, goal.missing)),
        bytes=Bytes(
            downloaded=effort.downloaded,
            uploaded=effort.uploaded,
            mounted=effort.mounted,
            found=effort.found,
        ),
        requests=dict(effort.requests),
        seconds=_rounded(effort.seconds),
    )


def _registries(account: Account, bill: Bill | None) -> list[Registry]:
    return sorted({*account.requests, *account.traffic, *account.mounts, *(bill.requests if bill else ())})


def _place(
    registry: Registry, account: Account, bill: Mapping[Registry, Mapping[Operation, int]] | None
) -> Place:
    traffic = account.traffic.get(registry, Traffic())
    observed = Counter(account.requests.get(registry, {}))
    predicted = None if bill is None else Counter(bill.get(registry, {}))
    mounts = account.mounts.get(registry)
    return Place(
        requests={
            operation: _pair(None if predicted is None else predicted[operation], observed[operation])
            for operation in Operation
            if observed[operation] or (predicted and predicted[operation])
        },
        retries=max(0, traffic.retries),
        pauses=traffic.pauses,
        paused_seconds=_rounded(traffic.paused_seconds),
        read_window=traffic.read_window,
        write_window=traffic.write_window,
        mounts=Mounted(asked=mounts.asked if mounts else 0, granted=mounts.granted if mounts else 0),
        learned=tuple(
            str(each).removeprefix(f"{registry} ") for each in account.quirks if each.registry == registry
        ),
    )


def _pair(predicted: int | None, observed: int) -> Pair:
    return Pair(predicted=predicted, observed=observed)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _rounded(seconds: float) -> float:
    return round(max(0.0, seconds), 3)
