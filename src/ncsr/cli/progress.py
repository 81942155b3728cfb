"""A progress bar on standard error, and lines that are printed past it."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class PhotoBar:
    """A context in which a bar tells how many photographs are done and the time left, if standard error is a terminal.

    Args:
        total: photographs.
    """

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not console.is_terminal,
            speed_estimate_period=3600,  # a tile may take minutes
        )
        self._task, self._total, self._started = self._bar.add_task("", total=total), total, False

    def advance(self, name: str, index: int, done: int, total: int) -> None:
        """Show that `done` of `total` parts of a photograph are done, which is number `index`; 0 of 0 before it."""
        completed = index + (done / total if total else 0)
        if done and not self._started:  # by a run that was stopped: it took no time now
            self._bar.reset(self._task, total=self._total, completed=completed)  # type: ignore[arg-type]
        part = f", part {done} of {total}" if total else ""
        self._bar.update(self._task, description=escape(name) + part, completed=completed)
        self._started = total > 0

    def warn(self, message: str) -> None:
        """Print a sentence on standard error."""
        self.print(f"ncsr: {message}", error=True)

    def print(self, *lines: object, error: bool = False) -> None:
        """Print lines as they are, whatever standard output is."""
        self._bar.stop()
        print(*lines, sep="\n", file=sys.stderr if error else sys.stdout, flush=True)
        self._bar.start()

    def __enter__(self) -> PhotoBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
