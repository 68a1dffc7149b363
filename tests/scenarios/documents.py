"""Bad days of documents: too long, too deep, sizes and digests that lie, tags that move, parts that are gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mmgraph.names import Digest
from mmgraph.oci import OCI_INDEX, OCI_MANIFEST
from mmgraph.server import Refuse, Rule
from tests.scenarios.rows import Row
from tests.scenarios.stage import SMALL
from tests.support.images import CONFIG, digest

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage
from tests.scenarios.reading import (
    BLOB,
    HEAD,
    OBJECTS,
    PUT,
    aim,
    chunked_whole,
    nothing_written,
    spoil,
)


def document(raw: bytes, media_type: str = OCI_MANIFEST) -> Any:
    """Return an arrangement with just this document behind the tag."""

    def arrange(stage: Stage) -> None:
        stage.src.make.document("app", raw, media_type, "v1")
        stage.want("app:v1")

    return arrange


def manifest_of(config: object, layers: object, **more: object) -> bytes:
    """Return an image manifest with whatever stands for its parts."""
    body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    return json.dumps(body | more).encode()


def described(size: object = 2, name: object = digest(b"{}"), kind: str = CONFIG) -> dict[str, object]:
    """Return a descriptor with whatever stands for its parts."""
    return {"mediaType": kind, "digest": name, "size": size}


def exactly(length: int) -> Any:
    """Return an arrangement with a manifest of just that many bytes."""

    def arrange(stage: Stage) -> None:
        config = stage.src.make.blob("app", b"{}", CONFIG)
        bare = manifest_of(config, [], annotations={"x": ""})
        raw = manifest_of(config, [], annotations={"x": "y" * (length - len(bare))})
        assert len(raw) == length
        stage.src.make.document("app", raw, OCI_MANIFEST, "v1")
        stage.want("app:v1")

    return arrange


def nested(depth: int) -> Any:
    """Return an arrangement with indexes below indexes."""

    def arrange(stage: Stage) -> None:
        inner = stage.src.make.image("app", SMALL)
        for _ in range(depth):
            inner = stage.src.make.index("app", inner)
        stage.src.make.index("app", inner, tags=("v1",))
        stage.want("app:v1")

    return arrange


def sizes(size: object) -> Any:
    """Return an arrangement with a layer whose descriptor says ``size``."""

    def arrange(stage: Stage) -> None:
        config = stage.src.make.blob("app", b"{}", CONFIG)
        layer = stage.src.make.blob("app", SMALL)
        stage.src.make.document("app", manifest_of(config, [layer | {"size": size}]), OCI_MANIFEST, "v1")
        stage.want("app:v1")

    return arrange


def unseen(stage: Stage, run: Run) -> object:
    """Nothing but the manifest was asked for, and no request has a strange path."""
    strange = [
        one.target
        for one in (*stage.src.asked, *stage.dst.asked)
        if ".." in one.target or "etc" in one.target
    ]
    return strange or stage.src.count(BLOB) or stage.dst.count(PUT)


BAD_DIGESTS = {
    "traversal": "sha256:../../etc/passwd",
    "upper case": "sha256:" + "A" * 64,
    "short": "sha256:" + "a" * 63,
    "long": "sha256:" + "a" * 65,
    "unknown algorithm": "md5:" + "a" * 32,
    "no algorithm": "a" * 64,
    "nul": "sha256:" + "a" * 63 + "\0",
    "newline": "sha256:" + "a" * 64 + "\n",
    "empty": "",
    "number": 7,
}


async def moved_between(stage: Stage) -> None:
    """The source's tag moves after planning."""
    stage.image()

    async def move(_: object) -> None:
        other = stage.src.make.image("app", b"other")
        held = stage.src.storage.manifest("app", Digest(other["digest"]))
        assert held is not None
        stage.src.storage.put_manifest("app", Digest(other["digest"]), held, ["v2"])
        before = stage.src.storage.tags("app")["v1"]
        stage.planned = before
        stage.src.storage.put_manifest("app", Digest(other["digest"]), held, ["v1"])

    stage.between = move


