"""docs/cli.md and docs/mmgraph.1, made from the command line itself; ``--check`` only says whether they are so.

cyclopts' own ``generate_docs`` would repeat the options for registries under each command, and knows no man page.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cyclopts import Group

from mmgraph import __version__
from mmgraph.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cyclopts import App
    from cyclopts.argument import Argument

HERE: Final = Path(__file__).parent
_SHARED: Final = 3
"""An option that so many commands have alike is described once for all."""

_CHAPTERS: Final = """\
# Exit codes
0: Done: every destination is confirmed to name what it shall; nothing is pending; nothing is missing.
1: Something failed, a rule is broken, a saved plan is stale, or the input or the command line is bad.
2: Changes are pending, or something differs, where `--detailed-exitcode` or `--question` asks for that; `verify` found
  something missing.
130: Interrupted. Once lets what is under way come to its end, twice stops at once.
# Environment
`MMGRAPH_OPTION`, `MMGRAPH_COMMAND_OPTION`: An option, for all commands or for one: `MMGRAPH_JOBS`,
  `MMGRAPH_APPLY_JOBS`, `MMGRAPH_AUTH_CHECK_JOBS`. Flags win over these, and these over `mmgraph.toml`. One that is set
  to nothing is not set.
`MMGRAPH_DEBUG`: As `--debug`, where it is not empty.
`FORCE_COLOR`, `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`: Whether `--color auto` colours; the first of them that is set
  wins. Without any, the terminal and `TERM` decide.
`CI`: Where it is set, progress is plain lines, also on a terminal.
`GITHUB_ACTIONS`, `GITHUB_STEP_SUMMARY`: With `--format github`: whether annotations are written, and the file that the
  summary is appended to.
