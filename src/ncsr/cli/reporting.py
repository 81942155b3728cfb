"""What `ncsr evaluate`, `measure` and `reproduce` share: progress, and how a run ends."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from dataclasses import replace

from rich.progress import MofNCompleteColumn

from ncsr.cli.options import load_model
from ncsr.cli.portable import portable_by
from ncsr.errors import printable
from ncsr.evaluation.methods import ENCODER, check_unique_names, encoder_alone
from ncsr.evaluation.plots import check_matplotlib, is_sweep
from ncsr.evaluation.run import Evaluation, Report, evaluate
from ncsr.model import NCSR
from ncsr.runtime.files import make_folder
from ncsr.runtime.locks import exclusive
from ncsr.runtime.progress import ProgressBar
from ncsr.runtime.torchrun import Processes


def write_report(work: Evaluation, processes: Processes, problems: list[str]) -> int:
    """Measure, write the report, print its files and what went wrong; returns the exit code.

    Args:
        work: what is measured.
        processes: the processes that share the work.
        problems: a sentence per file that is missing or misnamed.
    """
    portable = portable_by(sys.argv[1:])
    for method in work.methods:
        row = method.row
        method.row = row.model_copy(update={"name": portable(row.name), "model": portable(row.model)})
    check_unique_names(work.methods)
    command = shlex.join(["ncsr", *map(portable, sys.argv[1:])])
    work = replace(work, notes=[*work.notes, *problems], command=command, portable=portable)
    if work.calibration or is_sweep(work.settings.rows):
        check_matplotlib()
    report = Report([], [], [])
    if work.pairs:
        make_folder(work.output)
        share = len(work.pairs[processes.rank :: processes.world])
        alone = nullcontext() if processes.rank else exclusive(work.output)
        with alone, ProgressBar(share, MofNCompleteColumn(), shown=processes.rank == 0) as bar:
            report = evaluate(work, processes, bar.update)
    if processes.rank:
        return 0
    for sentence in dict.fromkeys([*work.notes, *report.warnings, *report.failures]):
        print(f"ncsr: {printable(sentence)}", file=sys.stderr)
    for path in report.paths:
        print(path)
    if not report.paths:
        return 2
    return 1 if report.failures or problems else 0


def load_model_or_encoder(argument: str, scale: int | None, device: str, precision: str) -> tuple[NCSR, list[str]]:
    """The model of an argument, its encoder alone if the argument ends in :encoder, and notes for the report."""
    model = load_model(argument.removesuffix(ENCODER), scale, device, precision)
    if not argument.endswith(ENCODER):
        return model, []
    note = (
        f"{argument} is the encoder as the flow's training left it. A flow that trains its encoder along keeps its "
        "features, not its image: the baseline RRDB is the model that the flow started from."
    )
    return encoder_alone(model), [] if model.flow is None else [note]
