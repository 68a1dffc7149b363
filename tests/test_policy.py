"""What an answer means for repetition: the table, the delays, Docker Hub's rate headers."""

from __future__ import annotations

import pytest

from mmgraph.registry.policy import (
    LONGEST_DELAY,
    TABLE,
    Amount,
    Verdict,
    amount,
    asked_to_wait,
    classify,
    delay_bound,
    limited_class,
    read_only,
    unclear,
)
from mmgraph.store import Operation

NOW = 1_800_000_000.0
GET, POST, PUT = Operation.GET_BLOB, Operation.POST_UPLOAD, Operation.PUT_BLOB


@pytest.mark.parametrize(
    ("operation", "status", "codes", "expected"),
    [
        (GET, 429, (), Verdict.WAIT),
        (GET, 403, ("TOOMANYREQUESTS",), Verdict.WAIT),
        (GET, 503, ("TOOMANYREQUESTS",), Verdict.WAIT),
        (GET, 408, (), Verdict.AGAIN),
        (GET, 499, (), Verdict.AGAIN),
        (GET, 500, (), Verdict.AGAIN),
        (GET, 502, (), Verdict.AGAIN),
        (GET, 503, (), Verdict.AGAIN),
        (GET, 504, (), Verdict.AGAIN),
        (GET, 522, (), Verdict.AGAIN),
        (GET, 500, ("UNKNOWN",), Verdict.AGAIN),
        (GET, 404, ("UNKNOWN",), Verdict.FINAL),
        (GET, 400, ("UNAVAILABLE",), Verdict.AGAIN),
        (GET, 501, (), Verdict.FINAL),
        (GET, 505, (), Verdict.FINAL),
        (GET, 401, (), Verdict.FINAL),
        (GET, 404, (), Verdict.FINAL),
        (GET, 416, (), Verdict.FINAL),
        (POST, 404, ("NAME_UNKNOWN",), Verdict.FINAL),
        (POST, 403, ("DENIED",), Verdict.FINAL),
        (POST, 405, ("UNSUPPORTED",), Verdict.FINAL),
        (PUT, 401, (), Verdict.SESSION),
        (PUT, 401, ("UNAUTHORIZED",), Verdict.FINAL),
        (PUT, 404, (), Verdict.SESSION),
        (PUT, 404, ("BLOB_UPLOAD_INVALID",), Verdict.SESSION),
        (PUT, 400, ("BLOB_UPLOAD_UNKNOWN",), Verdict.SESSION),
        (PUT, 404, ("NAME_UNKNOWN",), Verdict.FINAL),
        (PUT, 416, (), Verdict.SESSION),
        (PUT, 413, (), Verdict.FINAL),
        (PUT, 400, ("DIGEST_INVALID",), Verdict.FINAL),
        (Operation.PUT_MANIFEST, 404, ("MANIFEST_BLOB_UNKNOWN",), Verdict.FINAL),
        (Operation.PUT_MANIFEST, 500, (), Verdict.AGAIN),
    ],
)
def test_classify(operation: Operation, status: int, codes: tuple[str, ...], expected: Verdict) -> None:
    """Operation, status and code together say whether it passes, must wait, lost its session, or is meant."""
    assert expected == classify(operation, status, codes)


def test_every_row_has_a_source() -> None:
    """No rule is in the table without saying where it comes from."""
    assert [] == [row for row in TABLE if not row.source]


def test_no_answer_raises() -> None:
    """Every status there can be has a verdict for every operation."""
    found = {type(classify(operation, status)) for operation in Operation for status in range(400, 1000)}
    expected = {Verdict}
    assert expected == found


@pytest.mark.parametrize(
    ("status", "expected"), [(500, True), (504, True), (408, True), (429, False), (403, False), (404, False)]
)
def test_unclear(status: int, expected: bool) -> None:
    """A write that was refused for sure has not taken effect; one that broke may have."""
    assert expected == unclear(status)


def test_delays_double_up_to_a_cap() -> None:
    """The bound of the wait doubles from half a second and stays at its cap, however often it failed."""
    expected = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_DELAY, LONGEST_DELAY]
    assert expected == [delay_bound(attempt) for attempt in (1, 2, 3, 4, 5, 6, 7, 10_000)]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": "Fri, 15 Jan 2027 08:00:20 GMT"}, 20.0),
        ({"Retry-After": str(int(NOW) + 40)}, 40.0),
        ({"X-Retry-After": str(int(NOW) + 50)}, 50.0),
        ({"Retry-After": "7", "X-Retry-After": str(int(NOW) + 50)}, 7.0),
        ({"Retry-After": "junk", "X-Retry-After": str(int(NOW) + 50)}, 50.0),
        ({"Retry-After": "-1"}, None),
        ({}, None),
    ],
)
def test_asked_to_wait(headers: dict[str, str], expected: float | None) -> None:
    """Seconds, dates and Unix times are read, and Docker Hub's own header where the standard one says nothing."""
    assert expected == asked_to_wait(headers, NOW)


@pytest.mark.parametrize(
    ("operation", "codes", "expected"),
    [
        (Operation.GET_MANIFEST, ("TOOMANYREQUESTS",), Operation.GET_MANIFEST),
        (Operation.GET_MANIFEST, (), None),
        (Operation.GET_BLOB, ("TOOMANYREQUESTS",), None),
    ],
)
def test_limited_class(operation: Operation, codes: tuple[str, ...], expected: Operation | None) -> None:
    """A quota of manifests is about manifests alone; every other limit is about the registry."""
    assert expected == limited_class(operation, codes)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (403, "DENIED The system is in read only mode. Any modification is prohibited.", True),
        (405, "DENIED System is currently read-only.", True),
        (403, "DENIED requested access to the resource is denied", False),
        (400, "read-only", False),
    ],
)
def test_read_only(status: int, message: str, expected: bool) -> None:
    """Harbor's and Quay's words for taking no writes at all are understood."""
    assert expected == read_only(status, message)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("100;w=21600", Amount(100, 21600)),
        ("76 ;w=21600", Amount(76, 21600)),
        ("0;w=60", Amount(0, 60)),
        ("100", None),
        ("-1;w=1", None),
        ("9" * 30 + ";w=1", None),
        ("", None),
        (None, None),
    ],
)
def test_amount(header: str | None, expected: Amount | None) -> None:
    """Rate headers with a window are read, and anything else is nothing."""
    assert expected == amount(header)
