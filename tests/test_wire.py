"""The protocol's rules, and text from strangers that tries to break them."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import ContentError
from mmgraph.names import Digest, Registry, Repository
from mmgraph.registry import wire

A = Digest(f"sha256:{'a' * 64}")
B = Digest(f"sha256:{'b' * 64}")
APP = Repository(Registry("registry.example.com"), "team/app")
BASE = Repository(Registry("registry.example.com"), "team/base")


@pytest.mark.parametrize(
    ("registry", "expected"),
    [("docker.io", "registry-1.docker.io"), ("quay.io", "quay.io"), ("localhost:5000", "localhost:5000")],
)
def test_host(registry: str, expected: str) -> None:
    """Docker Hub's API is served under another name than its own."""
    assert expected == wire.host(Registry.parse(registry))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (wire.manifest_path(APP, "v1"), "/v2/team/app/manifests/v1"),
        (wire.blob_path(APP, A), f"/v2/team/app/blobs/{A}"),
        (wire.tags_path(APP), "/v2/team/app/tags/list?n=1"),
        (wire.upload_path(APP), "/v2/team/app/blobs/uploads/"),
        (wire.mount_path(APP, A, BASE), f"/v2/team/app/blobs/uploads/?mount={A}&from=team/base"),
    ],
)
def test_paths(found: str, expected: str) -> None:
    """Paths are the distribution-spec's end-points."""
    assert expected == found


@pytest.mark.parametrize(
    ("mount_from", "expected"),
    [
        (None, ("repository:team/app:pull,push",)),
        (APP, ("repository:team/app:pull,push",)),
        (BASE, ("repository:team/app:pull,push", "repository:team/base:pull")),
    ],
)
def test_push_scopes(mount_from: Repository | None, expected: tuple[str, ...]) -> None:
    """A mount's token may also read the other repository, and names the push scope first."""
    assert expected == wire.push_scopes(APP, mount_from)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("mirror.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.8.7", True),
        ("[::1]:5000", True),
        ("10.0.0.1:5000", False),
        ("192.168.1.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("docker.io", False),
        ("[::2]", False),
        ("0.0.0.0:5000", False),
    ],
)
def test_plain_http_allowed(registry: str, expected: bool) -> None:
    """Only names of this very machine may be spoken to without TLS unasked."""
    assert expected == wire.plain_http_allowed(Registry.parse(registry))


UPLOAD = "https://registry.example.com/v2/team/app/blobs/uploads/?mount=x"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/u/1?_state=a%2Bb&x=", "https://registry.example.com/v2/u/1?_state=a%2Bb&x="),
        ("?_state=%7E%2f", "https://registry.example.com/v2/team/app/blobs/uploads/?_state=%7E%2f"),
        ("1234?s=1", "https://registry.example.com/v2/team/app/blobs/uploads/1234?s=1"),
        ("../1234?s=../x", "https://registry.example.com/v2/team/app/blobs/1234?s=../x"),
        ("https://s3.example.net/b?X-Sig=%3A==", "https://s3.example.net/b?X-Sig=%3A=="),
        ("//s3.example.net/b", "https://s3.example.net/b"),
        ("/v2/u/a%2Fb/../c", "https://registry.example.com/v2/u/a%2Fb/../c"),
        ("HTTPS://registry.example.com/x", "HTTPS://registry.example.com/x"),
        ("/x#fragment", "https://registry.example.com/x"),
    ],
)
def test_resolve(location: str, expected: str) -> None:
    """Every form of Location is resolved, and no byte of its path or query changes."""
    assert expected == wire.resolve(UPLOAD, location)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/x y",
        "/x\r\nHost: evil",
        "ftp://registry.example.com/",
        "file:///etc/passwd",
        "https://user:secret@registry.example.com/",
        "https://",
        "https://registry.example.com:99999/",
        "https://[::1/",
        "/\N{LATIN SMALL LETTER E WITH ACUTE}",
        "/" + "x" * 40_000,
    ],
)
def test_resolve_refuses(location: str) -> None:
    """What is no http address, or could smuggle a header or a password, is refused."""
    with pytest.raises(ContentError):
        wire.resolve(UPLOAD, location)


@pytest.mark.parametrize(
    "location", ["https://user:secret@registry.example.com/?t=secret", "ftp://h/?t=secret"]
)
def test_refusals_keep_secrets(location: str) -> None:
    """The message about a refused Location shows neither password nor query."""
    with pytest.raises(ContentError) as caught:
        wire.resolve(UPLOAD, location)
    assert "secret" not in str(caught.value)


