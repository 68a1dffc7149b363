"""Closures: the order of a walk, what a pool fetches, and what it refuses."""

import asyncio

import pytest

from mmgraph.cache import MemoryCache
from mmgraph.closure import Documents, blobs, walk
from mmgraph.errors import ContentError, RegistryError
from mmgraph.names import Digest
from mmgraph.oci import DEPTH_LIMIT, OCI_MANIFEST, Document, Index
from mmgraph.store import RawManifest
from tests.support.making import digest, index, manifest


class Registry:
    """Documents by digest, and how often each was asked for."""

    def __init__(self, *documents: Document) -> None:
        self.documents = {document.digest: document for document in documents}
        self.asked: list[Digest] = []

    async def fetch(self, wanted: Digest) -> RawManifest:
        """Give a document, or the 404 of a registry that lacks it."""
        self.asked.append(wanted)
        await asyncio.sleep(0)
        if wanted not in self.documents:
            raise RegistryError(f"{wanted} is not there", status=404)
        document = self.documents[wanted]
        return RawManifest(document.raw, document.media_type)


def test_a_walk_yields_children_before_parents_and_each_once() -> None:
    """Two platforms that share a manifest, under a nested index: leaves, inner, outer."""
    leaf = manifest("leaf")
    inner = index({"linux/amd64": leaf})
    outer = index([inner, leaf])
    pool = {document.digest: document for document in (leaf, inner, outer)}
    assert [leaf.digest, inner.digest, outer.digest] == [
        document.digest for document in walk(outer.digest, pool)
    ]


def test_blobs_are_distinct_over_the_whole_closure() -> None:
    """A layer that two platforms share counts once."""
    one, two = manifest("c1", "shared"), manifest("c2", "shared")
    whole = index({"linux/amd64": one, "linux/arm64": two})
    pool = {document.digest: document for document in (one, two, whole)}
    assert {digest("c1"), digest("c2"), digest("shared")} == set(blobs(whole.digest, pool))


async def test_a_closure_is_loaded_whole_and_each_document_once() -> None:
    """Two images that share a child: three GETs for three documents, though both load at the same time."""
    leaf = manifest("leaf")
    one, two = index({"linux/amd64": leaf}), index({"linux/arm64": leaf})
    registry = Registry(leaf, one, two)
    documents = Documents(MemoryCache())
    await asyncio.gather(*(documents.load_closure(root.digest, registry.fetch) for root in (one, two)))
    assert (sorted([leaf.digest, one.digest, two.digest]), 3) == (sorted(registry.asked), len(documents))


async def test_what_the_cache_holds_is_not_fetched() -> None:
    """A second run with the same cache reads nothing."""
    leaf = manifest("leaf")
    cache, registry = MemoryCache(), Registry(leaf)
    await Documents(cache).load(leaf.digest, registry.fetch)
    await Documents(cache).load(leaf.digest, registry.fetch)
    assert [leaf.digest] == registry.asked


async def test_who_waits_for_a_fetch_that_fails_tries_its_own() -> None:
    """One repository lacks the manifest, the other has it: only the first spec fails."""
    leaf = manifest("leaf")
    lacking, having = Registry(), Registry(leaf)
    documents = Documents(MemoryCache())
    results = await asyncio.gather(
        documents.load(leaf.digest, lacking.fetch),
        documents.load(leaf.digest, having.fetch),
        return_exceptions=True,
    )
    assert (True, leaf) == (isinstance(results[0], RegistryError), results[1])


async def test_a_document_of_another_size_than_listed_is_refused() -> None:
    """A descriptor that lies about the size is caught before anything is sent."""
    leaf = manifest("leaf")
    entry = {"mediaType": leaf.media_type, "digest": leaf.digest, "size": 1}
    lying = index([], manifests=[entry])
    with pytest.raises(ContentError, match="index that lists it says 1"):
        await Documents(MemoryCache()).load_closure(lying.digest, Registry(leaf, lying).fetch)


async def test_a_document_of_another_kind_than_listed_is_refused() -> None:
    """An index listed as a manifest would be sent in the wrong order."""
    inner = index({"linux/amd64": manifest("leaf")})
    entry = {"mediaType": manifest("leaf").media_type, "digest": inner.digest, "size": len(inner.raw)}
    lying = index([], manifests=[entry])
    with pytest.raises(ContentError, match="is listed as"):
        await Documents(MemoryCache()).load_closure(lying.digest, Registry(inner, lying).fetch)


async def test_a_tree_that_is_too_deep_is_refused() -> None:
    """A registry can nest indexes without end; mmgraph follows so many levels and no more."""
    chain: list[Document] = [manifest("leaf")]
    for _ in range(DEPTH_LIMIT + 1):
        chain.append(index([chain[-1]]))
    assert isinstance(chain[-1], Index)
    with pytest.raises(ContentError, match="deeper"):
        await Documents(MemoryCache()).load_closure(chain[-1].digest, Registry(*chain).fetch)


async def test_indexes_that_list_each_other_often_are_refused() -> None:
    """Six indexes, each listing the next twenty times, are 20^6 entries: refused for that image alone."""
    chain: list[Document] = [manifest("leaf")]
    for _ in range(5):
        entry = {"mediaType": chain[-1].media_type, "digest": chain[-1].digest, "size": len(chain[-1].raw)}
        chain.append(index([], manifests=[entry] * 20))
    with pytest.raises(ContentError, match="more than 100000 entries"):
        await Documents(MemoryCache()).load_closure(chain[-1].digest, Registry(*chain).fetch)


async def test_the_first_child_that_is_missing_ends_the_reading() -> None:
    """Of a thousand absent children a bounded number is asked for."""
    children = [manifest(f"c{number}") for number in range(1000)]
    whole = index(children)
    registry = Registry(whole)
    with pytest.raises(RegistryError):
        await Documents(MemoryCache()).load_closure(whole.digest, registry.fetch)
    assert len(registry.asked) < 150


async def test_more_bytes_of_manifests_than_an_image_can_need_are_refused() -> None:
    """The sizes that an index states are enough to refuse it; nothing of that is read."""
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 4 * 1024 * 1024}
        for number in range(20)
    ]
    whole = index([], manifests=entries)
    registry = Registry(whole)
    with pytest.raises(ContentError, match="bytes of them"):
        await Documents(MemoryCache()).load_closure(whole.digest, registry.fetch)
    assert [whole.digest] == registry.asked
