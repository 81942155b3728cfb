"""`ncsr upscale`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncsr.canvas import Canvas
from ncsr.cli.options import (
    Consistent,
    Device,
    MaxPixels,
    ModelName,
    PrecisionName,
    Samples,
    Scale,
    Tile,
    load_model,
    parse_tile,
)
from ncsr.errors import InputError
from ncsr.files import atomic_path, make_folder
from ncsr.images import (
    MAX_PIXELS,
    SUFFIXES,
    Source,
    check_writable_place,
    check_writable_size,
    find_photos,
    open_photo,
    picture_of,
    write_pixels,
)
from ncsr.journal import begun_with
from ncsr.memory import is_exhaustion
from ncsr.model import NCSR
from ncsr.sheet import contact_sheet, deviation_map, fitted, shown
from ncsr.space import SamplingError, check_sampling
from ncsr.tiles import Drawing, choose_side
from ncsr.upscaling import JOURNAL, Scratch, bicubic, deviation, enlarge

_DEEP = {".png", ".tif", ".tiff"}  # formats that hold 16 bits
_LOSSY = {".jpg", ".jpeg"}


@dataclass(frozen=True)
class _Job:
    """What is done to every photograph."""

    model: NCSR
    drawing: Drawing
    consistent: bool
    sheet: bool
    std: bool
    strip: bool
    max_pixels: int

    def names(self, target: Path) -> list[Path]:
        """The files that a photograph becomes: its samples, then the map and the sheet, if asked for."""
        n = self.drawing.samples
        samples = [target] if n == 1 else [_beside(target, f"s{k}") for k in range(n)]
        extras = (("std", self.std), ("sheet", self.sheet))
        return samples + [_beside(target, tag).with_suffix(".png") for tag, wanted in extras if wanted]


def upscale(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Photographs, or folders of them.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the results; for a single photograph also a file name.")
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
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Enlarge photographs: several plausible, sharp, different images of each.

    photo.png becomes OUTPUT/photo_s0.png, photo_s1.png, ...; with -n 1 or -t 0, OUTPUT/photo.png.
    What a sample shows beyond the photograph is invented: plausible, not observed.
    A run that was stopped goes on where it was when it is started again.
    """
    fresh = seed is None
    plan, problems = _plan(inputs, output, consistent)
    recorded = _recorded_seed([target for _, target in plan]) if fresh else None
    seed = check_sampling(samples, 0.0 if temperature is None else temperature, seed if recorded is None else recorded)
    side = parse_tile(tile)
    network = load_model(model, scale, device, precision)
    choose_side(network, 1, 1, side)
    temperature = network.config.temperature if temperature is None else temperature
    samples = 1 if temperature == 0 else samples
    if std and samples == 1:
        raise InputError("--std needs samples that differ: at least 2 (-n) at a temperature above 0 (-t)")
    drawing = Drawing(samples, temperature, seed, side)
    job = _Job(network, drawing, consistent, sheet, std, strip, max_pixels)
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


