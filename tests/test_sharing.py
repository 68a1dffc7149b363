"""A GET that several registries share: who goes along, and who is no longer waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mmgraph.graph import Kind, Node
from mmgraph.names import Registry, Repository
from mmgraph.plan import Action, Step
from mmgraph.ready import Route
from mmgraph.sharing import Lateness, sharing
from mmgraph.work import Work
from tests.support.images import digest
from tests.test_client import client

if TYPE_CHECKING:
    from tests.support.clock import ManualClock

BLOB = digest(b"one blob")
A, B = Registry("a.example"), Registry("b.example")
TOGETHER = Route((Registry("src.example"),), (A, B))


def work(registry: Registry, path: str, action: Action = Action.UPLOAD) -> Work:
    """Return what is to be done about the blob in a repository."""
    return Work(Node(Kind.BLOB, Repository(registry, path), BLOB), Step(action, "absent"), 1)


def groups(*works: Work) -> list[list[str]]:
    """Return who goes together, by repository."""
    return [[str(each.node.repository) for each in group] for group in sharing(works)]


def test_uploads_to_distinct_registries_share_a_get() -> None:
    """One to each registry, in the order in which they came."""
    assert [["a.example/x", "b.example/x"]] == groups(work(A, "x"), work(B, "x"))


def test_two_uploads_to_one_registry_are_two_gets() -> None:
    """The second goes with the next one of the other registry, if there is one."""
    found = groups(work(A, "x"), work(A, "y"), work(B, "x"), work(A, "z"), work(B, "y"))
    assert [["a.example/x", "b.example/x"], ["a.example/y", "b.example/y"], ["a.example/z"]] == found


def test_a_mount_goes_alone() -> None:
    """It reads nothing, so that there is nothing to share."""
    mounts = [work(A, "x", Action.MOUNT), work(B, "x", Action.MOUNT)]
    assert [["a.example/x"], ["b.example/x"]] == groups(*mounts)


@pytest.mark.parametrize(("seconds", "late"), [(10, []), (16, ["b.example/x"])])
async def test_who_is_paused_for_long_is_left_behind(
    clock: ManualClock, seconds: float, late: list[str]
) -> None:
    """One registry asks to wait while the other one and the source have room: after fifteen seconds it goes alone."""
    async with client(clock, jobs=1) as limits:
        limits._gate.pause(B, seconds)
        found = Lateness(limits).look(TOGETHER, [work(A, "x"), work(B, "x")])
    assert late == [str(each.node.repository) for each in found]


async def test_nobody_is_late_while_the_others_have_no_room(clock: ManualClock) -> None:
    """Where the source has no place left it is not the pause that is waited for."""
    async with client(clock, jobs=1) as limits:
        limits._gate.pause(B, 60)
        limits.take(TOGETHER.reads, [])
        found = Lateness(limits).look(TOGETHER, [work(A, "x"), work(B, "x")])
    assert [] == found
