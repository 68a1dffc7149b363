"""A registry as store.py speaks of one: Source, Destination, Writer and Limits over ``Connections``.

Owns what each operation asks and which answers it accepts. Must not know sockets, tokens, graphs or plans.

``resolve``, ``find``, ``manifest``, ``exists``, ``has_blob`` and ``put_manifest`` take a slot of their own.
``blob``, ``start``, ``probe``, ``send`` and ``cancel`` run under the slots that the caller took with
``take``, and take none: a transfer holds one read slot at its source and one write slot at each destination
for its life.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from mmgraph.errors import ContentError, InternalError, MmgraphError, NetworkError, RegistryError
from mmgraph.names import Digest
from mmgraph.oci import digest_of
from mmgraph.registry import wire
from mmgraph.registry.bodies import Answer, Stream
from mmgraph.registry.connection import Call, Connections
from mmgraph.registry.gate import Gate, Ticket
from mmgraph.registry.retries import ATTEMPTS, attempts
from mmgraph.store import Operation, RawManifest, Resolved, Upload

if TYPE_CHECKING:
    import ssl
    from collections import Counter
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Registry, Repository
    from mmgraph.registry.credentials import Credentials

_CANCEL_SECONDS: Final = 10.0
_ACCEPT: Final = {"Accept": wire.MANIFEST_ACCEPT}
_HEAD_DOES_NOT_TELL: Final = frozenset({200, 400, 405, 406, 501})


def _unheard(message: str) -> None:
    """Let a warning go."""


class Client:
    """All registries of a run; an async context manager, and a ``Transport`` and ``Destination`` within.

    ``jobs`` is the size of each registry's read and write window, ``plain_http`` the registries spoken to
    without TLS (loopback ones find out by themselves), ``warn`` hears what a person should know,
    ``ssl_context`` replaces the system's trust.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        clock: Clock,
        jobs: int = 16,
        plain_http: Collection[Registry] = (),
        warn: Callable[[str], None] = _unheard,
        chance: random.Random | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._warn = warn
        self._gate = Gate(clock, jobs)
        self._wire = Connections(
            credentials=credentials,
            clock=clock,
            gate=self._gate,
            plain_http=plain_http,
            warn=warn,
            chance=chance or random.Random(),  # noqa: S311 - jitter, not a secret
            ssl_context=ssl_context,
        )

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._gate.close()
        await self._wire.__aexit__(*exc)

    # Limits

    def take(self, reads: Collection[Registry], writes: Collection[Registry]) -> Ticket | None:
        """See ``Limits.take``."""
        return self._gate.take(reads, writes)

    def on_room(self, wake: Callable[[], None]) -> None:
        """See ``Limits.on_room``."""
        self._gate.on_room(wake)

    def counts(self) -> Mapping[Registry, Mapping[Operation, int]]:
        """See ``Limits.counts``; what is sent again is counted in ``retries`` instead."""
        return self._wire.counts

    @property
    def retries(self) -> Counter[tuple[Registry, Operation]]:
        """Requests sent again: after a failure, or with the authorization that the first one lacked."""
        return self._wire.retries

    # Source and Destination

    async def resolve(self, repository: Repository, name: str) -> Resolved:
        """See ``Source.resolve``."""
        with await self._gate.acquire(repository.registry, write=False):
            digest, answer = await self._head(repository, name)
            if digest is not None:
                return Resolved(digest)
            if answer.status in (401, 429) or (answer.status >= 500 and answer.status != 501):
                raise _refused(answer)
            # 404 too: Nexus has answered it to HEAD of a manifest that GET finds (registry-cli#43).
            return await self._get(repository, name)

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """See ``Destination.find``; 404 to HEAD is believed here, since that is what a new tag looks like."""
        with await self._gate.acquire(repository.registry, write=False):
            digest, answer = await self._head(repository, name)
            if digest is not None:
                return Resolved(digest)
            if answer.status == 404:
                return None
            if answer.status not in _HEAD_DOES_NOT_TELL:
                raise _refused(answer)
            try:
                return await self._get(repository, name)
            except RegistryError as error:
                if error.absent:
                    return None
                raise

    async def manifest(self, repository: Repository, name: str) -> RawManifest:
        """See ``Source.manifest``."""
        with await self._gate.acquire(repository.registry, write=False):
            manifest = (await self._get(repository, name)).manifest
            if manifest is None:
                raise InternalError("a GET without a manifest")
            return manifest

    async def exists(self, repository: Repository) -> bool | None:
        """See ``Destination.exists``."""
        call = Call(
            Operation.GET_TAGS,
            repository,
            wire.tags_path(repository),
            wire.pull_scopes(repository),
            limit=wire.TAG_PAGE_LIMIT,
        )
        with await self._gate.acquire(repository.registry, write=False):
            try:
                answer = await self._wire.ask(call)
            except RegistryError:
                return None
            return {200: True, 404: False}.get(answer.status)

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """See ``Destination.has_blob``.

        A registry may send the question on to a signed URL that only GET opens (GHCR): 403 there says
        nothing, and "no" is the answer that costs at most a request.
        """
        with await self._gate.acquire(repository.registry, write=False):
            return await self.holds(repository, digest)

    @asynccontextmanager
    async def blob(
        self, repository: Repository, digest: Digest, size: int, start: int = 0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """See ``Source.blob``. A stream that breaks raises ``NetworkError``; going on is up to the caller.

        With ``start``, ``ContentError`` means that the registry cannot go on from there (its status is 200
        where the range was ignored, 206 where another one came): begin again at 0.
        """
        call = Call(
            Operation.GET_BLOB,
            repository,
            wire.blob_path(repository, digest),
            wire.pull_scopes(repository),
            headers={"Range": f"bytes={start}-"} if start else None,
            follow=True,
            open=(200, 206),
        )
        answer = await self._wire.ask(call)
        try:
            if answer.status not in (200, 206):
                raise _refused(answer)
            _refuse_other_bytes(answer, size, start)
            yield _Download(answer, size - start)
        finally:
            answer.close()

    async def _head(self, repository: Repository, name: str) -> tuple[Digest | None, Answer]:
        """The digest that HEAD tells for certain, and the answer."""
        answer = await self._wire.ask(self._manifest_call(Operation.HEAD_MANIFEST, repository, name))
        digest = wire.header_digest(answer.header("Docker-Content-Digest"))
        if answer.status != 200 or (":" in name and digest != name):
            return None, answer
        return digest, answer

    async def _get(self, repository: Repository, name: str) -> Resolved:
        answer = await self._wire.ask(self._manifest_call(Operation.GET_MANIFEST, repository, name))
        if answer.status != 200:
            raise _refused(answer)
        _refuse_encoding(answer)
        if len(answer.body) > wire.MANIFEST_LIMIT:
            raise ContentError(f"{answer.shown}: longer than {wire.MANIFEST_LIMIT} bytes", status=200)
        digest = self._proven(answer, name)
        return Resolved(digest, RawManifest(answer.body, wire.media_type(answer.header("Content-Type"))))

    def _proven(self, answer: Answer, name: str) -> Digest:
        """The digest of a manifest's bytes, which must be ``name`` where that is one.

        Not the header's: CVE-2025-24882 was to believe it. On a tag so many registries send a wrong one that
        it is no error (go-containerregistry, ``fetcher.go``).
        """
        if ":" in name:
            wanted = Digest(name)
            found = _digest(wanted.algorithm, answer.body)
            if found != wanted:
                raise ContentError(f"{answer.shown}: other bytes than asked for, {found}", status=200)
            return wanted
        named = wire.header_digest(answer.header("Docker-Content-Digest"))
        if named is not None and named == _digest(named.algorithm, answer.body):
            return named
        found = _digest("sha256", answer.body)
        if named is not None:
            self._warn(f"{answer.shown}: named {named}, but the bytes are {found}")
        return found

    def _manifest_call(self, operation: Operation, repository: Repository, name: str) -> Call:
        return Call(
            operation,
            repository,
            wire.manifest_path(repository, name),
            wire.pull_scopes(repository),
            headers=_ACCEPT,
            follow=True,
            limit=wire.MANIFEST_LIMIT,
        )

    async def holds(self, repository: Repository, digest: Digest) -> bool:
        """See ``Transport.holds``."""
        path, scopes = wire.blob_path(repository, digest), wire.pull_scopes(repository)
        answer = await self._wire.ask(Call(Operation.HEAD_BLOB, repository, path, scopes, follow=True))
        if answer.status == 200:
            return True
        if answer.status == 404 or not self._wire.own(repository.registry, answer.url):
            return False
        raise _refused(answer)

    # Writer

    async def start(
        self, repository: Repository, digest: Digest, mount_from: Repository | None
    ) -> Upload | None:
        """See ``Writer.start``."""
        if mount_from is not None:
            try:
                answer = await self._mount(Operation.POST_UPLOAD, repository, digest, mount_from)
            except (
                RegistryError
            ):  # no token for reading mount_from, say: the upload need not fail with the mount
                return await self._open(repository)
            if answer.status == 201 and not wire.contradicts(answer.header("Docker-Content-Digest"), digest):
                return None
            if answer.status == 202:
                return _upload(repository, answer)
        return await self._open(repository)

    async def probe(self, repository: Repository, digest: Digest) -> bool:
        """See ``Writer.probe``."""
        try:
            answer = await self._mount(Operation.PROBE, repository, digest, repository)
            if answer.status == 202:
                await self.cancel(_upload(repository, answer))
        except RegistryError:
            return False
        return answer.status == 201

    async def send(
        self, upload: Upload, digest: Digest, size: int, body: bytes | AsyncIterator[bytes]
    ) -> None:
        """See ``Writer.send``. The iterator stays the caller's to close."""
        if isinstance(body, bytes):
            await self._send_bytes(upload, digest, body)
            return
        stream = Stream(body, size)
        try:
            answer = await self._wire.once(_put(upload, digest, stream, size))
        except NetworkError as error:
            if stream.failure is not None:
                raise stream.failure from error
            raise
        _refuse_commit(answer, digest)
        if stream.handed < size:
            raise ContentError(
                f"{answer.shown}: committed after {stream.handed} of {size} bytes", status=answer.status
            )

    async def cancel(self, upload: Upload) -> None:
        """See ``Writer.cancel``."""
        scopes = wire.push_scopes(upload.repository)
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._wire.once(
                    Call(Operation.DELETE_UPLOAD, upload.repository, upload.location, scopes)
                )
        except (MmgraphError, TimeoutError):
            pass

    async def put_manifest(
        self, repository: Repository, name: str, digest: Digest, manifest: RawManifest
    ) -> None:
        """See ``Writer.put_manifest``."""
        call = Call(
            Operation.PUT_MANIFEST,
            repository,
            wire.manifest_path(repository, name),
            wire.push_scopes(repository),
            headers={"Content-Type": manifest.media_type},
            data=manifest.raw,
        )
        with await self._gate.acquire(repository.registry, write=True):
            answer = await self._wire.ask(call)
            if answer.status != 201:  # a web server that is no registry says 200 to everything
                raise _refused(answer)
            named = wire.header_digest(answer.header("Docker-Content-Digest"))
            if named is not None and digest_of(manifest.raw, named.algorithm) == named:
                return
            found, head = await self._head(repository, name)
            if found is None and head.status not in (404, *_HEAD_DOES_NOT_TELL):
                raise _refused(head)
            if found is None:
                found = (await self._get(repository, name)).digest
            if found != digest:
                raise ContentError(f"{answer.shown}: put as {digest}, read back as {found}", status=201)

    async def _mount(
        self, operation: Operation, repository: Repository, digest: Digest, mount_from: Repository
    ) -> Answer:
        path = wire.mount_path(repository, digest, mount_from)
        call = Call(operation, repository, path, wire.push_scopes(repository, mount_from))
        return await self._wire.ask(call, lambda answer: wire.mount_refused(answer.status))

    async def _open(self, repository: Repository) -> Upload:
        path, scopes = wire.upload_path(repository), wire.push_scopes(repository)
        answer = await self._wire.ask(Call(Operation.POST_UPLOAD, repository, path, scopes))
        if answer.status != 202:
            raise _refused(answer)
        return _upload(repository, answer)

    async def _send_bytes(self, upload: Upload, digest: Digest, body: bytes) -> None:
        """Commit a blob that is held whole; what fails is looked at, and goes into a new session.

        distribution ends the session of a commit that failed (``blobupload.go``), and the answer that got
        lost may have been a 201.
        """
        attempt = 1
        while True:
            try:
                if attempt > 1:
                    if await self.holds(upload.repository, digest):
                        return
                    upload = await self._open(upload.repository)
                call = _put(upload, digest, body, len(body))
                answer = await self._wire.once(call, repeat=attempt > 1)
            except NetworkError as error:
                if attempt >= attempts(error):
                    raise
            else:
                gone = answer.status == 404 and attempt == 1  # the session, as after a long wait
                if attempt == ATTEMPTS or not (gone or answer.temporary):
                    _refuse_commit(answer, digest)
                    return
            await self._wire.back_off(attempt)
            attempt += 1


class _Download:
    """A blob's bytes as they come: exactly as many as promised, or an error."""

    __slots__ = ("_answer", "_left")

    def __init__(self, answer: Answer, size: int) -> None:
        self._answer = answer
        self._left = size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._answer.more()
        self._left -= len(chunk)
        if self._left < 0:
            raise ContentError(
                f"{self._answer.shown}: more bytes than the blob has", status=self._answer.status
            )
        if chunk:
            return chunk
        if self._left:
            raise NetworkError(f"{self._answer.shown}: ended {self._left} bytes early")
        raise StopAsyncIteration


def _put(upload: Upload, digest: Digest, data: bytes | Stream, size: int) -> Call:
    return Call(
        Operation.PUT_BLOB,
        upload.repository,
        wire.with_digest(upload.location, digest),
        wire.push_scopes(upload.repository),
        headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        data=data,
    )


def _digest(algorithm: str, body: bytes) -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}")


