"""What a run remembers of registries that fail: rounds, budgets, refusals."""

from __future__ import annotations

from mmgraph.errors import RegistryError
from mmgraph.names import Registry, Repository
from mmgraph.registry.health import Health
from mmgraph.registry.policy import FREE_RETRIES, ROUNDS_HEARD, ROUNDS_UNHEARD
from mmgraph.store import Operation

A, B = Registry("a.example.com"), Registry("b.example.com")
APP, LIB, BASE = (Repository(A, path) for path in ("app", "lib", "base"))
GET, POST = Operation.GET_BLOB, Operation.POST_UPLOAD


def rounds_until_gone(health: Health) -> int:
    """Count the rounds without a connection until the registry is given up."""
    count = 0
    while not health.gone(A):
        health.unreachable(A, began=count + 0.5, now=count + 1.0, silent=False)
        count += 1
    return count


def test_a_registry_that_never_answered_is_given_up_sooner() -> None:
    """A wrong name is told apart from a registry that restarts."""
    unheard, heard = Health(), Health()
    heard.answered(A)
    assert (ROUNDS_UNHEARD, ROUNDS_HEARD) == (rounds_until_gone(unheard), rounds_until_gone(heard))


def test_many_that_fail_together_are_one_round() -> None:
    """A hundred requests that were under way when it went away say no more than one."""
    health = Health()
    for number in range(100):
        health.unreachable(A, began=number / 100, now=1.0, silent=False)
    assert False is health.gone(A)


def test_any_answer_ends_the_count() -> None:
    """The rounds must be in a row."""
    health = Health()
    for number in range(ROUNDS_HEARD - 1):
        health.unreachable(A, began=number + 0.5, now=number + 1.0, silent=False)
    health.answered(A)
    assert 1 == health.unreachable(A, began=100.0, now=101.0, silent=False)


def test_a_request_that_is_not_answered_says_nothing_of_a_registry_that_is_there() -> None:
    """Where there was a connection it may be that one request which the registry cannot stand."""
    health = Health()
    health.answered(A)
    assert None is health.unreachable(A, began=1.0, now=2.0, silent=True)


def test_the_budget_of_a_run() -> None:
    """A hundred retries are free, and every two requests earn one more; then there are none."""
    health = Health()
    for _ in range(40):
        health.sent(A)
    taken = 0
    while health.may_repeat(APP, GET):
        taken += 1
    assert (FREE_RETRIES + 20, True) == (taken, health.may_repeat(Repository(B, "app"), GET))


def test_a_repository_that_fails_for_ever_gets_no_more_retries() -> None:
    """After a request has failed to its last try, its repository alone does without, until something works there."""
    health = Health()
    health.given_up(APP, POST)
    before = (
        health.may_repeat(APP, POST),
        health.may_repeat(APP, GET),
        health.may_repeat(LIB, POST),
    )
    health.worked(APP, POST)
    assert (False, True, True, True) == (*before, health.may_repeat(APP, POST))


def test_a_refused_repository_is_remembered() -> None:
    """The error of the first refusal is there for whoever asks next, and for that repository alone."""
    health = Health()
    error = RegistryError("no", status=403)
    whole = health.refused(APP, error)
    assert (False, error, None) == (whole, health.refusal(APP), health.refusal(LIB))


def test_a_read_only_registry_by_its_words() -> None:
    """One refusal is enough where it says that all of the registry takes no writes."""
    assert True is Health().refused(APP, RegistryError("The system is in read only mode", status=403))


def test_a_read_only_registry_by_its_status() -> None:
    """405 at two repositories of a registry that has taken no write yet: it takes none."""
    health = Health()
    error = RegistryError("UNSUPPORTED", status=405)
    assert [False, False, True] == [health.refused(each, error) for each in (APP, APP, LIB)]


def test_a_registry_that_takes_writes_is_not_read_only() -> None:
    """Where one write was taken, 405 is about the repository: Harbor's proxy projects answer so."""
    health = Health()
    health.worked(BASE, POST)
    error = RegistryError("UNSUPPORTED", status=405)
    assert [False, False, False] == [health.refused(each, error) for each in (APP, LIB, BASE)]
