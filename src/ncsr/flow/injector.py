"""Affine injector (paper, section 3.1): all channels are shifted and scaled by what the LR image's features say."""

from __future__ import annotations

import torch
from torch import Tensor

from ncsr.flow.bijection import Bijection, sum_except_batch
from ncsr.flow.elementwise import affine, inject
from ncsr.flow.subnet import Subnet
from ncsr.ops.conv import by_image


class AffineInjector(Bijection):
    """z = (x + shift(u)) scale(u), with u the features of the LR image.

    The condition is the share of u in the subnet's first convolution, (B, hidden, H, W). Shift and scale are those of
    the B images, whatever the number of samples.

    Args:
        subnet: from u to shift and scale.
    """

    def __init__(self, subnet: Subnet) -> None:
        super().__init__()
        self.subnet = subnet

    def encode(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        raw = self._raw(condition)
        if self.subnet.fused is not None:
            return self.subnet.shift_and_scale(x, raw)
        shift, scale = affine(raw, x.dtype, self.subnet.bound)
        return inject(x, shift, scale), sum_except_batch(scale.log()).repeat(len(x) // len(raw))

    def encode_by_pixel(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = affine(self._raw(condition), x.dtype, self.subnet.bound)
        return inject(x, shift, scale), scale.log().sum(1).repeat(len(x) // len(condition), 1, 1)

    def decode(self, z: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = affine(self._raw(condition), z.dtype, self.subnet.bound)
        images = by_image(z, condition) / scale - shift
        return images.flatten(0, 1), -sum_except_batch(scale.log()).repeat(len(images))

    def _raw(self, condition: Tensor) -> Tensor:
        with torch.autocast(condition.device.type, enabled=False):  # rounded shifts would move the image's local means
            raw: Tensor = self.subnet(None, condition)
        return raw
