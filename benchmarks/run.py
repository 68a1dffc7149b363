"""The benchmark: every tool mirrors the same fleet, in turns, between the same real registries on tmpfs.

What is counted first are requests and bytes, from the registries' own access logs; seconds hold for one
machine and hour, so tools are interleaved within one run and compared with the bare loop of the same round.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks import registry
from benchmarks.fleet import SHAPES, Fleet
from benchmarks.tools import TOOLS, Job, Tool, version
from mmgraph.store import Operation
from tests.support.distribution import Distribution, roomy_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.distribution import Request

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
LIMIT_SECONDS: Final = 400
TURNS: Final = 5
"""How often tools are run beside each other with nothing left to do."""
LOOK_AGE_SECONDS: Final = 30
"""A tag whose last look is older is looked at again before it is written (docs/design.md)."""


class Cost(msgspec.Struct, frozen=True):
    """What one call of a tool cost: seconds, megabytes of its largest process, and requests by operation."""

    wall: float
    cpu: float
    rss: float
    source: dict[str, int]
    destination: dict[str, int]
    read: int
    """Bytes of blobs that the source sent."""
    busy: float = 0.0
    """How much of all cores was in use meanwhile, by the registries and all else too."""
    again: int = 0
    """Looks at a tag of the destination that had been looked at before: see ``looked_again``."""
    source_cpu: float = 0.0
    """Cpu seconds of the source's registry, and so on."""
    destination_cpu: float = 0.0
    relays_cpu: float = 0.0
    """Of the relays that made the link, both together."""


class Link(msgspec.Struct, frozen=True):
    """A wide-area link in front of each registry: milliseconds of a round trip, Mbit/s each way."""

    round_trip: float
    rate: float


class Round(msgspec.Struct, frozen=True):
    """One tool once: into an empty registry, and again with nothing left to do."""

    tool: str
    number: int
    cold: Cost
    warm: Cost | None
    beside: dict[str, list[Cost]] = {}
    """By tool: warm runs of this one and of others in turns, at the destination that this one has filled."""
    start: Cost | None = None
    """A warm run of one tag alone: what start-up takes, with all that a run needs to have imported."""


class Result(msgspec.Struct, frozen=True):
    """All that a run of the benchmark found out, and where."""

    date: str
    fleet: str
    seed: int
    link: Link | None
    truth: Any
    machine: dict[str, Any]
    versions: dict[str, str]
    failed: list[str]
    """Peers that did not come to their end, and how."""
    rounds: list[Round]


