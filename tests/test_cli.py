"""The command line: where specs come from, what is refused and how, options and their sources, help, exit codes."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mmgraph import __version__
from mmgraph.cli import main
from tests.support.command import ROOT, Command, end

NOWHERE = "127.0.0.1:1"
"""A registry that refuses connections at once; nothing here gets so far as to ask it."""


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Hand out mmgraph in an empty directory."""
    return Command(tmp_path)


def line(name: str) -> str:
    """One spec."""
    return json.dumps({"src": f"{NOWHERE}/{name}", "dst": f"localhost:1/{name}"}) + "\n"


async def test_help_imports_nothing_heavy(command: Command) -> None:
    """The list of commands needs no HTTP, no graph and no progress bars."""
    code = (
        "import sys; from mmgraph.cli import main; code = main(['--help']);"
        " heavy = {'aiohttp', 'networkx', 'rich.progress', 'sqlite3'} & sys.modules.keys();"
        " print('heavy', sorted(heavy), code)"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), env=command.environment, stdout=asyncio.subprocess.PIPE
    )
    assert "heavy [] 0" in (await end(process)).out


@pytest.mark.parametrize(
    "name",
    [
        *("plan", "apply", "graph", "explain", "diff", "verify", "serve", "schema", "auth", "auth check"),
        *("cache", "cache info", "cache clear"),
    ],
)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What it does, and a line to copy."""
    main([*name.split(), "--help"])
    assert f"Example: mmgraph {name}" in " ".join(capsys.readouterr().out.split())


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Alone on a line."""
    main(["--version"])
    assert f"{__version__}\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--nope"], "Unknown option: --nope"),
        (["frobnicate"], 'Unknown command "frobnicate"'),
        (["plan", "-j", "many"], '-j "many": write a whole number from 1 to 1024'),
        (["plan", "-j", "0"], "-j"),
        (["plan", "-j", "-"], '-j "-": write a whole number from 1 to 1024'),
        (["plan", "nosuchfile"], '"nosuchfile": there is no such file'),
        (["plan", "-", "-"], "standard input (-) is named twice"),
        (["plan", "-C", "nosuchdirectory"], '-C "nosuchdirectory": there is no such directory'),
        (["plan", "--nope"], "see mmgraph plan --help"),
        (["auth", "check", "--nope"], "see mmgraph auth check --help"),
        (["frobnicate"], "see mmgraph --help"),
        (["serve", "--listen", "5000"], "is not HOST:PORT"),
        (["serve", "--listen", "127.0.0.1:99999"], "is not HOST:PORT"),
        (["schema", "everything"], "everything"),
        (["apply", "--max-failures", "0"], '--max-failures "0": write a whole number, 1 or more'),
        (["plan", "--top", "x"], '--top "x": write a whole number, 1 or more'),
        (["plan", "--max-wait", "x"], '--max-wait "x": write a number, 0 or more'),
        (["plan", "--all=x"], '--all "x": write it without a value'),
        (["diff", "old", "new", "--format", "x"], '--format "x": write text, json, markdown or github'),
        (["plan", "--jobs"], "--jobs needs a value: write --jobs N"),
        (["plan", "-j", "1", "-j", "2"], "-j stands there twice: write it once"),
        (["completion"], "completion needs the name of a shell"),
    ],
)
def test_bad_usage_exits_1(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """With a message on standard error, and nothing on standard output; 2 means "changes pending" here."""
    monkeypatch.chdir(tmp_path)
    code = main(arguments)
    out, err = capsys.readouterr()
    assert (1, "", True) == (code, out, message in err), err


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        (["plan", "none.json", "--plain-http", "u:secret@shared.example"], ""),
        (["plan", "none.json", "-j", "u:secret@host"], ""),
        (["plan", "docker://u:secret@host/x"], ""),
        (["plan", "none.json"], "jobs = 'u:secret@host'"),
        (["plan", "none.json"], "'u:secret@host' = 1"),
        (["plan", "none.json"], "[registry.'u:secret@host']\nplain-http = true"),
        (["plan", "none.json"], "[plan]\n'u:secret@host' = 1"),
    ],
)
def test_no_password_is_echoed(
    arguments: list[str],
    config: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever somebody wrote one that does not belong there."""
    monkeypatch.chdir(tmp_path)
    Path("none.json").write_text("")
    Path("mmgraph.toml").write_text(config)
    code = main(arguments)
    assert (1, False) == (code, "secret" in (err := capsys.readouterr().err)), err


@pytest.mark.parametrize("arguments", [["plan", "\x1b[2J\u202e"], ["plan", "--\x1b[2J\u202e"], ["\x1b[2J"]])
def test_messages_steer_no_terminal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files and options may come from anywhere."""
    main(arguments)
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())


