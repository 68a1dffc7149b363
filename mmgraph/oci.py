"""Descriptors, manifests and indexes beside their raw bytes, and choosing platforms from an index.

Knows the documents of image-spec and Docker's schema 2; knows nothing of registries, files or how bytes
travel. The raw bytes are what is sent on; the parsed form only says what they refer to.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from mmgraph import soundjson
from mmgraph.errors import ContentError, InternalError, SpecError
from mmgraph.names import Digest, Platform, quote, stated_platform

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from mmgraph.names import Digests

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
_TYPES: Final = MANIFEST_TYPES | INDEX_TYPES

# Manifests, though none that can be copied: they are read as such, so that the refusal is clear.
_SCHEMA_1_TYPES: Final = frozenset(
    f"application/vnd.docker.distribution.manifest.v1+{form}" for form in ("json", "prettyjws")
)
_ARTIFACT_TYPE: Final = "application/vnd.oci.artifact.manifest.v1+json"
_ALL_MANIFEST_TYPES: Final = MANIFEST_TYPES | _SCHEMA_1_TYPES | {_ARTIFACT_TYPE}

# What servers say that do not know what they serve; containerd accepts text/plain from old registries too.
_VAGUE_TYPES: Final = frozenset(
    {"", "text/plain", "application/json", "text/json", "application/octet-stream", "binary/octet-stream"}
)

MANIFEST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a manifest or index at most: what registries SHOULD take (distribution-spec); few take more."""
DEPTH_LIMIT: Final = 8
"""Levels of indexes at most, the root being the first."""
TREE_LIMIT: Final = 100_000
"""Manifests and indexes below one root at most."""
_SHOWN_LIMIT: Final = 20
_SIZE_LIMIT: Final = 2**63 - 1

# BuildKit's annotations on the descriptor of an attestation manifest (moby/buildkit, attestation-storage.md).
_ATTESTATION_TYPE: Final = "attestation-manifest"
_ATTESTATION_TYPE_KEY: Final = "vnd.docker.reference.type"
_ATTESTATION_DIGEST_KEY: Final = "vnd.docker.reference.digest"

_MANIFEST_FIELDS: Final = frozenset({"config", "layers"})
_INDEX_FIELDS: Final = frozenset({"manifests"})
_SCHEMA_1_FIELDS: Final = frozenset({"fsLayers", "history"})
_NO_MANIFEST_FIELDS: Final = _INDEX_FIELDS | _SCHEMA_1_FIELDS
_NO_INDEX_FIELDS: Final = _MANIFEST_FIELDS | _SCHEMA_1_FIELDS
_COMMON_NAMES: Final = frozenset({"mediaType", "artifactType", "annotations"})
_DOCUMENT_NAMES: Final = (
    _COMMON_NAMES | {"schemaVersion", "subject"} | _MANIFEST_FIELDS | _INDEX_FIELDS | _SCHEMA_1_FIELDS
)
_DESCRIPTOR_NAMES: Final = _COMMON_NAMES | {"digest", "size", "platform", "urls", "data"}
_WORD_LIMIT: Final = 128


class Descriptor(msgspec.Struct, frozen=True, gc=False):
    """What a document says of something else: type, digest and size in bytes (image-spec, descriptor.md).

    ``attests`` is the image that a BuildKit attestation manifest speaks of (its ``vnd.docker.reference.*``
    annotations).
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    attests: Digest | None = None

    @property
    def is_manifest(self) -> bool:
        """Whether it is an image manifest, also of a kind that mmgraph refuses to copy."""
        return self.media_type in _ALL_MANIFEST_TYPES

    @property
    def is_index(self) -> bool:
        """Whether it is an index or a manifest list."""
        return self.media_type in INDEX_TYPES

    @property
    def foreign(self) -> bool:
        """Whether it is a blob with URLs of its own: neither fetched here nor required there."""
        return bool(self.urls) and not self.is_manifest and not self.is_index


class Manifest(msgspec.Struct, frozen=True, gc=False):
    """An image manifest; ``media_type`` is the Content-Type to send it with."""

    raw: bytes
    media_type: str
    digest: Digest
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What a repository must hold first: distinct, the config foremost, foreign layers left out."""
        return _distinct(d for d in (self.config, *self.layers) if not d.foreign)


