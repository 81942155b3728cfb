"""Invertible 1x1 convolution (Glow, Kingma and Dhariwal 2018): z = W x at every pixel."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsr.flow.bijection import Bijection


class Conv1x1(Bijection):
    """z = W x; log-determinant H W log|det W|. W starts as a random rotation.

    The inverse of W is computed in float64 and cast; the convolution itself is never done in less than the image's
    precision.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels))
        nn.init.orthogonal_(self.weight)

    def encode(self, x: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return _convolve(x, self.weight), self._log_det(x)

    def decode(self, z: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return _convolve(z, self.inverse().to(z)), -self._log_det(z)

    def inverse(self) -> Tensor:
        """W^-1 in float64, on the CPU."""
        return self.weight.cpu().double().inverse()  # not every accelerator has float64

    def _log_det(self, x: Tensor) -> Tensor:
        return (x.shape[-2] * x.shape[-1] * self.weight.slogdet().logabsdet).expand(x.shape[0])


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, weight.view(*weight.shape, 1, 1))
