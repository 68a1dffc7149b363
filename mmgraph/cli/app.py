"""The commands and what all of them share: ``-C``, ``--debug``, where options come from."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Group, Parameter
from cyclopts.config import Env

from mmgraph import __version__
from mmgraph.cli.config import File
from mmgraph.cli.environment import PREFIX, check_variables
from mmgraph.cli.output import DASH
from mmgraph.errors import SpecError
from mmgraph.names import quote

_HELP: Final = """Mirror large sets of container images between registries the way make builds files.

A copy spec says "this tag there shall be that image here":
{"src": "alpine:3.20", "dst": "registry.example/alpine:3.20"}
"""
_EPILOGUE: Final = """\
SPECS are files with copy specs, - is standard input. Without any: what is piped in, else ./specs.json.
Options can also stand in the environment (MMGRAPH_JOBS, MMGRAPH_APPLY_JOBS) and in ./mmgraph.toml.

Exit codes: 0 done, 1 failure or bad input, 2 changes pending (only where asked for) or something missing (always \
by verify), 130 interrupted."""

_PLAN: Final = """Say what apply would do.

Shows the tags to write, what is uploaded, mounted or there already, the bytes and the requests. Writes to no registry.
A saved plan is shown as it was made, and no registry is asked.

Example: mmgraph plan specs.json --out mirror.plan && mmgraph apply mirror.plan
"""
_APPLY: Final = """Make every destination what its spec says.

Sends only what is not there, each blob once to a registry. Safe to repeat: what is done is not done \
again. A saved plan is carried out as it is, or refused where a destination has been moved since; where a \
source has, that is said, and the planned digest is copied. SIGINT or SIGTERM lets what is under way come \
to its end; a second one stops it at once.

Example: mmgraph apply specs.json --only 'registry.example/team/*'
"""
_GRAPH: Final = """Print the graph of what apply would do.

DOT for review, or JSON. Writes to no registry.

Example: mmgraph graph specs.json --collapse | dot -Tsvg -o graph.svg
"""
_EXPLAIN: Final = """Say why apply would do what it does about a tag or digest.

The action and its reason, where that is known from, who needs it, what could not be done if it failed, \
and the bytes that would not move without it. Exits 1 where it cannot be planned or a rule forbids it. Writes to no \
registry.

Example: mmgraph explain team/app:v1 specs.json
"""
_DIFF: Final = """Say what differs between two plans, or two sets of specs.

Tags, bytes, requests, and what the set needs at each registry, where nothing is ever deleted. Specs are planned \
against what the destinations hold now, both sets alike: the second as if the first were not carried out. What cannot \
be planned is counted apart, and exits 1. Writes to no registry.

Example: mmgraph diff specs.json amd64.json
"""
_SERVE: Final = """Serve a registry, over a directory or memory.

It speaks plain HTTP and asks nobody who they are, so keep it on loopback. The first line of its output is \
"listening on HOST:PORT". SIGINT or SIGTERM ends it.

Example: mmgraph serve images --listen 127.0.0.1:5000
"""
_SCHEMA: Final = """Print JSON schemas.

Of copy specs, saved plans, and what commands print as JSON (JSON Schema 2020-12).

Example: mmgraph schema specs > specs.schema.json
"""
_COMPLETION: Final = """Print a script that completes the command line in a shell.

For bash, a line in ~/.bashrc: eval "$(mmgraph completion bash)".
For zsh the same with zsh, in ~/.zshrc, behind compinit.
For fish, a file that it finds by itself.

Example: mmgraph completion fish > ~/.config/fish/completions/mmgraph.fish
"""
_VERIFY: Final = """Check that every destination holds its whole image.

Asks for every manifest and blob of every closure, and believes nothing that it was not told now. Writes \
to no registry. Exits 0 where all is whole, 2 where something is missing. What is missing mmgraph apply --repair \
sends. Where a registry holds other bytes, as --level full finds, it must remove them first, by its own delete or \
garbage collection: mmgraph deletes nothing, and sends nothing that is there by the registry's word.

