"""`ncsr upscale`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Optional

import typer
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncsr.device import Precision
from ncsr.errors import InputError
from ncsr.files import atomic_path
from ncsr.images import SUFFIXES, Photo, check_writable_size, find_photos, read_photo, write_photo
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


def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Photographs, or folders of them.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the results; for a single photograph also a file name.")
    ],
    model: Annotated[
        Optional[str],  # noqa: UP045 (typer on Python 3.10)
        typer.Option("-m", "--model", help="Bundled name, model folder, .safetensors file or hub id.  [default: by scale, x4-small]"),
    ] = None,
    scale: Annotated[Optional[int], typer.Option("-s", "--scale", help="4 or 8: picks the bundled model, or is checked against -m.")] = None,  # noqa: UP045
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many different images of each photograph.")] = 4,
    temperature: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("-t", "--temperature", help="Variety: 0 gives one smooth image, higher more detail and more invention.  [default: the model's]"),
    ] = None,
    seed: Annotated[Optional[int], typer.Option(help="Makes the samples repeatable.  [default: a fresh one, printed]")] = None,  # noqa: UP045
    tile: Annotated[Optional[int], typer.Option(help="Side of the tiles in input pixels.  [default: by memory]")] = None,  # noqa: UP045
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet of all of them.")] = False,
    std: Annotated[bool, typer.Option("--std", help="Also write where the samples differ, the standard-deviation map.")] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out EXIF and colour profile.")] = False,
) -> None:
    """Enlarge photographs: several plausible, sharp, different images of each.

    photo.png becomes OUTPUT/photo_s0.png, photo_s1.png, ...; with -n 1 or -t 0, OUTPUT/photo.png. What a sample shows beyond the
    photograph is invented: plausible, not observed.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(f"precision must be auto, float32 or bfloat16, got {precision!r}")
    fresh = seed is None
    seed = check_sampling(samples, 0.0 if temperature is None else temperature, seed)
    network = load(_model_name(model, scale), device, _precision(precision))
    if scale is not None and scale != network.config.scale:
        raise InputError(f"-s {scale} does not match the model {model}, which enlarges by {network.config.scale}")
    temperature = network.config.temperature if temperature is None else temperature
    alone = samples == 1 or temperature == 0
    if std and alone:
        raise InputError("--std needs samples that differ: at least 2 (-n) at a temperature above 0 (-t)")
    choose_side(network, 1, 1, tile)
    job = _Job(network, 1 if temperature == 0 else samples, temperature, seed, tile, sheet, std, strip)
    failures = _run(_plan(inputs, output, alone=alone), job)
    if fresh and not alone:
        print(f"seed {seed}", file=sys.stderr)
    for failure in failures.messages:
        print(f"ncsr: {failure}", file=sys.stderr)
    if failures.messages:
        raise typer.Exit(1 if failures.done else 2)


@dataclass
class _Outcome:
    done: int
    messages: list[str]


def _run(plan: Sequence[tuple[Path, Path]], job: _Job) -> _Outcome:
    outcome = _Outcome(0, [])
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        whole = bar.add_task("", total=len(plan))
        for index, (source, target) in enumerate(plan):
            bar.update(whole, description=source.name, completed=index)

            def advance(done: int, total: int, index: int = index) -> None:
                bar.update(whole, completed=index + done / total)

            try:
                for path in _enlarge(source, target, job, advance):
                    print(path)
            except (InputError, SamplingError) as error:
                message = str(error)
                outcome.messages.append(message if str(source) in message or str(target) in message else f"{source}: {message}")
            else:
                outcome.done += 1
    return outcome


def _enlarge(source: Path, target: Path, job: _Job, advance: object) -> list[Path]:
    """Write everything that was asked for of one photograph; returns the paths."""
    photo = read_photo(source)
    if job.strip:
        photo = replace(photo, icc=None, exif=None)
    height, width = (job.model.config.scale * side for side in photo.size)
    check_writable_size(target, width, height)

    def draw(n: int, temperature: float) -> list[Photo]:
        return upscale_photo(
            photo, job.model, n, temperature=temperature, seed=job.seed, tile=job.tile, progress=advance  # type: ignore[arg-type]
        )

    pictures = draw(job.samples, job.temperature)
    names = [target] if len(pictures) == 1 else [_beside(target, f"s{k}") for k in range(len(pictures))]
    for path, picture in zip(names, pictures, strict=True):
        write_photo(path, picture)
    spread = deviation(pictures) if len(pictures) > 1 else None
    if job.std and spread is not None:
        names.append(_save(deviation_map(spread), _beside(target, "std").with_suffix(".png")))
    if job.sheet:
        panels = [("input", shown(photo)), ("bicubic", shown(bicubic(photo, job.model.config.scale)))]
        panels.append(("temperature 0", shown(draw(1, 0.0)[0])))
        if job.temperature > 0:
            panels += [(f"sample {k}, temperature {job.temperature:g}", shown(p)) for k, p in enumerate(pictures)]
        if spread is not None:
            panels.append(("standard deviation", deviation_map(spread)))
        names.append(_save(contact_sheet(panels), _beside(target, "sheet").with_suffix(".png")))
    return names


def _plan(inputs: Sequence[Path], output: Path, *, alone: bool) -> list[tuple[Path, Path]]:
    """Every photograph with the path of its result (before `_s0` and the like)."""
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if not single:
            raise InputError(f"-o {output} names one file, but there may be several photographs: give a folder")
        _make_folder(output.parent)
        return [(inputs[0], output)]
    plan: dict[Path, Path] = {}
    for path in inputs:
        for source in find_photos(path) if path.is_dir() else [path]:
            suffix = source.suffix.lower() if source.suffix.lower() in SUFFIXES else ".png"
            target = output / (source.stem + suffix)
            if target in plan and plan[target] != source:
                raise InputError(f"{plan[target]} and {source} would both become {target}: enlarge them into different folders")
            if target.exists() and target.resolve() == source.resolve() and alone:
                raise InputError(f"the result would replace the photograph {source} itself: choose another -o")
            plan[target] = source
    _make_folder(output)
    return [(source, target) for target, source in plan.items()]


def _model_name(model: str | None, scale: int | None) -> str:
    if model is not None:
        return model
    name = f"x{scale or 4}-small"
    if name not in bundled_models():
        raise InputError(f"no bundled model enlarges by {scale}: give one with -m (bundled: {', '.join(bundled_models())})")
    return name


def _precision(name: str) -> Precision:
    return "auto" if name == "auto" else "float32" if name == "float32" else "bfloat16"


def _beside(path: Path, tag: str) -> Path:
    return path.with_name(f"{path.stem}_{tag}{path.suffix}")


def _save(picture: Image.Image, path: Path) -> Path:
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}; choose another -o") from None
