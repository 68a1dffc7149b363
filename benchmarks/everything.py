"""All benchmarks in one run, each with few rounds, and one table of what was to be reached.

A part that fails is a row of the table, and the others go on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks import flow, registry, startup
from benchmarks.fleet import SHAPES, Fleet
from benchmarks.reach import Findings, Secure, Three, details, publish, rows, table
from benchmarks.run import RESULTS, ROOT, Link, machine, measure, prove, run, say
from benchmarks.run import table as compared
from benchmarks.tools import TOOLS
from tests.support.authority import Authority
from tests.support.distribution import Distribution, roomy_directory

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = ROOT / "docs" / "performance.md"
LINK: Final = Link(40, 400)
SEED: Final = 1


def _tools(*names: str) -> list[str]:
    return [name for name in names if TOOLS[name].present()]


def _fleet(
    name: str, rounds: int, binary: str, once: list[str], rivals: list[str], link: Link | None = None
) -> object:
    own = [TOOLS["bare"], TOOLS["mmgraph"]] if name != "M" else [TOOLS["mmgraph"]]
    return run(
        name,
        SEED,
        rounds,
        own,
        binary,
        link,
        once=[TOOLS[each] for each in once],
        rivals=[TOOLS[each] for each in rivals],
    )


def three(shape: str, binary: str) -> Three:
    """Mirror a fleet to three registries in one run of mmgraph, and prove all three."""
    work = Path(tempfile.mkdtemp(prefix="mmgraph-three-", dir=roomy_directory()))
    try:
        fleet = Fleet(SHAPES[shape], SEED, work / "blobs")
        fleet.write_distribution_storage(work / "source")
        with ExitStack() as registries:
            source = registries.enter_context(Distribution(work / "source", binary=binary))
            places = [registries.enter_context(Distribution(binary=binary)) for _ in range(3)]
            specs = work / "specs.json"
            specs.write_text("".join(fleet.specs(source.address, place.address) for place in places))
            command = [sys.executable, "-m", "mmgraph", "apply", str(specs)]
            cost = measure(command, work, source, places[0])
            for place in places:
                prove(fleet, place, blobs_only=False)
        return Three(cost.read, fleet.truth().unique_bytes, cost.wall)
    finally:
        shutil.rmtree(work)


def secure(shape: str, binary: str) -> Secure:
    """Mirror a fleet between two registries that speak TLS, and prove it."""
    work = Path(tempfile.mkdtemp(prefix="mmgraph-secure-", dir=roomy_directory()))
    try:
        fleet = Fleet(SHAPES[shape], SEED, work / "blobs")
        fleet.write_distribution_storage(work / "source")
        authority = Authority(work)
        certificate, key = authority.files(work, "127.0.0.1")
        tls = {"http": {"tls": {"certificate": str(certificate), "key": str(key)}}}
        with (
            Distribution(work / "source", binary=binary, settings=tls) as source,
            Distribution(binary=binary, settings=tls) as destination,
        ):
            specs = work / "specs.json"
            specs.write_text(fleet.specs(source.address, destination.address))
            command = [sys.executable, "-m", "mmgraph", "apply", "--ca", str(authority.file), str(specs)]
            cost = measure(command, work, source, destination)
            prove(fleet, destination, blobs_only=False)
        return Secure(fleet.truth().unique_bytes, cost.wall, cost.cpu)
    finally:
        shutil.rmtree(work)


def _alone(module: str, *arguments: str) -> dict[str, dict[str, float]]:
    """Return what a measure prints that runs in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def parts(findings: Findings, binary: str) -> dict[str, Callable[[], object]]:
    """Return what there is to measure, by name; each part notes what it finds. ``binary`` is the registry's."""

    def note(name: str, work: Callable[[], object]) -> Callable[[], object]:
        return lambda: setattr(findings, name, work())

    peers = _tools("magic-mirror", "ocync", "regsync", "crane", "skopeo")
    # Those that take a set in one call: crane and skopeo would pay for a connection anew with each image.
    others = _tools("magic-mirror", "ocync", "regsync")
    return {
        "start-up": note("startup", startup.measure),
        "scale": note("scale", lambda: [_alone("scale", "--one", str(n)) for n in (10_000, 100_000)]),
        "plans": note("plans", lambda: {n: _alone("plans", str(n)) for n in (2_000, 10_000)}),
        "memory": note("flow", flow.measure),
        "fleet A": note("loopback", lambda: _fleet("A", 3, binary, peers, [])),
        "fleet W": note("link", lambda: _fleet("W", 2, binary, others, _tools("regsync"), LINK)),
        "fleet M": note("many", lambda: _fleet("M", 1, binary, _tools("magic-mirror"), [])),
        "three registries": note("three", lambda: three("A", binary)),
        "TLS": note("secure", lambda: secure("A", binary)),
    }


