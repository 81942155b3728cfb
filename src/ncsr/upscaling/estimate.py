"""What an enlargement will take, before it is started: memory by arithmetic, time by a trial on a part of it."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike

from ncsr.images import Source, source_of, write_pixels
from ncsr.model import NCSR
from ncsr.ops.projection import BYTES as PROJECTION_BYTES
from ncsr.runtime.memory import resident
from ncsr.upscaling.canvas import Canvas
from ncsr.upscaling.consistency import make_consistent
from ncsr.upscaling.resume_log import ResumeLog
from ncsr.upscaling.tile_size import choose_side, tiles_bytes
from ncsr.upscaling.tiling import SampleRequest, check_size, tiles

_TRIAL = 128  # LR pixels, the longest side of the part that is tried


class Plan(NamedTuple):
    """What is to be expected.

    Attributes:
        tiles: how many.
        side: of a tile, LR pixels.
        memory: bytes, of the whole process at its worst; on a GPU, of what a tile takes there.
        scratch: bytes on disk while it runs.
        seconds: from the first tile to the last file.
    """

    tiles: int
    side: int
    memory: int
    scratch: int
    seconds: float


def plan(source: Source, model: NCSR, drawing: SampleRequest, suffix: str, *, consistent: bool = False) -> Plan:
    """Plan what `ncsr upscale` does to a photograph, by doing it to a part of at most 128 x 128 pixels.

    Args:
        source: the photograph.
        model: in eval mode.
        drawing: which samples.
        suffix: of the files to be written.
        consistent: as of `ncsr upscale`.

    Raises:
        InputError: a photograph that is too small; a tile below 16 LR pixels asked for; no memory even for that.
    """
    (height, width), scale, n = source.size, model.config.scale, drawing.samples
    check_size(height, width)
    side = choose_side(model, height, width, drawing.tile)
    parts = list(tiles(height, width, side))
    dtype = np.dtype(np.uint16 if source.bits == 16 else np.uint8)
    gathered = np.dtype(np.uint16) if consistent else dtype
    image = scale**2 * height * width * source.channels
    in_scratch = len(parts) > 1
    photograph = 12 * height * width
    tile = tiles_bytes(model, height, width, side)
    finishing = image * dtype.itemsize * 3  # a sample, its file, and a copy of either
    finishing += PROJECTION_BYTES + 28 * height * width * source.channels if consistent else 0
    canvas = 0 if in_scratch else n * image * gathered.itemsize
    host = resident() + photograph + canvas + max(finishing, tile if model.device.type == "cpu" else 0)
    see, draw, finish = _trial(source, model, drawing, dtype, suffix, consistent)
    computed = sum(part.pixels for part in parts)
    return Plan(
        tiles=len(parts),
        side=min(side, max(height, width)),
        memory=host if model.device.type == "cpu" else tile,
        scratch=(n + consistent) * image * gathered.itemsize if in_scratch else 0,
        seconds=computed * (see + n * draw) + height * width * n * finish,
    )


@torch.no_grad()
def _trial(
    source: Source, model: NCSR, drawing: SampleRequest, dtype: DTypeLike, suffix: str, consistent: bool
) -> tuple[float, float, float]:
    """Seconds for each LR pixel: of the space, of drawing a sample, of finishing and writing it."""
    (height, width), scale = source.size, model.config.scale
    rows, columns = min(height, _TRIAL), min(width, _TRIAL)
    top, left = (height - rows) // 2, (width - columns) // 2
    photo = source.window(top, left, top + rows, left + columns)
    model.space(photo.rgb[None, :, :16, :16]).draw([0], drawing.temperature, 0)  # whatever happens only once
    clock = [_now(model)]
    space = model.space(photo.rgb[None])
    clock.append(_now(model))
    image = space.draw([0], drawing.temperature, 0)[0, 0].nan_to_num()
    clock.append(_now(model))
    part = source_of(photo)
    canvas = Canvas((1, scale * rows, scale * columns, part.channels), np.uint16 if consistent else dtype)
    canvas.put(0, 0, 0, image.clamp(0, 1).repeat(2, 1, 1)[: part.channels])
    if consistent:
        make_consistent(part, scale, canvas, 0, 8 if np.dtype(dtype) == np.uint8 else 16, ResumeLog())
    with TemporaryDirectory() as folder:
        write_pixels(Path(folder) / f"trial{suffix}", canvas.pixels(0, dtype), None, None)
    clock.append(_now(model))
    see, draw, finish = ((b - a) / (rows * columns) for a, b in pairwise(clock))
    return see, draw, finish


def _now(model: NCSR) -> float:
    """Seconds, when the device has done what it was told."""
    if model.device.type != "cpu":
        torch.accelerator.synchronize(model.device)
    return time.perf_counter()
