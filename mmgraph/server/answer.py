"""What a handler says: an Answer, or a Refusal in the distribution-spec's words. Knows nothing of sockets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class Code(StrEnum):
    """The error codes of the distribution-spec ("Error Codes"), and the two that every registry adds."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    UNAUTHORIZED = "UNAUTHORIZED"
    DENIED = "DENIED"
    UNSUPPORTED = "UNSUPPORTED"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    TAG_INVALID = "TAG_INVALID"
    RANGE_INVALID = "RANGE_INVALID"
    UNKNOWN = "UNKNOWN"


class Slice(msgspec.Struct, frozen=True):
    """``length`` bytes of an open file from offset ``start``; whoever sends them closes the file."""

    file: BinaryIO
    start: int
    length: int


class Answer(msgspec.Struct, frozen=True):
    """A whole HTTP answer; ``length`` is the Content-Length where the body is not sent (HEAD)."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes | Slice = b""
    length: int | None = None

    @property
    def content_length(self) -> int:
        """The length to announce, in bytes."""
        if self.length is not None:
            return self.length
        return self.body.length if isinstance(self.body, Slice) else len(self.body)


class Refusal(Exception):
    """An answer that refuses, as the distribution-spec's JSON."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = tuple(str(detail) for detail in details)
        self.headers = dict(headers or {})

    def answer(self) -> Answer:
        """Return the refusal as an answer: one error for each detail, one in all where there is none."""
        error: dict[str, object] = {"code": str(self.code), "message": self.message}
        errors = [{**error, "detail": detail} for detail in self.details] or [error]
        headers = {"Content-Type": "application/json", **self.headers}
        return Answer(self.status, headers, msgspec.json.encode({"errors": errors}))
