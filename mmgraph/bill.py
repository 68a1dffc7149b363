"""The bill: what a plan's execution moves, spares and asks, in bytes and requests. Pure arithmetic; prints nothing.

``naive`` is what the specs would cost one by one, into empty places: over the specs, the bytes of the distinct blobs
of each closure (no manifests, no foreign layers). Each of these (spec, blob) pairs counts in exactly one class, so
``naive == present + mounted + uploaded + shared``, always.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from enum import StrEnum

import msgspec

from mmgraph.names import Registry
from mmgraph.store import Operation


class Share(StrEnum):
    """The class of a (spec, blob) pair: the first that fits, in this order."""

    PRESENT = "present"
    """The repository has it already."""
    MOUNTED = "mounted"
    """It comes from another repository of the registry, without its bytes."""
    UPLOADED = "uploaded"
    """Its bytes are sent."""
    SHARED = "shared"
    """An earlier spec of the set puts it in that repository already."""


class Bill(msgspec.Struct, frozen=True):
    """A plan's cost. Bytes count blobs; requests count those of ``apply`` of that plan when mounts are granted."""

    naive: int = 0
    present: int = 0
    mounted: int = 0
    uploaded: int = 0
    shared: int = 0
    downloaded: int = 0
    """Bytes read from sources: each digest once, however many registries want it."""
    requests: dict[Registry, dict[Operation, int]] = {}
    """Pings, tokens, redirect hops, re-reads of tags, looks for repositories, what a repair asks before it and retries
    are not in it; the one probe per registry is, and so are chunks, as long as they were when the plan was made."""

    @property
    def missing(self) -> int:
        """What is not there yet."""
        return self.naive - self.present

    @property
    def saved(self) -> int:
        """What deduplication spares of ``missing``."""
        return self.mounted + self.shared


class Tally:
    """A bill in the making."""

    def __init__(self) -> None:
        self._shares: Counter[Share] = Counter()
        self._downloaded = 0
        self._requests: defaultdict[Registry, Counter[Operation]] = defaultdict(Counter)

    def share(self, share: Share, size: int) -> None:
        """Count one (spec, blob) pair of ``size`` bytes."""
        self._shares[share] += size

    def download(self, size: int) -> None:
        """Count one GET of ``size`` bytes."""
        self._downloaded += size

    def request(self, registry: Registry, operation: Operation, times: int = 1) -> None:
        """Count requests."""
        self._requests[registry][operation] += times

    def bill(self) -> Bill:
        """The bill as it stands."""
        return Bill(
            naive=self._shares.total(),
            present=self._shares[Share.PRESENT],
            mounted=self._shares[Share.MOUNTED],
            uploaded=self._shares[Share.UPLOADED],
            shared=self._shares[Share.SHARED],
            downloaded=self._downloaded,
            requests={
                registry: dict(sorted(counts.items())) for registry, counts in sorted(self._requests.items())
            },
        )