Example: mmgraph verify specs.json --format specs --out broken.json
"""
_AUTH: Final = """Check the logins that a set needs.

Example: mmgraph auth check specs.json
"""
_CHECK: Final = """Say which login applies to each registry of a set, and whether it is taken.

Asks each registry for a token, or shows it user and password: to pull where the set reads, to push where \
it writes. One repository stands for all that have the same login. Writes to no registry, and shows no \
secret. Exits 0 where all will do, 1 where something will not.

Example: mmgraph auth check specs.json --format json | jq .ok
"""
_CACHE: Final = """Say what is kept between runs, or forget it.

Example: mmgraph cache info
"""
_INFO: Final = """Say where the manifest cache is, how much it holds, and how old that is.

Example: mmgraph cache info --format json | jq .manifests
"""
_CLEAR: Final = """Forget all manifests, and what tags were last seen to name.

Nothing is lost by it: the next run reads again what it needs, and plan --offline knows nothing until \
then. Runs that are under way go on.

Example: mmgraph cache clear
"""
_COMMANDS: Final = (
    ("plan", "[SPECS... | PLAN]", _PLAN),
    ("apply", "[SPECS... | PLAN]", _APPLY),
    ("graph", "[SPECS... | PLAN]", _GRAPH),
    ("explain", "NAME|DIGEST [SPECS... | PLAN]", _EXPLAIN),
    ("diff", "OLD NEW", _DIFF),
    ("verify", "[SPECS...]", _VERIFY),
    ("serve", "[DIR]", _SERVE),
    ("schema", "[specs | plan | graph | explanation | difference | report | events]", _SCHEMA),
    ("completion", "bash | zsh | fish", _COMPLETION),
)
_EVERYWHERE: Final = Group("Everywhere", sort_key=9)

app = App(
    name="mmgraph",
    version=__version__,
    help=_HELP,
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    config=[Env(PREFIX, show=False), Env(PREFIX, command=False, show=False), File(), check_variables],
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _rank, (_command, _usage, _summary) in enumerate(_COMMANDS):
    app.command(
        f"mmgraph.cli.{_command}:{_command}",
        name=_command,
        usage=f"Usage: mmgraph {_command} [OPTIONS] {_usage}",
        help=_summary,
        help_epilogue="",
        sort_key=_rank,
    )
_auth = App(name="auth", help=_AUTH, help_epilogue="", sort_key=len(_COMMANDS))
_auth.command(
    "mmgraph.cli.auth:check",
    name="check",
    usage="Usage: mmgraph auth check [OPTIONS] [SPECS...]",
    help=_CHECK,
)
app.command(_auth)
_cache = App(name="cache", help=_CACHE, help_epilogue="", sort_key=len(_COMMANDS) + 1)
for _command, _summary in (("info", _INFO), ("clear", _CLEAR)):
    _cache.command(
        f"mmgraph.cli.cache:{_command}",
        name=_command,
        usage=f"Usage: mmgraph cache {_command} [OPTIONS]",
        help=_summary,
    )
app.command(_cache)


@app.meta.default
def _everywhere(
    *arguments: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    directory: Annotated[
        Path | None, Parameter(alias="-C", group=_EVERYWHERE, metavar="DIR", help="Go there first.")
    ] = None,
    debug: Annotated[
        bool,
        Parameter(negative="", group=_EVERYWHERE, show_default=False, help="Show where errors come from."),
    ] = False,
) -> object:
    if debug:
        os.environ["MMGRAPH_DEBUG"] = "1"
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            cause = "there is no such directory" if missing else error.strerror
            raise SpecError(f"-C {quote(str(directory))}: {cause}") from None
    return app([DASH if argument == "-" else argument for argument in arguments])


def run(arguments: Sequence[str]) -> int:
    """Run a command; its errors, and those of cyclopts, come out as exceptions."""
    for name in [name for name, value in os.environ.items() if name.startswith(PREFIX) and not value]:
        del os.environ[name]  # what is set to nothing is not set: so CI hands on what it does not have
    code = app.meta(list(arguments))
    return code if isinstance(code, int) else 0