def _plan(inputs: Sequence[Path], output: Path, consistent: bool) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every photograph with the path of its result (before `_s0` and the like); a sentence per folder without any."""
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if consistent and output.suffix.lower() in _LOSSY:
            raise InputError(f"-o {output}: JPEG would change what --consistent fits; use .png or .tif")
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
    sources = list(dict.fromkeys(sources))
    names = [s.with_suffix(".png").name if consistent and s.suffix.lower() in _LOSSY else s.name for s in sources]
    return [(source, output / name) for source, name in zip(sources, names, strict=True)], problems


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
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal,
        speed_estimate_period=3600,  # a tile may take minutes
    ) as bar:
        whole = bar.add_task("", total=len(plan))
        for index, (source, target) in enumerate(plan):
            bar.update(whole, description=escape(source.name), completed=index)

            begun = False

            def advance(done: int, total: int, source: Path = source, index: int = index) -> None:
                nonlocal begun
                completed = index + done / total
                if done and not begun:  # by a run that was stopped: it took no time now
                    bar.reset(whole, total=len(plan), completed=completed)  # type: ignore[arg-type]
                bar.update(whole, description=f"{escape(source.name)}, part {done} of {total}", completed=completed)
                begun = True

            def say(sentence: str) -> None:
                bar.stop()
                print(f"ncsr: {sentence}", file=sys.stderr)
                bar.start()

            try:
                paths = _enlarge(source, target, job, advance, say)
            except (InputError, SamplingError) as error:
                message = str(error)
                named = str(source) in message or str(target) in message
                failures.append(message if named else f"{source}: {message}")
            except (MemoryError, RuntimeError) as error:
                if not is_exhaustion(error):
                    raise
                failures.append(f"{source}: not enough memory: ask for fewer samples (-n) or a smaller --tile")
            else:
                bar.stop()  # the paths go to standard output as they are, whatever that is
                print(*paths, sep="\n", flush=True)
                bar.start()
    return failures


def _enlarge(
    path: Path, target: Path, job: _Job, advance: Callable[[int, int], None], say: Callable[[str], None]
) -> list[Path]:
    """Write everything that was asked for of one photograph; returns the paths."""
    source = open_photo(path, max_pixels=job.max_pixels)
    if job.strip:
        source = replace(source, icc=None, exif=None)
    scale, n = job.model.config.scale, job.drawing.samples
    names = job.names(target)
    for name in names[:n]:
        check_writable_size(name, scale * source.size[1], scale * source.size[0])
    check_writable_place(target)
    dtype = np.uint16 if source.bits == 16 and target.suffix.lower() in _DEEP else np.uint8
    with _scratch(path, target, source, job) as scratch:
        canvas, consistency = enlarge(
            source,
            job.model,
            job.drawing,
            dtype,
            consistent=job.consistent,
            scratch=scratch,
            progress=advance,
            say=say,
        )
        for k, name in enumerate(names[:n]):
            write_pixels(name, canvas.pixels(k, dtype), source.icc, source.exif)
            if consistency:
                lr_psnr, change = consistency[k]
                say(f"{name}: LR-PSNR {lr_psnr:.1f} dB, changed by {change:.2f} grey levels on average")
        spread = deviation_map(deviation(canvas)) if n > 1 and (job.std or job.sheet) else None
        if job.std and spread is not None:
            _save(spread, names[n])
        if job.sheet:
            _save(contact_sheet(_panels(source, path, target, job, canvas, spread)), names[-1])
    return names


def _panels(
    source: Source, path: Path, target: Path, job: _Job, canvas: Canvas, spread: Image.Image | None
) -> list[tuple[str, Image.Image]]:
    """What a sheet shows: each picture in the size that it is shown in, for the large ones would fill the memory."""

    def panel(canvas: Canvas, k: int = 0) -> Image.Image:
        return fitted(picture_of(canvas.pixels(k, np.uint8), transparency=False))

    panels = [
        ("input", fitted(shown(source.window(0, 0, *source.size)))),
        ("bicubic", panel(bicubic(source, job.model.config.scale))),
    ]
    t = job.drawing.temperature
    if t == 0:
        panels.append(("temperature 0", panel(canvas)))
    else:
        zero = job.drawing._replace(samples=1, temperature=0.0)
        with _scratch(path, _beside(target, "zero"), source, job) as scratch:
            smooth = enlarge(source, job.model, zero, np.uint8, consistent=job.consistent, scratch=scratch)
            panels.append(("temperature 0", panel(smooth.canvas)))
        panels += [(f"sample {k}, temperature {t:g}", panel(canvas, k)) for k in range(job.drawing.samples)]
    return panels if spread is None else [*panels, ("standard deviation", fitted(spread))]


@contextmanager
def _scratch(path: Path, target: Path, source: Source, job: _Job) -> Iterator[Scratch | None]:
    """Where to gather the result of several tiles; removed when the work is done, kept when it is interrupted."""
    folder = _scratch_folder(target)
    if choose_side(job.model, *source.size, job.drawing.tile) >= max(source.size) and not folder.exists():
        yield None
        return
    about = path.stat()
    try:
        yield Scratch(folder, f"{path.name} {about.st_size} {about.st_mtime_ns}")
    except KeyboardInterrupt:
        print(f"ncsr: stopped: the same command goes on from here, with what {folder} holds", file=sys.stderr)
        raise
    except SamplingError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except InputError:
        with suppress(OSError):
            folder.rmdir()  # if there was no room for anything
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _scratch_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.scratch")


def _recorded_seed(targets: Sequence[Path]) -> int | None:
    """The seed of a run that was stopped, if there is one to go on with."""
    for target in targets:
        begun = begun_with(_scratch_folder(target) / JOURNAL)
        if begun is not None:
            return int(begun["seed"])
    return None


def _beside(path: Path, tag: str) -> Path:
    return path.with_name(f"{path.stem}_{tag}{path.suffix}")


def _save(picture: Image.Image, path: Path) -> None:
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
