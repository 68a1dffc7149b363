"""A plan's whole life as one story: between real registries, with skopeo as the other one who writes there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks.fleet import TINY, Fleet
from mmgraph.store import Operation
from tests.support import oracle, skopeo
from tests.support.command import Command, Done
from tests.support.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Iterator

BEHIND: Final = ("team-0/service-2:v1", "mirror/team-0/service-0:v1")
"""What skopeo copies while the plan is with its reviewer, and to where: a tag that the plan says is absent."""
BROKEN: Final = "team-0/service-1"
WRITES: Final = frozenset({Operation.POST_UPLOAD, Operation.PUT_BLOB, Operation.PUT_MANIFEST})


class Story:
    """Two registries, a fleet in the first, and the directory that somebody works in."""

    def __init__(self, directory: Path, source: Distribution, destination: Distribution) -> None:
        self.source = source
        self.destination = destination
        self.fleet = Fleet(TINY)
        self.fleet.push(source.address)
        self.command = Command(directory)
        self.tell("specs.json", "mirror/")
        self.forget()

    def tell(self, name: str, prefix: str) -> None:
        """Write the specs of the fleet for repositories with that prefix."""
        self.command.write(name, self.fleet.specs(self.source.address, self.destination.address, prefix))

    def forget(self) -> None:
        """Count requests from here on."""
        self.source.forget()
        self.destination.forget()

    async def run(self, *arguments: str) -> Done:
        """Run mmgraph as a process of its own."""
        return await self.command.run(*arguments)

    def read(self, name: str) -> Any:
        """Read a file of JSON."""
        return json.loads((self.command.directory / name).read_text())

    def lines(self, name: str) -> list[str]:
        """The destinations of a file of specs, without their registry."""
        text = (self.command.directory / name).read_text()
        return [json.loads(line)["dst"].partition("/")[2] for line in text.splitlines()]

    @property
    def written(self) -> dict[Operation, int]:
        """How often the destination was written to."""
        return {kind: count for kind, count in self.destination.counts().items() if kind in WRITES}

    def blob(self) -> Path:
        """Where the source keeps a layer that only the broken repository has."""
        others = {digest for name in self.fleet.tags if name != BROKEN for digest in self.fleet.held(name)[1]}
        only = next(digest for digest in self.fleet.held(BROKEN)[1] if digest not in others)
        algorithm, _, digits = only.partition(":")
        place = self.source.storage / "docker/registry/v2/blobs" / algorithm / digits[:2] / digits
        return place / "data"


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """The registries of one story."""
    with Distribution() as source, Distribution() as destination:
        yield Story(tmp_path, source, destination)


async def test_plans_from_review_to_the_last_spec(story: Story) -> None:
    """A plan is saved, overtaken, refused, made anew and comes to its bill; what failed is fed back and completes."""
    await _a_plan_is_overtaken(story)
    await _what_failed_is_fed_back(story)


async def _a_plan_is_overtaken(story: Story) -> None:
    """Saved, overtaken by skopeo, refused, planned again and applied, a plan comes to what its bill says."""
    planned = await story.run("plan", "specs.json", "--out", "mirror.plan", "--detailed-exitcode")
    assert (2, "", {}) == (planned.code, planned.err, story.written)

    source, destination = BEHIND
    await skopeo.copy(f"{story.source.address}/{source}", f"{story.destination.address}/{destination}")
    story.forget()

    refused = await story.run("apply", "mirror.plan", "--report", "refused.json", "--failed", "failed.json")
    assert (1, True, {}) == (refused.code, "Saved plan is stale" in refused.err, story.written)
    assert [True, False] == [f"{destination}" in refused.err, story.read("refused.json")["complete"]]
    assert story.lines("specs.json") == story.lines("failed.json")

    again = await story.run("plan", "specs.json", "--out", "mirror.plan")
    assert (0, True) == (again.code, ", 1 to move, " in again.out)
    story.forget()

    applied = await story.run("apply", "mirror.plan", "--report", "report.json", "--failed", "failed.json")
    assert (0, [], {"copied": 8, "moved": 1}) == (
        applied.code,
        story.lines("failed.json"),
        {outcome: count for outcome, count in story.read("report.json")["outcomes"].items() if count},
    )
    _compare(story, story.read("mirror.plan")["bill"], story.read("report.json"))
    assert story.fleet.closures("mirror/") == await oracle.walk(story.destination.address)


def _compare(story: Story, bill: Any, report: Any) -> None:
    """The report is the bill, and both are what the registries have logged."""
    assert [] == report["surprises"]
    moved = {kind: bill[kind] for kind in ("downloaded", "uploaded", "mounted")}
    assert [moved, moved] == [
        {kind: report["bytes"][kind][side] for kind in moved} for side in ("predicted", "observed")
    ]
    assert bill["requests"] == {
        registry: {kind: pair["predicted"] for kind, pair in of["requests"].items() if pair["predicted"]}
        for registry, of in report["registries"].items()
    }
    for registry in (story.source, story.destination):
        observed = {
            kind: pair["observed"]
            for kind, pair in report["registries"][registry.address]["requests"].items()
        }
        probes = observed.pop(Operation.PROBE, 0)  # on the wire an upload that asks for a mount
        if probes:
            observed[Operation.POST_UPLOAD] += probes
        assert observed == registry.counts()


async def _what_failed_is_fed_back(story: Story) -> None:
    """A broken repository leaves its own specs in failed.json, and those complete the set once it is repaired."""
    blob = story.blob()
    hidden = blob.rename(blob.with_name("hidden"))
    story.tell("second.json", "second/")

    first = await story.run("apply", "second.json", "--report", "report.json", "--failed", "failed.json")
    ends = {each["dst"].partition("/")[2]: each["outcome"] for each in story.read("report.json")["specs"]}
    left = [name for name, outcome in ends.items() if outcome not in {"copied", "moved", "unchanged"}]
    assert (1, left) == (first.code, story.lines("failed.json"))
    assert {f"second/{BROKEN}"} == {name.partition(":")[0] for name in left}

    hidden.rename(blob)
    story.forget()
    second = await story.run("apply", "failed.json", "--failed", "failed.json")
    assert (0, []) == (second.code, story.lines("failed.json"))
    assert {f"second/{BROKEN}"} == {
        each.repository for each in story.destination.requests() if each.repository
    }
    assert (0, story.fleet.closures("mirror/") | story.fleet.closures("second/")) == (
        (await story.run("verify", "second.json", "--level", "full")).code,
        await oracle.walk(story.destination.address),
    )
