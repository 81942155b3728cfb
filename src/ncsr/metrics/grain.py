"""Grain: texture that samples show where the photograph is smooth.

Protocol: non-overlapping 16 x 16 blocks from the top left corner, rests dropped; the standard deviation of a block's
BT.601 luma (of the 8-bit image) in grey levels of 255; the smooth blocks are those under 2.5 in the photograph. The
grain is the samples' median over these blocks, relative to the photograph's own median over them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.metrics.fidelity import luma
from ncsr.metrics.pixels import check_samples, crop_to_multiple, rounded

BLOCK = 16  # pixels
SMOOTH = 2.5  # grey levels
_CONSTANT = 1e-3  # grey levels: less is a block of one colour; one pixel that is one level of blue away has 6e-3


class Grain(NamedTuple):
    """Median standard deviation in smooth blocks; all NaN where there is no such block."""

    ratio: float
    """The samples' median over the photograph's; 1 is ideal, more is grain, less is smoothing.

    NaN where half of the photograph's smooth blocks are of one colour (clipped skies, graphics): its median is zero.
    """
    samples: float
    """Grey levels of 255."""
    photograph: float
    """Grey levels of 255."""


def smooth_block_grain(samples: Tensor, hr: Tensor) -> Grain:
    """Grain of samples of one photograph, or of a batch taken together.

    Args:
        samples: (n, ..., 3, H, W), floating point in [0, 1] or uint8; rounded to 8 bits.
        hr: (..., 3, H, W), the photograph.

    Raises:
        InputError: the shapes do not belong together.
    """
    return grain(*smooth_block_deviations(samples, hr))


def smooth_block_deviations(samples: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations in the photograph's M smooth blocks: of the samples, (n, M), and of the photograph, (M,).

    For a set of photographs, concatenate both along M and hand them to `grain`. Arguments as `smooth_block_grain`.
    """
    check_samples(samples, hr)
    photograph = _block_deviations(hr)
    smooth = photograph < SMOOTH
    return torch.stack([_block_deviations(sample)[smooth] for sample in samples]), photograph[smooth]


def grain(samples: Tensor, photograph: Tensor) -> Grain:
    """Grain from the block deviations of one or many images: samples (n, M) and photograph (M,)."""
    ours, theirs = samples.median().item(), photograph.median().item()
    return Grain(float("nan") if theirs < _CONSTANT else ours / theirs, ours, theirs)


def _block_deviations(images: Tensor) -> Tensor:
    """(..., 3, H, W) to the luma's standard deviation in every block, (..., H / 16, W / 16), grey levels."""
    y = 255 * luma(rounded(crop_to_multiple(images, BLOCK), torch.float64))[..., 0, :, :]
    rows, columns = y.shape[-2] // BLOCK, y.shape[-1] // BLOCK
    blocks: Tensor = y.unflatten(-1, (columns, BLOCK)).unflatten(-3, (rows, BLOCK))  # (..., H / 16, 16, W / 16, 16)
    return (blocks - blocks.mean((-3, -1), keepdim=True)).square().mean((-3, -1)).sqrt()
