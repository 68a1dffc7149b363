"""Answers that are not the ones hoped for, as errors: who refused what, in whose words, after how many tries.

Owns those judgements of one answer. Must not know what is done about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.errors import ContentError, RegistryError
from mmgraph.names import Digest
from mmgraph.oci import digest_of
from mmgraph.registry import wire
from mmgraph.registry.blame import other_bytes, sentence
from mmgraph.registry.origins import upload_location
from mmgraph.registry.policy import Verdict
from mmgraph.store import Operation, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgraph.names import Repository
    from mmgraph.registry.bodies import Answer


class OtherBytesError(ContentError):
    """A manifest's bytes are not those that were asked for, but ``found``; says so after how many readings."""

    def __init__(self, answer: Answer, found: Digest) -> None:
        super().__init__("", status=answer.status)
        self._shown = answer.shown
        self._url, self._found = answer.url, found

    def __str__(self) -> str:
        return f"{other_bytes(self._url, self._found, self.tries)} [{self._shown}]"


def proven(answer: Answer, name: str, warn: Callable[[str], None]) -> Digest:
    """Return the digest of a manifest, which must be ``name`` where that is one; raise where there is none to read.

    Not the header's: CVE-2025-24882 was to believe it. On a tag so many registries send a wrong one that
    it is no error (go-containerregistry, ``fetcher.go``), and ``warn`` hears of it.
    """
    if answer.status != 200:
        raise refused(answer)
    refuse_encoding(answer)
    if len(answer.body) > wire.MANIFEST_LIMIT:
        raise ContentError(f"{answer.shown}: longer than {wire.MANIFEST_LIMIT} bytes", status=200)
    if ":" in name:
        wanted = Digest(name)
        found = digest_of(answer.body, wanted.algorithm)
        if found != wanted:
            raise OtherBytesError(answer, found)
        return wanted
    named = wire.header_digest(answer.header("Docker-Content-Digest"))
    if named is not None and named == digest_of(answer.body, named.algorithm):
        return named
    found = digest_of(answer.body)
    if named is not None:
        warn(f"{answer.shown}: named {named}, but the bytes are {found}")
    return found


class RefusedError(RegistryError):
    """A registry's own refusal of ``operation``, as against that of its token service."""

    operation = Operation.PING


def refused(answer: Answer) -> RegistryError:
    """The error for an answer that is none of those hoped for."""
    said = answer.said
    words = sentence(
        answer.operation, answer.url, answer.status, said.codes, said.message, answer.advice, answer.tries
    )
    error = RefusedError(
        f"{words} [{answer.shown}]",
        status=answer.status,
        codes=said.codes,
        detail=said.digests,
    )
    error.operation = answer.operation
    error.tries = max(1, answer.tries)
    # Of a host elsewhere nothing is known at the gate: what was given up there is waited for no more.
    error.waits = answer.verdict is Verdict.WAIT and (answer.own or not answer.tries)
    error.final = answer.tries > 0 or answer.verdict in (None, Verdict.FINAL)
    return error


def refuse_encoding(answer: Answer) -> None:
    """Raise ``ContentError`` where the body is encoded, which was not asked for."""
    encoding = answer.header("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        # Apache does this with x-gzip (moby/moby#17595); digest and size are of the bytes before it.
        shown = wire.escape(encoding, 40)
        raise ContentError(
            f"{answer.shown}: encoded as {shown}, which was not asked for", status=answer.status
        )


def refuse_other_bytes(answer: Answer, size: int, start: int) -> None:
    """Raise ``ContentError`` where a blob's headers show already that these are not the bytes asked for."""
    refuse_encoding(answer)
    if answer.status == 200 and start:
        raise ContentError(f"{answer.shown}: the range from {start} was ignored", status=200)
    if answer.status == 206:
        span = wire.content_range(answer.header("Content-Range"))
        if span is None or span[0] != start or span[2] not in (None, size):
            raise ContentError(f"{answer.shown}: another range than from {start} of {size}", status=206)
    if answer.length is not None and answer.length != size - start:
        raise ContentError(f"{answer.shown}: {answer.length} bytes, not {size - start}", status=answer.status)


def refuse_commit(answer: Answer, digest: Digest) -> bool:
    """Raise where an upload was not committed as ``digest``; return whether that is still to be seen.

    An answer that names the blob by another algorithm proves nothing (distribution 2.8 answers so to sha512).
    """
    if answer.status not in (201, 204):
        raise refused(answer)
    header = answer.header("Docker-Content-Digest")
    if wire.contradicts(header, digest):
        raise ContentError(f"{answer.shown}: committed as another blob", status=answer.status)
    named = wire.header_digest(header)
    return named is not None and named.algorithm != digest.algorithm


def opened(repository: Repository, answer: Answer) -> Upload:
    """Return the upload session that a 202 opened, or raise ``ContentError``."""
    location = answer.header("Location")
    if location is None:
        raise ContentError(f"{answer.shown}: 202 without a Location", status=202)
    return Upload(repository, upload_location(answer.url, location))
