"""Sampling an image of any size, tile by tile.

A tile is computed with `OVERLAP` LR pixels of its surroundings, which are cut off again. Latents belong to places of
the whole image (`ncsr.sampling.latents`), so neighbouring tiles see the same ones where they overlap and agree there:
how well, `benchmarks/tiles.py` measures and docs/any-size.md shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.model import NCSR
from ncsr.runtime.memory import is_exhaustion, release
from ncsr.space import ATTEMPTS, check_sampling, never_finite
from ncsr.upscaling.resume_log import ResumeLog
from ncsr.upscaling.tile_size import AT_A_TIME, OVERLAP, SMALLEST, choose_side, out_of_memory


class Tile(NamedTuple):
    """A tile in LR pixels: what it covers, and the window that is computed for it."""

    top: int
    left: int
    bottom: int
    right: int
    window: tuple[int, int, int, int]

    @property
    def pixels(self) -> int:
        """That are computed for it."""
        top, left, bottom, right = self.window
        return (bottom - top) * (right - left)


class SampleRequest(NamedTuple):
    """What is to be drawn: all that decides the pixels, but for the image and the model.

    Attributes:
        samples: how many.
        temperature: standard deviation of the latents.
        seed: at least 0.
        tile: side of the tiles in LR pixels without overlap; None chooses by memory, and again when that runs out.
    """

    samples: int
    temperature: float
    seed: int
    tile: int | None = None


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


def check_size(height: int, width: int) -> None:
    """Raise InputError for an image that is too small to be enlarged."""
    if min(height, width) < 4:
        raise InputError(f"the photograph is {width} x {height} pixels: the smallest that can be enlarged is 4 x 4")


@torch.no_grad()
def draw_tiles(
    model: NCSR,
    size: tuple[int, int],
    read: Callable[[Tile], Tensor],
    drawing: SampleRequest,
    journal: ResumeLog,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[tuple[Tile, int, Tensor]]:
    """Draw the samples of an image, outer loop over tiles, inner over samples.

    A sample that is not finite in some tile is drawn again, whole: its tiles then come a second time.

    Args:
        model: in eval mode.
        size: (H, W) of the LR image.
        read: gives the window of a tile, (3, h, w) in [0, 1].
        drawing: what to draw.
        journal: tells which tiles are done, and is told.
        progress: called with the work done and all of it, in samples of tiles.
        say: called with a sentence when memory runs out and the tiles become smaller.

    Yields:
        Tile, sample number and (3, s h, s w) of the tile without its overlap, not clamped; by the time of the next
        one, it must have been kept.

    Raises:
        InputError: a tile below 16, an LR image that is too small, no memory even for the smallest tile.
        SamplingError: a sample was not finite in every draw.
    """
    side = choose_side(model, *size, drawing.tile)
    pending: Sequence[int] = range(drawing.samples)
    for attempt in range(ATTEMPTS):
        while True:
            try:
                yield from _draw_attempt(model, size, side, read, drawing, (attempt, pending), journal, progress)
                break
            except (MemoryError, RuntimeError) as error:
                if not is_exhaustion(error):
                    raise
                if drawing.tile is not None or side <= SMALLEST:
                    raise out_of_memory(model, side) from None
            release(model.device)
            side = max(SMALLEST, side // 4 * 2)
            say(f"memory ran out: going on with tiles of {side} LR pixels")
        pending = journal.bad(attempt)
        if not pending:
            return
    raise never_finite(pending[0], drawing.temperature)


def sample_image(
    model: NCSR,
    lr: Tensor,
    n: int,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Draw HR images of one LR image of any size, in memory.

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
    drawing = SampleRequest(n, temperature, check_sampling(n, temperature, seed), tile)
    scale, (height, width) = model.config.scale, lr.shape[-2:]
    images = torch.empty(n, 3, scale * height, scale * width)

    def read(part: Tile) -> Tensor:
        top, left, bottom, right = part.window
        return lr[:, top:bottom, left:right]

    for part, k, image in draw_tiles(model, (height, width), read, drawing, ResumeLog(), progress):
        images[k, :, scale * part.top : scale * part.bottom, scale * part.left : scale * part.right] = image
    return images.clamp_(0, 1)


def _draw_attempt(
    model: NCSR,
    size: tuple[int, int],
    side: int,
    read: Callable[[Tile], Tensor],
    drawing: SampleRequest,
    this: tuple[int, Sequence[int]],
    journal: ResumeLog,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[Tile, int, Tensor]]:
    """The tiles that are still missing of `this` attempt: its number, and the samples that it draws."""
    attempt, pending = this
    scale, parts = model.config.scale, list(tiles(*size, side))
    missing = [part for part in parts if not journal.has_tile(attempt, part[:4])]
    done, total = (len(parts) - len(missing)) * len(pending), len(parts) * len(pending)
    progress(done, total)
    for part in missing:
        top, left = part.window[:2]
        space = model.space(read(part)[None], origin=(top, left))
        rows = slice(scale * (part.top - top), scale * (part.bottom - top))
        columns = slice(scale * (part.left - left), scale * (part.right - left))
        group, bad = max(1, AT_A_TIME // part.pixels), []
        for first in range(0, len(pending), group):
            some = list(pending[first : first + group])
            for k, image in zip(some, space.draw(some, drawing.temperature, drawing.seed, attempt), strict=True):
                inner = image[0, :, rows, columns]
                bad += [] if bool(inner.isfinite().all()) else [k]
                yield part, k, inner.cpu()
            done += len(some)
            progress(done, total)
        del space  # before the next one is built
        journal.add_tile(attempt, part[:4], bad)
