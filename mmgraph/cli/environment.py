"""Variables of the environment that look like options and are none. Knows the options of all commands."""

import difflib
import os
from typing import Final

from cyclopts import App
from cyclopts.argument import ArgumentCollection

from mmgraph.cli.output import say
from mmgraph.names import quote

PREFIX: Final = "MMGRAPH_"
_OTHERS: Final = frozenset({"MMGRAPH_DEBUG"})
_NEAR: Final = 3


def check_variables(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Warn of each variable with our prefix that no command reads; a source of options for cyclopts.

    It is no error: a wrapper may have variables of its own.
    """
    ours = [name for name in os.environ if name.startswith(PREFIX)]
    if not commands or not ours:
        return
    known = _known(next(iter(app.app_stack.current_frame)), "")
    for name in sorted(set(ours) - known):
        near = difflib.get_close_matches(name, sorted(known), n=_NEAR)
        more = f"; near it are {', '.join(near)}" if near else ""
        say(f"notice: no option is called {quote(name)}, so it is not read{more}")


def _known(app: App, path: str) -> set[str]:
    """The variables of all commands: of an option in general, and of it in one command."""
    found = set(_OTHERS)
    for name in app:
        if name.startswith("-"):
            continue
        command = app[name]
        mine = f"{path}{name.upper()}_"
        if command.default_command is None:
            found |= _known(command, mine)
            continue
        for argument in command.assemble_argument_collection():
            for option in argument.names:
                if option.startswith("--"):
                    variable = option.removeprefix("--").replace("-", "_").upper()
                    found |= {f"{PREFIX}{variable}", f"{PREFIX}{mine}{variable}"}
    return found
