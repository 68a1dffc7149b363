"""What is remembered of registries: answers without asking, their age, and what could not be known."""

import ast
from pathlib import Path

import pytest

from mmgraph.cache import DiskCache, MemoryCache
from mmgraph.clock import SystemClock
from mmgraph.errors import NetworkError, RegistryError
from mmgraph.memory import UNKNOWN, Basis, Memory, Noting, Span
from mmgraph.names import Digest, Registry, Repository
from mmgraph.server import Refuse, Rule
from mmgraph.store import RawManifest, Seen
from tests.support.making import digest, index, manifest
from tests.support.rig import Rig, rig
from tests.test_layers import PACKAGE, imports, modules
from tests.test_staleness import lay

IMAGE, OTHER = manifest("config", "layer"), manifest("config2", "layer")
WHOLE = index({"linux/amd64": IMAGE, "linux/arm64": OTHER})
PLACE = Repository(Registry("dst.example"), "team/app")
EARLY, LATE = 1_700_000_000, 1_700_086_400


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    """An empty cache, whose warnings fail the test."""

    def warn(message: str) -> None:
        raise AssertionError(message)

    return DiskCache(tmp_path / "m.sqlite", warn)


def keep(cache: DiskCache, *documents: object) -> None:
    """Put documents into a cache."""
    for document in documents:
        cache.put(document.digest, RawManifest(document.raw, document.media_type))  # type: ignore[attr-defined]


async def test_a_name_points_at_what_it_was_last_seen_to(cache: DiskCache) -> None:
    """For who reads it and for who would write it alike: a note has no side."""
    cache.note(PLACE, "1", Seen(IMAGE.digest, EARLY))
    cache.note(PLACE, "1", Seen(OTHER.digest, LATE))
    memory = Memory(cache)
    found = await memory.find(PLACE, "1")
    resolved = await memory.resolve(PLACE, "1")
    assert (OTHER.digest, OTHER.digest) == (found and found.digest, resolved.digest)


async def test_absence_is_remembered(cache: DiskCache) -> None:
    """A destination that was not there is to be created, and a source that was not there cannot be copied."""
    cache.note(PLACE, "1", Seen(None, EARLY))
    memory = Memory(cache)
    with pytest.raises(RegistryError, match="no such tag when it was last looked at") as caught:
        await memory.resolve(PLACE, "1")
    assert (None, True) == (await memory.find(PLACE, "1"), caught.value.absent)


async def test_what_is_not_known_is_said_in_one_sentence(cache: DiskCache) -> None:
    """Of a tag, a digest, a manifest and a blob."""
    memory = Memory(cache)
    for asked in (
        memory.resolve(PLACE, "1"),
        memory.find(PLACE, "1"),
        memory.find(PLACE, IMAGE.digest),
        memory.manifest(PLACE, IMAGE.digest),
        memory.has_blob(PLACE, digest("layer")),
    ):
        with pytest.raises(NetworkError, match=UNKNOWN):
            await asked
    names = (f"{PLACE}:1", f"{PLACE}@{IMAGE.digest}")
    assert Basis({}, names, (IMAGE.digest,), 1) == memory.basis


async def test_a_blob_is_there_where_a_name_leads_to_it(cache: DiskCache) -> None:
    """Also one that is no business of the set, and through an index; in another repository it is not known."""
    keep(cache, WHOLE, IMAGE, OTHER)
    cache.note(PLACE, "old", Seen(WHOLE.digest, EARLY))
    memory = Memory(cache)
    assert await memory.has_blob(PLACE, digest("config2"))
    with pytest.raises(NetworkError):
        await memory.has_blob(Repository(PLACE.registry, "else"), digest("config2"))


async def test_manifests_that_are_not_kept_lead_nowhere(cache: DiskCache) -> None:
    """What is known of the rest of a tree is used all the same."""
    keep(cache, WHOLE, IMAGE)
    cache.put(digest("bad"), RawManifest(b"{}", WHOLE.media_type))
    cache.note(PLACE, "old", Seen(WHOLE.digest, EARLY))
    cache.note(PLACE, "bad", Seen(digest("bad"), EARLY))
    memory = Memory(cache)
    assert await memory.has_blob(PLACE, digest("layer"))
    with pytest.raises(NetworkError):
        await memory.has_blob(PLACE, digest("config2"))


