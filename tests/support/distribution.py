"""A real registry of distribution on loopback, and what its access log says. Knows no client of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from mmgraph.store import Operation

_START_SECONDS: Final = 20
_QUIET_SECONDS: Final = 0.05
_DRAIN_SECONDS: Final = 2
_ROOM: Final = 256 << 20

# gorilla/handlers' combined format; it escapes quotes and control characters inside the quoted fields.
_LINE: Final = re.compile(
    r'(?P<host>\S+) - (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>\S+) (?P<target>.*)'
    r' (?P<protocol>HTTP/[0-9.]+)" (?P<status>[0-9]{3}) (?P<size>[0-9]+)'
    r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
)
_PATH: Final = re.compile(
    r"/v2/(?P<repository>.+)/(?:(?P<manifests>manifests)/(?P<manifest>[^/]+)|(?P<tags>tags/list)"
    r"|(?P<uploads>blobs/uploads)/(?P<upload>[^/]*)|(?P<blobs>blobs)/(?P<blob>[^/]+))"
)
_OPERATIONS: Final = {
    ("HEAD", "manifests"): Operation.HEAD_MANIFEST,
    ("GET", "manifests"): Operation.GET_MANIFEST,
    ("PUT", "manifests"): Operation.PUT_MANIFEST,
    ("GET", "tags"): Operation.GET_TAGS,
    ("GET", "uploads"): Operation.GET_UPLOAD,
    ("HEAD", "blobs"): Operation.HEAD_BLOB,
    ("GET", "blobs"): Operation.GET_BLOB,
    ("POST", "uploads"): Operation.POST_UPLOAD,
    ("PATCH", "uploads"): Operation.PATCH_UPLOAD,
    ("PUT", "uploads"): Operation.PUT_BLOB,
    ("DELETE", "uploads"): Operation.DELETE_UPLOAD,
}


class Request(msgspec.Struct, frozen=True):
    """One line of the access log.

    ``operation`` is None for what mmgraph never asks. A probe is an ordinary ``POST_UPLOAD`` on the wire,
    with ``mount_from`` naming its own repository. ``name`` is the tag, digest or upload id, for a POST the
    digest it asks to mount; ``size`` the bytes of the answer's body (for HEAD of a failure, those it would
    have had).
    """

    method: str
    target: str
    operation: Operation | None
    repository: str
    name: str
    status: int
    size: int
    mount_from: str = ""
    agent: str = ""
    at: float = 0.0
    """When it came, in whole seconds since the epoch."""


def parse(line: str) -> Request:
    """Return what one line of the access log says; a line of any other form is a ``ValueError``."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a line of an access log: {line!r}")
    method, target = match["method"], match["target"]
    status, size, agent = int(match["status"]), int(match["size"]), match["agent"]
    at = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    url = urlsplit(target)
    if url.path in {"/v2/", "/v2"}:
        ping = Operation.PING if method == "GET" else None
        return Request(method, target, ping, "", "", status, size, agent=agent, at=at)
    path = _PATH.fullmatch(unquote(url.path))
    if path is None:
        return Request(method, target, None, "", "", status, size, agent=agent, at=at)
    noun = next(noun for noun in ("manifests", "tags", "uploads", "blobs") if path[noun])
    query = parse_qs(url.query)
    name = path["manifest"] or path["blob"] or path["upload"] or query.get("mount", [""])[0]
    operation = _OPERATIONS.get((method, noun))
    mount_from = query.get("from", [""])[0]
    return Request(method, target, operation, path["repository"], name, status, size, mount_from, agent, at)


def count(requests: list[Request]) -> dict[Operation, int]:
    """Return how many there are of each operation; what is no operation of mmgraph is an error."""
    strange = [request for request in requests if request.operation is None]
    if strange:
        raise ValueError(f"not an operation of mmgraph: {strange[0]}")
    return dict(Counter(request.operation for request in requests if request.operation))