class Index(msgspec.Struct, frozen=True, gc=False):
    """An index or manifest list; ``media_type`` is the Content-Type to send it with."""

    raw: bytes
    media_type: str
    digest: Digest
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests and indexes it lists, distinct by digest; ``manifests`` has every entry."""
        return _distinct(d for d in self.manifests if d.is_manifest or d.is_index)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What else it lists, distinct by digest: image-spec allows any media type, and those are blobs."""
        return _distinct(d for d in self.manifests if not (d.is_manifest or d.is_index or d.foreign))


Document = Manifest | Index


class Selection(msgspec.Struct, frozen=True):
    """An index limited to some platforms.

    ``rewritten`` holds the indexes that mmgraph made, by their new digests, ``root`` among them; where
    nothing was removed it is empty, and ``root`` is the original. ``missing`` are the wanted platforms that
    are not there, ``available`` all that the index has: both sorted, neither with attestations or
    ``unknown/unknown``.
    """

    root: Index
    rewritten: dict[Digest, Index]
    missing: tuple[Platform, ...]
    available: tuple[Platform, ...]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A descriptor at its place in a tree of indexes.

    ``platform`` is its own, else that of the nearest outer index descriptor that has one. ``attested`` is the
    platform of the image it attests, where it attests one of this tree.
    """

    descriptor: Descriptor
    platform: Platform | None
    attested: Platform | None = None

    @property
    def label(self) -> str:
        """The platform for people: ``linux/amd64``, ``attestation for linux/amd64``, or nothing."""
        if self.descriptor.attests is not None:
            return f"attestation for {self.attested}" if self.attested else "attestation"
        return str(self.platform) if self.platform else ""


def digest_of(raw: bytes, algorithm: str = "sha256") -> Digest:
    """Return the digest of ``raw``."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}")


def parse(
    raw: bytes, content_type: str, digest: Digest | None = None, digests: Digests | None = None
) -> Document:
    """Return the manifest or index in ``raw``, or raise ``ContentError``; the caller knows the image's name.

    ``raw`` must have ``digest`` where one is given. ``digests`` are those of whoever reads many documents. The type is
    the Content-Type's, else that of the ``mediaType`` field, which OCI documents may lack, else it follows from the
    fields. Where two of these disagree the document is refused: another client would read it as another image
    (CVE-2021-41190). A ``schemaVersion`` other than 2 is refused. Without one, though it MUST be there (image-spec),
    nobody reads another image: the destination says whether it takes that (distribution: 500, and why in its log).
    """
    if len(raw) > MANIFEST_LIMIT:
        raise ContentError(f"a manifest of {len(raw)} bytes, more than the {MANIFEST_LIMIT} mmgraph takes")
    actual = digest_of(raw, digest.algorithm if digest else "sha256")
    if digest is not None and actual != digest:
        raise ContentError(f"the manifest's bytes have the digest {actual}, not {digest}")
    fields = _fields(raw)
    media_type = _media_type(content_type, fields)
    foreign = _NO_INDEX_FIELDS if media_type in INDEX_TYPES else _NO_MANIFEST_FIELDS
    if not foreign.isdisjoint(fields):
        mixed = min(foreign & fields.keys())
        raise ContentError(f"{quote(mixed)} has no place in a document of type {media_type}")
    read = Digest.parse if digests is None else digests.__getitem__
    subject = _descriptor(fields["subject"], "subject", read) if fields.get("subject") is not None else None
    artifact_type = _text(fields, "artifactType")
    if media_type in INDEX_TYPES:
        manifests = _descriptors(fields, "manifests", read)
        _refuse_two_sizes(manifests)
        return Index(raw, media_type, actual, manifests, subject, artifact_type)
    config = _descriptor(fields.get("config"), "config", read)
    layers = _descriptors(fields, "layers", read)
    _refuse_two_sizes((config, *layers))
    return Manifest(raw, media_type, actual, config, layers, subject, artifact_type)


