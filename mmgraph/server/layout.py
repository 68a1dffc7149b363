"""LayoutStorage: a directory in which every repository is an OCI image layout. Knows files, not HTTP.

``DIR/<repository>/{oci-layout,index.json,blobs/<algorithm>/<hex>}`` (image-spec, image-layout.md), so that
``skopeo … oci:DIR/<repository>:<tag>`` reads what was pushed, and what skopeo wrote there is served.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from mmgraph.errors import SpecError
from mmgraph.names import Digest, Repository
from mmgraph.server.documents import DOCKER_LIST, INDEX, LIMIT, parse
from mmgraph.server.storage import BrokenError
from mmgraph.server.uploads import FileUpload, Uploads
from mmgraph.store import RawManifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mmgraph.server.storage import Upload

_TAG_ANNOTATION: Final = "org.opencontainers.image.ref.name"
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY_INDEX: Final = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)
# A repository x/blobs or x/index.json would lie inside the layout of x, and one called oci-layout would make
# the directory look like one layout.
_RESERVED: Final = frozenset({"blobs", "index.json", "oci-layout"})


class _Entry(msgspec.Struct, rename="camel", omit_defaults=True):
    """A descriptor of index.json, with what of it must survive being written again."""

    digest: str
    size: int
    media_type: str = ""
    annotations: dict[str, str] = {}
    platform: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    artifact_type: str = ""

    @property
    def tag(self) -> str | None:
        """The tag, where the entry has one that a registry can show (skopeo also writes whole references)."""
        name = self.annotations.get(_TAG_ANNOTATION, "")
        return name if _TAG.fullmatch(name) else None


class _Index(msgspec.Struct, rename="camel"):
    schema_version: int = 2
    media_type: str = INDEX
    manifests: list[_Entry] = []
    annotations: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Layout(msgspec.Struct):
    """index.json as it was when its file had ``stamp``, and the manifests that it leads to."""

    stamp: tuple[int, int, int]
    index: _Index
    tags: dict[str, Digest]
    types: dict[Digest, str]


class LayoutStorage:
    """Repositories as OCI layouts under ``directory``, which is made where it is missing.

    Files are the truth and are looked at again whenever an index.json has changed, so other programs may
    write layouts there. Symbolic links are not followed. Raises ``SpecError`` for what is no directory or
    itself a layout, and for repositories whose files would lie inside another's.
    """

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise SpecError(f"{directory} is not a directory") from None
        self._root = directory.resolve()
        if (self._root / "oci-layout").is_file():
            raise SpecError(f"{directory} is one OCI layout: serve the directory above it")
        self._layouts: dict[str, _Layout] = {}
        self._uploads = Uploads(self._root, str(directory))

    def open(self) -> None:
        """Take the directory for one server. Raises ``SpecError`` where another has it or a layout is broken."""
        self._uploads.open()
        try:
            for name in self._names():
                self._index(name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the directory to others. More calls do nothing."""
        self._uploads.close()

    def repositories(self) -> Iterable[str]:
        """Return the repositories that hold anything, sorted."""
        return sorted(name for name in self._names() if self.holds(name))

    def holds(self, repository: str) -> bool:
        """Whether the repository holds a blob or a manifest."""
        layout = self._layout(repository)
        if layout is None or layout.types:
            return layout is not None
        return any(path.is_file() for path in (self._directory(repository) / "blobs").glob("*/*"))

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Return the blob's size in bytes, None where the repository does not hold it."""
        found = self._regular(self._blob(repository, digest))
        return None if found is None else found.st_size

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO:
        """Open a blob that the repository holds; the caller closes it."""
        path = self._blob(repository, digest)
        if self._regular(path) is None:
            raise FileNotFoundError(path)
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    def mount(self, source: str, target: str, digest: Digest) -> bool:
        """Make the blob of ``source`` one of ``target`` too, by a hard link where the disk can."""
        held = self._blob(source, digest)
        if self._regular(held) is None:
            return False
        if self.blob_size(target, digest) is not None:
            return True
        path = self._prepare_blob(target, digest)
        try:
            path.hardlink_to(held)
        except OSError:
            with self._uploads.replacing(path) as copy:
                shutil.copyfile(held, copy)
        return True

    def upload(self, repository: str, algorithm: str = "sha256") -> Upload:
        """Start an upload; nothing is made before its first byte, and no repository before its end."""
        self._directory(repository)
        return FileUpload(self._uploads.path(), algorithm, partial(self._prepare_blob, repository))

    def manifest(self, repository: str, digest: Digest) -> RawManifest | None:
        """Return the manifest and the media type it was put with, None where it is not there."""
        layout = self._layout(repository)
        media_type = layout.types.get(digest) if layout else None
        raw = None if media_type is None else self._read(repository, digest)
        return None if media_type is None or raw is None else RawManifest(raw, media_type)

    def manifests(self, repository: str) -> Iterable[Digest]:
        """Return the digests of the repository's manifests and indexes, also those only an index names."""
        layout = self._layout(repository)
        return tuple(layout.types) if layout else ()

    def tags(self, repository: str) -> Mapping[str, Digest]:
        """Return what each tag names."""
        layout = self._layout(repository)
        return layout.tags if layout else {}

    def put_manifest(
        self, repository: str, digest: Digest, manifest: RawManifest, tags: Collection[str] = ()
    ) -> None:
        """Keep a manifest and make each of ``tags`` name it: the blob first, then index.json by a rename."""
        path = self._prepare_blob(repository, digest)
        layout = self._layout(repository)
        if layout is None:
            raise SpecError(f"the index.json of {repository} is not a plain file")
        if self._regular(path) is None:
            self._write(path, manifest.raw)
        del self._layouts[repository]  # it is about to be wrong, and stays so where the write fails
        known = layout.types.get(digest) == manifest.media_type
        _list(layout.index, digest, manifest, tags, known=known)
        place = self._directory(repository) / "index.json"
        self._write(place, msgspec.json.encode(layout.index))
        # What is known is brought up to date here: to discover it again after every push would be quadratic.
        layout.stamp = _stamp(place.lstat())
        layout.types[digest] = manifest.media_type
        layout.tags.update(dict.fromkeys(tags, digest))
        self._layouts[repository] = layout

    def _names(self) -> Iterator[str]:
        for path, directories, _ in os.walk(self._root):
            directories[:] = [one for one in directories if one not in _RESERVED]
            name = Path(path).relative_to(self._root).as_posix()
            if _is_repository(name) and self._regular(self._root / name / "index.json") is not None:
                yield name

    def _directory(self, repository: str) -> Path:
        if not _is_repository(repository):
            raise SpecError(f"{repository} cannot be a repository in a directory of OCI layouts")
        return self._root / repository

    def _blob(self, repository: str, digest: Digest) -> Path:
        digest = Digest.parse(digest)
        return self._directory(repository) / "blobs" / digest.algorithm / digest.hex

    def _prepare_blob(self, repository: str, digest: Digest) -> Path:
        """Return where the blob's file belongs, after making the layout around it."""
        path, directory = self._blob(repository, digest), self._directory(repository)
        # Before mkdir, which follows links and would make directories outside the root.
        nearest = next(one for one in path.parents if os.path.lexists(one))
        if os.path.realpath(nearest) != str(nearest):
            raise SpecError(f"{repository} is reached through a symbolic link")
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, content in (("oci-layout", _LAYOUT), ("index.json", _EMPTY_INDEX)):
            if not (directory / name).exists():
                self._write(directory / name, content)
        return path

    def _regular(self, path: Path) -> os.stat_result | None:
        """Return what is known of a regular file that no symbolic link leads to."""
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if stat.S_ISREG(found.st_mode) and os.path.realpath(path) == str(path) else None

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file in one step: nobody ever sees half of it."""
        with self._uploads.replacing(path) as half:
            half.write_bytes(data)

    def _read(self, repository: str, digest: Digest) -> bytes | None:
        size = self.blob_size(repository, digest)
        if size is None or size > LIMIT:
            return None
        with self.open_blob(repository, digest) as file:
            return file.read(LIMIT)

    def _index(self, repository: str) -> _Index:
        path = self._directory(repository) / "index.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Index)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise BrokenError(f"{repository}/index.json is no index of an OCI layout: {error}") from None

    def _layout(self, repository: str) -> _Layout | None:
        path = self._directory(repository) / "index.json"
        found = self._regular(path)
        if found is None:
            return None
        stamp = _stamp(found)
        layout = self._layouts.get(repository)
        if layout is None or layout.stamp != stamp:
            layout = _Layout(stamp, self._index(repository), {}, {})
            self._discover(repository, layout)
            self._layouts[repository] = layout
        return layout

    def _discover(self, repository: str, layout: _Layout) -> None:
        """Find the tags, and the manifests that are listed or that a listed index leads to."""
        found: list[tuple[str, str]] = []
        for entry in layout.index.manifests:
            if entry.tag is not None and _is_digest(entry.digest):
                layout.tags[entry.tag] = Digest(entry.digest)
            found.append((entry.digest, entry.media_type))
        for text, given in found:  # grows while it is walked
            if not _is_digest(text) or Digest(text) in layout.types:
                continue
            digest, media_type = Digest(text), given
            if media_type in {"", INDEX, DOCKER_LIST}:
                raw = self._read(repository, digest)
                try:
                    document = parse(raw) if raw is not None else None
                except SpecError:
                    document = None
                if document is None:
                    continue
                media_type = media_type or document.guessed_type
                found.extend((child.digest, child.media_type) for child in document.children())
            elif self.blob_size(repository, digest) is None:
                continue
            layout.types[digest] = media_type


def _list(
    index: _Index, digest: Digest, manifest: RawManifest, tags: Collection[str], *, known: bool
) -> None:
    """Let ``index`` name a manifest by ``tags``, keeping every manifest that it listed findable."""
    for entry in index.manifests:
        if entry.digest == digest:
            entry.media_type = manifest.media_type
        if entry.tag in tags:
            del entry.annotations[_TAG_ANNOTATION]
    new = [
        _Entry(str(digest), len(manifest.raw), manifest.media_type, {_TAG_ANNOTATION: tag})
        for tag in dict.fromkeys(tags)
    ]
    if not new and not known:
        new = [_Entry(str(digest), len(manifest.raw), manifest.media_type)]
    entries = [*index.manifests, *new]
    # An untagged entry is needed only where nothing else leads to the manifest: no tagged entry, no parent.
    led_to = {(entry.digest, entry.media_type) for entry in entries if _TAG_ANNOTATION in entry.annotations}
    led_to |= {(child.digest, child.media_type) for child in parse(manifest.raw).children()}
    kept: list[_Entry] = []
    for entry in entries:
        key = (entry.digest, entry.media_type)
        if _TAG_ANNOTATION in entry.annotations or key not in led_to:
            kept.append(entry)
            led_to.add(key)
    index.manifests = kept


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    """Return what changes whenever a file is written anew."""
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _is_digest(text: str) -> bool:
    try:
        Digest.parse(text)
    except SpecError:
        return False
    return True


def _is_repository(name: str) -> bool:
    try:
        path = Repository.parse(f"localhost/{name}").path
    except SpecError:
        return False
    return path == name and not _RESERVED.intersection(name.split("/"))
