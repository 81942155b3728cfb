"""Latents by position: the standard normal numbers behind every sample.

The plane of each latent is cut into blocks of 256 x 256 HR pixels; a block's numbers depend on (seed, sample, attempt,
latent, block row, block column) alone, drawn on the CPU by a counter-based generator. So sample k of seed S is the same
image for any number of samples, batch and device, and a tile of a large image draws just the numbers of its place.
ESRGAN+'s noise, a field for each of its blocks, is drawn the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

BLOCK = 256  # HR pixels; a multiple of every level's cell


Key = tuple[int, int, int, int]
"""(seed, sample, attempt, latent), all at least 0."""


def draw_latents(shape: tuple[int, int, int], origin: tuple[int, int], cell: int, keys: Sequence[Key]) -> Tensor:
    """`draw_latent` for each key, (len(keys), C, H, W); as many at a time as there are threads."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return torch.stack(list(pool.map(lambda key: draw_latent(shape, origin, cell, key), keys)))


def draw_latent(shape: tuple[int, int, int], origin: tuple[int, int], cell: int, key: Key) -> Tensor:
    """A window of the infinite plane of one latent.

    Args:
        shape: (C, H, W) of the window.
        origin: its top left corner in the whole image, in cells of this latent.
        cell: HR pixels along the side of one cell, 2^l.
        key: which plane.

    Returns:
        (C, H, W) float32, standard normal.
    """
    channels, height, width = shape
    top, left = origin
    side = BLOCK // cell
    window = np.empty(shape, dtype=np.float32)
    for row in range(top // side, (top + height - 1) // side + 1):
        for column in range(left // side, (left + width - 1) // side + 1):
            stream = np.random.Generator(np.random.Philox(np.random.SeedSequence((*key, row, column))))
            block = stream.standard_normal((channels, side, side), dtype=np.float32)
            y, x = row * side - top, column * side - left
            target = window[:, max(y, 0) : y + side, max(x, 0) : x + side]
            source = block[:, max(-y, 0) :, max(-x, 0) :]
            target[:] = source[:, : target.shape[1], : target.shape[2]]
    return torch.from_numpy(window)
