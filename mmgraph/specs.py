"""Copy specs: reading them from JSON, validating them, coalescing equal ones; their schema.

Knows the text that users write and where in it each spec stands; knows nothing of registries and manifests,
so a spec that passes here can still name an image that does not exist. All problems of a set are found in
one reading.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections import Counter
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmgraph.errors import SpecError
from mmgraph.names import Digest, Platform, Reference, Repository, near_platform, quote

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_SPEC_KEYS: Final = ("src", "dst", "transform")
_TRANSFORM_KEYS: Final = ("limitPlatforms",)
# What people write who know another tool, and what is too far from the key to be found by its spelling.
_OTHER_NAMES: Final = {
    "source": "src",
    "from": "src",
    "destination": "dst",
    "dest": "dst",
    "target": "dst",
    "to": "dst",
    "platform": "limitPlatforms",
    "platforms": "limitPlatforms",
}
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NEAR: Final = 3
"""Destinations that are suggested."""
_NEAR_AMONG: Final = 10_000
"""Destinations among which near ones are looked for: it is slow."""
_BOM: Final = "\ufeff"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a spec stands: the ``number``-th object in ``file``, those in arrays counted too, at ``line``."""

    file: str
    number: int
    line: int

    def __str__(self) -> str:
        return f"{self.file}: value {self.number}, line {self.line}"


class CopySpec(msgspec.Struct, frozen=True, gc=False):
    """One wish: ``destination`` shall be the image ``source``, limited to ``platforms`` where there are any.

    ``platforms`` are sorted and distinct.
    """

    source: Reference
    destination: Reference
    platforms: tuple[Platform, ...] = ()
    origin: Origin = Origin("", 0, 0)


class Problem(msgspec.Struct, frozen=True, gc=False):
    """One thing wrong: the offending ``text``, quoted, and a ``message`` that names it and what to write."""

    origin: Origin
    text: str
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


