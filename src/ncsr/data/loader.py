"""Batches for training, the same whatever the number of workers and processes, and made ahead of the step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncsr.data.crops import Photographs, crop_batch, random_stream
from ncsr.data.noise import draw_noise
from ncsr.errors import InputError
from ncsr.runtime.threads import prefetch_map

_NOISE = 1  # offsets the seed, so that noise and crops come from different streams
_QUANTUM = 1 / 32  # width of the uniform noise that dequantises: SRFlow's


class Batch(NamedTuple):
    """One process's share of a training step, float32 in units of the image range [0, 1].

    Attributes:
        hr: (B, 3, P, P), on the 8-bit grid unless dequantised.
        lr: (B, 3, P/s, P/s), the reduced crops rounded to 8 bits.
        v: (B, 3, P, P), the noise to add to both (paper, section 3.3); None without noise.
        std: (B,), its standard deviations c; None without noise.
    """

    hr: Tensor
    lr: Tensor
    v: Tensor | None
    std: Tensor | None


def batches(
    photos: Photographs,
    *,
    size: int,
    scale: int,
    count: int,
    seed: int,
    start: int,
    stop: int,
    noise: float = 0.0,
    rotations: bool = True,
    strange: float = 0.0,
    dequantise: bool = False,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Iterator[Batch]:
    """The batches of the steps `start` to `stop - 1`.

    Everything random about example i of step t follows from (seed, t, i).

    Args:
        photos: sides of at least `size`.
        size: P, a multiple of the scale.
        scale: s.
        count: examples per step in all processes together, B times `world`.
        seed: of all streams.
        start: first step.
        stop: the step after the last.
        noise: M, the largest standard deviation of v; 0 is without v.
        rotations: as well as flips (paper), or flips alone (published code).
        strange: share of the crops that are mixed with noise (`ncsr.data.crops.mix_noise`).
        dequantise: add uniform noise of width 1/32 and mean 0 to hr.
        rank: this process, which gets the examples rank B to (rank + 1) B - 1.
        world: number of processes.
        workers: threads that make batches ahead; 0 makes each when it is asked for.

    Raises:
        InputError: if `count` cannot be shared equally; on the way, if a hundred photographs in a row are broken.
    """
    share, rest = divmod(count, world)
    if rest or not share:
        raise InputError(
            f"a batch of {count} crops cannot be shared equally by {world} processes: make it a multiple of {world}"
        )
    first = rank * share

    def make(step: int) -> Batch:
        crops = crop_batch(
            photos,
            size=size,
            scale=scale,
            count=share,
            seed=seed,
            step=step,
            first=first,
            rotations=rotations,
            strange=strange,
        )
        streams = [random_stream(seed + _NOISE, step, first + i) for i in range(share)]
        v, std = draw_noise(streams, size, size, noise) if noise else (None, None)
        hr = crops.hr + _uniform(streams, size) if dequantise else crops.hr
        return Batch(hr, crops.lr, v, std)

    return prefetch_map(make, range(start, stop), workers)


def _uniform(streams: list[np.random.Generator], size: int) -> Tensor:
    unit = np.stack([stream.random((3, size, size), dtype=np.float32) for stream in streams])
    return _QUANTUM * (torch.from_numpy(unit) - 0.5)
