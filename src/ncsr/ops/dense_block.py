"""A dense block's training on a CPU: the numbers of `encoder.DenseBlock`, from one saved tensor.

With k = (x, x1, ..., x4) all that the block's five convolutions read, each a leading part of it, the weight gradients
of all five are corners of one, that of a convolution from k to all five outputs: one large product where products are
what is fast (`convolution.by_taps`). Autograd alone would save every part of k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

from ncsr.ops.conv import by_taps, conv2d, gradients, weight_gradient

SLOPE = 0.2  # of the LeakyReLU after each convolution but the last
_RESIDUAL = 0.2


def dense_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """x (B, C, H, W) plus 0.2 times the last of five densely connected 3x3 convolutions; it has one derivative."""
    y: Tensor = _DenseBlock.apply(x, *weights, *biases)  # type: ignore[no-untyped-call]
    return y


class _DenseBlock(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        weights, biases = parameters[:5], parameters[5:]
        weights = tuple(weight.to(dtype) for weight in weights)
        known = x.to(dtype)
        for weight, bias in zip(weights[:4], biases[:4], strict=True):
            new = F.leaky_relu(conv2d(known, weight, bias.to(dtype)), SLOPE, inplace=True)
            known = torch.cat((known, new), 1)
        ctx.save_for_backward(known, *weights)
        return torch.add(x, conv2d(known, weights[4], biases[4].to(dtype)), alpha=_RESIDUAL)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        known, *weights = ctx.saved_tensors
        trained = any(ctx.needs_input_grad[1:])
        one_product = trained and by_taps()

        def back(g: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
            return gradients(g, known[:, : weight.shape[1]], weight, parameters=trained and not one_product)

        g = (_RESIDUAL * grad).to(known.dtype)  # with respect to a convolution's output
        below, corner, bias = back(g, weights[4])  # with respect to what is known
        found = [(g, corner, bias)]
        for weight in weights[3::-1]:
            start = weight.shape[1]
            new = known[:, start : start + len(weight)]
            g = torch.ops.aten.leaky_relu_backward(below[:, start:], new, SLOPE, True)
            part, corner, bias = back(g, weight)
            below = below[:, :start].add_(part)
            found.append((g, corner, bias))
        grads, corners, biases = zip(*reversed(found), strict=True)
        if one_product:
            together, widths = torch.cat(grads, 1), [len(weight) for weight in weights]
            whole = weight_gradient(known, together).split(widths)
            corners = tuple(rows[:, : weight.shape[1]] for rows, weight in zip(whole, weights, strict=True))
            biases = together.sum((0, 2, 3)).split(widths)
        return grad + below, *corners, *biases