def test_a_result_that_cannot_be_written_names_the_file_as_given(tmp_path: Path) -> None:
    """Where the disk is full, or the directory is not there: no name of a file that nobody asked for."""
    (tmp_path / "none.json").write_text("")
    script = "ulimit -f 0; {0} --out x.plan; {0} --out nowhere/x.plan; {0} --out /dev/full; {0} --out ."
    done = subprocess.run(
        ["/bin/sh", "-c", script.format(f"{sys.executable} -m mmgraph plan none.json --no-cache")],
        capture_output=True,
        # Compiled modules would be cut short as well, and stay.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines() == [
        "mmgraph: x.plan: File too large",
        "mmgraph: nowhere/x.plan: there is no such directory",
        "mmgraph: /dev/full: No space left on device",
        "mmgraph: .: Is a directory",
    ]


async def test_all_problems_are_listed_at_once(command: Command) -> None:
    """Three bad specs are three lines, and exit code 1, before any registry is asked."""
    command.write("specs.json", '{"src": "a"}\n{"src": "A B", "dst": "b.example/a"}\n{"dts": "x"}\n')
    done = await command.run("apply", "specs.json")
    places = [line.partition(", line")[0] for line in done.err.splitlines()]
    assert (1, "") == done[:2]
    assert {f"mmgraph: specs.json: value {number}" for number in (1, 2, 3)} == set(places)


async def test_without_names_what_is_piped_in_is_read(command: Command) -> None:
    """Also where there is a specs.json."""
    command.write("specs.json", "not read")
    done = await command.run("plan", stdin='{"src": 1}')
    assert (1, True) == (done.code, "standard input: value 1" in done.err), done.err


async def test_an_empty_pipe_beside_specs_json_is_told_of(command: Command) -> None:
    """Nothing to do is right then, and hardly what was meant."""
    command.write("specs.json", "not read")
    done = await command.run("apply", stdin="")
    assert (0, "mmgraph: nothing to do\n", True) == (done.code, done.out, "input is empty" in done.err)


async def test_dev_null_is_not_a_pipe(command: Command) -> None:
    """A job of cron or CI reads specs.json, as a person at a terminal does."""
    command.write("specs.json", '{"src": 1}')
    done = await command.run("plan")
    assert (1, True) == (done.code, "specs.json: value 1" in done.err), done.err


async def test_at_a_terminal_specs_json_is_read(command: Command) -> None:
    """A terminal is not waited for."""
    command.write("specs.json", '{"src": 1}')
    theirs, ours = pty.openpty()
    try:
        done = await end(await command.start("plan", stdin=ours))
    finally:
        os.close(theirs)
        os.close(ours)
    assert (1, True) == (done.code, "specs.json: value 1" in done.err), done.err


async def test_without_specs_there_is_a_usage_error(command: Command) -> None:
    """No names, no pipe, no specs.json."""
    done = await command.run("apply")
    assert (1, "", True) == (done.code, done.out, "there are no specs" in done.err)


async def test_a_hyphen_is_standard_input(command: Command) -> None:
    """Also beside files, whose specs belong to the same set."""
    command.write("a.json", line("a:1"))
    done = await command.run("plan", "a.json", "-", stdin=line("b:1") + "{")
    assert (1, True) == (done.code, "standard input: value 2" in done.err), done.err


async def test_an_empty_set_is_nothing_to_do(command: Command) -> None:
    """A file without specs is a set of none."""
    command.write("none.json", "")
    done = await command.run("apply", "none.json")
    assert (0, "mmgraph: nothing to do\n", "") == done


async def test_a_directory_is_gone_to_first(command: Command) -> None:
    """-C before anything is looked for, wherever it stands on the line."""
    (command.directory / "inner").mkdir()
    command.write("inner/specs.json", "")
    done = await command.run("apply", "-C", "inner")
    assert (0, "mmgraph: nothing to do\n") == done[:2]


def test_only_is_applied_after_the_whole_set_is_validated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad spec that --only would leave out is still an error."""
    (tmp_path / "specs.json").write_text(line("a:1") + '{"src": 1}')
    code = main(["apply", str(tmp_path / "specs.json"), "--only", "*/a:1"])
    assert (1, True) == (code, "value 2" in capsys.readouterr().err)


def test_only_that_matches_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of several globs must match; the message has near destinations as they are written."""
    (tmp_path / "specs.json").write_text(line("a:1"))
    code = main(["apply", str(tmp_path / "specs.json"), "--only", "*/a:1", "--only", "b:*"])
    expected = 'mmgraph: --only "b:*" matches no destination; there is localhost:1/a:1\n'
    assert (1, expected) == (code, capsys.readouterr().err)


