"""Signals: SIGINT and SIGTERM once let a run come to an end, twice stop it at once. Knows not what runs."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mmgraph.cli import INTERRUPTED
from mmgraph.cli.output import say

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """What signals do: the first calls ``drain`` where one is set, the next one stops, others kill."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self.drain: Callable[[], None] | None = None
        self.count = 0
        self.stopped = False
        self._stop = stop

    def signal(self) -> None:
        """Take note of a signal."""
        self.count += 1
        if self.drain is not None and self.count == 1:
            self.drain()
            return
        self.stopped = True
        say("interrupted")
        self._stop()
        # What is left is tidying up; whoever signals once more does not want to wait for it.
        self.close()

    def open(self) -> None:
        """Begin to listen."""
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self.signal)

    def close(self) -> None:
        """Let signals do what they did before."""
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop what aiohttp says of connections that nobody closed: of a run that is stopped at once, that is no news."""
    if os.environ.get("MMGRAPH_DEBUG") or not str(context.get("message")).startswith("Unclosed "):
        loop.default_exception_handler(context)


def run(work: Callable[[Interrupts], Coroutine[Any, Any, int]]) -> int:
    """Run ``work`` on an event loop and return its exit code, or that of an interrupted run."""

    async def guarded() -> int:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().set_exception_handler(_quiet)
        interrupts = Interrupts(task.cancel)
        interrupts.open()
        try:
            return await work(interrupts)
        except (asyncio.CancelledError, Exception):
            if interrupts.stopped:
                return INTERRUPTED
            raise
        finally:
            interrupts.close()

    return asyncio.run(guarded())
