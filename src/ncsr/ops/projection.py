"""The nearest image whose reduction is the LR image.

R reduces by s as `ncsr.ops.resize` does. Of an SR image x0, this finds the x that minimises

    |x - x0|^2    where    0 <= x <= 1    and    |R x - lr| <= tolerance.

Without the bounds and the tolerance that is x0 + pinv(Rv) (lr - Rv x0 Rh^T) pinv(Rh)^T, a closed form. With them, the
dual of the problem has one unknown for every LR pixel, and it is solved by projected gradient steps with momentum:

    x(dual) = clip(x0 + R^T dual),    dual <- shrink(dual + s^2 (lr - R x(dual)), s^2 tolerance).

1 / s^2 is the largest eigenvalue of R R^T and about four times the smallest, so few steps do. Nothing but x0 has the
size of the enlarged image, and that is looked at in strips.

What files of 8 or 16 bits add: their reduction clips after each of its two passes, so R then does; where lr is 0 or 1
the unclipped reduction may lie beyond; and rounding the pixels and the first pass moves the reduction by about 0.15
levels. A tolerance of a quarter of a level leaves room for that: nearly every pixel still rounds to the LR image's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.ops.precision import full_precision
from ncsr.ops.resize import resize_matrix

Rows: TypeAlias = Callable[[int, int], Tensor]
"""Gives rows first to last (exclusive) of an enlarged image, (..., rows, s w) in [0, 1]."""

_HALO = 2  # LR pixels: a row of R has 4 s taps, over 5 blocks of s
_STEPS = 60  # 5 to 30 do, where there is a solution
_STRIP = 2**22  # HR values in a strip
STRIP_BYTES = 10 * 4 * _STRIP
"""Memory that looking at a strip takes."""


def project(sr: Tensor, lr: Tensor, bits: int | None = None) -> Tensor:
    """The nearest images in [0, 1] whose reduction is the LR image.

    Args:
        sr: (..., s H, s W) floating point.
        lr: (..., H, W), of the same dtype, broadcast against `sr`.
        bits: 8 or 16 gives images of 2^bits levels, whose reduction rounds to the LR image (LR-PSNR at 8 bits over 60
            dB); None makes the reduction equal.

    Returns:
        As `sr`. Where no such image exists, a near miss.
    """
    scale, height = sr.shape[-1] // lr.shape[-1], sr.shape[-2]

    def rows(first: int, last: int) -> Tensor:
        return sr[..., first:last, :]

    dual = solve_dual(rows, lr.expand(*sr.shape[:-2], *lr.shape[-2:]), scale, bits)
    image = apply_dual(rows, dual, scale)(0, height)
    if bits is None:
        return image
    top = 2**bits - 1
    return image.mul_(top).round_().div_(top)


def solve_dual(rows: Rows, lr: Tensor, scale: int, bits: int | None) -> Tensor:
    """The dual of the projection, of the shape of `lr`; `apply_dual` applies it. Each (H, W) plane is solved by itself.

    FISTA (Beck and Teboulle 2009) with adaptive restart (O'Donoghue and Candes 2015).
    """
    tolerance = 0.0 if bits is None else 0.25 / (2**bits - 1)
    good_enough = 1e-6 if bits is None else tolerance / 10
    clips, step = bits is not None, float(scale**2)
    lowest = torch.where(lr >= 1, 0.0, -math.inf) if clips else None
    highest = torch.where(lr <= 0, 0.0, math.inf) if clips else None

    def shrink(dual: Tensor, by: float) -> Tensor:
        shrunk = dual.sign() * (dual.abs() - by).clamp_(min=0)
        return shrunk.clamp_(lowest, highest) if clips else shrunk

    dual = y = torch.zeros_like(lr)  # y: the extrapolated point
    t = lr.new_ones(*lr.shape[:-2], 1, 1)
    for _ in range(_STEPS):
        residual = lr - _reduced(apply_dual(rows, y, scale), lr, scale, clips)
        unconverged = shrink(residual, tolerance).square().mean((-2, -1), keepdim=True).sqrt() > good_enough
        if not unconverged.any():
            break
        dual_next = shrink(y + step * residual, step * tolerance)
        restart = ((y - dual_next) * (dual_next - dual)).sum((-2, -1), keepdim=True) > 0
        t = t.masked_fill(restart, 1)
        t_next = (1 + (1 + 4 * t**2).sqrt()) / 2
        y_next = dual_next + (t - 1) / t_next * (dual_next - dual)
        dual, y = torch.where(unconverged, dual_next, y), torch.where(unconverged, y_next, y)
        t = t_next
    return torch.where(unconverged, dual, y)


def apply_dual(rows: Rows, dual: Tensor, scale: int) -> Rows:
    """The rows of clip(x0 + R^T dual), first and last multiples of s, from those of x0."""

    def image(first: int, last: int) -> Tensor:
        near = _mirrored(dual, first // scale - _HALO, last // scale + _HALO, -2)
        near = _mirrored(near, -_HALO, dual.shape[-1] + _HALO, -1)
        return (rows(first, last) + _adjoint(_adjoint(near, scale, -1), scale, -2)).clamp_(0, 1)

    return image


def strips(height: int, row: int, unit: int = 1) -> Iterator[tuple[int, int]]:
    """Ranges of rows, first to last (exclusive): as many as fit into one strip, and at least 8 (fewer at the end).

    Args:
        height: of the image.
        row: HR values in a row.
        unit: 1 or 8; each strip begins at a multiple of it.
    """
    step = max(8, _STRIP // max(1, row) // unit * unit)
    for first in range(0, height, step):
        yield first, min(first + step, height)


def _reduced(rows: Rows, lr: Tensor, scale: int, clips: bool) -> Tensor:
    """R of the image that has these rows, of the shape of `lr`; whether each pass clips to [0, 1]."""
    height, width = lr.shape[-2:]
    parts = []
    for first, last in strips(height, scale**2 * lr.numel() // height):
        begin, end = max(first - _HALO, 0), min(last + _HALO, height)
        image = rows(scale * begin, scale * end)
        image = _mirrored(image, scale * (first - _HALO - begin), scale * (last + _HALO - begin), -2)
        image = _reduce(image, scale, -2)
        image = image.clamp_(0, 1) if clips else image
        image = _mirrored(image, -scale * _HALO, scale * (width + _HALO), -1)
        image = _reduce(image, scale, -1)
        parts.append(image.clamp_(0, 1) if clips else image)
    return torch.cat(parts, -2)


def _mirrored(image: Tensor, first: int, last: int, axis: int) -> Tensor:
    """Rows or columns first to last of an image that goes on symmetrically beyond its border (1 0 | 0 1)."""
    length = image.shape[axis]
    if first == 0 and last == length:
        return image
    index = torch.arange(first, last, device=image.device) % (2 * length)
    return image.index_select(axis, torch.minimum(index, 2 * length - 1 - index))


def _reduce(image: Tensor, scale: int, axis: int) -> Tensor:
    """One axis reduced, without the `_HALO` LR pixels at either end."""
    kernel, stride = _kernel(scale, axis, image)
    with full_precision(image.device):
        planes = F.conv2d(image.reshape(-1, 1, *image.shape[-2:]), kernel, stride=stride)
    return planes.reshape(*image.shape[:-2], *planes.shape[-2:])


def _adjoint(image: Tensor, scale: int, axis: int) -> Tensor:
    """The transpose of the reduction along one axis, without the `_HALO` LR pixels at either end."""
    kernel, stride = _kernel(scale, axis, image)
    with full_precision(image.device):
        planes = F.conv_transpose2d(image.reshape(-1, 1, *image.shape[-2:]), kernel, stride=stride)
    planes = planes.narrow(axis, 2 * _HALO * scale, planes.shape[axis] - 4 * _HALO * scale)
    return planes.reshape(*image.shape[:-2], *planes.shape[-2:])


def _kernel(scale: int, axis: int, like: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The weights of one LR pixel over 5 s HR pixels, as a convolution along an axis, and its stride."""
    weights = torch.tensor(_taps(scale), dtype=like.dtype, device=like.device)
    return (weights.view(1, 1, -1, 1), (scale, 1)) if axis == -2 else (weights.view(1, 1, 1, -1), (1, scale))


@lru_cache
def _taps(scale: int) -> list[float]:
    """The middle row of a small reduction, which reaches over no border."""
    taps: list[float] = resize_matrix((2 * _HALO + 1) * scale, 1 / scale)[_HALO].tolist()
    return taps