def call(command: list[str], home: Path) -> tuple[float, float, float]:
    """Run a tool to its end and return wall seconds, user and system seconds, and peak RSS in megabytes.

    The numbers are those of ``wait4``: of the tool and of the children that it waited for.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    places = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "TMPDIR")
    log, result = home / "log", home / "result.json"
    caller = [sys.executable, "-I", "-S", str(ROOT / "benchmarks" / "call.py"), str(result)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            caller + command,
            cwd=ROOT,
            env={**kept, **dict.fromkeys(places, str(home))},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(LIMIT_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    cost = json.loads(result.read_text())
    if cost["code"] != 0:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{command[0]} ended with {cost['code']}: {tail}")
    return cost["wall"], cost["cpu"], cost["rss"] / 1000


def _requests(requests: list[Request]) -> dict[str, int]:
    counts = Counter(str(request.operation or f"{request.method} other") for request in requests)
    # A probe is a mount of a repository's own blob, once a run; what is still missing there is answered by 202.
    if any(
        each.mount_from and each.mount_from == each.repository and each.status == 201 for each in requests
    ):
        counts[str(Operation.POST_UPLOAD)] -= 1
        counts[str(Operation.PROBE)] += 1
    return dict(counts)


def looked_again(requests: Sequence[Request]) -> int:
    """Return how many looks at a tag were made because the one before had grown old, as the access log tells.

    A tag that was last looked at more than 30 seconds ago is read again before it is written (docs/design.md). A look
    that comes sooner is not that, whatever it is, and none is after the tag's first PUT. The log cuts seconds off, so
    that a look may have come sooner by a second or less and be counted: what is more than 30 apart is never less there.
    """
    last: dict[tuple[str, str], float] = {}
    written: set[tuple[str, str]] = set()
    again = 0
    for each in requests:
        if ":" in each.name:  # a digest is no tag
            continue
        tag = each.repository, each.name
        if each.operation is Operation.PUT_MANIFEST:
            written.add(tag)
        elif each.operation is Operation.HEAD_MANIFEST and tag not in written:
            again += each.at - last.get(tag, each.at) >= LOOK_AGE_SECONDS
            last[tag] = each.at
    return again


def _used(pids: Sequence[int]) -> float:
    """Return the cpu seconds that processes have used up to now, in user and in kernel mode (proc(5), stat)."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def _cores() -> tuple[int, int]:
    """Return how long all cores have been idle since the machine started, and how long all in all, in ticks."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)  # waiting for a disk is idle, too


def measure(command: list[str], home: Path, source: Distribution, destination: Distribution) -> Cost:
    """Run a tool and return what it cost, by its own use and by the registries' logs."""
    source.forget()
    destination.forget()
    processes = [source.pid], [destination.pid], relaying
    before = [_used(each) for each in processes]
    idle, total = _cores()
    wall, cpu, rss = call(command, home)
    idle, total = (after - before for after, before in zip(_cores(), (idle, total), strict=True))
    used = [_used(each) - earlier for each, earlier in zip(processes, before, strict=True)]
    source_cpu, destination_cpu, relays_cpu = used
    asked, sent = source.requests(), destination.requests()
    return Cost(
        wall=wall,
        cpu=cpu,
        rss=rss,
        source=_requests(asked),
        destination=_requests(sent),
        read=sum(request.size for request in asked if request.operation is Operation.GET_BLOB),
        busy=round(1 - idle / max(total, 1), 3),
        again=looked_again(sent),
        source_cpu=source_cpu,
        destination_cpu=destination_cpu,
        relays_cpu=relays_cpu,
    )


def prove(fleet: Fleet, destination: Distribution, *, blobs_only: bool) -> None:
    """See in the destination's storage that all is there; the registry itself has verified every digest."""
    home = destination.storage / "docker" / "registry" / "v2" / "repositories"
    present = destination.blobs()
    for repository, tags in fleet.tags.items():
        documents, blobs = fleet.held(repository)
        if blobs_only:
            missing = set(blobs) - present
        else:
            here = home / repository
            linked = {f"sha256:{path.parent.name}" for path in here.glob("_layers/sha256/*/link")}
            listed = {
                f"sha256:{path.parent.name}" for path in here.glob("_manifests/revisions/sha256/*/link")
            }
            missing = (set(blobs) - (linked & present)) | (set(documents) - (listed & present))
            found = {
                path.parents[1].name: path.read_text() for path in here.glob("_manifests/tags/*/current/link")
            }
            if found != tags:
                raise RuntimeError(f"{repository}: tags {found}, not {tags}")
        if missing:
            raise RuntimeError(f"{repository}: {len(missing)} are missing, {min(missing)} is one")


def relay() -> Path:
    """Build the relay where its source is newer, and return it; raises ``RuntimeError`` without Go."""
    source, binary = ROOT / "benchmarks" / "link", ROOT / ".cache" / "link"
    if not binary.exists() or binary.stat().st_mtime < (source / "main.go").stat().st_mtime:
        if shutil.which("go") is None:
            raise RuntimeError("a link is made by a relay in Go, which is not installed")
        subprocess.run(["go", "build", "-o", str(binary), "."], cwd=source, check=True)
    return binary


relaying: list[int] = []
"""Process ids of the relays that run."""


