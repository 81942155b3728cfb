"""A progress bar on standard error, and lines that are printed past it."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncsr.errors import printable


class ProgressBar:
    """A context with a progress bar: how much is done, the time taken and left, and what is being worked on.

    Args:
        total: what is to be done, in the unit of the updates; None if that is unknown.
        count: the column that shows how much is done; None shows per cent.
        shown: False hides the bar; it is also hidden if standard error is not a terminal.
        quiet: hide the bar and everything else that would be printed to standard error.
    """

    def __init__(
        self, total: float | None, count: ProgressColumn | None = None, shown: bool = True, quiet: bool = False
    ) -> None:
        console = Console(stderr=True)
        self.shown, self._quiet = shown and not quiet and console.is_terminal, quiet
        self._bar = Progress(
            BarColumn(bar_width=20),
            count or TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not self.shown,
            speed_estimate_period=36000,  # a photograph may take hours
        )
        self._task = self._bar.add_task("", total=total)
        self._started = self._in_parts = False

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, text: str, done: float, restart: bool = False) -> None:
        """Show what is at work, and how much is done.

        What is done at the first update, or at one with `restart`, comes from an earlier run: the estimate of the time
        left does not count it.
        """
        if restart or not self._started:
            self._bar.reset(self._task, completed=done)  # type: ignore[arg-type]
            self._started = True
        self._bar.update(self._task, description=text, completed=done)

    def update_part(self, text: str, index: int, done: int, total: int) -> None:
        """Show that item `index` is at work, and that `done` of its `total` parts are done; 0 of 0 before it begins.

        Parts that are done when it begins come from an earlier run: the estimate of the time left does not count them.
        """
        part = f", part {done} of {total}" if total else ""
        self.update(text + part, index + (done / total if total else 0), restart=done > 0 and not self._in_parts)
        self._in_parts = total > 0

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    def warn(self, sentence: str) -> None:
        """Print a sentence of `ncsr` to standard error."""
        self.print(f"ncsr: {sentence}", error=True)

    def print(self, *lines: object, error: bool = False) -> None:
        """Print lines to standard output or standard error; control characters are escaped where people read them."""
        if error and self._quiet:
            return
        self._bar.stop()
        stream = sys.stderr if error else sys.stdout
        for_people = error or stream.isatty()  # programs get file names unchanged
        print(*(printable(str(line)) if for_people else line for line in lines), sep="\n", file=stream, flush=True)
        self._bar.start()
