"""`elementwise.normalise` and `elementwise.shift_and_scale` as one Triton kernel each, forward and backward.

Tensors are channels-last, so an image is a matrix of pixels by channels, and a program takes some of its rows. Sums
over pixels (log-determinants, gradients of what is per channel) are taken by each program of its rows, and added up
afterwards in a fixed order. Everything is computed in float32, of float64 tensors in float64.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ncsr.config import ScaleBound
from ncsr.flow.elementwise import ATAN_BOUND, Fused
from ncsr.ops.conv import channels_last

_ELEMENTS = 1024  # that a program takes at a time: its registers hold no more
_PROGRAMS = 512  # at most, of those that have sums of their own

_BOUND = tl.constexpr(ATAN_BOUND)
_HALF_PI, _QUARTER_PI = tl.constexpr(1.5707963267948966), tl.constexpr(0.7853981633974483)
_TAN_PI_8, _TAN_3_PI_8 = tl.constexpr(2**0.5 - 1), tl.constexpr(2**0.5 + 1)
_TERMS = tl.constexpr(10)


@triton.jit
def _atan(x):  # Triton's own is not in its interpreter
    """The arctangent, by its series within tan(pi / 8)."""
    a = tl.abs(x)
    far, near = a > _TAN_3_PI_8, a <= _TAN_PI_8
    reduced = tl.where(far, -1.0, tl.where(near, a, a - 1.0)) / tl.where(far, a, tl.where(near, 1.0, a + 1.0))
    square = reduced * reduced
    series = reduced * 0.0
    for i in tl.static_range(_TERMS):
        series = series * square + (-1.0) ** (_TERMS - 1 - i) / (2 * (_TERMS - 1 - i) + 1)
    angle = tl.where(far, _HALF_PI, tl.where(near, 0.0, _QUARTER_PI)) + reduced * series
    return tl.where(x < 0, -angle, angle)


@triton.jit
def _normalise(
    x,
    addend,
    bias,
    log_scale,
    result,
    pixels,
    channels: tl.constexpr,
    width: tl.constexpr,
    rows: tl.constexpr,
    adds: tl.constexpr,
    relu: tl.constexpr,
    dtype: tl.constexpr,
):
    row = tl.program_id(0) * rows + tl.arange(0, rows)[:, None].to(tl.int64)
    column = tl.arange(0, width)[None, :]
    inside = column < channels
    at, mask = row * channels + column, inside & (row < pixels)
    y = tl.load(x + at, mask, 0.0).to(dtype)
    if adds:
        y += tl.load(addend + at, mask, 0.0).to(dtype)
    y += tl.load(bias + column, inside, 0.0).to(dtype)
    y *= tl.exp(tl.load(log_scale + column, inside, 0.0).to(dtype))
    if relu:
        y = tl.maximum(y, 0.0)
    tl.store(result + at, y.to(result.dtype.element_ty), mask)


@triton.jit
def _normalise_backward(
    grad,
    result,
    log_scale,
    grad_x,
    sums,
    pixels,
    channels: tl.constexpr,
    width: tl.constexpr,
    rows: tl.constexpr,
    relu: tl.constexpr,
    dtype: tl.constexpr,
):
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.arange(0, width)[None, :]
    inside = column < channels
    scale = tl.exp(tl.load(log_scale + column, inside, 0.0).to(dtype))
    grad_bias = tl.zeros((rows, width), dtype)
    grad_log_scale = tl.zeros((rows, width), dtype)
    for start in range(program * rows, pixels, programs * rows):
        row = start + tl.arange(0, rows)[:, None].to(tl.int64)
        at, mask = row * channels + column, inside & (row < pixels)
        y = tl.load(result + at, mask, 0.0).to(dtype)
        g = tl.load(grad + at, mask, 0.0).to(dtype)
        if relu:
            g = tl.where(y > 0, g, 0.0)
        grad_log_scale += g * y
        g *= scale
        grad_bias += g
        tl.store(grad_x + at, g.to(grad_x.dtype.element_ty), mask)
    to = sums + program * 2 * channels + column
    tl.store(to, tl.sum(grad_bias, 0)[None, :], inside)
    tl.store(to + channels, tl.sum(grad_log_scale, 0)[None, :], inside)


@triton.jit
def _pair(raw, bias, log_gain, at, column, mask, inside, dtype: tl.constexpr):
    """Shifts and raw scales, which lie side by side, and the gains that are in them."""
    shift_gain = tl.exp(3 * tl.load(log_gain + 2 * column, inside, 0.0).to(dtype))
    scale_gain = tl.exp(3 * tl.load(log_gain + 2 * column + 1, inside, 0.0).to(dtype))
    shift = tl.load(raw + 2 * at, mask, 0.0).to(dtype) + tl.load(bias + 2 * column, inside, 0.0).to(dtype)
    scale = tl.load(raw + 2 * at + 1, mask, 0.0).to(dtype) + tl.load(bias + 2 * column + 1, inside, 0.0).to(dtype)
    return shift * shift_gain, scale * scale_gain, shift_gain, scale_gain


@triton.jit
def _log_scale(raw, sigmoid: tl.constexpr):
    """log of the scale that a raw one means, and its derivative."""
    if sigmoid:
        share = 1 / (1 + tl.exp(-raw - 2))
        return tl.log(share + 1e-4), share * (1 - share) / (share + 1e-4)
    return _atan(2 * raw) * _BOUND, 1 / (1 + 4 * raw * raw) * (2 * _BOUND)


@triton.jit
def _shift_and_scale(
    x,
    raw,
    bias,
    log_gain,
    result,
    log_dets,
    pixels,
    first: tl.constexpr,
    channels: tl.constexpr,
    width: tl.constexpr,
    rows: tl.constexpr,
    sigmoid: tl.constexpr,
    dtype: tl.constexpr,
):
    program, programs, image = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    column = tl.arange(0, width)[None, :]
    inside = column < channels
    total = tl.zeros((rows, width), dtype)
    for start in range(program * rows, pixels, programs * rows):
        row = start + tl.arange(0, rows)[:, None]
        mask = inside & (row < pixels)
        pixel = image * pixels + row
        shift, scale, _, _ = _pair(raw, bias, log_gain, pixel * channels + column, column, mask, inside, dtype)
        log_scale, _ = _log_scale(scale, sigmoid)
        total += tl.where(mask, log_scale, 0.0)
        at = pixel * (first + channels) + column
        y = (tl.load(x + at + first, mask, 0.0).to(dtype) + shift) * tl.exp(log_scale)
        tl.store(result + at + first, y.to(result.dtype.element_ty), mask)
        if first:
            kept = (column < first) & (row < pixels)
            tl.store(result + at, tl.load(x + at, kept, 0.0), kept)
    tl.store(log_dets + image * programs + program, tl.sum(tl.sum(total, 1), 0))


@triton.jit
def _shift_and_scale_backward(
    grad,
    grad_log_det,
    log_det_stride,
    x,
    raw,
    bias,
    log_gain,
    grad_x,
    grad_raw,
    sums,
    pixels,
    first: tl.constexpr,
    channels: tl.constexpr,
    width: tl.constexpr,
    rows: tl.constexpr,
    sigmoid: tl.constexpr,
    dtype: tl.constexpr,
):
    program, programs, image = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    column = tl.arange(0, width)[None, :]
    inside = column < channels
    grad_total = tl.load(grad_log_det + image * log_det_stride).to(dtype)
    shift_bias = tl.zeros((rows, width), dtype)
    scale_bias = tl.zeros((rows, width), dtype)
    shift_log_gain = tl.zeros((rows, width), dtype)
    scale_log_gain = tl.zeros((rows, width), dtype)
    for start in range(program * rows, pixels, programs * rows):
        row = start + tl.arange(0, rows)[:, None]
        mask = inside & (row < pixels)
        pixel = image * pixels + row
        pair = pixel * channels + column
        shift, scale, shift_gain, scale_gain = _pair(raw, bias, log_gain, pair, column, mask, inside, dtype)
        log_scale, derivative = _log_scale(scale, sigmoid)
        at = pixel * (first + channels) + column
        grad_y = tl.load(grad + at + first, mask, 0.0).to(dtype)
        grad_shift = grad_y * tl.exp(log_scale)
        y_per_scale = tl.load(x + at + first, mask, 0.0).to(dtype) + shift
        grad_scale = tl.where(mask, (grad_shift * y_per_scale + grad_total) * derivative, 0.0)
        tl.store(grad_x + at + first, grad_shift.to(grad_x.dtype.element_ty), mask)
        if first:
            kept = (column < first) & (row < pixels)
            tl.store(grad_x + at, tl.load(grad + at, kept, 0.0), kept)
        shift_log_gain += 3 * grad_shift * shift
        scale_log_gain += 3 * grad_scale * scale
        grad_shift *= shift_gain
        grad_scale *= scale_gain
        shift_bias += grad_shift
        scale_bias += grad_scale
        tl.store(grad_raw + 2 * pair, grad_shift.to(grad_raw.dtype.element_ty), mask)
        tl.store(grad_raw + 2 * pair + 1, grad_scale.to(grad_raw.dtype.element_ty), mask)
    to = sums + (image * programs + program) * 4 * channels + 2 * column
    tl.store(to, tl.sum(shift_bias, 0)[None, :], inside)
    tl.store(to + 1, tl.sum(scale_bias, 0)[None, :], inside)
    tl.store(to + 2 * channels, tl.sum(shift_log_gain, 0)[None, :], inside)
    tl.store(to + 2 * channels + 1, tl.sum(scale_log_gain, 0)[None, :], inside)


def _arithmetic(dtype: torch.dtype) -> tuple[torch.dtype, tl.dtype]:
    return (torch.float64, tl.float64) if dtype == torch.float64 else (torch.float32, tl.float32)


def _tile(channels: int) -> tuple[int, int]:
    """Columns of a program, a power of two, and its rows."""
    width = triton.next_power_of_2(channels)
    return width, max(1, _ELEMENTS // width)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, addend: Tensor | None, bias: Tensor, log_scale: Tensor, relu: bool, dtype: torch.dtype
    ) -> Tensor:
        x = channels_last(x)
        result = torch.empty_like(x, dtype=dtype)
        (width, rows), pixels = _tile(x.shape[1]), x.numel() // x.shape[1]
        _normalise[(triton.cdiv(pixels, rows),)](
            x,
            x if addend is None else channels_last(addend),
            bias,
            log_scale,
            result,
            pixels,
            x.shape[1],
            width,
            rows,
            addend is not None,
            relu,
            _arithmetic(bias.dtype)[1],
        )
        ctx.save_for_backward(result, log_scale)
        ctx.relu, ctx.dtypes = relu, (x.dtype, None if addend is None else addend.dtype)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        result, log_scale = ctx.saved_tensors
        dtype, addend_dtype = ctx.dtypes
        channels, grad_x = result.shape[1], torch.empty_like(result, dtype=dtype)
        (width, rows), pixels = _tile(channels), result.numel() // channels
        programs = min(triton.cdiv(pixels, rows), _PROGRAMS)
        torch_dtype, triton_dtype = _arithmetic(log_scale.dtype)
        sums = torch.empty(programs, 2, channels, dtype=torch_dtype, device=grad.device)
        _normalise_backward[(programs,)](
            channels_last(grad), result, log_scale, grad_x, sums, pixels, channels, width, rows, ctx.relu, triton_dtype
        )
        grad_bias, grad_log_scale = sums.sum(0)
        return grad_x, None if addend_dtype is None else grad_x.to(addend_dtype), grad_bias, grad_log_scale, None, None


class _ShiftAndScale(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, raw: Tensor, bias: Tensor, log_gain: Tensor, bound: ScaleBound
    ) -> tuple[Tensor, Tensor]:
        x, raw = channels_last(x), channels_last(raw)
        images, channels, pixels = len(x), raw.shape[1] // 2, x.shape[2] * x.shape[3]
        first, (width, rows) = x.shape[1] - channels, _tile(channels)
        programs = min(triton.cdiv(pixels, rows), max(1, _PROGRAMS // images))
        torch_dtype, triton_dtype = _arithmetic(x.dtype)
        result, log_dets = torch.empty_like(x), torch.empty(images, programs, dtype=torch_dtype, device=x.device)
        constants = (pixels, first, channels, width, rows, bound == "sigmoid", triton_dtype)
        _shift_and_scale[(programs, images)](x, raw, bias, log_gain, result, log_dets, *constants)
        ctx.save_for_backward(x, raw, bias, log_gain)
        ctx.constants, ctx.grid = constants, (programs, images)
        return result, log_dets.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, raw, bias, log_gain = ctx.saved_tensors
        grad_x, grad_raw = torch.empty_like(x), torch.empty_like(raw)
        programs, images = ctx.grid
        sums = torch.empty(programs * images, 2, len(bias), dtype=_arithmetic(x.dtype)[0], device=x.device)
        _shift_and_scale_backward[ctx.grid](
            channels_last(grad),
            grad_log_det,
            grad_log_det.stride(0),
            x,
            raw,
            bias,
            log_gain,
            grad_x,
            grad_raw,
            sums,
            *ctx.constants,
        )
        grad_bias, grad_log_gain = sums.sum(0)
        return grad_x, grad_raw, grad_bias, grad_log_gain, None


TRITON = Fused(_Normalise.apply, _ShiftAndScale.apply)
"""The functions of `elementwise`, on a GPU."""