@contextmanager
def linked(registry: Distribution, link: Link | None) -> Iterator[str]:
    """Yield the address at which tools reach ``registry``: its own, or that of a slow link in front of it."""
    if link is None:
        yield registry.address
        return
    command = [str(relay()), "--round-trip", str(link.round_trip), "--rate", str(link.rate), registry.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        relaying.append(process.pid)
        try:
            yield process.stdout.readline().strip()
        finally:
            relaying.remove(process.pid)
            process.terminate()


def one(
    tool: Tool,
    number: int,
    fleet: Fleet,
    source: Distribution,
    work: Path,
    binary: str,
    link: Link | None,
    rivals: Sequence[Tool] = (),
) -> Round:
    """Let a tool mirror the fleet into a fresh registry, and then once more; prove both.

    With ``rivals``, it and they are then run warm in turns, at the same destination.
    """
    home = Path(tempfile.mkdtemp(prefix=f"{tool.name}-", dir=work))
    beside, start = dict[str, list[Cost]](), None
    try:
        with (
            Distribution(binary=binary) as destination,
            linked(source, link) as near,
            linked(destination, link) as far,
        ):
            job = Job(fleet, near, far, home, far=link is not None)
            command = tool.command(job)
            cold = measure(command, home, source, destination)
            prove(fleet, destination, blobs_only=not tool.mirrors)
            warm = None
            if tool.mirrors:
                warm = measure(command, home, source, destination)
                if tool.name == "mmgraph":
                    first = home / "first.json"
                    first.write_text((home / "specs.json").read_text().partition("\n")[0])
                    start = measure([*command[:-1], str(first)], home, source, destination)
                for each in [tool, *rivals] * TURNS if rivals else []:
                    cost = measure(each.command(job), home, source, destination)
                    beside.setdefault(each.name, []).append(cost)
                prove(fleet, destination, blobs_only=False)
        return Round(tool.name, number, cold, warm, beside, start)
    finally:
        shutil.rmtree(home)


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _spread(values: list[float], digits: int = 1) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low}–{high}"


def _whole(values: list[int]) -> str:
    return str(values[0]) if min(values) == max(values) else f"{min(values)}–{max(values)}"


