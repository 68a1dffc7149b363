"""The names of things: Digest, Registry, Repository, Reference, Platform; parsed at the edge, frozen after.

Knows the grammars and normal forms; knows nothing of files, JSON or HTTP. Every parser is linear in its
input, raises ``SpecError`` and nothing else, and reads back what ``str()`` of its result writes.
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING, Final, Self

import msgspec

from mmgraph.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

HUB: Final = "docker.io"
_HUB_ALIASES: Final = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)

# distribution/reference's grammar. Each alternative starts with another character, so matching is linear.
_HOST: Final = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:.]+\])"
    r"(?::[0-9]{1,5})?"
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST_MARK: Final = re.compile(r"[.:\[A-Z]")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}
_HEX: Final = re.compile(r"[0-9a-f]+")
_USUAL_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
# No port: "sha256:443" is a host.
_DIGEST_LIKE: Final = re.compile(
    r"(?:sha1|sha224|sha256|sha384|sha512|md5|blake2b|blake2s|blake3):(?![0-9]{1,5}$)[0-9a-f]+", re.IGNORECASE
)
_AT: Final = re.compile("@|%40")
_GAPS: Final = re.compile(r"([\s\"'`]+)")
_REFERENCE_LIMIT: Final = 255 + 1 + 255 + 1 + 128 + 1 + 7 + 128
_REPOSITORY_LIMIT: Final = 255
_QUOTED_LIMIT: Final = 120


def quote(text: str) -> str:
    """Return foreign text fit for a message: ASCII, quoted, at most 120 characters, without credentials.

    What stands before an ``@`` may be a password, unless a digest follows.
    """
    hidden = _hidden(text)
    return f'"{printable(hidden if len(hidden) <= _QUOTED_LIMIT else hidden[:_QUOTED_LIMIT] + "…")}"'


def printable(text: str) -> str:
    """Return ``text`` with escapes for all but printable ASCII and the ellipsis."""
    return "".join(
        c if c == "…" or (c.isascii() and c.isprintable()) else c.encode("unicode_escape").decode()
        for c in text
    )


def without_credentials(message: str) -> str:
    """Return another program's message without what may be the credentials of a ``user:password@host`` in it."""
    pieces = _GAPS.split(message)  # words at even places, what divides them between
    pieces[::2] = [_hidden(word) if ":" in _AT.split(word, maxsplit=1)[0] else word for word in pieces[::2]]
    return "".join(pieces)


def _hidden(text: str) -> str:
    """Return ``text`` without what stands before its last ``@``, percent-encoded or not, where no digest follows."""
    place = max(text.rfind("@"), text.rfind("%40"))
    if place <= 0:
        return text
    is_digest = _DIGEST_LIKE.fullmatch(text, place + 1) and text[place] == "@"
    return text if is_digest and not _AT.search(text, 0, place) else f"…{text[place:]}"


class Digest(str):
    """A content digest, ``sha256:…`` or ``sha512:…`` in lower-case hex (image-spec, descriptor.md).

    It is a ``str``, so that a million of them hash and compare at the speed of C.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest that ``text`` spells, or raise ``SpecError``."""
        if not _USUAL_DIGEST.fullmatch(text):
            _check_digest(text)
        return cls(text)

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hex digits after the colon."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The algorithm and the first twelve hex digits, for people."""
        algorithm, _, value = self.partition(":")
        return f"{algorithm}:{value[:12]}"


class Digests(dict[str, Digest]):
    """Digests by their text, each read once and kept once: a large set names every one of them many times.

    ``digests[text]`` raises ``SpecError`` where ``text`` is none.
    """

    def __missing__(self, text: str) -> Digest:
        digest = Digest.parse(text)
        self[digest] = digest
        return digest


class Registry(str):
    """A registry as ``host`` or ``host:port``; every alias of Docker Hub is ``docker.io``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the registry that ``text`` names, or raise ``SpecError``."""
        if len(text) > _REPOSITORY_LIMIT or not _HOST.fullmatch(text):
            raise SpecError(f"{quote(text)} is not a registry: write host or host:port")
        _, _, port = text.rpartition(":")
        if port.isdigit() and not text.endswith("]") and not 0 < int(port) < 65536:
            raise SpecError(f"{quote(text)} is not a registry: the port is not between 1 and 65535")
        text = text.lower()
        if text != "localhost" and not _HOST_MARK.search(text):
            # "MIRROR/app" is an image on a host, "mirror/app" one on Docker Hub: the host's case must stay.
            text = text.upper()
        return cls(HUB if text in _HUB_ALIASES else text)


