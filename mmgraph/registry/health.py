"""What a run has learnt of registries that fail: who answers, who refuses, and how much repeating is left.

Owns that memory, pure: it is told of answers and says what follows. Must not know sockets or clocks, and waits for
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mmgraph.registry.policy import (
    FREE_RETRIES,
    RETRIES_PER_REQUEST,
    ROUNDS_HEARD,
    ROUNDS_UNHEARD,
    WRITES,
    read_only,
)

if TYPE_CHECKING:
    from mmgraph.errors import RegistryError
    from mmgraph.names import Registry, Repository
    from mmgraph.store import Operation

_READ_ONLY_REPOSITORIES: Final = 2
"""Repositories that answer 405 to every write before a registry that has taken none is read-only: Harbor's proxy
projects answer so each for itself (goharbor/harbor#12731)."""


class _Health:
    """One registry."""

    __slots__ = ("answered", "failed_at", "read_only", "requests", "retries", "rounds", "written")

    def __init__(self) -> None:
        self.answered = False
        self.rounds = 0
        self.failed_at = float("-inf")
        self.requests = 0
        self.retries = 0
        self.written = False
        self.read_only: set[Repository] = set()


class Health:
    """The memory of one run."""

    def __init__(self) -> None:
        self._registries: dict[Registry, _Health] = {}
        self._spent: set[tuple[Repository, bool]] = set()
        self._refused: dict[Repository, RegistryError] = {}

    # Whether the registry is there

    def answered(self, registry: Registry) -> None:
        """An answer came, whatever it says."""
        health = self._health(registry)
        health.answered, health.rounds = True, 0

    def unreachable(self, registry: Registry, began: float, now: float, *, silent: bool) -> int | None:
        """A request that ``began`` then got no answer; return the round that this makes, None where it tells nothing.

        Many fail together when a registry goes away: those that began before the last round ended belong to it.
        ``silent``: there was a connection. That tells of the registry only before it has ever answered, since later
        it may be the one request that it cannot stand (I6).
        """
        health = self._health(registry)
        if silent and health.answered:
            return None
        if began > health.failed_at:
            health.rounds += 1
            health.failed_at = now
        return health.rounds

    def gone(self, registry: Registry) -> bool:
        """Whether so many rounds in a row failed that nobody is there."""
        health = self._health(registry)
        return health.rounds >= (ROUNDS_HEARD if health.answered else ROUNDS_UNHEARD)

    # How much repeating is left

    def sent(self, registry: Registry) -> None:
        """A request was sent for the first time."""
        self._health(registry).requests += 1

    def may_repeat(self, repository: Repository, operation: Operation) -> bool:
        """Whether another retry is within what a run may spend at the registry; it is counted as spent then.

        A repository in which a request has failed to its last try gets none until something works there again, so
        that one that fails for ever does not spend what the others need (I6).
        """
        return (repository, operation in WRITES) not in self._spent and self.may_spend(repository.registry)

    def may_spend(self, registry: Registry) -> bool:
        """Whether the registry's share of a run's retries has another one, which is counted as spent then."""
        health = self._health(registry)
        if health.retries >= FREE_RETRIES + health.requests * RETRIES_PER_REQUEST:
            return False
        health.retries += 1
        return True

    def given_up(self, repository: Repository, operation: Operation) -> None:
        """A request has failed to its last try."""
        self._spent.add((repository, operation in WRITES))

    def worked(self, repository: Repository, operation: Operation) -> None:
        """A request was answered as it should be."""
        if self._spent:
            self._spent.discard((repository, operation in WRITES))
        if operation in WRITES:
            self._health(repository.registry).written = True

    # Whether it takes writes

    def refused(self, repository: Repository, error: RegistryError) -> bool:
        """No upload may begin in ``repository``; return whether that goes for all of its registry."""
        health = self._health(repository.registry)
        self._refused[repository] = error
        if error.status == 405:
            health.read_only.add(repository)
        if read_only(error.status, str(error)):
            return True
        return not health.written and len(health.read_only) >= _READ_ONLY_REPOSITORIES

    def refusal(self, repository: Repository) -> RegistryError | None:
        """Return why no upload may begin in ``repository``, None where it may."""
        return self._refused.get(repository)

    def _health(self, registry: Registry) -> _Health:
        health = self._registries.get(registry)
        if health is None:
            health = self._registries[registry] = _Health()
        return health
