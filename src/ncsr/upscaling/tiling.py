"""Sampling images of any size, tile by tile.

A tile is computed with `OVERLAP` LR pixels of its surroundings, which are cut off again. Latents belong to positions in
the whole image (`ncsr.sampling.latents`), so neighbouring tiles get the same ones where they overlap, and agree there;
`benchmarks/tiles.py` measures how well (docs/any-size.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.model import NCSR
from ncsr.space.checks import ATTEMPTS, never_finite
from ncsr.upscaling.resume_log import ResumeLog
from ncsr.upscaling.tile_size import AT_A_TIME, OVERLAP


class Tile(NamedTuple):
    """A tile in LR pixels: what it covers, and the window (top, left, bottom, right) that is computed for it."""

    top: int
    left: int
    bottom: int
    right: int
    window: tuple[int, int, int, int]

    @property
    def pixels(self) -> int:
        """LR pixels in the window."""
        top, left, bottom, right = self.window
        return (bottom - top) * (right - left)

    def crop(self, window: Tensor, scale: int) -> Tensor:
        """The tile without its overlap, (..., s h, s w), from the enlarged window."""
        top, left = scale * (self.top - self.window[0]), scale * (self.left - self.window[1])
        height, width = scale * (self.bottom - self.top), scale * (self.right - self.left)
        return window[..., top : top + height, left : left + width]


class SampleRequest(NamedTuple):
    """Which samples to draw, and how to tile.

    Attributes:
        samples: how many.
        temperature: standard deviation of the latents.
        seed: at least 0.
        tile: side of the tiles in LR pixels without overlap; None chooses by memory, and again when that runs out.
        consistent: whether each sample is changed as little as it takes for its reduction to be the photograph.
        first: index of the first sample: those drawn are `first`, ..., `first + samples - 1` of the seed.
    """

    samples: int
    temperature: float
    seed: int
    tile: int | None = None
    consistent: bool = False
    first: int = 0


def tiles(height: int, width: int, side: int) -> Iterator[Tile]:
    """Cover an image of height x width LR pixels with tiles of an even `side`; their origins are even pixels."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            outer = min(bottom + OVERLAP, height), min(right + OVERLAP, width)
            yield Tile(top, left, bottom, right, (max(top - OVERLAP, 0), max(left - OVERLAP, 0), *outer))


def check_size(height: int, width: int) -> None:
    """Raise InputError for an image that is too small to be enlarged."""
    if min(height, width) < 4:
        raise InputError(f"the photograph is {width} x {height} pixels: the smallest that can be enlarged is 4 x 4")


def ignore_progress(done: int, total: int) -> None:
    """The progress callback of calls without one."""


@torch.no_grad()
def draw_tiles(
    model: NCSR,
    shape: tuple[int, int, int],
    side: int,
    read: Callable[[Tile], Tensor],
    request: SampleRequest,
    log: ResumeLog,
    progress: Callable[[int, int], None] = ignore_progress,
) -> Iterator[tuple[Tile, int, Tensor]]:
    """Draw the samples of images of one size, outer loop over tiles, inner over samples.

    A sample that is not finite in some tile is drawn again as a whole: all its tiles then come a second time. With
    several images none is drawn again, since another draw for one would change the others.

    Args:
        model: in eval mode.
        shape: (B, H, W) of the LR images.
        side: of the tiles, from `choose_side`.
        read: returns the window of a tile, (B, 3, h, w) in [0, 1].
        request: what to draw.
        log: has the finished tiles, which are not drawn again, whatever their side was; new ones are added to it.
        progress: called as progress(done, total), both counted in (tile, sample) pairs.

    Yields:
        Tile, sample (counted from 0, whatever `request.first` is) and (B, 3, s h, s w) of the tile without its overlap,
        not clamped. The caller must store it before it asks for the next one, since the log then counts it as done.

    Raises:
        SamplingError: no draw of a sample was finite.
    """
    batch, height, width = shape
    pending = list(range(request.samples))
    parts = list(tiles(height, width, side))
    for attempt in range(ATTEMPTS if batch == 1 else 1):
        missing = [tile for tile in parts if not log.has_tile(attempt, tile[:4])]
        done, total = (len(parts) - len(missing)) * len(pending), len(parts) * len(pending)
        progress(done, total)
        for tile in missing:
            space = model.space(read(tile), origin=tile.window[:2])
            group, bad = max(1, AT_A_TIME // (batch * tile.pixels)), []
            for first in range(0, len(pending), group):
                some = pending[first : first + group]
                numbers = [request.first + k for k in some]
                drawn = space.draw(numbers, request.temperature, request.seed, attempt)
                for k, images in zip(some, drawn, strict=True):
                    inner = tile.crop(images, model.config.scale)
                    bad += [] if bool(inner.isfinite().all()) else [k]
                    yield tile, k, inner.cpu()
                done += len(some)
                progress(done, total)
            del space  # before the next one is built
            log.add_tile(attempt, tile[:4], bad)
        pending = sorted({*pending} & {*log.bad(attempt)})
        if not pending:
            return
    raise never_finite(request.first + pending[0], request.temperature)
