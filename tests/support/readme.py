"""The README's console blocks: what they say, and what running them prints. ``python -m tests.support.readme`` rewrites
the README with the real output of this version.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = re.compile(r"\d+\.\d s\b")
_PORTS = ("5000", "5001", "5002", "5003")


class Step(NamedTuple):
    """One command of the README and what follows it there."""

    command: str
    output: str


def steps(text: str) -> list[list[Step]]:
    """The commands of each console block, with the output that stands below each."""
    blocks = []
    for block in _BLOCK.findall(text):
        found: list[Step] = []
        for line in block.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append(Step(line[2:].rstrip("\n"), ""))
            else:
                found[-1] = Step(found[-1].command, found[-1].output + line)
        blocks.append(found)
    return blocks


def comparable(output: str) -> str:
    """Output without what differs from run to run."""
    return _SECONDS.sub("N s", output)


def _free_ports() -> dict[str, str]:
    """Free ports of four digits, so that no column of the output moves."""
    free: dict[str, str] = {}
    for port in range(5100, 9999):
        if len(free) == len(_PORTS):
            return free
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        free[_PORTS[len(free)]] = str(port)
    raise RuntimeError("no free ports")


class Tour:
    """Runs a page's commands in a directory that looks like a ``checkout``, or is empty; servers end with it."""

    def __init__(self, directory: Path, *, checkout: bool = True) -> None:
        self._directory = directory
        self._ports = _free_ports()
        self._servers: list[subprocess.Popen[str]] = []
        if checkout:
            self._link(directory)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MMGRAPH_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(directory / "cache"),
            "HOME": str(directory),
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @staticmethod
    def _link(directory: Path) -> None:
        for entry in ROOT.iterdir():
            if entry.name not in {".git", ".cache", "demo"}:
                (directory / entry.name).symlink_to(entry)
        # The environment is linked here, and not this directory's to set up anew: make takes it for up to date.
        if (stamp := ROOT / ".venv" / ".up-to-date").exists():
            stamp.touch()
        # The environment is linked here, and not this directory's to change: for make it is up to date.
        if not (ROOT / ".venv" / ".up-to-date").exists():
            raise RuntimeError("the README's commands need an environment: run make setup")
        (directory / "pyproject.toml").unlink()
        (directory / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
        os.utime(directory / "pyproject.toml", (0, 0))

    def __enter__(self) -> Tour:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.terminate()
            server.wait(timeout=20)
            if server.stdout is not None:
                server.stdout.close()

    def run(self, command: str) -> str:
        """Run one command as a reader would type it; return what a terminal would show."""
        command = self.real(command)
        if command.endswith("&"):
            return self._shown(self._serve(command.rstrip("& ")))
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL if "|" not in command else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return self._shown(done.stdout)

    def real(self, text: str) -> str:
        """A text of the page with the ports that are really listened at."""
        for shown, real in self._ports.items():
            text = text.replace(f":{shown}", f":{real}")
        return text

    def _serve(self, command: str) -> str:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._servers.append(server)
        assert server.stdout is not None
        return server.stdout.readline()

    def _shown(self, output: str) -> str:
        for shown, real in self._ports.items():
            output = output.replace(f":{real}", f":{shown}")
        return output


def rewritten(text: str, tour: Tour) -> str:
    """The README with each block's real output."""

    def block(match: re.Match[str]) -> str:
        commands = [line[2:] for line in match.group(1).splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"$ {command}\n{tour.run(command)}" for command in commands) + "```"

    return _BLOCK.sub(block, text)


def main() -> None:
    """Rewrite the README."""
    with tempfile.TemporaryDirectory() as directory, Tour(Path(directory)) as tour:
        README.write_text(rewritten(README.read_text(), tour))


if __name__ == "__main__":
    main()