def test_a_login_file_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One, and not one for every spec."""
    (tmp_path / "specs.json").write_text(line("a:1") + line("b:1"))
    code = main(["apply", str(tmp_path / "specs.json"), "--authfile", "/nosuchfile"])
    assert (1, 'mmgraph: --authfile "/nosuchfile": there is no such file\n') == (
        code,
        capsys.readouterr().err,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobs = 'x'", "jobs"),
        ("[plan]\njobs = 0", "jobs"),
        ("[plan]\njbs = 3", '"jbs" is not an option of plan: write jobs'),
        ("jbs = 3", '"jbs" is not an option that can stand outside a table: write jobs'),
        ("[paln]\njobs = 3", '"paln" is no table of a command: write [plan]'),
        ("plan = 3", "[plan]"),
        ("[registry.'a.example']\nauthfile = 'x'", "cannot be said of a registry"),
        ("[registry.'a.example']\njobs = '3'", 'jobs of "a.example" is a number'),
        ("[registry.'a.example']\njobs = true", 'jobs of "a.example" is a number'),
        ("jobs = 0", 'mmgraph.toml: jobs is "0": write a whole number from 1 to 1024'),
        ("jobs = 'x'", 'mmgraph.toml: jobs is "x": write a whole number from 1 to 1024'),
        ("[plan]\nfrobnicate = 1", "is not an option of plan: mmgraph plan --help lists them"),
        ("[aply]\nmax-failures = 1", '"aply" is no table of a command: write [apply]'),
        ("jbs = 3\n[aply]\nx = 1", '"jbs" is not an option'),
        ("jbs = 3\n[aply]\nx = 1", '"aply" is no table'),
        (
            "[registry.'a.example']\nupload-chunk = '8 mb'",
            'mmgraph.toml: upload-chunk of "a.example" is "8 mb": write bytes, or such as 16MiB',
        ),
        ("[registry.'a.example']\njobs = 0", "write a whole number up to 1024"),
        (
            "[registry.'a.example']\nrequests-per-second = -1",
            'requests-per-second of "a.example" is "-1": write a number up to',
        ),
        ("[registry.'a.example']\nca = 3", "is a file"),
        (
            "[registry.'a.example']\nca = 'none.pem'",
            'mmgraph.toml: ca of "a.example" is "none.pem": there is no such file',
        ),
        ("ca = 'none.pem'", '--ca "none.pem": there is no such file'),
        ("[registry.'a.example']\ntrust-realm = [3]", "is a host, or a list of hosts"),
        ("[registry.'a.example']\ntrust-realm = 'u@h'", "is not a host"),
        ("trust-upload-host = ['a.example']", "write REGISTRY=HOST"),
        ("insecure = ['a/b']", "is not a registry"),
        ("[registry.'a.example']\nplain-http = 'yes'", "is true or false"),
        ("[registry.'a/b']\nplain-http = true", "is not a registry"),
        ("[registry]\nplain-http = true", "write tables for registries"),
        ("jobs =", "mmgraph.toml is not TOML: Invalid value (at"),
    ],
)
def test_a_wrong_configuration_is_refused(
    text: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An option that is misspelt in mmgraph.toml would otherwise silently not hold."""
    monkeypatch.chdir(tmp_path)
    Path("mmgraph.toml").write_text(text)
    Path("none.json").write_text("")
    code = main(["plan", "none.json"])
    assert (1, True) == (code, message in (err := capsys.readouterr().err)), err


