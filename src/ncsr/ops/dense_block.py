"""ESRGAN's dense block while it is trained on a CPU: its numbers and derivatives from one saved tensor.

With k = (x, x1, ..., x4) all that the block's five convolutions read, each a leading part of it, the weight gradients
of all five are corners of one, that of a convolution from k to all five outputs: one large matrix product per tap where
products are fast (`conv.weight_gradient`). Autograd alone saves every part of k, two and a half times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

from ncsr.ops.conv import weight_gradient, weight_gradient_by_products

RESIDUAL, SLOPE = 0.2, 0.2  # the result's factor, and the LeakyReLU's after each convolution but the last


def dense_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """x (B, C, H, W) plus 0.2 times the last of five densely connected 3x3 convolutions (Wang et al. 2018, figure 4).

    Args:
        x: (B, C, H, W), on a CPU.
        weights: of the five convolutions, four of (G, C + i G, 3, 3) and one of (C, C + 4 G, 3, 3).
        biases: of the five convolutions.
    """
    y: Tensor = _DenseBlock.apply(x, *weights, *biases)  # type: ignore[no-untyped-call]
    return y


def _compute(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """k and the block's result."""
    features = x.to(weights[0].dtype)
    for weight, bias in zip(weights[:4], biases[:4], strict=True):
        new = F.leaky_relu(F.conv2d(features, weight, bias, padding=1), SLOPE, inplace=True)
        features = torch.cat((features, new), 1)  # of two: channels-last copies of more are slower
    return features, torch.add(x, F.conv2d(features, weights[4], biases[4], padding=1), alpha=RESIDUAL)


class _DenseBlock(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        low = [parameter.to(dtype) for parameter in parameters]
        features, y = _compute(x, low[:5], low[5:])
        ctx.save_for_backward(x, *parameters, features, *low[:5])
        return y

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: checkpointing allows no more
        inputs, features, weights = saved[:11], saved[11], saved[12:]
        if torch.is_grad_enabled():  # a second derivative may be asked for
            return _differentiable(inputs, ctx.needs_input_grad, grad)
        trained = any(ctx.needs_input_grad[1:])
        one_product = trained and weight_gradient_by_products()

        def back(g: Tensor, weight: Tensor) -> Any:
            """dL/dx, and dL/dW and dL/db if no product gives them, from dL/dy = g of one convolution."""
            x, wanted, ones = features[:, : weight.shape[1]], trained and not one_product, [1, 1]
            sizes = ones, ones, ones, False, [0, 0], 1
            return torch.ops.aten.convolution_backward(g, x, weight, [len(weight)], *sizes, [True, wanted, wanted])

        g = (RESIDUAL * grad).to(features.dtype)  # with respect to a convolution's output
        below, corner, bias = back(g, weights[4])  # with respect to k
        found = [(g, corner, bias)]
        for weight in weights[3::-1]:
            start = weight.shape[1]
            new = features[:, start : start + len(weight)]
            g = torch.ops.aten.leaky_relu_backward(below[:, start:], new, SLOPE, True)
            part, corner, bias = back(g, weight)
            below = below[:, :start].add_(part)
            found.append((g, corner, bias))
        grads, corners, biases = zip(*reversed(found), strict=True)
        if one_product:
            together, widths = torch.cat(grads, 1), [len(weight) for weight in weights]
            whole = weight_gradient(features, together).split(widths)
            corners = tuple(rows[:, : weight.shape[1]] for rows, weight in zip(whole, weights, strict=True))
            biases = together.sum((0, 2, 3)).split(widths)
        return grad + below, *corners, *biases


def _differentiable(inputs: Sequence[Tensor], needed: Sequence[bool], grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients with respect to x, weights and biases, as autograd has them, with a graph of their own."""
    _, y = _compute(inputs[0], inputs[1:6], inputs[6:])
    wanted = [tensor for tensor, wants in zip(inputs, needed, strict=True) if wants]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
    return tuple(next(found) if wants else None for wants in needed)
