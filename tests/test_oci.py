"""Manifests and indexes: reading them beside their bytes, and limiting indexes to platforms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.errors import ContentError, SpecError
from mmgraph.names import Digest, Digests, Platform
from mmgraph.oci import (
    DEPTH_LIMIT,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT,
    OCI_INDEX,
    OCI_MANIFEST,
    Document,
    Index,
    Manifest,
    digest_of,
    limit_platforms,
    parse,
    platforms_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"

AMD64, ARM64, ARM_V7 = (Platform.parse(text) for text in ("linux/amd64", "linux/arm64", "linux/arm/v7"))


golden = "sha256:0aa0e21f1bf702862f4692af69a1023cbe718fa44eb61dd726e98fa449248f36"
golden_nested = "sha256:384b7b157ceae078a2c5aa2c7c596aa2fc2ecd7155752ec3cbfd60a9c93daae8"


def name(text: str) -> Digest:
    """Return the digest of ``text``: a content that is told apart by its name."""
    return digest_of(text.encode())


def descriptor(text: str, media_type: str = OCI_MANIFEST, platform: str = "", **more: Any) -> dict[str, Any]:
    """Return a descriptor of the content ``text``."""
    fields: dict[str, Any] = {"mediaType": media_type, "digest": name(text), "size": len(text)}
    if platform:
        fields["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return fields | more


def attestation(text: str, subject: str) -> dict[str, Any]:
    """Return the descriptor of a BuildKit attestation for the image ``subject``."""
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": name(subject),
    }
    return descriptor(text, OCI_MANIFEST, "unknown/unknown", annotations=annotations)


def manifest(**more: Any) -> dict[str, Any]:
    """Return the fields of a small image manifest, changed by ``more``; None leaves a field out."""
    fields = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("config", CONFIG_TYPE),
        "layers": [descriptor("base", LAYER_TYPE), descriptor("top", LAYER_TYPE)],
    } | more
    return {key: value for key, value in fields.items() if value is not None}


def index_fields(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the fields of an index."""
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)} | more


def index(*entries: dict[str, Any], indent: int | None = None, **more: Any) -> Index:
    """Return an index, written as Python writes JSON, which is not as mmgraph would."""
    document = parse(json.dumps(index_fields(*entries, **more), indent=indent).encode(), OCI_INDEX)
    assert isinstance(document, Index)
    return document


def nested_entry(inner: Index, platform: str = "", **more: Any) -> dict[str, Any]:
    """Return the descriptor of a nested index."""
    return descriptor("", OCI_INDEX, platform, **{"digest": inner.digest, "size": len(inner.raw)} | more)


def digests(entries: Sequence[dict[str, Any]]) -> tuple[Digest, ...]:
    """Return the digests that descriptors name."""
    return tuple(Digest(entry["digest"]) for entry in entries)


def encode(fields: object) -> bytes:
    """Return ``fields`` as JSON."""
    return json.dumps(fields).encode()


