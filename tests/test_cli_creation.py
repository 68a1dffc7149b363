"""Repositories to create, on the command line: listed, written down, created as mmgraph.toml says and not otherwise."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmgraph.cli import main
from mmgraph.registry.repositories import KEY
from mmgraph.server import FaultPlan, MemoryStorage, Quirks, RegistryServer
from mmgraph.store import Operation
from tests.support.command import Command, Done
from tests.support.images import Maker
from tests.support.mirror import spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class Mirror(Command):
    """mmgraph between a source with three images and a registry that takes nothing for what is not in ``created``."""

    def __init__(self, directory: Path, source: RegistryServer, destination: RegistryServer) -> None:
        super().__init__(directory)
        self.destination = destination
        make = Maker(source.storage)
        names = [f"team/{name}" for name in ("web", "api", "api")]
        for number, name in enumerate(names):
            make.image(name, b"base", b"layer %d" % number, tags=(f"v{number}",))
        pairs = [f"{name}:v{number}" for number, name in enumerate(names)]
        lines = (spec(f"{source.address}/{pair}", f"{destination.address}/{pair}") for pair in pairs)
        self.write("specs.json", "".join(lines))
        program = self.write("create", '#!/bin/sh\necho "$1" >>runs\necho "$1" >>created\n')
        program.chmod(0o755)

    def configure(self, command: object = None) -> None:
        """Let mmgraph.toml name what creates repositories."""
        words = json.dumps(command or ["./create", "{repository}"])
        self.write("mmgraph.toml", f'[registry."{self.destination.address}"]\ncreate-repository = {words}\n')

    def runs(self) -> list[str]:
        """The repositories that the program was called for."""
        path = self.directory / "runs"
        return sorted(path.read_text().splitlines()) if path.exists() else []

    async def hushed(self, *arguments: str, variables: Mapping[str, str] | None = None) -> Done:
        """Run a command; the registry is called HOST in what it says."""
        done = await self.run(*arguments, variables=variables or {})
        host = self.destination.address
        return Done(done.code, done.out.replace(host, "HOST"), done.err.replace(host, "HOST"))


@asynccontextmanager
async def mirror(directory: Path) -> AsyncIterator[Mirror]:
    """Start both registries."""
    quirks = Quirks(created_in=str(directory / "created"))
    async with (
        RegistryServer(MemoryStorage()) as source,
        RegistryServer(MemoryStorage(), faults=FaultPlan(quirks=quirks)) as destination,
    ):
        yield Mirror(directory, source, destination)


LISTED = [
    "2 repositories to create:",
    "  HOST/team/api",
    "  HOST/team/web",
    "  apply runs ./create for each, before its first upload",
    "",
]


@pytest.mark.parametrize("command", [("plan",), ("apply", "-n")])
async def test_they_come_first(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Before anything else of the plan, and nothing is run for it."""
    async with mirror(tmp_path) as made:
        made.configure()
        done = await made.hushed(*command)
    assert (0, LISTED, []) == (done.code, done.out.splitlines()[:5], made.runs())


async def test_a_registry_that_is_not_known_to_want_it(tmp_path: Path) -> None:
    """Without a command, and without a row in the table of quirks, nobody knows that there is anything to create."""
    async with mirror(tmp_path) as made:
        done = await made.hushed("plan")
    assert (0, False) == (done.code, "to create" in done.out)


