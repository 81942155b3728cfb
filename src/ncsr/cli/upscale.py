"""`ncsr upscale`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, cast, get_args

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncsr.device import Precision
from ncsr.errors import InputError
from ncsr.files import atomic_path, make_folder
from ncsr.images import SUFFIXES, check_writable_size, find_photos, read_photo, write_photo
from ncsr.loading import bundled_models, load
from ncsr.model import NCSR
from ncsr.sheet import contact_sheet, deviation_map, shown
from ncsr.space import SamplingError, check_sampling
from ncsr.tiles import choose_side
from ncsr.upscaling import bicubic, deviation, upscale_photo


@dataclass(frozen=True)
class _Job:
    """What is done to every photograph."""

    model: NCSR
    samples: int
    temperature: float
    seed: int
    tile: int | None
    sheet: bool
    std: bool
    strip: bool

    def names(self, target: Path) -> list[Path]:
        """The files that a photograph becomes: its samples, then the map and the sheet, if asked for."""
        samples = [target] if self.samples == 1 else [_beside(target, f"s{k}") for k in range(self.samples)]
        extras = (("std", self.std), ("sheet", self.sheet))
        return samples + [_beside(target, tag).with_suffix(".png") for tag, wanted in extras if wanted]


def upscale(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Photographs, or folders of them.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the results; for a single photograph also a file name.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="Bundled name, model folder, .safetensors file or hub id.",
            show_default="by scale, x4-small",
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option("-s", "--scale", help="4 or 8: picks the bundled model, or is checked against -m."),
    ] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many different images of each photograph.")] = 4,
    temperature: Annotated[
        float | None,
        typer.Option(
            "-t",
            "--temperature",
            help="Variety: 0 gives one smooth image, higher more detail and more invention.",
            show_default="the model's",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Makes the samples repeatable.", show_default="a fresh one, printed"),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(help="Side of the tiles in input pixels.", show_default="by memory"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet of all of them.")] = False,
    std: Annotated[
        bool, typer.Option("--std", help="Also write where the samples differ, the standard-deviation map.")
    ] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out EXIF and colour profile.")] = False,
) -> None:
    """Enlarge photographs: several plausible, sharp, different images of each.

    photo.png becomes OUTPUT/photo_s0.png, photo_s1.png, ...; with -n 1 or -t 0, OUTPUT/photo.png.
    What a sample shows beyond the photograph is invented: plausible, not observed.
    """
    fresh = seed is None
    seed = check_sampling(samples, 0.0 if temperature is None else temperature, seed)
    plan, problems = _plan(inputs, output)
    network = load(_model_name(model, scale), device, _precision(precision))
    if scale is not None and scale != network.config.scale:
        raise InputError(f"-s {scale} does not match the model {model}, which enlarges by {network.config.scale}")
    choose_side(network, 1, 1, tile)
    temperature = network.config.temperature if temperature is None else temperature
    samples = 1 if temperature == 0 else samples
    if std and samples == 1:
        raise InputError("--std needs samples that differ: at least 2 (-n) at a temperature above 0 (-t)")
    job = _Job(network, samples, temperature, seed, tile, sheet, std, strip)
    _check_names(plan, job)
    if plan:
        make_folder(plan[0][1].parent)
    failures = problems + _run(plan, job)
    done = len(plan) + len(problems) - len(failures)
    if fresh and samples > 1 and done:
        print(f"seed {seed}", file=sys.stderr)
    for failure in failures:
        print(f"ncsr: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(1 if done else 2)


def _plan(inputs: Sequence[Path], output: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every photograph with the path of its result (before `_s0` and the like); a sentence per folder without any."""
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if len(inputs) > 1 or inputs[0].is_dir():
            raise InputError(f"-o {output} names one file, but there may be several photographs: give a folder")
        return [(inputs[0], output)], []
    sources: list[Path] = []
    problems = []
    for path in inputs:
        try:
            sources += find_photos(path) if path.is_dir() else [path]
        except InputError as error:
            problems.append(str(error))
    return [(source, output / source.name) for source in dict.fromkeys(sources)], problems


