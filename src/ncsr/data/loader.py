"""Batches for training, the same whatever the number of workers and processes, and made ahead of the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.data.crops import NOISE, CropSettings, CropSources, random_crop, random_stream
from ncsr.data.noise import draw_fields, draw_noise
from ncsr.ops.resize import imresize
from ncsr.runtime.threads import prefetch_map

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


def make_batch(photos: CropSources, settings: CropSettings, scale: int, step: int, indices: Sequence[int]) -> Batch:
    """The examples of these numbers of training step `step`, their LR crops `scale` times smaller.

    They are made where the photographs lie. On every device the crops are the same, to the bit; noise is drawn by the
    device, so it is the same on devices of one kind.

    Raises:
        InputError: a hundred photographs in a row are broken.
    """
    size = settings.crop
    hr = torch.stack([random_crop(photos, settings, random_stream(settings.seed, step, i)) for i in indices])
    hr, lr = hr.float() / 255, imresize(hr, 1 / scale).float() / 255
    streams = [random_stream(settings.seed, step, i, NOISE) for i in indices]
    v, std = draw_noise(streams, size, size, settings.noise, hr.device) if settings.noise else (None, None)
    if settings.dequantise:
        hr = hr + _QUANTUM * (draw_fields("uniform", streams, size, size, hr.device) - 0.5)
    return Batch(hr, lr, v, std)


def batches(
    photos: CropSources,
    settings: CropSettings,
    scale: int,
    steps: Iterable[int],
    indices: Sequence[int],
    workers: int = 0,
) -> Iterator[Batch]:
    """The batch of every step; example i of step t depends on (seed, t, i) alone, for any number of workers.

    Args:
        photos: with sides of at least the crop's.
        settings: of the examples.
        scale: s, which divides the crop's side.
        steps: their numbers.
        indices: numbers of the examples in every step: each of several processes takes its share of them.
        workers: threads that make batches ahead; 0 makes each when it is asked for.

    Raises:
        InputError: on the way, if a hundred photographs in a row are broken.
    """
    return prefetch_map(lambda step: make_batch(photos, settings, scale, step, indices), steps, workers)
