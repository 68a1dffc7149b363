"""References, digests, registries, repositories and platforms: their grammars and normal forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.errors import SpecError
from mmgraph.names import (
    Digest,
    Digests,
    Platform,
    Reference,
    Registry,
    Repository,
    near_platform,
    quote,
    without_credentials,
)

SHA256 = "sha256:" + "ab" * 32
SHA512 = "sha512:" + "ab" * 64

REFERENCES = {
    "one word": ("alpine", "docker.io/library/alpine:latest"),
    "a user on Docker Hub": ("grafana/loki:3.0", "docker.io/grafana/loki:3.0"),
    "docker.io": ("docker.io/alpine", "docker.io/library/alpine:latest"),
    "index.docker.io": ("index.docker.io/library/alpine:3", "docker.io/library/alpine:3"),
    "registry-1.docker.io": ("registry-1.docker.io/library/alpine:3", "docker.io/library/alpine:3"),
    "a host with a dot": ("ghcr.io/org/app", "ghcr.io/org/app:latest"),
    "a host with a port": ("mirror:5000/app:v1", "mirror:5000/app:v1"),
    "localhost": ("localhost/foo", "localhost/foo:latest"),
    "an upper-case host with a dot": ("GHCR.io/org/app:V1", "ghcr.io/org/app:V1"),
    "an upper-case host without a dot": ("Mirror/app", "MIRROR/app:latest"),
    "a lower-case word before the slash": ("mirror/app", "docker.io/mirror/app:latest"),
    "a name like a host and port": ("localhost:5000", "docker.io/library/localhost:5000"),
    "an IPv6 address": ("[::1]:5000/app:v1", "[::1]:5000/app:v1"),
    "a digest alone": (f"quay.io/a/b@{SHA256}", f"quay.io/a/b@{SHA256}"),
    "a tag and a digest": (f"quay.io/a/b:v1@{SHA512}", f"quay.io/a/b:v1@{SHA512}"),
    "all separators": ("quay.io/a.b_c__d---e/f", "quay.io/a.b_c__d---e/f:latest"),
    "a deep path": ("quay.io/a/b/c/d:1", "quay.io/a/b/c/d:1"),
}

NO_REFERENCES = {
    "nothing": ("", "write a name such as"),
    "upper case": ("quay.io/Org/app", 'write "org/app"'),
    "a scheme": ("https://quay.io/org/app", "leave out the scheme"),
    "a short digest": ("quay.io/a/b@sha256:abcd", "64 lower-case hex digits"),
    "an upper-case digest": (f"quay.io/a/b@sha256:{'AB' * 32}", "lower-case hex"),
    "a digest that cannot be verified": (f"quay.io/a/b@md5:{'a' * 32}", "use sha256 or sha512"),
    "no repository": ("quay.io/", "is not a repository"),
    "an empty component": ("quay.io/a//b", "is not a repository"),
    "an empty tag": ("alpine:", "is not a tag"),
    "a bad tag": ("alpine:.x", "is not a tag"),
    "a long tag": ("alpine:" + "x" * 129, "is not a tag"),
    "two tags": ("alpine:1:2", "is not a repository"),
    "a tag in the middle": ("quay.io/a:1/b", "is not a repository"),
    "a port out of range": ("host:65536/a", "between 1 and 65535"),
    "spaces": (" alpine", "is not a repository"),
    "a line end": ("alpine\n", "is not a repository"),
    "other letters": ("quay.io/ä", "is not a repository"),
    "a long repository": ("quay.io/" + "a" * 256, "longer than 255"),
    "a long text": ("a" * 100_000, "longer than"),
}

PLATFORMS = {
    "plain": ("linux/amd64", "linux/amd64"),
    "a variant": ("linux/arm/v6", "linux/arm/v6"),
    "32-bit ARM is v7": ("linux/arm", "linux/arm/v7"),
    "a variant without its v": ("linux/arm/7", "linux/arm/v7"),
    "64-bit ARM is v8": ("linux/arm64/v8", "linux/arm64"),
    "amd64 is v1": ("linux/amd64/v1", "linux/amd64"),
    "amd64 has other variants": ("linux/amd64/v3", "linux/amd64/v3"),
    "an architecture means linux": ("arm64", "linux/arm64"),
    "aliases": ("Linux/x86_64", "linux/amd64"),
    "aarch64": ("aarch64", "linux/arm64"),
    "armhf": ("armhf", "linux/arm/v7"),
    "armel": ("armel", "linux/arm/v6"),
    "macos": ("macos/arm64", "darwin/arm64"),
    "an os.version": ("windows(10.0.17763.5329)/amd64", "windows(10.0.17763.5329)/amd64"),
}

NO_PLATFORMS = {
    "nothing": ("", "write os/architecture"),
    "an os alone": ("linux", "operating system without an architecture"),
    "an os alone, otherwise named": ("macOS", "operating system without an architecture"),
    "an os.version alone": ("windows(10.0)", "operating system without an architecture"),
    "too many parts": ("linux/arm/v7/x", "write os/architecture"),
    "an empty part": ("linux//v7", "write os/architecture"),
    "a comma": ("linux/amd64,linux/arm64", "write os/architecture"),
    "an empty os.version": ("windows()/amd64", "is not an os.version"),
    "a long text": ("a" * 100_000, "write os/architecture"),
}


@pytest.mark.parametrize(("text", "normal"), REFERENCES.values(), ids=REFERENCES.keys())
def test_reference_has_one_normal_form(text: str, normal: str) -> None:
    """An image's name is read as docker reads it and written in full."""
    assert normal == str(Reference.parse(text))


