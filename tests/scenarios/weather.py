"""Bad weather: pauses in every form, storms, outages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from mmgraph.server import Refuse, Rule
from mmgraph.store import Operation
from tests.scenarios.reading import OBJECTS, media
from tests.scenarios.redirects import redirect
from tests.scenarios.rows import Row
from tests.scenarios.stage import DESTINATION, LARGE, SOURCE
from tests.support.hostile import reply
from tests.support.images import digest

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage

HEAD = Operation.HEAD_MANIFEST
GET = Operation.GET_MANIFEST
BLOB = Operation.GET_BLOB
POST = Operation.POST_UPLOAD
PUT = Operation.PUT_BLOB
PUT_MANIFEST = Operation.PUT_MANIFEST
TAGS = Operation.GET_TAGS

WALL = 1_800_000_000
OPERATIONS = {
    "HEAD at SRC": (SOURCE, HEAD),
    "manifest at SRC": (SOURCE, GET),
    "blob at SRC": (SOURCE, BLOB),
    "HEAD at DST": (DESTINATION, HEAD),
    "tags at DST": (DESTINATION, TAGS),
    "POST at DST": (DESTINATION, POST),
    "PUT at DST": (DESTINATION, PUT),
    "manifest at DST": (DESTINATION, PUT_MANIFEST),
}


def refusing(where: str, status: int, count: int | None = 1, after: str = "") -> Any:
    """Return an arrangement: one operation is refused so often."""

    def arrange(stage: Stage) -> None:
        host, kind = OPERATIONS[where]
        stage.image()
        code = "TOOMANYREQUESTS" if status == 429 else "UNKNOWN"
        answer = Refuse(status, code, {"Retry-After": after} if after else {})
        stage.internet.hosts[host].faults.add(Rule(answer, kind=kind, count=count))

    return arrange


def waited(where: str, least: float, most: float) -> Callable[[Stage, Run], object]:
    """Return a check that between the refusal and the next request to that host so many seconds passed."""

    def check(stage: Stage, run: Run) -> object:
        asked = stage.internet.hosts[OPERATIONS[where][0]].asked
        refused = next(number for number, one in enumerate(asked) if one.status == 429)
        gap = asked[refused + 1].at - asked[refused].at
        return None if least <= gap <= most else gap

    return check


def storm(stage: Stage) -> None:
    """Nine of ten requests at the destination are refused."""
    for number in range(3):
        stage.image(b"layer %d" % number, repository=f"app{number}")
    stage.dst.faults.add(Rule(Refuse(429, "TOOMANYREQUESTS", {"Retry-After": "1"}), probability=0.9))


async def storm_beside(stage: Stage) -> None:
    """Nine of ten requests are refused at one destination; another one takes all."""
    storm(stage)
    other = await stage.internet.host("calm.example", password="CANARY-calm", wants="basic")
    stage.image(LARGE, b"calm", repository="calm")
    stage.specs[-1] = stage.specs[-1].replace(stage.dst.name, other.name)


async def storm_shared(stage: Stage) -> None:
    """The same images go to a destination in a storm and to a calm one."""
    storm(stage)
    other = await stage.internet.host("calm.example", password="CANARY-calm", wants="basic")
    stage.specs += [line.replace(stage.dst.name, other.name) for line in stage.specs]


def not_held_up(stage: Stage, run: Run) -> object:
    """The calm one has its last tag within half a minute, for one more GET of each blob at most."""
    asked = stage.internet.hosts["calm.example"].asked
    times = [one.at for one in asked if one.kind in {POST, PUT, PUT_MANIFEST}]
    read = Counter(one.digest for one in stage.src.asked if one.kind is BLOB)
    late = max(times) - min(times) > 30 or max(read.values()) > 2
    return [max(times) - min(times), read] if late else gate_kept(stage, run)


def gate_kept(stage: Stage, run: Run) -> object:
    """No request came within the second after a refusal."""
    ends = [one.at + 1 for one in stage.dst.asked if one.status == 429]
    return [one.at for one in stage.dst.asked if any(end - 1 < one.at < end for end in ends)]


def calm(stage: Stage, run: Run) -> object:
    """The other host never waited for the stormy one."""
    times = [one.at for one in stage.internet.hosts["calm.example"].asked if one.method in {"POST", "PUT"}]
    return times if max(times) - min(times) > 1 else gate_kept(stage, run)


def waited_together(stage: Stage, run: Run) -> object:
    """All that wait do so once, for ten minutes, and not one after the other."""
    return None if 600 <= stage.clock.now() - 1000 <= 700 else stage.clock.now()


async def crowd(stage: Stage) -> None:
    """Thirty images go to a destination that asks for thirty years; another destination takes all."""
    for number in range(30):
        stage.image(b"layer %d" % number, repository=f"app{number}")
    stage.dst.faults.add(Rule(Refuse(429, "TOOMANYREQUESTS", {"Retry-After": "1000000000"}), kind=POST))
    other = await stage.internet.host("calm.example", password="CANARY-calm", wants="basic")
    stage.image(LARGE, b"calm", repository="calm")
    stage.specs[-1] = stage.specs[-1].replace(stage.dst.name, other.name)


def signed(thing: str, status: int, after: str, count: int | None = 1) -> Any:
    """Return an arrangement: ``thing`` is read at a signed URL, whose host asks to wait; another blob is not."""

    async def arrange(stage: Stage) -> None:
        await redirect(thing, "http://cdn.example/x?X-Sig=CANARY-signature")(stage)
        cdn = await stage.internet.host("cdn.example")
        cdn.trick(reply(status, b"", ("Retry-After", after)), count=count)
        content = OBJECTS[thing][0]
        cdn.trick(reply(200, content, ("Content-Type", media(content))))
        stage.image(b"calm", repository="calm")

    return arrange


def waited_alone(least: float, most: float) -> Callable[[Stage, Run], object]:
    """Return a check that the signed URL was asked again after so many seconds, and all else was read meanwhile."""

    def check(stage: Stage, run: Run) -> object:
        first, *_, last = (one.at for one in stage.internet.hosts["cdn.example"].asked)
        others = [one.at for one in stage.src.asked if one.digest == digest(b"calm")]
        right = least <= last - first <= most and others and max(others) < first + 5
        return None if right else [last - first, others, first]

    return check


def one_repository(stage: Stage) -> None:
    """One repository answers 500 for ever."""
    for name in ("bad", "good", "fine"):
        stage.image(name.encode(), repository=name)
    stage.dst.faults.add(Rule(Refuse(500), repository="bad", kind=POST))


PAUSES = (
    *(
        Row(
            60,
            "429-seconds",
            f"{where} {case}",
            refusing(where, 429, after=value),
            again=where == "PUT at DST",
            check=waited(where, least, most),
        )
        for where in OPERATIONS
        for case, value, least, most in (
            ("seconds", "7", 7.0, 8.0),
            ("date", format_datetime(datetime.fromtimestamp(WALL + 90, UTC), usegmt=True), 85.0, 91.0),
            ("epoch", str(WALL + 50), 45.0, 51.0),
            ("junk", "soon", 0.0, 30.0),
            ("negative", "-1", 0.0, 30.0),
        )
    ),
    *(
        Row(
            60,
            "429-seconds",
            f"{where} 10^9",
            refusing(where, 429, None, "1000000000"),
            end="failed" if "HEAD" in where or ("SRC" in where and "manifest" in where) else "blocked",
            words=("--max-wait",),
            again=where == "PUT at DST",
            sessions=4,
            check=waited_together,
        )
        for where in ("HEAD at SRC", "manifest at SRC", "POST at DST", "PUT at DST")
    ),
    *(
        Row(
            60,
            "429-seconds",
            f"{where} 10^9 once",
            refusing(where, 429, after="1000000000"),
            again=where == "PUT at DST",
            check=waited(where, 600.0, 601.0),
        )
        for where in OPERATIONS
    ),
    *(
        Row(
            60,
            "429-seconds",
            f"signed URL of {thing} {status}",
            signed(thing, status, "40"),
            again=again,
            check=waited_alone(40.0, 75.0),
        )
        for thing, again in (("blob small", 0), ("blob streamed", 0))
        for status in (429, 503)
    ),
    Row(
        60,
        "429-seconds",
        "signed URL 10^9",
        signed("blob small", 429, "1000000000", None),
        end={"app:v1": "blocked", "calm:v1": "copied"},
        words=("--max-wait",),
        sessions=1,
        check=waited_alone(600.0, 640.0),
    ),
    Row(
        60,
        "429-seconds",
        "thirty images 10^9",
        crowd,
        end={f"app{number}:v1": "blocked" for number in range(30)} | {"calm.example/calm:v1": "copied"},
        words=("--max-wait",),
        requests=300,
        sessions=2,
        check=waited_together,
    ),
    Row(61, "429-storm", "alone", storm, requests=4000, again=200, sessions=100, check=gate_kept),
    *(Row(63, "503-flap", where, refusing(where, 503, 2), again=2) for where in OPERATIONS),
    Row(
        61,
        "429-storm",
        "another host",
        storm_beside,
        requests=4000,
        again=200,
        sessions=100,
        check=calm,
    ),
    Row(
        61,
        "429-storm",
        "blobs shared with another host",
        storm_shared,
        requests=4000,
        again=200,
        sessions=100,
        check=not_held_up,
    ),
    Row(
        64,
        "500-forever",
        "one repository",
        one_repository,
        end={"bad:v1": "blocked", "good:v1": "copied", "fine:v1": "copied"},
        words=("500",),
    ),
)

ROWS = PAUSES