@pytest.mark.parametrize(
    "text",
    [
        "jobs = 3\nmax-failures = 2",
        "[plan]\njobs = 3\n[apply]\nmax-failures = 2",
        "[registry.'a.example']\nplain-http = true\nmount-after-manifest = true",
        "plain-http = ['a.example']\n[registry.'b.example']\nplain-http = true",
        "[registry.'a.example']\njobs = 3\nrequests-per-second = 0.5\ninsecure = false",
        "[registry.'a.example']\ntrust-realm = 'b.example'\ntrust-upload-host = ['c.example', 'd.example:1']",
    ],
)
def test_a_sound_configuration_is_taken(
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Options outside tables go to the commands that have them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Path("mmgraph.toml").write_text(text)
    Path("none.json").write_text("")
    assert (0, "") == (main(["plan", "none.json"]), capsys.readouterr().err)


@pytest.mark.parametrize(
    ("flags", "variables", "file", "loser"),
    [
        ([], {}, "jobs = 'file'", "file"),
        ([], {"MMGRAPH_JOBS": "general"}, "jobs = 3", "general"),
        ([], {"MMGRAPH_JOBS": "general", "MMGRAPH_PLAN_JOBS": "3"}, "jobs = 'file'", None),
        (["-j", "3"], {"MMGRAPH_PLAN_JOBS": "special"}, "jobs = 'file'", None),
        ([], {}, "jobs = 'file'\n[plan]\njobs = 3", None),
        ([], {"MMGRAPH_JOBS": ""}, "jobs = 3", None),
    ],
)
def test_flags_beat_the_environment_and_that_beats_the_file(
    flags: list[str],
    variables: dict[str, str],
    file: str,
    loser: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first source that has an option wins, and what is special beats what is general."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Path("mmgraph.toml").write_text(file)
    Path("none.json").write_text("")
    code = main(["plan", "none.json", *flags])
    assert (0 if loser is None else 1, True) == (code, (loser or "") in capsys.readouterr().err)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"MMGRAPH_JOBBS": "3"},
            'mmgraph: notice: no option is called "MMGRAPH_JOBBS", so it is not read; near',
        ),
        (
            {"MMGRAPH_PLAN_MAX_FAILURES": "3"},
            'mmgraph: notice: no option is called "MMGRAPH_PLAN_MAX_FAILURES"',
        ),
        ({"MMGRAPH_DEBUG": "1", "MMGRAPH_JOBS": "3", "MMGRAPH_MAX_FAILURES": "3"}, ""),
        ({"MMGRAPH_GRAPH_FORMAT": "svg", "MMGRAPH_AUTH_CHECK_JOBS": "3"}, ""),
    ],
)
def test_a_variable_that_no_command_reads_is_told_of(
    variables: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is probably misspelled; those of other commands are not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Path("none.json").write_text("")
    code = main(["plan", "none.json"])
    err = capsys.readouterr().err
    assert (0, bool(expected), True) == (code, bool(err), err.startswith(expected)), err


def test_an_unexpected_exception_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With how to get more, and no traceback unless it was asked for."""
    monkeypatch.setattr("mmgraph.cli.inputs.read_specs", lambda inputs: 1 / 0)
    (tmp_path / "specs.json").write_text("")
    monkeypatch.delenv("MMGRAPH_DEBUG", raising=False)
    code = main(["plan", str(tmp_path / "specs.json")])
    err = capsys.readouterr().err
    assert (1, True, False) == (code, "please report it" in err, "Traceback" in err)


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what was not expected."""
    monkeypatch.setattr("mmgraph.cli.inputs.read_specs", lambda inputs: 1 / 0)
    monkeypatch.setenv("MMGRAPH_DEBUG", "1")
    (tmp_path / "specs.json").write_text("")
    code = main(["plan", str(tmp_path / "specs.json")])
    assert (1, True) == (code, "ZeroDivisionError" in capsys.readouterr().err)


@pytest.mark.parametrize("what", ["specs", "plan", "graph", "explanation", "difference", "report", "events"])
def test_schemas_are_json(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is one document of JSON Schema 2020-12."""
    code = main(["schema", what])
    made = json.loads(capsys.readouterr().out)
    assert (0, "https://json-schema.org/draft/2020-12/schema") == (code, made["$schema"])


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    """A broken pipe is quiet, and the exit code is that of the work."""
    script = f"{sys.executable} -m mmgraph schema plan; echo code $? >&2"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{{ sleep 0.2; {script}; }} | true"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        text=True,
        check=False,
    )
    assert "code 0\n" == done.stderr


@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [
        (">&-", 1, "mmgraph: standard output: Bad file descriptor\n"),
        ("2>&-", 0, ""),
        ("<&-", 0, ""),
        ("<&- >&- 2>&-", 1, ""),
    ],
)
def test_closed_streams_are_no_fault(tmp_path: Path, closed: str, code: int, said: str) -> None:
    """As under a supervisor that closes them: only a result that goes nowhere is a failure."""
    (tmp_path / "none.json").write_text("")
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m mmgraph plan none.json --no-cache {closed}"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        text=True,
        check=False,
    )
    assert (code, said) == (done.returncode, done.stderr)


def test_output_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    """A full disk is told of."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mmgraph", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            text=True,
            check=False,
        )
    assert (1, "mmgraph: standard output: No space left on device\n") == (done.returncode, done.stderr)


def test_a_result_that_is_cut_is_no_success(command: Command) -> None:
    """Without Python's own buffer, as container images like to have it, a file that takes no more is heard of too."""
    script = f"trap '' XFSZ; ulimit -f 4; exec {sys.executable} -m mmgraph schema plan >result"
    environment = {**command.environment, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=command.directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (1, "mmgraph: standard output: File too large\n") == (run.returncode, run.stderr)
