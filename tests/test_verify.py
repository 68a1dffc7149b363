"""Verification against a real server: what is whole, what is missing, what lies."""

import pytest

from mmgraph.cache import MemoryCache
from mmgraph.events import silent
from mmgraph.oci import Document, Manifest
from mmgraph.report.verdict import verdict_specs, verdict_text
from mmgraph.server import Flip, Refuse, Rule
from mmgraph.specs import read_specs
from mmgraph.store import Operation, RawManifest
from mmgraph.verify import Fault, Level, Verdict, Verifier
from tests.support.making import content, digest, index, manifest, spec
from tests.support.rig import Rig, rig

NAMES = ("config", "layer")


async def lay(rigged: Rig, server: int, tag: str, root: Document, *children: Manifest) -> None:
    """Lay an image into repository ``a`` of a server."""
    place = rigged.repository(server, "a")
    for name in NAMES:
        rigged.put_blob(place, content(name))
    for child in children:
        raw = RawManifest(child.raw, child.media_type)
        await rigged.client.put_manifest(place, child.digest, child.digest, raw)
    await rigged.client.put_manifest(place, tag, root.digest, RawManifest(root.raw, root.media_type))


async def verdict(rigged: Rig, level: Level = Level.HEAD, *tags: str) -> Verdict:
    """Verify that the tags of ``a`` are mirrored."""
    source, destination = (server.address for server in rigged.servers[:2])
    specs = [spec(f"{source}/a:{tag}", f"{destination}/a:{tag}") for tag in tags or ("1",)]
    rigged.servers[1].log.clear()
    client = rigged.client
    return await Verifier(specs, client, client, MemoryCache(), silent, level).verify()


@pytest.mark.parametrize("level", Level)
async def test_what_is_whole_passes_at_every_level(level: Level) -> None:
    """An index with one image: one tag, two manifests, two blobs, nothing found."""
    async with rig() as rigged:
        child = manifest(*NAMES)
        whole = index({"linux/amd64": child})
        for server in (0, 1):
            await lay(rigged, server, "1", whole, child)
        found = await verdict(rigged, level)
        read = {Level.HEAD: 0, Level.READ: 2, Level.FULL: 20}[level]
        assert (True, 2, 2, read) == (found.whole, found.manifests, found.blobs, found.bytes)


@pytest.mark.parametrize("level", Level)
async def test_a_missing_blob_is_found_at_every_level(level: Level) -> None:
    """Deleted behind the tag's back: the finding names it in full, and the spec can be fed back."""
    async with rig() as rigged:
        for server in (0, 1):
            await lay(rigged, server, "1", manifest(*NAMES))
        place = rigged.repository(1, "a")
        rigged._storages[1].remove_blob(place.path, digest("layer"))
        found = await verdict(rigged, level)
        again = read_specs([("broken", verdict_specs(found).encode())])
        expected = ([f"{place}@{digest('layer')}"], [found.findings[0].spec.destination])
        assert expected == (
            [finding.what for finding in found.findings],
            [broken.destination for broken in again],
        )


async def test_bytes_that_changed_pass_until_they_are_read() -> None:
    """A registry that serves other bytes is only caught by reading them."""
    async with rig() as rigged:
        for server in (0, 1):
            await lay(rigged, server, "1", manifest(*NAMES))
        rigged.fault(1, Rule(Flip(3), Operation.GET_BLOB))
        asked, read = await verdict(rigged, Level.HEAD), await verdict(rigged, Level.FULL)
        assert (True, 2) == (asked.whole, len(read.findings))


async def test_a_tag_that_names_something_else_is_a_finding() -> None:
    """The image is there, the name is not its."""
    async with rig() as rigged:
        await lay(rigged, 0, "1", manifest("config"))
        await lay(rigged, 1, "1", manifest("layer"))
        found = await verdict(rigged)
        causes = [finding.cause.split(",")[0] for finding in found.findings]
        assert [f"names {manifest('layer').digest}", "the manifest is not there"] == causes


