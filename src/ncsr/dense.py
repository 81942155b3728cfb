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

from ncsr.convolution import by_taps, conv2d, input_gradient, weight_gradient

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
        weights, biases = parameters[:5], parameters[5:]
        known = x
        for weight, bias in zip(weights[:4], biases[:4], strict=True):
            new = F.leaky_relu(conv2d(known, weight, bias), SLOPE, inplace=True)
            known = torch.cat((known.to(new.dtype), new), 1)
        ctx.save_for_backward(known, *weights)
        return torch.add(x, conv2d(known, weights[4], biases[4]), alpha=_RESIDUAL)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        known, *weights = ctx.saved_tensors
        widths = [len(weight) for weight in weights]
        grads = [(_RESIDUAL * grad).to(known.dtype)]  # with respect to the convolutions' outputs, last to first
        below = input_gradient(grads[0], weights[4])  # with respect to what is known
        for weight in weights[3::-1]:
            start = weight.shape[1]
            new = known[:, start : start + len(weight)]
            grads.append(torch.ops.aten.leaky_relu_backward(below[:, start:], new, SLOPE, True))
            below = below[:, :start].add_(input_gradient(grads[-1], weight))
        together = torch.cat(grads[::-1], 1)
        corners: list[Tensor | None] = [None] * 5
        if any(ctx.needs_input_grad[1:6]):
            seen = [weight.shape[1] for weight in weights]
            if by_taps():
                whole = weight_gradient(known, together).split(widths)
                corners = [part[:, :inputs] for part, inputs in zip(whole, seen, strict=True)]
            else:
                corners = [weight_gradient(known[:, :inputs], g) for inputs, g in zip(seen, grads[::-1], strict=True)]
        return grad + below, *corners, *together.sum((0, 2, 3)).split(widths)
