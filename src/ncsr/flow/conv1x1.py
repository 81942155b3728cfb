"""Invertible 1x1 convolution (Glow, Kingma and Dhariwal 2018): z = W x at every pixel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ncsr.flow.bijection import Bijection
from ncsr.ops.precision import full_precision


class Conv1x1(Bijection):
    """z = W x; log-determinant H W log|det W|. W starts as a random rotation.

    The inverse of W is computed in float64 and cast; the convolution itself is never done in less than the image's
    precision.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, dtype=torch.float32))
        nn.init.orthogonal_(self.weight)
        self._known: tuple[Tensor, Tensor] | None = None

    def encode(self, x: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return _convolve(x, self.weight), self._log_det(x)

    def decode(self, z: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return _convolve(z, self.inverse().to(z)), -self._log_det(z)

    def inverse(self) -> Tensor:
        """W^-1 in float64, on the CPU."""
        return self.weight.cpu().double().inverse()  # not every accelerator has float64

    def _log_det(self, x: Tensor) -> Tensor:
        if self._known is None:
            log_abs_det = self.weight.slogdet().logabsdet
        else:
            log_abs_det = _KnownLogAbsDet.apply(self.weight, *self._known)  # type: ignore[no-untyped-call]
        return (x.shape[-2] * x.shape[-1] * log_abs_det).expand(x.shape[0])


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    with full_precision(x.device):
        return F.conv2d(x, weight.view(*weight.shape, 1, 1))


class LogAbsDets:
    """log|det W| and W^-1 of many 1x1 convolutions, by one batched call per size, in tensors that stay where they are.

    As a context, it makes the convolutions use what `update` computed last, with gradients: d log|det W| / dW = W^-T.

    Args:
        convolutions: on one device.
    """

    def __init__(self, convolutions: Sequence[Conv1x1]) -> None:
        by_size = defaultdict(list)
        for convolution in convolutions:
            by_size[len(convolution.weight)].append(convolution)
        self._groups = []
        for group in by_size.values():
            inverses = torch.stack([convolution.weight.detach() for convolution in group])
            self._groups.append((group, inverses.new_zeros(len(group)), inverses))

    @torch.no_grad()
    def update(self) -> None:
        """Compute them of the weights as they are now."""
        for group, values, inverses in self._groups:
            weights = torch.stack([convolution.weight for convolution in group])
            values.copy_(torch.linalg.slogdet(weights).logabsdet)
            inverses.copy_(torch.linalg.inv_ex(weights).inverse)  # of a singular matrix not finite, as the step is then

    def __enter__(self) -> None:
        for group, values, inverses in self._groups:
            for convolution, known in zip(group, zip(values, inverses, strict=True), strict=True):
                convolution._known = known

    def __exit__(self, *_: object) -> None:
        for group, _values, _inverses in self._groups:
            for convolution in group:
                convolution._known = None


class _KnownLogAbsDet(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return grad * inverse.t(), None, None
