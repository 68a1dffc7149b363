"""A registry as store.py speaks of one: Source, Destination, Writer and Limits over ``Connections``.

Owns what each operation asks and which answers it accepts. Must not know sockets, tokens, graphs or plans.

``resolve``, ``find``, ``manifest``, ``exists``, ``has_blob`` and ``put_manifest`` take a slot of their own for each
request. ``blob``, ``start``, ``probe``, ``send`` and ``cancel`` run under the slots that the caller took with
``take``, and take none: a transfer holds one read slot at its source and one write slot at each destination
for its life.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from mmgraph.clock import within
from mmgraph.errors import InternalError, MmgraphError, RegistryError
from mmgraph.quirks import Quirk, Quirks
from mmgraph.registry import blame, wire
from mmgraph.registry.bodies import Answer, Download
from mmgraph.registry.chunks import Chunks
from mmgraph.registry.connection import Call, Connections
from mmgraph.registry.gate import Gate, PausedError, Ticket
from mmgraph.registry.policy import MAX_WAIT, Verdict
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.puts import Puts
from mmgraph.registry.refusals import (
    OtherBytesError,
    opened,
    proven,
    refuse_other_bytes,
    refused,
)
from mmgraph.registry.repositories import Repositories
from mmgraph.registry.retries import Request
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls
from mmgraph.registry.uploads import Uploads
from mmgraph.store import Body, Operation, RawManifest, Resolved, Traffic, Upload
from mmgraph.tasks import each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from mmgraph.clock import Clock
    from mmgraph.names import Digest, Registry, Repository
    from mmgraph.registry.auth import Grant
    from mmgraph.registry.credentials import Credentials
    from mmgraph.registry.gate import Allowance
    from mmgraph.registry.quota import Quota
    from mmgraph.registry.trace import Heard

_MOUNT_TRIES: Final = 3
"""How often a mount is asked for of a registry that says to wait, in all the runs of the queue."""
_MOUNTABLE: Final = "sha256"
"""What may be asked for by a mount. distribution 2.8 answers 201 to a mount by another algorithm, writes a link to what
it does not have, and so loses the blob, also one that was there: such a one is looked for by HEAD, and uploaded."""
_READINGS: Final = 2
"""How often a manifest is read of which other bytes come than are called so."""
_CANCEL_SECONDS: Final = 10.0
_CANCELS: Final = 16
"""At a time, at the end."""
_ACCEPT: Final = {"Accept": wire.MANIFEST_ACCEPT}
_NO_UPLOADS: Final = frozenset({403, 404, 405})
"""Refusals of an upload session that go for the whole repository; 401 may be one token's."""
_HEAD_DOES_NOT_TELL: Final = frozenset({200, 400, 405, 406, 501})


