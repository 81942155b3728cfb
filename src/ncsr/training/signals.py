"""Stopping a run by SIGTERM or Ctrl-C between two steps, so that it can be saved first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class Stop:
    """Whether, and by which signal, the run was asked to stop."""

    signal: int | None = None


class Interrupted(SystemExit):
    """The run was asked to stop and was saved; the exit code is 128 plus the signal's number, as shells have it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Record the first SIGTERM or SIGINT instead of ending the process; a second one acts as usual."""
    stop, previous_handlers = Stop(), ExitStack()

    def record(number: int, frame: object) -> None:
        if stop.signal is None:
            stop.signal = number
        else:  # not before, as Python complains of a signal that has come already and has no handler any more
            previous_handlers.close()
            signal.raise_signal(number)

    with previous_handlers:
        for number in (signal.SIGTERM, signal.SIGINT):
            previous_handlers.callback(signal.signal, number, signal.signal(number, record))
        yield stop
