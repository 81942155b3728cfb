"""`ncsr evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ncsr.cli.options import Device, PrecisionName, load_model
from ncsr.errors import InputError
from ncsr.model import NCSR
from ncsr.runtime.device import pick_device
from ncsr.space import check_sampling
from ncsr.upscaling.tile_size import SMALLEST

if TYPE_CHECKING:
    from ncsr.evaluation.methods import Contestant

HR: TypeAlias = Annotated[Path, typer.Option("--hr", metavar="DIR", help="Folder of photographs, the ground truth.")]
LR: TypeAlias = Annotated[
    Path | None,
    typer.Option("--lr", metavar="DIR", help="Folder of LR images.", show_default="made by MATLAB's bicubic kernel"),
]
Output: TypeAlias = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the report.")]
Limit: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Only so many photographs, the first ones.")]
LpipsWeights: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="AlexNet's weights.", show_default="the cached ones, or a download"),
]
Pictures: TypeAlias = Annotated[int, typer.Option(min=0, help="How many photographs the page shows.")]


def load_contestant(argument: str, scale: int | None, device: str, precision: str) -> tuple[NCSR, list[str]]:
    """A model, or with :encoder behind its name its encoder alone, and what a reader must know of it."""
    from ncsr.evaluation import methods as who

    model = load_model(argument.removesuffix(who.ENCODER), scale, device, precision)
    if not argument.endswith(who.ENCODER):
        return model, []
    return who.encoder_alone(model), [] if model.flow is None else [who.left_by_flow(argument)]


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Bundled names, model folders, hub ids; NAME:encoder is the encoder of NAME alone.",
            show_default=False,
        ),
    ],
    hr: HR,
    output: Output,
    lr: LR = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many of each photograph.")] = 10,
    temperatures: Annotated[
        list[float] | None,
        typer.Option("-t", "--temperature", help="May be repeated: a sweep, with plots.", show_default="the model's"),
    ] = None,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Sample k of a seed is always the same image.")] = 0,
    scale: Annotated[
        int | None, typer.Option("-s", "--scale", help="4 or 8: needed for bicubic alone, else checked.")
    ] = None,
    lpips_weights: LpipsWeights = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="For LR-PSNR, save samples by truncation, as the published code does.")
    ] = False,
    pictures: Pictures = 20,
    tile: Annotated[
        int, typer.Option(min=SMALLEST, help="Side of the tiles in LR pixels: the same on every machine.")
    ] = 160,
    device: Device = "auto",
    precision: PrecisionName = "float32",
) -> None:
    """Measure models on photographs as the papers do, and write a report: a page, a table, JSON and CSV.

    Bicubic and, of every flow, temperature 0 are measured as well. MODEL may also be bicubic.
    A run that was stopped goes on where it was when it is started again.
    Several processes: torchrun --nproc-per-node N -m ncsr evaluate ...
    """
    from ncsr.cli.reporting import conclude, find_lpips, work_of
    from ncsr.evaluation import methods as who
    from ncsr.evaluation.pairs import find_pairs
    from ncsr.evaluation.protocol import protocol
    from ncsr.runtime.torchrun import Processes

    for temperature in temperatures or [0.0]:
        check_sampling(samples, temperature, seed)
    with Processes() as processes:
        place = str(pick_device(processes.device(device)))
        contestants: list[Contestant] = [who.Bicubic()]
        notes: list[str] = []
        asked = scale
        for argument in dict.fromkeys(models):
            if argument == who.BICUBIC:
                continue
            model, note = load_contestant(argument, asked, place, precision)
            notes += note
            if scale not in (None, model.config.scale):
                raise InputError(
                    f"{argument} enlarges by {model.config.scale}, the model before it by {scale}: "
                    "a report is of one scale, so evaluate them apart"
                )
            scale = model.config.scale
            contestants += who.rows_of(argument, model, samples, temperatures or [], who.Drawing(seed, tile))
        if scale is None:
            raise InputError("bicubic alone has no scale: give one, -s 4 or -s 8, or name a model")
        if scale not in (4, 8):
            raise InputError(f"the scale must be 4 or 8, got {scale}")
        pairs, problems = find_pairs(hr, lr, scale, limit)
        lpips, words = find_lpips(lpips_weights, place, processes)
        how = protocol(
            scale=scale,
            seed=seed,
            given_lr=lr is not None,
            truncate=truncate,
            lpips=words,
            tile=tile,
            device=place.partition(":")[0],
            precision=precision,
        )
        work = work_of(how, contestants, pairs, output, hr, lpips, truncate=truncate, pictures=pictures, notes=notes)
        code = conclude(work, processes, problems)
    if code:
        raise typer.Exit(code)
