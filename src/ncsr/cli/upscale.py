"""`ncsr upscale`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncsr.canvas import Canvas
from ncsr.checkpoint import fingerprint
from ncsr.cli.options import (
    Consistent,
    Device,
    MaxPixels,
    ModelName,
    PrecisionName,
    Recursive,
    Samples,
    Scale,
    SkipExisting,
    Tile,
    load_model,
    parse_tile,
)
from ncsr.data.ahead import ahead
from ncsr.errors import InputError
from ncsr.files import atomic_path, make_folder
from ncsr.folder import Behind, gathered
from ncsr.images import (
    MAX_PIXELS,
    SUFFIXES,
    Source,
    check_writable_place,
    check_writable_size,
    find_photos,
    open_photo,
    photo_size,
    picture_of,
    write_pixels,
)
from ncsr.journal import begun_with
from ncsr.memory import available, is_exhaustion
from ncsr.model import NCSR
from ncsr.record import forget, is_made, recorded, write_record
from ncsr.sheet import contact_sheet, deviation_map, fitted, shown
from ncsr.space import SamplingError, check_sampling
from ncsr.tiles import Drawing, choose_side, tile_bytes
from ncsr.upscaling import JOURNAL, Enlargement, Scratch, bicubic, deviation, enlarge, enlarge_together

_DEEP = {".png", ".tif", ".tiff"}  # formats that hold 16 bits
_LOSSY = {".jpg", ".jpeg"}
_AHEAD = 2**22  # pixels of a photograph that is decoded before its turn
_BEHIND = 2**26  # bytes of results that are written while the next are computed
_WINDOW = 64  # small photographs that may wait for others of their size
_TOGETHER, _TOGETHER_PIXELS, _TOGETHER_SAMPLES = 16, 2**14, 2**17  # photographs, their LR pixels, those of all samples


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
    settings: Mapping[str, Any] | None
    """All of this that decides the results, for records; None keeps none."""

    def names(self, target: Path) -> list[Path]:
        """The files that a photograph becomes: its samples, then the map and the sheet, if asked for."""
        n = self.drawing.samples
        samples = [target] if n == 1 else [_beside(target, f"s{k}") for k in range(n)]
        extras = (("std", self.std), ("sheet", self.sheet))
        return samples + [_beside(target, tag).with_suffix(".png") for tag, wanted in extras if wanted]


@dataclass(frozen=True)
class _Photograph:
    """A photograph and what is known of it before its turn.

    Attributes:
        source: None where it is opened in its turn, because it is large.
        together: how many of its size may be computed as one batch with it.
        settings: for its record; None keeps none.
        made: whether its record says that it is done.
        failure: a sentence about what is wrong with it.
    """

    path: Path
    target: Path
    source: Source | None = None
    together: int = 1
    settings: Mapping[str, Any] | None = None
    made: bool = False
    failure: str | None = None


class _Outcome(NamedTuple):
    """What became of a photograph: paths of its results and sentences about them, or the sentence of its failure."""

    photograph: _Photograph
    paths: list[Path]
    sentences: list[str]
    failure: str | None


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
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Enlarge photographs: several plausible, sharp, different images of each.

    photo.png becomes OUTPUT/photo_s0.png, photo_s1.png, ...; with -n 1 or -t 0, OUTPUT/photo.png.
    What a sample shows beyond the photograph is invented: plausible, not observed.
    A run that was stopped goes on where it was when it is started again.
    """
    fresh = seed is None
    plan, problems = _plan(inputs, output, consistent, recursive)
    if fresh:
        seed = _recorded_seed([target for _, target in plan], skip_existing)
    seed = check_sampling(samples, 0.0 if temperature is None else temperature, seed)
    side = parse_tile(tile)
    network = load_model(model, scale, device, precision)
    choose_side(network, 1, 1, side)
    temperature = network.config.temperature if temperature is None else temperature
    samples = 1 if temperature == 0 else samples
    if std and samples == 1:
        raise InputError("--std needs samples that differ: at least 2 (-n) at a temperature above 0 (-t)")
    drawing = Drawing(samples, temperature, seed, side)
    job = _Job(network, drawing, consistent, sheet, std, strip, max_pixels, None)
    if skip_existing:
        job = replace(job, settings=_settings(job))
    _check_names(plan, job)
    if plan:
        make_folder(output.parent if plan[0][1] == output else output)
    failed, left_out = _run(plan, job)
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
    inputs: Sequence[Path], output: Path, consistent: bool, recursive: bool
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every photograph with the path of its result (before `_s0` and the like); a sentence per folder without any."""
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        if consistent and output.suffix.lower() in _LOSSY:
            raise InputError(f"-o {output}: JPEG would change what --consistent fits; use .png or .tif")
        if len(inputs) > 1 or inputs[0].is_dir():
            raise InputError(f"-o {output} names one file, but there may be several photographs: give a folder")
        return [(inputs[0], output)], []
    targets: dict[Path, Path] = {}
    problems = []
    for given in inputs:
        try:
            sources = _photos(given, output, recursive) if given.is_dir() else [given]
        except InputError as error:
            problems.append(str(error))
            continue
        for source in sources:
            name = source.with_suffix(".png") if consistent and source.suffix.lower() in _LOSSY else source
            inside = name.relative_to(given) if given.is_dir() else Path(name.name)
            targets.setdefault(source, output / inside)
    return list(targets.items()), problems


def _photos(folder: Path, output: Path, recursive: bool) -> list[Path]:
    """The photographs of a folder; not those in an output folder inside it, which earlier runs made."""
    photos, results = find_photos(folder, recursive), output.resolve()
    if not recursive or results == folder.resolve() or folder.resolve() not in results.parents:
        return photos
    photos = [photo for photo in photos if results not in photo.resolve().parents]
    if not photos:
        raise InputError(f"the folder {folder} holds no photographs outside {output}")
    return photos


def _settings(job: _Job) -> dict[str, Any]:
    """All that decides the results, but for the photograph."""
    model, drawing = job.model, job.drawing
    return {
        "model": fingerprint(model.config, model.state_dict()),
        "device": model.device.type,
        "precision": "bfloat16" if model.low_precision(sampling=True) else "float32",
        "scale": model.config.scale,
        "samples": drawing.samples,
        "temperature": drawing.temperature,
        "seed": drawing.seed if drawing.temperature else None,
        "consistent": job.consistent,
        "strip": job.strip,
    }


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


def _run(plan: Sequence[tuple[Path, Path]], job: _Job) -> tuple[list[str], int]:
    """Enlarge everything, printing the paths.

    The next photographs are decoded, and the last results written, while others are computed.

    Returns:
        A sentence for each photograph that failed, in the plan's order, and how many were made before.
    """
    failures: dict[Path, str] = {}
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
        index = 0

        def say(sentence: str) -> None:
            bar.stop()
            print(f"ncsr: {sentence}", file=sys.stderr)
            bar.start()

        def tell(outcome: _Outcome) -> None:
            if outcome.failure is not None:
                failures[outcome.photograph.path] = outcome.failure
            elif outcome.paths:
                bar.stop()  # the paths go to standard output as they are, whatever that is
                print(*outcome.paths, sep="\n", flush=True)
                bar.start()
            for sentence in outcome.sentences:
                say(sentence)

        opened = ahead(partial(_prepare, job), plan, 1)
        with Behind[_Outcome]() as behind:
            for group in gathered(opened, _batch, lambda photograph: photograph.together, _WINDOW):
                begun = False

                def advance(done: int, total: int, name: str = group[0].path.name, index: int = index) -> None:
                    nonlocal begun
                    completed = index + done / total
                    if done and not begun:  # by a run that was stopped: it took no time now
                        bar.reset(whole, total=len(plan), completed=completed)  # type: ignore[arg-type]
                    bar.update(whole, description=f"{escape(name)}, part {done} of {total}", completed=completed)
                    begun = True

                bar.update(whole, description=escape(group[0].path.name), completed=index)
                for photograph, finish in _enlarged(group, job, advance, say):
                    left_out += photograph.made
                    for outcome in behind.do(partial(_outcome, photograph, job, finish)):
                        tell(outcome)
                index += len(group)
            for outcome in behind.rest():
                tell(outcome)
    return [failures[path] for path, _ in plan if path in failures], left_out


def _prepare(job: _Job, entry: tuple[Path, Path]) -> _Photograph:
    """Look at a photograph before its turn: is it made, can it be opened, how many of its size go together."""
    photograph = _Photograph(*entry)
    path, target = entry
    try:
        if job.settings is not None and path.is_file():
            about = path.stat()
            settings = {**job.settings, "photograph": f"{about.st_size} {about.st_mtime_ns}"}
            if is_made(target, settings, job.names(target)):
                return replace(photograph, made=True)
            photograph = replace(photograph, settings=settings)
        height, width = photo_size(path)
        if height * width > _AHEAD:
            return photograph
        source = _open(path, target, job)
        return replace(photograph, source=source, together=_together(source, target, job))
    except (InputError, MemoryError, RuntimeError) as error:
        return replace(photograph, failure=_sentence(photograph, error))


def _open(path: Path, target: Path, job: _Job) -> Source:
    """Open a photograph, and make sure that its results can be written."""
    source = open_photo(path, max_pixels=job.max_pixels)
    if job.strip:
        source = replace(source, icc=None, exif=None)
    scale = job.model.config.scale
    for name in job.names(target)[: job.drawing.samples]:
        check_writable_size(name, scale * source.size[1], scale * source.size[0])
    make_folder(target.parent)
    check_writable_place(target)
    return source


def _together(source: Source, target: Path, job: _Job) -> int:
    """How many photographs like this one are computed as one batch."""
    pixels = source.size[0] * source.size[1]
    most = min(_TOGETHER, _TOGETHER_PIXELS // pixels, _TOGETHER_SAMPLES // (pixels * job.drawing.samples))
    if most < 2 or min(source.size) < 4 or not _in_memory(source, target, job):
        return 1
    low, free = job.model.low_precision(sampling=True), available(job.model.device)
    while most > 1 and 2 * tile_bytes(job.model.config, most * pixels, low) > free:
        most //= 2
    return most


def _batch(photograph: _Photograph) -> tuple[int, int] | None:
    """What photographs of one batch have in common; None for what goes alone."""
    return photograph.source.size if photograph.source is not None and photograph.together > 1 else None


def _enlarged(
    group: Sequence[_Photograph], job: _Job, advance: Callable[[int, int], None], say: Callable[[str], None]
) -> Iterator[tuple[_Photograph, Callable[[], list[str]]]]:
    """Compute photographs; yields each with what is left to do: write the results, giving sentences about them."""
    made = _enlarge_together(group, job) if len(group) > 1 else None
    for index, photograph in enumerate(group):
        finish: Callable[[], list[str]] = list
        if not photograph.made and photograph.failure is None:
            try:
                if made is None or photograph.source is None:
                    finish = _enlarge(photograph, job, advance, say)
                else:
                    finish = partial(_finish, photograph, photograph.source, job, made[index])
                    finish = _done(finish) if job.sheet else finish
            except (InputError, SamplingError, MemoryError, RuntimeError) as error:
                photograph = replace(photograph, failure=_sentence(photograph, error))
        yield photograph, finish


def _enlarge_together(group: Sequence[_Photograph], job: _Job) -> list[Enlargement] | None:
    """Several photographs of one size as one batch; None if that fails and they are to be tried one by one."""
    sources = [photograph.source for photograph in group if photograph.source is not None]
    dtypes = [_dtype(source, photograph.target) for source, photograph in zip(sources, group, strict=True)]
    try:
        return enlarge_together(sources, job.model, job.drawing, dtypes, consistent=job.consistent)
    except SamplingError:
        return None
    except (InputError, MemoryError, RuntimeError) as error:
        if not isinstance(error, InputError) and not is_exhaustion(error):
            raise
        return None


def _enlarge(
    photograph: _Photograph, job: _Job, advance: Callable[[int, int], None], say: Callable[[str], None]
) -> Callable[[], list[str]]:
    """Compute a photograph; what is left to do is nothing where the results are large."""
    path, target = photograph.path, photograph.target
    source = photograph.source or _open(path, target, job)
    with _scratch(path, target, source, job) as scratch:
        made = enlarge(
            source,
            job.model,
            job.drawing,
            _dtype(source, target),
            consistent=job.consistent,
            scratch=scratch,
            progress=advance,
            say=say,
        )
        finish = partial(_finish, photograph, source, job, made)
        if scratch is None and not job.sheet and np.prod(made.canvas.shape) * made.canvas.dtype.itemsize <= _BEHIND:
            return finish
        return _done(finish)


def _done(finish: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """Finish now."""
    sentences = finish()
    return lambda: sentences


def _finish(photograph: _Photograph, source: Source, job: _Job, made: Enlargement) -> list[str]:
    """Write everything that was asked for of one photograph; returns sentences about it."""
    path, target, canvas, n = photograph.path, photograph.target, made.canvas, job.drawing.samples
    names, sentences = job.names(target), []
    forget(target)
    for k, name in enumerate(names[:n]):
        write_pixels(name, canvas.pixels(k, _dtype(source, target)), source.icc, source.exif)
        if made.consistency:
            lr_psnr, change = made.consistency[k]
            sentences.append(f"{name}: LR-PSNR {lr_psnr:.1f} dB, changed by {change:.2f} grey levels on average")
    spread = deviation_map(deviation(canvas)) if n > 1 and (job.std or job.sheet) else None
    if job.std and spread is not None:
        _save(spread, names[n])
    if job.sheet:
        _save(contact_sheet(_panels(source, path, target, job, canvas, spread)), names[-1])
    if photograph.settings is not None:
        write_record(target, photograph.settings, names)
    return sentences


def _outcome(photograph: _Photograph, job: _Job, finish: Callable[[], list[str]]) -> _Outcome:
    """Finish a photograph, whatever happens."""
    if photograph.made or photograph.failure is not None:
        return _Outcome(photograph, [], [], photograph.failure)
    try:
        sentences = finish()
    except (InputError, SamplingError, MemoryError, RuntimeError) as error:
        return _Outcome(photograph, [], [], _sentence(photograph, error))
    return _Outcome(photograph, job.names(photograph.target), sentences, None)


def _sentence(photograph: _Photograph, error: Exception) -> str:
    """The sentence for a failure that is the photograph's or the memory's; anything else is raised again."""
    path, message = photograph.path, str(error)
    if isinstance(error, (InputError, SamplingError)):
        named = str(path) in message or str(photograph.target) in message
        return message if named else f"{path}: {message}"
    if not is_exhaustion(error):
        raise error
    return f"{path}: not enough memory: ask for fewer samples (-n) or a smaller --tile"


def _dtype(source: Source, target: Path) -> type[np.uint8 | np.uint16]:
    """Of the pixels in the results."""
    return np.uint16 if source.bits == 16 and target.suffix.lower() in _DEEP else np.uint8


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
    if _in_memory(source, target, job):
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


def _in_memory(source: Source, target: Path, job: _Job) -> bool:
    """Whether a photograph is enlarged in one piece, and not gone on with."""
    one_piece = choose_side(job.model, *source.size, job.drawing.tile) >= max(source.size)
    return one_piece and not _scratch_folder(target).exists()


def _scratch_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.scratch")


def _recorded_seed(targets: Sequence[Path], skip_existing: bool) -> int | None:
    """The seed of a run that was stopped or, with `--skip-existing`, of the records, if there is one to go on with."""
    for target in targets:
        begun = begun_with(_scratch_folder(target) / JOURNAL)
        if begun is not None:
            return int(begun["seed"])
        known = recorded(target).get("seed") if skip_existing else None
        if isinstance(known, int):
            return known
    return None


def _beside(path: Path, tag: str) -> Path:
    return path.with_name(f"{path.stem}_{tag}{path.suffix}")


def _save(picture: Image.Image, path: Path) -> None:
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
