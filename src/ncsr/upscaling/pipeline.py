"""Photograph after photograph: the next ones are decoded, and the last results written, while others are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ncsr.errors import InputError, SamplingError
from ncsr.images import (
    Source,
    check_writable_folder,
    check_writable_size,
    open_photo,
    photo_size,
    to_array,
    write_pixels,
    write_values,
)
from ncsr.images.origin import Provenance
from ncsr.images.sheet import contact_sheet, deviation_map, panel_of, thumbnail
from ncsr.images.writing import QUALITY_SUFFIXES, pixel_type
from ncsr.ops.projection import Rows
from ncsr.runtime.files import atomic_path, explain_write_errors, file_hash, make_folder
from ncsr.runtime.locks import Locks
from ncsr.runtime.memory import available
from ncsr.runtime.threads import BackgroundWriter, prefetch_map
from ncsr.upscaling.canvas import rows_of
from ncsr.upscaling.consistency import lr_psnr
from ncsr.upscaling.grouping import group_by_key
from ncsr.upscaling.image import Enlargement, bicubic, deviation, enlarge
from ncsr.upscaling.job import Job, QueuedPhoto, UpscaleResult, error_message
from ncsr.upscaling.manifest import manifest_state, remove_manifest, write_manifest
from ncsr.upscaling.provenance import sidecar_path
from ncsr.upscaling.resume_log import scratch_folder, scratch_for
from ncsr.upscaling.tile_size import LARGEST, choose_side, tile_bytes

GROUPING_SPAN = 64  # photographs in a row among which those of one size are gathered into batches
BATCH_PIXELS = 2**14  # most LR pixels of the photographs in one batch
_BATCH_PHOTOS, _BATCH_SAMPLES = 16, 2**17  # most photographs in one batch, most LR pixels of all their samples
_PREFETCH_PIXELS = 2**22  # largest photograph that is decoded while another one is computed
_BACKGROUND_BYTES = 2**26  # largest results of a photograph that are written while the next one is computed
_FAILURES = (InputError, SamplingError, MemoryError, OSError, RuntimeError)

PhotoProgress = Callable[[str, int, int, int], None]
"""progress(name, index, parts_done, parts_total): the current photograph, how many came before it, and its parts; both
counts of parts are 0 before the first is done."""
Warn = Callable[[str], None]
"""Called with a sentence for the user."""

_Write = Callable[[], UpscaleResult]
"""Writes the files of a photograph."""


def enlarge_all(
    photos: Iterable[QueuedPhoto], job: Job, progress: PhotoProgress, warn: Warn
) -> Iterator[UpscaleResult]:
    """Enlarge photographs; yields the result of each when its files are written, not always in their order.

    Photographs are taken one by one, a few ahead of the computation. The results of each are locked against other
    processes from the beginning of its computation until they are written.
    """
    opened = prefetch_map(partial(prefetch_photo, job), photos, 1)
    index = 0
    with Locks() as locks, BackgroundWriter[UpscaleResult]() as writer:
        for group in group_by_key(opened, batch_key, lambda photo: photo.batch_limit, GROUPING_SPAN):
            name = group[0].path.name
            progress(name, index, 0, 0)
            for write in _enlarge_group(group, job, locks, partial(progress, name, index), warn):
                yield from writer.submit(write)
            index += len(group)
        yield from writer.drain()


def queue_photo(job: Job, entry: tuple[Path, Path]) -> QueuedPhoto:
    """A photograph for the queue, with what is known without opening it; `entry` has its path and its result's."""
    settings, done = manifest_state(*entry, job)
    return QueuedPhoto(*entry, settings=settings, done=done)


def prefetch_photo(job: Job, photo: QueuedPhoto, most: int = _PREFETCH_PIXELS) -> QueuedPhoto:
    """Open a photograph before it is computed, unless it has more pixels than `most`."""
    if photo.done or photo.failure is not None:
        return photo
    try:
        height, width = photo_size(photo.path, job.page_of(photo.target))
        if height * width > most:
            return photo
        source = _open(photo, job)
        return replace(photo, source=source, batch_limit=_batch_limit(source, photo.target, job))
    except _FAILURES as error:
        return replace(photo, failure=error_message(photo.path, photo.target, error))


def batch_key(photo: QueuedPhoto) -> tuple[int, int] | None:
    """The size (H, W) that photographs of one batch share; None for a photograph that is computed alone."""
    return photo.source.size if photo.source is not None and photo.batch_limit > 1 else None


