"""What all tests share: real registries, a fleet, and a clock."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet import SMALL, TINY, Fleet
from tests.support.clock import ManualClock
from tests.support.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOLD = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Take lines that are shown at the end of the whole run: how many cases a test has been through."""
    return pytestconfig.stash.setdefault(TOLD, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what tests have told, also where a run is quiet."""
    if told := config.stash.get(TOLD, []):
        terminalreporter.section("counted")
        for line in told:
            terminalreporter.write_line(line)


@pytest.fixture
def start_registry() -> Iterator[Callable[..., Distribution]]:
    """Start real registries, with the arguments of ``Distribution``; all of them stop with the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Distribution(*arguments, **options))


@pytest.fixture(scope="session")
def small_fleet() -> Fleet:
    """Make the fleet ``SMALL`` once; nobody changes it."""
    return Fleet(SMALL)


@pytest.fixture(scope="session")
def tiny_fleet() -> Fleet:
    """Make the fleet ``TINY`` once; nobody changes it."""
    return Fleet(TINY)


@pytest.fixture
def clock() -> ManualClock:
    """Hand out a clock that stands still until told otherwise."""
    return ManualClock()
