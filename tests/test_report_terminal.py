"""When to animate and when to colour."""

from __future__ import annotations

import pytest

from mmgraph.report.terminal import animated, coloured

XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environ", "isatty", "expected"),
    [
        (XTERM, True, True),
        (XTERM, False, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        (XTERM | {"CI": "true"}, True, False),
        (XTERM | {"CI": "false"}, True, True),
        (XTERM | {"FORCE_COLOR": "1"}, False, False),
        (XTERM | {"NO_COLOR": "1"}, True, True),
    ],
)
def test_only_a_terminal_is_animated(environ: dict[str, str], isatty: bool, expected: bool) -> None:
    """Lines are rewritten on a terminal that can, outside CI, whatever the variables of colour say."""
    assert expected is animated(environ, isatty)


@pytest.mark.parametrize(
    ("environ", "isatty", "expected"),
    [
        (XTERM, True, True),
        (XTERM, False, False),
        ({"TERM": "dumb"}, True, False),
        (XTERM | {"NO_COLOR": "1"}, True, False),
        (XTERM | {"NO_COLOR": ""}, True, True),
        (XTERM | {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, True),
        (XTERM | {"FORCE_COLOR": "0"}, True, False),
        (XTERM | {"CLICOLOR_FORCE": "1"}, False, True),
        (XTERM | {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
        (XTERM | {"CLICOLOR_FORCE": "0"}, False, False),
        (XTERM | {"CLICOLOR": "0"}, True, False),
    ],
)
def test_variables_decide_about_colour_before_the_terminal(
    environ: dict[str, str], isatty: bool, expected: bool
) -> None:
    """FORCE_COLOR beats NO_COLOR, that CLICOLOR_FORCE, that CLICOLOR, and that the terminal."""
    assert expected is coloured(environ, isatty)
