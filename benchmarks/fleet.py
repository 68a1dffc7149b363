"""Fleets: generated sets of multi-platform images, equal for equal seeds. Knows no tool that mirrors them.

A fleet has what real sets have: layers shared by repositories, by tags and by nobody, aliases, attestations,
and both families of media types. It can be laid straight into the storage of a registry
(``write_distribution_storage``) or pushed over HTTP (``push``), and knows what a mirror of it must come to.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import struct
import zlib
from collections.abc import Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from mmgraph.store import Operation

if TYPE_CHECKING:
    from pathlib import Path

Closure = tuple[str, dict[str, int]]
"""The root's digest, and the size of everything that belongs to it by digest, the root included."""

PLATFORMS: Final = (
    {"architecture": "amd64", "os": "linux"},
    {"architecture": "arm64", "os": "linux"},
    {"architecture": "arm", "os": "linux", "variant": "v7"},
    {"architecture": "s390x", "os": "linux"},
)
_STORED_BLOCK: Final = 65535


class Shape(msgspec.Struct, frozen=True):
    """How large a fleet is: ``tags`` without the alias ``latest``, ``scale`` of the four big layers."""

    name: str
    repositories: int
    tags: int
    platforms: int
    scale: float
    tiny: int


A: Final = Shape("A", 8, 4, 3, 1.0, 6)
W: Final = Shape("W", 20, 6, 4, 0.1, 6)
M: Final = Shape("M", 100, 20, 2, 0.0005, 4)
SMALL: Final = Shape("SMALL", 10, 4, 2, 0.004, 4)
"""For tests: 40 images and 10 aliases in about 5 MB; the base layers are larger than one read of a socket."""
TINY: Final = Shape("TINY", 3, 2, 2, 0.001, 2)
"""For tests that want few requests: 6 images and 3 aliases in about 250 kB."""
SHAPES: Final = {shape.name: shape for shape in (A, W, M, SMALL, TINY)}


class Blob(msgspec.Struct, frozen=True):
    """A blob's descriptor; ``diff_id`` is the digest of a layer's uncompressed bytes."""

    media_type: str
    digest: str
    size: int
    diff_id: str = ""


class Document(msgspec.Struct, frozen=True):
    """A manifest or index as its bytes, with what it lists."""

    raw: bytes
    media_type: str
    digest: str
    blobs: tuple[Blob, ...] = ()
    children: tuple[str, ...] = ()


class Truth(msgspec.Struct, frozen=True):
    """What a mirror of the whole fleet to an empty registry must come to."""

    repositories: int
    tags: int
    manifests: int
    blobs: int
    unique_bytes: int
    naive_bytes: int
    """Over all tags, the bytes of the distinct blobs of each; an alias counts like any other tag."""
    naive_bytes_without_aliases: int
    mounts: int
    source: dict[Operation, int]
    """The fewest requests that can do it; one tag list a repository may come on top at the destination."""
    destination: dict[Operation, int]


