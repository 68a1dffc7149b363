"""The manifest half of the distribution-spec: manifests, tags, referrers. Knows storage, not sockets."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from mmgraph.errors import SpecError
from mmgraph.names import Digest
from mmgraph.server.answer import Answer, Code, Refusal
from mmgraph.server.documents import INDEX, LIMIT, Document, parse
from mmgraph.server.routes import checked_digest, checked_tag
from mmgraph.store import RawManifest

if TYPE_CHECKING:
    from mmgraph.server.exchange import Exchange
    from mmgraph.server.faults import Quirks
    from mmgraph.server.storage import Storage

_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_COUNT: Final = re.compile(r"[0-9]{1,9}")


class Manifests:
    """Handlers of manifests, tags and referrers."""

    def __init__(self, storage: Storage, quirks: Quirks) -> None:
        self._storage = storage
        self._quirks = quirks

    async def get(self, exchange: Exchange) -> Answer:
        """GET or HEAD of a manifest by tag or digest."""
        head = exchange.request.method == "HEAD"
        if head and self._quirks.head_unsupported:
            raise Refusal(405, Code.UNSUPPORTED, "HEAD is not supported", headers={"Allow": "GET, PUT"})
        repository, name = exchange.target.repository, exchange.target.name
        digest = (
            checked_digest(name) if ":" in name else self._storage.tags(repository).get(checked_tag(name))
        )
        manifest = self._storage.manifest(repository, digest) if digest else None
        if digest is None or manifest is None:
            raise Refusal(
                404, Code.MANIFEST_UNKNOWN, "the repository does not hold this manifest", details=[name]
            )
        headers = {"Content-Type": manifest.media_type, "Docker-Content-Digest": digest}
        return Answer(200, headers, b"" if head else manifest.raw, length=len(manifest.raw))

    async def put(self, exchange: Exchange) -> Answer:
        """Take a manifest by tag or digest, with ``tag`` parameters also by digest and tags at once."""
        repository, name = exchange.target.repository, exchange.target.name
        tags = [checked_tag(tag) for tag in exchange.request.query.getall("tag", [])]
        expected = checked_digest(name) if ":" in name else None
        if expected is None:
            tags.append(checked_tag(name))
        raw = await exchange.read(LIMIT)
        algorithm = expected.algorithm if expected else "sha256"
        digest = Digest(f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}")
        if expected is not None and digest != expected:
            raise Refusal(
                400, Code.DIGEST_INVALID, "the manifest does not have this digest", details=[expected]
            )
        document = _parsed(raw)
        manifest = RawManifest(raw, _media_type(exchange.request.headers.get("Content-Type", ""), document))
        if not self._quirks.accepts_missing:
            self._check_references(repository, document)
        self._storage.put_manifest(repository, digest, manifest, tags)
        headers = {"Location": f"/v2/{repository}/manifests/{digest}", "Docker-Content-Digest": digest}
        if document.subject is not None:
            headers["OCI-Subject"] = document.subject.digest
        if exchange.request.query.getall("tag", []):
            headers["OCI-Tag"] = ", ".join(tags)
        return Answer(201, headers)

    def _check_references(self, repository: str, document: Document) -> None:
        def no_blob(digest: Digest) -> bool:
            return self._storage.blob_size(repository, digest) is None

        def no_manifest(digest: Digest) -> bool:
            return self._storage.manifest(repository, digest) is None

        missing = [one for one in document.blobs() if no_blob(one)]
        missing += [Digest(one.digest) for one in document.children() if no_manifest(Digest(one.digest))]
        missing += [one for one in document.others() if no_blob(one) and no_manifest(one)]
        if missing:
            message = "the repository does not hold what the manifest refers to"
            raise Refusal(404, Code.MANIFEST_BLOB_UNKNOWN, message, details=dict.fromkeys(missing))

    async def tags(self, exchange: Exchange) -> Answer:
        """List tags in the order of their bytes, a page at a time where ``n`` asks for it."""
        repository, query = exchange.target.repository, exchange.request.query
        known = self._storage.holds(repository)
        if self._quirks.created_in:
            known = self._quirks.is_created(repository)
        if known and self._quirks.blobs_are_nothing:
            known = any(True for _ in self._storage.manifests(repository))
        if not known:
            raise Refusal(404, Code.NAME_UNKNOWN, "the repository holds nothing", details=[repository])
        tags = sorted(self._storage.tags(repository))
        if last := query.get("last"):
            tags = [tag for tag in tags if tag > last]
        headers = {"Content-Type": "application/json"}
        if (wanted := query.get("n")) is not None:
            if not _COUNT.fullmatch(wanted):
                raise Refusal(400, Code.UNSUPPORTED, "n is not a number of tags")
            page = tags[: int(wanted)]
            if page and len(page) < len(tags):
                following = urlencode({"n": wanted, "last": page[-1]})
                headers["Link"] = f'</v2/{repository}/tags/list?{following}>; rel="next"'
            tags = page
        return Answer(200, headers, msgspec.json.encode({"name": repository, "tags": tags}))

    async def referrers(self, exchange: Exchange) -> Answer:
        """List the manifests whose subject is a digest, as an index; none is an empty index, never a 404."""
        repository, subject = exchange.target.repository, checked_digest(exchange.target.name)
        wanted = exchange.request.query.get("artifactType")
        found = []
        for digest in self._storage.manifests(repository):
            manifest = self._storage.manifest(repository, digest)
            try:
                document = parse(manifest.raw) if manifest else Document()
            except SpecError:
                continue
            if manifest is None or document.subject is None or document.subject.digest != subject:
                continue
            descriptor: dict[str, object] = {
                "mediaType": manifest.media_type,
                "digest": str(digest),
                "size": len(manifest.raw),
            }
            if document.kind_of_artifact:
                descriptor["artifactType"] = document.kind_of_artifact
            if document.annotations:
                descriptor["annotations"] = document.annotations
            if not wanted or document.kind_of_artifact == wanted:
                found.append(descriptor)
        headers = {"Content-Type": INDEX}
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
        return Answer(
            200, headers, msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": found})
        )


def _parsed(raw: bytes) -> Document:
    try:
        return parse(raw)
    except SpecError as error:
        raise Refusal(400, Code.MANIFEST_INVALID, str(error)) from None


def _media_type(content_type: str, document: Document) -> str:
    """Return the type to keep: what was sent, without parameters; the document's own must agree."""
    sent = content_type.partition(";")[0].strip() or document.guessed_type
    if not _MEDIA_TYPE.fullmatch(sent):
        raise Refusal(400, Code.MANIFEST_INVALID, "Content-Type is not a media type")
    if document.media_type and document.media_type != sent:
        raise Refusal(400, Code.MANIFEST_INVALID, "Content-Type is not the manifest's mediaType")
    return sent
