"""Everything that reads a stranger's text: nothing but the declared errors, and linear time, counted in steps."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmgraph import oci, saved
from mmgraph.cli import config
from mmgraph.errors import ContentError, RegistryError, SpecError
from mmgraph.names import Digest, Platform, Reference, Registry, Repository
from mmgraph.registry import policy, wire
from mmgraph.registry.challenge import challenges
from mmgraph.registry.logins import Logins
from mmgraph.registry.origins import Opening, Trust, realm
from mmgraph.registry.proxies import Proxies
from mmgraph.server.routes import target
from mmgraph.specs import read_specs
from tests.support.making import Bench, index, manifest
from tests.support.steps import Steps, counted, lines

FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SHA = "sha256:" + "a" * 64
HERE = "https://registry.example/v2/"


def _plan() -> bytes:
    child = manifest("c", "l1", "l2")
    bench = Bench(child, root := index({"linux/amd64": child}), other := manifest("c", "l3"))
    bench.want("a:1", "a:1", root)
    bench.want("b:1", "b:1", other, now=child)
    return saved.write(bench.plan(), "test")


PLAN = _plan()
SPECS = json.dumps(
    {
        "src": "src.example/app:v1",
        "dst": "dst.example/app:v1",
        "transform": {"limitPlatforms": ["linux/amd64"]},
    }
).encode()
DESCRIPTOR = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": SHA, "size": 7}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": oci.OCI_MANIFEST,
    "config": DESCRIPTOR,
    "layers": [DESCRIPTOR] * 2,
}
PLATFORM = {"os": "linux", "architecture": "arm", "variant": "v7"}
INDEX = {
    "schemaVersion": 2,
    "mediaType": oci.OCI_INDEX,
    "manifests": [DESCRIPTOR | {"mediaType": oci.OCI_MANIFEST, "platform": PLATFORM}],
}
LOGINS = {
    "auths": {
        "registry.example": {"auth": "dXNlcjpwYXNz"},
        "https://index.docker.io/v1/": {"identitytoken": "x"},
    },
    "credHelpers": {"ecr.example": "ecr-login"},
    "credsStore": "desktop",
}
ERRORS = {"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "no", "detail": {"digest": SHA}}]}


TOML = """jobs = 4
plain-http = ["a.example"]
[apply]
keep-going = true
[registry."r.example:5000"]
ca = "corporate.pem"
jobs = 2
trust-realm = ["auth.example"]
"""


class Held(type(Path())):  # type: ignore[misc]
    """A file that is not on the disk."""

    content = b""

    def open(self, *arguments: Any, **options: Any) -> Any:
        """Open it."""
        return io.BytesIO(self.content)


def options(text: str) -> object:
    """Read mmgraph.toml as far as no command is needed."""
    file = Held("mmgraph.toml")
    file.content = _bytes(text)
    return config._of_registries(config.read(file).get("registry", {}))


class Parser(NamedTuple):
    """What reads, what it may raise, what it is meant for, and pieces that are worth repeating."""

    read: Callable[[Any], object]
    raises: tuple[type[Exception], ...]
    seeds: tuple[str, ...]
    pumps: tuple[str, ...] = ("a", "A", "0", " ", ",", "/", ":", "@", ".", "-", "_", '"', "\\", "%2f", "é")


PARSERS = {
    "challenge": Parser(
        lambda text: challenges([text, text]),
        (),
        (
            'Bearer realm="https://auth.example/token",service="x",scope="repository:a:pull,push"',
            'Negotiate YII=, Basic realm="a\\"b", Digest qop="auth,auth-int"',
        ),
        ('a="b",', "a=b,", "Basic ", "a, ", '"', '\\"', 'a="\\', "=", "a=", " ", ",", "a a=a,"),
    ),
    "Location": Parser(
        lambda text: wire.resolve(HERE, text),
        (ContentError,),
        (
            "/v2/a/blobs/uploads/1?_state=a%2Bb",
            "https://cdn.example:8443/x%2Fy?sig=a+b==",
            "?x=1",
            "../x",
            "//h/x",
        ),
        ("../", "./", "/", "?", "#", "%2f", "a", ":", "@", "//", "http://"),
    ),
    "realm": Parser(
        lambda text: realm(Registry("registry.example"), HERE, text, Trust()),
        (RegistryError,),
        ("https://auth.registry.example/token?a=b", "http://127.0.0.1/", "/token"),
    ),
    "reference": Parser(
        Reference.parse,
        (SpecError,),
        ("registry.example:5000/a/b_c__d-e:v1.2", f"alpine@{SHA}", f"localhost/a:1@{SHA}", "[::1]:5000/a"),
        ("a", "a/", "a.", "a-", "a_", "__", "-", "A", ":", "@", "1", "a:", "sha256:", "[", ":1"),
    ),
    "registry": Parser(Registry.parse, (SpecError,), ("registry.example:5000", "[::1]:80", "localhost")),
    "repository": Parser(Repository.parse, (SpecError,), ("registry.example/a/b", "a")),
    "platform": Parser(Platform.parse, (SpecError,), ("linux/arm/v7", "windows(10.0.17763)/amd64", "arm64")),
    "digest": Parser(Digest.parse, (SpecError,), (SHA, "sha512:" + "0" * 128)),
    "Docker-Content-Digest": Parser(wire.header_digest, (), (SHA,)),
    "Content-Range": Parser(
        wire.content_range,
        (),
        ("bytes 0-9/10", "bytes 5-9/*", "BYTES\t1-2/3"),
        ("0", " ", "-", "/", "9-", "*"),
    ),
    "Retry-After": Parser(
        lambda text: wire.retry_after(text, 1.8e9),
        (),
        ("7", "1800000050", "Fri, 15 Jan 2027 08:01:30 GMT", "0.5", "Fri, 15 Jan 2027 08:01:30 -0000"),
        ("0", "9", ".", " ", ":", ",", "a", "-", "(", "((", "\\", "Fri, "),
    ),
    "Warning": Parser(
        wire.warnings,
        (),
        ('299 - "old", 110 a.example:80 "stale" "Fri, 15 Jan 2027 08:01:30 GMT", 299 - "a \\"b\\", c"',),
        ("299", " ", "-", ",", '"', '"",', "\\", '\\"', '299 - "', '299 - "a",', "299 - ", '"a" "'),
    ),
    "ratelimit": Parser(policy.amount, (), ("100;w=21600", "76")),
    "Content-Type": Parser(wire.media_type, (), ("application/json; charset=utf-8",)),
    "redact": Parser(wire.redact, (), ("https://u:p@h.example/x?a=b&sig=c&digest=d",)),
    "escape": Parser(wire.escape, (), ("\x1b[2J\u202e",)),
    "path": Parser(lambda text: target("GET", text), (), ("/v2/a/b/manifests/v1", "/v2/a/blobs/uploads/x")),
    "opening": Parser(
        lambda text: Opening.parse(text, "--trust-realm"),
        (SpecError,),
        ("registry.example=auth.example:443",),
    ),
    "proxy": Parser(
        lambda text: Proxies({"https_proxy": text, "no_proxy": text}),
        (SpecError,),
        ("http://u:p@proxy:3128",),
    ),
    "login file": Parser(lambda text: Logins("file", _bytes(text)), (SpecError,), (json.dumps(LOGINS),)),
    "error body": Parser(lambda text: wire.refusal(_bytes(text)), (), (json.dumps(ERRORS),)),
    "manifest": Parser(
        lambda text: oci.parse(_bytes(text), oci.OCI_MANIFEST),
        (ContentError,),
        (json.dumps(MANIFEST),),
        ("[", '{"a":', '"', "\\", " ", "1", "-", '{"config":{}},', "é"),
    ),
    "index": Parser(
        lambda text: oci.parse(_bytes(text), oci.OCI_INDEX),
        (ContentError,),
        (json.dumps(INDEX),),
        ("[", '{"a":', "1"),
    ),
    "specs": Parser(
        lambda text: read_specs([("specs.json", _bytes(text))]),
        (SpecError,),
        (SPECS.decode(), f"[{SPECS.decode()}]\n{SPECS.decode()}"),
        ("[", '{"src":', '"', "\\", "\n", " ", "{}", "1 ", '{"src":1}\n'),
    ),
    # Not dots: a key with many of them takes tomllib a time that grows with their square. The file is the user's own.
    "mmgraph.toml": Parser(
        options, (SpecError,), (TOML,), ("[", '"', "\\", "#", "\n", " ", "a", "1", "{", "é")
    ),
    "saved plan": Parser(
        lambda text: saved.read(_bytes(text)), (SpecError,), (PLAN.decode(),), ("[", '{"a":', '"', " ", "1")
    ),
}
TREES: dict[str, Any] = {
    "login file": LOGINS,
    "error body": ERRORS,
    "manifest": MANIFEST,
    "index": INDEX,
    "specs": json.loads(SPECS),
    "saved plan": json.loads(PLAN),
}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


NASTY = st.sampled_from(
    (
        *(
            "\0",
            "\r\n",
            "\x1b[2J",
            "\u202e",
            "\ud800",
            "é",
            "%0d%0a",
            "../",
            '"',
            "\\",
            "9" * 40,
            "-1",
            "1e999",
        ),
        *(
            "NaN",
            "[" * 2000,
            '{"a":' * 2000,
            " " * 50,
            "@",
            "//",
            ":",
            SHA,
            "null",
            "true",
            "[]",
            "{}",
            "a" * 300,
        ),
    )
)


@st.composite
def mutants(draw: st.DrawFn, seeds: tuple[str, ...]) -> str:
    """Draw a seed with some places cut out, repeated, or replaced by what parsers trip over."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        middle = draw(st.one_of(st.just(""), st.just(text[start:end] * 2), NASTY, st.text(max_size=5)))
        text = text[:start] + middle + text[end:]
    return text


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**62, 2**66),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ("sha256:../../x", SHA, "sha512:" + "a" * 128, "\ud83d\ude00", "../x", "http://h/", "a\nb")
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def grafts(draw: st.DrawFn, tree: Any) -> str:
    """Draw the document with up to three of its parts replaced by anything that JSON can say."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_paths(tree))))
        tree = _replaced(tree, path, draw(JSON))
    return json.dumps(tree)


def _paths(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    parts: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in parts:
        yield from _paths(value, (*here, key))


def _replaced(tree: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], by)
    return copy


@pytest.mark.parametrize("name", PARSERS)
@FUZZ
@given(data=st.data())
def test_mutants(name: str, data: st.DataObject) -> None:
    """What is nearly right is read, or refused with the declared error."""
    parser = PARSERS[name]
    with contextlib.suppress(*parser.raises):
        parser.read(data.draw(mutants(parser.seeds)))


@pytest.mark.parametrize("name", TREES)
@FUZZ
@given(data=st.data())
def test_grafts(name: str, data: st.DataObject) -> None:
    """A document with anything in any place is read, or refused with the declared error."""
    parser = PARSERS[name]
    with contextlib.suppress(*parser.raises):
        parser.read(data.draw(grafts(TREES[name])))


@pytest.mark.parametrize("name", PARSERS)
def test_seeds(name: str) -> None:
    """What the mutants are made of is right."""
    for seed in PARSERS[name].seeds:
        if (name, seed) != ("realm", "http://127.0.0.1/"):
            PARSERS[name].read(seed)


# Time


@pytest.mark.parametrize("name", PARSERS)
def test_lines_are_linear(name: str) -> None:
    """Ten times the text takes about ten times the lines of Python at most, whatever is repeated where."""
    parser = PARSERS[name]
    worse = []
    for seed, pump in itertools.product(parser.seeds[:2], parser.pumps):
        for at in {0, len(seed) // 2, len(seed)}:
            texts = (seed[:at] + pump * count + seed[at:] for count in (100, 1000))
            few, many = (lines(partial(parser.read, text), parser.raises) for text in texts)
            if many > 12 * few + 1500:
                worse.append((seed[:at], pump, few, many))
    assert [] == worse


READERS = (
    "mmgraph.names",
    "mmgraph.oci",
    "mmgraph.specs",
    "mmgraph.saved",
    "mmgraph.registry.blame",
    "mmgraph.registry.challenge",
    "mmgraph.registry.chunks",
    "mmgraph.registry.failures",
    "mmgraph.registry.helpers",
    "mmgraph.registry.wire",
    "mmgraph.registry.addresses",
    "mmgraph.registry.origins",
    "mmgraph.registry.policy",
    "mmgraph.registry.proxies",
    "mmgraph.registry.secrets",
    "mmgraph.registry.credentials",
    "mmgraph.quirks",
    "mmgraph.server.blobs",
    "mmgraph.server.manifests",
    "mmgraph.server.routes",
)
PATTERNS = {
    f"{module}.{name}": value
    for module in READERS
    for name, value in vars(import_module(module)).items()
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str)
}
PUMPS = (*"aA0f.-_/: ,=é", '"', "\\", "\\\\", '\\"', "a.", "a-", "a_", "a/")
BEFORE = ("", "a", '"', "/v2/", "sha256:", "bytes ", "https://", "0x", "[")
AFTER = ("", "!", "\n", "/manifests/x", ".azurecr.io")


BOUNDED = {"mmgraph.registry.wire._HOST"}
"""Only asked of 253 characters at most."""


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - BOUNDED))
def test_patterns_are_linear(name: str) -> None:
    """Ten times the text takes about ten times the steps at most: no pattern of ours backtracks."""
    worse = []
    for before in BEFORE:
        for pump in PUMPS:
            for after in AFTER:
                few, many = (
                    counted(PATTERNS[name], before + pump * count + after, 20_000) for count in (20, 200)
                )
                if many > 15 * few + 500:
                    worse.append((before, pump, after, few, many))
    assert [] == worse


def test_the_counter_sees_backtracking() -> None:
    """A pattern that everybody knows to be bad has many more steps."""
    few, many = (counted(re.compile(r"(?:a+)+b"), "a" * count, 1_000_000) for count in (5, 15))
    assert many > 100 * few


@pytest.mark.parametrize(
    "text", ["", "a", "aab", "ab/c", '"a\\"b"', "bytes 0-1/2", SHA, "localhost:5000", "é", "0x7f"]
)
@pytest.mark.parametrize("name", PATTERNS)
def test_the_counter_matches_as_re_does(name: str, text: str) -> None:
    """What is counted is what ``re`` would match."""
    found = Steps(PATTERNS[name], text, 1_000_000)
    matched = any(end == len(text) for end in found.sequence(list(found.tree), 0))
    assert (PATTERNS[name].fullmatch(text) is not None) == matched
