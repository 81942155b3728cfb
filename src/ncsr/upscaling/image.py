"""Photographs in, enlarged photographs out: what surrounds sampling for an image as people have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from ncsr.images import (
    Photo,
    Source,
    premultiplied,
    straight,
)
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.runtime.files import make_folder
from ncsr.serialization import fingerprint
from ncsr.upscaling.canvas import Canvas
from ncsr.upscaling.consistency import Consistency, make_consistent
from ncsr.upscaling.resume_log import JOURNAL, ResumeLog
from ncsr.upscaling.tiling import SampleRequest, Tile, check_size, draw_tiles, tiles

_PIXELS = "pixels"
_BICUBIC_TILE = 256  # LR pixels
_ROWS = 256  # of enlarged images that are looked at together


class Scratch(NamedTuple):
    """Where an enlargement is gathered that is to outlive an interruption.

    Attributes:
        folder: made when missing; whoever asks for it removes it.
        photograph: what tells the photograph from others.
    """

    folder: Path
    photograph: str


class Enlargement(NamedTuple):
    """The samples of a photograph.

    Attributes:
        canvas: holds them.
        consistency: how each became consistent, if that was asked for.
    """

    canvas: Canvas
    consistency: list[Consistency]


def enlarge(
    source: Source,
    model: NCSR,
    drawing: SampleRequest,
    dtype: DTypeLike,
    *,
    consistent: bool = False,
    scratch: Scratch | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Enlargement:
    """Enlarge a photograph of any size.

    Colours are premultiplied before they are enlarged, so that what is transparent does not bleed.

    Args:
        source: the photograph, gray or not, transparent or not, as it is to come out.
        model: in eval mode.
        drawing: which samples.
        dtype: of the pixels: uint8, uint16 or float32.
        consistent: change each sample as little as it takes for its reduction to be the photograph.
        scratch: where to gather the pixels, and to go on from if it holds the same enlargement half done; None gathers
            them in memory.
        progress: called with the work done and all of it, in samples of tiles.
        say: called with a sentence when something is noteworthy.

    Raises:
        InputError: a photograph that is too small, no room or memory; a window that cannot be read.
        SamplingError: a sample was not finite in every draw.
    """
    height, width = source.size
    check_size(height, width)
    scale = model.config.scale
    bits: Literal[8, 16] = {1: 8, 2: 16}.get(np.dtype(dtype).itemsize, source.bits)  # type: ignore[assignment]
    if consistent and np.dtype(dtype) == np.uint8:
        dtype = np.uint16  # what is rounded to 8 bits before it is projected changes more
    shape = (drawing.samples, scale * height, scale * width, source.channels)
    lag = int(consistent and scratch is not None)
    if scratch is None:
        canvas, journal = Canvas(shape, dtype), ResumeLog()
    else:
        make_folder(scratch.folder)
        canvas = Canvas(shape, dtype, scratch.folder / _PIXELS, spare=lag)
        if canvas.fresh:
            (scratch.folder / JOURNAL).unlink(missing_ok=True)
        settings = _settings(model, drawing, scratch, shape, np.dtype(dtype), consistent)
        journal = ResumeLog(scratch.folder / JOURNAL, settings, canvas.sync)
        if journal.resumed:
            say(f"going on with what {scratch.folder} holds")
    _paint(source, model, drawing, canvas, lag, journal, progress, say)
    made = [
        make_consistent(source, scale, canvas, k, bits, journal, lag)
        for k in range(drawing.samples if consistent else 0)
    ]
    return Enlargement(canvas, made)


@torch.no_grad()
def enlarge_together(
    sources: Sequence[Source],
    model: NCSR,
    drawing: SampleRequest,
    dtypes: Sequence[DTypeLike],
    *,
    consistent: bool = False,
) -> list[Enlargement]:
    """`enlarge` for several small photographs of one size, as one batch, each in one piece and in memory.

    Each comes out as it does alone: on a CPU in float32 to the bit (docs/scale-out.md).

    Args:
        sources: the photographs.
        model: in eval mode.
        drawing: which samples; its tile does not matter.
        dtypes: of the pixels of each.
        consistent: as of `enlarge`.

    Raises:
        InputError: photographs that are too small.
        SamplingError: a sample of one of them was not finite in every draw.
    """
    height, width = sources[0].size
    scale, n = model.config.scale, drawing.samples
    photos = [source.window(0, 0, height, width) for source in sources]
    space = model.space(torch.stack([premultiplied(photo) for photo in photos]))
    samples = space.sample(n, drawing.temperature, drawing.seed).cpu()
    made = []
    for index, (source, photo, dtype) in enumerate(zip(sources, photos, dtypes, strict=True)):
        bits: Literal[8, 16] = 8 if np.dtype(dtype) == np.uint8 else 16
        shape = (n, scale * height, scale * width, source.channels)
        canvas, journal = Canvas(shape, np.uint16 if consistent else dtype), ResumeLog()
        alpha = None if photo.alpha is None else imresize(photo.alpha, scale).clamp(0, 1)
        for k in range(n):
            canvas.put(k, 0, 0, _channels(source, samples[k, index], alpha))
        fitted = [make_consistent(source, scale, canvas, k, bits, journal) for k in range(n if consistent else 0)]
        made.append(Enlargement(canvas, fitted))
    return made


def bicubic(source: Source, scale: int, dtype: DTypeLike = np.uint8) -> Canvas:
    """The photograph enlarged by MATLAB-compatible bicubic interpolation, for comparison, on a canvas of one image."""
    height, width = source.size
    canvas = Canvas((1, scale * height, scale * width, source.channels), dtype)
    for tile in tiles(height, width, _BICUBIC_TILE):
        photo = source.window(*tile.window)
        rgb, alpha = _inner(imresize(premultiplied(photo), scale), tile, scale), _enlarged_alpha(photo, tile, scale)
        canvas.put(0, scale * tile.top, scale * tile.left, _channels(source, rgb.clamp(0, 1), alpha))
    return canvas


def deviation(canvas: Canvas) -> Tensor:
    """The standard deviation over samples, averaged over colours, (H, W), in units of the image range [0, 1]."""
    n, height, _, channels = canvas.shape
    colours = 1 if channels < 3 else 3
    parts = []
    for first in range(0, height, _ROWS):
        last = min(first + _ROWS, height)
        rows = torch.stack([canvas.rows(k, first, last)[:colours] for k in range(n)])
        parts.append(rows.std(0, correction=0).mean(0))
    return torch.cat(parts)


def _paint(
    source: Source,
    model: NCSR,
    drawing: SampleRequest,
    canvas: Canvas,
    lag: int,
    journal: ResumeLog,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> None:
    """Put all samples on the canvas, sample k as image k + lag."""
    scale = model.config.scale
    alpha: Tensor | None = None

    def read(tile: Tile) -> Tensor:
        nonlocal alpha
        photo = source.window(*tile.window)
        alpha = _enlarged_alpha(photo, tile, scale)
        return premultiplied(photo)

    for tile, k, rgb in draw_tiles(model, source.size, read, drawing, journal, progress, say):
        canvas.put(k + lag, scale * tile.top, scale * tile.left, _channels(source, rgb.clamp(0, 1), alpha))


def _enlarged_alpha(photo: Photo, tile: Tile, scale: int) -> Tensor | None:
    """A tile's alpha, enlarged by bicubic."""
    return None if photo.alpha is None else _inner(imresize(photo.alpha, scale), tile, scale).clamp(0, 1)