def _open(photo: QueuedPhoto, job: Job) -> Source:
    """Open a photograph; InputError unless its results can be written."""
    page = job.page_of(photo.target)
    source = open_photo(photo.path, max_pixels=job.max_pixels, allow_incomplete=job.allow_incomplete, page=page)
    if job.strip:
        source = replace(source, icc=None, exif=None, dpi=None, xmp=None, texts=())
    scale = job.model.config.scale
    height, width = job.final_size(source) or (scale * source.size[0], scale * source.size[1])
    for name in job.names(photo.target)[: job.request.samples]:
        check_writable_size(name, width, height)
    make_folder(photo.target.parent)
    check_writable_folder(photo.target)
    return source


def _batch_limit(source: Source, target: Path, job: Job) -> int:
    """How many photographs of this size may be computed in one batch, none of them in tiles."""
    pixels, tile = source.size[0] * source.size[1], job.request.tile
    most = min(_BATCH_PHOTOS, BATCH_PIXELS // pixels, _BATCH_SAMPLES // (pixels * job.request.samples))
    if min(source.size) < 4 or max(source.size) > (LARGEST if tile is None else tile):
        return 1
    low, free = job.model.low_precision(sampling=True), available(job.model.device)
    while most > 1 and 2 * tile_bytes(job.model.config, most * pixels, low) > free:
        most //= 2
    return 1 if scratch_folder(target).exists() else max(most, 1)


def _enlarge_group(
    group: Sequence[QueuedPhoto], job: Job, locks: Locks, progress: Callable[[int, int], None], warn: Warn
) -> Iterator[_Write]:
    """Compute photographs of one size; yields for each a function that writes its results and returns what was made.

    Large results are written here; their functions only return what was made. If a batch fails, its photographs are
    computed one by one.
    """
    first, failure, began = group[0], None, perf_counter()
    writes: list[_Write] = []
    if first.done or first.failure is not None:
        yield partial(UpscaleResult, first.path, skipped=first.done, failure=first.failure)
        return
    try:
        sources = [photo.source or _open(photo, job) for photo in group]
        for photo in group:
            locks.take(photo.target)
        size, final = sources[0].size, job.final_size(sources[0])
        side = max(size) if len(group) > 1 else choose_side(job.model, *size, job.request.tile)
        hashes = [file_hash(photo.path) for photo in group]
        dtypes = [pixel_type(source.bits, photo.target.suffix) for source, photo in zip(sources, group, strict=True)]
        with scratch_for(first.path, first.target, size, side, warn, job.page_of(first.target)) as scratch:
            made = enlarge(
                sources,
                job.model,
                job.request,
                side,
                dtypes,
                size=final,
                scratch=scratch,
                progress=progress,
                warn=warn,
            )
            spent = (perf_counter() - began) / len(group)
            writes += [partial(_write, *each, job, spent, warn) for each in zip(group, hashes, made, strict=True)]
            if scratch is not None or job.sheet or made[0].canvas.size > _BACKGROUND_BYTES:
                writes = [partial(UpscaleResult, *write()) for write in writes]  # written now
    except _FAILURES as error:
        failure = error_message(first.path, first.target, error)
        for photo in group:
            locks.give_back(photo.target)
    if failure is None:
        yield from (partial(_result, photo, write, locks) for photo, write in zip(group, writes, strict=True))
    elif len(group) == 1:
        yield partial(UpscaleResult, first.path, failure=failure)
    else:
        for photo in group:
            yield from _enlarge_group([photo], job, locks, progress, warn)


def _result(photo: QueuedPhoto, write: _Write, locks: Locks) -> UpscaleResult:
    """Write the files of a photograph and unlock them; an error becomes the result's failure."""
    try:
        return write()
    except _FAILURES as error:
        return UpscaleResult(photo.path, failure=error_message(photo.path, photo.target, error))
    finally:
        locks.give_back(photo.target)


def _write(photo: QueuedPhoto, photo_hash: str, made: Enlargement, job: Job, spent: float, warn: Warn) -> UpscaleResult:
    """Write all files of a photograph; `photo_hash` is the SHA-256 of its file, `spent` the seconds of computing."""
    source, names, n, t = made.source, job.pictures(photo.target), job.request.samples, job.request.temperature
    origin, began = job.provenance.of(photo_hash, source.size, made.side, made.size), perf_counter()
    origin = origin.model_copy(update={"page": job.page_of(photo.target)})
    panels: list[tuple[str, Image.Image]] = []
    notes = [f"{photo.path}: {note}" for note in source.notes]
    if made.size is not None:
        scale, (height, width) = job.model.config.scale, made.size
        notes.append(f"{photo.path}: enlarged by {scale}, then reduced by bicubic to {width} x {height} pixels")
    kept: list[Rows] = []
    measured: list[float] = []
    remove_manifest(photo.target)
    for k, name in enumerate(names[:n]):
        rows = made.rows(k)
        pixels, consistency = made.pixels(k, rows)
        if consistency is not None:
            psnr, change = consistency
            notes.append(f"{name}: LR-PSNR {psnr:.1f} dB, changed by {change:.2f} grey levels on average")
            measured.append(psnr)
        elif job.measure:
            measured.append(lr_psnr(source, rows_of(pixels), made.shape[:2], 8 * pixels.itemsize))
        _save(name, pixels, origin.showing([job.request.first + k]), job, source)
        if job.sheet:
            panels.append((f"sample {k}, temperature {t:g}" if t else "temperature 0", panel_of(pixels)))
        if job.std or job.sheet:
            kept.append(rows)
        del pixels  # before the next sample's are made
    if len(kept) > 1:
        spread = deviation(kept, made.shape)
        panels.append(("standard deviation", thumbnail(deviation_map(spread))))
        if job.std:
            _save_deviation(names[n], spread, origin.model_copy(update={"picture": "standard deviation"}), job)
    if job.sheet:
        sheet = contact_sheet([*_comparisons(photo, source, job, made.side, warn), *panels])
        _save(names[-1], np.atleast_3d(np.asarray(sheet)), origin.model_copy(update={"picture": "contact sheet"}), job)
    if photo.settings is not None:
        write_manifest(photo.target, photo.settings, job.names(photo.target))
    seconds = spent + perf_counter() - began
    return UpscaleResult(photo.path, paths=job.names(photo.target), notes=notes, seconds=seconds, lr_psnr=measured)


def _comparisons(photo: QueuedPhoto, source: Source, job: Job, side: int, warn: Warn) -> list[tuple[str, Image.Image]]:
    """The panels of a sheet before its samples: the input, bicubic and, unless that is the samples', temperature 0."""
    whole, size = source.window(0, 0, *source.size), job.final_size(source)
    cubic = bicubic(source, job.model.config.scale, size=size)
    panels = [
        ("input", panel_of(to_array(whole, np.uint8, flat_gray=False))),
        ("bicubic", panel_of(cubic.pixels(0, cubic.rows(0))[0])),
    ]
    if job.request.temperature > 0:
        zero = job.request._replace(samples=1, temperature=0.0)
        inside = scratch_folder(photo.target) / "zero"
        page = job.page_of(photo.target)
        with scratch_for(photo.path, inside, source.size, side, lambda _: None, page) as scratch:
            (smooth,) = enlarge([source], job.model, zero, side, [np.uint8], size=size, scratch=scratch)
            panels.append(("temperature 0", panel_of(smooth.pixels(0, smooth.rows(0))[0])))
    return panels


def _save(path: Path, pixels: NDArray[Any], origin: Provenance, job: Job, source: Source | None = None) -> None:
    """Write a picture with the metadata of `source`, if that is given, and its sidecar, if the job asks for one."""
    quality = job.quality if path.suffix.lower() in QUALITY_SUFFIXES else None
    origin = origin.model_copy(update={"quality": quality})
    record = None if job.strip else origin.record()
    if source is None:
        write_pixels(path, pixels, None, None, record=record, quality=quality)
    else:
        icc, block, dpi, xmp, texts = source.icc, source.exif, source.dpi, source.xmp, source.texts
        write_pixels(path, pixels, icc, block, dpi, record, quality=quality, xmp=xmp, texts=texts)
    _save_sidecar(path, origin, job)


def _save_deviation(path: Path, spread: Tensor, origin: Provenance, job: Job) -> None:
    """Write the map of a standard deviation (H, W) in [0, 1], as a picture or as the numbers."""
    if path.suffix == ".png":
        _save(path, np.atleast_3d(np.asarray(deviation_map(spread))), origin, job)
    else:
        write_values(path, spread.numpy(), None if job.strip else origin.record())
        _save_sidecar(path, origin, job)


def _save_sidecar(path: Path, origin: Provenance, job: Job) -> None:
    """Write the sidecar of a picture, if the job asks for one."""
    if job.sidecar:
        beside = sidecar_path(path)
        with explain_write_errors(beside), atomic_path(beside) as temporary:
            temporary.write_text(origin.record() + "\n", encoding="utf-8")
