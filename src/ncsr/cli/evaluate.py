"""`ncsr evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ncsr.cli.completion import model_names
from ncsr.cli.options import Device, PrecisionName
from ncsr.errors import InputError

if TYPE_CHECKING:
    from ncsr.evaluation.methods import Method
    from ncsr.upscaling.tiling import SampleRequest

HR: TypeAlias = Annotated[Path, typer.Option("--hr", metavar="DIR", help="Folder of photographs, the ground truth.")]
LR: TypeAlias = Annotated[
    Path | None,
    typer.Option("--lr", metavar="DIR", help="Folder of LR images.", show_default="made by MATLAB's bicubic kernel"),
]
Output: TypeAlias = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the report.")]
Limit: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Only so many photographs, the first ones.")]
LpipsWeights: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="AlexNet's weights for LPIPS.", show_default="the bundled ones"),
]
Pictures: TypeAlias = Annotated[int, typer.Option(min=0, help="How many photographs the page shows.")]
SamplesOfEach: TypeAlias = Annotated[int, typer.Option("-n", "--samples", help="How many of each photograph.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Sample k of a seed is always the same image.")]
TileSide: TypeAlias = Annotated[
    int,
    typer.Option(min=16, help="Side of the tiles in LR pixels: the same on every machine."),  # tile_size.SMALLEST
]


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Bundled names, model folders, hub ids; NAME:encoder is the encoder of NAME alone.",
            show_default=False,
            autocompletion=model_names,
        ),
    ],
    hr: HR,
    output: Output,
    lr: LR = None,
    samples: SamplesOfEach = 10,
    temperatures: Annotated[
        list[float] | None,
        typer.Option("-t", "--temperature", help="May be repeated: a sweep, with plots.", show_default="the model's"),
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    scale: Annotated[
        int | None, typer.Option("-s", "--scale", help="4 or 8: needed for bicubic alone, else checked.")
    ] = None,
    lpips_weights: LpipsWeights = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="For LR-PSNR, save samples by truncation, as the published code does.")
    ] = False,
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration", help="Also measure whether the samples' spread predicts their error; use -n 20 or more."
        ),
    ] = False,
    pictures: Pictures = 20,
    tile: TileSide = 160,
    device: Device = "auto",
    precision: PrecisionName = "float32",
) -> None:
    """Measure models on photographs as the papers do, and write a report: a page, a table, JSON and CSV.

    Bicubic and, of every flow, temperature 0 are measured as well. MODEL may also be bicubic.
    Started again after it was stopped, a run goes on where it was.
    Several processes: torchrun --nproc-per-node N -m ncsr evaluate ...
    """
    from ncsr.cli.reporting import write_report
    from ncsr.evaluation.pairs import find_pairs
    from ncsr.evaluation.run import Evaluation
    from ncsr.metrics import LPIPS
    from ncsr.runtime.device import pick_device
    from ncsr.runtime.torchrun import Processes
    from ncsr.space.checks import check_sampling
    from ncsr.upscaling.tiling import SampleRequest

    for temperature in temperatures or [0.0]:
        check_sampling(samples, temperature, seed)
    with Processes() as processes:
        device = str(pick_device(processes.device(device)))
        lpips = LPIPS(lpips_weights).to(device)
        request = SampleRequest(samples, 0.0, seed, tile)
        methods, scale, notes = _methods(models, scale, request, temperatures or [], device, precision)
        photographs, problems = find_pairs(hr, lr, scale, limit)
        work = Evaluation(
            hr,
            lr,
            output,
            scale,
            methods,
            photographs,
            notes,
            pictures,
            lpips,
            truncate=truncate,
            device=device,
            seed=seed,
            tile=tile,
            precision=precision,
            calibration=calibration,
        )
        raise typer.Exit(write_report(work, processes, problems))


def _methods(
    models: list[str], scale: int | None, request: SampleRequest, temperatures: list[float], device: str, precision: str
) -> tuple[list[Method], int, list[str]]:
    """Bicubic and all models, the scale that they share, and what a reader must know of them."""
    from ncsr.cli.reporting import load_model_or_encoder
    from ncsr.evaluation.methods import BICUBIC, Bicubic, methods_of

    methods: list[Method] = [Bicubic()]
    notes: list[str] = []
    asked = scale
    for argument in dict.fromkeys(models):
        if argument == BICUBIC:
            continue
        model, note = load_model_or_encoder(argument, asked, device, precision)
        notes += note
        if scale not in (None, model.config.scale):
            raise InputError(
                f"{argument} enlarges by {model.config.scale}, the model before it by {scale}: "
                "a report is of one scale, so evaluate them apart"
            )
        scale = model.config.scale
        methods += methods_of(argument, model, request, temperatures)
    if scale is None:
        raise InputError("bicubic alone has no scale: give one, -s 4 or -s 8, or name a model")
    check_scale(scale)
    return methods, scale, notes


def check_scale(scale: int) -> None:
    """Raise InputError unless the scale is one that models enlarge by."""
    if scale not in (4, 8):
        raise InputError(f"the scale must be 4 or 8, got {scale}")