@given(st.text(), st.text())
def test_resolve_raises_only_what_it_declares(url: str, location: str) -> None:
    """Any text at all is resolved or refused with ContentError."""
    for base in (UPLOAD, f"https://h/{url}"):
        try:
            wire.resolve(base, location)
        except ContentError:
            continue


@given(st.from_regex(r"[?/][A-Za-z0-9%._~=&+:@!$'()*,;/-]{0,80}", fullmatch=True))
def test_resolve_keeps_bytes(location: str) -> None:
    """Path-absolute and query-only Locations come out as they went in."""
    if not location.startswith("//"):
        assert wire.resolve(UPLOAD, location).endswith(location)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://h/u", f"https://h/u?digest={A}"),
        ("https://h/u?_s=a%2Bb&x=", f"https://h/u?_s=a%2Bb&x=&digest={A}"),
    ],
)
def test_with_digest(location: str, expected: str) -> None:
    """The digest is appended and nothing before it touched."""
    assert expected == wire.with_digest(location, A)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/u?X-Sig=abc&n=1&_state=x", "https://h/u?X-Sig=***&n=1&_state=***"),
        (f"https://h/u?mount={A}&from=a/b", f"https://h/u?mount={A}&from=a/b"),
        ("https://user:pass@h/u", "https://***@h/u"),
        ("/v2/", "/v2/"),
    ],
)
def test_redact(url: str, expected: str) -> None:
    """Signatures, session state and user names do not reach messages."""
    assert expected == wire.redact(url)


def test_escape() -> None:
    """Colour codes, bidirectional overrides and zero-width characters are made visible, long text is cut."""
    text = "ok\x1b[31m\x07\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}\r\n\x9b" + "x" * 300
    expected = r"ok\x1b[31m\x07\u202e\u200b\r\n\x9b" + "x" * 4 + "…"
    assert expected == wire.escape(text, 17)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 0-9/10", (0, 9, 10)),
        ("bytes 5-9/*", (5, 9, None)),
        ("BYTES 5-9/10", (5, 9, 10)),
        ("bytes 9-5/10", None),
        ("bytes 0-10/10", None),
        ("bytes */10", None),
        ("0-9", None),
        ("bytes 0-99999999999999999999/*", None),
        ("", None),
        (None, None),
    ],
)
def test_content_range(header: str | None, expected: tuple[int, int, int | None] | None) -> None:
    """Only a Content-Range that makes sense is one."""
    assert expected == wire.content_range(header)


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("1000000000", 1e9),
        (str(int(NOW) + 30), 30.0),
        (str(int(NOW) - 30), 0.0),
        (email.utils.formatdate(NOW + 20, usegmt=True), 20.0),
        (email.utils.formatdate(NOW - 20, usegmt=True), 0.0),
        ("-1", None),
        ("soon", None),
        ("nan", None),
        ("", None),
        (None, None),
        ("Thu, 99 Foo 2999", None),
        ("9" * 30, None),
    ],
)
def test_retry_after(header: str | None, expected: float | None) -> None:
    """Seconds, dates and Unix times are understood; junk is none."""
    assert expected == wire.retry_after(header, NOW)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('299 - "old"', ["old"]),
        ('299 - "a", 299 registry.example:5000 "b"', ["a", "b"]),
        ('299 - "say \\"so\\", and \\\\ too"', ['say "so", and \\ too']),
        ('299 - "dated" "Fri, 15 Jan 2027 08:01:30 GMT"', ["dated"]),
        ('110 cache "299 - \\"no\\", 299 - ", 299 - "yes"', ["yes"]),
        ('junk, , 299, 299 - , 299 - bare, 299 - "", 1299 - "no", 299 "no", 299 - "yes"', ["yes"]),
        ('299 - "without an end', []),
        ('299 - "without an end\\', []),
        ("", []),
        (", " * 300_000 + '299 - "after a lot"', ["after a lot"]),
        ('299 - "' + '\\"' * 500_000, []),
    ],
)
def test_warnings(header: str, expected: list[str]) -> None:
    """The texts of code 299 alone are found, wherever they stand; junk is none."""
    assert expected == wire.warnings(header)


