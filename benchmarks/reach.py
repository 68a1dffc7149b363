"""What mmgraph is held to, and whether a run of all benchmarks reached it. Measures nothing.

A row that could not be measured is no row that is reached: it says why.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, TypeGuard

import msgspec

from benchmarks.flow import Flow
from benchmarks.run import LOOK_AGE_SECONDS, Result
from mmgraph.store import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.run import Cost, Round

APART: Final = frozenset({Operation.PING, Operation.TOKEN, Operation.PROBE})
"""What is counted apart from the fewest requests; nothing else is."""


class Three(msgspec.Struct, frozen=True):
    """One fleet to three registries in one run: bytes that the source sent, and the fleet's own."""

    read: int
    unique: int
    wall: float


class Secure(msgspec.Struct, frozen=True):
    """One fleet over TLS at both ends: bytes that were moved, and what that took of mmgraph."""

    unique: int
    wall: float
    cpu: float


class Findings(msgspec.Struct, kw_only=True):
    """What all benchmarks of one run found; what is None, or empty, was not measured."""

    date: str
    machine: dict[str, object]
    registry: str = ""
    """What the registry says of itself that stands at both ends."""
    loopback: Result | None = None
    """Fleet A."""
    link: Result | None = None
    """Fleet W, through the link."""
    many: Result | None = None
    """Fleet M."""
    three: Three | None = None
    secure: Secure | None = None
    scale: list[dict[str, float]] = []
    flow: Flow | None = None
    startup: dict[str, list[tuple[float, float]]] = {}
    """Wall and cpu seconds of each turn."""
    plans: dict[int, dict[str, dict[str, float]]] = {}
    """By number of images, what each step took."""
    seconds: dict[str, float] = {}
    """What each part of the run took."""
    failed: dict[str, str] = {}
    """Parts that came to no end, and why."""


class Row(msgspec.Struct, frozen=True):
    """One reach: what was measured, and whether that is within it; None where nothing was measured."""

    work: str
    reach: str
    measured: str
    reached: bool | None


def at_most(work: str, value: float, limit: float, unit: str, digits: int = 2, detail: str = "") -> Row:
    """Return the row of a number that may be so large; it is judged as it is, not as it is printed."""
    space = " " if unit[:1].isalpha() else ""
    measured = f"{value:.{digits}f}{space}{unit}{detail and f' ({detail})'}"
    return Row(work, f"at most {limit:g}{space}{unit}", measured, value <= limit)


def link_seconds(result: Result) -> float:
    """Return what the link alone needs for the fleet's unique bytes."""
    assert result.link is not None
    return float(result.truth["unique_bytes"]) * 8 / (result.link.rate * 1e6)


def over_the_fewest(cost: Cost, fewest: dict[str, int]) -> float:
    """Return a cold run's destination requests over the fewest that can do it.

    Tag lists count, and so do tags that were looked at again because the first look had grown old (``Cost.again``).
    """
    sent = sum(count for operation, count in cost.destination.items() if operation not in APART)
    return sent / sum(fewest.values())


def _of(result: Result, tool: str) -> list[Round]:
    return [each for each in result.rounds if each.tool == tool]


def _has(result: Result | None, *tools: str) -> TypeGuard[Result]:
    """Whether there is a round of each tool."""
    return result is not None and all(_of(result, tool) for tool in tools)


def _ratios(result: Result, tool: str, base: str, number: Callable[[Cost], float]) -> list[float]:
    """Return how many times as much ``tool`` took as ``base`` in the same round."""
    bases = {each.number: number(each.cold) for each in _of(result, base)}
    return [number(each.cold) / bases[each.number] for each in _of(result, tool) if each.number in bases]


def _asked(cost: Cost) -> int:
    return sum(cost.source.values()) + sum(cost.destination.values())


def _busy(costs: list[Cost]) -> str:
    return f"the machine {median([cost.busy for cost in costs]):.0%} busy"


def _link(result: Result) -> Iterator[Row]:
    own = link_seconds(result)
    walls = {name: median([each.cold.wall for each in _of(result, name)]) for name in ("mmgraph", "bare")}
    busy = _busy([each.cold for each in _of(result, "mmgraph")])
    detail = f"{walls['mmgraph']:.1f} s; the bare loop {walls['bare'] / own:.2f}; {busy}"
    yield at_most(
        "fleet W through the link, cold", walls["mmgraph"] / own, 1.2, "× the link's time", detail=detail
    )
    warm: dict[str, list[float]] = {}
    for each in _of(result, "mmgraph"):
        for name, costs in each.beside.items():
            warm.setdefault(name, []).extend(cost.wall for cost in costs)
    work = "the same, warm"
    if "regsync" in warm:
        ours, theirs = median(warm["mmgraph"]), median(warm["regsync"])
        yield Row(work, "at most regsync's wall", f"{ours:.2f} s, regsync {theirs:.2f} s", ours <= theirs)
    else:
        ours = median([each.warm.wall for each in _of(result, "mmgraph") if each.warm])
        measured = f"{ours:.2f} s; regsync is not installed: make bench-peers"
        yield Row(work, "at most regsync's wall", measured, None)


