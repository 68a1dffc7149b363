"""What rules demand of an image, and which of it one does not meet: digests, platforms, sizes, attestations, types.

Pure: whoever asks has read the image, and says what its destination names now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from mmgraph.errors import ContentError
from mmgraph.names import Digest, Platform, quote
from mmgraph.oci import Descriptor, Document, Entry, Index, Manifest, platforms_of
from mmgraph.rules import Change, Rule, Rules, Violation, array, enumerated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_DOCKER: Final = "application/vnd.docker."
# image-spec, layer.md, "Non-Distributable Layers", and Docker's manifest-v2-2.md.
_NOT_DISTRIBUTABLE: Final = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)
_BINARY: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def unmet(rules: Rules, change: Change, closure: Sequence[Document]) -> tuple[Violation, ...]:
    """What is broken by what a destination shall name: one violation a demand, with the first node at fault.

    ``closure`` are the documents of the image, the root last, as ``closure.walk`` yields them. Names are not
    judged here. Raises ``ContentError`` for a tree that is too deep or large.
    """
    tree = _Tree(change, closure)
    found = []
    for rule in rules.covering(change.destination):
        for check in _CHECKS:
            faults = check(rule, tree)
            if (first := next(faults, None)) is not None:
                more = sum(1 for _ in faults)
                found.append(replace(first, found=f"{first.found}; and {more} more") if more else first)
    return tuple(found)


def lost_platforms(old: Digest, root: Digest, documents: Mapping[Digest, Document]) -> tuple[str, ...] | None:
    """The platforms that ``old`` lists and ``root`` does not; None where what ``old`` lists is not known.

    A manifest lists none. Of a Windows version the revision does not count: an image for another revision of the same
    build takes its place (Microsoft, "Windows container version compatibility": the revision is not compared).
    """
    before = _listed(old, documents)
    after = _listed(root, documents) or frozenset()
    return None if before is None else tuple(sorted(map(str, before - after)))


def _listed(root: Digest, documents: Mapping[Digest, Document]) -> frozenset[Platform] | None:
    document = documents.get(root)
    if document is None:
        return None
    if not isinstance(document, Index):
        return frozenset()
    try:
        entries = platforms_of(document, documents)
    except ContentError:
        return None
    if any(entry.descriptor.is_index and entry.descriptor.digest not in documents for entry in entries):
        return None
    return frozenset(_build(entry.platform) for entry in _images(entries) if entry.platform)


def _build(platform: Platform) -> Platform:
    return replace(platform, os_version=".".join(platform.os_version.split(".")[:3]))


def _images(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries that are images: neither indexes, nor attestations, nor artifacts that run nowhere."""
    for entry in entries:
        descriptor, platform = entry.descriptor, entry.platform
        if not descriptor.is_manifest or descriptor.attests is not None:
            continue
        if (platform is None and not descriptor.artifact_type) or (platform and platform.os != "unknown"):
            yield entry


class _Tree:
    """A change with the documents of its image, and what checks ask of them."""

    def __init__(self, change: Change, closure: Sequence[Document]) -> None:
        self.change = change
        self.closure = closure
        self.root = closure[-1]
        self._documents = {document.digest: document for document in closure}

    def fault(
        self, rule: Rule, demand: str, found: str, at: Document | None = None, blob: Digest | None = None
    ) -> Violation:
        """A violation at a document, at a blob, or else at the destination's tag."""
        destination = self.change.destination
        if blob is not None:
            kind, name = "blob", str(blob)
        elif at is not None:
            kind, name = _kind(at), str(at.digest)
        else:
            kind, name = ("tag", destination.tag) if destination.tag else (_kind(self.root), self.root.digest)
        return Violation(rule.name, demand, destination, found, kind, name)

    def entries(self) -> tuple[Entry, ...]:
        """What the root lists, at all levels; nothing where it is a manifest."""
        return platforms_of(self.root, self._documents) if isinstance(self.root, Index) else ()

    def size(self) -> int:
        """Bytes of all that the image consists of."""
        blobs = {blob.digest: blob.size for document in self.closure for blob in document.blobs}
        return sum(blobs.values()) + sum(len(document.raw) for document in self.closure)


