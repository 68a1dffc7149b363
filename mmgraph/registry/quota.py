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

    common = True


class Quota(msgspec.Struct, frozen=True):
    """One registry's quota as it stands: the units in all and those left, and the seconds of its window.

    ``spent`` are this run's GETs of manifests, ``needed`` the manifests that were not read for its sake: what they
    list is not known yet, so that as many are needed at the least.
    """

    limit: int
    left: int
    seconds: int
    spent: int
    needed: int

    @property
    def words(self) -> str:
        """In one line, for people."""
        limit = f" of {self.limit} in {self.seconds / 3600:.3g} h" if self.limit else ""
        needed = f", at least {self.needed} still needed" if self.needed else ""
        read = f"{self.spent} manifest{'' if self.spent == 1 else 's'} read"
        return f"quota: {read}{limit}, {self.left} left{needed}"


class _Quota:
    """What is known of one registry's."""

    __slots__ = ("deferred", "left", "limit", "seconds", "spent", "under_way")

    def __init__(self) -> None:
        self.limit: int | None = None
        """None: the registry has told of none."""
        self.left = 0
        self.seconds = 0
        self.spent = 0
        self.under_way = 0
        self.deferred: set[str] = set()

    @property
    def scarce(self) -> bool:
        """Whether only the reserve is left."""
        return self.limit is not None and self.left <= max(1, round(self.limit * _RESERVE))


class Quotas:
    """The quotas of all registries of a run."""

    def __init__(self) -> None:
        self._quotas: dict[Registry, _Quota] = {}

    @property
    def known(self) -> dict[Registry, Quota]:
        """The quotas of those registries that have told of one."""
        return {
            registry: Quota(quota.limit, quota.left, quota.seconds, quota.spent, len(quota.deferred))
            for registry, quota in self._quotas.items()
            if quota.limit is not None
        }

    def heard(self, registry: Registry, headers: Mapping[str, str]) -> None:
        """Take note of the headers of an answer about a manifest."""
        told = headers.get("ratelimit-limit")
        if told is None:  # as nearly always
            return
        limit, left = amount(told), amount(headers.get("ratelimit-remaining"))
        if limit is None or left is None:
            return
        quota = self._quota(registry)
        quota.limit, quota.seconds = limit.units, limit.seconds
        # The requests that are still on their way will be counted, and the answer does not know of them.
        quota.left = max(0, left.units - quota.under_way)

    def exhausted(self, registry: Registry) -> None:
        """The registry itself says that nothing is left."""
        quota = self._quota(registry)
        quota.limit, quota.left = quota.limit or 0, 0

    def spend(self, registry: Registry, name: str) -> None:
        """The manifest ``name`` is about to be read; raise ``QuotaError`` where only the reserve is left."""
        quota = self._quota(registry)
        if quota.scarce:
            quota.deferred.add(name)
            raise _deferred(registry, quota)
        quota.left -= 1
        quota.spent += 1
        quota.under_way += 1

    def answered(self, registry: Registry, name: str) -> None:
        """The answer to a request that was ``spend`` on is there, or will not come."""
        quota = self._quota(registry)
        quota.under_way -= 1
        quota.deferred.discard(name)

    def _quota(self, registry: Registry) -> _Quota:
        return self._quotas.setdefault(registry, _Quota())


def _deferred(registry: Registry, quota: _Quota) -> QuotaError:
    limit = (
        f"{quota.limit} manifests in {quota.seconds / 3600:.3g} h" if quota.limit else "no more manifests now"
    )
    return QuotaError(
        f"deferred: quota: {registry} allows {limit}, and what is left of them is kept in reserve; run again later,"
        " and it goes on from what has been read",
        status=429,
    )
