"""Bad days of a destination whose word is not good: parts that are said to be there, mounts that are not granted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmgraph.names import Registry
from mmgraph.server import Quirks, Refuse, Rule
from tests.scenarios.rows import Row
from tests.scenarios.stage import DESTINATION, LARGE, SMALL
from tests.support.hostile import PASS, errors, head, reply
from tests.support.images import digest

if TYPE_CHECKING:
    from tests.scenarios.stage import Run, Stage
    from tests.support.hostile import Exchange

from tests.scenarios.writing import BLOB, HEAD_BLOB, POST, PUT, PUT_MANIFEST, once_sent, trick

# What is not there although it was said to be


def lie(exists: Any, refusal: Callable[[str], bytes], count: int | None = 1) -> Any:
    """Return an arrangement: the destination says by ``exists`` to hold the layer, then refuses its manifest."""

    def arrange(stage: Stage) -> None:
        stage.image()
        name = digest(SMALL)
        exists(stage, name)

        async def refuse(exchange: Exchange) -> bytes | None:
            if stage.dst.storage.blob_size("app", name) is not None:
                return PASS
            await exchange.drain()
            return refusal(name)

        stage.dst.trick(refuse, PUT_MANIFEST, count=count)

    return arrange


def by_mount(stage: Stage, name: str) -> None:
    """Say 201 to the question by mount."""
    made = reply(201, b"", ("Location", f"/v2/app/blobs/{name}"), ("Docker-Content-Digest", name))
    stage.dst.trick(made, POST, name=name, mount=True, count=1)


def by_head(stage: Stage, name: str) -> None:
    """Say 200 to HEAD, which a careful plan asks by."""
    stage.options["exact"] = True
    stage.dst.make.blob("app", b"something else")
    stage.dst.trick(head(200, ("Content-Length", str(len(SMALL)))), HEAD_BLOB, name=name, count=1)


REFUSALS: dict[str, Callable[[str], bytes]] = {
    "400 named": lambda name: reply(400, errors("MANIFEST_BLOB_UNKNOWN", "blob unknown", {"digest": name})),
    "404 named": lambda name: reply(404, errors("MANIFEST_BLOB_UNKNOWN", "blob unknown", name)),
    "400 in words": lambda name: reply(
        400, errors("MANIFEST_BLOB_UNKNOWN", f"'[{name}]' required for pushing")
    ),
    "400 nothing named": lambda name: reply(400, errors("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")),
    "404 blob unknown": lambda name: reply(404, errors("BLOB_UNKNOWN", "blob unknown", {"digest": name})),
}


def not_asked_again(stage: Stage, run: Run) -> object:
    """What was missing is sent without another question whether it is there."""
    return max(0, stage.dst.count(HEAD_BLOB, digest(SMALL)) - 1) or once_sent(stage, run)


def collect(what: str, count: int | None) -> Any:
    """Return an arrangement: the destination's garbage collection runs just before a manifest is put."""

    def arrange(stage: Stage) -> None:
        root = stage.image()
        held = stage.src.storage.manifest("app", root["digest"])
        assert held is not None
        child = json.loads(held.raw)["manifests"][0]["digest"]

        async def sweep(exchange: Exchange) -> bytes | None:
            if what == "blob":
                stage.dst.storage.remove_blob("app", digest(SMALL))
            else:
                stage.dst.storage.remove_manifest("app", child)
            return PASS

        stage.dst.trick(sweep, PUT_MANIFEST, name=child if what == "blob" else "v1", count=count)

    return arrange


def stale_child(code: int) -> Any:
    """Return an arrangement: the destination's old index lists a child that is gone, and says so of the new one."""

    def arrange(stage: Stage) -> None:
        root = stage.image()
        held = stage.src.storage.manifest("app", root["digest"])
        assert held is not None
        child = json.loads(held.raw)["manifests"][0]
        for part in ("config", "layers"):
            raw = stage.src.storage.manifest("app", child["digest"])
            assert raw is not None
            described = json.loads(raw.raw)[part]
            for each in described if isinstance(described, list) else [described]:
                with stage.src.storage.open_blob("app", each["digest"]) as stream:
                    stage.dst.make.blob("app", stream.read())
        manifest = stage.src.storage.manifest("app", child["digest"])
        assert manifest is not None
        stage.dst.storage.put_manifest("app", child["digest"], manifest)
        other = stage.dst.make.image("app", b"other")
        stage.dst.make.index("app", child, other, tags=("v1",))

        async def refuse(exchange: Exchange) -> bytes | None:
            if stage.dst.count(PUT_MANIFEST, child["digest"]):
                return PASS
            await exchange.drain()
            return reply(code, errors("MANIFEST_UNKNOWN", "unknown", {"digest": child["digest"]}))

        stage.dst.trick(refuse, PUT_MANIFEST, name="v1")

    return arrange


