"""`ncsr upscale`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncsr.cli.options import (
    Consistent,
    Device,
    MaxPixels,
    ModelName,
    PrecisionName,
    RayAddress,
    Recursive,
    Samples,
    Scale,
    SkipExisting,
    Tile,
    load_model,
    parse_tile,
)
from ncsr.errors import InputError
from ncsr.images import MAX_PIXELS, SUFFIXES
from ncsr.runtime.files import make_folder
from ncsr.runtime.ray_pool import workers_at
from ncsr.runtime.remote import Remote, parse_location
from ncsr.space import check_sampling
from ncsr.upscaling.job import Job, UpscaleResult, check_names, settings_of
from ncsr.upscaling.manifest import recorded
from ncsr.upscaling.on_ray import enlarge_by
from ncsr.upscaling.paths import photos_in
from ncsr.upscaling.pipeline import PhotoProgress, Warn, enlarge_all, queue_photo
from ncsr.upscaling.resume_log import JOURNAL, read_settings, scratch_folder
from ncsr.upscaling.tile_size import choose_side
from ncsr.upscaling.tiling import SampleRequest

_LOSSY = {".jpg", ".jpeg"}
_OTHER_IMAGES = {".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".pdf", ".svg"}
_Place: TypeAlias = Path | Remote


def upscale(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Photographs, or folders of them.", show_default=False)
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Folder for the results; for a single photograph also a file name.")
    ],
    model: ModelName = None,
    scale: Scale = None,
    samples: Samples = 4,
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
    tile: Tile = "auto",
    consistent: Consistent = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet of all of them.")] = False,
    std: Annotated[
        bool, typer.Option("--std", help="Also write where the samples differ, the standard-deviation map.")
    ] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out EXIF and colour profile.")] = False,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    ray: RayAddress = None,
) -> None:
    """Enlarge photographs: several plausible, sharp, different images of each.

    photo.png becomes OUTPUT/photo_s0.png, photo_s1.png, ...; with -n 1 or -t 0, OUTPUT/photo.png.
    What a sample shows beyond the photograph is invented: plausible, not observed.
    A run that was stopped goes on where it was when it is started again.
    With --ray, INPUT and OUTPUT may be URLs: s3://bucket/folder and whatever else fsspec has a driver for.
    """
    fresh = seed is None
    sources, results = [parse_location(text) for text in inputs], parse_location(output)
    _check_places([*sources, results], ray)
    plan, problems = _plan(sources, results, consistent, recursive)
    if fresh:
        seed = _recorded_seed([target for _, target in plan], skip_existing)
    seed = check_sampling(samples, 0.0 if temperature is None else temperature, seed)
    side = parse_tile(tile)
    with workers_at(ray, device) as workers:
        if workers is not None:
            device, precision = "cpu", workers.precision(precision)
        network = load_model(model, scale, device, precision)
        choose_side(network, 1, 1, side)
        temperature = network.config.temperature if temperature is None else temperature
        samples = 1 if temperature == 0 else samples
        if std and samples == 1:
            raise InputError("--std needs samples that differ: at least 2 (-n) at a temperature above 0 (-t)")
        drawing = SampleRequest(samples, temperature, seed, side)
        job = Job(network, drawing, consistent, sheet, std, strip, max_pixels, None)
        if skip_existing:
            job = replace(job, settings=settings_of(job, network.device.type if workers is None else workers.device))
        check_names(plan, job)
        if plan and isinstance(results, Path):
            make_folder(results.parent if plan[0][1] == results else results)
        if workers is None:
            work = partial(enlarge_all, map(partial(queue_photo, job), plan), job)
        else:
            work = partial(enlarge_by, workers, plan, job)
        failed, left_out = _run(plan, work)
    failures = problems + failed
    done = len(plan) + len(problems) - len(failures)
    if fresh and samples > 1 and done:
        print(f"seed {seed}", file=sys.stderr)
    if left_out:
        print(f"left out {left_out} of {len(plan)}: made before with the same settings", file=sys.stderr)
    for failure in failures:
        print(f"ncsr: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(1 if done else 2)


def _plan(
    inputs: Sequence[_Place], output: _Place, consistent: bool, recursive: bool
) -> tuple[list[tuple[_Place, _Place]], list[str]]:
    """Every photograph with the path of its result (before `_s0` and the like); a sentence per folder without any."""
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if consistent and output.suffix.lower() in _LOSSY:
            raise InputError(f"-o {output}: JPEG would change what --consistent fits; use .png or .tif")
        if len(inputs) > 1 or inputs[0].is_dir():
            raise InputError(f"-o {output} names one file, but there may be several photographs: give a folder")
        return [(inputs[0], output)], []
    if output.suffix.lower() in _OTHER_IMAGES and not output.is_dir():
        raise InputError(
            f"-o {output}: results are written as {' '.join(sorted(SUFFIXES))}; for a folder, make it first"
        )
    targets: dict[_Place, _Place] = {}
    problems = []
    for given in inputs:
        try:
            found = _photos(given, output, recursive) if given.is_dir() else [(given, PurePath(given.name))]
        except InputError as error:
            problems.append(str(error))
            continue
        for source, inside in found:
            lossy = consistent and inside.suffix.lower() in _LOSSY
            targets.setdefault(source, output / (inside.with_suffix(".png") if lossy else inside))
    return list(targets.items()), problems


def _photos(folder: _Place, output: _Place, recursive: bool) -> list[tuple[_Place, PurePath]]:
    """The photographs of a folder, and where in it they are; not results of earlier runs in an output folder inside."""
    found = photos_in(folder, recursive)
    results = output.resolve()
    if not recursive or results == folder.resolve() or folder.resolve() not in results.parents:
        return found
    found = [(photo, inside) for photo, inside in found if results not in photo.resolve().parents]
    if not found:
        raise InputError(f"the folder {folder} holds no photographs outside {output}")
    return found


def _run(
    plan: Sequence[tuple[_Place, _Place]], work: Callable[[PhotoProgress, Warn], Iterator[UpscaleResult]]
) -> tuple[list[str], int]:
    """Have everything enlarged, printing the paths.

    Returns:
        A sentence for each photograph that failed, in the plan's order, and how many were made before.
    """
    failures: dict[_Place, str] = {}
    left_out = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal,
        speed_estimate_period=3600,  # a tile may take minutes
    ) as bar:
        whole = bar.add_task("", total=len(plan))
        begun = False

        def say(sentence: str) -> None:
            bar.stop()
            print(f"ncsr: {sentence}", file=sys.stderr)
            bar.start()

        def advance(name: str, index: int, done: int, total: int) -> None:
            nonlocal begun
            completed = index + (done / total if total else 0)
            if done and not begun:  # by a run that was stopped: it took no time now
                bar.reset(whole, total=len(plan), completed=completed)  # type: ignore[arg-type]
            part = f", part {done} of {total}" if total else ""
            bar.update(whole, description=escape(name) + part, completed=completed)
            begun = total > 0

        for result in work(advance, say):
            left_out += result.skipped
            if result.failure is not None:
                failures[result.path] = result.failure
            elif result.paths:
                bar.stop()  # the paths go to standard output as they are, whatever that is
                print(*result.paths, sep="\n", flush=True)
                bar.start()
            for sentence in result.notes:
                say(sentence)
    return [failures[path] for path, _ in plan if path in failures], left_out


def _check_places(places: Sequence[_Place], ray: str | None) -> None:
    """Refuse URLs without workers that fetch and store what is behind them."""
    for given in places:
        if isinstance(given, Remote) and ray is None:
            raise InputError(f"{given} is a URL: add --ray, whose workers fetch and store files there")


def _recorded_seed(targets: Sequence[_Place], skip_existing: bool) -> int | None:
    """The seed of a run that was stopped or, with `--skip-existing`, of the records, if there is one to go on with.

    Raises:
        InputError: there may be records behind a URL; looking for them there would take a request per photograph.
    """
    for target in targets:
        if isinstance(target, Remote):
            if skip_existing:
                raise InputError("--skip-existing needs --seed where -o is a URL: the seed that its results have")
            return None
        begun = read_settings(scratch_folder(target) / JOURNAL)
        if begun is not None:
            return int(begun["seed"])
        known = recorded(target).get("seed") if skip_existing else None
        if isinstance(known, int):
            return known
    return None