def _loopback(result: Result) -> Iterator[Row]:
    work = "fleet A on loopback, cold:"
    walls = _ratios(result, "mmgraph", "bare", lambda cost: cost.wall)
    cpus = _ratios(result, "mmgraph", "bare", lambda cost: cost.cpu)
    busy = _busy([one.cold for one in _of(result, "mmgraph")])
    each = f"{', '.join(f'{ratio:.2f}' for ratio in walls)}; {busy}"
    yield at_most(f"{work} wall", median(walls), 1.1, "× the bare loop", detail=each)
    yield at_most(
        f"{work} cpu", median(cpus), 1.5, "× the bare loop", detail=", ".join(f"{r:.2f}" for r in cpus)
    )


def _bytes(findings: Findings) -> Iterator[Row]:
    results = [each for each in (findings.loopback, findings.link, findings.many) if _has(each, "mmgraph")]
    read = {
        result.fleet: max(each.cold.read / result.truth["unique_bytes"] for each in _of(result, "mmgraph"))
        for result in results
    }
    if findings.three is not None:
        read["to three registries at once"] = findings.three.read / findings.three.unique
    if read:
        named = ", ".join(f"{name} {ratio:.4f}" for name, ratio in read.items())
        # What is read anew after a break would be too much by at least a blob: far more than half a percent.
        yield Row("source bytes / unique bytes", "1.00", named, max(read.values()) < 1.005)
    for result in results:
        fewest = result.truth["destination"]
        costs = [each.cold for each in _of(result, "mmgraph")]
        most, again = max((over_the_fewest(cost, fewest), cost.again) for cost in costs)
        once = most - again / sum(fewest.values())
        detail = f"{once:.4f} without {again:,} tags looked at again after {LOOK_AGE_SECONDS} s"
        work = f"destination requests, cold, fleet {result.fleet}"
        yield at_most(work, most, 1.02, "× the fewest", 4, detail if again else "")


def _many(result: Result, findings: Findings) -> Iterator[Row]:
    each = _of(result, "mmgraph")[0]
    bare = None
    if _has(findings.loopback, "bare"):
        bare = median([one.cold.wall for one in _of(findings.loopback, "bare")])
    peer = _of(result, "magic-mirror")
    for name, cost, times in (("cold", each.cold, 15.5), ("warm", each.warm, 0.65)):
        work = f"fleet M {name}: wall"
        assert cost is not None
        if peer and (theirs := peer[0].cold if name == "cold" else peer[0].warm) is not None:
            measured = f"{cost.wall:.2f} s, magic-mirror {theirs.wall:.2f} s"
            yield Row(work, "at most magic-mirror's wall", measured, cost.wall <= theirs.wall)
        elif bare is not None:
            detail = f"{cost.wall:.2f} s; {_busy([cost])}"
            yield at_most(work, cost.wall / bare, times, "× the bare loop on fleet A", detail=detail)
        else:
            yield Row(work, f"at most {times} × the bare loop on fleet A", f"{cost.wall:.2f} s", None)
        milliseconds, asked, limit, beside = cost.cpu * 1000, _asked(cost), 0.4, ""
        if name == "warm":
            limit, beside = 0.25, " beside start-up"
            if each.start is None:
                yield Row("fleet M warm: cpu", "at most 0.25 ms a request", "start-up was not measured", None)
                continue
            milliseconds -= each.start.cpu * 1000
            asked -= _asked(each.start)
        yield at_most(
            f"fleet M {name}: cpu{beside}",
            milliseconds / asked,
            limit,
            "ms a request",
            detail=f"{milliseconds / 1000:.2f} s, {asked} requests",
        )


def _scale(rows: list[dict[str, float]]) -> Iterator[Row]:
    small, large = min(rows, key=lambda row: row["images"]), max(rows, key=lambda row: row["images"])
    work = f"plan of {large['images']:,.0f} images"
    counted = f"{large['nodes']:,.0f} nodes"
    yield at_most(f"{work}: cpu", large["cpu_seconds"], 60, "s", 1, counted)
    yield at_most(f"{work}: memory", large["rss_mb"] / 1000, 3, "GB")
    times = large["images"] / small["images"] * 1.1
    for name, key in (("cpu", "cpu_seconds"), ("memory", "rss_mb")):
        detail = f"against {small['images']:,.0f} images"
        yield at_most(f"{work}: {name} is linear", large[key] / small[key], times, "×", 1, detail)


def _flow(flow: Flow) -> Iterator[Row]:
    third = len(flow.resident) // 3
    first, last = max(flow.resident[:third]), max(flow.resident[-third:])
    work = f"{flow.transfers} transfers of 10 GiB at once:"
    yield at_most(f"{work} peak memory", flow.peak, 200, "MB", 0, f"{flow.gigabytes:.1f} GB moved")
    measured = f"first third at most {first:.0f} MB, last third {last:.0f} MB"
    yield Row(f"{work} flat over time", "at most 1.05 × the first third", measured, last <= 1.05 * first)


