"""MATLAB-compatible bicubic resizing (`imresize`), the kernel that defines every low-resolution image here.

Along one axis of n input and m = ceil(s n) output pixels, output pixel i looks at the input coordinate
x_i = (i + 1/2) / s - 1/2 through Keys' cubic k (a = -1/2), stretched by 1/s when s < 1 (antialiasing):

    out_i = sum_j w_ij in_j,    w_ij proportional to k(min(s, 1) (x_i - j)),    sum_j w_ij = 1,

with the image continued symmetrically beyond its border (... 1 0 | 0 1 ...). The two axes are separable; the vertical
pass comes first. 8-bit images are rounded half to even and clipped after each pass, floating-point images never.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.ops.precision import full_precision
from ncsr.ops.transfer import to_device


def imresize(images: Tensor, scale: float) -> Tensor:
    """Resize images by `scale` as MATLAB's `imresize(..., 'bicubic')` does.

    Args:
        images: (..., H, W), uint8 in 0..255 or floating point of any range.
        scale: factor applied to both sides; 0.25 reduces by four.

    Returns:
        (..., ceil(scale H), ceil(scale W)) of the same dtype. uint8 is rounded half to even after each of the two
        passes, as MATLAB does; floating point is never rounded or clipped, and computed in float32 or better, whatever
        autocast is on.

    Raises:
        InputError: if `scale` is not a positive number, or `images` is not uint8 or floating point or has no pixels.
    """
    if not 0 < scale < math.inf:
        raise InputError(f"the scale of a resize must be a positive number, got {scale}")
    if images.ndim < 2 or 0 in images.shape[-2:]:
        raise InputError(f"resizing needs images (..., H, W) with pixels, got shape {tuple(images.shape)}")
    integer = images.dtype == torch.uint8
    if not integer and not images.is_floating_point():
        raise InputError(f"resizing needs uint8 or floating-point images, got {images.dtype}: convert them first")
    values = images.to(torch.float64 if integer else torch.promote_types(images.dtype, torch.float32))
    with full_precision(images.device):
        for axis in (-2, -1):
            weights = to_device(resize_matrix(images.shape[axis], scale).to(values.dtype), values.device)
            values = weights @ values if axis == -2 else values @ weights.T
            if integer:
                values = values.round().clamp(0, 255)
    return values.to(images.dtype)


def resize_matrix(length: int, scale: float) -> Tensor:
    """The (ceil(scale * length), length) float64 matrix that resizes one axis; border and weights included.

    It takes much less time than its products, and is not kept: it may be a tensor of the mode that it is made in.
    """
    mirrored, weights = _taps(length, scale, 0, math.ceil(scale * length))
    matrix = torch.zeros(len(weights), length, dtype=torch.float64, device="cpu")
    return matrix.scatter_add_(1, mirrored, weights)


def resize_band(length: int, scale: float, first: int, last: int) -> tuple[int, int, Tensor]:
    """Rows first to last (exclusive) of `resize_matrix`, without the columns that are zero in all of them.

    Returns:
        The first column that is kept, the last (exclusive), and (last - first, columns) in float64.
    """
    mirrored, weights = _taps(length, scale, first, last)
    low, high = int(mirrored.min()), int(mirrored.max()) + 1
    band = torch.zeros(last - first, high - low, dtype=torch.float64, device="cpu")
    return low, high, band.scatter_add_(1, mirrored - low, weights)


def _taps(length: int, scale: float, first: int, last: int) -> tuple[Tensor, Tensor]:
    """The input positions that output pixels first to last read, and their weights: both (last - first, taps).

    Borders are mirrored.
    """
    stretch = min(scale, 1.0)
    centres = (torch.arange(first, last, dtype=torch.float64, device="cpu") + 0.5) / scale - 0.5
    reach = math.ceil(4 / stretch) + 2
    taps = torch.floor(centres - 2 / stretch).long()[:, None] + torch.arange(reach, device="cpu")
    weights = _keys_cubic((centres[:, None] - taps) * stretch)
    weights = weights / weights.sum(1, keepdim=True)
    mirrored = taps % (2 * length)  # the symmetric continuation has period 2n
    return torch.minimum(mirrored, 2 * length - 1 - mirrored), weights


def _keys_cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2."""
    x = x.abs()
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, torch.zeros_like(x)))
