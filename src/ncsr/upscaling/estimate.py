"""The memory (by arithmetic) and the time (by a trial on a small part) that an enlargement will take."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike

from ncsr.images import Source, source_of, write_pixels
from ncsr.images.writing import pixel_type
from ncsr.model import NCSR
from ncsr.ops.projection import STRIP_BYTES
from ncsr.runtime.memory import resident
from ncsr.runtime.timing import now
from ncsr.upscaling.canvas import Canvas
from ncsr.upscaling.consistency import Projection
from ncsr.upscaling.image import Enlargement
from ncsr.upscaling.tile_size import choose_side, tiles_bytes
from ncsr.upscaling.tiling import SampleRequest, check_size, tiles

_ENCODERS = {".avif": 45, ".jxl": 55, ".webp": 27}  # bytes for each pixel, as measured, where they are not few
_TRIAL = 128  # LR pixels, the longest side of the part that is tried


class Estimate(NamedTuple):
    """What an enlargement is expected to take.

    Attributes:
        tiles: how many.
        side: of a tile, LR pixels.
        memory: peak of the whole process, bytes; with a GPU, what the tiles take there.
        scratch: bytes on disk while it runs.
        seconds: from the first tile to the last file.
    """

    tiles: int
    side: int
    memory: int
    scratch: int
    seconds: float


def estimate(
    source: Source,
    model: NCSR,
    request: SampleRequest,
    suffix: str,
    final: tuple[int, int] | None = None,
    quality: int | None = None,
) -> Estimate:
    """Estimate what `ncsr upscale` takes for a photograph, by doing it to a part of at most 128 x 128 pixels.

    Args:
        source: the photograph.
        model: in eval mode.
        request: which samples.
        suffix: of the files to be written.
        final: (H, W) that the samples are reduced to; None for all that the model gives.
        quality: that files are written with, as `write_pixels` has it.

    Raises:
        InputError: a photograph that is too small; a tile below 16 LR pixels asked for; no memory even for that.
    """
    (height, width), scale, n = source.size, model.config.scale, request.samples
    check_size(height, width)
    side = choose_side(model, height, width, request.tile)
    parts = list(tiles(height, width, side))
    dtype = np.dtype(pixel_type(source.bits, suffix))
    image = scale**2 * height * width * source.channels
    canvas = n * image * (2 if request.consistent else dtype.itemsize)
    in_scratch = len(parts) > 1
    photograph = 12 * height * width  # three channels in float32
    tile = tiles_bytes(model, height, width, side)
    written = image if final is None else final[0] * final[1] * source.channels
    finishing = written * dtype.itemsize * 3  # a sample, its file, and a copy of either
    finishing += _ENCODERS.get(suffix.lower(), 0) * written // source.channels
    finishing += 0 if final is None else STRIP_BYTES
    finishing += STRIP_BYTES + 28 * height * width * source.channels if request.consistent else 0
    host = resident() + photograph + (0 if in_scratch else canvas)  # bytes of the process
    host += max(finishing, tile if model.device.type == "cpu" else 0)
    space, draw, finish = _trial(source, model, request, dtype, suffix, final, quality)
    computed = sum(part.pixels for part in parts)
    return Estimate(
        tiles=len(parts),
        side=min(side, max(height, width)),
        memory=host if model.device.type == "cpu" else tile,
        scratch=canvas if in_scratch else 0,
        seconds=computed * (space + n * draw) + height * width * n * finish,
    )


@torch.no_grad()
def _trial(
    source: Source,
    model: NCSR,
    request: SampleRequest,
    dtype: DTypeLike,
    suffix: str,
    final: tuple[int, int] | None,
    quality: int | None,
) -> tuple[float, float, float]:
    """Seconds per LR pixel, measured on a part: to compute the space, to draw a sample, to finish and write it."""
    (height, width), scale = source.size, model.config.scale
    rows, columns = min(height, _TRIAL), min(width, _TRIAL)
    top, left = (height - rows) // 2, (width - columns) // 2
    photo = source.window(top, left, top + rows, left + columns)
    model.space(photo.rgb[None, :, :16, :16]).draw([0], request.temperature, 0)  # warm-up
    clock = [now(model.device)]
    space = model.space(photo.rgb[None])
    clock.append(now(model.device))
    image = space.draw([0], request.temperature, 0)[0, 0].nan_to_num()
    clock.append(now(model.device))
    part = source_of(photo)
    canvas = Canvas((1, scale * rows, scale * columns, part.channels), np.uint16 if request.consistent else dtype)
    canvas.put(0, 0, 0, image.clamp(0, 1).repeat(2, 1, 1)[: part.channels])
    projection = Projection(part, scale, 8 if dtype == np.uint8 else 16) if request.consistent else None
    size = None if final is None else (-(-final[0] * rows // height), -(-final[1] * columns // width))
    made = Enlargement(part, canvas, projection, size)
    pixels, _ = made.pixels(0, made.rows(0))
    with TemporaryDirectory() as folder:
        write_pixels(Path(folder) / f"trial{suffix}", pixels, None, None, quality=quality)
    clock.append(now(model.device))
    space_seconds, draw_seconds, finish_seconds = ((b - a) / (rows * columns) for a, b in pairwise(clock))
    return space_seconds, draw_seconds, finish_seconds
