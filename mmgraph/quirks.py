"""What is different at one registry: a table by host, what the user says, and what a run finds out.

Owns the quirks with their evidence; the rest of the code asks here and nowhere else. Must not know sockets, nor what
follows from a quirk.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from mmgraph.names import HUB, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class Quirk(StrEnum):
    """A way in which a registry differs; its value is what a report says of it."""

    MOUNTS_COMMITTED = "mounts only blobs that a committed manifest refers to"
    REPOSITORY_FIRST = "takes no push to a repository that has not been created"
    COUNTS_MANIFESTS = "counts GETs of manifests, neither HEADs nor blobs"
    WHOLE_UPLOADS = "takes a blob in one piece only"
    LEAST_CHUNK = "takes pieces of a blob of at least so many bytes"
    BLIND = "does not show by mounting what it has: asked by HEAD before each upload"
    TOKEN_BY_GET = "has a token service that refuses POST: asked by GET"  # noqa: S105 - words, no secret
    DUMB_HEAD = "tells no digest to HEAD of a manifest: asked by GET"
    SILENT_401 = "asks for a login without saying how: asked by a ping"
    REFUSES_MOUNTS = "answers a mount with an error"
    OTHER_ALGORITHM = "names a committed blob by another algorithm than it was sent by: looked for by HEAD"


class Row(NamedTuple):
    """One line of the table: which hosts (a pattern that the whole host name fits), which quirk, and who says so."""

    hosts: re.Pattern[str]
    quirk: Quirk
    evidence: str
    value: int = 1
    """The bytes of ``LEAST_CHUNK``; of the others, that it is so."""


_ECR: Final = re.compile(
    r"[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9-]+"
    r"\.(?:amazonaws\.com(?:\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)"
)
_ECR_PUBLIC: Final = re.compile(r"public\.ecr\.aws|ecr-public\.aws\.com")
_GHCR: Final = re.compile(r"ghcr\.io")
_GOOGLE: Final = re.compile(r"(?:[a-z]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev")
_HUB: Final = re.compile(re.escape(HUB))

TABLE: Final = (
    Row(_ECR, Quirk.MOUNTS_COMMITTED, "Amazon ECR's documentation of blob mounting"),
    Row(_ECR, Quirk.REPOSITORY_FIRST, "Amazon ECR's documentation of pushing an image"),
    Row(_ECR, Quirk.LEAST_CHUNK, "Amazon ECR's API reference, UploadLayerPart; dotnet/sdk#33019", 5 << 20),
    Row(_ECR_PUBLIC, Quirk.REPOSITORY_FIRST, "Amazon ECR Public's documentation of pushing an image"),
    Row(
        _ECR_PUBLIC,
        Quirk.WHOLE_UPLOADS,
        "dotnet/sdk#33019: its answers to PATCH name the same range each time, and no session tells its offset",
    ),
    Row(_GHCR, Quirk.WHOLE_UPLOADS, "oras-project/rust-oci-client#35: PATCH of more than 4 MiB is refused"),
    Row(_GOOGLE, Quirk.WHOLE_UPLOADS, "dotnet/sdk-container-builds#287: no uploads in pieces"),
    Row(_HUB, Quirk.COUNTS_MANIFESTS, 'Docker\'s documentation, "Docker Hub pull usage and limits"'),
)


def evidence(registry: Registry, quirk: Quirk) -> str:
    """Return who says so of the registry; empty where the table does not."""
    host = registry.partition(":")[0]
    return next((row.evidence for row in TABLE if row.quirk is quirk and row.hosts.fullmatch(host)), "")


class Learned(msgspec.Struct, frozen=True):
    """A quirk that showed itself in this run."""

    registry: Registry
    quirk: Quirk
    value: int = 1

    def __str__(self) -> str:
        amount = f" ({self.value})" if self.value != 1 else ""
        return f"{self.registry} {self.quirk}{amount}"


class Quirks:
    """The quirks of the registries of a run.

    ``declared`` are what the user says, on top of the table; ``heard`` is told, once each, of what the run learns.
    """

    def __init__(
        self,
        declared: Mapping[Quirk, Collection[Registry]] | None = None,
        heard: Callable[[Learned], None] = lambda learned: None,
    ) -> None:
        self._heard = heard
        self._known: dict[Registry, dict[Quirk, int]] = {}
        self._learned: list[Learned] = []
        for quirk, registries in (declared or {}).items():
            for registry in registries:
                self._of(registry)[quirk] = 1

    def has(self, registry: Registry, quirk: Quirk) -> bool:
        """Whether the registry is known to be so."""
        return quirk in self._of(registry)

    def value(self, registry: Registry, quirk: Quirk) -> int:
        """Return how much of it, 0 where the registry is not known to be so."""
        return self._of(registry).get(quirk, 0)

    def learn(self, registry: Registry, quirk: Quirk, value: int = 1) -> None:
        """An answer has shown it; once known, the greatest value holds."""
        known = self._of(registry)
        if known.get(quirk, 0) >= value:
            return
        known[quirk] = value
        learned = Learned(registry, quirk, value)
        self._learned = [old for old in self._learned if (old.registry, old.quirk) != (registry, quirk)]
        self._learned.append(learned)
        self._heard(learned)

    @property
    def learned(self) -> tuple[Learned, ...]:
        """What this run has found out, in that order."""
        return tuple(self._learned)

    def _of(self, registry: Registry) -> dict[Quirk, int]:
        known = self._known.get(registry)
        if known is None:
            host = registry.partition(":")[0]
            rows = (row for row in TABLE if row.hosts.fullmatch(host))
            known = self._known[registry] = {row.quirk: row.value for row in rows}
        return known
