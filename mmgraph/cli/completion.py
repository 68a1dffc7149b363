"""``mmgraph completion``: scripts that complete the command line in a shell."""

from typing import Annotated, Final, Literal

from cyclopts import Parameter

from mmgraph.cli import DONE

_WORDS: Final = 'COMPREPLY=( $(compgen -f -- "${cur}") )'
_READLINE: Final = "COMPREPLY=(); compopt -o default 2>/dev/null"
"""Bash splits what ``compgen`` prints at blanks, and ends a directory with one; readline's own way with files
does neither. Bash 3.2 has no ``compopt``, and offers no files here."""

_NAME: Final = "_cyclopts_mmgraph"
_CALL: Final = """
if [[ $funcstack[1] == _mmgraph ]]; then
  _mmgraph "$@"
else
  compdef _mmgraph mmgraph
fi
"""
"""Read by ``eval``, the script announces itself; out of a file in ``$fpath``, which zsh takes for the body of the
function, it must call what it has defined."""


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(metavar="SHELL", help="Whose script.")], /
) -> int:
    """Print the script of one shell."""
    from mmgraph.cli.app import app
    from mmgraph.cli.output import emit

    script = app.generate_completion(prog_name="mmgraph", shell=shell).rstrip("\n") + "\n"
    if shell == "bash":
        script = script.replace(_WORDS, _READLINE)
    elif shell == "zsh":
        script = script.replace(_NAME, "_mmgraph") + _CALL
    emit(script)
    return DONE
