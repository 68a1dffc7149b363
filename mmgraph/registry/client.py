"""Registries over HTTP: Source, Destination, Writer and Limits over one aiohttp session.

Owns connections, the order of requests and their repetition; no other module imports the aiohttp client, and no
exception of it leaves this one. Must not know graphs or plans. Rules come from ``wire``, headers from ``auth``, slots
and pauses from ``gate``.

``resolve``, ``find``, ``manifest``, ``exists``, ``has_blob`` and ``put_manifest`` take a slot of their own. ``blob``,
``start``, ``probe``, ``send`` and ``cancel`` run under the slots that the caller took with ``take``, and take none: a
transfer holds one read slot at its source and one write slot at each destination for its life.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from yarl import URL

from mmgraph.errors import ContentError, InternalError, MmgraphError, NetworkError, RegistryError
from mmgraph.names import Digest, Registry, Repository
from mmgraph.registry import wire
from mmgraph.registry.auth import Authenticator
from mmgraph.registry.gate import Gate, Ticket
from mmgraph.store import Operation, RawManifest, Resolved, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from aiohttp.abc import AbstractStreamWriter

    from mmgraph.clock import Clock
    from mmgraph.registry.credentials import Credentials

_ATTEMPTS: Final = 5
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_SHORT_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_OCTETS: Final = {"Content-Type": "application/octet-stream"}
_ACCEPT: Final = {"Accept": wire.MANIFEST_ACCEPT}


class _PermanentError(NetworkError):
    """A failure that the next attempt would only repeat: a certificate that does not fit."""


class _Stream(aiohttp.Payload):
    """A body that can be sent once and is never cut, padded or replayed.

    aiohttp repeats a PUT whose connection was closed; with an iterator already read that sent an empty body
    (aio-libs/aiohttp#13330). It also cuts silently what is longer than Content-Length.
    """

    def __init__(self, body: AsyncIterator[bytes], size: int) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._size = size
        self.handed = 0
        self.failure: BaseException | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: the body is not held."""
        raise TypeError("a stream has no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send all of it; what is not exactly its size fails before the last byte."""
        if self._consumed:
            self.failure = InternalError("the body of an upload was asked for twice")
            raise self.failure
        self._consumed = True
        size = self._size or 0
        try:
            async for chunk in self._value:
                self.handed += len(chunk)
                if self.handed > size:
                    raise InternalError(f"the body of an upload is longer than its {size} bytes")
                try:
                    await writer.write(chunk)
                except Exception as error:
                    raise _WriteError from error
            if self.handed < size:
                raise InternalError(f"the body of an upload ended after {self.handed} of {size} bytes")
        except (_WriteError, asyncio.CancelledError):
            raise
        except BaseException as error:
            self.failure = error
            raise


class _WriteError(Exception):
    """The connection failed while a body was written; it keeps that apart from failures of the body itself."""


class _Call:
    """One request as it is to be sent, whatever it takes."""

    __slots__ = ("data", "follow", "headers", "method", "open", "operation", "repository", "scopes", "url")

    def __init__(
        self,
        operation: Operation,
        method: str,
        repository: Repository,
        url: str,
        scopes: tuple[str, ...],
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | _Stream | None = None,
        follow: bool = False,
        open: Collection[int] = (),  # noqa: A002
    ) -> None:
        self.operation = operation
        self.method = method
        self.repository = repository
        self.url = url  # a path at the registry, or an absolute URL
        self.scopes = scopes
        self.headers = headers
        self.data = data
        self.follow = follow
        self.open = open


class _Answer:
    """A response: its body read, or, with one of the call's ``open`` statuses, still to be read."""

    __slots__ = ("body", "headers", "response", "status", "url")

    def __init__(self, response: aiohttp.ClientResponse, url: str, body: bytes | None) -> None:
        self.response = response
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self.body = body or b""

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


class _Endpoint:
    """Where a registry is reached, and whether its first answer is in."""

    __slots__ = ("base", "decided", "registry", "scout", "scouted")

    def __init__(self, registry: Registry, *, plain: bool) -> None:
        self.registry = registry
        self.base = f"{'http' if plain else 'https'}://{wire.host(registry)}"
        self.decided = plain or not wire.plain_http_allowed(registry)
        self.scouted = False
        self.scout: asyncio.Event | None = None


class Client:
    """All registries of a run; an async context manager, and a ``Transport`` and ``Destination`` within.

    ``jobs`` is the size of each registry's read and write window, ``plain_http`` the registries that are spoken to
    without TLS (loopback ones find out by themselves), ``warn`` hears what a person should know.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        clock: Clock,
        jobs: int = 16,
        plain_http: Collection[Registry] = (),
        warn: Callable[[str], None] = lambda message: None,
        chance: random.Random | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._plain_http = frozenset(plain_http)
        self._warn = warn
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret
        self._ssl = ssl_context
        self._gate = Gate(clock, jobs)
        self._auth = Authenticator(credentials, clock, self._fetch_token, warn)
        self._endpoints: dict[Registry, _Endpoint] = {}
        self._counts: dict[Registry, Counter[Operation]] = {}
        self._session: aiohttp.ClientSession | None = None
        self.retries: Counter[tuple[Registry, Operation]] = Counter()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, ssl=self._ssl or True),
            cookie_jar=aiohttp.DummyCookieJar(),  # Harbor's session cookie would switch on its CSRF checks
            headers={"Accept-Encoding": "identity", "User-Agent": "mmgraph"},
            skip_auto_headers=("Content-Type",),
            timeout=_TIMEOUT,
            auto_decompress=False,
            trust_env=False,  # it would also read ~/.netrc
            max_line_size=64 << 10,
            max_field_size=64 << 10,
        )
        # aiohttp repeats idempotent requests unseen; repeating and counting happen here alone.
        self._session._retry_connection = False  # noqa: SLF001 - aiohttp's own test client has no other way either
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._auth.close()
        await self._gate.close()
        if self._session is not None:
            await self._session.close()

    # --- Limits

    def take(self, reads: Collection[Registry], writes: Collection[Registry]) -> Ticket | None:
        """See ``Limits.take``."""
        return self._gate.take(reads, writes)

    def on_room(self, wake: Callable[[], None]) -> None:
        """See ``Limits.on_room``."""
        self._gate.on_room(wake)

    def counts(self) -> Mapping[Registry, Mapping[Operation, int]]:
        """See ``Limits.counts``; repeated requests are counted in ``retries`` instead."""
        return self._counts

    # --- Source and Destination

    async def resolve(self, repository: Repository, name: str) -> Resolved:
        """See ``Source.resolve``."""
        with await self._gate.acquire(repository.registry, write=False):
            digest, answer = await self._head(repository, name)
            if digest is not None:
                return Resolved(digest)
            # 404 and 405 too: Nexus has answered 404 to HEAD of a manifest that GET finds (registry-cli#43).
            if answer.status in (401, 429) or answer.status >= 500 and answer.status != 501:
                raise _refused("HEAD", answer)
            return await self._get(repository, name)

    async def find(self, repository: Repository, name: str) -> Resolved | None:
        """See ``Destination.find``; 404 to HEAD is believed here, since absence is what a new tag looks like."""
        with await self._gate.acquire(repository.registry, write=False):
            digest, answer = await self._head(repository, name)
            if digest is not None:
                return Resolved(digest)
            if answer.status == 404:
                return None
            if answer.status not in (200, 400, 405, 406, 501):
                raise _refused("HEAD", answer)
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
        path, scopes = wire.tags_path(repository), wire.pull_scopes(repository)
        with await self._gate.acquire(repository.registry, write=False):
            try:
                answer = await self._ask(
                    _Call(Operation.GET_TAGS, "GET", repository, path, scopes), wire.TAG_PAGE_LIMIT
                )
            except RegistryError:
                return None
            return {200: True, 404: False}.get(answer.status)

    async def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """See ``Destination.has_blob``.

        A registry may send the question on to a signed URL that only GET opens (GHCR); 403 there says nothing, and
        "no" is the answer that costs at most one upload.
        """
        with await self._gate.acquire(repository.registry, write=False):
            return await self._has_blob(repository, digest)

    async def _has_blob(self, repository: Repository, digest: Digest) -> bool:
        path, scopes = wire.blob_path(repository, digest), wire.pull_scopes(repository)
        answer = await self._ask(_Call(Operation.HEAD_BLOB, "HEAD", repository, path, scopes, follow=True))
        if answer.status == 200:
            return True
        if answer.status == 404 or not self._own(repository.registry, answer.url):
            return False
        raise _refused("HEAD", answer)

    async def _head(self, repository: Repository, name: str) -> tuple[Digest | None, _Answer]:
        path, scopes = wire.manifest_path(repository, name), wire.pull_scopes(repository)
        call = _Call(Operation.HEAD_MANIFEST, "HEAD", repository, path, scopes, headers=_ACCEPT, follow=True)
        answer = await self._ask(call)
        digest = wire.header_digest(answer.header("Docker-Content-Digest"))
        if answer.status != 200 or (":" in name and digest != name):
            return None, answer
        return digest, answer

    async def _get(self, repository: Repository, name: str) -> Resolved:
        path, scopes = wire.manifest_path(repository, name), wire.pull_scopes(repository)
        call = _Call(Operation.GET_MANIFEST, "GET", repository, path, scopes, headers=_ACCEPT, follow=True)
        answer = await self._ask(call, wire.MANIFEST_LIMIT)
        if answer.status != 200:
            raise _refused("GET", answer)
        where = wire.escape(wire.redact(answer.url))
        _refuse_encoding(answer)
        if len(answer.body) > wire.MANIFEST_LIMIT:
            raise ContentError(
                f"{where} is longer than a manifest may be ({wire.MANIFEST_LIMIT} bytes)", status=200
            )
        named = wire.header_digest(answer.header("Docker-Content-Digest"))
        if ":" in name:
            digest = Digest(name)
            if _hash(digest, answer.body) != digest:
                raise ContentError(
                    f"{where} answered with other bytes, {_hash(digest, answer.body)}", status=200
                )
        else:
            digest = Digest(f"sha256:{hashlib.sha256(answer.body).hexdigest()}")
            if named is not None and named != digest:
                if _hash(named, answer.body) == named:
                    digest = named
                else:  # so many registries send it wrong that it is no error (go-containerregistry, fetcher.go)
                    self._warn(f"{where} says that it is {named}, but its bytes are {digest}")
        return Resolved(digest, RawManifest(answer.body, wire.media_type(answer.header("Content-Type"))))

    @asynccontextmanager
    async def blob(
        self, repository: Repository, digest: Digest, size: int, start: int = 0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """See ``Source.blob``.

        With ``start``, ``ContentError`` means that the registry cannot go on from there (its status is 200 where the
        range was ignored, 206 where another was sent): begin again at 0. A stream that breaks raises ``NetworkError``.
        """
        path, scopes = wire.blob_path(repository, digest), wire.pull_scopes(repository)
        headers = {"Range": f"bytes={start}-"} if start else None
        call = _Call(
            Operation.GET_BLOB, "GET", repository, path, scopes, headers=headers, follow=True, open=(200, 206)
        )
        answer = await self._ask(call)
        try:
            if answer.status not in (200, 206):
                raise _refused("GET", answer)
            _refuse_range(answer, size, start)
            yield _Download(answer, size - start)
        finally:
            answer.response.close()  # gives the connection back where the body has been read to its end

    # --- Writer

    async def start(self, repository: Repository, digest: Digest, mount_from: Repository) -> Upload | None:
        """See ``Writer.start``."""
        try:
            answer = await self._mount(Operation.POST_UPLOAD, repository, digest, mount_from)
        except (
            RegistryError
        ):  # no token for reading ``mount_from``, say: a mount may fail, the upload need not
            return await self._open_session(repository)
        if answer.status == 201 and not wire.contradicts(answer.header("Docker-Content-Digest"), digest):
            return None
        if answer.status == 202:
            return _upload(repository, answer)
        return await self._open_session(repository)

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
        stream = _Stream(body, size)
        try:
            answer = await self._once(self._put(upload, digest, stream, size), wire.ERROR_LIMIT, repeat=False)
        except NetworkError:
            if stream.failure is not None:
                raise stream.failure from None
            raise
        _refuse_commit(answer, digest)
        if stream.handed < size:
            raise RegistryError(
                f"PUT {wire.escape(wire.redact(answer.url))}: committed after {stream.handed} of {size} bytes",
                status=answer.status,
            )

    async def cancel(self, upload: Upload) -> None:
        """See ``Writer.cancel``."""
        scopes = wire.push_scopes(upload.repository)
        call = _Call(Operation.DELETE_UPLOAD, "DELETE", upload.repository, upload.location, scopes)
        try:
            async with asyncio.timeout(_SHORT_TIMEOUT.total):
                await self._once(call, wire.ERROR_LIMIT, repeat=False)
        except (MmgraphError, TimeoutError):
            pass

    async def put_manifest(
        self, repository: Repository, name: str, digest: Digest, manifest: RawManifest
    ) -> None:
        """See ``Writer.put_manifest``."""
        path, scopes = wire.manifest_path(repository, name), wire.push_scopes(repository)
        headers = {"Content-Type": manifest.media_type}
        call = _Call(
            Operation.PUT_MANIFEST, "PUT", repository, path, scopes, headers=headers, data=manifest.raw
        )
        with await self._gate.acquire(repository.registry, write=True):
            answer = await self._ask(call)
            if answer.status != 201:
                raise _refused("PUT", answer)
            if wire.header_digest(answer.header("Docker-Content-Digest")) == digest:
                return
            found, head = await self._head(repository, name)
            if found is None:
                if head.status not in (200, 404, 405):
                    raise _refused("HEAD", head)
                found = (await self._get(repository, name)).digest
            if found != digest:
                raise ContentError(
                    f"{repository}: {name} was put as {digest} and is read back as {found}", status=201
                )

    async def _mount(
        self, operation: Operation, repository: Repository, digest: Digest, mount_from: Repository
    ) -> _Answer:
        path = wire.mount_path(repository, digest, mount_from)
        call = _Call(operation, "POST", repository, path, wire.push_scopes(repository, mount_from))
        return await self._ask(call)

    async def _open_session(self, repository: Repository) -> Upload:
        path, scopes = wire.upload_path(repository), wire.push_scopes(repository)
        answer = await self._ask(_Call(Operation.POST_UPLOAD, "POST", repository, path, scopes))
        if answer.status != 202:
            raise _refused("POST", answer)
        return _upload(repository, answer)

    def _put(self, upload: Upload, digest: Digest, data: bytes | _Stream, size: int) -> _Call:
        url = wire.with_digest(upload.location, digest)
        headers = {**_OCTETS, "Content-Length": str(size)}
        scopes = wire.push_scopes(upload.repository)
        return _Call(Operation.PUT_BLOB, "PUT", upload.repository, url, scopes, headers=headers, data=data)

    async def _send_bytes(self, upload: Upload, digest: Digest, body: bytes) -> None:
        """Commit a small blob. What fails is looked at, then goes into a new session.

        distribution ends the session of a failed commit (``blobupload.go``), and an answer that got lost may have been
        a 201.
        """
        registry = upload.repository.registry
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if attempt > 1:
                    if await self._has_blob(upload.repository, digest):
                        return
                    upload = await self._open_session(upload.repository)
                call = self._put(upload, digest, body, len(body))
                answer = await self._once(call, wire.ERROR_LIMIT, repeat=attempt > 1)
            except NetworkError as error:
                if attempt == _ATTEMPTS or isinstance(error, _PermanentError):
                    raise
                await self._clock.sleep(self._backoff(attempt))
                continue
            lost = answer.status == 404 and attempt == 1  # the session is gone, as after a long wait
            if attempt == _ATTEMPTS or not (lost or self._temporary(registry, answer)):
                _refuse_commit(answer, digest)
                return
            await self._clock.sleep(self._backoff(attempt))

    # --- one request, whatever it takes

    async def _ask(self, call: _Call, limit: int = wire.ERROR_LIMIT) -> _Answer:
        """Send ``call`` until it gets an answer that repeating would not better, at most five times."""
        attempt = 1
        while True:
            try:
                answer = await self._once(call, limit, repeat=attempt > 1)
            except NetworkError as error:
                if attempt == _ATTEMPTS or isinstance(error, _PermanentError):
                    raise
            else:
                if not self._temporary(call.repository.registry, answer) or attempt == _ATTEMPTS:
                    return answer
                if (
                    call.operation is Operation.POST_UPLOAD
                    and "?" in call.url
                    and wire.mount_refused(answer.status)
                ):
                    return answer
            await self._clock.sleep(self._backoff(attempt))
            attempt += 1

    def _temporary(self, registry: Registry, answer: _Answer) -> bool:
        """Whether to ask again later; a Retry-After holds back everybody who asks this registry."""
        if answer.status < 400 or answer.status in (401, 404):
            return False
        if not wire.temporary(answer.status, wire.refusal(answer.body).codes):
            return False
        seconds = wire.retry_after(answer.header("Retry-After"), self._clock.wall())
        if seconds:
            self._gate.pause(registry, seconds)
        return True

    def _backoff(self, attempt: int) -> float:
        """Full jitter: anything up to a bound that doubles, so that those who failed together do not return together."""
        return self._chance.uniform(0, min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (attempt - 1)))

    async def _once(self, call: _Call, limit: int, *, repeat: bool) -> _Answer:
        """Send ``call`` once, with what authorization, detection and redirects need, and read its answer."""
        registry = call.repository.registry
        endpoint = self._endpoints.get(registry)
        if endpoint is None:
            endpoint = self._endpoints[registry] = _Endpoint(registry, plain=registry in self._plain_http)
        await self._gate.passed(registry)
        if endpoint.scouted:
            response, url = await self._authorized(endpoint, call, repeat=repeat)
        else:
            response, url = await self._scouted(endpoint, call, repeat=repeat)
        try:
            if response.status in call.open:
                return _Answer(response, url, None)
            body = b"" if call.method == "HEAD" else await _read(response, limit, call.method, url)
        except BaseException:
            response.close()
            raise
        if call.data is not None and response.status >= 400:
            response.close()  # an answer in mid-body: the rest of it must not be sent
        else:
            response.release()
        return _Answer(response, url, body)

    async def _scouted(
        self, endpoint: _Endpoint, call: _Call, *, repeat: bool
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Let the first request to a registry go alone: it learns of TLS and of the challenge for all that wait."""
        while endpoint.scout is not None:
            await endpoint.scout.wait()
        if endpoint.scouted:
            return await self._authorized(endpoint, call, repeat=repeat)
        endpoint.scout = asyncio.Event()
        try:
            return await self._authorized(endpoint, call, repeat=repeat)
        finally:
            endpoint.scouted = endpoint.decided
            endpoint.scout.set()
            endpoint.scout = None

    async def _authorized(
        self, endpoint: _Endpoint, call: _Call, *, repeat: bool
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Send ``call``, a second time if its 401 shows what was missing, and follow redirects of reads."""
        if not endpoint.decided:
            await self._decide(endpoint)
        own = call.url.startswith("/") or self._own(endpoint.registry, call.url)
        url = endpoint.base + call.url if call.url.startswith("/") else call.url
        for again in (False, True):
            sent = await self._auth.header(call.repository, call.scopes) if own else None
            headers = dict(call.headers) if call.headers else {}
            if sent is not None:
                headers["Authorization"] = sent.reveal()
            response = await self._send(
                endpoint.registry,
                call.operation,
                call.method,
                url,
                headers,
                call.data,
                repeat=repeat or again,
            )
            if response.status != 401 or not own:
                break
            try:
                offers = response.headers.getall("WWW-Authenticate", ())
                better = self._auth.challenged(call.repository, call.scopes, url, offers, sent)
                if again or not better or isinstance(call.data, _Stream):
                    break
                await _read(response, wire.ERROR_LIMIT, call.method, url)
            except BaseException:
                response.close()
                raise
            response.release()
        if call.follow and response.status in _REDIRECTS:
            return await self._follow(endpoint, call, response, url, headers)
        return response, url

    async def _follow(
        self,
        endpoint: _Endpoint,
        call: _Call,
        response: aiohttp.ClientResponse,
        url: str,
        headers: dict[str, str],
    ) -> tuple[aiohttp.ClientResponse, str]:
        """Follow redirects of a read. Authorization stops at the registry's origin, and does not come back after it."""
        for _ in range(wire.REDIRECT_LIMIT):
            location = response.headers.get("Location")
            if location is None or response.status not in _REDIRECTS:
                return response, url
            response.release() if call.method == "HEAD" else response.close()
            url = wire.redirect_target(url, location)
            if not self._own(endpoint.registry, url):
                headers.pop("Authorization", None)
            response = await self._send(
                endpoint.registry, Operation.REDIRECT, call.method, url, headers, None
            )
        if response.status in _REDIRECTS:
            response.close()
            raise RegistryError(
                f"{call.method} {wire.escape(wire.redact(url))}: more than {wire.REDIRECT_LIMIT} redirects",
                status=response.status,
            )
        return response, url

    def _own(self, registry: Registry, url: str) -> bool:
        """Whether ``url`` is of the registry's own origin, the only one that its credentials belong to."""
        base = self._endpoints[registry].base
        return url.startswith(f"{base}/") or wire.origin(url) == wire.origin(base)

    async def _decide(self, endpoint: _Endpoint) -> None:
        """Find out how a loopback registry is spoken to: with TLS, or without where the handshake fails.

        A certificate that does not fit is an answer, not a reason to do without one.
        """
        url = f"{endpoint.base}/v2/"
        try:
            response = await self._send(endpoint.registry, Operation.PING, "GET", url, {}, None)
        except _PermanentError:
            raise
        except NetworkError as error:
            plain = f"http://{wire.host(endpoint.registry)}"
            try:
                response = await self._send(
                    endpoint.registry, Operation.PING, "GET", f"{plain}/v2/", {}, None
                )
            except NetworkError:
                raise error from None
            endpoint.base = plain
        endpoint.decided = True
        await _read(response, wire.ERROR_LIMIT, "GET", url)
        response.release()

    async def _send(
        self,
        registry: Registry,
        operation: Operation,
        method: str,
        url: str,
        headers: dict[str, str],
        data: bytes | _Stream | None,
        *,
        repeat: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send one request and return the response with its headers; this is one request on the wire, and counted."""
        if self._session is None:
            raise InternalError("the client is used outside of its context")
        if repeat:
            self.retries[registry, operation] += 1
        else:
            counts = self._counts.get(registry)
            if counts is None:
                counts = self._counts[registry] = Counter()
            counts[operation] += 1
        try:
            return await self._session.request(
                method, URL(url, encoded=True), headers=headers, data=data, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, _WriteError) as error:
            raise _failed(method, url, error) from error

    async def _fetch_token(
        self, registry: Registry, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = await self._send(
                    registry, Operation.TOKEN, method, url, dict(headers), body, repeat=attempt > 1
                )
                content = await _read(response, wire.TOKEN_LIMIT, method, url)
                response.release()
            except NetworkError as error:
                if attempt == _ATTEMPTS or isinstance(error, _PermanentError):
                    raise
            else:
                if attempt == _ATTEMPTS or not wire.temporary(response.status):
                    return response.status, content
            await self._clock.sleep(self._backoff(attempt))
        raise InternalError("unreachable")


class _Download:
    """A blob's bytes as they come: exactly as many as promised, or an error."""

    __slots__ = ("_answer", "_left")

    def __init__(self, answer: _Answer, size: int) -> None:
        self._answer = answer
        self._left = size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._answer.response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _failed("GET", self._answer.url, error) from error
        if chunk:
            self._left -= len(chunk)
            if self._left < 0:
                raise ContentError(f"GET {_shown(self._answer)}: more bytes than the blob has", status=200)
            return chunk
        if self._left:
            raise NetworkError(f"GET {_shown(self._answer)}: ended {self._left} bytes early")
        raise StopAsyncIteration


async def _read(response: aiohttp.ClientResponse, limit: int, method: str, url: str) -> bytes:
    """Return the body, or, of one that is longer than ``limit``, a part that is longer than it too; then it is closed."""
    try:
        length = response.content_length
        if length is not None and length <= limit:
            return await response.read()
        parts, size = [], 0
        while size <= limit and (part := await response.content.readany()):
            parts.append(part)
            size += len(part)
        if size > limit:
            response.close()
        return b"".join(parts)[: limit + 1]
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        response.close()
        raise _failed(method, url, error) from error
    except BaseException:
        response.close()
        raise


def _shown(answer: _Answer) -> str:
    return wire.escape(wire.redact(answer.url))


def _hash(digest: Digest, body: bytes) -> str:
    return f"{digest.algorithm}:{hashlib.new(digest.algorithm, body).hexdigest()}"


def _upload(repository: Repository, answer: _Answer) -> Upload:
    location = answer.header("Location")
    if location is None:
        raise RegistryError(f"POST {_shown(answer)}: 202 without a Location", status=202)
    return Upload(repository, wire.upload_location(answer.url, location))


def _refused(method: str, answer: _Answer) -> RegistryError:
    """The error for an answer that is none of those hoped for."""
    said = wire.refusal(answer.body)
    words = ": ".join(filter(None, (", ".join(said.codes), said.message)))
    return RegistryError(
        f"{method} {_shown(answer)}: {answer.status}{f' {words}' if words else ''}",
        status=answer.status,
        codes=said.codes,
        detail=said.digests,
    )


def _refuse_encoding(answer: _Answer) -> None:
    encoding = answer.header("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        # Apache's x-gzip and S3 metadata do this (moby/moby#17595); the digest is of the bytes before it.
        raise ContentError(
            f"GET {_shown(answer)}: sent as {wire.escape(encoding, 40)}, which was not asked for", status=200
        )


def _refuse_range(answer: _Answer, size: int, start: int) -> None:
    """Raise ``ContentError`` where a blob's answer shows by its headers that these are not the bytes asked for."""
    _refuse_encoding(answer)
    if answer.status == 200 and start:
        raise ContentError(f"GET {_shown(answer)}: the range from {start} was ignored", status=200)
    if answer.status == 206:
        span = wire.content_range(answer.header("Content-Range"))
        if span is None or span[0] != start or span[2] not in (None, size):
            raise ContentError(f"GET {_shown(answer)}: another range than from {start} of {size}", status=206)
    length = answer.response.content_length
    if length is not None and length != size - start:
        raise ContentError(f"GET {_shown(answer)}: {length} bytes, not {size - start}", status=answer.status)


def _refuse_commit(answer: _Answer, digest: Digest) -> None:
    # 204 is ECR's and some proxies' way to say so; 200 is what a web server says to everything.
    if answer.status not in (201, 204):
        raise _refused("PUT", answer)
    if wire.contradicts(answer.header("Docker-Content-Digest"), digest):
        raise ContentError(f"PUT {_shown(answer)}: committed as another blob", status=answer.status)


def _failed(method: str, url: str, error: BaseException) -> MmgraphError:
    """What an exception of aiohttp means for us."""
    where = f"{method} {wire.escape(wire.redact(url))}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _PermanentError(
            f"{where}: the certificate does not fit: {wire.escape(str(error.certificate_error))}"
        )
    if isinstance(error, aiohttp.InvalidURL) or type(error) is ValueError:
        return RegistryError(f"{where}: not a URL that can be asked")
    if isinstance(error, aiohttp.ClientResponseError):
        return NetworkError(f"{where}: not an HTTP answer: {wire.escape(error.message)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NetworkError(f"{where}: the host name is not known")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return NetworkError(f"{where}: no answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return NetworkError(f"{where}: the connection was closed before the answer was complete")
    text = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return NetworkError(f"{where}: {wire.escape(text)}")