def limit_platforms(
    index: Index, platforms: Collection[Platform], nested: Mapping[Digest, Document]
) -> Selection:
    """Return ``index`` with the images for ``platforms`` and their attestations, and nothing else.

    ``nested`` has the documents of all nested indexes. An image's platform is its own, else that of the
    outer descriptor of its nested index. The result stays an index, also with one image left. What is kept
    is kept byte for byte and in order; where nothing goes, ``index`` itself comes back. Raises
    ``SpecError`` where the index has none of the platforms, ``ContentError`` for too deep or large a tree.
    """
    if not platforms:
        return Selection(index, {}, (), ())
    entries = (entry for entry in _walk(index, nested) if not entry.descriptor.is_index)
    images = [entry for entry in entries if entry.descriptor.attests is None]
    available = tuple(sorted({e.platform for e in images if e.platform and e.platform.os != "unknown"}))
    chosen = frozenset(p for p in available if any(p.matches(wanted) for wanted in platforms))
    missing = tuple(sorted(w for w in set(platforms) if not any(p.matches(w) for p in available)))
    if not chosen:
        raise SpecError(f"it has none of {_listed(missing)}; it has {_listed(available) or 'no platforms'}")
    trimmer = _Trimmer(nested, chosen, frozenset(e.descriptor.digest for e in images if e.platform in chosen))
    root = trimmer.trim(index, inherited=False) or index
    return Selection(root, trimmer.made, missing, available)


def platforms_of(index: Index, nested: Mapping[Digest, Document]) -> tuple[Entry, ...]:
    """Return every descriptor of the tree under ``index``, outer before inner, with its effective platform.

    Nested indexes that ``nested`` does not hold are listed and not entered.
    """
    entries = tuple(_walk(index, nested))
    images = {e.descriptor.digest: e.platform for e in entries if e.descriptor.attests is None}
    return tuple(
        replace(e, attested=images.get(e.descriptor.attests)) if e.descriptor.attests else e for e in entries
    )


class _Trimmer:
    """The second step of ``limit_platforms``: builds the indexes, inner before outer.

    ``chosen`` are the platforms to keep, ``images`` the digests of the images kept anywhere in the tree.
    """

    def __init__(
        self, nested: Mapping[Digest, Document], chosen: frozenset[Platform], images: frozenset[Digest]
    ) -> None:
        self.made: dict[Digest, Index] = {}
        self._nested = nested
        self._chosen = chosen
        self._images = images
        # By what the outer descriptor says for those without a platform: whether it is wanted.
        self._done: dict[tuple[Digest, bool], Index | None] = {}

    def trim(self, index: Index, *, inherited: bool) -> Index | None:
        """Return what is kept of ``index``: itself where nothing goes, None where nothing stays."""
        key = index.digest, inherited
        if key not in self._done:
            self._done[key] = self._trim(index, inherited)
        return self._done[key]

    def _trim(self, index: Index, inherited: bool) -> Index | None:
        if not index.manifests:
            return None
        members = soundjson.members(index.raw)
        elements = soundjson.elements(members["manifests"])
        pairs = (self._kept(*pair, inherited) for pair in zip(index.manifests, elements, strict=True))
        kept = [pair for pair in pairs if pair]
        if not kept:
            return None
        descriptors = tuple(descriptor for descriptor, _ in kept)
        if descriptors == index.manifests:
            return index
        members["manifests"] = msgspec.Raw(msgspec.json.encode([element for _, element in kept]))
        raw = msgspec.json.encode(members)
        digest = digest_of(raw, index.digest.algorithm)
        made = replace(index, raw=raw, digest=digest, manifests=descriptors)
        self.made[made.digest] = made
        return made

    def _kept(
        self, descriptor: Descriptor, element: msgspec.Raw, inherited: bool
    ) -> tuple[Descriptor, msgspec.Raw] | None:
        wanted = inherited if descriptor.platform is None else descriptor.platform in self._chosen
        if descriptor.is_index:
            inner = _nested_index(descriptor, self._nested)
            if inner is None:
                raise InternalError(f"the nested index {descriptor.digest} has not been read")
            trimmed = self.trim(inner, inherited=wanted)
            if trimmed is None:
                return None
            if trimmed is inner:
                return descriptor, element
            pointer = replace(descriptor, digest=trimmed.digest, size=len(trimmed.raw))
            return pointer, _repointed(element, trimmed)
        keep = wanted if descriptor.attests is None else descriptor.attests in self._images
        return (descriptor, element) if keep else None