def _kind(document: Document) -> str:
    return "index" if isinstance(document, Index) else "manifest"


def _may_move(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    old, root = tree.change.old, tree.change.root
    if not rule.may_move and old is not None and old != root:
        yield tree.fault(rule, "may-move = false", f"names {old} and would name {root}")


def _may_lose_platforms(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    old, lost = tree.change.old, tree.change.lost
    if rule.may_lose_platforms or old is None or lost == ():
        return
    if lost is None:
        found = f"names {old}, which cannot be read: what it would lose is not known"
    else:
        found = f"names {old} and would lose {enumerated(lost)}"
    yield tree.fault(rule, "may-lose-platforms = false", found)


def _same_digest(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    change = tree.change
    if rule.same_digest and change.root != change.source_digest:
        found = f"is what limitPlatforms leaves of the source's {change.source_digest}"
        yield tree.fault(rule, "same-digest = true", found, tree.root)


def _platforms(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    if not rule.platforms:
        return
    present = [entry.platform for entry in _images(tree.entries()) if entry.platform]
    missing = [each for each in rule.platforms if not any(known.matches(each) for known in present)]
    if not missing:
        return
    if isinstance(tree.root, Index):
        found = f"does not list {enumerated(missing)}"
    else:
        found = f"is in no index that would list {enumerated(missing)}"
    yield tree.fault(rule, f"platforms = {array(rule.platforms)}", found, tree.root)


def _largest(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    if rule.largest is not None and (size := tree.size()) > rule.largest:
        demand = f'largest = "{_amount(rule.largest)}"'
        yield tree.fault(rule, demand, f"has {size} bytes with all that it needs", tree.root)


def _attestations(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    """Every image of an index has an attestation beside it (moby/buildkit, attestation-storage.md)."""
    if not rule.attestations:
        return
    entries = tree.entries()
    attested = {entry.descriptor.attests for entry in entries}
    images = {entry.descriptor.digest: entry for entry in _images(entries)}
    if not images:
        yield tree.fault(rule, "attestations = true", "lists no image with an attestation", tree.root)
    for digest, entry in images.items():
        if digest not in attested:
            shown = f" for {entry.platform}" if entry.platform else ""
            found = f"is an image{shown} without an attestation"
            yield Violation(
                rule.name, "attestations = true", tree.change.destination, found, "manifest", digest
            )


def _listed_blobs(document: Document) -> tuple[Descriptor, ...]:
    """What a document lists that is no document itself, foreign layers too."""
    if isinstance(document, Manifest):
        return (document.config, *document.layers)
    return tuple(each for each in document.manifests if not each.is_manifest and not each.is_index)


def _foreign_layers(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    if rule.foreign_layers:
        return
    for document in tree.closure:
        for blob in _listed_blobs(document):
            if blob.foreign:
                found = f"is a foreign layer of {document.digest}, to be fetched from {quote(blob.urls[0])}"
            elif blob.media_type.startswith(_NOT_DISTRIBUTABLE):
                found = f"is a foreign layer of {document.digest} by its type {quote(blob.media_type)}"
            else:
                continue
            yield tree.fault(rule, "foreign-layers = false", found, blob=blob.digest)


def _docker_media_types(rule: Rule, tree: _Tree) -> Iterator[Violation]:
    if rule.docker_media_types:
        return
    demand = "docker-media-types = false"
    for document in reversed(tree.closure):
        if document.media_type.startswith(_DOCKER):
            yield tree.fault(rule, demand, f"has the type {document.media_type}", document)
        for blob in _listed_blobs(document):
            if blob.media_type.startswith(_DOCKER):
                found = f"has the type {quote(blob.media_type)} in {document.digest}"
                yield tree.fault(rule, demand, found, blob=blob.digest)


_CHECKS: Final[tuple[Callable[[Rule, _Tree], Iterator[Violation]], ...]] = (
    _may_move,
    _may_lose_platforms,
    _same_digest,
    _platforms,
    _largest,
    _attestations,
    _foreign_layers,
    _docker_media_types,
)


def _amount(size: int) -> str:
    """``size`` in the largest binary unit that it is a whole number of."""
    for unit, factor in reversed(_BINARY.items()):
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"
