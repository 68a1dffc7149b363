"""What an answer means for repetition: one table by operation, status and error code, and the numbers that bound it.

Owns the rules alone, pure. Must not know sockets, clocks or how long anybody has waited already.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from mmgraph.registry import wire
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

TRIES: Final = 8
"""How often one request is tried in all. Where every fifth fails, five tries lose one in 3,000, which a large set
notices; eight lose one in 400,000."""
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
MAX_WAIT: Final = 600.0
"""Seconds; the longest pause a registry may ask for, unless told another."""
PATIENCE: Final = 15.0
"""Seconds that a transfer waits for a pause while it holds slots, buffers and other targets up; after more it goes
back to the queue holding nothing. Not above ``tee.PATIENCE``, after which it would be cut loose instead."""
ROUNDS_UNHEARD: Final = 5
"""Rounds without a connection after which a registry that has never answered is given up: seconds, since that is
mostly a wrong name or a port."""
ROUNDS_HEARD: Final = 8
"""The same for one that has answered before: up to a minute and a half, as a restart takes."""
FREE_RETRIES: Final = 100
RETRIES_PER_REQUEST: Final = 0.5
"""A run may repeat 100 requests at a registry and one more for every two it sends. Every fifth request failing
takes one for every four; where more than a third fail, repeating is what keeps the registry down."""

WRITES: Final = frozenset(
    {
        Operation.POST_UPLOAD,
        Operation.PROBE,
        Operation.PATCH_UPLOAD,
        Operation.GET_UPLOAD,
        Operation.PUT_BLOB,
        Operation.PUT_MANIFEST,
        Operation.DELETE_UPLOAD,
    }
)
_MANIFESTS: Final = frozenset({Operation.GET_MANIFEST, Operation.HEAD_MANIFEST})


class Verdict(Enum):
    """What is to be done about an answer that is not the one hoped for."""

    FINAL = auto()
    """The registry means it: repeating changes nothing."""
    AGAIN = auto()
    """A hiccup: the same request once more after a while; each costs one of ``TRIES``."""
    WAIT = auto()
    """Too much was asked: wait at the gate with everybody else; waiting is bounded by time, not by tries."""
    SESSION = auto()
    """The upload session is gone: the same bytes into a new one; each costs one of ``TRIES``."""


class Row(NamedTuple):
    """One rule: the operations (none: all), statuses and codes (none: any) it is about, what they mean, and why."""

    operations: Collection[Operation]
    statuses: Collection[int]
    codes: Collection[str]
    verdict: Verdict
    source: str


_ERRORS: Final = range(400, 600)
_REFUSALS: Final = range(400, 500)
_BYTES: Final = frozenset({Operation.PUT_BLOB, Operation.PATCH_UPLOAD})
_ALL: Final[Collection[Operation]] = ()
_ANY: Final[Collection[str]] = ()

TABLE: Final = (
    Row(_ALL, {429}, _ANY, Verdict.WAIT, "RFC 6585, 4; distribution-spec, 'Error Codes', code-14"),
    Row(
        _ALL,
        _ERRORS,
        {"TOOMANYREQUESTS"},
        Verdict.WAIT,
        "go-containerregistry transport/error.go: the code counts whatever the status",
    ),
    Row(
        _ALL,
        _REFUSALS,
        {"DENIED", "UNSUPPORTED", "NAME_UNKNOWN", "NAME_INVALID"},
        Verdict.FINAL,
        "distribution-spec, 'Error Codes': about the repository or the user, not about the session or the moment",
    ),
    Row(
        _BYTES,
        {401},
        {"UNAUTHORIZED"},
        Verdict.FINAL,
        "distribution-spec, code-9: said with a fresh token, too",
    ),
    Row(_BYTES, {401}, _ANY, Verdict.SESSION, "moby/moby#33558: GitLab's tokens run out in mid-upload"),
    Row(
        _BYTES,
        {404, 416},
        _ANY,
        Verdict.SESSION,
        "Azure/azure-sdk-for-python#29738; distribution handlers/blobupload.go: state or offset is lost",
    ),
    Row(
        _BYTES,
        _REFUSALS,
        {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"},
        Verdict.SESSION,
        "distribution-spec, code-2 and code-3; go-containerregistry counts the latter as temporary",
    ),
    Row(
        _ALL,
        {408, 499, 500, 502, 503, 504},
        _ANY,
        Verdict.AGAIN,
        "regclient, containers, oras-go repeat them",
    ),
    Row(
        _ALL,
        {520, 521, 522, 523, 524},
        _ANY,
        Verdict.AGAIN,
        "Cloudflare before an origin that fails; go-containerregistry repeats 522",
    ),
    Row(_ALL, _ERRORS, {"UNAVAILABLE"}, Verdict.AGAIN, "go-containerregistry transport/error.go"),
    # UNKNOWN says nothing: Harbor has sent "not found" under it (goharbor/harbor#18611); its status decided above.
)
"""The first row that fits decides; none: final."""


def classify(operation: Operation, status: int, codes: Collection[str] = ()) -> Verdict:
    """Return what an answer of 400 or more means."""
    for row in TABLE:
        if (
            status in row.statuses
            and (not row.operations or operation in row.operations)
            and (not row.codes or any(code in row.codes for code in codes))
        ):
            return row.verdict
    return Verdict.FINAL


def unclear(status: int) -> bool:
    """Whether a write that was answered so may have taken effect: the answer is of something between, or of a crash."""
    return status in (408, 499) or status >= 500


def overloaded(status: int) -> bool:
    """Whether the answer says that less should be under way."""
    return status in (429, 503)


_ATTEMPT_LIMIT: Final = 30


def delay_bound(attempt: int) -> float:
    """Return the seconds below which the wait after the failed try number ``attempt`` is drawn."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(attempt, 1) - 1, _ATTEMPT_LIMIT))


def asked_to_wait(headers: Mapping[str, str], wall: float) -> float | None:
    """Return the seconds that an answer asks to wait at the time ``wall``; None where it does not say.

    Docker Hub has sent ``X-Retry-After`` as a Unix time, and ``Retry-After`` in seconds later (docker/docs#22916).
    """
    found = wire.retry_after(headers.get("Retry-After"), wall)
    return found if found is not None else wire.retry_after(headers.get("X-Retry-After"), wall)


def limited_class(operation: Operation, codes: Collection[str]) -> Operation | None:
    """Return the operation that alone is limited at a registry that counts manifests; None: all of the registry is.

    Docker Hub says so with a code; its second limit, against abuse, is about everything, and answers without one.
    """
    if operation is Operation.GET_MANIFEST and "TOOMANYREQUESTS" in codes:
        return operation
    return None


_READ_ONLY: Final = re.compile(r"read[- ]?only", re.IGNORECASE)


def read_only(status: int, message: str) -> bool:
    """Whether a refused write says that all of the registry takes none: distribution, Quay and Harbor have the mode."""
    return status in (403, 405, 503) and _READ_ONLY.search(message) is not None


_AMOUNT: Final = re.compile(r"([0-9]{1,9})[ \t]*(?:;[ \t]*w=([0-9]{1,9}))?")


class Amount(NamedTuple):
    """A number of units within so many seconds, as Docker Hub's rate headers have it: ``100;w=21600``."""

    units: int
    seconds: int


def amount(header: str | None) -> Amount | None:
    """Return what ``ratelimit-limit`` or ``ratelimit-remaining`` says; None for junk and where no window is named."""
    match = _AMOUNT.fullmatch((header or "").strip())
    return Amount(int(match[1]), int(match[2])) if match and match[2] else None