@pytest.mark.parametrize(("text", "part"), NO_REFERENCES.values(), ids=NO_REFERENCES.keys())
def test_reference_refuses(text: str, part: str) -> None:
    """What is no image's name is refused with a message that says what to write."""
    with pytest.raises(SpecError) as caught:
        Reference.parse(text)

    assert part in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "user:secret@ghcr.io/org/app",
        "https://user:secret@ghcr.io/org/app",
        "user:se@cret@ghcr.io/org/app",
        "user:s/secret@ghcr.io:443",
        f"user:secret@ghcr.io/a@{SHA256}",
        "user:secret@" + "x" * 1000,
        "user:secret@shared.example",
        "user:secret@shard:5000",
        "user:secret@md",
        "user:secret@sha256.example:443",
        "user:secret@sha256:443",
        "user:secret%40host/x",
        "user:secret@host%40x",
    ],
)
def test_reference_with_credentials_does_not_echo_them(text: str) -> None:
    """A password that somebody wrote into a name reaches no message."""
    with pytest.raises(SpecError) as caught:
        Reference.parse(text)

    assert not any(part in str(caught.value) for part in ("secret", "se@", "cret"))


def test_quote_shows_a_name_with_a_digest() -> None:
    """Only what may be a password is left out."""
    assert f'"alpine@{SHA256}"' == quote(f"alpine@{SHA256}")


@pytest.mark.parametrize("text", ["user:secret@md", "user:secret@sha256:443", "user:secret%40host"])
def test_a_registry_with_credentials_does_not_echo_them(text: str) -> None:
    """Options name registries too."""
    with pytest.raises(SpecError) as caught:
        Registry.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('Invalid value "u:secret@host" for --jobs', 'Invalid value "…@host" for --jobs'),
        (f"alpine:3@{SHA256} is no file", f"alpine:3@{SHA256} is no file"),
        ("docker://u:secret%40host: No such file", "…%40host: No such file"),
        ("backup@home/specs.json: No such file", "backup@home/specs.json: No such file"),
    ],
)
def test_messages_of_others_lose_their_credentials(message: str, expected: str) -> None:
    """What an option's parser or the system quotes may be a password; names of files stay."""
    assert expected == without_credentials(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd46", "linux/amd64"),
        ("amd46", "linux/amd64"),
        ("linxu/arm/v6", "linux/arm/v6"),
        ("linux/arm64", ""),
        ("linux/riscv64", ""),
        ("linux/z80", ""),
        ("unknown/unknown", ""),
    ],
)
def test_a_misspelled_platform_is_near_a_known_one(text: str, expected: str) -> None:
    """What is known, or like nothing that is known, may be meant."""
    assert expected == near_platform(Platform.parse(text))


def test_quote_shows_control_characters() -> None:
    """Foreign text cannot steer the terminal that shows it."""
    expected = r'"\x1b[2J\n"'

    assert expected == quote("\x1b[2J\n")


def test_quote_shortens() -> None:
    """A message stays short, whatever somebody sends."""
    expected = f'"{"x" * 120}…"'

    assert expected == quote("x" * 100_000)


def test_goal_of_a_tag_and_a_digest_is_the_tag() -> None:
    """``r:t`` and ``r:t@d`` are one destination."""
    assert Reference.parse("quay.io/a/b:v1") == Reference.parse(f"quay.io/a/b:v1@{SHA256}").goal


def test_goal_of_a_digest_is_the_digest() -> None:
    """A destination without a tag is a manifest."""
    reference = Reference.parse(f"quay.io/a/b@{SHA256}")

    assert reference == reference.goal


@pytest.mark.parametrize("text", ["alpine", "quay.io/a/b", "localhost:5000/a", "[::1]:80/a"])
def test_repository_is_a_name_without_tag_and_digest(text: str) -> None:
    """A repository is read with the same defaults as an image."""
    assert Reference.parse(text).repository == Repository.parse(text)


@pytest.mark.parametrize(
    "text", ["alpine:latest", "quay.io/a/b:v1", f"quay.io/a/b@{SHA256}", "localhost:5000"]
)
def test_repository_refuses_more(text: str) -> None:
    """A tag or digest where a repository is wanted is a mistake, not something to drop."""
    with pytest.raises(SpecError, match="leave out the tag"):
        Repository.parse(text)