class SpecErrors(SpecError):
    """Everything that is wrong with a set of specs, in the order of the input.

    ``str()`` has all of them, one a line: a script that writes specs is mended in one go.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def read_specs(inputs: Sequence[tuple[str, bytes]]) -> tuple[CopySpec, ...]:
    """Return the specs of all ``inputs`` (name and content) as one set, in order and without repetitions.

    Each content is a sequence of JSON values, each an object or an array of objects; ``-`` is standard
    input. No values at all give no specs. Raises ``SpecErrors`` with all the problems there are; a file
    with a syntax error is read up to it.
    """
    problems: list[Problem] = []
    specs: list[CopySpec] = []
    files: dict[str, int] = {}
    for name, content in inputs:
        file = "standard input" if name == "-" else name
        files.setdefault(file, len(files))
        for origin, value in _values(file, content, problems):
            if (spec := _Checker(origin, problems).spec(value)) is not None:
                specs.append(spec)
    distinct = _coalesce(specs, problems)
    _refuse_overlap(specs, problems)
    if problems:
        raise SpecErrors(sorted(problems, key=lambda p: (files[p.origin.file], p.origin.number)))
    return distinct


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one value of the input; the rules for the set are not in it."""
    reference = {"type": "string", "minLength": 1}
    spec = {
        "type": "object",
        "additionalProperties": False,
        "required": ["src", "dst"],
        "properties": {
            "src": reference | {"description": "The image to copy, as docker pull takes it."},
            "dst": reference | {"description": "The name to copy it to, as docker push takes it."},
            "transform": {
                "type": "object",
                "additionalProperties": False,
                "description": "Changes to the image on its way.",
                "properties": {
                    "limitPlatforms": {
                        "type": "array",
                        "items": {"type": "string", "examples": ["linux/amd64", "linux/arm/v7"]},
                        "description": "Of a multi-platform image, copy only these platforms. Empty: all.",
                    }
                },
            },
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mmgraph copy specs",
        "description": "One value of the input, which is a sequence of such values.",
        "anyOf": [{"$ref": "#/$defs/spec"}, {"type": "array", "items": {"$ref": "#/$defs/spec"}}],
        "$defs": {"spec": spec},
    }


class _Repeated(dict[str, object]):
    """An object in which ``key`` stands twice."""

    key = ""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated = _Repeated(members)
    repeated.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
    return repeated


# No number has a place in a spec, so how they are read does not matter: float takes any length, and NaN.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=float, parse_constant=float)


class _SyntaxError(Exception):
    """The text is no JSON at ``position``."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


class _Walk:
    """Steps through the values of one text; ``number`` and ``line`` are those of the last one."""

    def __init__(self, text: str) -> None:
        self.number = 0
        self.line = 1
        self._text = text
        self._position = len(_BOM) if text.startswith(_BOM) else 0
        self._counted = 0

    def values(self) -> Iterator[object]:
        """Yield each value, those of an outermost array one by one; ``_SyntaxError`` ends it."""
        while character := self._peek():
            if character == ",":
                raise self._error("a comma between values that stand in no array: leave it out")
            if character != "[":
                yield self._value()
                continue
            self._position += 1
            while self._peek() != "]":
                yield self._value()
                if self._peek() == ",":
                    self._position += 1
                    if self._peek() == "]":
                        raise self._error("a comma at the end of an array: leave it out")
                elif self._peek() != "]":
                    raise self._error("an array goes on with a comma or ends with ]")
            self._position += 1

    def go_to(self, position: int) -> None:
        """Set ``line`` to that of ``position``; each line end is counted once, so reading stays linear."""
        self.line += self._text.count("\n", self._counted, position)
        self._counted = max(position, self._counted)

    def _peek(self) -> str:
        """Go to the next character that is not white space and return it, "" at the end."""
        if match := _SPACE.match(self._text, self._position):
            self._position = match.end()
        return self._text[self._position : self._position + 1]

    def _value(self) -> object:
        self.number += 1
        self.go_to(self._position)
        try:
            value: object
            value, self._position = _DECODER.raw_decode(self._text, self._position)
        except json.JSONDecodeError as error:
            self._position = error.pos
            raise self._error(error.msg[:1].lower() + error.msg[1:]) from None
        except RecursionError:
            raise self._error("too many objects and arrays inside each other") from None
        return value

    def _error(self, message: str) -> _SyntaxError:
        # One character is shown and no more: what stands there may be a password out of its place.
        character = self._text[self._position : self._position + 1]
        if not character:
            return _SyntaxError(self._position, "the input ends inside a value")
        column = self._position - self._text.rfind("\n", 0, self._position)
        shown = "'\"'" if character == '"' else quote(character)
        return _SyntaxError(self._position, f"{shown} in column {column} is no JSON: {message}")


def _values(file: str, content: bytes, problems: list[Problem]) -> Iterator[tuple[Origin, object]]:
    flaw = ""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        flaw = "is UTF-16" if content.startswith(_UTF_16) else f"has the byte {content[error.start]:#04x}"
        text = content[: error.start].decode("utf-8")
    walk = _Walk(text)
    number = 0
    try:
        for value in walk.values():
            number = walk.number
            yield Origin(file, number, walk.line), value
    except _SyntaxError as error:
        walk.go_to(error.position)
        if not flaw:
            problems.append(Problem(Origin(file, max(walk.number, 1), walk.line), "", str(error)))
    if flaw:
        walk.go_to(len(text))
        message = f"the text {flaw}, which is not UTF-8: write the file as UTF-8"
        problems.append(Problem(Origin(file, number + 1, walk.line), "", message))


class _Checker:
    """Turns the value at ``origin`` into a spec, and notes every problem it has."""

    def __init__(self, origin: Origin, problems: list[Problem]) -> None:
        self._origin = origin
        self._problems = problems

    def spec(self, value: object) -> CopySpec | None:
        """Return the spec, also one with problems that leave its meaning clear: the set is judged with it."""
        if not isinstance(value, dict):
            if isinstance(value, list):
                self._note("[", "an array inside an array: write its values into the outer one")
            else:
                self._note("", f'{_kind(value)}, not a copy spec: write {{"src": …, "dst": …}}')
            return None
        if not self._sound(value, "a copy spec", _SPEC_KEYS):
            return None
        source, destination = self._reference(value, "src"), self._reference(value, "dst")
        platforms = self._transform(value["transform"]) if "transform" in value else ()
        if source is None or destination is None or platforms is None:
            return None
        if destination.digest is not None:
            self._check_digest(source, destination.digest, platforms)
        return CopySpec(source, destination, platforms, self._origin)

    def _note(self, text: str, message: str) -> None:
        self._problems.append(Problem(self._origin, text, message))

    def _sound(self, value: dict[str, object], what: str, keys: Sequence[str]) -> bool:
        """Return whether each key stands once; note what is no key at all."""
        for key in value:
            if key not in keys:
                self._note(quote(key), f"{quote(key)} is not a key of {what}: {_advice(key, keys)}")
        if isinstance(value, _Repeated):
            self._note(quote(value.key), f"{quote(value.key)} stands twice in {what}: leave one out")
            return False
        return True

    def _reference(self, value: dict[str, object], key: str) -> Reference | None:
        if key not in value:
            self._note("", f'"{key}" is missing: write "{key}": "registry/repository:tag"')
            return None
        text = value[key]
        if not isinstance(text, str):
            self._note("", f'"{key}" is {_kind(text)}, not a string: write "registry/repository:tag"')
            return None
        try:
            return Reference.parse(text)
        except SpecError as error:
            self._note(quote(text), f"{key}: {error}")
            return None

    def _transform(self, value: object) -> tuple[Platform, ...] | None:
        if not isinstance(value, dict):
            self._note("", f'"transform" is {_kind(value)}, not an object: leave it out')
            return None
        if not self._sound(value, "transform", _TRANSFORM_KEYS):
            return None
        texts = value.get("limitPlatforms", [])
        if not isinstance(texts, list):
            advice = 'write ["linux/amd64"], or leave it out'
            self._note("", f'"limitPlatforms" is {_kind(texts)}, not an array: {advice}')
            return None
        platforms = [self._platform(text) for text in texts]
        found = {platform for platform in platforms if platform is not None}
        return tuple(sorted(found)) if None not in platforms else None

    def _platform(self, text: object) -> Platform | None:
        if not isinstance(text, str):
            self._note("", f'"limitPlatforms" has {_kind(text)}, not a string: write "linux/amd64"')
            return None
        try:
            platform = _parse_platform(text)
            if near := near_platform(platform):
                raise SpecError(f"{quote(text)} is not a platform that is known: write {near}")
            return platform
        except SpecError as error:
            self._note(quote(text), f"limitPlatforms: {error}")
            return None

    def _check_digest(self, source: Reference, digest: Digest, platforms: tuple[Platform, ...]) -> None:
        if platforms:
            advice = "leave out the digest of dst or the transform"
            self._note(quote(digest), f"dst promises {digest}, which limitPlatforms may change: {advice}")
        if source.digest != digest:
            found = f"names {source.digest}" if source.digest else "has no digest"
            advice = f"write @{digest} there too, or leave it out here"
            self._note(quote(digest), f"dst promises {digest}, but src {found}: {advice}")


_parse_platform: Final = functools.lru_cache(maxsize=1024)(Platform.parse)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: tuple[tuple[type, str], ...] = (
        (bool, "a boolean"),
        (str, "a string"),
        (list, "an array"),
        (dict, "an object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "a number")


@functools.lru_cache(maxsize=1024)
def _advice(key: str, keys: Sequence[str]) -> str:
    lower = {known.lower(): known for known in (*_SPEC_KEYS, *_TRANSFORM_KEYS)}
    near = difflib.get_close_matches(key.lower()[:64], lower, n=1)
    known = _OTHER_NAMES.get(key.lower()) or (lower[near[0]] if near else "")
    if known in keys:
        return f'write "{known}"'
    if known in _TRANSFORM_KEYS:
        return 'write "transform": {"limitPlatforms": […]}'
    return f"leave it out, the keys are {', '.join(keys)}"


def _coalesce(specs: Sequence[CopySpec], problems: list[Problem]) -> tuple[CopySpec, ...]:
    """Return the first spec of each destination; note those that want something else there.

    ``r:t`` and ``r:t@d`` are one destination. With the same source and platforms they are one wish as well:
    the source must have the digest then (rule 3), so both end at ``d``.
    """
    first: dict[Reference, CopySpec] = {}
    for spec in specs:
        known = first.setdefault(spec.destination.goal, spec)
        if (known.source, known.platforms) == (spec.source, spec.platforms):
            continue
        text = quote(str(spec.destination))
        if known.source != spec.source:
            difference = f"{known.source} there and {spec.source} here"
        else:
            difference = f"{_listed(known.platforms)} there and {_listed(spec.platforms)} here"
        message = f"dst {text} stands in {known.origin} too, with {difference}: leave one of them out"
        problems.append(Problem(spec.origin, text, message))
    return tuple(first.values())


def _refuse_overlap(specs: Sequence[CopySpec], problems: list[Problem]) -> None:
    """Note each destination that is a source too: what is copied would depend on which copy comes first."""
    sources: dict[tuple[Repository, str], CopySpec] = {}
    for spec in specs:
        for name in _names(spec.source):
            sources.setdefault(name, spec)
    noted: set[Reference] = set()
    for spec in specs:
        reader = next((sources[name] for name in _names(spec.destination) if name in sources), None)
        if reader is None or spec.destination.goal in noted:
            continue
        noted.add(spec.destination.goal)
        text = quote(str(spec.destination))
        where = "this spec" if reader is spec else str(reader.origin)
        message = f"dst {text} is the src of {where}: an image cannot be both in one set, write another name"
        problems.append(Problem(spec.origin, text, message))


def _names(reference: Reference) -> Iterator[tuple[Repository, str]]:
    if reference.tag is not None:
        yield reference.repository, reference.tag
    if reference.digest is not None:
        yield reference.repository, reference.digest


def _listed(platforms: Sequence[Platform]) -> str:
    return ", ".join(map(str, platforms)) or "all platforms"


def matches(destination: Reference, pattern: str) -> bool:
    """Whether a person means ``destination`` by ``pattern``, as ``--only`` and ``--focus`` take it.

    It is the whole name in normal form, or what follows a ``/`` in it; either may be a glob.
    """
    return fits(forms(destination), pattern)


def forms(destination: Reference) -> frozenset[str]:
    """What ``fits`` takes for a destination that is compared with many patterns."""
    return frozenset({f"/{destination}", f"/{destination.goal}"})


def fits(names: Collection[str], pattern: str) -> bool:
    """As ``matches``, for the ``forms`` of a destination."""
    glob, literal = _glob(pattern), "[" in pattern  # elsewhere a glob fits the text that it is, too
    return any(glob.match(name) or (literal and name.endswith(f"/{pattern}")) for name in names)


@functools.lru_cache(maxsize=1 << 14)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(f"*/{pattern}"))


def near_destinations(destinations: Sequence[Reference], pattern: str) -> str:
    """A sentence's end with the destinations that were perhaps meant by ``pattern``, which matches none."""
    depth = pattern.count("/")
    names: dict[str, list[str]] = {}
    for destination in destinations[:_NEAR_AMONG]:
        text = str(destination)
        names.setdefault("/".join(text.split("/")[-depth - 1 :]), []).append(text)
    # A repository's own tags before those of one whose name is as long: service-3 is no slip of service-2.
    begun = [tail for tail in names if pattern and tail.startswith(pattern)]
    begun.sort(key=lambda tail: tail[len(pattern)] not in ":@")
    close = difflib.get_close_matches(pattern, names, n=_NEAR, cutoff=0.5)
    full = [text for tail in dict.fromkeys([*begun, *close]) for text in names[tail]][:_NEAR]
    if full:
        return f"; near it {'is' if len(full) == 1 else 'are'} {', '.join(full)}"
    if len(destinations) > _NEAR:
        return f"; there are {len(destinations)} destinations, and mmgraph plan --all lists them"
    some = ", ".join(map(str, destinations))
    return f"; there {'is' if len(destinations) == 1 else 'are'} {some}" if some else ""
