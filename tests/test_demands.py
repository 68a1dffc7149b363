"""What rules demand of images: each demand met and not met, with the node that is at fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from mmgraph.closure import walk
from mmgraph.demands import lost_platforms, unmet
from mmgraph.names import Digest, Platform, Reference
from mmgraph.oci import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Document, parse
from mmgraph.rules import Change, Rule, Rules
from tests.support.making import digest, index, manifest

DESTINATION = Reference.parse("registry.example/prod/app:v1")
OLD = Digest(f"sha256:{'0' * 64}")
AMD, ARM = manifest("config", "layer"), manifest("config of arm", "layer")
BOTH = index({"linux/amd64": AMD, "linux/arm64": ARM})
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def broken(rule: Rule, root: Document, *others: Document, **change: Any) -> list[str]:
    """What ``rule`` finds, as kind, name and words, of an image that is to be ``root``."""
    documents = {document.digest: document for document in (root, *others)}
    values = {"source_digest": root.digest, "root": root.digest, **change}
    found = unmet(Rules((rule,)), Change(DESTINATION, **values), list(walk(root.digest, documents)))
    return [f"{each.kind} {each.name} {each.found}" for each in found]


def test_a_rule_for_other_destinations_demands_nothing() -> None:
    """Its globs decide."""
    rule = Rule(name="rule 1", patterns=("*/test/*",), largest=0)
    assert [] == broken(rule, AMD)


# Tags


@pytest.mark.parametrize("old", [None, AMD.digest])
def test_a_tag_that_is_new_or_stays_does_not_move(old: Digest | None) -> None:
    """What is created, or named already, is no move."""
    assert [] == broken(Rule(name="rule 1", may_move=False), AMD, old=old)


def test_a_tag_that_may_not_move() -> None:
    """Both digests are told."""
    expected = [f"tag v1 names {OLD} and would name {AMD.digest}"]
    assert expected == broken(Rule(name="rule 1", may_move=False), AMD, old=OLD)


def test_a_tag_that_loses_no_platform() -> None:
    """It may move."""
    assert [] == broken(Rule(name="rule 1", may_lose_platforms=False), AMD, old=OLD, lost=())


def test_a_tag_that_loses_a_platform() -> None:
    """The platforms are told."""
    rule = Rule(name="rule 1", may_lose_platforms=False)
    expected = [f"tag v1 names {OLD} and would lose linux/arm64"]
    assert expected == broken(rule, AMD, old=OLD, lost=("linux/arm64",))


def test_a_tag_that_loses_nobody_knows_what() -> None:
    """A rule that cannot be checked is not taken for kept."""
    rule = Rule(name="rule 1", may_lose_platforms=False)
    expected = [f"tag v1 names {OLD}, which cannot be read: what it would lose is not known"]
    assert expected == broken(rule, AMD, old=OLD, lost=None)


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ({"linux/amd64": AMD, "linux/arm64": ARM}, {"linux/amd64": AMD}, ("linux/arm64",)),
        ({"linux/amd64": AMD}, {"linux/amd64": ARM, "linux/arm64": AMD}, ()),
        ({"linux/arm/v7": AMD, "linux/arm64": ARM}, {"linux/s390x": AMD}, ("linux/arm/v7", "linux/arm64")),
    ],
)
def test_platforms_are_compared_by_name(
    old: dict[str, Document], new: dict[str, Document], lost: tuple[str, ...]
) -> None:
    """What images they have does not matter."""
    before, after = index(old), index(new)
    assert lost == lost_platforms(before.digest, after.digest, {before.digest: before, after.digest: after})


def test_a_manifest_in_place_of_an_index_lists_nothing() -> None:
    """All that the index listed is lost."""
    documents: dict[Digest, Document] = {BOTH.digest: BOTH, AMD.digest: AMD}
    assert ("linux/amd64", "linux/arm64") == lost_platforms(BOTH.digest, AMD.digest, documents)


def test_a_manifest_has_no_platforms_to_lose() -> None:
    """Its platform stands in its config, which nobody reads."""
    assert () == lost_platforms(AMD.digest, ARM.digest, {AMD.digest: AMD, ARM.digest: ARM})


def test_what_is_not_read_is_not_known() -> None:
    """Neither the root nor, below it, an index."""
    outer = index([BOTH])
    known = lost_platforms(OLD, AMD.digest, {AMD.digest: AMD})
    assert (None, None) == (known, lost_platforms(outer.digest, AMD.digest, {outer.digest: outer}))


def windows(revision: str) -> Document:
    """An index over one Windows image."""
    platform = {"os": "windows", "architecture": "amd64", "os.version": f"10.0.{revision}"}
    entry = {"mediaType": OCI_MANIFEST, "digest": AMD.digest, "size": len(AMD.raw), "platform": platform}
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    return parse(raw, OCI_INDEX)


@pytest.mark.parametrize(
    ("revision", "lost"), [("17763.6659", ()), ("20348.2", ("windows(10.0.17763)/amd64",))]
)
def test_a_revision_of_windows_is_replaced_and_a_build_is_not(revision: str, lost: tuple[str, ...]) -> None:
    """Base images of Windows get a new revision every month."""
    old, new = windows("17763.5000"), windows(revision)
    assert lost == lost_platforms(old.digest, new.digest, {old.digest: old, new.digest: new})


# Images


def test_the_source_s_digest() -> None:
    """Nothing has been taken away."""
    assert [] == broken(Rule(name="rule 1", same_digest=True), AMD)


def test_another_digest_than_the_source_s() -> None:
    """It is the index that limitPlatforms made."""
    trimmed = index({"linux/amd64": AMD})
    expected = [f"index {trimmed.digest} is what limitPlatforms leaves of the source's {BOTH.digest}"]
    assert expected == broken(Rule(name="rule 1", same_digest=True), trimmed, AMD, source_digest=BOTH.digest)


def test_platforms_that_are_there() -> None:
    """More may be there."""
    assert [] == broken(Rule(name="rule 1", platforms=(Platform.parse("arm64"),)), BOTH, AMD, ARM)


def test_platforms_that_are_there_below_a_nested_index() -> None:
    """At any level."""
    outer = index([BOTH])
    assert [] == broken(Rule(name="rule 1", platforms=(Platform.parse("arm64"),)), outer, BOTH, AMD, ARM)


def test_platforms_that_are_not_there() -> None:
    """Those that lack are told."""
    rule = Rule(name="rule 1", platforms=tuple(map(Platform.parse, ("amd64", "s390x", "linux/arm/v7"))))
    expected = [f"index {BOTH.digest} does not list linux/s390x, linux/arm/v7"]
    assert expected == broken(rule, BOTH, AMD, ARM)


def test_a_manifest_lists_no_platform() -> None:
    """What it is for stands in its config, which is not read."""
    rule = Rule(name="rule 1", platforms=(Platform.parse("amd64"),))
    assert [f"manifest {AMD.digest} is in no index that would list linux/amd64"] == broken(rule, AMD)


def test_an_image_as_large_as_may_be() -> None:
    """Its blobs, each once, and its manifests."""
    size = 30 + len(AMD.raw) + len(ARM.raw) + len(BOTH.raw)
    assert [] == broken(Rule(name="rule 1", largest=size), BOTH, AMD, ARM)


def test_an_image_that_is_too_large() -> None:
    """By one byte."""
    size = 20 + len(AMD.raw)
    expected = [f"manifest {AMD.digest} has {size} bytes with all that it needs"]
    assert expected == broken(Rule(name="rule 1", largest=size - 1), AMD)


def image(*layers: dict[str, Any], config: str = OCI_CONFIG, media_type: str = OCI_MANIFEST) -> Document:
    """A manifest with the fields of its layers as they are given."""

    def descriptor(name: str, fields: dict[str, Any]) -> dict[str, Any]:
        return {"mediaType": OCI_LAYER, "digest": digest(name), "size": 10, **fields}

    raw = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor("config", {"mediaType": config}),
        "layers": [descriptor(f"layer {place}", fields) for place, fields in enumerate(layers)],
    }
    return parse(json.dumps(raw).encode(), media_type)


@pytest.mark.parametrize(
    ("largest", "demand"),
    [
        (0, 'largest = "0 B"'),
        (1025, 'largest = "1025 B"'),
        (2048, 'largest = "2 KiB"'),
        (3 << 39, 'largest = "1536 GiB"'),
        (5 << 40, 'largest = "5 TiB"'),
    ],
)
def test_a_size_is_told_in_the_largest_unit_without_a_fraction(largest: int, demand: str) -> None:
    """So that it can be found in mmgraph.toml."""
    huge = image({"size": 1 << 50})
    change = Change(DESTINATION, huge.digest, huge.digest)
    found = unmet(Rules((Rule(name="rule 1", largest=largest),)), change, [huge])
    assert [demand] == [each.demand for each in found]


def attested(*of: Document, images: dict[str, Document] | None = None) -> tuple[Document, ...]:
    """An index over images with attestations for some of them, as BuildKit writes it, and all its manifests."""
    images = {"linux/amd64": AMD, "linux/arm64": ARM} if images is None else images
    entries = json.loads(index(images).raw)["manifests"]
    proofs = [manifest("proof", each.digest) for each in of]
    for proof, each in zip(proofs, of, strict=True):
        entries.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": proof.digest,
                "size": len(proof.raw),
                "platform": {"os": "unknown", "architecture": "unknown"},
                "annotations": {
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": each.digest,
                },
            }
        )
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    return parse(raw, OCI_INDEX), *images.values(), *proofs


def test_attestations_for_all() -> None:
    """BuildKit's, beside each image."""
    assert [] == broken(Rule(name="rule 1", attestations=True), *attested(AMD, ARM))


