"""What is wrong with a command line, in the words of this program instead of those of cyclopts."""

from typing import Literal, get_args, get_origin

from cyclopts.argument import Argument
from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    ValidationError,
)
from cyclopts.token import Token
from cyclopts.validators import Number

from mmgraph.names import quote

_MISSING = {
    "explain": "explain needs a NAME or a digest",
    "diff": "diff needs two plans or sets of specs: OLD NEW",
    "completion": "completion needs the name of a shell: bash, zsh or fish",
}


def told(error: CycloptsError) -> str:
    """Return the sentence: which option, what was given, what to write."""
    argument = error.argument
    if isinstance(error, CoercionError | ValidationError) and argument is not None:
        token = getattr(error, "token", None) or next(iter(argument.tokens), None)
        if token is not None:
            return _wrong(argument, token)
    if isinstance(error, MissingArgumentError) and argument is not None:
        return _missing(error, argument)
    if isinstance(error, RepeatArgumentError) and error.token.keyword:
        return f"{error.token.keyword} stands there twice: write it once"
    return str(error).replace("\0", "-")


def _wrong(argument: Argument, token: Token) -> str:
    value = quote(token.value.replace("\0", "-"))
    name = token.keyword or argument.name
    advice = _advice(argument, in_file=token.source not in ("", "cli", "env"))
    if token.source in ("", "cli", "env"):
        return f"{name} {value}: {advice}"
    return f"{token.source}: {name.strip('[]')} is {value}: {advice}"


def _advice(argument: Argument, *, in_file: bool) -> str:
    types = [kind for kind in get_args(argument.hint) if kind is not type(None)] or [argument.hint]
    if get_origin(argument.hint) is Literal:
        types = [argument.hint]
    elif get_origin(types[0]) is Literal:
        types = [types[0]]
    if get_origin(types[0]) is Literal:
        *some, last = map(str, get_args(types[0]))
        return f"write {', '.join(some)} or {last}"
    if types[0] is bool:
        return "write true or false" if in_file else "write it without a value"
    if types[0] in (int, float):
        return f"write {'a whole number' if types[0] is int else 'a number'}{_range(argument)}"
    return (
        f"write {argument.parameter.metavar or 'another value'}"
        if isinstance(argument.parameter.metavar, str)
        else "write another value"
    )


def _range(argument: Argument) -> str:
    validators = argument.parameter.validator
    for each in validators if isinstance(validators, tuple | list) else [validators]:
        if isinstance(each, Number) and each.gte is not None:
            return f" from {each.gte} to {each.lte}" if each.lte is not None else f", {each.gte} or more"
    return ""


def _missing(error: MissingArgumentError, argument: Argument) -> str:
    command = " ".join(error.command_chain or ())
    name = error.keyword or argument.name
    if not name.startswith("-"):
        return _MISSING.get(command, f"{command} needs {name}".strip())
    metavar = argument.parameter.metavar
    return f"{name} needs a value: write {name} {metavar if isinstance(metavar, str) else 'VALUE'}"
