"""What `ncsr evaluate`, `measure` and `reproduce` share: LPIPS if it can be had, progress, and how a run ends."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncsr.errors import InputError
from ncsr.evaluation.methods import Contestant, check_names
from ncsr.evaluation.pairs import Files
from ncsr.evaluation.plots import check_matplotlib, is_sweep
from ncsr.evaluation.protocol import Protocol, Settings
from ncsr.evaluation.run import Addition, Evaluation, evaluate
from ncsr.evaluation.run import Progress as Told
from ncsr.metrics import LPIPS, load_lpips
from ncsr.runtime.device import pick_device
from ncsr.runtime.files import make_folder
from ncsr.runtime.torchrun import Processes


def find_lpips(weights: Path | None, device: str, processes: Processes) -> tuple[LPIPS | None, str]:
    """The network, and what it is; None and why, if there are no weights and no file was named.

    Raises:
        InputError: the named file does not hold the weights.
    """
    found, words = None, ""
    for first in (True, False):  # one process downloads, the others find it
        if (processes.rank == 0) == first:
            try:
                found = load_lpips(weights, pick_device(device))
                words = found.source
            except InputError as error:
                if weights is not None:
                    raise
                words = f"not measured: {error}."
        processes.gather(None)
    return found, words


def work_of(
    protocol: Protocol,
    contestants: list[Contestant],
    pairs: list[Files],
    output: Path,
    hr: Path,
    lpips: LPIPS | None,
    *,
    truncate: bool,
    pictures: int,
    notes: Sequence[str] = (),
    addition: Addition | None = None,
) -> Evaluation:
    """What is to be done, with the versions and the command line that decide it."""
    check_names(contestants)
    settings = Settings(
        ncsr=version("ncsr"),
        torch=torch.__version__,
        protocol=protocol,
        rows=tuple(c.row for c in contestants),
        pictures=pictures,
        reproduces=addition.name if addition else None,
    )
    if is_sweep(settings.rows):
        check_matplotlib()
    missing = [] if lpips else [f"LPIPS and the diversity on it are {protocol.lpips}"]
    command = shlex.join(["ncsr", *sys.argv[1:]])
    told_first = [*missing, *notes]
    return Evaluation(
        settings, contestants, pairs, output, hr.resolve().name, command, lpips, truncate, told_first, addition
    )


@contextmanager
def told(total: int, processes: Processes) -> Iterator[Told]:
    """A progress bar on standard error with the time left; of several processes, the first one's share.

    Args:
        total: photographs of this process.
        processes: only rank 0 tells.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    silent = not console.is_terminal or processes.rank > 0
    with Progress(*columns, console=console, transient=True, disable=silent, speed_estimate_period=36000) as bar:
        task = bar.add_task("", total=total)
        started = False

        def tell(name: str, done: float) -> None:
            nonlocal started
            if not started:  # what was done before took no time
                bar.reset(task, total=total, completed=done)  # type: ignore[arg-type]
                started = True
            bar.update(task, description=escape(name), completed=done)

        yield tell


def conclude(work: Evaluation, processes: Processes, problems: list[str]) -> int:
    """Measure, write the report, print its files and what went wrong; returns the exit code.

    Args:
        work: what is to be done; `problems` are noted in its report.
        processes: that share it.
        problems: a sentence per file that is missing or misnamed.
    """
    work = replace(work, notes=[*work.notes, *problems])
    share = len(work.pairs[processes.rank :: processes.world])
    paths: list[Path] = []
    failures: list[str] = []
    warnings: list[str] = []
    if work.pairs:
        make_folder(work.output)
        with told(share, processes) as tell:
            paths, failures, warnings = evaluate(work, processes, tell)
    if processes.rank:
        return 0
    for sentence in dict.fromkeys([*work.notes, *warnings, *failures]):
        print(f"ncsr: {sentence}", file=sys.stderr)
    for path in paths:
        print(path)
    if not paths:
        return 2
    return 1 if failures or problems else 0