def _check_names(plan: Sequence[tuple[Path, Path]], job: _Job) -> None:
    """Refuse results that would replace each other or a photograph."""
    photographs = {source.resolve() for source, _ in plan}
    owners: dict[Path, Path] = {}
    for source, target in plan:
        for name in job.names(target):
            if name.resolve() in photographs:
                raise InputError(f"{name}, made from {source}, would replace a photograph: choose another -o")
            owner = owners.setdefault(name.resolve(), source)
            if owner != source:
                raise InputError(f"{owner} and {source} would both become {name}: enlarge them into different folders")


def _run(plan: Sequence[tuple[Path, Path]], job: _Job) -> list[str]:
    """Enlarge everything, printing the paths; returns a sentence for each photograph that failed."""
    failures = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as bar:
        whole = bar.add_task("", total=len(plan))
        for index, (source, target) in enumerate(plan):
            bar.update(whole, description=escape(source.name), completed=index)

            def advance(done: int, total: int, index: int = index) -> None:
                bar.update(whole, completed=index + done / total)

            try:
                paths = _enlarge(source, target, job, advance)
            except (InputError, SamplingError) as error:
                message = str(error)
                named = str(source) in message or str(target) in message
                failures.append(message if named else f"{source}: {message}")
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                failures.append(f"{source}: not enough memory: ask for fewer samples (-n) or a smaller --tile")
            else:
                bar.stop()  # the paths go to standard output as they are, whatever that is
                print(*paths, sep="\n", flush=True)
                bar.start()
    return failures


def _enlarge(source: Path, target: Path, job: _Job, advance: Callable[[int, int], None]) -> list[Path]:
    """Write everything that was asked for of one photograph; returns the paths."""
    photo = read_photo(source)
    if job.strip:
        photo = replace(photo, icc=None, exif=None)
    scale = job.model.config.scale
    names = job.names(target)
    for name in names[: job.samples]:
        check_writable_size(name, scale * photo.size[1], scale * photo.size[0])
    draw = partial(upscale_photo, photo, job.model, seed=job.seed, tile=job.tile)
    pictures = draw(job.samples, temperature=job.temperature, progress=advance)
    for path, picture in zip(names, pictures, strict=False):
        write_photo(path, picture)
    spread = deviation_map(deviation(pictures)) if job.samples > 1 else None
    if job.std and spread is not None:
        _save(spread, names[job.samples])
    if job.sheet:
        smooth = pictures[0] if job.temperature == 0 else draw(1, temperature=0.0)[0]
        panels = [("input", shown(photo)), ("bicubic", shown(bicubic(photo, scale))), ("temperature 0", shown(smooth))]
        if job.temperature > 0:
            panels += [(f"sample {k}, temperature {job.temperature:g}", shown(p)) for k, p in enumerate(pictures)]
        if spread is not None:
            panels.append(("standard deviation", spread))
        _save(contact_sheet(panels), names[-1])
    return names


def _model_name(model: str | None, scale: int | None) -> str:
    if model is not None:
        return model
    name = f"x{4 if scale is None else scale}-small"
    if name not in bundled_models():
        raise InputError(
            f"no bundled model enlarges by {scale}: give one with -m (bundled: {', '.join(bundled_models())})"
        )
    return name


def _precision(name: str) -> Precision:
    if name not in get_args(Precision):
        raise InputError(f"precision must be auto, float32 or bfloat16, got {name!r}")
    return cast(Precision, name)


def _out_of_memory(error: Exception) -> bool:
    """PyTorch has a type for this on GPUs alone."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _beside(path: Path, tag: str) -> Path:
    return path.with_name(f"{path.stem}_{tag}{path.suffix}")


def _save(picture: Image.Image, path: Path) -> None:
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
