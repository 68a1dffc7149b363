"""Reads a storage behind its server's back: what is not whole there. Shares no code with what mirrors."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from mmgraph.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmgraph.server import Storage

Tags = dict[tuple[str, str], str]
"""What each tag names, by repository and tag."""


def tags(storage: Storage) -> Tags:
    """Return what every tag of the storage names."""
    return {
        (repository, tag): str(digest)
        for repository in storage.repositories()
        for tag, digest in storage.tags(repository).items()
    }


def broken(storage: Storage, *, unread: bool = False) -> list[str]:
    """Return what is missing from, or is not as its digest says in, the closure of any tag.

    ``unread``: that a blob of the right size is there is enough.
    """
    proven: set[tuple[str, str]] = set()
    return [
        f"{repository}:{tag} lacks {name}"
        for (repository, tag), digest in tags(storage).items()
        for name in _lacking(storage, repository, digest, proven, unread=unread)
    ]


def held(storage: Storage, digests: set[str]) -> set[str]:
    """Return those of the digests that any repository has as a blob."""
    return {
        digest
        for digest in digests
        for repository in storage.repositories()
        if storage.blob_size(repository, Digest(digest)) is not None
    }


def _lacking(
    storage: Storage, repository: str, name: str, proven: set[tuple[str, str]], *, unread: bool
) -> Iterator[str]:
    if (repository, name) in proven:
        return
    proven.add((repository, name))
    manifest = storage.manifest(repository, Digest(name))
    if manifest is None or not _is(manifest.raw, name):
        yield name
        return
    body: dict[str, Any] = json.loads(manifest.raw)
    for child in body.get("manifests", ()):
        yield from _lacking(storage, repository, child["digest"], proven, unread=unread)
    for blob in (*([body["config"]] if "config" in body else []), *body.get("layers", ())):
        key = repository, blob["digest"]
        if key not in proven:
            proven.add(key)
            if not _has(storage, repository, blob, unread=unread):
                yield blob["digest"]


def _has(storage: Storage, repository: str, blob: dict[str, Any], *, unread: bool) -> bool:
    digest = Digest(blob["digest"])
    if storage.blob_size(repository, digest) != blob["size"]:
        return False
    if unread:
        return True
    with storage.open_blob(repository, digest) as stream:
        return _is(stream.read(), digest)


def _is(content: bytes, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return hashlib.new(algorithm, content).hexdigest() == value
