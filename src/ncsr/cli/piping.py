"""`-` on the command line: the photograph on standard input, the result on standard output."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import typer

from ncsr.errors import InputError

PIPE = "-"


class Piped(NamedTuple):
    """Arguments with files in place of `-`.

    Attributes:
        inputs: the photographs.
        output: where the results go.
        sends: whether the result is sent to standard output.
        names: names for messages, "standard input" or "standard output", by the path of the file.
    """

    inputs: Sequence[str]
    output: str
    sends: bool
    names: Mapping[str, str]

    def named(self, sentence: str) -> str:
        """A sentence with these names in place of the paths."""
        for path, name in self.names.items():
            sentence = sentence.replace(path, name)
        return sentence


def receive(context: typer.Context, inputs: Sequence[str], output: str, suffix: str) -> Piped:
    """Replace `-` by files in a temporary folder, and read standard input into its file.

    Args:
        context: of the command; the folder is removed when the command ends.
        inputs: photographs.
        output: where the results go.
        suffix: of the result that is sent to standard output.

    Raises:
        InputError: several photographs with `-`; standard input or output is a terminal.
    """
    if PIPE not in (*inputs, output):
        return Piped(inputs, output, False, {})
    if len(inputs) > 1:
        raise InputError(f"- stands for one photograph, or its only result: got {len(inputs)} inputs")
    folder = Path(context.with_resource(TemporaryDirectory(prefix="ncsr-")))
    photo, result = folder / "stdin", folder / f"stdout{suffix}"
    if output == PIPE and sys.stdout.isatty():
        raise InputError("-o - writes an image to standard output, which is a terminal: add > FILE, or name a file")
    if PIPE in inputs:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("- is a photograph from standard input, which is a terminal: add < FILE, or name a file")
        with photo.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        inputs = [str(photo)]
    names = {str(photo): "standard input", str(result): "standard output"}
    return Piped(inputs, str(result) if output == PIPE else output, output == PIPE, names)


def send(path: Path) -> None:
    """Write a file to standard output.

    Raises:
        InputError: it cannot be written.
        BrokenPipeError: the reader closed the pipe.
    """
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"cannot write to standard output: {error.strerror}") from None
