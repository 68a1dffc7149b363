"""docs/recipes.md: every command is run and prints what stands there; the files of CI do what they say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.command import ROOT
from tests.support.mirror import Pair, pair
from tests.support.readme import Tour, comparable
from tests.support.recipes import RECIPES, blocks, write_files

GITHUB, GITLAB = ".github/workflows/mirror.yml", ".gitlab-ci.yml"
_STUB: Final = '#!/bin/sh\necho "$(basename "$0") $*" >> "$HOME/called"\n'
"""A program of CI's surroundings that is not what is tested, and says that it was called."""


def test_every_command_prints_what_stands_below_it(tmp_path: Path) -> None:
    """Top to bottom in one directory, with the page's files, the commands give the page's output."""
    told = [block.steps for block in blocks() if block.language == "console"]
    with Tour(tmp_path, checkout=False) as tour:
        write_files(tmp_path, tour)
        actual = [[(step.command, comparable(tour.run(step.command))) for step in steps] for steps in told]
    assert [[(step.command, comparable(step.output)) for step in steps] for steps in told] == actual


def test_no_block_is_left_out() -> None:
    """A block is a file with a name or commands to run, so that none escapes these tests."""
    assert [] == [block.body for block in blocks() if bool(block.name) is (block.language == "console")]


def test_every_link_leads_somewhere() -> None:
    """The list at the top has every chapter, and other pages are there."""
    text = RECIPES.read_text()
    chapters = re.findall(r"^## (.+)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^a-z0-9 -]", "", chapter.lower()).replace(" ", "-") for chapter in chapters]
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert anchors == [link[1:] for link in links if link.startswith("#")][: len(anchors)]
    assert [] == [link for link in links if link[1:] not in anchors and not (RECIPES.parent / link).exists()]


class Runner:
    """What a runner of CI gives to jobs: a checkout, variables, and programs that are not what is tested."""

    def __init__(self, directory: Path, both: Pair, variables: dict[str, str]) -> None:
        self.directory = directory
        programs = directory / "programs"
        programs.mkdir()
        for name in ("pip", "gh"):
            (programs / name).write_text(_STUB)
            (programs / name).chmod(0o755)
        (directory / "specs.json").write_text(both.spec("app:v1"))
        self._variables = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "CI": "true",
            **variables,
        }

    async def run(self, script: str, variables: dict[str, str]) -> None:
        """Run lines as runners do, until one fails."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-o", "pipefail", "-c", script),
            cwd=self.directory,
            env={**self._variables, **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert (0, b"") == (process.returncode, b"" if process.returncode == 0 else output)

    def file(self, name: str) -> str:
        """What a file of the checkout holds."""
        return (self.directory / name).read_text()

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.directory / name).exists()


@pytest.fixture
async def both() -> AsyncIterator[Pair]:
    """A source with an image, and a destination without any."""
    async with pair() as registries:
        registries.make.image("app", b"layer", tags=("v1",))
        yield registries


def _file(name: str) -> Any:
    """A file of the page as CI reads it; BaseLoader, since YAML's own takes the key "on" for a truth value."""
    return yaml.load(next(block.body for block in blocks() if block.name == name), yaml.BaseLoader)


async def _github(runner: Runner, event: str) -> None:
    """Run the steps of a workflow that are commands; actions are GitHub's, and one directory is all that they fill."""
    workflow = _file(GITHUB)
    known = {"github.token": "secret", "github.repository": "owner/repository", "github.event.number": "7"}
    conditions = {
        "always()": True,
        **{f"github.event_name == '{e}'": e == event for e in ("push", "pull_request")},
    }

    def value(text: str) -> str:
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda match: known[match[1]], text)

    assert event in workflow["on"]
    for job in workflow["jobs"].values():
        steps = (
            [step for step in job["steps"] if "run" in step] if conditions[job.get("if", "always()")] else []
        )
        for step in steps:
            if conditions[step.get("if", "always()")]:
                variables = {**workflow.get("env", {}), **step.get("env", {})}
                await runner.run(value(step["run"]), {name: value(text) for name, text in variables.items()})


