"""Latents by position: the standard normal numbers behind every sample.

The plane of each latent is cut into blocks of 256 x 256 HR pixels; a block's numbers depend on (seed, sample, attempt,
latent, block row, block column) alone, drawn on the CPU by a counter-based generator. So sample k of seed S is the same
image for any number of samples, batch and device, and a tile of a large image draws just the numbers of its place.
ESRGAN+'s noise, a field for each of its blocks, is drawn the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK = 256  # HR pixels; a multiple of every level's cell


class Window(NamedTuple):
    """A part of the infinite plane of one latent.

    Attributes:
        shape: (C, H, W).
        origin: its top left corner in the whole image, in cells of this latent.
        cell: HR pixels along the side of one cell, 2^l.
    """

    shape: tuple[int, int, int]
    origin: tuple[int, int]
    cell: int


def draw_latents(windows: Sequence[Window], samples: Sequence[int], seed: int, attempt: int) -> list[Tensor]:
    """`draw_latent` for every latent and sample, as many at a time as there are threads: (n, C, H, W) per window.

    `windows` are those of the latents 0, 1, ..., `samples` the numbers of the n samples.
    """
    tasks = [(window, (seed, k, attempt, i)) for i, window in enumerate(windows) for k in samples]
    # All at once: at the start, PyTorch's own threads still wait on the cores for more work.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        drawn = list(pool.map(lambda task: draw_latent(*task), tasks))
    return [torch.stack(drawn[i : i + len(samples)]) for i in range(0, len(drawn), len(samples))]


def draw_latent(window: Window, key: tuple[int, int, int, int]) -> Tensor:
    """(C, H, W) float32, standard normal: a window of the plane of (seed, sample, attempt, latent), all at least 0."""
    (channels, height, width), (top, left), cell = window
    side = BLOCK // cell
    latent = np.empty(window.shape, dtype=np.float32)
    for row in range(top // side, (top + height - 1) // side + 1):
        for column in range(left // side, (left + width - 1) // side + 1):
            stream = np.random.Generator(np.random.Philox(np.random.SeedSequence((*key, row, column))))
            block = stream.standard_normal((channels, side, side), dtype=np.float32)
            y, x = row * side - top, column * side - left
            target = latent[:, max(y, 0) : y + side, max(x, 0) : x + side]
            source = block[:, max(-y, 0) :, max(-x, 0) :]
            target[:] = source[:, : target.shape[1], : target.shape[2]]
    return torch.from_numpy(latent)