async def test_what_two_tags_share_is_asked_for_once() -> None:
    """Two tags of one image: two looks, one manifest, two blobs."""
    async with rig() as rigged:
        for server in (0, 1):
            for tag in ("1", "2"):
                await lay(rigged, server, tag, manifest(*NAMES))
        await verdict(rigged, Level.HEAD, "1", "2")
        log = rigged.servers[1].log
        assert (3, 2) == (log.count(Operation.HEAD_MANIFEST), log.count(Operation.HEAD_BLOB))


async def test_a_source_that_cannot_be_read_is_a_finding_of_its_own() -> None:
    """Without the source nobody knows what should be there, and that is not "whole"."""
    async with rig() as rigged:
        found = await verdict(rigged)
        last = verdict_text(found).splitlines()[-1]
        expected = (False, "Verified 1 spec: 0 whole, 1 broken. 0 manifests and 0 blobs asked for.")
        assert expected == (found.whole, last)


async def test_what_several_tags_lack_is_told_once() -> None:
    """With the tags that need it, and what to do about it."""
    async with rig() as rigged:
        for server in (0, 1):
            for tag in ("1", "2"):
                await lay(rigged, server, tag, manifest(*NAMES))
        place = rigged.repository(1, "a")
        rigged._storages[1].remove_blob(place.path, digest("layer"))
        told = verdict_text(await verdict(rigged, Level.HEAD, "1", "2"))
        assert [
            f"{place}@{digest('layer')}: the blob is not there (needed by :1, :2)",
            "mmgraph apply --repair sends what is missing.",
            "Verified 2 specs: 0 whole, 2 broken. 1 manifest and 2 blobs asked for.",
        ] == told.splitlines()


async def test_a_tag_is_written_by_plain_work() -> None:
    """Nothing is lost where a tag is absent or names something else: no word of repairing."""
    async with rig() as rigged:
        for tag in ("1", "2"):
            await lay(rigged, 0, tag, manifest(*NAMES))
        await lay(rigged, 1, "1", manifest("config"))
        told = verdict_text(await verdict(rigged, Level.HEAD, "1", "2")).splitlines()
        place = rigged.repository(1, "a")
        assert [
            f"{place}:1: names {manifest('config').digest}, and should name {manifest(*NAMES).digest}",
            f"{place}@{manifest(*NAMES).digest}: the manifest is not there (needed by :1, :2)",
            f"{place}:2: there is no such tag",
            "mmgraph apply writes these tags, and sends what they need.",
        ] == told[:-1]


async def test_a_repository_that_is_not_there_is_one_line() -> None:
    """With the tags that it should have, instead of all that they need."""
    async with rig() as rigged:
        for tag in ("1", "2"):
            await lay(rigged, 0, tag, manifest(*NAMES))
        told = verdict_text(await verdict(rigged, Level.HEAD, "1", "2")).splitlines()
        place = rigged.repository(1, "a")
        assert [
            f"{place}: nothing of it is there (needed by :1, :2)",
            "mmgraph apply writes these tags, and sends what they need.",
        ] == told[:-1]


@pytest.mark.parametrize(
    ("status", "fault"), [(404, Fault.MISSING), (416, Fault.SPOILED), (403, Fault.UNKNOWN)]
)
async def test_what_is_wrong_is_told_by_what_helps(status: int, fault: Fault) -> None:
    """A repair, the registry itself, or whoever may let us look; 416 is a blob that ends before its last byte."""
    async with rig() as rigged:
        for server in (0, 1):
            await lay(rigged, server, "1", manifest(*NAMES))
        rigged.fault(1, Rule(Refuse(status), Operation.GET_BLOB, name=str(digest("layer"))))
        found = await verdict(rigged, Level.READ)
        assert [fault] == [finding.fault for finding in found.findings]


async def test_a_manifest_of_other_bytes_is_spoiled_too() -> None:
    """The finding says that its registry must remove it, as of a blob."""
    async with rig() as rigged:
        image = manifest(*NAMES)
        for server in (0, 1):
            await lay(rigged, server, "1", image)
        rigged.fault(1, Rule(Flip(3), Operation.GET_MANIFEST))
        found = await verdict(rigged, Level.READ)
        [finding] = found.findings
        assert (Fault.SPOILED, True) == (finding.fault, "the registry must remove it" in finding.cause)
