"""3x3 convolutions of a level's features, u = cat(up, stack enlarged), without making the enlarged stack.

Enlarged by two with nearest neighbours, the three rows under the kernel (w0, w1, w2) are two rows of the small image x.
With S = w0 + w1 + w2 and the differences d_k = x_k - x_{k-1} of neighbouring rows (zeros outside the image), they give

    output row 2 k      w0 x_{k-1} + (w1 + w2) x_k  =  S x_k - w0 d_k
    output row 2 k + 1  (w0 + w1) x_k + w2 x_{k+1}  =  S x_k + w2 d_{k+1}

three products for two rows instead of six, and the same along columns: nine 1x1 convolutions at the small size instead
of nine at the large one, a quarter of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ncsr.ops.conv import channels_last, conv2d

# Of rows, of columns: whether each of the four products is of differences along that axis.
_DIFFERENCES = ((0, 0), (1, 0), (0, 1), (1, 1))


class LevelFeatures:
    """The features u of one level, ready to be convolved with the weights of many subnets.

    Args:
        up: (B, C1, H, W) features at the level's size.
        stack: (B, C2, h, w) features at the level's size or a power of two smaller; beyond a factor of two, all but
            the last doubling are done by copying.
    """

    def __init__(self, up: Tensor, stack: Tensor) -> None:
        factor = up.shape[-1] // stack.shape[-1]
        self.up = up if factor > 1 else torch.cat((up, stack), 1)
        self.small: list[Tensor] = []
        if factor > 1:
            x = stack if factor == 2 else F.interpolate(stack, scale_factor=factor // 2, mode="nearest")
            rows, columns = _differences(x, -2), _differences(x, -1)
            self.small = [channels_last(part) for part in (x, rows, columns, _differences(rows, -1))]

    def conv3x3(self, weight: Tensor) -> Tensor:
        """(B, O, H, W) of weight (O, C1 + C2, 3, 3), zero padding, no bias."""
        first, *others = split_kernel(weight, self.up.shape[1], enlarged=bool(self.small))
        y = conv2d(self.up, first)
        if others:
            products = [conv2d(x, kernel) for x, kernel in zip(self.small, others, strict=True)]
            y = _Interleave.apply(y, *(p.permute(0, 2, 3, 1) for p in products))  # type: ignore[no-untyped-call]
        return y

    def apply(self, convolutions: Sequence[Callable[[Tensor], Tensor]], dtype: torch.dtype) -> Tensor:
        """`conv3x3` without gradients.

        Args:
            convolutions: with the kernels of `split_kernel`, in its order.
            dtype: to sum in, if there is a sum; adding numbers of another type would take twice as long.
        """
        first, *others = convolutions
        y = first(self.up)
        if not others:
            return y
        y = y.to(dtype)
        for differences, convolve, x in zip(_DIFFERENCES, others, self.small, strict=True):
            _interleave(_phases(y), convolve(x).to(dtype).permute(0, 2, 3, 1), *differences)
        return y


def split_kernel(weight: Tensor, features: int, *, enlarged: bool) -> list[Tensor]:
    """A 3x3 kernel as the kernels that `LevelFeatures.apply` takes.

    Args:
        weight: (O, C1 + C2, 3, 3).
        features: C1.
        enlarged: whether the stack is smaller than the level.

    Returns:
        The 3x3 kernel of `up` (with a stack that is not enlarged: of both), and the 1x1 kernels (O ..., C2, 1, 1) of
        the values, the differences of rows, of columns, of both; what reads the same, side by side.
    """
    if not enlarged:
        return [weight]
    factors = [_factors(row, -1) for row in _factors(weight[:, features:], -2)]
    # First letter rows, second columns: a even differences, s values (sum of the taps), b odd differences.
    (aa, as_, ab), (sa, ss, sb), (ba, bs, bb) = factors
    products = ((ss,), (as_, bs), (sa, sb), (aa, ab, ba, bb))
    return [weight[:, :features], *(torch.cat(kernels)[:, :, None, None] for kernels in products)]


def _differences(x: Tensor, axis: int) -> Tensor:
    """x_k - x_{k-1} along an axis, one more than there are x; zeros outside."""
    padded = F.pad(x, (0, 0, 1, 1) if axis == -2 else (1, 1, 0, 0))
    return padded.diff(dim=axis)


def _factors(kernel: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """The factors of the differences at even outputs, of the values, and of the differences at odd outputs."""
    first, middle, last = kernel.unbind(axis)
    return -first, first + middle + last, last


def _interleave(phases: Tensor, product: Tensor, of_rows: int, of_columns: int) -> None:
    """Add one of the four products to the outputs (`_phases`) that each of its parts belongs to."""
    h, w = phases.shape[1], phases.shape[3]
    parts = product.chunk((1 + of_rows) * (1 + of_columns), -1)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = i * of_rows, j * of_columns
        phase = phases[:, :, i, :, j]
        phase += parts[row * (1 + of_columns) + column][:, row : row + h, column : column + w]


class _Interleave(torch.autograd.Function):
    """Add the nine products to the outputs that they belong to; what this adds up forward, it hands out backward."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, values: Tensor, rows: Tensor, columns: Tensor, both: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # it cannot follow, and copies nothing in the end
            y = y.clone()
        else:
            ctx.mark_dirty(y)
        for differences, product in zip(_DIFFERENCES, (values, rows, columns, both), strict=True):
            _interleave(_phases(y), product, *differences)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        g = _phases(channels_last(grad))
        b, h, _, w, _, o = g.shape
        rows, columns = g.new_zeros(b, h + 1, w, 2 * o), g.new_zeros(b, h, w + 1, 2 * o)
        both = g.new_zeros(b, h + 1, w + 1, 4 * o)
        for i in (0, 1):
            _add(g[:, :, i, :, 0], g[:, :, i, :, 1], rows[:, i : i + h].chunk(2, -1)[i])
            _add(g[:, :, 0, :, i], g[:, :, 1, :, i], columns[:, :, i : i + w].chunk(2, -1)[i])
            for j in (0, 1):
                both[:, i : i + h, j : j + w].chunk(4, -1)[2 * i + j].copy_(g[:, :, i, :, j])
        values = rows[:, :h, :, :o] + rows[:, 1:, :, o:]
        return grad, values, rows, columns, both


def _add(a: Tensor, b: Tensor, out: Tensor) -> None:
    if torch.compiler.is_compiling():  # it follows no `out` that is scattered in memory, and fuses the two
        out.copy_(a).add_(b)
    else:
        torch.add(a, b, out=out)


def _phases(y: Tensor) -> Tensor:
    """View (B, O, 2 h, 2 w) as (B, h, 2, w, 2, O)."""
    view: Tensor = y.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return view
