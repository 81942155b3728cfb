"""Making a picture again from its provenance, and comparing the two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.images import MAX_PIXELS, Source, open_photo, photo_size
from ncsr.images.origin import Provenance
from ncsr.model import NCSR
from ncsr.upscaling.final_size import FinalSize
from ncsr.upscaling.job import Job, QueuedPhoto
from ncsr.upscaling.pipeline import PhotoProgress, Warn, enlarge_all
from ncsr.upscaling.tile_size import SMALLEST
from ncsr.upscaling.tiling import SampleRequest

_ROWS = 256  # of pictures that are compared at a time


class Comparison(NamedTuple):
    """How two pictures of one size and kind differ.

    Attributes:
        values: how many values each has, over all pixels and channels.
        differing: how many of them are not equal.
        largest: the largest difference, in levels.
        top: the largest possible level, 255 or 65535.
    """

    values: int
    differing: int
    largest: int
    top: int


def remake(
    origin: Provenance,
    photo: Path,
    model: NCSR,
    target: Path,
    *,
    max_pixels: int = MAX_PIXELS,
    progress: PhotoProgress = lambda *_: None,
    warn: Warn = lambda _: None,
) -> None:
    """Make a sample again.

    Args:
        origin: the provenance of the sample.
        photo: the photograph.
        model: the one that `origin` names, in its precision.
        target: the picture to be written, in the format of its suffix.
        max_pixels: as `open_photo`.
        progress: as `enlarge_all`.
        warn: as `enlarge_all`.

    Raises:
        InputError: not the provenance of a single sample; a photograph that cannot be read; a picture that cannot be
            written.
    """
    temperature, name = check_single(origin)
    tile = max(SMALLEST, *photo_size(photo, origin.page)) if origin.tile is None else origin.tile
    request = SampleRequest(1, temperature, origin.seed or 0, tile, bool(origin.consistent), *origin.samples)
    size = None if origin.size is None else FinalSize(None, *origin.size)
    job = Job(
        model,
        request,
        sheet=False,
        std=False,
        strip=False,
        max_pixels=max_pixels,
        model_name=name,
        allow_incomplete=True,
        size=size,
        quality=origin.quality,
        page=origin.page,
    )
    for result in enlarge_all([QueuedPhoto(photo, target)], job, progress, warn):
        if result.failure is not None:
            raise InputError(result.failure)


def check_single(origin: Provenance) -> tuple[float, str | None]:
    """Make sure that a picture is one sample, which can be made again; returns its temperature and model.

    Raises:
        InputError: it is not.
    """
    single = origin.picture in ("sample", "most probable image") and len(origin.samples) == 1
    if not single or not isinstance(origin.temperature, float):
        raise InputError(f"a {origin.picture} cannot be made again: only a single sample can")
    return origin.temperature, origin.model if isinstance(origin.model, str) else None


def compare(path: Path, made: Path) -> Comparison | None:
    """Compare the levels of two pictures, strip by strip; None for two of different size or kind.

    Args:
        path: a picture from elsewhere; it is decoded only if its header has the size of `made`.
        made: a picture that this program made.

    Raises:
        InputError: one cannot be read.
    """
    if photo_size(path) != photo_size(made):
        return None
    first, second = (open_photo(each, max_pixels=sys.maxsize) for each in (path, made))
    kinds = [(each.size, each.transparent, each.gray, each.bits) for each in (first, second)]
    if kinds[0] != kinds[1]:
        return None
    values, differing, largest, top = 0, 0, 0, 2**first.bits - 1
    for start in range(0, first.size[0], _ROWS):
        difference = (_levels(first, start, top) - _levels(second, start, top)).abs()
        values += difference.numel()
        differing += int((difference > 0).sum())
        largest = max(largest, int(difference.max()))
    return Comparison(values, differing, largest, top)


def _levels(source: Source, start: int, top: int) -> Tensor:
    """The channels of a strip, rounded to levels."""
    height, width = source.size
    part = source.window(start, 0, min(start + _ROWS, height), width)
    channels = part.rgb[:1] if source.gray else part.rgb
    return (torch.cat([channels] if part.alpha is None else [channels, part.alpha]) * top).round_()
