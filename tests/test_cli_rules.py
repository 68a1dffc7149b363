"""Rules of mmgraph.toml at the command line: how they are spelled, and what is not sent where one is broken."""

from __future__ import annotations

import asyncio
import json
import tomllib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from mmgraph.cli.rules import parse, rules_for
from mmgraph.errors import SpecError
from mmgraph.names import Platform, Registry
from mmgraph.rules import Rule, Rules
from mmgraph.server import MemoryStorage, RegistryServer
from mmgraph.store import RawManifest
from tests.support.command import Command
from tests.support.making import content, digest, index, manifest, spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mmgraph.oci import Document, Manifest
    from tests.support.command import Done

# How rules are spelled


def parsed(text: str) -> Rules:
    """The rules in a file with ``text``."""
    return parse(tomllib.loads(text))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("may-move = false", Rule(name="rule 1", may_move=False)),
        ("may-lose-platforms = false", Rule(name="rule 1", may_lose_platforms=False)),
        ("same-digest = true", Rule(name="rule 1", same_digest=True)),
        ("attestations = true", Rule(name="rule 1", attestations=True)),
        ("foreign-layers = false", Rule(name="rule 1", foreign_layers=False)),
        ("docker-media-types = false", Rule(name="rule 1", docker_media_types=False)),
        ('platforms = ["arm64"]', Rule(name="rule 1", platforms=(Platform("linux", "arm64"),))),
        ('only-registries = ["A.b"]', Rule(name="rule 1", only_registries=(Registry("a.b"),))),
        ('for = "a/*"\nlargest = 0', Rule(name="rule 1", patterns=("a/*",), largest=0)),
        ('for = ["a", "b"]\nlargest = 7', Rule(name="rule 1", patterns=("a", "b"), largest=7)),
        ('name = "prod"\nlargest = 7', Rule(name='rule "prod"', largest=7)),
    ],
)
def test_what_a_rule_can_say(line: str, rule: Rule) -> None:
    """Each key by itself."""
    assert Rules((rule,)) == parsed(f"[[rule]]\n{line}")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('"12"', 12),
        ('"12 B"', 12),
        ('"1.5GiB"', 3 << 29),
        ('"2 kB"', 2000),
        ('"2 KiB"', 2048),
        ('"1TB"', 10**12),
        ("2147483648", 1 << 31),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Bytes, or a number with a unit."""
    assert size == parsed(f"[[rule]]\nlargest = {text}").rules[0].largest


@pytest.mark.parametrize(
    ("text", "whole"), [("", False), ('scope = "image"', False), ('scope = "set"', True)]
)
def test_scope(text: str, whole: bool) -> None:
    """One image, unless it says otherwise."""
    assert whole == parsed(f"[rules]\n{text}").whole_set


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]]\nmay-mvoe = false", 'rule 1: "may-mvoe" is not a key of a rule: write may-move'),
        ("[[rule]]\nxyz = false", "the keys are for, name, may-move, "),
        ('[[rule]]\nfor = "x"\nname = "y"', 'rule "y": it demands nothing: say one of may-move, '),
        ("[[rule]]\nlargest = 1\n[[rule]]", "rule 2: it demands nothing"),
        ("[[rule]]\nmay-move = true", "rule 1: may-move = true demands nothing (rules add up"),
        (
            "[[rule]]\nsame-digest = 1",
            "rule 1: same-digest is neither true nor false: write same-digest = tr",
        ),
        ('[[rule]]\nplatforms = "amd64"', "rule 1: platforms is an array of platforms"),
        ("[[rule]]\nplatforms = []", "rule 1: platforms is empty: leave it out"),
        ('[[rule]]\nplatforms = ["linux"]', 'rule 1: platforms: "linux" is an operating system without'),
        ('[[rule]]\nplatforms = ["linux/amd46"]', "is not a platform that is known: write linux/amd64"),
        ('[[rule]]\nonly-registries = ["a/b"]', 'rule 1: only-registries: "a/b" is not a registry'),
        ('[[rule]]\nlargest = "2 XB"', 'rule 1: largest is a number of bytes, or one with a unit ("500 MiB"'),
        ("[[rule]]\nlargest = -1", 'not "-1"'),
        ("[[rule]]\nlargest = true", 'not "True"'),
        ("[[rule]]\nfor = 1\nlargest = 1", "rule 1: for is a glob over destinations"),
        ('[[rule]]\nfor = [""]\nlargest = 1', "rule 1: for is empty"),
        ("[[rule]]\nname = 1\nlargest = 1", "rule 1: name is a text"),
        ("[rule]\nlargest = 1", "with two brackets: [[rule]]"),
        ("[[rules]]\nlargest = 1", "write a table [rules], with scope in it"),
        ('[rules]\nscope = "all"', '[rules]: scope is "image" or "set", not "all"'),
        ("[rules]\nlargest = 1", '[rules]: "largest" cannot be said of all rules'),
    ],
)
def test_a_rule_that_is_wrong(text: str, message: str) -> None:
    """The message has file, table and key, and what to write."""
    with pytest.raises(SpecError) as raised:
        parsed(text)
    told = str(raised.value)
    assert (True, True) == (told.startswith("mmgraph.toml: "), message in told), told


def test_a_rule_for_nothing_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its glob may be misspelled, so what is near is told; it is no error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mmgraph.toml").write_text('[[rule]]\nfor = "dst.example/ap:1"\nlargest = 1\n')
    rules_for([spec("app:1", "app:1")])
    assert (
        "mmgraph: notice: rule 1 of mmgraph.toml is for no destination of this set;"
        " near it is dst.example/app:1\n" == capsys.readouterr().err
    )


# What is not sent

SMALL, OTHER, LARGE = manifest("c1", "layer"), manifest("c2", "layer"), manifest("c3", "large", size=5000)
ARM = manifest("c4", "layer")
BOTH, ONE = index({"linux/amd64": SMALL, "linux/arm64": ARM}), index({"linux/amd64": SMALL})
NO_LARGE = '[[rule]]\nname = "size"\nfor = "*/prod/*"\nlargest = "4 KiB"\n'


class Mirror(Command):
    """mmgraph between two registries, with specs that copy ``small``, ``other`` and ``large``."""

    def __init__(
        self, directory: Path, source: RegistryServer, destination: RegistryServer, storage: MemoryStorage
    ) -> None:
        super().__init__(directory)
        self.source, self.destination, self.storage = source, destination, storage

    def want(self, *names: str, to: str = "prod") -> None:
        """Write specs that copy each of ``names`` below ``to``."""
        lines = [
            {"src": f"{self.source.address}/{name}:1", "dst": f"{self.destination.address}/{to}/{name}:1"}
            for name in names
        ]
        self.write("specs.json", "\n".join(map(json.dumps, lines)))

    def rules(self, text: str) -> None:
        """Write mmgraph.toml."""
        self.write("mmgraph.toml", text)

    async def written(self, *arguments: str) -> tuple[Done, int]:
        """Run a command; how it ended, and how many requests it sent that change something."""
        self.source.log.clear()
        self.destination.log.clear()
        done = await self.run(*arguments)
        return done, sum(
            request.method not in ("GET", "HEAD")
            for server in (self.source, self.destination)
            for request in server.log
        )

    def asked(self) -> int:
        """Requests of the last command."""
        return len(list(self.source.log)) + len(list(self.destination.log))

    def names(self) -> set[str]:
        """The repositories of the destination with a tag 1."""
        return {name for name in self.storage.repositories() if "1" in self.storage.tags(name)}


def lay(storage: MemoryStorage, name: str, root: Document, *children: Manifest, size: int = 10) -> None:
    """Lay an image with all its blobs into a storage."""
    for document in (*children, root):
        tags = ["1"] if document is root else []
        storage.put_manifest(name, document.digest, RawManifest(document.raw, document.media_type), tags)
        for blob in document.blobs:
            made = next(
                n for n in ("c1", "c2", "c3", "c4", "layer", "large") if digest(n, size) == blob.digest
            )
            upload = storage.upload(name)
            upload.write(content(made, size))
            assert upload.commit(blob.digest)


@asynccontextmanager
async def mirror(directory: Path) -> AsyncIterator[Mirror]:
    """Start both registries and fill the source."""
    source, destination = MemoryStorage(), MemoryStorage()
    lay(source, "small", SMALL)
    lay(source, "other", OTHER)
    lay(source, "large", LARGE, size=5000)
    lay(source, "one", ONE, SMALL)
    async with RegistryServer(source) as first, RegistryServer(destination) as second:
        made = Mirror(directory, first, second, destination)
        made.want("large", "small", "other")
        yield made


async def test_a_plan_that_breaks_a_rule_exits_1(tmp_path: Path) -> None:
    """The violation stands first, with rule, tag and node; nothing is written."""
    async with mirror(tmp_path) as made:
        made.rules(NO_LARGE)
        done, written = await made.written("plan")
        place = f"{made.destination.address}/prod/large:1"
    lines = done.out.splitlines()
    assert (1, 0, "1 rule of mmgraph.toml is broken by 1 destination:", f"  ! {place}") == (
        done.code,
        written,
        *lines[:2],
    )
    told = " ".join(" ".join(lines[2:5]).split())
    assert told.startswith(f'rule "size" (largest = "4 KiB"): manifest {LARGE.digest} has '), told


async def test_apply_fails_the_image_and_copies_the_others(tmp_path: Path) -> None:
    """Not a byte of it is sent, its blobs included."""
    async with mirror(tmp_path) as made:
        made.rules(NO_LARGE)
        done, _ = await made.written("apply")
        sent = [request.path for request in made.destination.log if "/prod/large/" in request.path]
        names = made.names()
    assert (1, {"prod/small", "prod/other"}) == (done.code, names)
    assert [] == [path for path in sent if "/blobs/" in path]
    assert 'rule "size" (largest = "4 KiB")' in done.out


async def test_every_rule_that_an_image_breaks_is_told_whole_and_once(tmp_path: Path) -> None:
    """In the summary, to the last digit of each digest; while others are copied only their names are told."""
    async with mirror(tmp_path) as made:
        made.rules("")
        place = f"{made.destination.address}/prod/large:1"
        other = {"src": f"{made.source.address}/other:1", "dst": place}
        moved = await made.run("apply", stdin=json.dumps(other))
        made.want("large")
        made.rules(f'[[rule]]\nmay-move = false\nplatforms = ["linux/s390x"]\n{NO_LARGE}')
        done, _ = await made.written("apply", "specs.json")
    told = " ".join(done.out.split())
    parts = (
        f"tag 1 names {OTHER.digest} and would name {LARGE.digest} ",
        'rule 1 (platforms = ["linux/s390x"]): ',
        'rule "size" (largest = "4 KiB"): ',
    )
    assert (0, 1, [1, 1, 1]) == (moved.code, done.code, [told.count(part) for part in parts]), done.out
    line = f"! {place} failed: breaks rule 1 (may-move = false) and 2 more"
    assert [line] == [each for each in done.err.splitlines() if each.startswith(f"! {place}")], done.err


async def test_the_scope_of_the_set(tmp_path: Path) -> None:
    """One violation, and nothing of the set is sent."""
    async with mirror(tmp_path) as made:
        made.rules(f'[rules]\nscope = "set"\n{NO_LARGE}')
        done, written = await made.written("apply")
        place = f"{made.destination.address}/prod/large:1"
    assert (1, 0, "") == (done.code, written, done.out)
    first, second = [line for line in done.err.splitlines() if "mmgraph: " in line]
    assert "mmgraph: nothing was sent: 1 rule of mmgraph.toml is broken by 1 destination:" == first
    assert second.startswith(f'mmgraph:   {place}: rule "size" (largest = "4 KiB"): manifest {LARGE.digest}')


async def test_names_are_judged_before_any_request(tmp_path: Path) -> None:
    """A registry that may not be written, among others."""
    async with mirror(tmp_path) as made:
        made.rules('[[rule]]\nfor = "*/large:1"\nonly-registries = ["registry.example"]\n')
        done, _ = await made.written("apply")
        asked = made.asked()
    assert (1, 0) == (done.code, asked)
    assert 'rule 1 (only-registries = ["registry.example"]): tag 1 would be written to' in done.err


async def test_a_plan_shows_broken_names_and_closures_together(tmp_path: Path) -> None:
    """It is for review, so it goes on after the first."""
    async with mirror(tmp_path) as made:
        made.rules(f'{NO_LARGE}[[rule]]\nfor = "*/small:1"\nonly-registries = ["registry.example"]\n')
        done, written = await made.written("plan")
    assert (1, 0, "2 rules of mmgraph.toml are broken by 2 destinations:") == (
        done.code,
        written,
        done.out.splitlines()[0],
    )


async def test_a_plan_that_breaks_a_rule_is_not_saved(tmp_path: Path) -> None:
    """What is at the place of the file stays as it was."""
    async with mirror(tmp_path) as made:
        made.rules(NO_LARGE)
        old = made.write("x.plan", "as it was")
        done, _ = await made.written("plan", "--out", "x.plan")
        kept = old.read_text()
    assert (1, "as it was") == (done.code, kept)
    assert "mmgraph: x.plan is not written: a plan that breaks rules is not saved" in done.err


async def test_the_json_of_a_plan_that_breaks_a_rule_is_not_carried_out(tmp_path: Path) -> None:
    """Programs read the violations; apply reads no such plan, also where there are no rules any more."""
    async with mirror(tmp_path) as made:
        made.rules(NO_LARGE)
        done, _ = await made.written("plan", "--format", "json")
        made.write("x.plan", done.out)
        made.rules("")
        refused, written = await made.written("apply", "x.plan")
        repository = f"{made.destination.address}/prod/large"
    violation = json.loads(done.out)["violations"][0]
    found = violation.pop("found")
    assert {
        "rule": 'rule "size"',
        "demand": 'largest = "4 KiB"',
        "destination": f"{repository}:1",
        "node": f"manifest {repository}@{LARGE.digest}",
    } == violation
    assert (True, 1, 0) == (found.startswith("has "), refused.code, written)
    assert '$.violations: it broke rule "size" (largest = "4 KiB") at' in refused.err


@pytest.mark.parametrize("scope", ["image", "set"])
async def test_a_saved_plan_is_judged_where_it_is_carried_out(tmp_path: Path, scope: str) -> None:
    """Nothing of it is sent, and no registry asked, whatever the scope."""
    async with mirror(tmp_path) as made:
        await made.written("plan", "--out", "x.plan")
        made.rules(f'[rules]\nscope = "{scope}"\n{NO_LARGE}')
        done, _ = await made.written("apply", "x.plan")
        asked = made.asked()
    assert (1, 0, True) == (done.code, asked, f"manifest {LARGE.digest} has " in done.err)


async def test_a_saved_plan_is_shown_with_what_it_breaks(tmp_path: Path) -> None:
    """The plan is as it was made, and the exit code 1."""
    async with mirror(tmp_path) as made:
        await made.written("plan", "--out", "x.plan")
        made.rules(NO_LARGE)
        done, _ = await made.written("plan", "x.plan")
    assert (1, "1 rule of mmgraph.toml is broken by 1 destination:") == (done.code, done.out.splitlines()[2])
    assert "Plan: 3 to copy, 0 to move, 0 unchanged, 0 failed." in done.out


async def test_a_saved_plan_that_keeps_to_the_rules_is_carried_out(tmp_path: Path) -> None:
    """As if there were none."""
    async with mirror(tmp_path) as made:
        made.want("small")
        made.rules(f"{NO_LARGE}may-move = false\nmay-lose-platforms = false\n")
        await made.written("plan", "--out", "x.plan")
        done, _ = await made.written("apply", "x.plan")
        names = made.names()
    assert (0, {"prod/small"}) == (done.code, names)


async def test_a_saved_plan_that_hides_a_loss(tmp_path: Path) -> None:
    """What a tag lists is read at the destination, so a plan that does not tell of a loss is found out."""
    async with mirror(tmp_path) as made:
        made.want("one")
        lay(made.storage, "prod/one", BOTH, SMALL, ARM)
        await made.written("plan", "--out", "x.plan")
        saved = json.loads((tmp_path / "x.plan").read_text())
        told = saved["specs"][0].pop("losses")
        made.write("x.plan", json.dumps(saved))
        made.rules("[[rule]]\nmay-lose-platforms = false\n")
        done, written = await made.written("apply", "--no-cache", "x.plan")
    assert (["linux/arm64"], 1, 0) == (told, done.code, written)
    assert f"tag 1 names {BOTH.digest} and would lose linux/arm64" in done.err


@pytest.mark.parametrize("demand", ["may-move = false", "may-lose-platforms = false"])
async def test_a_tag_that_may_not_be_moved(tmp_path: Path, demand: str) -> None:
    """It names what it named."""
    async with mirror(tmp_path) as made:
        made.want("one")
        lay(made.storage, "prod/one", BOTH, SMALL, ARM)
        made.rules(f"[[rule]]\n{demand}\n")
        done, written = await made.written("apply")
    told = f"rule 1 ({demand}): tag 1 names {BOTH.digest}" in " ".join(done.out.split())
    assert (1, 0, True) == (done.code, written, told)


@pytest.mark.parametrize("arguments", [("--format", "json"), ("--format", "dot"), ("--collapse",)])
async def test_the_graph_shows_what_is_broken(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Rule, tag and node are in it, and on standard error; the exit code is 1, as for anything that fails."""
    async with mirror(tmp_path) as made:
        made.rules(NO_LARGE)
        done, written = await made.written("graph", *arguments)
        place = f"{made.destination.address}/prod/large:1"
    words = ("size", "4 KiB", place, LARGE.digest)
    assert (1, 0) == (done.code, written)
    assert [True] * 8 == [word in text for text in (done.out, done.err) for word in words]