class Distribution:
    """One registry as a context manager: running inside, stopped after, its own storage deleted.

    ``storage`` is kept where the caller names it. ``settings`` are merged over the configuration
    (distribution, docs/configuration.md), ``binary`` may be that of distribution 3. A missing binary is a
    ``FileNotFoundError``.
    """

    def __init__(
        self,
        storage: Path | None = None,
        *,
        settings: dict[str, Any] | None = None,
        binary: str = "docker-registry",
    ) -> None:
        found = shutil.which(binary)
        if found is None:
            raise FileNotFoundError(f"{binary} is not installed: the tests need a real registry")
        self._binary = found
        self._settings = settings or {}
        self._home = Path(tempfile.mkdtemp(prefix="mmgraph-registry-", dir=roomy_directory()))
        self._log = self._home / "access.log"
        self._errors = self._home / "errors.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._skip = 0
        self.storage = storage or self._home / "storage"

    @property
    def address(self) -> str:
        """``host:port``; the same after a restart."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process that serves."""
        if self._process is None:
            raise RuntimeError("the registry is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._clear()

    def start(self) -> None:
        """Start and wait until the registry answers; a port taken meanwhile is given up for another."""
        deadline = time.monotonic() + _START_SECONDS
        fixed = self._port
        self.storage.mkdir(parents=True, exist_ok=True)
        while time.monotonic() < deadline:
            self._port = fixed or _free_port()
            self._launch()
            while time.monotonic() < deadline and self._alive():
                if self._answers():
                    return
                time.sleep(0.02)
            self.stop()
        raise TimeoutError(f"the registry did not start: {self._errors.read_text()[-2000:]}")

    def stop(self) -> None:
        """Finish what is under way, for two seconds at most, and stop; then the access log is complete."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_DRAIN_SECONDS + 1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Stop as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def requests(self) -> list[Request]:
        """Return the requests since the start, or since ``forget``, without those that awaited the start.

        A line is written after its answer, so while the registry runs this waits until the log is quiet.
        """
        size = -1
        while self._process is not None and size != (size := self._log.stat().st_size):
            time.sleep(_QUIET_SECONDS)
        lines = self._log.read_text().splitlines()[self._skip :]
        return [request for request in map(parse, lines) if request.agent != _AGENT]

    def counts(self) -> dict[Operation, int]:
        """Return how many requests of each operation there were, as ``requests`` does."""
        return count(self.requests())

    def forget(self) -> None:
        """Count from here on."""
        self.requests()
        self._skip = len(self._log.read_text().splitlines())

    def blobs(self) -> set[str]:
        """Return the digests of all blobs and documents in storage."""
        place = self.storage / "docker" / "registry" / "v2" / "blobs"
        return {f"{path.parts[-4]}:{path.parts[-2]}" for path in place.glob("*/*/*/data")}

    def uploads(self) -> list[str]:
        """Return the repositories of the upload sessions that were left open."""
        place = self.storage / "docker" / "registry" / "v2" / "repositories"
        return sorted(str(path.parents[1].relative_to(place)) for path in place.glob("**/_uploads/*"))

    def _launch(self) -> None:
        configuration: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage), "maxthreads": 100},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.address, "draintimeout": f"{_DRAIN_SECONDS}s"},
        }
        path = self._home / "configuration.yml"
        path.write_text(json.dumps(_merged(configuration, self._settings)))  # YAML reads JSON
        command = [self._binary, "serve", str(path)]
        if (setpriv := shutil.which("setpriv")) is not None:
            command = [setpriv, "--pdeathsig", "KILL", *command]  # no orphan where the tests are killed
        with self._log.open("ab") as log, self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                # Without it distribution 3 sends its traces to localhost.
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        try:
            connection.request("GET", "/v2/", headers={"User-Agent": _AGENT})
            # 400 is what a registry with TLS says to a client without.
            return connection.getresponse().status in {200, 400, 401} and self._alive()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _clear(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)


_AGENT: Final = "mmgraph-tests-await-the-start"


def roomy_directory() -> str | None:
    """Return the directory of a tmpfs with room, or None for the default of ``tempfile``."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _ROOM:
        return str(memory)
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in over.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both
