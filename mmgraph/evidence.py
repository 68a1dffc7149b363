"""Evidence: what is known of the destinations, each piece with its reason. Dated, not a fact: a registry that later
says otherwise is right. Knows not how it was learnt, and decides nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from mmgraph.reasons import Why, say

if TYPE_CHECKING:
    from mmgraph.names import Digest, Registry, Repository


class Presence(Enum):
    """Whether a blob or manifest is in a repository, as far as is known."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Known(NamedTuple):
    """A presence and the reason to believe it."""

    presence: Presence
    reason: str


class Look(NamedTuple):
    """What a destination's name was seen to point at (None: nothing), and when on the run's clock."""

    digest: Digest | None
    at: float


UNKNOWN = Known(Presence.UNKNOWN, say(Why.UNKNOWN))
_REPOSITORY_ABSENT = Known(Presence.ABSENT, say(Why.NO_REPOSITORY))
_ABSENT = Known(Presence.ABSENT, say(Why.ABSENT))


class Evidence:
    """What has been learnt so far."""

    def __init__(self) -> None:
        self.looks: dict[tuple[Repository, str], Look] = {}
        """By repository and tag (or digest, where the goal has no tag)."""
        self.failures: dict[tuple[Repository, str], str] = {}
        """The names that could not be looked at, and the registry's reason."""
        self._holds: dict[Repository, dict[Digest, str]] = {}
        self._lacks: dict[Repository, set[Digest]] = {}
        self._empty: set[Repository] = set()
        self._holders: dict[tuple[Registry, Digest], Repository] = {}

    def hold(self, repository: Repository, digest: Digest, reason: str) -> None:
        """``digest`` is in ``repository``; the first reason stays. A registry's own no outweighs a list."""
        if digest in self._lacks.get(repository, ()):
            return
        self._holds.setdefault(repository, {}).setdefault(digest, reason)
        self._holders.setdefault((repository.registry, digest), repository)

    def lack(self, repository: Repository, digest: Digest) -> None:
        """The registry answered 404 for ``digest`` in ``repository``."""
        self._holds.get(repository, {}).pop(digest, None)
        if self._holders.get((repository.registry, digest)) == repository:
            del self._holders[repository.registry, digest]
        self._lacks.setdefault(repository, set()).add(digest)

    def empty(self, repository: Repository) -> None:
        """``repository`` has no tag list: it is taken to hold nothing."""
        self._empty.add(repository)

    def absent(self, repository: Repository) -> bool:
        """Whether ``repository`` has no tag list, and nothing was found in it either."""
        return repository in self._empty and not self._holds.get(repository)

    def known(self, repository: Repository, digest: Digest) -> Known:
        """What is known of ``digest`` in ``repository``."""
        if digest in self._lacks.get(repository, ()):
            return _ABSENT
        reason = self._holds.get(repository, {}).get(digest)
        if reason is not None:
            return Known(Presence.PRESENT, reason)
        return _REPOSITORY_ABSENT if repository in self._empty else UNKNOWN

    def holder(self, registry: Registry, digest: Digest) -> Repository | None:
        """A repository of ``registry`` that holds ``digest``: the first that was found to."""
        return self._holders.get((registry, digest))