def test_an_image_without_an_attestation() -> None:
    """It is the one that is named."""
    expected = [f"manifest {ARM.digest} is an image for linux/arm64 without an attestation"]
    assert expected == broken(Rule(name="rule 1", attestations=True), *attested(AMD))


def test_several_images_without_an_attestation() -> None:
    """One is named, the others are counted."""
    expected = [f"manifest {AMD.digest} is an image for linux/amd64 without an attestation; and 1 more"]
    assert expected == broken(Rule(name="rule 1", attestations=True), *attested())


def test_a_manifest_alone_has_no_attestation() -> None:
    """There is no index to list one."""
    expected = [f"manifest {AMD.digest} lists no image with an attestation"]
    assert expected == broken(Rule(name="rule 1", attestations=True), AMD)


@pytest.mark.parametrize(
    "layer",
    [
        {"urls": ["https://elsewhere.example/layer"]},
        {"mediaType": FOREIGN},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"},
    ],
)
def test_a_foreign_layer(layer: dict[str, Any]) -> None:
    """By its URLs, or by its type."""
    found = broken(Rule(name="rule 1", foreign_layers=False), image({}, layer))
    assert [True] == [each.startswith(f"blob {digest('layer 1')} is a foreign layer of ") for each in found]


def test_no_foreign_layer() -> None:
    """Layers that are fetched from the registry."""
    assert [] == broken(Rule(name="rule 1", foreign_layers=False), image({}, {}))