@pytest.mark.parametrize(
    "text", ["", "host:", "host:0", "host:99999", "a/b", "-a", "a..b", "[::1", "host:１"]
)
def test_registry_refuses(text: str) -> None:
    """A registry is a host, with a port or without."""
    with pytest.raises(SpecError, match="is not a registry"):
        Registry.parse(text)


@pytest.mark.parametrize("text", ["", "sha256", "sha256:", f"{SHA256}a", f" {SHA256}", f"SHA256:{'ab' * 32}"])
def test_digest_refuses(text: str) -> None:
    """A digest is an algorithm that can be verified and its length of hex digits."""
    with pytest.raises(SpecError, match="is not a digest"):
        Digest.parse(text)


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_digest_has_parts(text: str) -> None:
    """Algorithm and hex digits make the digest."""
    digest = Digest.parse(text)

    assert (text, text[:19]) == (f"{digest.algorithm}:{digest.hex}", digest.short)


def test_digests_are_kept_once() -> None:
    """Two texts that spell one digest give the same object."""
    digests = Digests()

    assert digests[SHA256] is digests["sha256:" + "ab" * 32]


def test_digests_are_read_as_each_is() -> None:
    """What is no digest is refused each time."""
    digests = Digests()
    for _ in range(2):
        with pytest.raises(SpecError, match="is not a digest"):
            digests["sha256:ab"]


@pytest.mark.parametrize(("text", "normal"), PLATFORMS.values(), ids=PLATFORMS.keys())
def test_platform_has_one_normal_form(text: str, normal: str) -> None:
    """A platform is read as docker's ``--platform`` reads it, whatever machine mmgraph runs on."""
    assert normal == str(Platform.parse(text))


@pytest.mark.parametrize(("text", "part"), NO_PLATFORMS.values(), ids=NO_PLATFORMS.keys())
def test_platform_refuses(text: str, part: str) -> None:
    """What is no platform is refused; an os alone is not completed from the machine."""
    with pytest.raises(SpecError) as caught:
        Platform.parse(text)

    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("windows/amd64", True),
        ("windows(10.0.1)/amd64", True),
        ("windows(10.0.2)/amd64", False),
        ("windows/arm64", False),
        ("windows/amd64/v2", False),
    ],
)
def test_platform_matches_the_version_only_where_it_is_wanted(wanted: str, expected: bool) -> None:
    """The os.version tells Windows images apart for those who ask for one."""
    assert expected == Platform.parse("windows(10.0.1)/amd64").matches(Platform.parse(wanted))


# Text near the grammar, so that a good part of it is accepted.
near_names = st.text(alphabet="abcXY019._-/:@[]()", max_size=40) | st.lists(
    st.sampled_from(
        [
            "localhost",
            "index.docker.io",
            "GHCR",
            "a.b",
            "[::1]",
            ":5000",
            "/",
            "/app",
            ":v1",
            "@",
            SHA256,
            "é",
        ]
    ),
    max_size=7,
).map("".join)
near_platforms = st.text(alphabet="lineuxarmv6789/(). ", max_size=30) | st.lists(
    st.sampled_from(
        ["linux", "windows", "macos", "(10.0)", "/", "/arm", "/arm64", "/x86_64", "armhf", "/v8", "/7", "/V1"]
    ),
    max_size=5,
).map("".join)


@given(near_names | st.text())
def test_reference_reads_back_what_it_writes(text: str) -> None:
    """Any text is refused with ``SpecError``, or its normal form is its own normal form."""
    try:
        reference = Reference.parse(text)
    except SpecError:
        return

    assert reference == Reference.parse(str(reference))


@given(near_names | st.text())
def test_registry_reads_back_what_it_writes(text: str) -> None:
    """Any text is refused with ``SpecError``, or it is a registry that reads back."""
    try:
        registry = Registry.parse(text)
    except SpecError:
        return

    assert registry == Registry.parse(str(registry))


@given(near_names | st.text())
def test_repository_reads_back_what_it_writes(text: str) -> None:
    """Any text is refused with ``SpecError``, or it is a repository that reads back."""
    try:
        repository = Repository.parse(text)
    except SpecError:
        return

    assert repository == Repository.parse(str(repository))


@given(near_platforms | st.text())
def test_platform_reads_back_what_it_writes(text: str) -> None:
    """Any text is refused with ``SpecError``, or its normal form is its own normal form."""
    try:
        platform = Platform.parse(text)
    except SpecError:
        return

    assert platform == Platform.parse(str(platform))


@given(st.text() | st.text(alphabet="sha256:0af", max_size=80))
def test_digest_reads_back_what_it_writes(text: str) -> None:
    """Any text is refused with ``SpecError``, or it is the digest as it stands."""
    try:
        digest = Digest.parse(text)
    except SpecError:
        return

    assert text == str(digest)
