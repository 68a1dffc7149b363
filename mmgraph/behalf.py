"""On whose behalf requests are sent: who works for somebody says so here, and each request is then counted for them.

Owns one context variable, which every task inherits that is started meanwhile. Must not know who they are.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mmgraph.names import Registry
    from mmgraph.store import Operation

    Count = Callable[[Registry, Operation, int], None]

_COUNT: Final[ContextVar[Count | None]] = ContextVar("count", default=None)


@contextmanager
def behalf(count: Count) -> Iterator[None]:
    """Tell ``count`` of what is sent in this context: registry, operation and 1, or -1 where it was not sent after all.

    What is shared, such as a token that several wait for, is told to the one in whose context it is asked for.
    """
    token = _COUNT.set(count)
    try:
        yield
    finally:
        _COUNT.reset(token)


def tell(registry: Registry, operation: Operation, change: int) -> None:
    """Count a request for those on whose behalf it is sent; for nobody where nobody has said so."""
    count = _COUNT.get()
    if count is not None:
        count(registry, operation, change)
