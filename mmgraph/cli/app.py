"""The commands and what all of them share: ``-C``, ``--debug``, where options come from."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Group, Parameter
from cyclopts.config import Env

from mmgraph import __version__
from mmgraph.cli.config import File
from mmgraph.cli.output import DASH

_HELP: Final = """Mirror large sets of container images between registries the way make builds files.

A copy spec says "this tag there shall be that image here":
{"src": "alpine:3.20", "dst": "registry.example/alpine:3.20"}
"""
_EPILOGUE: Final = """\
SPECS are files with copy specs, - is standard input. Without any: what is piped in, else ./specs.json.
Options can also stand in the environment (MMGRAPH_JOBS, MMGRAPH_APPLY_JOBS) and in ./mmgraph.toml.

Exit codes: 0 done, 1 failure or bad input, 2 changes pending (only where asked for), 130 interrupted."""

app = App(
    name="mmgraph",
    version=__version__,
    help=_HELP,
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    config=[Env("MMGRAPH_", show=False), Env("MMGRAPH_", command=False, show=False), File()],
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _command in ("plan", "apply", "graph", "serve", "schema"):
    app.command(f"mmgraph.cli.{_command}:{_command}", name=_command)
app.meta.group_parameters = Group("Everywhere", sort_key=9)


@app.meta.default
def _everywhere(
    *arguments: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    directory: Annotated[
        Path | None, Parameter(name=["--directory", "-C"], metavar="DIR", help="Go there first.")
    ] = None,
    debug: Annotated[bool, Parameter(negative="", help="Show where an error comes from.")] = False,
) -> object:
    if debug:
        os.environ["MMGRAPH_DEBUG"] = "1"
    if directory is not None:
        os.chdir(directory)
    return app([DASH if argument == "-" else argument for argument in arguments])


def run(arguments: Sequence[str]) -> int:
    """Run a command; its errors, and those of cyclopts, come out as exceptions."""
    code = app.meta(list(arguments))
    return code if isinstance(code, int) else 0