def _check_digest(text: str) -> None:
    """Raise ``SpecError`` where ``text`` is no digest."""
    algorithm, colon, value = text.partition(":")
    length = _HEX_LENGTH.get(algorithm)
    if not colon:
        raise SpecError(f"{quote(text)} is not a digest: write sha256: and 64 hex digits")
    if length is None:
        raise SpecError(f"{quote(text)} is not a digest that can be verified: use sha256 or sha512")
    if len(value) != length or not _HEX.fullmatch(value):
        raise SpecError(f"{quote(text)} is not a digest: {algorithm}: and {length} lower-case hex digits")


class Repository(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """A repository: where manifests, blobs and tags live, ``registry/path``."""

    registry: Registry
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the repository that ``text`` names as docker takes it, or raise ``SpecError``."""
        reference = Reference.parse(text)
        if reference.digest is not None or ":" in text.rpartition("/")[2]:
            raise SpecError(f"{quote(text)} is not a repository: leave out the tag and the digest")
        return cls(reference.repository.registry, reference.repository.path)

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


class Reference(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """An image's name: a repository with a tag, a digest, or both; never neither.

    A name without either has the tag ``latest``; a name with a digest and no tag has none.
    """

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the normal form of ``text``, written as ``docker pull`` takes it, or raise ``SpecError``.

        The first component is a host where it has a dot, a colon or an upper-case letter, or is
        ``localhost`` (distribution/reference, ``splitDockerDomain``); otherwise the image is Docker Hub's,
        and one word stands for ``library/word``.
        """
        if not text:
            raise SpecError("an empty string is not an image: write a name such as alpine:3.20")
        if len(text) > _REFERENCE_LIMIT:
            raise SpecError(f"{quote(text)} is not an image: longer than {_REFERENCE_LIMIT} characters")
        if "://" in text:
            shown = quote(text)
            raise SpecError(
                f"{shown} is not an image: leave out the scheme and write registry/repository:tag"
            )
        name, at, digest_text = text.partition("@")
        if "%40" in name or (at and not _DIGEST_LIKE.fullmatch(digest_text)):
            raise SpecError(
                f"{quote(text)} is not an image: what follows an @ is a digest (sha256:…),"
                " and credentials have no place in a name"
            )
        # A tag has no slash; a colon before the last slash is a port's.
        colon = name.rfind(":", name.rfind("/") + 1)
        tag = name[colon + 1 :] if colon >= 0 else None
        try:
            digest = Digest.parse(digest_text) if at else None
            if tag is not None and not _TAG.fullmatch(tag):
                raise SpecError(f"{quote(tag)} is not a tag (letters, digits, _ . -, at most 128)")
            repository = _repository(name if tag is None else name[:colon])
        except SpecError as error:
            raise SpecError(f"{quote(text)} is not an image: {error}") from None
        return cls(repository, "latest" if tag is None and digest is None else tag, digest)

    @property
    def name(self) -> str:
        """What it is called in its repository: the tag, or where there is none, the digest."""
        return self.tag or str(self.digest)

    @property
    def goal(self) -> Reference:
        """What a destination promises: ``r:t`` and ``r:t@d`` are one destination."""
        return Reference(self.repository, self.tag) if self.tag else self

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


@functools.lru_cache(maxsize=1 << 16)
def _repository(name: str) -> Repository:
    """Return the repository ``name`` spells, with or without a host; sets of specs name each one often."""
    head, slash, path = name.partition("/")
    if slash and (head == "localhost" or _HOST_MARK.search(head)):
        registry = Registry.parse(head)
    else:
        registry, path = Registry(HUB), name
    if registry == HUB and path and "/" not in path:
        path = f"library/{path}"
    if len(path) > _REPOSITORY_LIMIT:
        raise SpecError(f"the repository is longer than {_REPOSITORY_LIMIT} characters")
    if not _PATH.fullmatch(path):
        hint = f"; write {quote(path.lower())}" if path != path.lower() else ""
        raise SpecError(
            f"{quote(path)} is not a repository (lower-case letters and digits, joined by . _ - and /){hint}"
        )
    return Repository(registry, path)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# containerd/platforms, normalizeOS and normalizeArch.
_SYSTEM_ALIASES: Final = {"macos": "darwin"}
_ARCHITECTURE_ALIASES: Final = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_DEFAULT_VARIANT: Final = {("arm", ""): "v7", ("arm64", "v8"): "", ("arm64", "8"): "", ("amd64", "v1"): ""}
_SYSTEMS: Final = _words(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux macos nacl netbsd openbsd plan9 solaris"
    " wasip1 wasi windows zos"
)
# Those of Go, past and present; an image may be made for another one.
_ARCHITECTURES: Final = _words(
    "386 amd64 amd64p32 arm arm64 arm64be armbe loong64 mips mips64 mips64le mips64p32 mips64p32le mipsle"
    " ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm"
)
_PLATFORM_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PRINTABLE: Final = re.compile(r"[!-~]*")


class Platform(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """What an image runs on, in normal form: ``os/architecture[/variant][(os.version)]``."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def normal(cls, os: str, architecture: str, variant: str = "", os_version: str = "") -> Self:
        """Return the normal form: ``linux/arm64/v8`` is ``linux/arm64``, ``linux/arm`` is ``linux/arm/v7``.

        The rules are those of containerd/platforms, which docker's ``--platform`` uses; the machine mmgraph
        runs on plays no part.
        """
        os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
        os = _SYSTEM_ALIASES.get(os, os)
        architecture, implied = _ARCHITECTURE_ALIASES.get(architecture, (architecture, ""))
        variant = variant or implied
        if architecture == "arm" and variant.isdigit():
            variant = f"v{variant}"
        variant = _DEFAULT_VARIANT.get((architecture, variant), variant)
        return cls(os, architecture, variant, os_version)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the platform ``text`` spells as docker's ``--platform`` takes it, or raise ``SpecError``.

        ``os/architecture[/variant]``, with an optional ``(os.version)`` behind the os; an architecture
        alone means linux. An os alone is an error, since it could only be completed by the machine mmgraph
        happens to run on.
        """
        form = "write os/architecture[/variant], such as linux/arm64 or linux/arm/v7"
        parts = text.split("/") if len(text) <= 4 * 64 else []
        if not 1 <= len(parts) <= 3:
            raise SpecError(f"{quote(text)} is not a platform: {form}")
        os_version = ""
        if parts[0].endswith(")"):
            parts[0], _, os_version = parts[0][:-1].partition("(")
            if not _PLATFORM_WORD.fullmatch(os_version):
                raise SpecError(f"{quote(text)} is not a platform: {quote(os_version)} is not an os.version")
        if not all(_PLATFORM_WORD.fullmatch(part) for part in parts):
            raise SpecError(f"{quote(text)} is not a platform: {form}")
        if len(parts) == 1:
            word = parts[0].lower()
            if os_version or word in _SYSTEMS:
                raise SpecError(f"{quote(text)} is an operating system without an architecture: {form}")
            return cls.normal("linux", word)
        return cls.normal(parts[0], parts[1], parts[2] if len(parts) == 3 else "", os_version)

    def matches(self, wanted: Platform) -> bool:
        """Whether this platform is the ``wanted`` one: exactly, ``os.version`` only where it is wanted."""
        return (
            self.os == wanted.os
            and self.architecture == wanted.architecture
            and self.variant == wanted.variant
            and (not wanted.os_version or self.os_version == wanted.os_version)
        )

    def __str__(self) -> str:
        version = f"({self.os_version})" if self.os_version else ""
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.os}{version}/{self.architecture}{variant}"


@functools.lru_cache(maxsize=1024)
def stated_platform(os: str, architecture: str, variant: str, os_version: str) -> Platform | None:
    """Return the platform that a document states in these words, or None where they are none.

    Any printable word will do. There are few platforms, and every index names some.
    """
    if not os or not architecture or not _PRINTABLE.fullmatch(os + architecture + variant + os_version):
        return None
    return Platform.normal(os, architecture, variant, os_version)


def near_platform(platform: Platform) -> str:
    """Return the platform that was probably meant where one is misspelled; else "".

    An os or architecture that is not known is misspelled only where it is near a known one: others may exist.
    """

    def mended(word: str, known: Sequence[str]) -> str:
        near = [] if word in known else difflib.get_close_matches(word, known, n=1, cutoff=0.75)
        return near[0] if near else word

    os, architecture = mended(platform.os, _SYSTEMS), mended(platform.architecture, _ARCHITECTURES)
    if (os, architecture) == (platform.os, platform.architecture):
        return ""
    return str(Platform.normal(os, architecture, platform.variant, platform.os_version))
