"""`ncsr reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ncsr.cli.completion import names
from ncsr.cli.evaluate import LR, LpipsWeights, Output, SamplesOfEach, Seed, TileSide
from ncsr.cli.options import Device, PrecisionName
from ncsr.errors import InputError

if TYPE_CHECKING:
    from ncsr.evaluation.pairs import PhotographFiles
    from ncsr.evaluation.paper.differences import MethodForRow
    from ncsr.evaluation.paper.items import Item
    from ncsr.upscaling.tiling import SampleRequest


_ITEMS = (*(f"table{i}" for i in range(1, 7)), *(f"figure{i}" for i in (1, 2, 6, 7)))


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ITEM",
            help="table1 to table6, figure1, figure2, figure6, figure7.",
            autocompletion=names(*_ITEMS),
        ),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of photographs, the ground truth.")],
    output: Output,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--models",
            metavar="ROLE=MODEL...",
            help="Which model stands for which row of the paper: NCSR=x4 ESRGAN=esrgan RRDB=rrdb/model. MODEL as in "
            "evaluate, or a folder of images that anything made, named as in measure.",
            show_default="in tables, the bundled model for NCSR",
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[ROLE=MODEL...]", hidden=True)] = None,
    lr: LR = None,
    samples: SamplesOfEach = 10,
    temperature: Annotated[
        float | None, typer.Option("-t", "--temperature", help="Of all flows.", show_default="the paper's")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only so many photographs, the first ones.",
            show_default="all of a table; of a figure the paper's, where they are there",
        ),
    ] = None,
    seed: Seed = 0,
    lpips_weights: LpipsWeights = None,
    truncate: Annotated[
        bool, typer.Option("--truncate/--round", help="Save samples for LR-PSNR as the published code does, or round.")
    ] = True,
    pictures: Annotated[int, typer.Option(min=0, help="How many photographs the page shows in full.")] = 20,
    tile: TileSide = 160,
    device: Device = "auto",
    precision: PrecisionName = "float32",
) -> None:
    """Make a table or figure of the paper again from your models, beside the paper's own figures.

    Writes evaluate's report and, in it and as files of their own, the table or figure in the paper's layout with a
    plain statement of what differs. A run that was stopped goes on where it was when it is started again.

    ncsr reproduce table1 --data DIV2K_valid_HR --models NCSR=x4 RRDB=rrdb/model ESRGAN=esrgan -o report
    """
    from ncsr.cli.reporting import write_report
    from ncsr.evaluation.methods import Bicubic
    from ncsr.evaluation.paper.items import read_item
    from ncsr.evaluation.paper.report import PaperAddition, stack
    from ncsr.evaluation.plots import check_matplotlib
    from ncsr.evaluation.run import Evaluation
    from ncsr.metrics import LPIPS
    from ncsr.runtime.device import pick_device
    from ncsr.runtime.torchrun import Processes
    from ncsr.space.checks import check_sampling
    from ncsr.upscaling.tiling import SampleRequest

    item = read_item(name)
    given = _roles(item, [*(models or []), *(more or [])])
    check_sampling(samples, 0.0 if temperature is None else temperature, seed)
    if item.kind != "table":
        check_matplotlib()
    codes, parts = [], []
    with Processes() as processes:
        device = str(pick_device(processes.device(device)))
        lpips = LPIPS(lpips_weights).to(device)
        request = SampleRequest(samples, 0.0, seed, tile)
        for scale in item.scales:
            here = {role: model for role, model in given.items() if item.scale_of(item.row(role)) == scale}
            if not here:
                continue
            part = output / f"x{scale}" if len(item.scales) > 1 else output
            methods, notes, folders = _methods_for_rows(item, here, request, temperature, device, precision)
            pairs, problems = _photographs(item, data, lr, scale, limit, folders)
            compared = [Bicubic(), *(entry.method for entry in methods)]
            work = Evaluation(
                data,
                lr,
                part,
                scale,
                compared,
                pairs,
                notes,
                pictures,
                lpips,
                truncate=truncate,
                device=device,
                seed=seed,
                tile=tile,
                precision=precision,
                addition=PaperAddition(item, methods),
            )
            codes.append(write_report(work, processes, problems))
            parts.append(part / f"{item.name}.png")
        if len(item.scales) > 1 and processes.rank == 0 and all(code < 2 for code in codes):
            print(stack(parts, output / f"{item.name}.png"))
    raise typer.Exit(max(codes))


def _roles(item: Item, words: list[str]) -> dict[str, str]:
    """The models by role, in the order of the paper."""
    from ncsr.pretrained.load import default_model

    rows = [row.role for row in item.rows]
    roles = ", ".join(rows)
    if not words and item.kind == "table" and "NCSR" in rows:
        words = [f"NCSR={default_model(item.scale)}"]
    if not words:
        raise InputError(f"{item.name} needs at least one model: give --models ROLE=MODEL; its roles are {roles}")
    found: dict[str, str] = {}
    for word in words:
        role, sign, model = word.partition("=")
        if not (role and sign and model):
            raise InputError(f"--models takes ROLE=MODEL, got {word!r}; the roles of {item.name} are {roles}")
        role = item.row(role).role
        if role in found:
            raise InputError(f"two models are given for {role}: {found[role]} and {model}")
        found[role] = model
    return {row.role: found[row.role] for row in item.rows if row.role in found}


def _methods_for_rows(
    item: Item, given: dict[str, str], request: SampleRequest, temperature: float | None, device: str, precision: str
) -> tuple[list[MethodForRow], list[str], list[Path]]:
    """Which method stands for which row of the paper, notes, and the folders of images among them.

    `given` has a model or folder by role; without a temperature flows are sampled at the paper's, else at their own.
    """
    from ncsr.cli.reporting import load_model_or_encoder
    from ncsr.evaluation.methods import ENCODER, ImageFolder, ModelMethod, short_name
    from ncsr.evaluation.paper.differences import MethodForRow
    from ncsr.images import is_photo_path
    from ncsr.pretrained.load import find_model
    from ncsr.serialization import WEIGHTS

    methods: list[MethodForRow] = []
    notes: list[str] = []
    folders: list[Path] = []
    for role, argument in given.items():
        row, label, path = item.row(role), f"{role}: {short_name(argument)}", Path(argument)
        if path.is_dir() and not (path / WEIGHTS).is_file():
            if not any(is_photo_path(found.relative_to(path)) for found in path.iterdir()):
                raise InputError(f"{path} holds neither a model nor images")
            methods.append(MethodForRow(row, ImageFolder(path, len(folders), label), None, path))
            folders.append(path)
            continue
        model, note = load_model_or_encoder(argument, None, device, precision)
        notes += note
        asked, scale = item.scale_of(row), model.config.scale
        if scale != asked:
            raise InputError(f"{role} of {item.name} enlarges by {asked}, the model {argument} by {scale}")
        if row.flow not in (None, model.flow is not None):
            kinds = ("a flow", "an encoder alone") if row.flow else ("an encoder alone", "a flow")
            hint = "" if row.flow else f": {argument}{ENCODER} is its encoder"
            raise InputError(f"{role} of {item.name} is {kinds[0]}, the model {argument} {kinds[1]}{hint}")
        if model.flow is not None:
            drawn = next(t for t in (temperature, row.temperature, model.config.temperature) if t is not None)
            label, request = f"{label}, t = {drawn:g}", request._replace(temperature=drawn)
        source = find_model(argument.removesuffix(ENCODER))
        folder = source if source.is_dir() else source.parent
        methods.append(MethodForRow(row, ModelMethod(label, argument, model, request), model.config, folder))
    return methods, notes, folders


def _photographs(
    item: Item, data: Path, lr: Path | None, scale: int, limit: int | None, folders: list[Path]
) -> tuple[list[PhotographFiles], list[str]]:
    """The photographs, of a figure only those that the paper shows, and what is missing."""
    from ncsr.evaluation.pairs import find_pairs, match_samples

    every, problems = find_pairs(data, lr, scale)
    photographs = every
    if item.kind != "table" and limit is None:
        of_paper = [files for files in every if files.hr.stem in item.photographs]
        photographs = of_paper or every[: len(item.photographs) or 2]
    photographs = photographs[:limit]
    others = [files for files in every if files not in photographs]
    photographs, missing = match_samples(photographs, folders, scale, others=others)
    return photographs, [*problems, *missing]
