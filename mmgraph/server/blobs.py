"""The blob half of the distribution-spec: blobs, upload sessions, mounts. Knows storage, not sockets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mmgraph.errors import SpecError
from mmgraph.registry.wire import OCTETS
from mmgraph.server.answer import Answer, Code, Refusal, Slice
from mmgraph.server.documents import parse
from mmgraph.server.routes import checked_digest, checked_repository, checked_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgraph.names import Digest
    from mmgraph.server.exchange import Exchange
    from mmgraph.server.faults import Quirks
    from mmgraph.server.sessions import Session, Sessions
    from mmgraph.server.storage import Storage, Upload

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_CONTENT_RANGE: Final = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?")


class Blobs:
    """Handlers of blobs and upload sessions."""

    def __init__(self, storage: Storage, quirks: Quirks, sessions: Sessions) -> None:
        self._storage = storage
        self._quirks = quirks
        self._sessions = sessions

    async def get(self, exchange: Exchange) -> Answer:
        """GET or HEAD of a blob, with a single range; any other is ignored, as RFC 9110 (14.2) lets it be."""
        repository, digest = exchange.target.repository, checked_digest(exchange.target.name)
        size = self._storage.blob_size(repository, digest)
        if size is None:
            raise Refusal(404, Code.BLOB_UNKNOWN, "the repository does not hold this blob", details=[digest])
        headers = {
            "Content-Type": OCTETS,
            "Docker-Content-Digest": digest,
            "Accept-Ranges": "bytes",
        }
        wanted = _RANGE.fullmatch(exchange.request.headers.get("Range", ""))
        start, end, status = 0, size, 200
        if wanted and (wanted[1] or wanted[2]):
            first = int(wanted[1]) if wanted[1] else max(size - int(wanted[2]), 0)
            last = int(wanted[2]) if wanted[1] and wanted[2] else size - 1
            if first >= size or last < first:
                no_range = {"Content-Range": f"bytes */{size}"}
                raise Refusal(416, Code.RANGE_INVALID, "there are no such bytes", headers=no_range)
            start, end, status = first, min(last + 1, size), 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        if exchange.request.method == "HEAD":
            return Answer(status, headers, length=end - start)
        return Answer(status, headers, Slice(self._storage.open_blob(repository, digest), start, end - start))

    async def post(self, exchange: Exchange, may_pull: Callable[[str], bool]) -> Answer:
        """Open a session, mount, or take a whole blob (POST with ``digest``).

        ``may_pull`` says whether the request may read another repository; where it may not, a mount is not
        granted and the answer is a session, as if the blob were not there.
        """
        repository, query = exchange.target.repository, exchange.request.query
        mount, source, digest = query.get("mount"), query.get("from"), query.get("digest")
        if mount is not None:
            wanted = checked_digest(mount)
            if source is not None and self._mount(checked_repository(source), repository, wanted, may_pull):
                return self._created(repository, wanted)
        elif digest is not None:
            return await self._take_whole(exchange, checked_digest(digest))
        algorithm = query.get("digest-algorithm", "sha256")
        if algorithm not in {"sha256", "sha512"}:
            raise Refusal(400, Code.DIGEST_INVALID, "digests are sha256 or sha512")
        session = self._sessions.open(repository, self._storage.upload(repository, algorithm))
        return self._progress(202, session)

    def _mount(self, source: str, target: str, digest: Digest, may_pull: Callable[[str], bool]) -> bool:
        quirks = self._quirks
        if quirks.no_mounts or (quirks.blind_self_mount and source == target) or not may_pull(source):
            return False
        if quirks.mount_needs_manifest and not self._is_referred_to(source, digest):
            return False
        return self._storage.mount(source, target, digest)

    def _is_referred_to(self, repository: str, digest: Digest) -> bool:
        for name in self._storage.manifests(repository):
            manifest = self._storage.manifest(repository, name)
            try:
                document = parse(manifest.raw) if manifest else None
            except SpecError:
                continue
            if document and digest in (*document.blobs(), *document.others()):
                return True
        return False

    async def _take_whole(self, exchange: Exchange, digest: Digest) -> Answer:
        upload = self._storage.upload(exchange.target.repository, digest.algorithm)
        try:
            async for piece in exchange.body():
                upload.write(piece)
        except BaseException:
            upload.abandon()
            raise
        return self._commit(exchange.target.repository, upload, digest)

    async def patch(self, exchange: Exchange) -> Answer:
        """Append a chunk; with Content-Range only where it continues what is there (416)."""
        session = self._session(exchange)
        await self._append(exchange, session)
        return self._progress(self._quirks.patch_status, session)

    async def put(self, exchange: Exchange) -> Answer:
        """Append the body, if any, and finish the blob. Wrong bytes end the session, as in distribution."""
        digest = checked_digest(exchange.request.query.get("digest", ""))
        session = self._session(exchange)
        await self._append(exchange, session)
        return self._commit(session.repository, self._sessions.take(session), digest)

    async def status(self, exchange: Exchange) -> Answer:
        """Say how far a session has got."""
        return self._progress(204, self._session(exchange))

    async def cancel(self, exchange: Exchange) -> Answer:
        """End a session and drop its bytes."""
        self._sessions.take(self._session(exchange)).abandon()
        return Answer(204)

    def _session(self, exchange: Exchange) -> Session:
        session = self._sessions.find(checked_session(exchange.target.name))
        if session is None or session.repository != exchange.target.repository:
            raise Refusal(404, Code.BLOB_UPLOAD_UNKNOWN, "there is no such upload session")
        return session

    async def _append(self, exchange: Exchange, session: Session) -> None:
        given = exchange.request.headers.get("Content-Range")
        span = _CONTENT_RANGE.fullmatch(given) if given is not None else None
        if given is not None and span is None:
            raise Refusal(400, Code.BLOB_UPLOAD_INVALID, "Content-Range is not <first>-<last>")
        if session.busy or (span and int(span[1]) != session.upload.size):
            message = (
                "another request is writing" if session.busy else "the chunk does not continue the upload"
            )
            raise Refusal(416, Code.BLOB_UPLOAD_INVALID, message, headers=self._where(session))
        length = exchange.request.content_length
        if 0 < self._quirks.body_limit < (length or 0):
            raise Refusal(413, Code.SIZE_INVALID, f"the body is longer than {self._quirks.body_limit} bytes")
        if span and length is not None and length != int(span[2]) - int(span[1]) + 1:
            raise Refusal(400, Code.SIZE_INVALID, "Content-Range and Content-Length disagree")
        session.busy = True
        try:
            async for piece in exchange.body():
                self._session(exchange)  # it may be cancelled while its bytes come
                self._write(session, piece)
        finally:
            session.busy = False
        self._session(exchange)

    def _write(self, session: Session, piece: bytes) -> None:
        try:
            session.upload.write(piece)
        except BaseException:
            # How much of the piece was taken nobody knows: there is no offset to go on from.
            self._sessions.take(session)
            raise

    def _commit(self, repository: str, upload: Upload, digest: Digest) -> Answer:
        if not upload.commit(digest):
            raise Refusal(400, Code.DIGEST_INVALID, "the bytes do not have this digest", details=[digest])
        return self._created(repository, digest)

    def _created(self, repository: str, digest: Digest) -> Answer:
        location = f"{self._quirks.location_prefix}/v2/{repository}/blobs/{digest}"
        return Answer(201, {"Location": location, "Docker-Content-Digest": digest})

    def _progress(self, status: int, session: Session) -> Answer:
        least = self._quirks.least_chunk
        asked = {"OCI-Chunk-Min-Length": str(least)} if least else {}
        return Answer(status, self._where(session) | asked | {"Docker-Upload-UUID": session.name})

    def _where(self, session: Session) -> dict[str, str]:
        query = f"?{self._quirks.location_query}" if self._quirks.location_query else ""
        path = f"/v2/{session.repository}/blobs/uploads/{session.name}{query}"
        return {
            "Location": f"{self._quirks.location_prefix}{path}",
            "Range": f"0-{max(session.upload.size - 1, 0)}",
        }
