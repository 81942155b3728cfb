"""`ncsr reproduce`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ncsr.cli.evaluate import LR, LpipsWeights, Output, load_contestant
from ncsr.cli.options import Device, PrecisionName
from ncsr.errors import InputError
from ncsr.runtime.device import pick_device
from ncsr.space import check_sampling
from ncsr.upscaling.tile_size import SMALLEST

if TYPE_CHECKING:
    from ncsr.evaluation.methods import Contestant, Drawing
    from ncsr.evaluation.pairs import Files
    from ncsr.evaluation.paper.differences import Cast
    from ncsr.evaluation.paper.items import Item, Subject


def reproduce(
    name: Annotated[str, typer.Argument(metavar="ITEM", help="table1 to table6, figure1, figure2, figure6, figure7.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of photographs, the ground truth.")],
    output: Output,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--models",
            metavar="ROLE=MODEL...",
            help="Which model plays which line of the paper: NCSR=x4-small RRDB=rrdb/model. MODEL as in evaluate, or a "
            "folder of images that anything made, named as in measure.",
            show_default=False,
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[ROLE=MODEL...]", hidden=True)] = None,
    lr: LR = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many of each photograph.")] = 10,
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
    seed: Annotated[int, typer.Option(help="Sample k of a seed is always the same image.")] = 0,
    lpips_weights: LpipsWeights = None,
    truncate: Annotated[
        bool, typer.Option("--truncate/--round", help="Save samples for LR-PSNR as the published code does, or round.")
    ] = True,
    pictures: Annotated[int, typer.Option(min=0, help="How many photographs the page shows in full.")] = 20,
    tile: Annotated[
        int, typer.Option(min=SMALLEST, help="Side of the tiles in LR pixels: the same on every machine.")
    ] = 160,
    device: Device = "auto",
    precision: PrecisionName = "float32",
) -> None:
    """Make a table or figure of the paper again from your models, beside the paper's own figures.

    Writes evaluate's report and, in it and as files of their own, the table or figure in the paper's layout with a
    plain statement of what differs. A run that was stopped goes on where it was when it is started again.

    ncsr reproduce table1 --data DIV2K_valid_HR --models NCSR=x4-small RRDB=rrdb/model -o report
    """
    from ncsr.cli.reporting import conclude, find_lpips, work_of
    from ncsr.evaluation.methods import Drawing
    from ncsr.evaluation.paper.items import read_item
    from ncsr.evaluation.paper.report import addition, stack
    from ncsr.evaluation.plots import check_matplotlib
    from ncsr.evaluation.protocol import protocol
    from ncsr.runtime.torchrun import Processes

    item = read_item(name)
    given = _roles(item, [*(models or []), *(more or [])])
    check_sampling(samples, 0.0 if temperature is None else temperature, seed)
    if item.kind != "table":
        check_matplotlib()
    codes, parts = [], []
    with Processes() as processes:
        place = str(pick_device(processes.device(device)))
        lpips, words = find_lpips(lpips_weights, place, processes)
        for scale in item.scales:
            here = {role: model for role, model in given.items() if item.scale_of(item.subject(role)) == scale}
            if not here:
                continue
            how = _How(scale, samples, temperature, place, precision, Drawing(seed, tile))
            contestants, casts, notes, folders = _players(item, here, how)
            pairs, problems = _pairs(item, data, lr, scale, limit, folders)
            part = output / f"x{scale}" if len(item.scales) > 1 else output
            settings = protocol(
                scale=scale,
                seed=seed,
                given_lr=lr is not None,
                truncate=truncate,
                lpips=words,
                tile=tile,
                device=place.partition(":")[0],
                precision=precision,
            )
            work = work_of(
                settings,
                contestants,
                pairs,
                part,
                data,
                lpips,
                truncate=truncate,
                pictures=pictures,
                notes=notes,
                addition=addition(item, casts),
            )
            codes.append(conclude(work, processes, problems))
            parts.append(part / f"{item.name}.png")
        if len(item.scales) > 1 and processes.rank == 0 and all(code < 2 for code in codes):
            print(stack(parts, output / f"{item.name}.png"))
    if max(codes):
        raise typer.Exit(max(codes))


@dataclass(frozen=True)
class _How:
    """How the models of one scale draw."""

    scale: int
    samples: int
    temperature: float | None
    device: str
    precision: str
    drawing: Drawing

    def temperature_of(self, subject: Subject, own: float) -> float:
        """That asked for, else the paper's, else the model's own."""
        if self.temperature is not None:
            return self.temperature
        return own if subject.temperature is None else subject.temperature


def _roles(item: Item, words: list[str]) -> dict[str, str]:
    """From roles to models."""
    roles = ", ".join(subject.role for subject in item.subjects)
    if not words:
        raise InputError(f"{item.name} needs at least one model: give --models ROLE=MODEL; its roles are {roles}")
    found: dict[str, str] = {}
    for word in words:
        role, sign, model = word.partition("=")
        if not (role and sign and model):
            raise InputError(f"--models takes ROLE=MODEL, got {word!r}; the roles of {item.name} are {roles}")
        role = item.subject(role).role
        if role in found:
            raise InputError(f"two models are given for {role}: {found[role]} and {model}")
        found[role] = model
    return {s.role: found[s.role] for s in item.subjects if s.role in found}


def _players(
    item: Item, given: dict[str, str], how: _How
) -> tuple[list[Contestant], list[Cast], list[str], list[Path]]:
    """Contestants with bicubic first, who plays whom, notes, and the folders of images among them."""
    from ncsr.evaluation import methods as who
    from ncsr.evaluation.paper.differences import Cast
    from ncsr.images import find_photos
    from ncsr.serialization import WEIGHTS

    contestants: list[Contestant] = [who.Bicubic()]
    casts, notes = [], []
    folders: list[Path] = []
    for role, argument in given.items():
        subject, label = item.subject(role), f"{role}: {who.short_name(argument)}"
        path = Path(argument)
        if path.is_dir() and not (path / WEIGHTS).is_file():
            try:
                find_photos(path)
            except InputError:
                raise InputError(f"{path} holds neither a model nor images") from None
            cast = Cast(subject, who.Folder(path, len(folders), label), None)
            folders.append(path)
        else:
            model, note = load_contestant(argument, None, how.device, how.precision)
            notes += note
            if model.config.scale != how.scale:
                raise InputError(
                    f"{role} of {item.name} enlarges by {how.scale}, the model {argument} by {model.config.scale}"
                )
            if subject.flow is not None and subject.flow != (model.flow is not None):
                kinds = ("an encoder alone", "a flow")
                hint = "" if subject.flow else f": {argument}{who.ENCODER} is its encoder"
                raise InputError(
                    f"{role} of {item.name} is {kinds[subject.flow]}, the model {argument} {kinds[not subject.flow]}"
                    + hint
                )
            t = how.temperature_of(subject, model.config.temperature) if model.flow is not None else None
            label += "" if t is None else f", t = {t:g}"
            player = who.row_of(label, argument, model, how.samples, t, how.drawing)
            cast = Cast(subject, player, model.config)
        casts.append(cast)
        contestants.append(cast.contestant)
    return contestants, casts, notes, folders


def _pairs(
    item: Item, data: Path, lr: Path | None, scale: int, limit: int | None, folders: list[Path]
) -> tuple[list[Files], list[str]]:
    """The photographs, of a figure only those that the paper shows, and what is missing."""
    from ncsr.evaluation.pairs import find_pairs, match_samples

    pairs, problems = find_pairs(data, lr, scale)
    if item.kind != "table" and limit is None:
        those = [files for files in pairs if files.hr.stem in item.photographs]
        pairs = those or pairs[: len(item.photographs) or 2]
    pairs, missing = match_samples(pairs[:limit], folders, scale)
    return pairs, [*problems, *missing]