def _shown(findings: Findings) -> str:
    """Return all tables, the one of what is reached first."""
    where = findings.machine
    results = [each for each in (findings.loopback, findings.link, findings.many) if each is not None]
    versions = {"registry": findings.registry}
    for result in results:
        versions.update(result.versions)
    machine_and_day = (
        f"{findings.date}; {where['cores']} cores ({where['cpu']}), {where['system']}, Python {where['python']},"
        f" load before {where['load_before']}; {sum(findings.seconds.values()):.0f} s for all."
    )
    named = "; ".join(f"{name}: {version}" for name, version in versions.items())
    shown = [
        f"{machine_and_day}\n{named}; seed {SEED}. {registry.remark(findings.registry)}".rstrip(),
        table(rows(findings)),
    ]
    for result in results:
        link = result.link
        way = f"a link of {link.round_trip:g} ms and {link.rate:g} Mbit/s" if link else "loopback"
        shown.append(f"Fleet {result.fleet}, {way}:\n\n{compared(result)}")
    return "\n\n".join([*shown, details(findings)])


def main(arguments: list[str]) -> None:
    """Run all benchmarks, or some, keep the numbers and print which reach was reached.

    A run of all of them is shown in docs/performance.md too.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.everything", description=main.__doc__)
    parser.add_argument("--only", nargs="*", metavar="PART", help="of the parts; else all, in their order")
    parser.add_argument("--registry", default=registry.default(), help="registry of distribution, 2.8 or 3")
    parser.add_argument("--no-save", action="store_true", help="write neither JSON nor the page")
    options = parser.parse_args(arguments)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%MZ")
    findings = Findings(date=now, machine=machine(), registry=registry.version(options.registry))
    todo = parts(findings, options.registry)
    chosen = todo if options.only is None else options.only
    if unknown := [name for name in chosen if name not in todo]:
        parser.error(f"no part: {', '.join(unknown)}; there are {', '.join(todo)}")
    say(f"registry at both ends: {findings.registry}. {registry.remark(findings.registry)}".rstrip())
    for name in chosen:
        say(f"== {name}")
        began = time.monotonic()
        try:
            todo[name]()
        except Exception as error:  # whatever it is, the other parts are measured
            findings.failed[name] = f"{type(error).__name__}: {error}"
            say(findings.failed[name])
        findings.seconds[name] = round(time.monotonic() - began, 1)
    shown = _shown(findings)
    print(shown)
    if not options.no_save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{findings.date}-all.json"
        content = {**msgspec.to_builtins(findings), "reach": msgspec.to_builtins(rows(findings))}
        path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
        say(f"kept as {path.relative_to(ROOT)}")
        if options.only is None:
            kept = f"`{path.relative_to(ROOT)}`"
            PAGE.write_text(publish(PAGE.read_text(), f"{shown}\n\nAll numbers: {kept}."))
            say(f"shown in {PAGE.relative_to(ROOT)}")
    say(f"took {sum(findings.seconds.values()):.0f} s: {findings.seconds}")


if __name__ == "__main__":
    main(sys.argv[1:])