class TestParse:
    """``parse``"""

    def test_manifest_lists_its_blobs(self) -> None:
        """A manifest is its config and its layers."""
        document = parse(encode(manifest()), OCI_MANIFEST)

        assert isinstance(document, Manifest)
        assert (name("config"), name("base"), name("top")) == tuple(d.digest for d in document.blobs)

    def test_repeated_layers_are_one_blob(self) -> None:
        """An image that uses a layer twice needs it once."""
        layer = descriptor("base", LAYER_TYPE)
        document = parse(encode(manifest(layers=[layer, layer])), OCI_MANIFEST)

        assert isinstance(document, Manifest)
        expected = 2
        assert expected == len(document.blobs)

    def test_foreign_layers_are_no_blobs(self) -> None:
        """A layer with URLs is neither fetched nor required."""
        layer = descriptor("windows", LAYER_TYPE, urls=["https://mcr.example/windows"])
        document = parse(encode(manifest(layers=[layer])), OCI_MANIFEST)

        assert isinstance(document, Manifest)
        expected = (True, 1)
        assert expected == (document.layers[0].foreign, len(document.blobs))

    def test_index_tells_manifests_from_blobs(self) -> None:
        """An index may list any media type; what is no manifest and no index is a blob (image-spec)."""
        entries = [
            descriptor("m"),
            descriptor("i", DOCKER_LIST),
            descriptor("b", "text/x-thing"),
            descriptor("m"),
        ]
        document = index(*entries)

        assert (digests(entries[:2]), digests(entries[2:3])) == (
            tuple(d.digest for d in document.children),
            tuple(d.digest for d in document.blobs),
        )

    @pytest.mark.parametrize(
        "raw", [encode(manifest()) + b"\n", b"\n " + encode(manifest()), encode(manifest())]
    )
    def test_bytes_are_kept(self, raw: bytes) -> None:
        """A manifest that ends in a line end is sent with it, under its own digest."""
        document = parse(raw, OCI_MANIFEST)

        assert (raw, digest_of(raw)) == (document.raw, document.digest)

    def test_sha512_is_kept(self) -> None:
        """A manifest asked for by sha512 is known by it."""
        raw = encode(manifest())
        digest = digest_of(raw, "sha512")

        assert digest == parse(raw, OCI_MANIFEST, digest).digest

    def test_digests_of_many_documents_are_kept_once(self) -> None:
        """Who reads many documents has each digest once, however many of them list it."""
        digests = Digests()
        first, second = (parse(encode(manifest(artifactType=kind)), "", None, digests) for kind in "ab")

        assert isinstance(first, Manifest)
        assert isinstance(second, Manifest)
        assert first.layers[0].digest is second.layers[0].digest

    def test_wrong_digest_is_refused(self) -> None:
        """Bytes under another digest are another content."""
        with pytest.raises(ContentError, match="have the digest"):
            parse(encode(manifest()), OCI_MANIFEST, name("other"))

    @pytest.mark.parametrize(
        ("content_type", "fields", "expected"),
        [
            (OCI_MANIFEST, manifest(), OCI_MANIFEST),
            (f"{OCI_MANIFEST}; charset=utf-8", manifest(mediaType=None), OCI_MANIFEST),
            (OCI_MANIFEST.upper(), manifest(mediaType=None), OCI_MANIFEST),
            (DOCKER_MANIFEST, manifest(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST),
            ("application/json", manifest(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST),
            ("text/plain; charset=utf-8", manifest(), OCI_MANIFEST),
            ("application/octet-stream", manifest(mediaType=None), OCI_MANIFEST),
            ("", manifest(mediaType=None), OCI_MANIFEST),
            ("", manifest(mediaType=None, schemaVersion=None), OCI_MANIFEST),
            ("", index_fields(mediaType=None), OCI_INDEX),
            ("", index_fields(mediaType=DOCKER_LIST), DOCKER_LIST),
            (DOCKER_LIST, index_fields(mediaType=None), OCI_INDEX),
            (OCI_MANIFEST, manifest(layers=None), OCI_MANIFEST),
        ],
    )
    def test_media_type(self, content_type: str, fields: dict[str, Any], expected: str) -> None:
        """The type is the Content-Type's, else the field's, else what follows from the fields: OCI's."""
        assert expected == parse(encode(fields), content_type).media_type

    def test_null_lists_are_empty(self) -> None:
        """Go writes an empty list as null."""
        document = parse(encode(manifest(layers=None) | {"layers": None}), OCI_MANIFEST)

        assert isinstance(document, Manifest)
        expected = ()
        assert expected == document.layers

    @pytest.mark.parametrize(
        ("content_type", "fields", "part"),
        [
            (OCI_MANIFEST, manifest(mediaType=OCI_INDEX), "the document says"),
            (DOCKER_MANIFEST, manifest(), "the document says"),
            (OCI_INDEX, manifest(mediaType=None), "has no place"),
            (OCI_MANIFEST, index_fields(mediaType=None), "has no place"),
            (OCI_INDEX, index_fields(layers=[]), "has no place"),
            ("", manifest(manifests=[], mediaType=None), "has no place"),
            ("", index_fields(history=[]), "has no place"),
            (OCI_INDEX, index_fields(Config={}), 'which some programs read as "config"'),
            (OCI_MANIFEST, manifest(Layers=[]), 'which some programs read as "layers"'),
            (OCI_MANIFEST, manifest() | {"manifeſts": []}, 'which some programs read as "manifests"'),
            (OCI_MANIFEST, manifest(config=descriptor("c") | {"Digest": "x"}), "which some programs read as"),
            (SCHEMA_1, {"schemaVersion": 1}, "Docker schema 1"),
            (
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                {"fsLayers": []},
                "Docker schema 1",
            ),
            ("", {"schemaVersion": 1, "fsLayers": [], "history": []}, "push it again with a current docker"),
            (ARTIFACT, {"blobs": []}, ARTIFACT),
            ("", {"mediaType": ARTIFACT, "blobs": []}, ARTIFACT),
            ("text/html", manifest(), "is not a manifest's type"),
            ("", manifest(mediaType=CONFIG_TYPE), "is not a manifest's type"),
            ("", {"schemaVersion": 2}, "neither a manifest nor an index"),
            ("", [], "not sound JSON"),
            ("", manifest(schemaVersion=3), "schemaVersion"),
            ("", manifest(schemaVersion="2"), "schemaVersion"),
            ("", manifest(mediaType=2), "mediaType is not a string"),
            (OCI_MANIFEST, manifest(config=None), "config is not a JSON object"),
            (OCI_MANIFEST, manifest(layers={}), "layers is not a list"),
            (OCI_MANIFEST, manifest(layers=[3]), "layers[0] is not a JSON object"),
            (OCI_INDEX, {"schemaVersion": 2}, "manifests is not a list"),
            (OCI_INDEX, index_fields(descriptor("a", size=-1)), "no size"),
            (OCI_INDEX, index_fields(descriptor("a", size=2**63)), "no size"),
            (OCI_INDEX, index_fields(descriptor("a", size=1.0)), "no size"),
            (OCI_INDEX, index_fields(descriptor("a", size=True)), "no size"),
            (OCI_INDEX, index_fields(descriptor("a", digest="sha256:ab")), "manifests[0]"),
            (OCI_INDEX, index_fields(descriptor("a", digest="md5:" + "a" * 32)), "sha256 or sha512"),
            (OCI_INDEX, index_fields(descriptor("a", mediaType="")), "has no mediaType"),
            (OCI_INDEX, index_fields(descriptor("a", urls="x")), "urls"),
            (OCI_INDEX, index_fields(descriptor("a"), descriptor("a", size=77)), "two sizes"),
            (OCI_INDEX, index_fields(subject="x"), "subject is not a JSON object"),
        ],
    )
    def test_refuses(self, content_type: str, fields: object, part: str) -> None:
        """A document that two programs could read differently is refused, and so is what cannot be copied."""
        with pytest.raises(ContentError) as caught:
            parse(encode(fields), content_type)

        assert part in str(caught.value)

    @pytest.mark.parametrize(
        ("raw", "part"),
        [
            (b"", "not sound JSON"),
            (b"{", "not sound JSON"),
            (b'{"a": 1, "a": 1}', "twice"),
            (b'{"config": {"a": 1, "\\u0061": 1}}', "twice"),
            (b'{"a": NaN}', "NaN"),
            (b'{"a": -Infinity}', "Infinity"),
            (b'{"a": "\xff"}', "not sound JSON"),
            (b'{"a": "\\ud800"}', "not sound JSON"),
            (b"\xef\xbb\xbf{}", "not sound JSON"),
            ('{"a": 1}'.encode("utf-16"), "not sound JSON"),
            (b'{"a": ' + b"9" * 5000 + b"}", "not sound JSON"),
            (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deep"),
            (b"[" * 1_000_000, "nested too deep"),
            (b"{}" + b" " * MANIFEST_LIMIT, "bytes, more than"),
        ],
    )
    def test_refuses_what_is_no_sound_json(self, raw: bytes, part: str) -> None:
        """Whatever a registry sends, it is refused in a sentence and in no time."""
        with pytest.raises(ContentError) as caught:
            parse(raw, "")

        assert part in str(caught.value)

    @pytest.mark.parametrize(
        "platform",
        [
            None,
            {},
            [],
            "linux/amd64",
            {"os": "linux"},
            {"os": 3, "architecture": "arm64"},
            {"os": "linux", "architecture": "\x1b[2J"},
            {"os": "linux", "architecture": "arm64", "variant": [1]},
            {"os": "linux", "architecture": "a" * 129},
        ],
    )
    def test_malformed_platform_is_none(self, platform: object) -> None:
        """A descriptor's odd platform is no reason not to copy the image."""
        document = index(descriptor("a") | {"platform": platform})

        assert document.manifests[0].platform is None

    def test_platform_is_normal(self) -> None:
        """``linux/arm64/v8`` is ``linux/arm64``."""
        expected = ARM64
        assert expected == index(descriptor("a", platform="linux/arm64/v8")).manifests[0].platform

    def test_subject_and_artifact_type_are_read(self) -> None:
        """What refers to another manifest says so, and to which."""
        document = parse(encode(manifest(subject=descriptor("s"), artifactType="a/b")), OCI_MANIFEST)

        assert document.subject is not None
        assert (name("s"), "a/b") == (document.subject.digest, document.artifact_type)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_refused_or_read(self, raw: bytes) -> None:
        """Any bytes give a document or ``ContentError``."""
        try:
            document = parse(raw, "")
        except ContentError:
            return

        assert raw == document.raw

    @given(st.data())
    def test_any_document_is_refused_or_read(self, data: st.DataObject) -> None:
        """Any change of a sound document gives a document or ``ContentError``."""
        json_values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=5,
        )
        fields = data.draw(
            st.sampled_from([manifest(), index_fields(descriptor("a", platform="linux/arm64"))])
        )
        place: Any = fields
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(json_values)
                break
            place = place[key]
        content_type = data.draw(st.sampled_from([OCI_MANIFEST, OCI_INDEX, "", DOCKER_LIST]))
        raw = json.dumps(fields).encode()
        try:
            document = parse(raw, content_type)
        except ContentError:
            return

        assert raw == document.raw


class TestLimitPlatforms:
    """``limit_platforms``"""

    def test_golden(self) -> None:
        """The bytes of a trimmed index are pinned: another digest would move every user's tags."""
        original = index(
            descriptor("a", platform="linux/amd64", size=1),
            descriptor("b", platform="linux/arm64/v8", size=1),
            attestation("c", "a"),
            attestation("d", "b"),
            indent=2,
            annotations={"org.opencontainers.image.ref.name": "größe"},
            **{"x-unknown": {"kept": 1.50}},
        )

        assert golden == limit_platforms(original, [ARM64], {}).root.digest

    def test_golden_nested(self) -> None:
        """The bytes of an index around a trimmed one are pinned too: digest and size change, data goes."""
        inner = index(descriptor("a", platform="linux/amd64"), descriptor("b", platform="linux/arm64"))
        original = index(nested_entry(inner, data="AAAA", annotations={"k": "v"}), descriptor("c"), indent=1)
        selection = limit_platforms(original, [AMD64], {inner.digest: inner})

        assert golden_nested == selection.root.digest

    def test_bytes_of_a_small_index(self) -> None:
        """What is kept stands as it stood, inside without a change and outside without white space."""
        keep = (
            '{ "mediaType":"%s",\n "digest": "%s", "size":3,'
            ' "platform":{"architecture":"amd64","os":"linux"} }'
        )
        drop = '{"mediaType":"%s","digest":"%s","size":4,"platform":{"architecture":"arm64","os":"linux"}}'
        first, second = keep % (OCI_MANIFEST, name("a")), drop % (OCI_MANIFEST, name("b"))
        raw = f'{{ "x" : [ 1.0, "\\u003c" ] ,\n"manifests": [{second}, {first} ], "schemaVersion":2 }}\n'
        original = parse(raw.encode(), OCI_INDEX)
        assert isinstance(original, Index)

        expected = f'{{"x":[ 1.0, "\\u003c" ],"manifests":[{first}],"schemaVersion":2}}'
        assert expected == limit_platforms(original, [AMD64], {}).root.raw.decode()

    def test_one_image_left_stays_an_index(self) -> None:
        """An index with one image is not replaced by that image."""
        original = index(descriptor("a", platform="linux/amd64"), descriptor("b", platform="linux/arm64"))

        assert (name("a"),) == tuple(d.digest for d in limit_platforms(original, [AMD64], {}).root.manifests)

    @pytest.mark.parametrize("platforms", [[AMD64], [AMD64, ARM64], []])
    def test_nothing_removed_is_nothing_changed(self, platforms: list[Platform]) -> None:
        """Where all is wanted, or all there is, the index itself comes back."""
        original = index(descriptor("a", platform="linux/amd64"), attestation("b", "a"), indent=3)
        selection = limit_platforms(original, platforms, {})

        assert (original, {}) == (selection.root, selection.rewritten)
        assert original is selection.root

    def test_platformless_entries_go(self) -> None:
        """What has no platform is of none of the wanted ones."""
        original = index(
            descriptor("a", platform="linux/amd64"),
            descriptor("b"),
            descriptor("c", platform="unknown/unknown"),
            descriptor("d", "text/x-thing"),
        )

        assert (name("a"),) == tuple(d.digest for d in limit_platforms(original, [AMD64], {}).root.manifests)

    def test_attestations_follow_their_image(self) -> None:
        """An attestation is kept with the image it attests, and goes with one that goes or is not there."""
        original = index(
            attestation("of arm64", "b"),
            descriptor("a", platform="linux/amd64"),
            descriptor("b", platform="linux/arm64"),
            attestation("of amd64", "a"),
            attestation("of none", "absent"),
        )
        selection = limit_platforms(original, [AMD64], {})

        assert (name("a"), name("of amd64")) == tuple(d.digest for d in selection.root.manifests)

    def test_unknown_platform_is_never_there(self) -> None:
        """``unknown/unknown`` cannot be asked for."""
        original = index(descriptor("a", platform="linux/amd64"), descriptor("b", platform="unknown/unknown"))

        with pytest.raises(SpecError, match="none of unknown/unknown; it has linux/amd64"):
            limit_platforms(original, [Platform.parse("unknown/unknown")], {})

    def test_no_platform_there_is_an_error(self) -> None:
        """The message lists what there is."""
        original = index(descriptor("a", platform="linux/arm64"), descriptor("b", platform="linux/amd64"))

        with pytest.raises(SpecError) as caught:
            limit_platforms(original, [ARM_V7], {})
        expected = "it has none of linux/arm/v7; it has linux/amd64, linux/arm64"
        assert expected == str(caught.value)

    def test_missing_platforms_are_reported(self) -> None:
        """One platform of two is no error, and not silent either."""
        original = index(descriptor("a", platform="linux/arm64"), descriptor("b", platform="linux/amd64"))
        selection = limit_platforms(original, [ARM_V7, AMD64], {})
        expected = ((ARM_V7,), (AMD64, ARM64))

        assert expected == (selection.missing, selection.available)

    def test_os_version_matters_where_it_is_wanted(self) -> None:
        """Windows images are told apart by os.version for those who ask for one."""
        entries = [
            descriptor(v) | {"platform": {"os": "windows", "architecture": "amd64", "os.version": v}}
            for v in ("10.1", "10.2")
        ]
        selection = limit_platforms(index(*entries), [Platform.parse("windows(10.2)/amd64")], {})

        assert digests(entries[1:]) == tuple(d.digest for d in selection.root.manifests)

    def test_nested_index_passes_its_platform_on(self) -> None:
        """An index of an image and its attestation has its platform outside (goauthentik's images)."""
        inner = {
            arch: index(descriptor(arch), attestation(f"of {arch}", arch)) for arch in ("amd64", "arm64")
        }
        original = index(*(nested_entry(i, f"linux/{arch}") for arch, i in inner.items()))
        selection = limit_platforms(original, [ARM64], {i.digest: i for i in inner.values()})

        assert ((inner["arm64"].digest,), (AMD64, ARM64)) == (
            tuple(d.digest for d in selection.root.manifests),
            selection.available,
        )

    def test_own_platform_beats_the_outer_one(self) -> None:
        """A leaf's own platform is its platform."""
        inner = index(descriptor("a", platform="linux/amd64"), descriptor("b"))
        selection = limit_platforms(index(nested_entry(inner, "linux/arm64")), [ARM64], {inner.digest: inner})
        made = selection.rewritten[selection.root.manifests[0].digest]

        assert (name("b"),) == tuple(d.digest for d in made.manifests)

    def test_empty_nested_index_goes(self) -> None:
        """A nested index of which nothing is left is not listed."""
        inner = index(descriptor("b", platform="linux/arm64"))
        original = index(descriptor("a", platform="linux/amd64"), nested_entry(inner))
        selection = limit_platforms(original, [AMD64], {inner.digest: inner})

        assert ((name("a"),), {selection.root.digest}) == (
            tuple(d.digest for d in selection.root.manifests),
            set(selection.rewritten),
        )

    def test_attestation_elsewhere_in_the_tree_is_kept(self) -> None:
        """An attestation is found wherever it stands."""
        inner = index(attestation("of a", "a"), attestation("of b", "b"))
        original = index(descriptor("a", platform="linux/amd64"), descriptor("b", platform="linux/arm64"))
        original = index(
            descriptor("a", platform="linux/amd64"),
            descriptor("b", platform="linux/arm64"),
            nested_entry(inner),
        )
        selection = limit_platforms(original, [AMD64], {inner.digest: inner})
        made = selection.rewritten[selection.root.manifests[1].digest]

        assert (name("of a"),) == tuple(d.digest for d in made.manifests)

    def test_sha512_stays_sha512(self) -> None:
        """A trimmed index has a digest of its original's kind, nested ones too, and no field is lost."""
        raw = encode(
            index_fields(
                descriptor("a", platform="linux/amd64", artifactType="x/y"),
                descriptor("b", platform="linux/arm64"),
                artifactType="a/b",
            )
        )
        original = parse(raw, OCI_INDEX, digest_of(raw, "sha512"))
        assert isinstance(original, Index)
        root = limit_platforms(original, [AMD64], {}).root
        expected = ("sha512", "a/b", "x/y")

        assert expected == (
            root.digest.algorithm,
            root.artifact_type,
            root.manifests[0].artifact_type,
        )

    def test_deep_trees_are_refused(self) -> None:
        """Indexes nest eight levels deep at most."""
        nested: dict[Digest, Document] = {}
        root = index(descriptor("a", platform="linux/amd64"))
        for _ in range(DEPTH_LIMIT - 1):
            nested[root.digest] = root
            root = index(nested_entry(root))
        expected = (AMD64,)
        assert expected == limit_platforms(root, [AMD64], nested).available

        nested[root.digest] = root
        with pytest.raises(ContentError, match="levels deep"):
            limit_platforms(index(nested_entry(root)), [AMD64], nested)

    def test_wide_trees_are_refused(self) -> None:
        """A small index that lists itself many times over, level by level, is no way to keep mmgraph busy."""
        nested: dict[Digest, Document] = {}
        root = index(descriptor("a", platform="linux/amd64"))
        for _ in range(DEPTH_LIMIT - 1):
            nested[root.digest] = root
            root = index(*[nested_entry(root)] * 100)

        with pytest.raises(ContentError, match="more than 100000 entries"):
            limit_platforms(root, [AMD64], nested)

    def test_manifest_listed_as_an_index_is_refused(self) -> None:
        """The descriptor's type and the document's must agree."""
        inner = parse(encode(manifest()), OCI_MANIFEST)
        original = index(descriptor("", OCI_INDEX, digest=inner.digest, size=len(inner.raw)))

        with pytest.raises(ContentError, match="is listed as an index"):
            limit_platforms(original, [AMD64], {inner.digest: inner})


class TestPlatformsOf:
    """``platforms_of``"""

    def test_labels(self) -> None:
        """Every entry says what it is for, attestations too, in nested indexes as well."""
        inner = index(descriptor("b"), attestation("of b", "b"))
        original = index(
            attestation("of a", "a"),
            descriptor("a", platform="linux/amd64"),
            nested_entry(inner, "linux/arm64"),
            attestation("of none", "absent"),
            descriptor("c"),
        )
        expected = [
            "attestation for linux/amd64",
            "linux/amd64",
            "linux/arm64",
            "linux/arm64",
            "attestation for linux/arm64",
            "attestation",
            "",
        ]

        assert expected == [entry.label for entry in platforms_of(original, {inner.digest: inner})]

    def test_unread_indexes_are_not_entered(self) -> None:
        """A tree can be shown before all of it has been read."""
        inner = index(descriptor("b"))
        expected = 1

        assert expected == len(platforms_of(index(nested_entry(inner, "linux/arm64")), {}))


PLATFORMS = ["linux/amd64", "linux/arm64/v8", "linux/arm", "windows/amd64", "unknown/unknown", ""]


@st.composite
def trees(draw: st.DrawFn) -> tuple[Index, dict[Digest, Document]]:
    """An index with images, attestations and nested indexes up to three levels deep."""
    nested: dict[Digest, Document] = {}

    def build(depth: int) -> Index:
        entries = []
        for _ in range(draw(st.integers(0, 4))):
            kind = draw(st.sampled_from(["image", "image", "attestation", "index" if depth < 3 else "image"]))
            text, platform = draw(st.sampled_from("abcdefgh")), draw(st.sampled_from(PLATFORMS))
            if kind == "image":
                entries.append(descriptor(text, platform=platform))
            elif kind == "attestation":
                entries.append(attestation(f"of {text}", text))
            else:
                inner = build(depth + 1)
                nested[inner.digest] = inner
                entries.append(nested_entry(inner, platform))
        return index(*entries, indent=draw(st.sampled_from([None, 2])))

    return build(1), nested


def elements(document: Index) -> list[str]:
    """Return the texts of an index's entries as they stand, found by another parser than mmgraph's."""
    text = document.raw.decode()
    position = text.index("[", text.index('"manifests"')) + 1
    found: list[str] = []
    while True:
        while text[position] in " \n,":
            position += 1
        if text[position] == "]":
            return found
        _, end = json.JSONDecoder().raw_decode(text, position)
        found.append(text[position:end])
        position = end


def leaves(root: Index, nested: dict[Digest, Document]) -> list[str]:
    """Return the labelled digests of all images, in order."""
    return [
        f"{entry.platform} {entry.descriptor.digest}"
        for entry in platforms_of(root, nested)
        if not entry.descriptor.is_index and entry.descriptor.attests is None
    ]


@settings(max_examples=150)
@given(trees(), st.sets(st.sampled_from([AMD64, ARM64, ARM_V7]), min_size=1))
def test_limit_platforms_laws(tree: tuple[Index, dict[Digest, Document]], wanted: set[Platform]) -> None:
    """The wanted images stay, byte for byte and in order, nothing else does, and once is enough."""
    original, nested = tree
    try:
        selection = limit_platforms(original, wanted, nested)
    except SpecError:
        assert not [leaf for leaf in leaves(original, nested) if leaf.split()[0] in map(str, wanted)]
        return

    after = nested | selection.rewritten
    expected = [leaf for leaf in leaves(original, nested) if leaf.split()[0] in map(str, wanted)]
    assert expected == leaves(selection.root, after)
    made = selection.rewritten.values()
    assert all(m == parse(m.raw, m.media_type, m.digest) for m in made)
    rest = iter(elements(original))
    flat = [text for text in elements(selection.root) if OCI_INDEX not in text]
    assert all(any(text == old for old in rest) for text in flat)
    again = limit_platforms(selection.root, wanted, after)
    assert selection.root is again.root