def _startup(found: dict[str, list[tuple[float, float]]]) -> Iterator[Row]:
    walls = {name: median([wall for wall, _ in turns]) for name, turns in found.items()}
    app, shown, empty = (
        walls[name] for name in ("empty cyclopts app", "mmgraph --help", "mmgraph plan of an empty set")
    )
    detail = f"{shown:.3f} s, the app {app:.3f} s"
    yield at_most("mmgraph --help", shown / app, 1.5, "× an empty cyclopts app", detail=detail)
    yield at_most("mmgraph plan of an empty set", empty, 0.35, "s", 3)


def _plans(plans: dict[int, dict[str, dict[str, float]]]) -> Iterator[Row]:
    for name in ("write", "read"):
        if 10_000 in plans:
            took = plans[10_000][name]
            detail = f"{took['megabytes']:.0f} MB"
            yield at_most(f"{name} a plan of 10,000 images", took["seconds"], 3, "s", detail=detail)
    if 2_000 in plans:
        yield at_most("html of 2,000 images", plans[2_000]["html"]["megabytes"], 5, "MB", 1)


def rows(findings: Findings) -> list[Row]:
    """Return a row for each reach, in the order in which they were set; what failed is a row as well."""
    found: list[Row] = []
    if _has(findings.link, "mmgraph", "bare"):
        found += _link(findings.link)
    if _has(findings.loopback, "mmgraph", "bare"):
        found += _loopback(findings.loopback)
    found += _bytes(findings)
    if _has(findings.many, "mmgraph"):
        found += _many(findings.many, findings)
    if findings.scale:
        found += _scale(findings.scale)
    if findings.flow is not None:
        found += _flow(findings.flow)
    if findings.startup:
        found += _startup(findings.startup)
    found += _plans(findings.plans)
    for result in (findings.loopback, findings.link, findings.many):
        if result is not None:
            found += [Row(f"fleet {result.fleet}", "", each, None) for each in result.failed]
    return found + [Row(name, "", cause.splitlines()[0], None) for name, cause in findings.failed.items()]


_VERDICTS: Final = {True: "reached", False: "**missed**", None: "not measured"}


def table(reaches: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| work | reach | measured | |", "|---|---|---|---|"]
    for row in reaches:
        cells = [row.work, row.reach, row.measured.replace("|", " "), _VERDICTS[row.reached]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _known(cost: Cost) -> float:
    """Return the cpu seconds of all that a benchmark runs."""
    return cost.source_cpu + cost.destination_cpu + cost.relays_cpu + cost.cpu


def taken(result: Result) -> str:
    """Return who took what of the machine's cores during mmgraph's cold runs; of several runs, their medians."""
    costs, cores = [each.cold for each in _of(result, "mmgraph")], result.machine["cores"]
    named: dict[str, Callable[[Cost], float]] = {
        "the source's registry": lambda cost: cost.source_cpu,
        "the destination's": lambda cost: cost.destination_cpu,
        "the relays": lambda cost: cost.relays_cpu,
        "mmgraph": lambda cost: cost.cpu,
        # What another program takes of the machine is not the benchmark's, and makes a run one to be repeated.
        "all else": lambda cost: max(0.0, cost.busy * cost.wall * cores - _known(cost)),
    }
    if result.link is None:
        del named["the relays"]
    took = [f"{name} {median(map(number, costs)):.1f} s" for name, number in named.items()]
    there = median([cost.wall for cost in costs]) * cores
    return f"Fleet {result.fleet}, cold: {', '.join(took)} of the {there:.1f} core seconds."


def details(findings: Findings) -> str:
    """Return what the rows rest on and do not say: who took the cores, TLS, saved plans and formats."""
    results = (findings.loopback, findings.link, findings.many)
    lines = [f"- {taken(result)}" for result in results if _has(result, "mmgraph")]
    if findings.secure is not None:
        tls = findings.secure
        megabytes = tls.unique / 1e6
        lines.append(
            f"- Fleet A over TLS at both ends: {tls.wall:.1f} s, {tls.cpu:.1f} s of cpu; one core of mmgraph's moves"
            f" {megabytes / tls.cpu:.0f} MB/s, in and out."
        )
    if findings.plans:
        counts = sorted(findings.plans)
        lines += ["", f"| images | {' | '.join(f'{n:,} s | MB | RSS MB' for n in counts)} |"]
        lines.append("|---" * (1 + 3 * len(counts)) + "|")
        for name in findings.plans[counts[0]]:
            cells = []
            for count in counts:
                took = findings.plans[count][name]
                cells += [f"{took['seconds']:.2f}", f"{took['megabytes']:.1f}", f"{took['rss_mb']:.0f}"]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


BEGIN: Final = "<!-- what follows is written by make bench -->"
END: Final = "<!-- what precedes is written by make bench -->"


def publish(page: str, content: str) -> str:
    """Return a page with ``content`` between its two marks; raises ``ValueError`` where it has not both."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"
