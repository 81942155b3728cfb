"""Affine coupling (paper, section 3.1): one half of the channels shifts and scales the other.

With the features u of the LR image as context this is the LR conditional coupling; with the noise image n, the noise
conditional layer (paper, section 3.3, figure 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ncsr.flow.bijection import Bijection, sum_except_batch
from ncsr.flow.elementwise import affine, couple
from ncsr.flow.subnet import Subnet


class AffineCoupling(Bijection):
    """z1 = x1; z2 = (x2 + shift(x1, context)) scale(x1, context), with x1 the first half of the channels.

    The condition is the context's share of the subnet's first convolution, (B, hidden, H, W), or None for a context
    of zeros.

    Args:
        subnet: from x1 and context to shift and scale.
    """

    def __init__(self, subnet: Subnet) -> None:
        super().__init__()
        self.subnet = subnet

    def encode(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        x1, _ = x.chunk(2, 1)
        raw = self.subnet(x1, condition)
        if self.subnet.fused is not None:
            return self.subnet.shift_and_scale(x, raw)
        shift, scale = affine(raw, x.dtype, self.subnet.bound)
        return couple(x, shift, scale), sum_except_batch(scale.log())

    def encode_by_pixel(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        x1, _ = x.chunk(2, 1)
        shift, scale = affine(self.subnet(x1, condition), x.dtype, self.subnet.bound)
        return couple(x, shift, scale), scale.log().sum(1)

    def decode(self, z: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        z1, z2 = z.chunk(2, 1)
        shift, scale = affine(self.subnet(z1, condition), z.dtype, self.subnet.bound)
        return torch.cat((z1, z2 / scale - shift), 1), -sum_except_batch(scale.log())
