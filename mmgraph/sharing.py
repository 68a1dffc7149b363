"""A GET that several registries share: whose works it serves, and who is no longer waited for. Starts nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from mmgraph.plan import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mmgraph.names import Registry
    from mmgraph.ready import Route
    from mmgraph.store import Limits
    from mmgraph.work import Work

_PATIENCE: Final = 15.0
"""Seconds of a registry's pauses, in the sum of a run, that others wait for the sake of a GET together: before it has
begun. After that they wait for ``tee.PATIENCE``, and while slots are held for ``registry.policy.PATIENCE``. Each bounds
another wait, and none needs to equal this one."""


def sharing(works: Iterable[Work]) -> Iterator[tuple[Work, ...]]:
    """Works of one digest, those together that share a GET: uploads to distinct registries."""
    groups: list[list[Work]] = []
    met: Counter[Registry] = Counter()
    for work in works:
        if work.action is not Action.UPLOAD:
            yield (work,)
            continue
        if met[work.registry] == len(groups):
            groups.append([])
        groups[met[work.registry]].append(work)
        met[work.registry] += 1
    yield from map(tuple, groups)


class Lateness:
    """How long those that share a GET have waited for one of their registries."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held_up: dict[tuple[Route, Registry], tuple[float, float]] = {}
        """What a registry's pauses came to at the last look, and how long a route has waited through them in all."""

    def look(self, route: Route, works: Sequence[Work]) -> list[Work]:
        """Take note of who is held up, and return those of ``works`` whose registries alone keep the others back.

        By pauses of more than a moment, in the sum of a run: one that asks for a second again and again is no better
        than one that asks for a minute.
        """
        limits = self._limits
        busy = [registry for registry in route.writes if not limits.free((), (registry,))]
        others = [registry for registry in route.writes if registry not in busy]
        waiting = bool(others) and limits.free(route.reads, others)
        late = []
        for registry in busy:
            paused = limits.held_up(registry)
            before, waited = self._held_up.get((route, registry), (paused, 0.0))
            waited += paused - before if waiting else 0.0
            self._held_up[route, registry] = (paused, waited)
            if waiting and max(waited, limits.paused(registry)) > _PATIENCE:
                late.append(registry)
        return [work for work in works if work.registry in late]