`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`: Proxies, in capitals or small letters; they are spoken to by HTTP.
`SSL_CERT_FILE`, `SSL_CERT_DIR`: Authorities to trust instead of the system's.
`REGISTRY_AUTH_FILE`, `DOCKER_CONFIG`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`: Where login files are, as for podman and
  docker.
`XDG_CACHE_HOME`: Where the cache is; `~/.cache` where it is not set.
# Files
`specs.json`: What commands read that are given no file, and nothing by a pipe.
`mmgraph.toml`: In the current directory: options for all commands, those of one command in a table (`[apply]`), what is
  special about a registry (`[registry."HOST"]`), and rules for destinations (`[[rule]]`).
`$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`, `~/.docker/config.json`: Logins and
  credential helpers, as docker, podman and skopeo leave them. `mmgraph auth check` says which apply.
`~/.config/containers/certs.d`, `/etc/containers/certs.d`, `/etc/docker/certs.d`: Authorities and client certificates,
  in a directory for each registry.
`~/.cache/mmgraph`: Manifests by their digests, and what tags were last seen to name. It may be deleted at any time;
  `mmgraph cache info` says how large it is, and `mmgraph cache clear` empties it.
"""
"""What is no option: by title, terms and their meanings, with code between backquotes."""


class Option(NamedTuple):
    """An option or argument: how it is written, and what it means."""

    term: str
    text: str
    registries: bool = False
    argument: bool = False


class Command(NamedTuple):
    """A command: its name, how it is called, what it does, and what it takes."""

    name: str
    usage: str
    paragraphs: tuple[str, ...]
    example: str
    options: tuple[Option, ...]


class Page(NamedTuple):
    """What both documents say."""

    paragraphs: tuple[str, ...]
    example: str
    commands: tuple[Command, ...]
    everywhere: tuple[Option, ...]

    @property
    def shared(self) -> tuple[Option, ...]:
        """Options of several commands, in the order in which they come."""
        counts = Counter(option for command in self.commands for option in command.options)
        return tuple(option for option in counts if counts[option] >= _SHARED and not option.argument)

    @property
    def sections(self) -> tuple[tuple[str, tuple[Option, ...]], ...]:
        """Options that stand with no command, by title."""
        return (
            ("Options of several commands", tuple(option for option in self.shared if not option.registries)),
            ("Options for registries", tuple(option for option in self.shared if option.registries)),
            ("Options of all commands", self.everywhere),
        )

    def own(self, command: Command) -> tuple[Option, ...]:
        """The options that are described with ``command``."""
        return tuple(option for option in command.options if option not in self.shared)

    def elsewhere(self, command: Command) -> str:
        """A sentence on the options of ``command`` that are described elsewhere."""
        theirs = [option for option in command.options if option in self.shared]
        named = [f"`{re.split('[ ,]', option.term)[0]}`" for option in theirs if not option.registries]
        if any(option.registries for option in theirs):
            named.append("the options for registries")
        return f"Also {' and '.join(filter(None, [', '.join(named[:-1]), named[-1]]))}." if named else ""


_STANDARD: Final = (
    Option("--help, -h", "Say how a command is called, and exit."),
    Option("--version", "Print the version, and exit."),
)


def page() -> Page:
    """Read the command line."""
    commands = tuple(_command(path, command) for path, command in _commands(app, ()))
    everywhere = (_option(each) for each in app.meta.assemble_argument_collection() if each.show)
    return Page(*_help(app), commands, (*everywhere, *_STANDARD))


def _commands(parent: App, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in parent:
        if name.startswith("-"):
            continue
        command = parent[name]
        if command.default_command is None:
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: Sequence[str], command: App) -> Command:
    usage = str(command.usage).removeprefix("Usage: ")
    options = tuple(_option(each) for each in command.assemble_argument_collection() if each.show)
    return Command(" ".join(path), usage, *_help(command), options)


def _help(of: App) -> tuple[tuple[str, ...], str]:
    """The paragraphs of a help text, each as one line, and what is code at its end."""
    text, _, example = str(of.help).strip().rpartition("\n")
    paragraphs = tuple(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return paragraphs, example.removeprefix("Example: ")


def _option(argument: Argument) -> Option:
    names = ", ".join(argument.names)
    choices = "|".join(argument.get_choices() or ())
    text = argument.parameter.help or ""
    default = argument.field_info.default
    if argument.show_default and not argument.required and default is not None:
        text += f" By default {f'{default:g}' if isinstance(default, float) else default}."
    if argument.index is not None:
        return Option(f"{names}: {choices}" if choices else names, text, argument=True)
    if argument.is_flag():
        return Option(names, text, _is_of_registries(argument))
    value = choices or argument.parameter.metavar or getattr(argument.hint, "__name__", "value").upper()
    return Option(f"{names} {value}", text, _is_of_registries(argument))


def _is_of_registries(argument: Argument) -> bool:
    groups = argument.parameter.group
    assert isinstance(groups, tuple)  # cyclopts has made one of whatever was given
    return "Registries" in [group.name for group in groups if isinstance(group, Group)]


def _chapters() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for chapter in _CHAPTERS.replace("\n  ", " ").split("# ")[1:]:
        title, *entries = chapter.strip().split("\n")
        yield title, [(term, text) for term, _, text in (entry.partition(": ") for entry in entries)]


def markdown(content: Page) -> str:
    """Return docs/cli.md."""
    lines = [
        "# The command line",
        "<!-- Made by docs/reference.py from the command line itself: make docs -->",
        *map(_plain, content.paragraphs),
        _fence(content.example),
        "\n".join(
            f"- [{each.name}](#mmgraph-{each.name.replace(' ', '-')}): {_plain(each.paragraphs[0])}"
            for each in content.commands
        ),
    ]
    for command in content.commands:
        lines += [f"## mmgraph {command.name}", _fence(command.usage), *map(_plain, command.paragraphs)]
        lines += ["For example:", _fence(command.example), _options(content.own(command))]
        lines.append(content.elsewhere(command))
    for title, options in content.sections:
        lines += [f"## {title}", _options(options)]
    for title, entries in _chapters():
        lines += [f"## {title}", _list(entries)]
    return "\n\n".join(filter(None, lines)) + "\n"


def _plain(text: str) -> str:
    """Plain text as Markdown."""
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)


def _fence(code: str) -> str:
    return f"```\n{code}\n```"


def _options(options: Sequence[Option]) -> str:
    return _list([(f"`{option.term}`", _plain(option.text)) for option in options])


def _list(entries: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {term}: {text}" for term, text in entries)


def manual(content: Page) -> str:
    """Return docs/mmgraph.1, in the macros of man(7)."""
    about = content.paragraphs[0].removesuffix(".")
    lines = [
        r".\" Made by docs/reference.py from the command line itself: make docs",
        f'.TH MMGRAPH 1 "" "mmgraph {__version__}" "User Commands"',
        *(".nh", ".ad l"),  # names of options are neither broken nor spread
        ".SH NAME",
        rf"mmgraph \- {_roff(about[0].lower() + about[1:])}",
        ".SH SYNOPSIS",
        "\n.br\n".join(_usage(command.usage) for command in content.commands),
        ".SH DESCRIPTION",
        "\n.PP\n".join(map(_roff, content.paragraphs[1:])),
        *_sample(content.example),
        ".SH COMMANDS",
    ]
    for command in content.commands:
        lines += [f".SS mmgraph {_roff(command.name)}", _usage(command.usage)]
        lines += [line for paragraph in command.paragraphs for line in (".PP", _roff(paragraph))]
        lines += [".PP", "For example:", *_sample(command.example), *_terms(content.own(command))]
        if more := content.elsewhere(command):
            lines += [".PP", _marked(more)]
    lines.append(".SH OPTIONS")
    for title, options in content.sections:
        lines += [f".SS {title}", *_terms(options)]
    for title, entries in _chapters():
        lines.append(f".SH {title.upper()}")
        lines += [line for term, text in entries for line in (".TP", _marked(term), _marked(text))]
    lines += [
        ".SH SEE ALSO",
        ".BR skopeo (1),",
        ".BR containers-auth.json (5),",
        ".BR containers-certs.d (5)",
    ]
    return "\n".join(lines) + "\n"


_ROFF: Final = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
)
"""A typesetter makes others of these, and what is copied from the page would not run (groff_char(7))."""


def _roff(text: str) -> str:
    """Plain text as roff: nothing in it begins a request."""
    return rf"\&{text.translate(_ROFF)}" if text.startswith(".") else text.translate(_ROFF)


def _marked(text: str) -> str:
    """Text with code between backquotes as roff."""
    return "".join(_bold(part) if at % 2 else _roff(part) for at, part in enumerate(text.split("`")))


def _bold(text: str) -> str:
    """Code, and not broken in the middle of a word."""
    return rf"\fB\%{_roff(text)}\fR" if text else ""


def _usage(usage: str) -> str:
    name, options, rest = usage.partition(" [OPTIONS]")
    return rf"\fB{_roff(name)}\fR{options}{_roff(rest)}"


def _sample(code: str) -> list[str]:
    return [".PP", ".RS 4", ".nf", _roff(code), ".fi", ".RE"]


def _terms(options: Sequence[Option]) -> list[str]:
    return [line for option in options for line in (".TP", _bold(option.term), _roff(option.text))]


def main(arguments: Sequence[str]) -> int:
    """Write both documents, or with --check name those that are not what would be written."""
    content = page()
    made = {HERE / "cli.md": markdown(content), HERE / "mmgraph.1": manual(content)}
    old = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        for path in old:
            sys.stderr.write(f"docs/{path.name} is not what the command line says: run make docs\n")
        return 1 if old else 0
    for path in old:
        path.write_text(made[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
