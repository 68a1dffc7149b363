"""Copy specs: the forms they are read in, what is refused and how it is said, and the rules for a set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.names import Platform, Reference
from mmgraph.specs import CopySpec, Origin, SpecErrors, matches, near_destinations, read_specs, schema

DIGEST = "sha256:" + "ab" * 32
OTHER_DIGEST = "sha256:" + "cd" * 32


def spec(src: str = "alpine", dst: str = "localhost:5000/alpine", **more: Any) -> dict[str, Any]:
    """Return a spec as users write it."""
    return {"src": src, "dst": dst, **more}


def limited(*platforms: str, **more: Any) -> dict[str, Any]:
    """Return a spec with platforms."""
    return spec(transform={"limitPlatforms": list(platforms)}, **more)


def read(*values: Any) -> tuple[CopySpec, ...]:
    """Read values, one a line."""
    return read_specs([("specs.json", "\n".join(map(json.dumps, values)).encode())])


def problems(*values: Any) -> list[str]:
    """Return what is wrong with values, one a line."""
    return problems_of("\n".join(map(json.dumps, values)).encode())


def problems_of(content: bytes, name: str = "specs.json") -> list[str]:
    """Return what is wrong with a content."""
    with pytest.raises(SpecErrors) as caught:
        read_specs([(name, content)])
    return str(caught.value).split("\n")


A, B, C = (json.dumps(spec(f"quay.io/x/{name}", f"localhost:5000/{name}")) for name in "abc")

FORMS = {
    "objects on lines": f"{A}\n{B}\n{C}\n",
    "objects with nothing between": f"{A}{B}{C}",
    "objects with blank lines between": f"\n\n{A}\n \t\r\n\n{B}\n\n{C}\n\n",
    "one array": f"[{A},{B},{C}]",
    "a pretty array": json.dumps([json.loads(value) for value in (A, B, C)], indent=4),
    "arrays and objects": f"[{A}]{B}[ ]\n[{C}]",
    "pretty objects": "".join(json.dumps(json.loads(value), indent=2) for value in (A, B, C)),
    "carriage returns": f"[\r\n{A},\r\n{B},\r\n{C}\r\n]\r\n",
    "a byte order mark": f"\ufeff{A}{B}{C}",
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_read(content: str) -> None:
    """A sequence of objects and arrays is read however it is laid out."""
    expected = ["quay.io/x/a:latest", "quay.io/x/b:latest", "quay.io/x/c:latest"]

    assert expected == [str(s.source) for s in read_specs([("specs.json", content.encode())])]


def test_spec_is_read_in_full() -> None:
    """Names and platforms are in normal form, platforms sorted and distinct."""
    value = limited("linux/arm64/v8", "x86_64", "aarch64", src="alpine:3.20")
    expected = CopySpec(
        Reference.parse("docker.io/library/alpine:3.20"),
        Reference.parse("localhost:5000/alpine:latest"),
        (Platform.parse("linux/amd64"), Platform.parse("linux/arm64")),
        Origin("specs.json", 1, 1),
    )

    assert (expected,) == read(value)


@pytest.mark.parametrize("transform", [{}, {"limitPlatforms": []}])
def test_empty_transform_is_none(transform: dict[str, Any]) -> None:
    """An empty transform changes nothing."""
    assert read(spec())[0].platforms == read(spec(transform=transform))[0].platforms


@pytest.mark.parametrize("content", [b"", b" \n\n", b"[]", b"[ ]\n[]", b"\xef\xbb\xbf"])
def test_no_values_are_no_specs(content: bytes) -> None:
    """An empty input is for the caller to judge."""
    assert not read_specs([("specs.json", content)])


def test_origins_tell_number_and_line() -> None:
    """Objects in arrays count one by one, each with its own line."""
    content = f"\n{A}\n[\n  {B},\n\n  {C}]"
    expected = [Origin("f", 1, 2), Origin("f", 2, 4), Origin("f", 3, 6)]

    assert expected == [s.origin for s in read_specs([("f", content.encode())])]


def test_files_make_one_set() -> None:
    """Several files are one set, in order."""
    expected = ["a: value 1, line 1", "standard input: value 1, line 1"]
    specs = read_specs([("a", A.encode()), ("-", B.encode()), ("c", A.encode())])

    assert expected == [str(s.origin) for s in specs]


def test_example_is_valid() -> None:
    """The example in the repository is read without a complaint."""
    content = (Path(__file__).parent.parent / "specs.json").read_bytes()
    expected = {"ghcr.io", "quay.io", "docker.io", "registry.k8s.io"}

    assert expected == {s.source.repository.registry for s in read_specs([("specs.json", content)])}


REFUSED = {
    "a misspelt key": (
        spec(transform={"limitPlatform": ["linux/amd64"]}),
        '"limitPlatform" is not a key of transform: write "limitPlatforms"',
    ),
    "a key in the wrong place": (
        spec(limitPlatforms=["linux/amd64"]),
        '"limitPlatforms" is not a key of a copy spec: write "transform": {"limitPlatforms": […]}',
    ),
    "a key of other tools": (
        spec(destination="x"),
        '"destination" is not a key of a copy spec: write "dst"',
    ),
    "an unknown key": (
        spec(comment="x"),
        '"comment" is not a key of a copy spec: leave it out, the keys are src, dst, transform',
    ),
    "no source": ({"dst": "a/b"}, '"src" is missing: write "src": "registry/repository:tag"'),
    "a null source": (spec(None), '"src" is null, not a string: write "registry/repository:tag"'),  # type: ignore[arg-type]
    "an empty destination": (spec(dst=""), "dst: an empty string is not an image"),
    "a number": (3, "a number, not a copy spec"),
    "a string": ("alpine", "a string, not a copy spec"),
    "null": (None, "null, not a copy spec"),
    "a boolean": (True, "a boolean, not a copy spec"),
    "nested arrays": ([[spec()]], "an array inside an array"),
    "NaN": (spec(float("nan")), '"src" is a number, not a string'),  # type: ignore[arg-type]
    "a null transform": (spec(transform=None), '"transform" is null, not an object: leave it out'),
    "a string of platforms": (
        spec(transform={"limitPlatforms": "linux/amd64"}),
        '"limitPlatforms" is a string, not an array: write ["linux/amd64"]',
    ),
    "null platforms": (spec(transform={"limitPlatforms": None}), '"limitPlatforms" is null, not an array'),
    "a number for a platform": (spec(transform={"limitPlatforms": [1]}), '"limitPlatforms" has a number'),
    "an os alone": (limited("linux"), "operating system without an architecture"),
    "an invalid name": (spec("quay.io/A/b"), 'write "a/b"'),
    "a scheme": (spec("https://quay.io/a/b"), "leave out the scheme"),
    "a digest that src lacks": (
        spec(dst=f"localhost/a:v1@{DIGEST}"),
        f"dst promises {DIGEST}, but src has no digest: write @{DIGEST} there too",
    ),
    "a digest that src has not": (
        spec(f"alpine@{OTHER_DIGEST}", f"localhost/a@{DIGEST}"),
        f"dst promises {DIGEST}, but src names {OTHER_DIGEST}",
    ),
    "a digest and a transform": (
        limited("linux/amd64", src=f"alpine@{DIGEST}", dst=f"localhost/a@{DIGEST}"),
        f"dst promises {DIGEST}, which limitPlatforms may change: leave out the digest of dst",
    ),
    "an image copied onto itself": (spec("a/b", "docker.io/a/b:latest"), "is the src of this spec"),
}


@pytest.mark.parametrize(("value", "part"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(value: Any, part: str) -> None:
    """What is wrong with one spec is one problem, with the text and what to write instead."""
    (problem,) = problems(value)

    assert part in problem


BROKEN = {
    "a misplaced comma": (b'{"src": "a", "dst": "localhost/a"},\n{}', "value 1, line 1", "leave it out"),
    "a comma at the end of an array": (f"[{A},\n]".encode(), "value 1, line 2", "leave it out"),
    "no comma in an array": (f"[{A}\n{B}]".encode(), "value 1, line 2", "goes on with a comma"),
    "an open array": (f"[{A}".encode(), "value 1, line 1", "ends inside a value"),
    "an open object": (f'{A}\n{{"src":'.encode(), "value 2, line 2", "ends inside a value"),
    "trailing garbage": (f"{A}\nx".encode(), "value 2, line 2", '"x" in column 1 is no JSON'),
    "a closing bracket": (f"{A}\n\n]".encode(), "value 2, line 3", '"]" in column 1 is no JSON'),
    "a stray quote": (b'{"src": "a" "b"}', "value 1, line 1", "'\"' in column 13 is no JSON"),
    "single quotes": (b"{'src': 'a'}", "value 1, line 1", "in column 2 is no JSON"),
    "a control character": (b'{"src": "a\x00"}', "value 1, line 1", "is no JSON"),
    "a duplicate key": (b'{"src": "a", "src": "b", "dst": "c"}', "value 1, line 1", '"src" stands twice'),
    "a duplicate key, escaped": (b'{"src": "a", "\\u0073rc": "b", "dst": "c"}', "value 1", "stands twice"),
    "a duplicate key inside": (
        b'{"src": "a", "dst": "c", "transform": {"limitPlatforms": [], "limitPlatforms": []}}',
        "value 1, line 1",
        '"limitPlatforms" stands twice in transform',
    ),
    "Infinity": (b'{"src": "a", "dst": -Infinity}', "value 1, line 1", '"dst" is a number'),
    "a number without end": (b"9" * 100_000, "value 1, line 1", "a number, not a copy spec"),
    "too deep": (b"[" * 100_000, "value 1, line 1", "inside each other"),
    "too deep, objects": (b'{"a":' * 100_000, "value 1, line 1", "inside each other"),
    "Latin-1": (f"{A}\n\n".encode() + b'{"src": "\xe4"}', "value 2, line 3", "the byte 0xe4"),
    "UTF-16": (A.encode("utf-16"), "value 1, line 1", "the text is UTF-16"),
    "a half character at the end": (A.encode() + b"\xc3", "value 2, line 1", "not UTF-8"),
}


@pytest.mark.parametrize(("content", "place", "part"), BROKEN.values(), ids=BROKEN.keys())
def test_refuses_broken_text(content: bytes, place: str, part: str) -> None:
    """What is no JSON is one problem at its place."""
    (problem,) = problems_of(content)
    expected = (True, True)

    assert expected == (problem.startswith(f"specs.json: {place}"), part in problem)


@pytest.mark.parametrize(
    "content",
    [
        b'{"src": "robot:hunter2@quay.io/a/b", "dst": "localhost/a"}',
        b'{"src": "https://robot:hunter2@quay.io/a/b", "dst": "localhost/a"}',
        b'{"src": "a", "dst": robot:hunter2@quay.io/a/b}',
        b'{"src": "a", "dst": "robot:"hunter2@quay.io/a/b"}',
    ],
)
def test_passwords_are_not_echoed(content: bytes) -> None:
    """A password in a spec reaches no message, wherever it stands."""
    with pytest.raises(SpecErrors) as caught:
        read_specs([("specs.json", content)])

    assert "hunter2" not in repr(caught.value.problems) + str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    """All values of all files are judged, one by one and as a set, in the order of the input."""
    first = f'{{"src": 1, "dst": 2}}\n{A}\n{{"src": "quay.io/x/b", "dst": "localhost:5000/a", "x": 1}}\n['
    second = json.dumps(limited("linux"))
    with pytest.raises(SpecErrors) as caught:
        read_specs([("z.json", first.encode()), ("-", second.encode())])
    expected = [
        ("z.json", 1),
        ("z.json", 1),
        ("z.json", 3),
        ("z.json", 3),
        ("z.json", 4),
        ("standard input", 1),
    ]

    assert expected == [(p.origin.file, p.origin.number) for p in caught.value.problems]


def test_problem_has_its_parts() -> None:
    """A problem is a place, the offending text and a message."""
    with pytest.raises(SpecErrors) as caught:
        read_specs([("-", json.dumps(spec("Alpine")).encode())])
    (problem,) = caught.value.problems
    expected = "standard input: value 1, line 1: src: "

    assert ('"Alpine"', expected) == (problem.text, str(problem)[: len(expected)])


class TestRules:
    """The rules for a set"""

    @pytest.mark.parametrize(
        ("source", "destination"),
        [
            ("localhost/a:v1", "localhost/a:v1"),
            ("localhost/a", "localhost/a:latest"),
            ("alpine", "registry-1.docker.io/library/alpine:latest"),
            (f"localhost/a:v1@{DIGEST}", "localhost/a:v1"),
            (f"localhost/a:v1@{DIGEST}", f"localhost/a@{DIGEST}"),
        ],
    )
    def test_no_image_is_source_and_destination(self, source: str, destination: str) -> None:
        """The order of copies would decide what is copied, so one image is one or the other."""
        pin = f"@{DIGEST}" if "@" in destination else ""
        (problem,) = problems(spec(source, "localhost/z"), spec(f"quay.io/q{pin}", destination))

        assert "is the src of specs.json: value 1, line 1" in problem

    @pytest.mark.parametrize(
        ("source", "destination"),
        [
            ("localhost/a:v1", "localhost/a:v2"),
            ("localhost/a:v1", "localhost:5000/a:v1"),
            (f"localhost/a@{DIGEST}", "localhost/a:v1"),
        ],
    )
    def test_one_repository_may_be_both(self, source: str, destination: str) -> None:
        """Another tag of the same repository is another image."""
        expected = 2
        assert expected == len([*read(spec(source, "localhost/z"), spec("quay.io/q", destination))])

    @pytest.mark.parametrize(
        "repeated",
        [
            limited("linux/arm64", "linux/amd64"),
            limited("amd64", "aarch64", "linux/amd64"),
            limited("linux/amd64", "linux/arm64/v8", src="docker.io/library/alpine:latest"),
        ],
    )
    def test_equal_specs_are_one(self, repeated: dict[str, Any]) -> None:
        """Specs that are equal in normal form are one, and the first is kept."""
        specs = read(limited("linux/amd64", "linux/arm64"), repeated)
        expected = [1]

        assert expected == [s.origin.number for s in specs]

    def test_a_pinned_destination_equals_its_tag(self) -> None:
        """``r:t`` and ``r:t@d`` from one pinned source are one wish: both end at ``d``."""
        source = f"alpine:3@{DIGEST}"
        specs = read(spec(source, "localhost/a:v1"), spec(source, f"localhost/a:v1@{DIGEST}"))
        expected = ["localhost/a:v1"]

        assert expected == [str(s.destination) for s in specs]

    @pytest.mark.parametrize(
        "other",
        [
            spec("alpine:3"),
            spec(f"alpine@{DIGEST}"),
            spec("quay.io/library/alpine"),
            limited("linux/amd64"),
            spec(f"alpine@{DIGEST}", f"localhost:5000/alpine:latest@{DIGEST}"),
        ],
    )
    def test_one_destination_is_one_image(self, other: dict[str, Any]) -> None:
        """Two wishes for one name are an error that names both places."""
        (problem,) = problems(spec(), other)
        expected = (True, True)

        assert expected == (
            problem.startswith("specs.json: value 2, line 2: "),
            "stands in specs.json: value 1, line 1 too" in problem,
        )

    def test_a_pinned_destination_is_read(self) -> None:
        """A digest on both sides is a promise that can be kept."""
        (only,) = read(spec(f"alpine:3@{DIGEST}", f"localhost/a:v1@{DIGEST}"))
        expected = DIGEST

        assert expected == only.destination.digest


def test_schema_names_the_same_keys_as_the_reader() -> None:
    """The schema is closed and knows what the reader knows."""
    described = schema()["$defs"]["spec"]
    transform = described["properties"]["transform"]
    expected = (["src", "dst", "transform"], ["limitPlatforms"], False, False)

    assert expected == (
        list(described["properties"]),
        list(transform["properties"]),
        described["additionalProperties"],
        transform["additionalProperties"],
    )


near_json = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ",", ":", '"src"', '"dst"', '"transform"', '"a/b"', "NaN", "\n", A, B, "\ufeff"]
    ),
    max_size=12,
).map(lambda parts: "".join(parts).encode())


@given(near_json | st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Any bytes give specs or ``SpecErrors``, all with a place inside the file."""
    origins: list[Origin] = []
    try:
        origins += [s.origin for s in read_specs([("specs.json", content)])]
    except SpecErrors as errors:
        origins += [p.origin for p in errors.problems]
    lines = content.count(b"\n") + 1

    assert all(1 <= origin.line <= lines and origin.number >= 1 for origin in origins)


