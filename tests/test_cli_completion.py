"""Completion in the shells themselves: bash and zsh at a terminal, fish by its own question."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.command import Command

SHELLS: Final = ("bash", "zsh", "fish")
_LIMIT: Final = 30
_STUB: Final = "mmgraph() { printf 'given'; printf ' [%s]' \"$@\"; printf ' %s\\n' end; }\n"
"""What is typed runs this, so that what a terminal draws need not be understood."""
_CHOICES: Final = (
    ("mmgraph ver", "verify"),
    ("mmgraph auth ch", "check"),
    ("mmgraph plan --det", "--detailed-exitcode"),
    ("mmgraph apply --max-f", "--max-failures"),
    ("mmgraph -C . graph --coll", "--collapse"),
    ("mmgraph diff --format mark", "markdown"),
    ("mmgraph schema expl", "explanation"),
    ("mmgraph completion fi", "fish"),
    ("mmgraph plan mir", "mirror.json"),
    ("mmgraph explain app:v1 mir", "mirror.json"),
    ("mmgraph diff a.json mir", "mirror.json"),
    ("mmgraph apply --authfile mir", "mirror.json"),
    ("mmgraph serve ima", "images/"),
)


@pytest.fixture
async def scripts(tmp_path: Path) -> Path:
    """A directory with the script of each shell, and something to complete."""
    command = Command(tmp_path)
    for shell in SHELLS:
        done = await command.run("completion", shell)
        assert (0, "") == (done.code, done.err)
        command.write(f"script.{shell}", done.out)
    command.write("mirror.json", "")
    (tmp_path / "images").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_one_of_its_shell(scripts: Path, shell: str) -> None:
    """Each shell parses its script and finds nothing wrong."""
    done = subprocess.run(
        [shell, "-n", scripts / f"script.{shell}"], capture_output=True, text=True, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_bash_completes_at_a_terminal(scripts: Path) -> None:
    """Commands, options, choices and files are completed by a tabulator in bash."""
    rc = scripts / "rc"
    rc.write_text(f"{_STUB}PS1='ready> '\nbind 'set enable-bracketed-paste off'\nsource ./script.bash\n")
    actual = _typed(["bash", "--noprofile", "--rcfile", str(rc), "-i"], scripts)
    assert _whole() == actual


def test_zsh_completes_at_a_terminal(scripts: Path) -> None:
    """Commands, options, choices and files are completed by a tabulator in zsh, where the script was read."""
    _configure_zsh(scripts, 'autoload -Uz compinit && compinit -u -D\neval "$(<script.zsh)"\n')
    assert _whole() == _typed(["zsh", "-d", "-i"], scripts)


def test_zsh_finds_the_script_in_its_path_of_functions(scripts: Path) -> None:
    """As _mmgraph in a directory of fpath, the script does the same."""
    functions = scripts / "functions"
    functions.mkdir()
    (scripts / "script.zsh").rename(functions / "_mmgraph")
    _configure_zsh(scripts, f"fpath=({functions} $fpath)\nautoload -Uz compinit && compinit -u -D\n")
    assert _whole() == _typed(["zsh", "-d", "-i"], scripts)


def test_fish_completes(scripts: Path) -> None:
    """Commands, options, choices and files are what fish would offer."""
    asked = "".join(f"complete -C '{line}' | string replace -r '\\t.*' ''\n" for line, _ in _CHOICES)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source script.fish\n{asked}true"],
        cwd=scripts,
        env=_environment(scripts),
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    assert (0, [choice for _, choice in _CHOICES], "") == (
        done.returncode,
        done.stdout.splitlines(),
        done.stderr,
    )


async def test_no_shell_is_an_error(tmp_path: Path) -> None:
    """A shell that has no script is told which have."""
    done = await Command(tmp_path).run("completion", "tcsh")
    assert (1, "") == (done.code, done.out)


def _configure_zsh(directory: Path, lines: str) -> None:
    # Without the style, a tabulator with something typed behind it completes nothing.
    quiet = "unset zle_bracketed_paste\nzstyle '*' insert-tab false\n"
    (directory / "home" / ".zshrc").write_text(f"{_STUB}PS1='ready> '\n{quiet}{lines}")


def _whole() -> list[str]:
    """What the stub says of each line once it is completed."""
    whole = [f"{line.rpartition(' ')[0]} {choice}".rstrip("/").split()[1:] for line, choice in _CHOICES]
    return ["given " + " ".join(f"[{word}]" for word in words) + " end" for words in whole]


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home / "home"),
        "ZDOTDIR": str(home / "home"),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


def _typed(shell: list[str], directory: Path) -> list[str]:
    """Type each line, a tabulator and return at an interactive shell; return what the stub said."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        shell,
        cwd=directory,
        env=_environment(directory),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    said = []
    try:
        _until(ours, b"ready> ")
        for line, _ in _CHOICES:
            os.write(ours, f"{line}\t\r".encode())
            answer = _until(ours, b" end\r\n")
            said += re.findall(
                r"given .* end", answer.decode().replace("/]", "]")
            )  # zsh takes it away at the end
            _until(ours, b"ready> ")
        os.write(ours, b"exit\r")
        process.wait(_LIMIT)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return said


def _until(terminal: int, mark: bytes) -> bytes:
    """Read what is shown up to ``mark``."""
    shown = b""
    deadline = time.monotonic() + _LIMIT
    while mark not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{mark!r} does not come, only {shown!r}"
        shown += os.read(terminal, 1)
    return shown
