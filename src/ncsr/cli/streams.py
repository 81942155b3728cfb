"""Standard output and standard error of a command, which may be closed, full, or of an encoding that lacks a name."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from ncsr.errors import InputError


class Stream:
    """A text stream that is there; when it cannot be written, it says so once, and takes all else in silence.

    Args:
        stream: the stream; None, which Python has for one that is closed, takes everything.
        name: what the sentence calls it; None: it is not worth an error, as nobody could be told.

    Raises:
        InputError: on writing or flushing, if the stream cannot be written.
        BrokenPipeError: if nobody reads any more.
    """

    def __init__(self, stream: TextIO | None, name: str | None) -> None:
        self._stream = stream or open(os.devnull, "w")  # noqa: SIM115 (as long as the process)
        self._name, self._lost = name, False
        if name and isinstance(stream, io.TextIOWrapper):  # names of files that are no text come out as they are
            unicode = stream.encoding.lower().startswith("utf")
            stream.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what waits to be written."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            action()
        except OSError as error:
            self._lost = True
            if self._name is None:
                return
            if isinstance(error, BrokenPipeError):
                raise
            raise InputError(f"cannot write to {self._name}: {error.strerror}") from None


def watch_streams() -> None:
    """Let standard output and standard error be such streams until the process ends."""
    sys.stdout, sys.stderr = Stream(sys.stdout, "standard output"), Stream(sys.stderr, None)
