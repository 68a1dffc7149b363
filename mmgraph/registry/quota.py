"""What a registry lets one have of its manifests: Docker Hub's rate headers, what was spent and what is left.

Owns the sums of one run, pure. Must not know who asks. Nothing is hard-coded: the published numbers have changed
several times (docker/docs#20774, #21905, #22134).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from mmgraph.errors import RegistryError
from mmgraph.registry.policy import amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmgraph.names import Registry

_RESERVE: Final = 0.05
"""The part of the limit that is left alone: for the few GETs that carrying out may need, and for whoever else shares
the address or the account."""


class QuotaError(RegistryError):
    """The registry's quota of manifests is spent up to the reserve: to be gone on with by another run."""


class Quota(msgspec.Struct):
    """One registry's quota as it stands: units in all, those left, and the window's seconds.

    ``spent`` are this run's GETs of manifests, ``deferred`` those that were not sent.
    """

    limit: int
    left: int
    seconds: int
    spent: int = 0
    deferred: int = 0

    @property
    def reserve(self) -> int:
        """Units that are left alone."""
        return max(1, round(self.limit * _RESERVE))


class Quotas:
    """The quotas of all registries that tell of one."""

    def __init__(self) -> None:
        self.known: dict[Registry, Quota] = {}
        self._spent: dict[Registry, int] = {}
        self._under_way: dict[Registry, int] = {}

    def heard(self, registry: Registry, headers: Mapping[str, str]) -> None:
        """Take note of the headers of an answer about a manifest."""
        limit, left = amount(headers.get("ratelimit-limit")), amount(headers.get("ratelimit-remaining"))
        if limit is None or left is None:
            return
        # The requests that are still on their way will be counted, and the answer does not know of them.
        units = max(0, left.units - self._under_way.get(registry, 0))
        known = self.known.get(registry)
        if known is None:
            spent = self._spent.get(registry, 0)
            self.known[registry] = Quota(limit.units, units, limit.seconds, spent)
        else:
            known.limit, known.left, known.seconds = limit.units, units, limit.seconds

    def spend(self, registry: Registry) -> None:
        """A manifest is about to be read; raise ``QuotaError`` where only the reserve is left."""
        quota = self.known.get(registry)
        if quota is not None:
            if quota.left <= quota.reserve:
                raise self.deferred(registry)
            quota.left -= 1
            quota.spent += 1
        self._spent[registry] = self._spent.get(registry, 0) + 1
        self._under_way[registry] = self._under_way.get(registry, 0) + 1

    def answered(self, registry: Registry) -> None:
        """The answer to a request that was ``spend`` on is there, or will not come."""
        self._under_way[registry] = self._under_way.get(registry, 1) - 1

    def exhausted(self, registry: Registry) -> None:
        """The registry itself says that nothing is left."""
        quota = self.known.setdefault(registry, Quota(0, 0, 0, self._spent.get(registry, 0)))
        quota.left = 0

    def deferred(self, registry: Registry) -> QuotaError:
        """Return the error of one more manifest that is not read now."""
        quota = self.known[registry]
        quota.deferred += 1
        limit = (
            f"{quota.limit} manifests in {quota.seconds / 3600:.0f} h"
            if quota.limit
            else "a number of manifests"
        )
        return QuotaError(
            f"deferred: quota: {registry} allows {limit}, and what is left is kept in reserve; run again later, and"
            " it goes on from what has been read",
            status=429,
        )