@given(st.text())
def test_headers_of_strangers(text: str) -> None:
    """No header value makes its parser raise."""
    wire.retry_after(text, NOW)
    wire.content_range(text)
    wire.header_digest(text)
    wire.media_type(text)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("application/json; charset=utf-8", "application/json"),
        ("application/json", "application/json"),
        (None, ""),
    ],
)
def test_media_type(header: str | None, expected: str) -> None:
    """A Content-Type loses its parameters."""
    assert expected == wire.media_type(header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(A, False), (B, True), (None, False), ("a" * 64, False), (f"sha512:{'a' * 128}", False)],
)
def test_contradicts(header: str | None, expected: bool) -> None:
    """Only a well-formed digest of the same algorithm can contradict."""
    assert expected == wire.contradicts(header, A)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            f'{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown","detail":"{A}"}}]}}',
            wire.Refusal(("MANIFEST_BLOB_UNKNOWN",), "blob unknown", (A,)),
        ),
        (
            f'{{"errors":[{{"code":"X","detail":{{"digest":"{A}"}}}},{{"code":"Y","detail":{{"Digest":"{B}"}}}}]}}',
            wire.Refusal(("X", "Y"), "", (A, B)),
        ),
        (
            f'{{"errors":[{{"code":"X","detail":["{A}",{{"blob":"{B}"}}]}}]}}',
            wire.Refusal(("X",), "", (A, B)),
        ),
        (
            f'{{"errors":[{{"code":"X","message":"layer {A} is gone"}}]}}',
            wire.Refusal(("X",), f"layer {A} is gone", (A,)),
        ),
        (
            '{"errors":[{"code":"UNAUTHORIZED","message":"no","detail":[{"Type":"repository"}]}]}',
            wire.Refusal(("UNAUTHORIZED",), "no"),
        ),
        ('{"message":"rate limited"}', wire.Refusal((), "rate limited")),
        ('{"errors":null}', wire.Refusal()),
        ("<html>\n<b>502</b>", wire.Refusal((), "<html> <b>502</b>")),
        ("", wire.Refusal()),
        ("[" * 60_000, wire.Refusal((), "[" * 240 + "…")),
        ('{"errors":[{"code":"a\\u001b[1mb","message":"\\u001b]8;;x"}]}', wire.Refusal((), r"\x1b]8;;x")),
    ],
)
def test_refusal(body: str, expected: wire.Refusal) -> None:
    """Codes, message and digests are read from all shapes that registries send, and nothing else is."""
    assert expected == wire.refusal(body.encode())


@given(st.binary() | st.text().map(str.encode))
def test_refusal_takes_anything(body: bytes) -> None:
    """An error body of any bytes is read without an exception and without control characters."""
    assert wire.refusal(body).message.isprintable()


def test_query_keeps_the_realms_own() -> None:
    """What a realm's query holds already stays; scopes are appended in order."""
    found = wire.query(
        "https://h/t?a=%2B", [("service", "x y"), ("scope", "repository:a/b:pull,push"), ("scope", "s2")]
    )
    expected = "https://h/t?a=%2B&service=x%20y&scope=repository:a/b:pull,push&scope=s2"
    assert expected == found


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (201, False),
        (202, False),
        (400, True),
        (401, True),
        (404, True),
        (405, True),
        (500, True),
        (429, False),
        (503, False),
    ],
)
def test_mount_refused(status: int, expected: bool) -> None:
    """Any no to a mount is got around, save one that asks to wait."""
    assert expected == wire.mount_refused(status)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b"<Code>SignatureDoesNotMatch</Code><Message>Wrong.</Message><Sent>canary-signature</Sent>",
            "SignatureDoesNotMatch: Wrong.",
        ),
        (b"no canary-signature here", "no *** here"),
        (b"no canary+signature here", "no *** here"),
        (b"see https://x.example/?token=abc&n=1, please", "see https://x.example/?token=***&n=*** please"),
        (b"what? no = 1", "what? no = 1"),
    ],
)
def test_an_error_body_that_quotes_the_request_gives_no_secret_away(body: bytes, expected: str) -> None:
    """Object stores quote the signature, and what was signed, to whoever failed."""
    urls = ["https://s.example/b?sig=canary-signature", "https://s.example/b?sig=canary%2Bsignature"]
    assert expected == next(
        message for url in urls if "canary" not in (message := wire.refusal(body, url).message)
    )
