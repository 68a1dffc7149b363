"""Plans made without a registry: of whole fleets into empty destinations, and of what is hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.fleet import Fleet, Shape
from mmgraph.closure import Image, Unread
from mmgraph.evidence import Evidence, Look
from mmgraph.names import Digest, Reference
from mmgraph.oci import parse
from mmgraph.plan import Planner
from mmgraph.rules import Violation
from mmgraph.specs import CopySpec
from tests.golden.example import HOSTILE, Pool, digest_of, example
from tests.golden.example import spec as made

if TYPE_CHECKING:
    from mmgraph.plan import Plan


SCRIPTING: Final = "</script><script>alert(1)</script><!--\u2028\u2029<img src=x onerror=alert(1)>&lt;"
"""What a parser of HTML would obey."""


def fleet_plan(shape: Shape, destinations: tuple[str, ...] = ("dst.example",)) -> Plan:
    """Return the plan that mirrors a fleet from ``src.example`` to each of the ``destinations``."""
    fleet = Fleet(shape)
    documents = {Digest(each.digest): parse(each.raw, each.media_type) for each in fleet.documents.values()}
    evidence = Evidence()
    planner = Planner(evidence, documents)
    specs = [
        (
            CopySpec(
                Reference.parse(f"src.example/{name}:{tag}"), Reference.parse(f"{host}/mirror/{name}:{tag}")
            ),
            root,
        )
        for host in destinations
        for name, tag, root in fleet.images()
    ]
    for spec, _ in specs:
        place = spec.destination.repository
        evidence.empty(place)
        evidence.looks[place, str(spec.destination.tag)] = Look(None, 0.0)
    for spec, root in specs:
        planner.add(Image(spec, Digest(root), Digest(root)))
    return planner.finish()


def hostile() -> Plan:
    """Return a plan with all the text that a registry or a manifest can have written."""
    pool, evidence = Pool(), Evidence()
    root = pool.index([(pool.manifest(("config", 10), ("layer", 20)), f"linux/{SCRIPTING}")])
    planner = Planner(evidence, pool.documents)
    wanted = made("app:1", "mirror.example.com/app:1")
    place = wanted.destination.repository
    evidence.looks[place, "1"] = Look(None, 0.0)
    evidence.hold(place, digest_of("layer"), SCRIPTING)
    planner.add(Image(wanted, root, root))
    planner.fail(Unread(made("app:2", "mirror.example.com/app:2"), SCRIPTING + HOSTILE))
    return planner.finish()


def with_warnings() -> Plan:
    """Return the example with all that is to be known before it is carried out."""
    plan = example()
    tool = Reference.parse("mirror.example.com/team/tool:2")
    violation = Violation("small", 'largest = "1 MiB"', tool, "is too large", "tag", "2")
    return msgspec.structs.replace(
        plan,
        violations=(violation,),
        unchecked=(tool.repository.registry,),
        missing=(tool.repository,),
    )