def _repointed(element: msgspec.Raw, index: Index) -> msgspec.Raw:
    members = soundjson.members(element)
    # A copy of the old bytes, where there is one (descriptor.md, "data"), would contradict the new digest.
    members.pop("data", None)
    members["digest"] = msgspec.Raw(msgspec.json.encode(str(index.digest)))
    members["size"] = msgspec.Raw(msgspec.json.encode(len(index.raw)))
    return msgspec.Raw(msgspec.json.encode(members))


def _walk(index: Index, nested: Mapping[Digest, Document]) -> Iterator[Entry]:
    """Yield the tree under ``index``, outer before inner, as far as ``nested`` goes.

    An index can be listed many times and at every level, so it is the walk that is bounded.
    """
    stack: list[tuple[Iterator[Descriptor], Platform | None]] = [(iter(index.manifests), None)]
    count = 0
    while stack:
        siblings, inherited = stack[-1]
        if (descriptor := next(siblings, None)) is None:
            stack.pop()
            continue
        count += 1
        if count > TREE_LIMIT:
            raise ContentError(f"an index with more than {TREE_LIMIT} entries, nested ones included")
        platform = descriptor.platform or inherited
        yield Entry(descriptor, platform)
        if not descriptor.is_index or (inner := _nested_index(descriptor, nested)) is None:
            continue
        if len(stack) == DEPTH_LIMIT:
            raise ContentError(f"indexes nested more than {DEPTH_LIMIT} levels deep")
        stack.append((iter(inner.manifests), platform))


def _nested_index(descriptor: Descriptor, nested: Mapping[Digest, Document]) -> Index | None:
    document = nested.get(descriptor.digest)
    if document is not None and not isinstance(document, Index):
        raise ContentError(f"{descriptor.digest} is listed as an index and is {document.media_type}")
    return document


def _listed(platforms: Iterable[Platform]) -> str:
    shown = [str(platform) for platform in platforms]
    more = f" and {len(shown) - _SHOWN_LIMIT} more" if len(shown) > _SHOWN_LIMIT else ""
    return ", ".join(shown[:_SHOWN_LIMIT]) + more


def _fields(raw: bytes) -> dict[str, object]:
    """Return the document's fields; refuse whatever two JSON parsers could read differently."""
    try:
        fields = soundjson.fields(raw)
    except RecursionError:
        raise ContentError("a manifest nested too deep to be one") from None
    except ValueError as error:
        raise ContentError(f"a manifest that is not sound JSON: {quote(str(error))}") from None
    return _object(fields, "the document", _DOCUMENT_NAMES)


