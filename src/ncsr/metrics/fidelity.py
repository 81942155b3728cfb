"""Closeness to one photograph: PSNR on luma and on RGB.

PSNR = 10 log10(1 / MSE) in dB for images in [0, 1]. A table's figure is the mean of the images' dB, never the dB of
their pooled squared error. One image's figure is torchmetrics' own (`peak_signal_noise_ratio` with `dim`), computed
here because training needs it without the `eval` extra.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.metrics.pixels import at_least_float32, check_comparable, check_tensors, check_unit_range, of_rounded


def luma(rgb: Tensor) -> Tensor:
    """BT.601 luma, Y = (65.481 R + 128.553 G + 24.966 B + 16) / 255, not rounded.

    Args:
        rgb: (..., 3, H, W) floating point in [0, 1].

    Returns:
        (..., 1, H, W) in [16/255, 235/255]: black is 16 and white 235 grey levels of 255.

    Raises:
        InputError: another type or shape, or a value outside [0, 1].
    """
    check_tensors(rgb)
    if not rgb.is_floating_point() or rgb.ndim < 3 or rgb.shape[-3] != 3:
        raise InputError(f"luma needs floating-point images (..., 3, H, W), got {tuple(rgb.shape)} {rgb.dtype}")
    check_unit_range(rgb)
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=rgb.dtype, device=rgb.device)
    return ((weights[:, None, None] * rgb).sum(-3, keepdim=True) + 16) / 255


def psnr(a: Tensor, b: Tensor, shave: int = 0) -> Tensor:
    """PSNR of images in [0, 1], taken as they are (no rounding), over channels and pixels.

    Args:
        a: (..., C, H, W) floating point.
        b: the same; leading axes broadcast, so samples (n, B, C, H, W) meet photographs (B, C, H, W).
        shave: pixels left out along each border.

    Returns:
        (...,) dB in float64; infinity where the images are equal.

    Raises:
        InputError: integer images, values outside [0, 1], sizes that differ, or a shave that leaves nothing.
    """
    check_comparable(a, b, "PSNR")
    height, width = a.shape[-2:]
    if not 0 <= 2 * shave < min(height, width):
        raise InputError(f"shaving {shave} pixels off each border of a {width} x {height} image is not possible")
    inner = (..., slice(shave, height - shave), slice(shave, width - shave))
    mse = (at_least_float32(a[inner]) - at_least_float32(b[inner])).square().mean((-3, -2, -1), dtype=torch.float64)
    return -10 * mse.log10()


def luma_psnr(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """PSNR as super-resolution tables print it: on BT.601 luma, `scale` pixels shaved off each border.

    Protocol: both images are rounded to 8 bits, the luma is not. Bicubic enlargement x4 measures 28.43 dB on Set5 and
    26.09 dB on Set14 (their one gray image as RGB).

    Args:
        sr: (..., 3, H, W), floating point in [0, 1] or uint8.
        hr: the photograph, cropped to a multiple of `scale`; leading axes broadcast.
        scale: pixels to shave.

    Returns:
        (...,) dB per image, float64.
    """
    return of_rounded(partial(psnr, shave=scale), sr, hr, torch.float64, luma)


def rgb_psnr(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """PSNR as DIV2K tables print it: as `luma_psnr`, but over the three RGB channels."""
    return of_rounded(partial(psnr, shave=scale), sr, hr, torch.float64)