def _upload(repository: Repository, answer: Answer) -> Upload:
    location = answer.header("Location")
    if location is None:
        raise ContentError(f"{answer.shown}: 202 without a Location", status=202)
    return Upload(repository, wire.upload_location(answer.url, location))


def _refused(answer: Answer) -> RegistryError:
    """The error for an answer that is none of those hoped for."""
    said = answer.said
    words = " ".join(filter(None, (", ".join(said.codes), said.message)))
    return RegistryError(
        f"{answer.shown}: {answer.status}{f' {words}' if words else ''}",
        status=answer.status,
        codes=said.codes,
        detail=said.digests,
    )


def _refuse_encoding(answer: Answer) -> None:
    encoding = answer.header("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        # Apache does this with x-gzip (moby/moby#17595); digest and size are of the bytes before it.
        shown = wire.escape(encoding, 40)
        raise ContentError(
            f"{answer.shown}: encoded as {shown}, which was not asked for", status=answer.status
        )


def _refuse_other_bytes(answer: Answer, size: int, start: int) -> None:
    """Raise ``ContentError`` where a blob's headers show already that these are not the bytes asked for."""
    _refuse_encoding(answer)
    if answer.status == 200 and start:
        raise ContentError(f"{answer.shown}: the range from {start} was ignored", status=200)
    if answer.status == 206:
        span = wire.content_range(answer.header("Content-Range"))
        if span is None or span[0] != start or span[2] not in (None, size):
            raise ContentError(f"{answer.shown}: another range than from {start} of {size}", status=206)
    if answer.length is not None and answer.length != size - start:
        raise ContentError(f"{answer.shown}: {answer.length} bytes, not {size - start}", status=answer.status)


def _refuse_commit(answer: Answer, digest: Digest) -> None:
    if answer.status not in (201, 204):
        raise _refused(answer)
    if wire.contradicts(answer.header("Docker-Content-Digest"), digest):
        raise ContentError(f"{answer.shown}: committed as another blob", status=answer.status)
