"""QueuedPhoto after photograph: the next ones are decoded, and the last results written, while others are computed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ncsr.errors import InputError, SamplingError
from ncsr.images import (
    Source,
    check_writable_folder,
    check_writable_size,
    open_photo,
    photo_size,
    picture_of,
    write_pixels,
)
from ncsr.images.sheet import contact_sheet, deviation_map, fitted, shown
from ncsr.runtime.files import atomic_path, make_folder
from ncsr.runtime.memory import available, is_exhaustion
from ncsr.runtime.remote import Remote
from ncsr.runtime.threads import BackgroundWriter, prefetch_map
from ncsr.upscaling.canvas import Canvas
from ncsr.upscaling.grouping import group_by_key
from ncsr.upscaling.image import Enlargement, Scratch, bicubic, deviation, enlarge, enlarge_together
from ncsr.upscaling.job import Job, QueuedPhoto, UpscaleResult, beside, error_message
from ncsr.upscaling.manifest import is_up_to_date, remove_manifest, write_manifest
from ncsr.upscaling.resume_log import scratch_folder
from ncsr.upscaling.tile_size import choose_side, tile_bytes

WINDOW = 64  # photographs, from a multiple of this on, among which those of one size are sought
BATCH_PIXELS = 2**14  # LR pixels of photographs that are computed as one batch
_TOGETHER, _TOGETHER_SAMPLES = 16, 2**17  # photographs of one batch, LR pixels of all their samples
_DEEP = {".png", ".tif", ".tiff"}  # formats that hold 16 bits
_AHEAD = 2**22  # pixels of a photograph that is decoded before its turn
_BEHIND = 2**26  # bytes of results that are written while the next are computed

PhotoProgress = Callable[[str, int, int, int], None]
"""Called with the name of a photograph whose turn it is, how many had theirs, its parts that are done, and all of them;
of these, 0 before the first."""
Warn = Callable[[str], None]
"""Called with a sentence when something is noteworthy."""


def enlarge_all(
    photographs: Iterable[QueuedPhoto], job: Job, advance: PhotoProgress, say: Warn
) -> Iterator[UpscaleResult]:
    """Enlarge photographs; yields what became of each when all is written, not always in their order.

    Args:
        photographs: taken one by one, a few ahead of their turn.
        job: what is done to each.
        advance: told how far it is.
        say: told what is noteworthy.
    """
    opened = prefetch_map(partial(prefetch_photo, job), photographs, 1)
    index = 0
    with BackgroundWriter[UpscaleResult]() as writer:
        for group in group_by_key(opened, batch_key, lambda photograph: photograph.batch_limit, WINDOW):
            name = group[0].path.name
            advance(name, index, 0, 0)
            for photograph, finish in _enlarged(group, job, partial(advance, name, index), say):
                yield from writer.submit(partial(_result, photograph, job, finish))
            index += len(group)
        yield from writer.drain()


def manifest_state(path: Path | Remote, target: Path | Remote, job: Job) -> tuple[Mapping[str, Any] | None, bool]:
    """Settings for the record of a photograph, None without records, and whether it has one that tells of the same."""
    if job.settings is None:
        return None, False
    mark = _mark(path)
    if mark is None:
        return None, False
    settings = {**job.settings, "photograph": mark}
    return settings, is_up_to_date(target, settings, job.names(target))


def queue_photo(job: Job, entry: tuple[Path, Path]) -> QueuedPhoto:
    """What is known of a photograph without opening it."""
    settings, made = manifest_state(*entry, job)
    return QueuedPhoto(*entry, settings=settings, done=made)


def prefetch_photo(job: Job, photograph: QueuedPhoto, most: int = _AHEAD) -> QueuedPhoto:
    """Look into a photograph before its turn: open it, unless it has more pixels than `most`."""
    if photograph.done or photograph.failure is not None:
        return photograph
    path, target = photograph.path, photograph.target
    try:
        height, width = photo_size(path)
        if height * width > most:
            return photograph
        source = _open(path, target, job)
        return replace(photograph, source=source, batch_limit=_together(source, target, job))
    except (InputError, MemoryError, RuntimeError) as error:
        return replace(photograph, failure=error_message(path, target, error))


def batch_key(photograph: QueuedPhoto) -> tuple[int, int] | None:
    """What photographs of one batch have in common; None for what goes alone."""
    return photograph.source.size if photograph.source is not None and photograph.batch_limit > 1 else None


def _mark(path: Path | Remote) -> str | None:
    """What tells a photograph from another one, or from itself after a change; None: no such file."""
    if isinstance(path, Remote):
        found = path.about()
        return None if found is None else f"{found[0]} {found[1]}"
    if not path.is_file():
        return None
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _open(path: Path, target: Path, job: Job) -> Source:
    """Open a photograph, and make sure that its results can be written."""
    source = open_photo(path, max_pixels=job.max_pixels)
    if job.strip:
        source = replace(source, icc=None, exif=None)
    scale = job.model.config.scale
    for name in job.names(target)[: job.drawing.samples]:
        check_writable_size(name, scale * source.size[1], scale * source.size[0])
    make_folder(target.parent)
    check_writable_folder(target)
    return source


def _together(source: Source, target: Path, job: Job) -> int:
    """How many photographs like this one are computed as one batch."""
    pixels = source.size[0] * source.size[1]
    most = min(_TOGETHER, BATCH_PIXELS // pixels, _TOGETHER_SAMPLES // (pixels * job.drawing.samples))
    if most < 2 or min(source.size) < 4 or not _in_memory(source, target, job):
        return 1
    low, free = job.model.low_precision(sampling=True), available(job.model.device)
    while most > 1 and 2 * tile_bytes(job.model.config, most * pixels, low) > free:
        most //= 2
    return most


def _enlarged(
    group: Sequence[QueuedPhoto], job: Job, advance: Callable[[int, int], None], say: Callable[[str], None]
) -> Iterator[tuple[QueuedPhoto, Callable[[], list[str]]]]:
    """Compute photographs; yields each with what is left to do: write the results, giving sentences about them."""
    made = _enlarge_together(group, job) if len(group) > 1 else None
    for index, photograph in enumerate(group):
        finish: Callable[[], list[str]] = list
        if not photograph.done and photograph.failure is None:
            try:
                if made is None or photograph.source is None:
                    finish = _enlarge(photograph, job, advance, say)
                else:
                    finish = partial(_finish, photograph, photograph.source, job, made[index])
                    finish = _done(finish) if job.sheet else finish
            except (InputError, SamplingError, MemoryError, RuntimeError) as error:
                photograph = replace(photograph, failure=error_message(photograph.path, photograph.target, error))
        yield photograph, finish


def _enlarge_together(group: Sequence[QueuedPhoto], job: Job) -> list[Enlargement] | None:
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
    photograph: QueuedPhoto, job: Job, advance: Callable[[int, int], None], say: Callable[[str], None]
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


def _finish(photograph: QueuedPhoto, source: Source, job: Job, made: Enlargement) -> list[str]:
    """Write everything that was asked for of one photograph; returns sentences about it."""
    path, target, canvas, n = photograph.path, photograph.target, made.canvas, job.drawing.samples
    names, sentences = job.names(target), []
    remove_manifest(target)
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
        write_manifest(target, photograph.settings, names)
    return sentences


def _result(photograph: QueuedPhoto, job: Job, finish: Callable[[], list[str]]) -> UpscaleResult:
    """Finish a photograph, whatever happens."""
    path, target, failure = photograph.path, photograph.target, photograph.failure
    if photograph.done or failure is not None:
        return UpscaleResult(path, photograph.done, [], [], failure)
    try:
        sentences = finish()
    except (InputError, SamplingError, MemoryError, RuntimeError) as error:
        return UpscaleResult(path, False, [], [], error_message(path, target, error))
    return UpscaleResult(path, False, job.names(target), sentences, None)


def _dtype(source: Source, target: Path) -> type[np.uint8 | np.uint16]:
    """Of the pixels in the results."""
    return np.uint16 if source.bits == 16 and target.suffix.lower() in _DEEP else np.uint8


def _panels(
    source: Source, path: Path, target: Path, job: Job, canvas: Canvas, spread: Image.Image | None
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
        with _scratch(path, beside(target, "zero"), source, job) as scratch:
            smooth = enlarge(source, job.model, zero, np.uint8, consistent=job.consistent, scratch=scratch)
            panels.append(("temperature 0", panel(smooth.canvas)))
        panels += [(f"sample {k}, temperature {t:g}", panel(canvas, k)) for k in range(job.drawing.samples)]
    return panels if spread is None else [*panels, ("standard deviation", fitted(spread))]


@contextmanager
def _scratch(path: Path, target: Path, source: Source, job: Job) -> Iterator[Scratch | None]:
    """Where to gather the result of several tiles; removed when the work is done, kept when it is interrupted."""
    folder = scratch_folder(target)
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


def _in_memory(source: Source, target: Path, job: Job) -> bool:
    """Whether a photograph is enlarged in one piece, and not gone on with."""
    one_piece = choose_side(job.model, *source.size, job.drawing.tile) >= max(source.size)
    return one_piece and not scratch_folder(target).exists()


def _save(picture: Image.Image, path: Path) -> None:
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