async def test_a_question_is_answered_with_what_is_broken(tmp_path: Path) -> None:
    """Exit 1 beats 2, and standard output is silent."""
    async with mirror(tmp_path) as made:
        made.rules(NO_LARGE)
        done, _ = await made.written("plan", "-q")
    assert (1, "", True) == (done.code, done.out, 'rule "size" (largest = "4 KiB")' in done.err)


async def test_a_dry_run_shows_what_is_broken(tmp_path: Path) -> None:
    """It is plan, of a saved plan as well."""
    async with mirror(tmp_path) as made:
        await made.written("plan", "--out", "x.plan")
        made.rules(NO_LARGE)
        done = [(await made.written("apply", "-n", *names))[0] for names in ((), ("x.plan",))]
    assert [(1, "1 rule of mmgraph.toml is broken by 1 destination:")] * 2 == [
        (each.code, each.out.splitlines()[0]) for each in done
    ]


async def test_no_variable_and_no_flag_takes_rules_back(tmp_path: Path) -> None:
    """They are no options."""
    async with mirror(tmp_path) as made:
        made.rules(NO_LARGE)
        variables = {"MMGRAPH_RULE": "", "MMGRAPH_RULES": "no", "MMGRAPH_SCOPE": "image"}
        by_variable = await made.run("plan", variables=variables)
        by_flag = await made.run("plan", "--no-rules")
    assert (1, True) == (by_variable.code, 'rule "size"' in by_variable.out)
    assert (1, True) == (by_flag.code, "Unknown option" in by_flag.err)


async def test_a_rule_that_is_wrong_stops_before_any_request(tmp_path: Path) -> None:
    """A rule that is not understood is not passed over."""
    async with mirror(tmp_path) as made:
        made.rules("[[rule]]\nmay-mvoe = false\n")
        done = [await made.run(name) for name in ("plan", "apply", "graph")]
        asked = made.asked()
    assert [1, 1, 1, 0] == [*(each.code for each in done), asked]


async def test_other_commands_know_that_rules_are_no_options(tmp_path: Path) -> None:
    """A file with rules is one with which everything goes on."""
    async with mirror(tmp_path) as made:
        made.rules(f'[rules]\nscope = "set"\n{NO_LARGE}')
        done = await asyncio.gather(made.run("schema"), made.run("auth", "check"))
    assert [0, 0] == [each.code for each in done]
