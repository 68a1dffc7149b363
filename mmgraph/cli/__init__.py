"""The command line: what each command does is in a file of its own; here are the way in and the exit codes.

Imports nothing that a help page does not need.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from mmgraph.errors import InternalError, MmgraphError
from mmgraph.names import quote, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn

DONE, FAILED, CHANGES, INTERRUPTED = 0, 1, 2, 130
"""Exit codes; ``CHANGES`` only where it was asked for (terraform's ``-detailed-exitcode``, make's ``-q``)."""

_FILES = 65_536
"""Files and connections to have open: far more than all windows of a run together. Not as many as there may be, since
children inherit it, and some close one after the other all that they could have: a thousand million in some containers
(moby/moby#44547)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` spell, those of the process where None, and return its exit code."""
    from cyclopts.exceptions import CycloptsError

    from mmgraph.cli.app import run
    from mmgraph.cli.output import say

    _occupy()
    _raise_limit()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII alone
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except CycloptsError as error:
        # Not cyclopts' own exit code for these, which is 2: that one says "changes pending" here.
        from mmgraph.cli.misuse import told

        say(without_credentials(told(error)))
        say(f"see {' '.join(['mmgraph', *(error.command_chain or ())])} --help")
        return FAILED
    except Exception as error:
        leaves = list(_leaves(error))
        for message in dict.fromkeys(_message(leaf) for leaf in leaves):
            say(message)
        if any(_is_unexpected(leaf) for leaf in leaves) or os.environ.get("MMGRAPH_DEBUG"):
            _explain(error)
        return FAILED


def program() -> NoReturn:
    """Run the command that the process was called with, and end the process with its exit code.

    At once: to take apart a graph of millions of nodes object by object would take seconds, and serve nobody.
    """
    _buffer()
    code = main()
    with suppress(OSError, ValueError):  # nobody reads it, or it is closed
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        code = code or FAILED  # a result that was not heard
    os._exit(code)


def _occupy() -> None:
    """Put the null device where a standard stream is closed: else a file or socket would get its number, and its text.

    That of results cannot be written to, so that they are not lost unheard.
    """
    for name, access in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, access)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


def _buffer() -> None:
    """Put a buffer before standard output where PYTHONUNBUFFERED has taken it away, as in many container images.

    A raw file writes a part, and nobody hears of the rest: not of a disk that is full, nor of a signal in between.
    """
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and isinstance(raw := stream.buffer, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, line_buffering=True)
        stream.detach()  # else it would close the file when it goes


def _raise_limit() -> None:
    """Raise the soft limit of open files, which many systems leave at 1024 for the sake of select(2), as Go does.

    Unlike there children keep it (golang/go#46279): one that select(2) would fail by it needs more than 1024 files, and
    would have failed without it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(
            OSError, ValueError
        ):  # macOS takes no more than kern.maxfilesperproc, whatever the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _is_unexpected(error: BaseException) -> bool:
    return isinstance(error, InternalError) or not isinstance(error, MmgraphError | OSError)


def _message(error: BaseException) -> str:
    if isinstance(error, MmgraphError):
        return "\n".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, OSError):
        if (
            error.errno == errno.ENOENT
            and error.filename is not None
            and error.strerror == os.strerror(errno.ENOENT)
        ):
            return f"{quote(str(error.filename))}: there is no such file"
        name = f"{error.filename}: " if error.filename is not None else ""
        return without_credentials(f"{name}{error.strerror or error}")
    return f"{type(error).__name__}: {error}"


def _explain(error: Exception) -> None:
    from mmgraph.cli.output import say

    if os.environ.get("MMGRAPH_DEBUG"):
        traceback.print_exception(error)
    else:
        say("this is a fault of mmgraph: please report it, with what the same command says under --debug")
