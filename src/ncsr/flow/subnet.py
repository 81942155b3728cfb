"""The network inside injectors and couplings: from what it may see to a shift and a scale.

    conv3x3 -> actnorm -> ReLU -> conv1x1 -> actnorm -> ReLU -> conv3x3, times exp(3 c) per channel

Its input is a concatenation cat(h, u). A convolution of a concatenation is a sum of convolutions, conv(cat(h, u)) =
conv_h(h) + conv_u(u), and only the first term depends on the sample. So the caller hands the second one in, as
`context`, computed once for all samples (and for many subnets at a time). Actnorms and exp(3 c) act per output channel:
they are folded into the weights of the convolutions that they follow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncsr.config import ScaleBound
from ncsr.flow.actnorm import ActNorm
from ncsr.flow.elementwise import Fused
from ncsr.ops.conv import by_image, conv2d


class NormedConv(nn.Module):
    """A convolution without bias and the actnorm after it, as one convolution: (conv(x) + b) exp(a).

    Args:
        inputs: channels that are convolved here.
        outputs: channels out.
        kernel: side of the kernel, odd.
        context: further input channels, whose convolution the caller does with `context_weight`.
    """

    folds_actnorm = True

    def __init__(self, inputs: int, outputs: int, kernel: int, context: int = 0) -> None:
        super().__init__()
        self.inputs = inputs
        shape = (outputs, inputs + context, kernel, kernel)
        self.weight = nn.Parameter(0.05 * torch.randn(shape, dtype=torch.float32))
        self.actnorm = ActNorm(outputs)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (outputs, inputs, kernel, kernel) and bias with the actnorm in them."""
        gain = self.actnorm.log_scale.exp()
        return self.weight[:, : self.inputs] * gain.view(-1, 1, 1, 1), self.actnorm.bias * gain

    def context_weight(self) -> Tensor:
        """(outputs, context, kernel, kernel): the folded weights of the context's channels."""
        return self.weight[:, self.inputs :] * self.actnorm.log_scale.exp().view(-1, 1, 1, 1)

    def forward(self, x: Tensor | None, context: Tensor | None = None) -> Tensor:
        """The convolution and the actnorm after it, (N, outputs, H, W).

        Args:
            x: (N, inputs, H, W); None if there are no inputs but the context.
            context: the context's convolution, (B, outputs, H, W); None for a context of zeros.
        """
        weight, bias = self.folded()
        if x is None:
            assert context is not None
            return context.to(bias.dtype) + bias.view(-1, 1, 1)  # nothing is convolved in less, so nothing is rounded
        y = conv2d(x, weight, bias)
        if context is None:
            return y
        if len(y) == len(context):  # one sample of each image: nothing to broadcast, so no views
            return y + context
        return (by_image(y, context) + context).flatten(0, 1)

    def activated(self, x: Tensor | None, context: Tensor | None, fused: Fused) -> Tensor:
        """ReLU of the result, of one sample of each image; the context's convolution is not folded."""
        bias, log_scale = self.actnorm.bias, self.actnorm.log_scale
        if x is None:
            assert context is not None
            return fused.normalise(context, None, bias, log_scale, True, bias.dtype)
        y = conv2d(x, self.weight[:, : self.inputs])
        return fused.normalise(y, context, bias, log_scale, True, y.dtype)


class ZeroConv(nn.Module):
    """conv3x3 with bias, times exp(3 c) per channel; all of it starts at zero, so a fresh layer does nothing but scale.

    Args:
        inputs: channels in.
        outputs: channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 3, 3, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float32))
        self.log_gain = nn.Parameter(torch.zeros(outputs, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        return conv2d(x, *self.folded())

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with the gain in them."""
        gain = (3 * self.log_gain).exp()
        return self.weight * gain.view(-1, 1, 1, 1), self.bias * gain


class Subnet(nn.Module):
    """cat(x, context image) to a shift and a scale.

    Args:
        inputs: channels of x (0: the context alone).
        context: channels of the context image.
        outputs: channels of the shift, and of the scale.
        hidden: channels between.
        bound: how the raw scale becomes a positive one: `sigmoid(raw + 2) + 1e-4` (published weights) or
            `exp(0.318 atan(2 raw))`. The paper writes exp(raw).

    Attributes:
        fused: what computes between the convolutions and after them, in one kernel each, while nothing is folded into
            them; None for nothing.
    """

    fused: Fused | None = None

    def __init__(self, inputs: int, context: int, outputs: int, hidden: int, bound: ScaleBound) -> None:
        super().__init__()
        self.bound = bound
        self.first = NormedConv(inputs, hidden, 3, context)
        self.second = NormedConv(hidden, hidden, 1)
        self.last = ZeroConv(hidden, 2 * outputs)

    def forward(self, x: Tensor | None, context: Tensor | None) -> Tensor:
        """The raw shifts and scales, (N, 2 outputs, H, W), even and odd channels; in bfloat16 under autocast.

        Without `fused` they are complete: `elementwise.affine` makes shift and scale of them. With `fused` they lack
        the last layer's bias and gain, which `shift_and_scale` adds.
        """
        if self.fused is not None:
            y = self.second.activated(self.first.activated(x, context, self.fused), None, self.fused)
            return conv2d(y, self.last.weight)
        y = torch.relu_(self.second(torch.relu_(self.first(x, context))))
        raw: Tensor = self.last(y)
        return raw

    def shift_and_scale(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The last of x's channels shifted and scaled, and the log-determinant, with `fused`.

        Args:
            x: (N, C, H, W), with C at least the shift's channels.
            raw: what `forward` gives.
        """
        assert self.fused is not None
        return self.fused.shift_and_scale(x, raw, self.last.bias, self.last.log_gain, self.bound)

    def context_weight(self) -> Tensor:
        """(hidden, context, 3, 3): the weights of the convolution that `forward` takes as context."""
        return self.first.context_weight() if self.fused is None else self.first.weight[:, self.first.inputs :]
