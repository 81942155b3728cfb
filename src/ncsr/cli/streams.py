"""Standard output and error that survive being closed, a full disk, and file names that their encoding lacks."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from ncsr.errors import InputError


class Stream:
    """Wraps a text stream: when writing fails it raises an error once, and from then on discards what is written.

    Args:
        stream: the stream; None, which Python has for a closed one, discards everything.
        name: of the stream in error messages; None, for standard error, raises no errors, as nobody could read them.

    Raises:
        InputError: on writing or flushing, if the stream cannot be written.
        BrokenPipeError: on writing or flushing, if the reader closed the pipe.
    """

    def __init__(self, stream: TextIO | None, name: str | None) -> None:
        self._stream = stream or open(os.devnull, "w")  # noqa: SIM115 (as long as the process)
        self._name, self._lost = name, False
        if name and isinstance(stream, io.TextIOWrapper):  # file names that are not valid text are written unchanged
            unicode = stream.encoding.lower().startswith("utf")
            stream.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
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
    """Wrap standard output and standard error until the process ends."""
    sys.stdout, sys.stderr = Stream(sys.stdout, "standard output"), Stream(sys.stderr, None)
