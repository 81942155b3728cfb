"""Enlarging photographs of one size: from sources to canvases with their samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from ncsr.images import Photo, Source, premultiplied, straight
from ncsr.model import NCSR
from ncsr.ops.projection import Rows, strips
from ncsr.ops.resize import imresize
from ncsr.runtime.memory import is_exhaustion
from ncsr.serialization import fingerprint
from ncsr.upscaling.canvas import Canvas, canvas_from_rows
from ncsr.upscaling.consistency import Consistency, Projection
from ncsr.upscaling.final_size import reduced
from ncsr.upscaling.resume_log import ResumeLog, Scratch
from ncsr.upscaling.tile_size import SMALLEST, out_of_memory, tiles_bytes
from ncsr.upscaling.tiling import SampleRequest, Tile, check_size, draw_tiles, ignore_progress, tiles

_BICUBIC_TILE = 256  # LR pixels


class Enlargement(NamedTuple):
    """The samples of a photograph.

    Attributes:
        source: the photograph.
        canvas: holds the samples as they were drawn.
        projection: makes a sample consistent when it is read; None leaves it as it is.
        size: (H, W) that a sample is reduced to when it is read; None leaves it as it is.
        side: of the tiles that they were drawn in, LR pixels; 0 if none was drawn.
    """

    source: Source
    canvas: Canvas
    projection: Projection | None = None
    size: tuple[int, int] | None = None
    side: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images as they are to be written."""
        _, height, width, channels = self.canvas.shape
        return (*(self.size or (height, width)), channels)

    def rows(self, k: int) -> Rows:
        """The rows of sample k as it is to be written. Most of the time of a projection is spent here."""
        drawn = partial(self.canvas.rows, k)
        if self.size is not None:
            top = np.iinfo(self.canvas.dtype).max if self.canvas.dtype.kind == "u" else None
            return reduced(drawn, self.canvas.shape[1:3], self.size, self.source.transparent, top)
        return drawn if self.projection is None else self.projection.project(drawn)

    def pixels(self, k: int, rows: Rows) -> tuple[NDArray[Any], Consistency | None]:
        """The (H, W, C) pixels of sample k from its `rows`, and how consistent they are; None without a projection."""
        if self.size is not None:
            return canvas_from_rows(rows, self.shape, self.canvas.dtype).pixels(0), None
        if self.projection is None:
            return self.canvas.pixels(k), None
        written = canvas_from_rows(rows, self.canvas.shape[1:], np.uint8 if self.projection.bits == 8 else np.uint16)
        return written.pixels(0), self.projection.measure(partial(self.canvas.rows, k), partial(written.rows, 0))