class Folder(MutableMapping[str, bytes]):
    """Blobs by digest as files, laid out as distribution lays out its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Return where ``digest`` is kept."""
        algorithm, _, value = digest.partition(":")
        return self.root / algorithm / value[:2] / value / "data"

    def __getitem__(self, digest: str) -> bytes:
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            raise KeyError(digest) from None

    def __setitem__(self, digest: str, content: bytes) -> None:
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def __delitem__(self, digest: str) -> None:
        self.path(digest).unlink()

    def __iter__(self) -> Iterator[str]:
        return (f"{p.parts[-4]}:{p.parts[-2]}" for p in sorted(self.root.glob("*/*/*/data")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Fleet:
    """The images of one shape and seed; blobs are made once, in memory or as files under ``directory``."""

    def __init__(self, shape: Shape, seed: int = 1, directory: Path | None = None) -> None:
        self.shape = shape
        self.seed = seed
        self.content: MutableMapping[str, bytes] = {} if directory is None else Folder(directory)
        self.documents: dict[str, Document] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self._layers: dict[tuple[object, ...], tuple[str, int, str]] = {}
        for number in range(shape.repositories):
            name = f"team-{number // 4}/service-{number}"
            tags = {f"v{tag + 1}": self._image(number, tag) for tag in range(shape.tags)}
            self.tags[name] = {**tags, "latest": tags[f"v{shape.tags}"]}

    # -- what there is

    def images(self) -> Iterator[tuple[str, str, str]]:
        """Yield each tag as (repository, tag, root digest)."""
        for repository, tags in self.tags.items():
            for tag, root in tags.items():
                yield repository, tag, root

    def tree(self, root: str) -> list[Document]:
        """Return the documents of an image, children before the root."""
        document = self.documents[root]
        return [*(self.documents[child] for child in document.children), document]

    def closure(self, root: str) -> Closure:
        """Return everything that belongs to an image."""
        sizes: dict[str, int] = {}
        for document in self.tree(root):
            sizes[document.digest] = len(document.raw)
            sizes.update((blob.digest, blob.size) for blob in document.blobs)
        return root, sizes

    def closures(self, prefix: str = "") -> dict[str, dict[str, Closure]]:
        """Return the closure of each tag by repository, as the oracle of the tests reads it."""
        return {
            prefix + repository: {tag: self.closure(root) for tag, root in tags.items()}
            for repository, tags in self.tags.items()
        }

    def held(self, repository: str) -> tuple[dict[str, Document], dict[str, int]]:
        """Return a repository's documents and its blobs' sizes, both by digest, in the order of a push."""
        documents = {d.digest: d for root in self.tags[repository].values() for d in self.tree(root)}
        return documents, {blob.digest: blob.size for d in documents.values() for blob in d.blobs}

    def specs(self, source: str, destination: str, prefix: str = "") -> str:
        """Return copy specs, one a line, for mirroring the fleet from one registry to the other."""
        lines = (
            {"src": f"{source}/{repository}:{tag}", "dst": f"{destination}/{prefix}{repository}:{tag}"}
            for repository, tag, _ in self.images()
        )
        return "".join(json.dumps(line) + "\n" for line in lines)

    def truth(self) -> Truth:
        """Return the numbers that a mirror of this fleet is held to."""
        sizes: dict[str, int] = {}
        holders = manifests = roots = naive = naive_without_aliases = 0
        for repository, tags in self.tags.items():
            documents, blobs = self.held(repository)
            sizes.update(blobs)
            holders += len(blobs)
            manifests += len(documents)
            roots += len(set(tags.values()))
            weights = {tag: sum(self._blobs(root).values()) for tag, root in tags.items()}
            naive += sum(weights.values())
            naive_without_aliases += sum(weights.values()) - weights["latest"]
        count = sum(len(tags) for tags in self.tags.values())
        mounts = holders - len(sizes)
        return Truth(
            repositories=len(self.tags),
            tags=count,
            manifests=manifests,
            blobs=len(sizes),
            unique_bytes=sum(sizes.values()),
            naive_bytes=naive,
            naive_bytes_without_aliases=naive_without_aliases,
            mounts=mounts,
            source={
                Operation.HEAD_MANIFEST: count,
                Operation.GET_MANIFEST: manifests,
                Operation.GET_BLOB: len(sizes),
            },
            destination={
                Operation.HEAD_MANIFEST: count,
                Operation.POST_UPLOAD: len(sizes) + mounts,
                Operation.PUT_BLOB: len(sizes),
                Operation.PUT_MANIFEST: manifests - roots + count,
            },
        )

    def _blobs(self, root: str) -> dict[str, int]:
        return {blob.digest: blob.size for document in self.tree(root) for blob in document.blobs}

    # -- how it is made

    def _image(self, repository: int, tag: int) -> str:
        docker = repository % 3 == 2
        manifests: list[Document] = []
        attestations: list[tuple[Document, str]] = []
        entries: list[dict[str, Any]] = []
        for number in range(self.shape.platforms):
            platform = PLATFORMS[number]
            manifest = self._manifest(repository, tag, number, docker=docker)
            manifests.append(manifest)
            entries.append({**_descriptor(manifest), "platform": platform})
            if not docker:
                attestations.append((self._attestation(repository, tag, number, manifest), manifest.digest))
        for attestation, subject in attestations:
            annotations = {
                "vnd.docker.reference.digest": subject,
                "vnd.docker.reference.type": "attestation-manifest",
            }
            unknown = {"architecture": "unknown", "os": "unknown"}
            entries.append({**_descriptor(attestation), "annotations": annotations, "platform": unknown})
        media_type = (
            "application/vnd.docker.distribution.manifest.list.v2+json"
            if docker
            else "application/vnd.oci.image.index.v1+json"
        )
        children = (*(m.digest for m in manifests), *(a.digest for a, _ in attestations))
        return self._document(media_type, {"manifests": entries}, (), children).digest

    def _manifest(self, repository: int, tag: int, platform: int, *, docker: bool) -> Document:
        megabyte = 1_000_000 * self.shape.scale
        layers = [
            self._layer(int(30 * megabyte), docker, "base", repository % 2, platform),
            self._layer(int(20 * megabyte), docker, "runtime", repository % 3, platform),
            self._layer(int(12 * megabyte), docker, "dependencies", repository, tag // 2, platform),
            self._layer(int(4 * megabyte), docker, "application", repository, tag, platform),
        ]
        for number in range(self.shape.tiny):
            key = (repository, tag) if number == 0 else (repository,)
            layers.append(self._layer(200 + 977 * number, docker, "tiny", number, *key))
        config = self._config(
            "application/vnd.docker.container.image.v1+json"
            if docker
            else "application/vnd.oci.image.config.v1+json",
            {
                **PLATFORMS[platform],
                "config": {
                    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", f"SEED={self.seed}"],
                    "Labels": {"org.opencontainers.image.version": f"{repository}.{tag + 1}"},
                },
                "created": "2026-01-01T00:00:00Z",
                "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            },
        )
        media_type = (
            "application/vnd.docker.distribution.manifest.v2+json"
            if docker
            else "application/vnd.oci.image.manifest.v1+json"
        )
        body = {"config": _descriptor(config), "layers": [_descriptor(layer) for layer in layers]}
        return self._document(media_type, body, (config, *layers), ())

    def _attestation(self, repository: int, tag: int, platform: int, subject: Document) -> Document:
        """Return the manifest that BuildKit puts beside an image's (moby/buildkit, docs/attestations)."""
        statement = {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": f"service-{repository}", "digest": {"sha256": subject.digest[7:]}}],
            "predicate": {
                "buildType": "https://mobyproject.org/buildkit@v1",
                "tag": tag,
                "platform": platform,
            },
        }
        layer = self._config("application/vnd.in-toto+json", statement)
        config = self._config(
            "application/vnd.oci.image.config.v1+json",
            {
                "architecture": "unknown",
                "os": "unknown",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            },
        )
        predicate = {"in-toto.io/predicate-type": statement["predicateType"]}
        body = {
            "config": _descriptor(config),
            "layers": [{**_descriptor(layer), "annotations": predicate}],
        }
        return self._document("application/vnd.oci.image.manifest.v1+json", body, (config, layer), ())

    def _document(
        self, media_type: str, body: dict[str, Any], blobs: tuple[Blob, ...], children: tuple[str, ...]
    ) -> Document:
        # Both writers in the wild indent: BuildKit by two spaces, docker by three.
        indent = 3 if ".docker." in media_type else 2
        raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, **body}, indent=indent).encode()
        document = Document(raw, media_type, _sha256(raw), blobs, children)
        self.documents[document.digest] = document
        return document

    def _config(self, media_type: str, body: dict[str, Any]) -> Blob:
        raw = json.dumps(body, separators=(",", ":")).encode()
        blob = Blob(media_type, _sha256(raw), len(raw))
        self.content[blob.digest] = raw
        return blob

    def _layer(self, size: int, docker: bool, *key: object) -> Blob:
        if key not in self._layers:
            payload = random.Random(f"{self.seed} {key}").randbytes(size)
            raw = _stored_gzip(payload)
            digest = _sha256(raw)
            self.content[digest] = raw
            self._layers[key] = digest, len(raw), _sha256(payload)
        digest, length, diff_id = self._layers[key]
        media_type = (
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
            if docker
            else "application/vnd.oci.image.layer.v1.tar+gzip"
        )
        return Blob(media_type, digest, length, diff_id)

    # -- where it goes

    def write_distribution_storage(self, root: Path, prefix: str = "") -> None:
        """Lay the fleet into the directory that distribution's filesystem driver serves, in its own layout.

        Blobs that are files already, on the same filesystem, are linked and take no room.
        """
        storage = root / "docker" / "registry" / "v2"
        kept = Folder(storage / "blobs")
        for document in self.documents.values():
            kept[document.digest] = document.raw
        for digest in {blob.digest for document in self.documents.values() for blob in document.blobs}:
            path = kept.path(digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(self.content, Folder):
                _link(self.content.path(digest), path)
            else:
                path.write_bytes(self.content[digest])
        for repository, tags in self.tags.items():
            home = storage / "repositories" / (prefix + repository)
            documents, blobs = self.held(repository)
            _point(home / "_layers", blobs)
            _point(home / "_manifests" / "revisions", documents)
            for tag, digest in tags.items():
                current = home / "_manifests" / "tags" / tag / "current"
                current.mkdir(parents=True, exist_ok=True)
                (current / "link").write_text(digest)
                _point(current.parent / "index", [digest])

    def push(self, address: str, prefix: str = "") -> None:
        """Push the fleet over plain HTTP to ``host:port``; blocks: a server in this loop needs a thread."""
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        landed: dict[str, str] = {}
        try:
            for name, tags in self.tags.items():
                repository = prefix + name
                documents, blobs = self.held(name)
                for digest in blobs:
                    _push_blob(connection, repository, digest, self.content[digest], landed)
                for digest, document in documents.items():
                    names = [tag for tag, root in tags.items() if root == digest] or [digest]
                    for target in names:
                        headers = {"Content-Type": document.media_type}
                        url = f"/v2/{repository}/manifests/{target}"
                        _ask(connection, "PUT", url, document.raw, headers, 201)
        finally:
            connection.close()


def _descriptor(thing: Blob | Document) -> dict[str, Any]:
    size = thing.size if isinstance(thing, Blob) else len(thing.raw)
    return {"mediaType": thing.media_type, "digest": thing.digest, "size": size}


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _stored_gzip(payload: bytes) -> bytes:
    """Frame ``payload`` as gzip uncompressed, by hand: zlib's own blocks differ between its versions."""
    parts: list[bytes | memoryview] = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    view = memoryview(payload)
    for start in range(0, max(len(payload), 1), _STORED_BLOCK):
        block = view[start : start + _STORED_BLOCK]
        last = start + _STORED_BLOCK >= len(payload)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", zlib.crc32(payload), len(payload) & 0xFFFFFFFF))
    return b"".join(parts)


def _link(kept: Path, path: Path) -> None:
    try:
        os.link(kept, path)
    except FileExistsError:
        pass
    except OSError:
        path.write_bytes(kept.read_bytes())


def _point(directory: Path, digests: Iterable[str]) -> None:
    for digest in digests:
        algorithm, _, value = digest.partition(":")
        place = directory / algorithm / value
        place.mkdir(parents=True, exist_ok=True)
        (place / "link").write_text(digest)


def _push_blob(
    connection: http.client.HTTPConnection,
    repository: str,
    digest: str,
    content: bytes,
    landed: dict[str, str],
) -> None:
    url = f"/v2/{repository}/blobs/uploads/"
    if digest in landed:
        url += "?" + urlencode({"mount": digest, "from": landed[digest]})
    status, location = _ask(connection, "POST", url, b"", {}, 201, 202)
    landed.setdefault(digest, repository)
    if status == 202:
        target = urlsplit(urljoin(url, location))
        query = "&".join(filter(None, [target.query, urlencode({"digest": digest})]))
        headers = {"Content-Type": "application/octet-stream"}
        _ask(connection, "PUT", f"{target.path}?{query}", content, headers, 201)


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    url: str,
    body: bytes,
    headers: dict[str, str],
    *expected: int,
) -> tuple[int, str]:
    connection.request(method, url, body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status not in expected:
        raise RuntimeError(f"{method} {url}: {response.status} {answer[:200]!r}")
    return response.status, response.headers.get("Location", "")
