"""Agreement with the LR image: LR-PSNR, the PSNR between the reduced SR image and the LR image.

Protocol (NTIRE 2021, learning the super-resolution space): everything is 8-bit. The SR image is saved, reduced by the
MATLAB-compatible bicubic kernel, which rounds after each of its two passes, and compared with the 8-bit LR image over
RGB, no pixels shaved. The published references save SR images by truncation, which caps LR-PSNR near 51 dB; here they
are rounded (cap near 56 dB), with truncation as an option for comparison.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.metrics.fidelity import psnr
from ncsr.metrics.pixels import check_crop, check_unit_range, crop_to_multiple, each_sample, eight_bit, rounded
from ncsr.ops.resize import imresize


class MeanAndWorst(NamedTuple):
    """LR-PSNR of a set of images, in dB."""

    mean: float
    """Over all samples of all images."""
    worst: float
    """The least of an image's samples, averaged over the images."""


def lr_psnr(sr: Tensor, lr: Tensor, truncate: bool = False) -> Tensor:
    """LR-PSNR against the LR image that was enlarged.

    Args:
        sr: (..., 3, s H, s W), floating point in [0, 1] or uint8.
        lr: (..., 3, H, W), the same; always rounded. Leading axes broadcast: samples (n, B, ...) meet LR (B, ...).
        truncate: save `sr` by truncation, as the references do.

    Returns:
        (...,) dB per image, float64; infinity where the reduced image equals the LR image.

    Raises:
        InputError: the SR image is not a whole multiple of the LR image.
    """
    target = rounded(lr, torch.float64)
    check_unit_range(sr)
    (sr_height, sr_width), (height, width) = sr.shape[-2:], lr.shape[-2:]
    scale = sr_height // max(1, height)
    if not scale or (sr_height, sr_width) != (scale * height, scale * width):
        raise InputError(
            f"LR-PSNR needs an SR image that is a whole multiple of its LR image, got {sr_width} x {sr_height} for "
            f"{width} x {height}: crop the photograph to a multiple of the scale before reducing it"
        )
    return each_sample(lambda x: psnr(imresize(eight_bit(x, truncate), 1 / scale).double() / 255, target), sr, lr)


def ntire_lr_psnr(samples: Tensor, hr: Tensor, scale: int, truncate: bool = False) -> Tensor:
    """LR-PSNR as the NTIRE 2021 scoring script has it: against the reduced ground truth.

    Both images are cropped to multiples of 8 first, so the LR image is made from the cropped photograph.

    Args:
        samples: (n, ..., 3, H, W), floating point in [0, 1] or uint8.
        hr: (..., 3, H, W), the photograph; always rounded.
        scale: 4 or 8.
        truncate: save the samples by truncation.

    Returns:
        (n, ...) dB, float64.

    Raises:
        InputError: another scale; a side below 8 pixels; shapes that do not belong together.
    """
    if scale not in (4, 8):
        raise InputError(f"the scale must be 4 or 8, got {scale}")
    check_crop(hr)
    lr = imresize(eight_bit(crop_to_multiple(hr, 8)), 1 / scale)
    return lr_psnr(crop_to_multiple(samples, 8), lr, truncate)


def mean_and_worst(lr_psnrs: Tensor) -> MeanAndWorst:
    """Summary of the LR-PSNR of a set, (n samples, images) dB, one column per image."""
    return MeanAndWorst(lr_psnrs.mean().item(), lr_psnrs.amin(0).mean().item())