def enlarge(
    sources: Sequence[Source],
    model: NCSR,
    request: SampleRequest,
    side: int,
    dtypes: Sequence[DTypeLike],
    *,
    size: tuple[int, int] | None = None,
    scratch: Scratch | None = None,
    progress: Callable[[int, int], None] = ignore_progress,
    warn: Callable[[str], None] = lambda message: None,
) -> list[Enlargement]:
    """Enlarge one photograph of any size, or several of one size as one batch.

    Each photograph of a batch comes out as it does alone: on a CPU in float32 to the bit (docs/scale-out.md). Colours
    are premultiplied before they are enlarged, so that what is transparent does not bleed. When memory runs out, a
    single photograph goes on in smaller tiles, unless the request fixes their side; finished tiles are kept.

    Args:
        sources: the photographs; the results are gray or transparent where these are.
        model: in eval mode.
        request: which samples.
        side: of the tiles, from `choose_side`; of a batch, of the whole photographs.
        dtypes: of the pixels of each photograph: uint8, uint16 or float32.
        size: (H, W) that the samples are reduced to as they are read; None for all that the model gives.
        scratch: where to keep the pixels of a single photograph on disk; if it holds the same enlargement half done,
            this goes on from there. None keeps them in memory.
        progress: called as progress(done, total), both counted in (tile, sample) pairs.
        warn: called with a sentence for the user.

    Raises:
        InputError: a photograph that is too small, no room on disk or memory; a window that cannot be read.
        SamplingError: no draw of a sample was finite; a batch is drawn only once.
    """
    (height, width), scale = sources[0].size, model.config.scale
    check_size(height, width)
    begun = [
        _begin(source, dtype, model, request, size, scratch) for source, dtype in zip(sources, dtypes, strict=True)
    ]
    enlargements, log = [enlargement for enlargement, _ in begun], begun[0][1]
    if scratch is not None and log.resumed:
        warn(f"going on with what {scratch.folder} holds")
    alphas: list[Tensor | None] = []

    def read(tile: Tile) -> Tensor:
        photos = [source.window(*tile.window) for source in sources]
        alphas[:] = [_enlarged_alpha(photo, tile, scale) for photo in photos]
        return torch.stack([premultiplied(photo) for photo in photos])

    shape_lr = (len(sources), height, width)
    while True:
        try:
            for tile, k, images in draw_tiles(model, shape_lr, side, read, request, log, progress):
                for image, alpha, made in zip(images, alphas, enlargements, strict=True):
                    channels = _channels(made.source, image.clamp(0, 1), alpha)
                    made.canvas.put(k, scale * tile.top, scale * tile.left, channels)
            return [made._replace(side=side) for made in enlargements]
        except Exception as error:
            if not is_exhaustion(error):
                raise
            if len(sources) > 1 or request.tile is not None or side <= SMALLEST:
                raise out_of_memory(model, side, tiles_bytes(model, height, width, side)) from None
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        side = max(SMALLEST, side // 4 * 2)
        warn(f"memory ran out: going on with tiles of {side} LR pixels")


def _begin(
    source: Source,
    dtype: DTypeLike,
    model: NCSR,
    request: SampleRequest,
    size: tuple[int, int] | None,
    scratch: Scratch | None,
) -> tuple[Enlargement, ResumeLog]:
    """An empty enlargement, or the one that the scratch folder holds, and the log of finished tiles."""
    scale, (height, width) = model.config.scale, source.size
    # samples that are to be projected are kept in 16 bits: rounding them to 8 first would change them more
    drawn = np.dtype(np.uint16 if request.consistent and dtype == np.uint8 else dtype)
    shape = (request.samples, scale * height, scale * width, source.channels)
    if scratch is None:
        canvas, log = Canvas(shape, drawn), ResumeLog()
    else:
        canvas, log = scratch.open(shape, drawn, sample_settings(model, request))
    bits = {1: 8, 2: 16}.get(np.dtype(dtype).itemsize, source.bits)
    projection = Projection(source, scale, bits) if request.consistent else None
    return Enlargement(source, canvas, projection, size), log


def sample_settings(model: NCSR, request: SampleRequest) -> dict[str, Any]:
    """Everything that decides the samples of a photograph; the size of the tiles does not."""
    low = model.low_precision(sampling=True)
    return {
        "model": fingerprint(model.config, model.state_dict()),
        "device": model.device.type,
        "precision": "bfloat16" if low else "tf32" if model.precision == "tf32" else "float32",
        "temperature": request.temperature,
        "seed": request.seed,
        "consistent": request.consistent,
        **({"first": request.first} if request.first else {}),  # files of earlier versions do not have it
    }


def bicubic(
    source: Source, scale: int, dtype: DTypeLike = np.uint8, size: tuple[int, int] | None = None
) -> Enlargement:
    """The photograph enlarged by MATLAB-compatible bicubic interpolation, for comparison, as the only image."""
    height, width = source.size
    canvas = Canvas((1, scale * height, scale * width, source.channels), dtype)
    for tile in tiles(height, width, _BICUBIC_TILE):
        photo = source.window(*tile.window)
        rgb, alpha = tile.crop(imresize(premultiplied(photo), scale), scale), _enlarged_alpha(photo, tile, scale)
        canvas.put(0, scale * tile.top, scale * tile.left, _channels(source, rgb.clamp(0, 1), alpha))
    return Enlargement(source, canvas, size=size)


def deviation(samples: Sequence[Rows], shape: tuple[int, int, int]) -> Tensor:
    """The standard deviation over samples of `shape` (H, W, C), averaged over colours, (H, W), in [0, 1]."""
    colours = 1 if shape[2] < 3 else 3
    parts = []
    for first, last in strips(shape[0], shape[1] * shape[2], 8):
        rows = torch.stack([sample(first, last)[:colours] for sample in samples])
        parts.append(rows.std(0, correction=0).mean(0))
    return torch.cat(parts)


def _enlarged_alpha(photo: Photo, tile: Tile, scale: int) -> Tensor | None:
    """The alpha of a tile, (1, s h, s w), enlarged by bicubic interpolation."""
    return None if photo.alpha is None else tile.crop(imresize(photo.alpha, scale), scale).clamp(0, 1)


def _channels(source: Source, rgb: Tensor, alpha: Tensor | None) -> Tensor:
    """The channels of a file from premultiplied colours (3, H, W) and alpha (1, H, W)."""
    colours = rgb.mean(0, keepdim=True) if source.gray else rgb
    return colours if alpha is None else torch.cat((straight(colours, alpha), alpha))