class Client:
    """All registries of a run; an async context manager, and a ``Transport`` and ``Destination`` within.

    ``jobs`` is what each registry's read and write window grows to (None: what it bears), ``allowances`` what differs
    at one registry, ``max_wait`` the seconds of the longest pause that a registry may ask for, ``plain_http`` the
    registries spoken to without TLS (loopback ones find out by themselves), ``warn`` hears what a person should know,
    ``routes`` how hosts are reached: by default with the system's trust, without proxies; ``quirks`` what differs at
    single registries: by default what the table knows of their hosts; ``repositories`` creates those that must be;
    ``chunks`` the bytes of the chunks in which a registry is sent blobs: by default they go whole. Raises ``SpecError``
    for a registry that takes none.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        clock: Clock,
        jobs: int | None = None,
        max_wait: float = MAX_WAIT,
        allowances: Mapping[Registry, Allowance] | None = None,
        plain_http: Collection[Registry] = (),
        warn: Callable[[str], None] = lambda message: None,
        chance: random.Random | None = None,
        routes: Routes | None = None,
        heard: Heard | None = None,
        quirks: Quirks | None = None,
        repositories: Repositories | None = None,
        chunks: Mapping[Registry, int] | None = None,
    ) -> None:
        self.quirks = quirks or Quirks(heard=lambda learned: warn(str(learned)))
        self.repositories = repositories or Repositories({}, {}, clock, warn)
        self._warn = warn
        self._unclosed: list[Upload] = []
        self._mounts: Counter[tuple[Repository, Digest]] = Counter()
        """How often the answer to a mount was to wait."""
        self._clock = clock
        self._gate = Gate(clock, jobs, max_wait=max_wait, allowances=allowances)
        self._wire = Connections(
            credentials=credentials,
            clock=clock,
            gate=self._gate,
            plain_http=plain_http,
            warn=warn,
            chance=chance or random.Random(),  # noqa: S311 - jitter, not a secret
            routes=routes or Routes(Tls({}), Proxies({})),
            quirks=self.quirks,
            heard=heard,
        )
        self._puts = Puts(self._wire, clock, self.find, self.resolve)
        self._chunks = Chunks(self._wire, self._gate, self.quirks, chunks or {})
        self._uploads = Uploads(self._wire, self.quirks, self._chunks, self._holds, self._open, self.cancel)

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        unclosed, self._unclosed = self._unclosed, []
        try:
            if unclosed:
                # Within a time for all together: a registry that is silent now is so for each of them.
                with suppress(TimeoutError):
                    await within(self._clock, _CANCEL_SECONDS, each(unclosed, self.cancel, _CANCELS))
            await self.repositories.close()
            await self._gate.close()
        finally:  # also where somebody interrupts once more
            await self._wire.__aexit__(*exc)

    # Limits

    def take(self, reads: Collection[Registry], writes: Collection[Registry]) -> Ticket | None:
        """See ``Limits.take``."""
        return self._gate.take(reads, writes)

    def free(self, reads: Collection[Registry], writes: Collection[Registry]) -> bool:
        """See ``Limits.free``."""
        return self._gate.free(reads, writes)

    def on_room(self, wake: Callable[[], None]) -> None:
        """See ``Limits.on_room``."""
        self._gate.on_room(wake)

    def counts(self) -> Mapping[Registry, Mapping[Operation, int]]:
        """See ``Limits.counts``; what is sent again is counted in ``retries`` instead."""
        return self._wire.counts

    def places(self, registry: Registry) -> int:
        """Return how many requests may read at the registry at once now."""
        return self._gate.places(registry)

    def traffic(self) -> Mapping[Registry, Traffic]:
        """See ``Limits.traffic``."""
        return self._gate.traffic(self._wire.repeated())

    def closed(self, registry: Registry, *, write: bool) -> str | None:
        """See ``Limits.closed``."""
        return self._gate.closed(registry, write=write)

    def paused(self, registry: Registry) -> float:
        """See ``Limits.paused``."""
        return self._gate.paused(registry)

    def held_up(self, registry: Registry) -> float:
        """See ``Limits.held_up``."""
        return self._gate.held_up(registry)

    def quotas(self) -> Mapping[Registry, Quota]:
        """What registries that count manifests have told of their quotas."""
        return self._wire.retrying.quotas.known

    @property
    def retries(self) -> Counter[tuple[Registry, Operation]]:
        """Requests sent again: after a failure, or with the authorization that the first one lacked."""
        return self._wire.retries

    async def authorize(self, repository: Repository, *, push: bool) -> Grant:
        """Ask the registry whether it lets us in to pull or ``push``, changing nothing; raises where it does not."""
        scopes = wire.push_scopes(repository) if push else wire.pull_scopes(repository)
        call = Call(Operation.PING, repository, "/v2/", scopes)
        answer = await self._wire.ask(call)
        if answer.status in (401, 403, 429) or answer.status >= 500:
            raise refused(answer)
        return await self._wire.grant(call)

    # Source and Destination

    async def resolve(self, repository: Repository, name: str) -> Resolved:
        """See ``Source.resolve``."""
        digest, answer = await self._head(repository, name)
        if digest is not None:
            return Resolved(digest)
        if answer.status in (401, 429) or (answer.status >= 500 and answer.status != 501):
            raise refused(answer)
        # 404 too: Nexus has answered it to HEAD of a manifest that GET finds (registry-cli#43).
        found = await self._get(repository, name)
        if answer.status == 404:
            self.quirks.learn(repository.registry, Quirk.DUMB_HEAD)
        return found

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """See ``Destination.find``; 404 to HEAD is believed here, since that is what a new tag looks like."""
        digest, answer = await self._head(repository, name)
        if digest is not None:
            return Resolved(digest)
        if answer.status == 404:
            return None
        if answer.status not in _HEAD_DOES_NOT_TELL:
            raise refused(answer)
        try:
            return await self._get(repository, name)
        except RegistryError as error:
            if error.absent:
                return None
            raise

    async def manifest(self, repository: Repository, name: str) -> RawManifest:
        """See ``Source.manifest``."""
        manifest = (await self._get(repository, name)).manifest
        if manifest is None:
            raise InternalError("a GET without a manifest")
        return manifest

    async def exists(self, repository: Repository) -> bool | None:
        """See ``Destination.exists``."""
        path, scopes = wire.tags_path(repository), wire.pull_scopes(repository)
        call = Call(Operation.GET_TAGS, repository, path, scopes, limit=wire.TAG_PAGE_LIMIT)
        try:
            answer = await self._wire.ask(call)
        except RegistryError:
            return None
        there = {200: True, 404: False}.get(answer.status)
        self.repositories.seen(repository, there)
        return there

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """See ``Destination.has_blob``.

        A registry may send the question on to a signed URL that only GET opens (GHCR): 403 there says
        nothing, and "no" is the answer that costs at most a request.
        """
        return await self._holds(repository, digest, None, held=False)

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
        answer = await self._wire.ask(call, held=True)
        try:
            if answer.status not in (200, 206):
                raise refused(answer)
            refuse_other_bytes(answer, size, start)
            yield Download(answer, size - start)
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
        """Read a manifest; once more where other bytes came, as with a blob: a cache or a proxy may have spoiled it."""
        request = Request(Operation.GET_MANIFEST, repository)
        while True:
            try:
                return await self._got(repository, name, repeat=request.tries > 0)
            except OtherBytesError as error:
                error.tries = request.tries = request.tries + 1
                if request.tries == _READINGS or not await self._wire.retrying.again(request):
                    raise

    async def _got(self, repository: Repository, name: str, *, repeat: bool) -> Resolved:
        call = self._manifest_call(Operation.GET_MANIFEST, repository, name)
        answer = await self._wire.ask(call, repeat=repeat)
        digest = proven(answer, name, self._warn)
        if ":" not in name and wire.contradicts(answer.header("Docker-Content-Digest"), digest):
            try:  # either the header is wrong, as many a registry's is, or the bytes: nothing there is called so then
                await self._get(repository, digest)
            except RegistryError as error:
                raise OtherBytesError(answer, digest) if error.absent else error from None
        return Resolved(digest, RawManifest(answer.body, wire.media_type(answer.header("Content-Type"))))

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
        return await self._holds(repository, digest, None, held=True)

    async def _holds(self, repository: Repository, digest: Digest, size: int | None, *, held: bool) -> bool:
        """HEAD the blob; of another length than ``size`` it is not there: a commit that was cut short."""
        path, scopes = wire.blob_path(repository, digest), wire.pull_scopes(repository)
        answer = await self._wire.ask(
            Call(Operation.HEAD_BLOB, repository, path, scopes, follow=True), held=held
        )
        if answer.status == 200:
            return size is None or answer.length in (None, size)
        if answer.status == 404 or not self._wire.own(repository.registry, answer.url):
            return False
        raise refused(answer)

    def chunk(self, registry: Registry, size: int) -> int:
        """See ``Transport.chunk``."""
        return self._chunks.size(registry, size)

    # Writer

    async def start(
        self, repository: Repository, digest: Digest, mount_from: Repository | None
    ) -> Upload | None:
        """See ``Writer.start``."""
        self._wire.retrying.check(repository)
        return await self.repositories.write(
            repository, self._takes, lambda: self._start(repository, digest, mount_from)
        )

    async def _takes(self, repository: Repository) -> bool:
        """Whether an upload may begin in ``repository``: one does, and is cancelled."""
        try:
            await self.cancel(await self._open(repository))
        except MmgraphError:
            return False
        return True

    async def _start(
        self, repository: Repository, digest: Digest, mount_from: Repository | None
    ) -> Upload | None:
        if mount_from is not None and digest.algorithm != _MOUNTABLE:
            if await self._holds(repository, digest, None, held=True):
                return None
            mount_from = None
        if mount_from is not None and self._mounts[repository, digest] < _MOUNT_TRIES:
            try:
                answer = await self._mount(Operation.POST_UPLOAD, repository, digest, mount_from)
            except PausedError:
                raise
            except RegistryError:  # no token for reading mount_from, say: the upload need not fail with it
                return await self._open(repository)
            if answer.status == 201 and not wire.contradicts(answer.header("Docker-Content-Digest"), digest):
                return None
            if answer.status == 202:
                self._chunks.heard(repository.registry, answer)
                return opened(repository, answer)
            upload = await self._open(repository)
            if 400 <= answer.status < 500 and answer.status != 401 and wire.mount_refused(answer.status):
                # Mounts are asked for nonetheless: what may be mounted is often a question of one repository's rights.
                self.quirks.learn(repository.registry, Quirk.REFUSES_MOUNTS)
            return upload
        return await self._open(repository)

    async def probe(self, repository: Repository, digest: Digest) -> bool:
        """See ``Writer.probe``."""
        if digest.algorithm != _MOUNTABLE:
            return False
        try:
            answer = await self._mount(Operation.PROBE, repository, digest, repository)
            if answer.status == 202:
                await self.cancel(opened(repository, answer))
        except RegistryError:
            return False
        if answer.status == 202 or wire.mount_refused(answer.status):  # not: overloaded
            self.quirks.learn(repository.registry, Quirk.BLIND)
        return answer.status == 201

    async def send(self, upload: Upload, digest: Digest, size: int, body: Body, chunk: int = 0) -> None:
        """See ``Writer.send``. The iterator stays the caller's to close."""
        await self._uploads.send(upload, digest, size, body, chunk)

    async def cancel(self, upload: Upload) -> None:
        """See ``Writer.cancel``."""
        scopes = wire.push_scopes(upload.repository)
        upload = self._chunks.forget(upload)
        try:
            call = Call(Operation.DELETE_UPLOAD, upload.repository, upload.location, scopes)
            await within(self._clock, _CANCEL_SECONDS, self._wire.once(call))
        except PausedError:
            self._unclosed.append(upload)  # once more at the end, when the pause may be over
        except (MmgraphError, TimeoutError):
            pass

    async def put_manifest(
        self,
        repository: Repository,
        name: str,
        digest: Digest,
        manifest: RawManifest,
        old: Digest | None = None,
    ) -> None:
        """See ``Writer.put_manifest``."""
        await self.repositories.write(
            repository, self._takes, lambda: self._puts.put(repository, name, digest, manifest, old)
        )

    async def _mount(
        self, operation: Operation, repository: Repository, digest: Digest, mount_from: Repository
    ) -> Answer:
        path = wire.mount_path(repository, digest, mount_from)
        call = Call(operation, repository, path, wire.push_scopes(repository, mount_from))

        def final(answer: Answer) -> bool:
            if answer.verdict not in (Verdict.AGAIN, Verdict.WAIT) or wire.mount_refused(answer.status):
                return True
            # There is another way, so that not even overload is waited out for long; who waits long comes back anew.
            self._mounts[repository, digest] += 1
            return self._mounts[repository, digest] >= _MOUNT_TRIES

        return await self._wire.ask(call, final, held=True)

    async def _open(self, repository: Repository) -> Upload:
        path, scopes = wire.upload_path(repository), wire.push_scopes(repository)
        answer = await self._wire.ask(Call(Operation.POST_UPLOAD, repository, path, scopes), held=True)
        if answer.status != 202:
            if answer.status == 404 and self.quirks.has(repository.registry, Quirk.REPOSITORY_FIRST):
                answer.advice = blame.CREATE_FIRST
            error = refused(answer)
            if answer.status in _NO_UPLOADS and not (
                error.absent and self.repositories.may_create(repository)
            ):
                self._wire.retrying.refused(repository, error)
            raise error
        self._chunks.heard(repository.registry, answer)
        return opened(repository, answer)
