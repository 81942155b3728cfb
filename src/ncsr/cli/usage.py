"""The errors of the command line's parser, in one sentence each."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import typer

from ncsr.errors import brief

ParserError: type[Exception] = typer.BadParameter.__mro__[1]  # typer has click's classes inside it or, once, beside it
"""The base class of the parser's errors."""


def usage_sentence(error: Any, arguments: list[str]) -> str:
    """The sentence for a parser's error: what is wrong where, what was probably meant, and where it is explained."""
    command = f"ncsr {arguments[0]}" if error.ctx is None else error.ctx.command_path
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    if kind == "NoSuchOption":
        near = get_close_matches(error.option_name, error.possibilities or [], 1, 0.5)
        said = f"there is no option {error.option_name}{_guess(near)}"
    elif "No such command" in error.message:
        near = get_close_matches(arguments[0], error.ctx.command.commands, 1)
        said = f"there is no command {brief(arguments[0])}{_guess(near)}"
    elif kind == "MissingParameter":
        said = f"{_name(parameter)} is missing"
    elif parameter is not None:
        said = f"{_name(parameter)}: {_expectation(error)}"
    else:
        said = error.message[:1].lower() + error.message[1:].rstrip(".")
    where = f"{command.partition(' ')[2]}: ".removeprefix(": ")
    return f"{where}{said}{' ' if said.endswith('?') else '; '}see `{command} --help`"


def _name(parameter: Any) -> str:
    """A parameter as it is typed: -o / --output, INPUT."""
    option = parameter.param_type_name == "option"
    return str(" / ".join(parameter.opts) if option else parameter.metavar or parameter.name.upper())


def _guess(near: list[str]) -> str:
    return f": did you mean {near[0]}?" if near else ""


def _expectation(error: Any) -> str:
    """What is expected of a value, and what came."""
    said = str(error.message).partition(", unable to parse")[0].rstrip(".").removeprefix("Value error, ")
    if error.__cause__ is None or not said.startswith("Input "):
        return said
    return f"it {said.removeprefix('Input ')}, got {brief(error.__cause__.errors()[0]['input'])}"
