"""The tools that can mirror a fleet: what each wants written down, and how it is called. Measures nothing."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.fleet import Fleet

AT_A_TIME: Final = 4
"""How many run side by side of the tools that copy one image a call."""


class Job(msgspec.Struct, frozen=True):
    """One fleet to mirror: from where, to where, and a directory of its own for what a tool wants on disk.

    ``far``: both are behind a slow link.
    """

    fleet: Fleet
    source: str
    destination: str
    home: Path
    far: bool = False

    def write(self, name: str, content: str) -> str:
        """Keep a file for the tool and return its path."""
        path = self.home / name
        path.write_text(content)
        return str(path)


class Tool(msgspec.Struct, frozen=True):
    """How to call a tool: ``command`` gives the arguments for a job, ``version`` asks what it is.

    ``mirrors`` is False for the bare loop, which moves blobs and no manifests, and has no warm run.
    """

    name: str
    command: Callable[[Job], list[str]]
    version: list[str]
    present: Callable[[], bool]
    mirrors: bool = True


def _pairs(job: Job) -> list[tuple[str, str]]:
    return [
        (f"{job.source}/{repository}:{tag}", f"{job.destination}/{repository}:{tag}")
        for repository, tag, _ in job.fleet.images()
    ]


def _each(*words: str) -> Callable[[Job], list[str]]:
    """Return a command that runs ``words`` for each image, four at a time.

    ``SRC`` and ``DST`` stand for the image's names.
    """
    transport = "docker://" if words[0] == "skopeo" else ""

    def command(job: Job) -> list[str]:
        lines = []
        for source, destination in _pairs(job):
            names = {"SRC": transport + source, "DST": transport + destination}
            lines.append(" ".join(names.get(word, word.format(job=job)) for word in words) + "\n")
        path = job.write("commands", "".join(lines))
        # No word of these commands holds anything that a shell would take for more than a word.
        each = ["--delimiter", "\\n", "-P", str(AT_A_TIME), "-n", "1", "sh", "-c", "exec $0"]
        return ["xargs", "--arg-file", path, *each]

    return command


def _bare(job: Job) -> list[str]:
    blobs: dict[str, tuple[str, str, int]] = {}
    for repository in job.fleet.tags:
        for digest, size in job.fleet.held(repository)[1].items():
            blobs.setdefault(digest, (repository, digest, size))
    path = job.write("blobs.json", json.dumps(list(blobs.values())))
    # What was found to be best for it at either: through a link 128 at a time are no faster than 64.
    width = ["--jobs", "64", "--largest-first"] if job.far else ["--jobs", "16"]
    return [sys.executable, "-m", "benchmarks.bare", job.source, job.destination, path, *width]


def _mmgraph(job: Job) -> list[str]:
    specs = job.write("specs.json", job.fleet.specs(job.source, job.destination))
    # As regsync is told: what finds that out by itself, by trying TLS first, spends two round trips on it.
    plain = ["--plain-http", job.source, "--plain-http", job.destination]
    return [sys.executable, "-m", "mmgraph", "apply", *plain, specs]


def _magic_mirror(job: Job) -> list[str]:
    specs = job.write("specs.json", job.fleet.specs(job.source, job.destination))
    return ["sh", "-c", f"exec magic-mirror <{specs}"]


def _regsync(job: Job) -> list[str]:
    configuration: dict[str, Any] = {
        "version": 1,
        "creds": [
            {"registry": registry, "tls": "disabled", "reqConcurrent": 16}
            for registry in (job.source, job.destination)
        ],
        "defaults": {"parallel": 8},
        "sync": [
            {"source": source, "target": destination, "type": "image"} for source, destination in _pairs(job)
        ],
    }
    return ["regsync", "once", "-c", job.write("regsync.yml", json.dumps(configuration))]


def _ocync(job: Job) -> list[str]:
    configuration: dict[str, Any] = {
        "global": {"cache_dir": str(job.home / "ocync")},
        "registries": {
            "source": {"url": job.source, "auth_type": "anonymous"},
            "destination": {"url": job.destination, "auth_type": "anonymous"},
        },
        "defaults": {"source": "source", "targets": "destination", "artifacts": {"enabled": False}},
        "mappings": [
            {"from": repository, "to": repository, "tags": {"glob": list(tags)}}
            for repository, tags in job.fleet.tags.items()
        ],
    }
    return ["ocync", "sync", "--config", job.write("ocync.yml", json.dumps(configuration))]


def _on_path(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


_TLS: Final = ("--host", "reg={job.source},tls=disabled", "--host", "reg={job.destination},tls=disabled")
_SKOPEO: Final = ("--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false")

TOOLS: Final = {
    tool.name: tool
    for tool in (
        Tool("bare", _bare, [sys.executable, "--version"], lambda: True, mirrors=False),
        Tool(
            "mmgraph",
            _mmgraph,
            [sys.executable, "-c", "import mmgraph; print(mmgraph.__version__)"],
            lambda: importlib.util.find_spec("mmgraph.__main__") is not None,
        ),
        Tool("magic-mirror", _magic_mirror, [], _on_path("magic-mirror")),
        Tool("ocync", _ocync, ["ocync", "--version"], _on_path("ocync")),
        Tool("regsync", _regsync, ["regsync", "version"], _on_path("regsync")),
        Tool(
            "regctl",
            _each("regctl", *_TLS, "image", "copy", "SRC", "DST"),
            ["regctl", "version"],
            _on_path("regctl"),
        ),
        Tool(
            "oras",
            _each("oras", "copy", "--from-plain-http", "--to-plain-http", "--no-tty", "SRC", "DST"),
            ["oras", "version"],
            _on_path("oras"),
        ),
        Tool("crane", _each("crane", "copy", "SRC", "DST"), ["crane", "version"], _on_path("crane")),
        Tool(
            "skopeo",
            _each("skopeo", "--insecure-policy", "copy", *_SKOPEO, "SRC", "DST"),
            ["skopeo", "--version"],
            _on_path("skopeo"),
        ),
    )
}


def version(tool: Tool) -> str:
    """Return the first line with a number in it that the tool says of itself, or ``unknown``."""
    if not tool.version:
        return "unknown"
    answer = subprocess.run(tool.version, capture_output=True, text=True, check=False, timeout=60)
    lines = (answer.stdout + answer.stderr).splitlines()
    return next((" ".join(line.split()) for line in lines if any(c.isdigit() for c in line)), "unknown")