@given(st.lists(st.integers(0, 9), max_size=30), st.randoms(use_true_random=False))
def test_layout_does_not_matter(numbers: list[int], random: Any) -> None:
    """However values are grouped and laid out, the specs and their numbers are the same."""
    values = [spec(f"quay.io/x/a:{n}", f"localhost/a:{n}") for n in numbers]
    content, group = "", []
    for value in values:
        group.append(value)
        if random.random() < 0.5:
            content += json.dumps(group, indent=random.choice([None, 2])) + random.choice(["", "\n\n"])
            group = []
    content += "".join(map(json.dumps, group))
    expected = [(s.destination, s.origin.number) for s in read(*values)]

    assert expected == [(s.destination, s.origin.number) for s in read_specs([("x", content.encode())])]


def test_a_misspelled_platform_is_refused() -> None:
    """It would be reported as missing at every source, and its image never be copied."""
    with pytest.raises(SpecErrors, match='"linux/amd46" is not a platform that is known: write linux/amd64'):
        read(limited("linux/amd46"))


def test_a_key_does_not_echo_credentials() -> None:
    """What stands out of its place may be a password."""
    with pytest.raises(SpecErrors) as caught:
        read({"user:secret@ghcr.io": "a"})
    assert not [
        text for text in (str(caught.value), *(p.text for p in caught.value.problems)) if "secret" in text
    ]