def _inner(image: Tensor, tile: Tile, scale: int) -> Tensor:
    """An enlarged window (C, s h, s w) without the overlap."""
    top, left = scale * (tile.top - tile.window[0]), scale * (tile.left - tile.window[1])
    height, width = scale * (tile.bottom - tile.top), scale * (tile.right - tile.left)
    return image[:, top : top + height, left : left + width]


def _channels(source: Source, rgb: Tensor, alpha: Tensor | None) -> Tensor:
    """The channels of a file from premultiplied colours (3, H, W) and alpha (1, H, W)."""
    colours = rgb.mean(0, keepdim=True) if source.gray else rgb
    return colours if alpha is None else torch.cat((straight(colours, alpha), alpha))


def _settings(
    model: NCSR,
    drawing: SampleRequest,
    scratch: Scratch,
    shape: tuple[int, int, int, int],
    dtype: np.dtype[Any],
    consistent: bool,
) -> dict[str, Any]:
    """All that decides the pixels on a canvas, but for the size of the tiles."""
    return {
        "photograph": scratch.photograph,
        "model": fingerprint(model.config, model.state_dict()),
        "device": model.device.type,
        "precision": "bfloat16" if model.low_precision(sampling=True) else "float32",
        "temperature": drawing.temperature,
        "seed": drawing.seed,
        "shape": list(shape),
        "dtype": dtype.name,
        "consistent": consistent,
    }
