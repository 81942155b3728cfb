"""Bits per dimension for reporting: of dequantised photographs, in the 8-bit convention.

A density could grow without bound on the 256 values of 8-bit images, so every value k gets uniform noise of one grey
level's width: x = (k + u) / 255 with u in [-1/2, 1/2). The noise condition is zero, as in sampling. For data in [0, 1]
the figure is 8 lower than in the convention of papers, which count grey levels. The likelihood itself, by the change of
variables, is that of `ncsr.space`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ncsr.metrics.pixels import eight_bit

if TYPE_CHECKING:
    from ncsr.space.base import Space

EIGHT_BIT = 8.0  # bits per dimension between data in [0, 1] and grey levels


def dequantised(hr: Tensor, seed: int = 0) -> Tensor:
    """Photographs with uniform noise of one grey level, the same noise for every image of a batch.

    Args:
        hr: (..., 3, H, W), floating point in [0, 1] or uint8; rounded to 8 bits.
        seed: the seed of the noise.

    Returns:
        (..., 3, H, W) float32, up to half a grey level outside [0, 1].

    Raises:
        InputError: no RGB images in [0, 1].
    """
    levels, generator = eight_bit(hr), torch.Generator().manual_seed(seed)
    noise = torch.rand(hr.shape[-3:], generator=generator, dtype=torch.float32, device="cpu").to(hr.device)
    return (levels + (noise - 0.5)) / 255


@torch.no_grad()
def dequantised_bits_per_dim(space: Space, hr: Tensor, seed: int = 0) -> Tensor:
    """Bits per dimension of photographs given their LR images, in the 8-bit convention; lower is better.

    Args:
        space: the super-resolution space of the LR images.
        hr: (B, 3, s h, s w), floating point in [0, 1] or uint8; rounded to 8 bits, then dequantised.
        seed: the seed of the uniform noise.

    Returns:
        (B,) float64; 8 less is the figure of data in [0, 1].

    Raises:
        InputError: a model without a likelihood, or images that are not those of the space.
    """
    return space.bits_per_dim(dequantised(hr, seed)).double() + EIGHT_BIT
