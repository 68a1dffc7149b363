"""What a registry does wrong on purpose: rules that pick requests, actions that spoil them, quirks.

Knows what a rule matches and when it fires; how an action is done on the wire is the exchange's business.
"""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mmgraph.server.log import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """Answer ``status`` without doing anything; ``body`` replaces the distribution-spec's JSON."""

    status: int
    code: str = "UNKNOWN"
    headers: Mapping[str, str] = {}
    body: bytes | None = None


class Delay(msgspec.Struct, frozen=True, tag=True):
    """Wait before doing anything."""

    seconds: float


class Stall(msgspec.Struct, frozen=True, tag=True):
    """Fall silent and keep the connection: after ``after`` bytes of the answer's body, or the request's."""

    after: int = 0
    request: bool = False


class Cut(msgspec.Struct, frozen=True, tag=True):
    """Close the connection after ``after`` bytes of the answer's body, or of the request's."""

    after: int
    request: bool = False


class Drop(msgspec.Struct, frozen=True, tag=True):
    """Close the connection without an answer: before anything is done or, with ``effect``, after it."""

    effect: bool = False


class Flip(msgspec.Struct, frozen=True, tag=True):
    """Change the answer's body in one byte."""

    offset: int = 0


class Headers(msgspec.Struct, frozen=True, tag=True):
    """Set headers of the answer, or leave out those set to None."""

    values: Mapping[str, str | None]


class Redirect(msgspec.Struct, frozen=True, tag=True):
    """Answer with a redirect; ``to`` may have ``{path}``, ``{repository}`` and ``{name}`` in it."""

    to: str
    status: int = 307


Action = Refuse | Delay | Stall | Cut | Drop | Flip | Headers | Redirect


class Rule(msgspec.Struct, frozen=True):
    """Which requests an action is done to.

    All given must match; ``repository`` and ``name`` (tag, digest or session) are globs, ``mount`` is
    whether a mount is asked for. Of the matching requests the first ``skip`` are spared and the next
    ``count`` hit (None: all), each with ``probability``.
    """

    action: Action
    kind: Kind | None = None
    method: str | None = None
    repository: str = "*"
    name: str = "*"
    mount: bool | None = None
    skip: int = 0
    count: int | None = None
    probability: float = 1.0

    def matches(self, method: str, kind: Kind, repository: str, name: str, mount: bool) -> bool:
        """Whether a request is one that this rule counts."""
        return (
            self.kind in {None, kind}
            and self.method in {None, method}
            and self.mount in {None, mount}
            and fnmatch.fnmatchcase(repository, self.repository)
            and fnmatch.fnmatchcase(name, self.name)
        )


class Quirks(msgspec.Struct, frozen=True):
    """How a registry differs from others without being wrong, as seen in the wild."""

    blind_self_mount: bool = False
    """A mount from the repository itself is never granted."""
    mount_needs_manifest: bool = False
    """A mount is granted only where a manifest in the other repository refers to the blob (ECR)."""
    no_mounts: bool = False
    """No mount is ever granted."""
    head_unsupported: bool = False
    """HEAD of a manifest answers 405."""
    accepts_missing: bool = False
    """A manifest is taken although what it refers to is not there."""
    no_digest_header: bool = False
    """No answer has Docker-Content-Digest (ECR, distribution/distribution#3792)."""
    blobs_are_nothing: bool = False
    """A repository that holds blobs and no manifest has no tag list: 404, as distribution answers."""
    created_in: str = ""
    """A file that lists the repositories that somebody has created, one a line; others take nothing (ECR)."""
    location_prefix: str = ""
    """Put before the path of an upload's Location, such as ``http://127.0.0.1:5001``."""
    location_query: str = ""
    """The query of an upload's Location, such as ``_state=a%2Bb%3D``; clients must keep it as it is."""
    patch_status: int = 202
    """What a PATCH is answered with: 201 at ECR (regclient, ``blob.go``)."""
    least_chunk: int = 0
    """The ``OCI-Chunk-Min-Length`` of open sessions; 0: none is named."""
    body_limit: int = 0
    """Bytes of an upload's body above which it is refused (413), as by a proxy; 0: none are too many."""

    def is_created(self, repository: str) -> bool:
        """Whether the repository may be written to; the file is read anew each time."""
        if not self.created_in:
            return True
        path = Path(self.created_in)
        return path.exists() and repository in path.read_text().splitlines()


class FaultPlan:
    """Rules asked in order, each counting for itself; every rule that fires does its action. Repeatable."""

    def __init__(self, rules: Iterable[Rule] = (), *, quirks: Quirks | None = None, seed: int = 0) -> None:
        self.quirks = quirks or Quirks()
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._rules: list[Rule] = []
        self._seen: list[int] = []
        self._fired: list[int] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """Append a rule, also while the server runs."""
        self._rules.append(rule)
        self._seen.append(0)
        self._fired.append(0)

    def clear(self) -> None:
        """Take all rules away; quirks stay."""
        self._rules, self._seen, self._fired = [], [], []

    @property
    def fired(self) -> tuple[int, ...]:
        """How often each rule has fired, in the order of the rules."""
        return tuple(self._fired)

    def actions(
        self, method: str, kind: Kind, repository: str = "", name: str = "", *, mount: bool = False
    ) -> tuple[Action, ...]:
        """Return what is to be done to this request, and count it."""
        actions: list[Action] = []
        for index, rule in enumerate(self._rules):
            if not rule.matches(method, kind, repository, name, mount):
                continue
            self._seen[index] += 1
            if self._seen[index] <= rule.skip:
                continue
            if rule.count is not None and self._seen[index] > rule.skip + rule.count:
                continue
            if rule.probability < 1 and self._random.random() >= rule.probability:
                continue
            self._fired[index] += 1
            actions.append(rule.action)
        return tuple(actions)