@pytest.mark.parametrize("arguments", [(), ("-q", "--out", "x.plan")])
async def test_they_are_written_down(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """One a line, sorted, in every form of the command; the file is empty once there are none."""
    async with mirror(tmp_path) as made:
        made.configure()
        before = await made.run("plan", "--missing-repositories", "missing", *arguments)
        listed = (tmp_path / "missing").read_text().replace(made.destination.address, "HOST")
        await made.run("apply")
        await made.run("plan", "--missing-repositories", "missing", *arguments)
        after = (tmp_path / "missing").read_text()
    assert ("HOST/team/api\nHOST/team/web\n", "", "") == (listed, after, before.err)


async def test_to_standard_output(tmp_path: Path) -> None:
    """As the other files of a plan."""
    async with mirror(tmp_path) as made:
        made.configure()
        done = await made.hushed("plan", "-q", "--missing-repositories", "-")
    assert (2, "HOST/team/api\nHOST/team/web\n") == (done.code, done.out)


async def test_apply_creates_them(tmp_path: Path) -> None:
    """Once each, and says so while it goes and at the end."""
    async with mirror(tmp_path) as made:
        made.configure()
        done = await made.hushed("apply")
        again = await made.hushed("apply")
    notices = sorted(line for line in done.err.splitlines() if "created repository" in line)
    expected = [f"notice: created repository HOST/team/{name} with ./create" for name in ("api", "web")]
    assert (0, expected, ["team/api", "team/web"]) == (done.code, notices, made.runs())
    assert ("2 repositories created.", "mmgraph: nothing to do\n") == (done.out.splitlines()[-2], again.out)


async def test_a_failure(tmp_path: Path) -> None:
    """Is one cause for all that is to go there, in the program's own words."""
    async with mirror(tmp_path) as made:
        made.write("create", '#!/bin/sh\necho "not you" >&2\nexit 7\n')
        made.configure()
        done = await made.hushed("apply", "--only", "team/web:v0")
    words = (
        "HOST has no repository team/web, and ./create, the create-repository of mmgraph.toml, failed with exit"
        ' code 7; it said "not you"'
    )
    assert (1, True) == (done.code, words in " ".join(done.out.split())), done.out


async def test_without_a_command(tmp_path: Path) -> None:
    """The refusal says what to do."""
    async with mirror(tmp_path) as made:
        done = await made.hushed("apply")
    assert (1, True) == (done.code, "create the repository there first" in " ".join(done.out.split()))


async def test_a_saved_plan_takes_the_command_of_the_directory(tmp_path: Path) -> None:
    """It has names alone: what creates them is the applying user's to say."""
    async with mirror(tmp_path) as made:
        made.configure(["./not-this-one", "{repository}"])
        await made.run("plan", "--out", "mirror.plan")
        raw = (tmp_path / "mirror.plan").read_text()
        names = json.loads(raw)["missingRepositories"]
        made.configure()
        shown = await made.hushed("plan", "mirror.plan")
        done = await made.run("apply", "mirror.plan")
    assert ([f"{made.destination.address}/team/{name}" for name in ("api", "web")], False) == (
        names,
        "not-this-one" in raw,
    )
    assert (LISTED, 0, ["team/api", "team/web"]) == (shown.out.splitlines()[2:7], done.code, made.runs())


async def test_a_saved_plan_asks_which_are_absent(tmp_path: Path) -> None:
    """Once a repository, and the registry itself: then no upload is asked for before there is a place for it."""
    async with mirror(tmp_path) as made:
        made.configure()
        await made.run("plan", "--out", "mirror.plan")
        made.destination.log.clear()
        done = await made.run("apply", "mirror.plan")
        asked = sorted(request.repository for request in made.destination.log.select(Operation.GET_TAGS))
        posts = [request.status for request in made.destination.log.select(Operation.POST_UPLOAD)]
    assert (0, ["team/api", "team/web"]) == (done.code, asked)
    assert (8, 0) == (len(posts), posts.count(404))


async def test_a_saved_plan_is_not_believed_what_is_absent(tmp_path: Path) -> None:
    """A repository that is there by now is not created."""
    async with mirror(tmp_path) as made:
        made.configure()
        await made.run("plan", "--out", "mirror.plan")
        made.write("created", "team/api\nteam/web\n")
        done = await made.run("apply", "mirror.plan")
    assert (0, []) == (done.code, made.runs())


async def test_a_saved_plan_where_nothing_is_configured(tmp_path: Path) -> None:
    """No program is run, whatever there was when the plan was made."""
    async with mirror(tmp_path) as made:
        made.configure()
        await made.run("plan", "--out", "mirror.plan")
        (tmp_path / "mmgraph.toml").unlink()
        shown = await made.hushed("plan", "mirror.plan")
        done = await made.run("apply", "mirror.plan")
    assert (1, [], True) == (done.code, made.runs(), "each must be there before apply" in shown.out)


async def test_a_plan_with_a_command_is_refused(tmp_path: Path) -> None:
    """Before anything is asked or run."""
    async with mirror(tmp_path) as made:
        made.configure()
        await made.run("plan", "--out", "mirror.plan")
        document = json.loads((tmp_path / "mirror.plan").read_text())
        made.write("mirror.plan", json.dumps({**document, "createRepository": ["./create", "{repository}"]}))
        done = await made.run("apply", "mirror.plan")
    assert (1, True, []) == (done.code, "unknown field `createRepository`" in done.err, made.runs())


async def test_neither_flag_nor_environment(tmp_path: Path) -> None:
    """Only the file can name a program."""
    async with mirror(tmp_path) as made:
        words = f'{made.destination.address}=["./create", "{{repository}}"]'
        flag = await made.run("apply", "--create-repository", words)
        variable = await made.run("apply", variables={"MMGRAPH_CREATE_REPOSITORY": words})
        made.write("mmgraph.toml", "create-repository = ['./create', '{repository}']")
        loose = await made.run("apply")
    assert (1, 1, 1, []) == (flag.code, variable.code, loose.code, made.runs())
    assert (True, True, True) == (
        "--create-repository" in flag.err,
        'no option is called "MMGRAPH_CREATE_REPOSITORY"' in variable.err,
        "is not an option that can stand outside a table" in loose.err,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[registry.'a.example']\ncreate-repository = 'aws {repository}'",
            'mmgraph.toml: create-repository of "a.example" is no command: write a list of words, the program',
        ),
        ("[registry.'a.example']\ncreate-repository = ['aws']", "write a list of words"),
        (
            "".join(
                f"[registry.'{name}']\n{KEY} = ['x', '{{repository}}']\n"
                for name in ("a.example", "A.EXAMPLE")
            ),
            'create-repository of "a.example" is there twice: "A.EXAMPLE" is the same',
        ),
        ("[registry.'a.example']\ncreate-repositories = []", "create-repository can"),
    ],
)
def test_a_wrong_command(
    text: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One error that names the file, the key and what to write instead."""
    monkeypatch.chdir(tmp_path)
    Path("mmgraph.toml").write_text(text)
    Path("none.json").write_text("")
    code = main(["plan", "none.json"])
    assert (1, True) == (code, message in (err := capsys.readouterr().err)), err