def _object(value: object, where: str, names: frozenset[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ContentError(f"{where} is not a JSON object")
    if not names.issuperset(value):
        _refuse_look_alikes(value, where, names)
    return value


def _refuse_look_alikes(keys: Iterable[str], where: str, names: frozenset[str]) -> None:
    """Go's encoding/json matches names regardless of case: registries and runtimes would read these fields."""
    folded = {name.casefold(): name for name in names}
    for key in keys:
        name = folded.get(key.casefold(), key)
        if name != key:
            raise ContentError(f"{where} has a field {quote(key)}, which some programs read as {quote(name)}")


def _media_type(content_type: str, fields: Mapping[str, object]) -> str:
    sent = content_type.partition(";")[0].strip().lower()
    stated = _text(fields, "mediaType")
    version = fields.get("schemaVersion", 2)
    if _ARTIFACT_TYPE in (sent, stated):
        raise ContentError(f"{_ARTIFACT_TYPE} was withdrawn: push the artifact again as an image manifest")
    if sent in _SCHEMA_1_TYPES or stated in _SCHEMA_1_TYPES or version == 1 or "fsLayers" in fields:
        raise ContentError("Docker schema 1 image, long deprecated: push it again with a current docker")
    if type(version) is not int or version != 2:
        raise ContentError("its schemaVersion is not 2, the only one in use")
    if sent not in _TYPES and sent not in _VAGUE_TYPES:
        raise ContentError(f"{quote(sent)} is not a manifest's type")
    if sent in _TYPES:
        if stated in _TYPES and stated != sent:
            raise ContentError(f"sent as {sent}, but the document says {stated}")
        # Docker's documents always state their type (distribution, manifest-v2-2.md): what states none is OCI's,
        # whatever a registry calls it. Else one registry could decide how another's image is sent on.
        return sent if stated else OCI_INDEX if sent in INDEX_TYPES else OCI_MANIFEST
    if stated:
        if stated not in _TYPES:
            raise ContentError(f"{quote(stated)} is not a manifest's type")
        return stated
    if fields.keys() & _INDEX_FIELDS:
        return OCI_INDEX
    if fields.keys() & _MANIFEST_FIELDS:
        return OCI_MANIFEST
    raise ContentError("neither a manifest nor an index: it has no config, layers or manifests")


def _descriptors(
    fields: Mapping[str, object], name: str, read: Callable[[str], Digest]
) -> tuple[Descriptor, ...]:
    value = fields.get(name)
    if value is None and (name in fields or name == "layers"):
        return ()  # Go writes an empty list that was never touched as null.
    if not isinstance(value, list):
        raise ContentError(f"{name} is not a list")
    return tuple([_descriptor(element, f"{name}[{number}]", read) for number, element in enumerate(value)])


def _descriptor(value: object, where: str, read: Callable[[str], Digest]) -> Descriptor:
    fields = _object(value, where, _DESCRIPTOR_NAMES)
    media_type, size, urls = _text(fields, "mediaType"), fields.get("size"), fields.get("urls")
    if not media_type:
        raise ContentError(f"{where} has no mediaType")
    media_type = sys.intern(media_type)  # a handful of them, in millions of descriptors
    if type(size) is not int or not 0 <= size <= _SIZE_LIMIT:
        raise ContentError(f"{where} has no size from 0 to {_SIZE_LIMIT}")
    if urls is not None and not (isinstance(urls, list) and all(isinstance(url, str) for url in urls)):
        raise ContentError(f"the urls of {where} are not a list of strings")
    try:
        digest = read(_text(fields, "digest"))
    except SpecError as error:
        raise ContentError(f"{where}: {error}") from None
    if len(fields) == 3:  # these, and no others: most descriptors
        return Descriptor(media_type, digest, size)
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size=size,
        platform=_platform(fields.get("platform")),
        urls=tuple(urls or ()),
        artifact_type=_text(fields, "artifactType"),
        attests=_attested(fields.get("annotations")),
    )


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ContentError(f"{name} is not a string")
    return value


def _platform(value: object) -> Platform | None:
    """Return the platform, or None where it is malformed: that is no reason not to copy the bytes."""
    if not isinstance(value, dict):
        return None
    words = [value.get(name) or "" for name in ("os", "architecture", "variant", "os.version")]
    for word in words:
        if not isinstance(word, str) or len(word) > _WORD_LIMIT:
            return None
    return stated_platform(*words)


def _attested(annotations: object) -> Digest | None:
    if not isinstance(annotations, dict) or annotations.get(_ATTESTATION_TYPE_KEY) != _ATTESTATION_TYPE:
        return None
    digest = annotations.get(_ATTESTATION_DIGEST_KEY)
    try:
        return Digest.parse(digest) if isinstance(digest, str) else None
    except SpecError:
        return None


def _refuse_two_sizes(descriptors: Iterable[Descriptor]) -> None:
    sizes: dict[Digest, int] = {}
    for descriptor in descriptors:
        if sizes.setdefault(descriptor.digest, descriptor.size) != descriptor.size:
            raise ContentError(f"{descriptor.digest} is listed with two sizes, and one must be wrong")


def _distinct(descriptors: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    seen: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        seen.setdefault(descriptor.digest, descriptor)
    return tuple(seen.values())
