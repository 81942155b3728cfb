"""Sampling an image of any size, tile by tile.

A tile is computed with `OVERLAP` LR pixels of its surroundings, which are cut off again. Latents belong to places of
the whole image (`ncsr.latents`), so neighbouring tiles see the same ones where they overlap and agree there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.model import NCSR
from ncsr.space import ATTEMPTS, check_finite, check_sampling

OVERLAP = 16  # LR pixels around a tile
SMALLEST = 16  # LR pixels
_BUDGET = 2**30  # bytes that the space of one tile may hold
_AT_A_TIME = 2**14  # LR pixels of samples that are decoded together; progress is told in between


class Tile(NamedTuple):
    """A tile in LR pixels: what it covers, and the window that is computed for it."""

    top: int
    left: int
    bottom: int
    right: int
    window: tuple[int, int, int, int]


def tiles(height: int, width: int, side: int) -> Iterator[Tile]:
    """Cover an image of height x width LR pixels with tiles of `side`, origins at even pixels.

    Args:
        height: of the image.
        width: of the image.
        side: of a tile without its overlap, even.
    """
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            window = (
                max(top - OVERLAP, 0),
                max(left - OVERLAP, 0),
                min(bottom + OVERLAP, height),
                min(right + OVERLAP, width),
            )
            yield Tile(top, left, bottom, right, window)


def choose_side(model: NCSR, height: int, width: int, tile: int | None) -> int:
    """The side of the tiles: the one asked for, or the largest whose space fits the memory budget.

    Args:
        model: its widths tell what a pixel's space takes.
        height: of the image, LR pixels.
        width: of the image, LR pixels.
        tile: asked for; None chooses.

    Raises:
        InputError: a tile below 16 LR pixels.
    """
    if tile is not None:
        if tile < SMALLEST:
            raise InputError(f"a tile must be at least {SMALLEST} LR pixels, got {tile}")
        return tile + tile % 2
    flow, scale = model.config.flow, model.config.scale
    if flow is None:
        per_pixel = 16 * model.config.encoder.features * scale**2
    else:
        positions = sum((scale / 2 ** (level + 1)) ** 2 for level in range(flow.levels))
        per_pixel = int(8 * flow.steps * flow.hidden * positions)
    if height * width * per_pixel <= _BUDGET:
        side = max(height, width)
    else:
        side = max(SMALLEST, math.isqrt(_BUDGET // per_pixel) - 2 * OVERLAP)
    return side + side % 2


@torch.no_grad()
def sample_image(
    model: NCSR,
    lr: Tensor,
    n: int,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Draw HR images of one LR image of any size.

    Args:
        model: in eval mode.
        lr: (3, h, w) in [0, 1], sides from 4 up.
        n: samples.
        temperature: None is the model's default.
        seed: None is a fresh one.
        tile: side of the tiles in LR pixels, without overlap; None chooses by memory.
        progress: called with the work done and all of it, in samples of tiles.

    Returns:
        (n, 3, s h, s w) in [0, 1], on the CPU. A sample that is not finite anywhere is drawn again, whole.

    Raises:
        InputError: n below 1, a negative temperature or seed, a tile below 16, an LR image that is too small.
        SamplingError: a sample was not finite in every draw.
    """
    temperature = model.config.temperature if temperature is None else temperature
    seed = check_sampling(n, temperature, seed)
    height, width = lr.shape[-2:]
    side, scale = choose_side(model, height, width, tile), model.config.scale
    images = torch.empty(n, 3, scale * height, scale * width)
    count = math.ceil(height / side) * math.ceil(width / side)
    pending: Sequence[int] = range(n)
    for attempt in range(ATTEMPTS):
        done, total = 0, count * len(pending)
        progress(done, total)
        for part in tiles(height, width, side):
            top, left, bottom, right = part.window
            space = model.space(lr[None, :, top:bottom, left:right], origin=(top, left))
            inner_rows = slice(scale * (part.top - top), scale * (part.bottom - top))
            inner_columns = slice(scale * (part.left - left), scale * (part.right - left))
            rows, columns = slice(scale * part.top, scale * part.bottom), slice(scale * part.left, scale * part.right)
            group = max(1, _AT_A_TIME // ((bottom - top) * (right - left)))
            for first in range(0, len(pending), group):
                some = list(pending[first : first + group])
                window = space.draw(some, temperature, seed, attempt)[:, 0]
                images[some, :, rows, columns] = window[..., inner_rows, inner_columns].to(images)
                done += len(some)
                progress(done, total)
        pending = [k for k in pending if not bool(images[k].isfinite().all())]
        if not pending:
            break
    check_finite(images[:, None], temperature)
    return images.clamp_(0, 1)
