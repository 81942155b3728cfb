"""What `ncsr evaluate`, `measure` and `reproduce` share: LPIPS if it can be had, progress, and how a run ends."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from rich.progress import MofNCompleteColumn

from ncsr.cli.options import load_model
from ncsr.errors import InputError
from ncsr.evaluation.methods import ENCODER, Method, check_unique_names, encoder_alone, encoder_note
from ncsr.evaluation.pairs import PhotographFiles
from ncsr.evaluation.plots import check_matplotlib, is_sweep
from ncsr.evaluation.protocol import MADE, ROUNDED, TRUNCATED, Protocol, Settings
from ncsr.evaluation.run import Addition, Evaluation, Report, evaluate
from ncsr.metrics import LPIPS, load_lpips
from ncsr.model import NCSR
from ncsr.runtime.device import pick_device
from ncsr.runtime.files import make_folder
from ncsr.runtime.progress import ProgressBar
from ncsr.runtime.torchrun import Processes


@dataclass(frozen=True)
class ReportOptions:
    """What the command line says of a report, whatever is measured.

    Attributes:
        hr: folder of the photographs.
        lr: folder of their LR images; None makes them.
        lpips_weights: file of AlexNet's weights; None takes the cached ones, or downloads them.
        truncate: save samples by truncation for LR-PSNR.
        pictures: photographs that the page shows.
        device: the device to compute on.
        seed: the samples' seed; None if the images are there already.
        tile: side of the tiles in LR pixels; None if the images are there already.
        precision: the precision of the models.
    """

    hr: Path
    lr: Path | None
    lpips_weights: Path | None
    truncate: bool
    pictures: int
    device: str = "cpu"
    seed: int | None = None
    tile: int | None = None
    precision: str = "float32"


def write_report(
    options: ReportOptions,
    processes: Processes,
    scale: int,
    methods: list[Method],
    photographs: list[PhotographFiles],
    output: Path,
    *,
    problems: list[str],
    notes: list[str],
    addition: Addition | None = None,
) -> int:
    """Measure, write the report, print its files and what went wrong; returns the exit code.

    Args:
        options: what the command line says.
        processes: the processes that share the work.
        scale: the factor that everything enlarges by.
        methods: the methods whose images are measured, one per row of the table.
        photographs: the photographs' files.
        output: folder for the report.
        problems: a sentence per file that is missing or misnamed.
        notes: other sentences for the reader.
        addition: what a table or figure of the paper adds.
    """
    check_unique_names(methods)
    lpips, about_lpips = find_lpips(options.lpips_weights, options.device, processes)
    settings = Settings(
        ncsr=version("ncsr"),
        torch=torch.__version__,
        protocol=Protocol(
            scale=scale,
            seed=options.seed,
            lr_images="as given" if options.lr else MADE,
            crop=f"photographs to multiples of {scale} at the right and bottom",
            shave=scale,
            rounding=TRUNCATED if options.truncate else ROUNDED,
            lpips=about_lpips,
            tile=options.tile,
            device=options.device.partition(":")[0],
            precision=options.precision,
        ),
        rows=tuple(method.row for method in methods),
        pictures=options.pictures,
        reproduces=addition.name if addition else None,
    )
    if is_sweep(settings.rows):
        check_matplotlib()
    missing = [] if lpips else [f"LPIPS and the diversity on it are {about_lpips}"]
    work = Evaluation(
        settings=settings,
        methods=methods,
        pairs=photographs,
        output=output,
        folder=options.hr.resolve().name,
        command=shlex.join(["ncsr", *sys.argv[1:]]),
        lpips=lpips,
        truncate=options.truncate,
        notes=[*missing, *notes, *problems],
        addition=addition or Addition(),
    )
    report = Report([], [], [])
    if photographs:
        make_folder(output)
        share = len(photographs[processes.rank :: processes.world])
        with ProgressBar(share, MofNCompleteColumn(), shown=processes.rank == 0) as bar:
            report = evaluate(work, processes, bar.update)
    if processes.rank:
        return 0
    for sentence in dict.fromkeys([*work.notes, *report.warnings, *report.failures]):
        print(f"ncsr: {sentence}", file=sys.stderr)
    for path in report.paths:
        print(path)
    if not report.paths:
        return 2
    return 1 if report.failures or problems else 0


def find_lpips(weights: Path | None, device: str, processes: Processes) -> tuple[LPIPS | None, str]:
    """The network, and what it is; None and why, if there are no weights and no file was named.

    Raises:
        InputError: the named file does not hold the weights.
    """
    if processes.rank:  # the first process downloads, the others find it
        processes.gather(None)
    found, words = None, ""
    try:
        found = load_lpips(weights, pick_device(device))
        words = found.source
    except InputError as error:
        if weights is not None:
            raise
        words = f"not measured: {error}."
    if not processes.rank:
        processes.gather(None)
    return found, words


def load_model_or_encoder(argument: str, scale: int | None, device: str, precision: str) -> tuple[NCSR, list[str]]:
    """A model, or with :encoder behind its name its encoder alone, and what a reader must know of it."""
    model = load_model(argument.removesuffix(ENCODER), scale, device, precision)
    if not argument.endswith(ENCODER):
        return model, []
    return encoder_alone(model), [] if model.flow is None else [encoder_note(argument)]