def table(result: Result) -> str:
    """Return the result as a Markdown table, in the order in which the tools were named."""
    by_tool: dict[str, list[Round]] = {}
    for each in result.rounds:
        by_tool.setdefault(each.tool, []).append(each)
    bare = {each.number: each.cold.wall for each in by_tool.get("bare", [])}
    rows = [
        (
            "| tool | cold wall s | × bare loop | cpu s | rss MB | source requests | destination requests"
            " | read / unique | warm wall s | warm requests |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rounds in by_tool.items():
        cold = [each.cold for each in rounds]
        warm = [each.warm for each in rounds if each.warm is not None]
        ratios = [each.cold.wall / bare[each.number] for each in rounds if each.number in bare]
        cells = [
            name,
            _spread([cost.wall for cost in cold]),
            f"{median(ratios):.2f}" if ratios else "",
            _spread([cost.cpu for cost in cold]),
            _spread([cost.rss for cost in cold], 0),
            _whole([sum(cost.source.values()) for cost in cold]),
            _whole([sum(cost.destination.values()) for cost in cold]),
            _spread([cost.read / result.truth["unique_bytes"] for cost in cold], 2),
            _spread([cost.wall for cost in warm], 2) if warm else "",
            _whole([sum(cost.source.values()) for cost in warm])
            + " + "
            + _whole([sum(cost.destination.values()) for cost in warm])
            if warm
            else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    fewest = [sum(result.truth[side].values()) for side in ("source", "destination")]
    tags = result.truth["tags"]
    rows += [f"| failed: {each.replace('|', ' ')} | | | | | | | | | |" for each in result.failed]
    rows.append(f"| the fewest | | | | | {fewest[0]} | {fewest[1]} | 1.00 | | {tags} + {tags} |")
    return "\n".join(rows)


def say(text: str) -> None:
    """Tell how far the run is."""
    print(text, file=sys.stderr, flush=True)


def _first_words(error: Exception) -> str:
    """What went wrong, in one line: a tool's own error is the last that it says."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " … ".join(dict.fromkeys((lines[0], next((line for line in lines if "rror" in line), lines[-1]))))


def run(
    fleet_name: str,
    seed: int,
    rounds: int,
    tools: list[Tool],
    binary: str,
    link: Link | None,
    *,
    once: Sequence[Tool] = (),
    rivals: Sequence[Tool] = (),
) -> Result:
    """Make the fleet, serve it, and let every tool mirror it once a round, each round in another order.

    ``once``: tools that take part in the last round only; ``rivals``: those that mmgraph is compared with warm.
    """
    work = Path(tempfile.mkdtemp(prefix="mmgraph-bench-", dir=roomy_directory()))
    try:
        say(f"making fleet {fleet_name}")
        fleet = Fleet(SHAPES[fleet_name], seed, work / "blobs")
        fleet.write_distribution_storage(work / "source")
        where = machine()
        done: list[Round] = []
        failed: list[str] = []
        with Distribution(work / "source", binary=binary) as source:
            for number in range(rounds):
                turn = tools[number % len(tools) :] + tools[: number % len(tools)]
                for tool in [*turn, *(once if number == rounds - 1 else ())]:
                    against = rivals if tool.name == "mmgraph" else ()
                    try:
                        each = one(tool, number, fleet, source, work, binary, link, against)
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        # What fails is a result too, and no reason to lose the others'.
                        failed.append(f"{tool.name} in round {number + 1}: {_first_words(error)}")
                        say(failed[-1])
                        continue
                    warm = f", warm {each.warm.wall:.2f} s" if each.warm else ""
                    say(f"round {number + 1}: {tool.name} cold {each.cold.wall:.2f} s{warm}")
                    done.append(each)
    finally:
        shutil.rmtree(work)
    if not done:
        raise RuntimeError(f"nothing came to its end: {failed[0]}")
    everyone = [*tools, *once]
    order = [tool.name for tool in everyone]
    return Result(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%MZ"),
        fleet=fleet_name,
        seed=seed,
        link=link,
        truth=msgspec.to_builtins(fleet.truth()),
        machine=where,
        versions={
            "registry": registry.version(binary),
            **{tool.name: version(tool) for tool in (*everyone, *rivals)},
        },
        failed=failed,
        rounds=sorted(done, key=lambda each: (order.index(each.tool), each.number)),
    )


def main(arguments: list[str]) -> None:
    """Compare the tools that are installed on one fleet, and keep the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=main.__doc__)
    parser.add_argument("--fleet", choices=sorted(SHAPES), default="A")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--tools", help=f"of {' '.join(TOOLS)}, joined by commas; else all that are installed"
    )
    parser.add_argument("--registry", default=registry.default(), help="registry of distribution, 2.8 or 3")
    parser.add_argument("--link", metavar="MS,MBIT", help="a link in front of each registry, such as 40,400")
    parser.add_argument(
        "--no-save", action="store_true", help=f"write nothing to {RESULTS.relative_to(ROOT)}"
    )
    options = parser.parse_args(arguments)
    names = options.tools.split(",") if options.tools else [t.name for t in TOOLS.values() if t.present()]
    unknown = [name for name in names if name not in TOOLS or not TOOLS[name].present()]
    if unknown:
        parser.error(f"not installed: {' '.join(unknown)}")
    tools = [TOOLS[name] for name in names]
    link = Link(*map(float, options.link.split(","))) if options.link else None
    told = registry.version(options.registry)
    about = f"Registry at both ends: {told}. {registry.remark(told)}".strip()
    say(about)
    result = run(options.fleet, options.seed, options.rounds, tools, options.registry, link)
    print(f"{table(result)}\n\n{about}")
    if not options.no_save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{result.date}-{result.fleet}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
        say(f"kept as {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
