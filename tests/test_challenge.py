"""Challenges as strangers write them, and who is trusted with a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.registry.challenge import Challenge, challenges

HUB_REALM = "https://auth.docker.io/token"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            [f'Bearer realm="{HUB_REALM}",service="registry.docker.io",scope="repository:a/b:pull,push"'],
            [
                (
                    "bearer",
                    {
                        "realm": HUB_REALM,
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (['Basic realm="a \\"quoted\\", word"'], [("basic", {"realm": 'a "quoted", word'})]),
        (
            ['Basic realm="x", Bearer realm="y" , service = z'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        (["Negotiate", 'Basic realm="x"'], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (["Negotiate YIIJ8g==, Basic realm=x"], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (
            ["NTLM TlRMTVNTUAAC, Negotiate, BASIC REALM=x"],
            [("ntlm", {}), ("negotiate", {}), ("basic", {"realm": "x"})],
        ),
        (
            [', ,Bearer realm="x",,error="insufficient_scope"'],
            [("bearer", {"realm": "x", "error": "insufficient_scope"})],
        ),
        (['Bearer realm="x",realm="evil"'], [("bearer", {"realm": "x"})]),
        (['Bearer realm="x'], [("bearer", {})]),
        (['realm="x"'], []),
        ([""], []),
        ([], []),
    ],
)
def test_challenges(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    """Several schemes, several headers, quoted commas, unknown parameters and malformed rests are read."""
    assert tuple(Challenge(*each) for each in expected) == challenges(headers)


@given(st.lists(st.text(alphabet=st.sampled_from('Basicer =",\\\t\x00é0') | st.characters()), max_size=3))
def test_challenges_take_anything(headers: list[str]) -> None:
    """No WWW-Authenticate header makes the scanner raise or return more than its limits."""
    found = challenges(headers)
    assert len(found) <= 16
    assert all(len(each.parameters) <= 32 for each in found)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Basic", "Bearer", "Digest"]),
            st.dictionaries(
                st.from_regex("[a-z]{1,8}", fullmatch=True),
                st.text(st.characters(max_codepoint=126), max_size=40),
                min_size=1,
                max_size=16,
            ),
        ),
        max_size=4,
    )
)
def test_challenges_read_what_is_written(wanted: list[tuple[str, dict[str, str]]]) -> None:
    """Well-formed challenges come back, whatever their quoted values hold."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ",".join(f"{key}={quoted(value)}" for key, value in parameters.items())
        for scheme, parameters in wanted
    )
    assert tuple(Challenge(scheme.lower(), parameters) for scheme, parameters in wanted) == challenges(
        [header]
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([f'Basic realm="{"x" * 65_000}", Bearer realm="y"'], ["basic", "bearer"]),
        ([f'Basic realm="{"x" * 65_600}", Bearer realm="y"'], ["basic"]),
        ([f'Basic realm="{"x" * 65_000}"', f'Bearer realm="{"y" * 65_000}"'], ["basic", "bearer"]),
        ([f'Basic realm="{"x" * 65_600}"', 'Bearer realm="y"'], ["basic"]),
    ],
)
def test_64_kib(headers: list[str], expected: list[str]) -> None:
    """All headers together are read up to 64 KiB; what is cut off there is no parameter."""
    assert expected == [challenge.scheme for challenge in challenges(headers)]


def test_a_long_challenge_is_bounded() -> None:
    """Thousands of challenges and parameters are read up to the limits, in linear time."""
    many = ", ".join(f"S{number} a=b" for number in range(3000))
    deep = "Basic " + ",".join(f"p{number}=x" for number in range(3000)) + ',q="' + "\\a" * 100_000
    expected = [16, 32]
    assert expected == [len(challenges([many])), len(challenges([deep])[0].parameters)]
