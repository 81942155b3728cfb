"""Structural similarity (SSIM), by torchmetrics (the `eval` extra).

Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004): Gaussian window of 11 x
11 pixels with a deviation of 1.5, K1 = 0.01, K2 = 0.03. As in the field's tables the mean is over the windows that lie
wholly inside the image; torchmetrics' own mean counts the reflected border as well.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from ncsr.errors import InputError, needs_extra
from ncsr.metrics.fidelity import luma
from ncsr.metrics.pixels import at_least_float32, check_comparable, of_rounded
from ncsr.ops.precision import full_precision

WINDOW = 11  # pixels


def ssim(a: Tensor, b: Tensor, shave: int = 0) -> Tensor:
    """SSIM of images in [0, 1], taken as they are (no rounding), mean over channels and window positions.

    Args:
        a: (..., C, H, W) floating point.
        b: the same; leading axes broadcast, so samples (n, B, C, H, W) meet photographs (B, C, H, W).
        shave: pixels left out along each border.

    Returns:
        (...,) at most 1, float64; 1 where the images are equal.

    Raises:
        InputError: torchmetrics is not installed, integer images, values outside [0, 1], sizes that differ, less than a
            window left.
    """
    with needs_extra("eval", "SSIM needs torchmetrics", "torchmetrics"):
        from torchmetrics.functional.image import structural_similarity_index_measure as measure
    check_comparable(a, b, "SSIM")
    height, width = a.shape[-2:]
    if shave < 0 or min(height, width) - 2 * shave < WINDOW:
        raise InputError(
            f"SSIM needs {WINDOW} x {WINDOW} pixels or more, got {width} x {height} with {shave} to shave off each side"
        )
    inner = (..., slice(shave, height - shave), slice(shave, width - shave))
    border = (..., slice(WINDOW // 2, -(WINDOW // 2)), slice(WINDOW // 2, -(WINDOW // 2)))
    leading = np.broadcast_shapes(a.shape[:-3], b.shape[:-3])
    a, b = (at_least_float32(x).expand(*leading, *x.shape[-3:])[inner] for x in (a, b))
    means = []
    for i in np.ndindex(*leading):  # one image at a time: a window needs five times its memory
        with full_precision(a.device):
            _, similarity = measure(a[i][None], b[i][None], data_range=1.0, return_full_image=True)
        means.append(similarity[border].mean(dtype=torch.float64))
    return torch.stack(means).reshape(leading)


def luma_ssim(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """SSIM as super-resolution tables print it: on BT.601 luma, `scale` pixels shaved off each border.

    Protocol: both images are rounded to 8 bits, the luma is not. Bicubic enlargement x4 measures 0.8111 on Set5 and
    0.7048 on Set14 (their one gray image as RGB); with the luma rounded as well it is 0.0010 and 0.0007 less.

    Args:
        sr: (..., 3, H, W), floating point in [0, 1] or uint8.
        hr: the photograph, cropped to a multiple of `scale`; leading axes broadcast.
        scale: pixels to shave.

    Returns:
        (...,) per image, float64.
    """
    return of_rounded(partial(ssim, shave=scale), sr, hr, torch.float32, luma)  # float64: ten times as long for 4e-6


def rgb_ssim(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """SSIM as `luma_ssim`, but over the three RGB channels."""
    return of_rounded(partial(ssim, shave=scale), sr, hr, torch.float32)