@pytest.fixture
def github(tmp_path: Path, both: Pair) -> Runner:
    """A runner of GitHub's."""
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    return Runner(tmp_path, both, variables)


async def test_a_pull_request_gets_the_plan(github: Runner, both: Pair) -> None:
    """On GitHub a pull request gets the plan as a comment and as the summary, and nothing is written."""
    await _github(github, "pull_request")
    called = [line for line in github.file("called").splitlines() if line.startswith("gh ")]
    assert (["gh pr comment 7 --edit-last --body-file plan.md"], {}) == (called, both.tags("app"))
    assert ([True, True], False) == (
        [f"{both.destination.address}/app:v1" in github.file(name) for name in ("plan.md", "summary.md")],
        github.has("report.json"),
    )


async def test_a_push_to_github_applies_the_plan(github: Runner, both: Pair) -> None:
    """On GitHub the default branch gets its plan and carries it out, and leaves a report and what failed."""
    await _github(github, "push")
    kept = [
        path
        for job in _file(GITHUB)["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact")
        for path in step["with"]["path"].split()
    ]
    assert (["v1"], []) == (list(both.tags("app")), [path for path in kept if not github.has(path)])
    assert (True, "") == (json.loads(github.file("report.json"))["complete"], github.file("failed.json"))


async def _gitlab(runner: Runner, variables: dict[str, str]) -> None:
    """Run the jobs of a pipeline whose rules are met, stage by stage."""
    pipeline = _file(GITLAB)
    met = {
        '$CI_PIPELINE_SOURCE == "merge_request_event"': variables["CI_PIPELINE_SOURCE"]
        == "merge_request_event",
        "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH": variables.get("CI_COMMIT_BRANCH")
        == variables["CI_DEFAULT_BRANCH"],
    }
    jobs = [job for job in pipeline.values() if isinstance(job, dict) and "script" in job]
    for stage in pipeline["stages"]:
        for job in jobs:
            if job["stage"] == stage and any(met[rule["if"]] for rule in job["rules"]):
                lines = [*pipeline["default"]["before_script"], *job["script"]]
                await runner.run("\n".join(lines), {**pipeline["variables"], **variables})


@pytest.fixture
def gitlab(tmp_path: Path, both: Pair) -> Runner:
    """A runner of GitLab's."""
    return Runner(tmp_path, both, {"GITLAB_CI": "true", "CI_DEFAULT_BRANCH": "main"})


async def test_a_merge_request_gets_the_plan(gitlab: Runner, both: Pair) -> None:
    """On GitLab a merge request gets the plan as an artifact, and nothing is written."""
    await _gitlab(gitlab, {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_DEFAULT_BRANCH": "main"})
    assert (True, False, {}) == (
        both.destination.address in gitlab.file("plan.html"),
        gitlab.has("report.json"),
        both.tags("app"),
    )


async def test_a_push_to_gitlab_applies_the_plan(gitlab: Runner, both: Pair) -> None:
    """On GitLab the default branch gets its plan and carries it out, and leaves a report and what failed."""
    push = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"}
    await _gitlab(gitlab, push)
    jobs = [_file(GITLAB)[name] for name in ("plan", "apply")]
    kept = [path for job in jobs for path in job["artifacts"]["paths"]]
    assert (["v1"], []) == (list(both.tags("app")), [path for path in kept if not gitlab.has(path)])
    assert (True, "") == (json.loads(gitlab.file("report.json"))["complete"], gitlab.file("failed.json"))


def test_cron_calls_what_is_there() -> None:
    """Each line of the table has five fields of time and calls a file of this page."""
    lines = next(block.body for block in blocks() if block.name == "crontab").splitlines()
    commands = [
        re.fullmatch(r"(?:[0-9*/-]+\s+){5}bash /srv/mirror/(\S+)(?: failed.json)?", line)
        for line in lines[2:]
    ]
    assert ["mirror.sh"] * 2 == [command[1] if command else "" for command in commands]