async def test_the_age_is_that_of_the_answers(cache: DiskCache) -> None:
    """By registry, the oldest and the newest; what nobody has asked for does not count."""
    other = Repository(Registry("src.example"), "app")
    cache.note(PLACE, "1", Seen(IMAGE.digest, EARLY))
    cache.note(PLACE, "2", Seen(IMAGE.digest, LATE))
    cache.note(other, "1", Seen(IMAGE.digest, LATE))
    cache.note(other, "unasked", Seen(IMAGE.digest, 1))
    memory = Memory(cache)
    for place, name in ((PLACE, "2"), (PLACE, "1"), (other, "1")):
        await memory.find(place, name)
    expected = {PLACE.registry: Span(EARLY, LATE), other.registry: Span(LATE, LATE)}
    assert (expected, Span(EARLY, LATE)) == (memory.basis.spans, memory.basis.span)


async def test_no_bytes_are_remembered(cache: DiskCache) -> None:
    """A plan that was made offline cannot be carried out by it."""
    with pytest.raises(NetworkError, match="nobody is asked offline"):
        Memory(cache).blob(PLACE, digest("layer"), 10)


async def noted(rigged: Rig, cache: DiskCache, *names: str) -> Noting:
    """What asks a registry and notes the answers, for destinations of those names."""
    wanted = {(rigged.repository(1, path), tag) for path, _, tag in (name.partition(":") for name in names)}
    return Noting(rigged.client, cache, SystemClock(), wanted)


async def test_what_registries_answer_is_noted(cache: DiskCache) -> None:
    """Of sources and destinations, and that something is not there; with a date in whole seconds."""
    before = int(SystemClock().wall())
    async with rig() as rigged:
        await lay(rigged, 0, "a:1", IMAGE)
        await lay(rigged, 1, "a:1", OTHER)
        asking = await noted(rigged, cache, "a:1", "a:2")
        source, destination = (rigged.repository(number, "a") for number in (0, 1))
        await asking.resolve(source, "1")
        with pytest.raises(RegistryError):
            await asking.resolve(source, "2")
        await asking.find(destination, "1")
        await asking.find(destination, "2")
    seen = [cache.last(place, name) for place in (source, destination) for name in "12"]
    assert [IMAGE.digest, None, OTHER.digest, None] == [each and each.digest for each in seen]
    assert all(each and before <= each.at <= before + 60 for each in seen)


async def test_a_refusal_is_no_news(cache: DiskCache) -> None:
    """What was seen before stays, with its date."""
    async with rig() as rigged:
        rigged.fault(0, Rule(Refuse(403, "DENIED")))
        source = rigged.repository(0, "a")
        cache.note(source, "1", Seen(IMAGE.digest, EARLY))
        with pytest.raises(RegistryError):
            await (await noted(rigged, cache)).resolve(source, "1")
    assert Seen(IMAGE.digest, EARLY) == cache.last(source, "1")


async def test_what_no_spec_names_is_not_noted(cache: DiskCache) -> None:
    """A repair asks for every manifest by its digest: that is no use to anybody later."""
    async with rig() as rigged:
        await lay(rigged, 1, "a:1", IMAGE)
        place = rigged.repository(1, "a")
        await (await noted(rigged, cache, "a:1")).find(place, IMAGE.digest)
    assert {} == cache.names(place)


async def test_asking_does_not_read_what_is_remembered(cache: DiskCache) -> None:
    """A note that is wrong changes no answer of a registry."""
    async with rig() as rigged:
        await lay(rigged, 1, "a:1", IMAGE)
        place = rigged.repository(1, "a")
        cache.note(place, "1", Seen(Digest("sha256:" + "0" * 64), LATE))
        found = await (await noted(rigged, cache, "a:1")).find(place, "1")
    assert (IMAGE.digest, IMAGE.digest) == (found and found.digest, cache.names(place)["1"].digest)


async def test_a_run_without_a_cache_notes_nothing() -> None:
    """``--no-cache``: the question is passed on, and that is all."""
    async with rig() as rigged:
        await lay(rigged, 1, "a:1", IMAGE)
        place = rigged.repository(1, "a")
        asking = Noting(rigged.client, MemoryCache(), SystemClock(), {(place, "1")})
        found = await asking.find(place, "1")
    assert IMAGE.digest == (found and found.digest)


def test_only_offline_can_answer_from_memory() -> None:
    """No other module names ``Memory`` or what it reads, so nothing that asks or writes can go by it."""
    users = {
        name
        for name, path in modules(PACKAGE)
        for each in imports(PACKAGE, path)
        if each.module == "mmgraph.memory" and {"Memory", "Records"} & {*each.names}
    }
    readers = {
        name
        for name, path in modules(PACKAGE)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("last", "names")
        and isinstance(node.value, ast.Attribute | ast.Name)
        and ast.unparse(node.value) in ("cache", "self.cache", "self._cache", "session.cache")
    }
    assert ({"cli.offline"}, set()) == (users, readers)