def test_a_message_has_all_problems() -> None:
    """However many there are: whoever mends the script that wrote them needs no second run to see the rest."""
    with pytest.raises(SpecErrors) as caught:
        read(*({"src": "a"} for _ in range(1000)))
    assert (1000, 1000) == (len(str(caught.value).splitlines()), len(caught.value.problems))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("host.example:5000/team/app:v1", True),
        (f"host.example:5000/team/app:v1@{DIGEST}", True),
        ("app:v1", True),
        ("team/app:v1", True),
        ("*/team/*", True),
        ("team/*", True),
        ("host.*", True),
        ("v1", False),
        ("pp:v1", False),
        ("app", False),
        ("[::1]:5000/app:v1", False),
    ],
)
def test_a_destination_is_meant_by_its_name_its_end_or_a_glob(pattern: str, expected: bool) -> None:
    """--only and --focus speak one language."""
    destination = Reference.parse(f"host.example:5000/team/app:v1@{DIGEST}")
    assert expected == matches(destination, pattern)


def test_a_destination_on_an_ipv6_host_is_meant_by_its_name() -> None:
    """Brackets are no glob where the whole name is written."""
    assert matches(Reference.parse("[::1]:5000/app:v1"), "[::1]:5000/app:v1")


def test_near_destinations_are_three_at_most_and_written_in_full() -> None:
    """So that one can be copied, and found in one line."""
    names = [Reference.parse(f"host.example/app:v{number}") for number in range(30)]
    near = near_destinations(names, "ap:v1").removeprefix("; near it are ").split(", ")
    assert (3, True) == (len(near), all(name.startswith("host.example/app:v") for name in near))


def test_destinations_that_begin_with_what_was_typed_come_first() -> None:
    """Those of a repository of that very name before others, and only then what is spelt like it."""
    names = [
        Reference.parse(f"host.example/{name}")
        for name in ("a-2:v2", "a-30:x", "a-3:latest", "a-3:v1", "a-2:v1")
    ]
    assert "; near it are host.example/a-3:latest, host.example/a-3:v1, host.example/a-30:x" == (
        near_destinations(names, "a-3")
    )


def test_where_no_destination_is_near_it_is_said_how_many_there_are() -> None:
    """Few are named; of many it is said what lists them."""
    names = [Reference.parse(f"host.example/app:v{number}") for number in range(30)]
    assert [
        "; there is host.example/app:v0",
        "; there are 30 destinations, and mmgraph plan --all lists them",
    ] == [near_destinations(names[:count], "zzz") for count in (1, 30)]