def test_a_foreign_url_is_quoted() -> None:
    """It is foreign text, and may hold a password."""
    bad = image({"urls": ["https://me:secret@elsewhere.example/\x1b[31m"]})
    found = broken(Rule(name="rule 1", foreign_layers=False), bad)
    assert (False, False) == ("secret" in found[0], "\x1b" in found[0])


@pytest.mark.parametrize(
    ("root", "node"),
    [
        (image(media_type=DOCKER_MANIFEST), "manifest "),
        (image(config="application/vnd.docker.container.image.v1+json"), f"blob {digest('config')} "),
        (image({"mediaType": FOREIGN}), f"blob {digest('layer 0')} "),
    ],
)
def test_a_docker_media_type(root: Document, node: str) -> None:
    """Of a manifest, its config, or a layer."""
    found = broken(Rule(name="rule 1", docker_media_types=False), root)
    assert [(True, True)] == [(each.startswith(node), "application/vnd.docker." in each) for each in found]


def test_a_manifest_list_of_docker() -> None:
    """The root is named before what it lists."""
    raw = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}
    root = parse(json.dumps(raw).encode(), DOCKER_LIST)
    expected = [f"index {root.digest} has the type {DOCKER_LIST}"]
    assert expected == broken(Rule(name="rule 1", docker_media_types=False), root)


def test_no_docker_media_type() -> None:
    """Everything is OCI's."""
    assert [] == broken(Rule(name="rule 1", docker_media_types=False), BOTH, AMD, ARM)


def test_every_demand_of_every_rule_is_told_once() -> None:
    """In the order of the rules; a name breaks nothing here."""
    strict = Rule(name="rule 1", may_move=False, largest=1)
    other = replace(strict, name="rule 2", may_move=True)
    change = Change(DESTINATION, AMD.digest, AMD.digest, OLD)
    found = unmet(Rules((strict, other)), change, [AMD])
    assert [("rule 1", "may-move = false"), ("rule 1", 'largest = "1 B"'), ("rule 2", 'largest = "1 B"')] == [
        (each.rule, each.demand) for each in found
    ]


def test_a_destination_by_digest_is_at_fault_by_its_root() -> None:
    """It has no tag to name."""
    pinned = Reference.parse(f"registry.example/app@{AMD.digest}")
    rule = Rule(name="rule 1", may_lose_platforms=False)
    found = unmet(Rules((rule,)), Change(pinned, AMD.digest, AMD.digest, OLD, ("linux/arm64",)), [AMD])
    assert [f"manifest registry.example/app@{AMD.digest}"] == [each.node for each in found]