def planned_arrived(stage: Stage, run: Run) -> object:
    """The destination's tag names what was planned, not what the source names by now."""
    return None if stage.tags() == {"v1": stage.planned} else stage.tags()


def gone(thing: str) -> Any:
    """Return an arrangement in which what the plan needs is deleted at the source before it is read."""

    def arrange(stage: Stage) -> None:
        old = stage.dst.make.image("app", b"old")
        held = stage.dst.storage.manifest("app", Digest(old["digest"]))
        assert held is not None
        stage.dst.storage.put_manifest("app", Digest(old["digest"]), held, ["v1"])
        _, name, kind = aim(stage, thing)
        stage.src.faults.add(Rule(Refuse(404, "BLOB_UNKNOWN"), kind=kind, name=name))

    return arrange


def old_tag_stays(stage: Stage, run: Run) -> object:
    """The tag names what it named."""
    old = [str(name) for name in stage.dst.storage.manifests("app")]
    return None if list(stage.tags().values()) == old else stage.tags()


def no_head(status: int, side: str) -> Any:
    """Return an arrangement: HEAD of a manifest answers ``status``."""

    def arrange(stage: Stage) -> None:
        stage.image()
        host = stage.src if side == "src" else stage.dst
        host.faults.add(Rule(Refuse(status), kind=HEAD))

    return arrange


DOCUMENTS = (
    *(
        Row(
            24 if status == 404 else 25,
            name,
            "SRC",
            no_head(status, "src"),
        )
        for status, name in ((404, "head-404-get-200"), (405, "head-405"))
    ),
    Row(
        25,
        "head-405",
        "DST",
        no_head(405, "dst"),
    ),
    Row(67, "manifest-4mib", "exactly", exactly(4 << 20)),
    Row(67, "manifest-4mib", "a byte more", exactly((4 << 20) + 1), end="failed", words=("4194304",)),
    *(
        Row(67, "manifest-4mib", f"{thing} no length", spoil(thing, chunked_whole))
        for thing in ("manifest", "index")
    ),
    Row(68, "deep-index", "7 levels", nested(6), requests=200),
    Row(68, "deep-index", "1000 levels", nested(1000), end="failed", words=("deep",), requests=200),
    Row(
        68,
        "deep-index",
        "20000 layers",
        document(manifest_of(described(), [described()] * 20_000)),
        end="blocked",
    ),
    Row(
        68,
        "deep-index",
        "100000 layers",
        document(manifest_of(described(), [described()] * 100_000)),
        end="failed",
        words=("4194304",),
    ),
    *(
        Row(69, "size-lies", str(size), sizes(size), end="failed", check=unseen)
        for size in (-1, 2**63, 2**64, 1.5, "7", None, True)
    ),
    Row(69, "size-lies", "0", sizes(0), end="blocked", check=nothing_written),
    *(
        Row(69, "size-lies", f"by {by}", sizes(len(SMALL) + by), end="blocked", check=nothing_written)
        for by in (-1, 1, 1 << 40)
    ),
    *(
        Row(
            71,
            "digest-strings",
            f"{where} {case}",
            document(
                manifest_of(described(), [described(name=value)])
                if where == "layer"
                else json.dumps(
                    {
                        "schemaVersion": 2,
                        "mediaType": OCI_INDEX,
                        "manifests": [described(name=value, kind=OCI_MANIFEST)],
                    }
                ).encode(),
                OCI_MANIFEST if where == "layer" else OCI_INDEX,
            ),
            end="failed",
            check=unseen,
        )
        for where in ("layer", "child")
        for case, value in BAD_DIGESTS.items()
    ),
    Row(73, "tag-moved-src", "index", moved_between, check=planned_arrived),
    *(
        Row(
            76,
            "src-digest-gone",
            thing,
            gone(thing),
            end="blocked" if kind is BLOB else "failed",
            check=old_tag_stays,
        )
        for thing, (_, kind) in OBJECTS.items()
    ),
)

ROWS = DOCUMENTS