async def welcome(exchange: Exchange, body: bytes) -> bytes | None:
    """Whatever was asked: 200."""
    await exchange.drain()
    whole = reply(200, body)
    return whole.removesuffix(body) if exchange.method == "HEAD" else whole


PRESENCE = (
    *(
        Row(
            27,
            "head-lies-present",
            f"{asked} {case}",
            lie(exists, refusal),
            again=case == "400 nothing named",
            check=not_asked_again,
        )
        for asked, exists in (("mount", by_mount), ("HEAD", by_head))
        for case, refusal in REFUSALS.items()
    ),
    *(Row(28, "child-lies-present", str(code), stale_child(code), end="moved") for code in (400, 404)),
    Row(30, "gc-between", "once", collect("blob", 1), again=1),
    Row(30, "gc-between", "for ever", collect("blob", None), end="blocked", again=8, requests=200),
    Row(31, "gc-untagged-child", "once", collect("child", 1)),
    Row(31, "gc-untagged-child", "for ever", collect("child", None), end="failed", requests=200),
    Row(
        90,
        "replicas",
        "manifest",
        trick(reply(400, errors("MANIFEST_BLOB_UNKNOWN")), PUT_MANIFEST, count=1),
        again=1,
    ),
    Row(
        90,
        "replicas",
        "index",
        trick(reply(404, errors("MANIFEST_UNKNOWN")), PUT_MANIFEST, name="v1", count=1),
        again=1,
    ),
    *(
        Row(
            32,
            "dst-accepts-all",
            case,
            trick(lambda exchange, body=body: welcome(exchange, body), None),
            end="blocked",
        )
        for case, body in (("empty", b""), ("page", b"<html>welcome</html>"))
    ),
)

# Mounts


def two_repositories(**settings: Any) -> Any:
    """Return an arrangement: one image for two repositories of the destination."""

    def arrange(stage: Stage) -> None:
        stage.options.update(settings)
        stage.content = LARGE
        stage.image()
        stage.want("app:v1", "other:v1")

    return arrange


def same_registry(stage: Stage) -> None:
    """Source and destination are one registry."""
    stage.image(repository="lib", host=stage.dst)
    stage.specs = [
        line.replace(stage.src.name, stage.dst.name).replace('lib:v1"}', 'app:v1"}') for line in stage.specs
    ]


def nothing_read(stage: Stage, run: Run) -> object:
    """No blob was read or sent."""
    return stage.dst.count(BLOB) + stage.dst.count(PUT)


def one_upload(stage: Stage, run: Run) -> object:
    """The blob was read once and sent once, and mounted elsewhere."""
    return (
        [stage.src.count(BLOB, digest(LARGE))]
        if stage.src.count(BLOB, digest(LARGE)) != 1
        else once_sent(stage, run)
    )


def refuse_mounts(status: int) -> Any:
    """Return an arrangement in which every mount is refused."""

    def arrange(stage: Stage) -> None:
        two_repositories()(stage)
        stage.dst.faults.add(Rule(Refuse(status), kind=POST, mount=True))

    return arrange


def mount_then_gone(stage: Stage) -> None:
    """The mount is granted, and then the blob is not there."""
    two_repositories()(stage)

    async def grant(exchange: Exchange) -> bytes | None:
        return reply(201, b"", ("Location", f"/v2/other/blobs/{exchange.digest}"))

    stage.dst.trick(grant, POST, name=digest(LARGE), repository="other", mount=True, count=1)


MOUNTS = (
    Row(34, "mount-201", "one registry", same_registry, check=nothing_read),
    Row(34, "mount-201", "two repositories", two_repositories(), check=one_upload),
    Row(35, "mount-202", "", two_repositories(), again=1, settings={"quirks": Quirks(no_mounts=True)}),
    *(
        Row(36, "mount-4xx", str(code), refuse_mounts(code), again=1)
        for code in (400, 401, 403, 404, 405, 500)
    ),
    Row(
        38,
        "mount-unreferenced",
        "known",
        two_repositories(committed_only=[Registry(DESTINATION)]),
        settings={"quirks": Quirks(mount_needs_manifest=True)},
        check=one_upload,
    ),
    Row(
        38,
        "mount-unreferenced",
        "unknown",
        two_repositories(),
        settings={"quirks": Quirks(mount_needs_manifest=True)},
        again=1,
    ),
    Row(39, "mount-then-gone", "", mount_then_gone, again=1),
)

ROWS = (*PRESENCE, *MOUNTS)
