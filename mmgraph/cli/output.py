"""Where results and messages go: standard output and standard error; files whole or not at all."""

import errno
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from mmgraph.cli.options import Colour
from mmgraph.report.terminal import coloured
from mmgraph.report.words import safe

DASH: Final = "\0"
"""Stands for an argument "-", which cyclopts takes for an option; no real argument can be this."""

_LINE_LIMIT: Final = 10_000
"""Characters of one line of a message; names and causes in it are cut before."""


def say(message: str) -> None:
    """Write a message for people to standard error; whoever does not listen misses it."""
    try:
        for line in message.splitlines() or [""]:
            print(f"mmgraph: {safe(line, _LINE_LIMIT)}", file=sys.stderr, flush=True)
    except OSError:
        pass


def emit(text: str) -> None:
    """Write a part of the result to standard output; that its reader has gone is no failure."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed", "standard output")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(error.errno, error.strerror, "standard output") from None


def tell(text: str) -> None:
    """Write text for people to standard error, where standard output is for a program; a lost one is no failure."""
    with suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def write(path: Path, content: bytes, *, private: bool = False) -> None:
    """Put ``content`` into the file ``path``: whole, or it stays as it was. ``private``: only its owner's.

    Raises ``OSError`` that names ``path`` as it was given.
    """
    if str(path) in {DASH, "-"}:
        emit(content.decode())
        return
    try:
        _replace(path, content, private)
    except FileNotFoundError as error:
        raise OSError(error.errno, "there is no such directory", str(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _replace(path: Path, content: bytes, private: bool) -> None:
    if path.exists() and not path.is_file():  # a pipe, or /dev/stdout, which must not be replaced by a file
        path.write_bytes(content)
        return
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if not private:
                os.fchmod(file.fileno(), 0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def wants_colour(stream: TextIO, colour: Colour) -> bool:
    """Whether to colour what goes to ``stream``."""
    return colour == "always" or (colour == "auto" and coloured(os.environ, stream.isatty()))


def width() -> int:
    """Columns to fill on standard output: those of the terminal, and a book's page elsewhere."""
    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100


def _umask() -> int:
    # There is no way to read it without setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
