"""Affine injector (paper, section 3.1): all channels shifted and scaled by what the LR image says."""

from __future__ import annotations

from torch import Tensor

from ncsr.flow.bijection import Bijection
from ncsr.flow.subnet import Affine, Subnet
from ncsr.ops.conv import by_image


class AffineInjector(Bijection):
    """z = (x + shift(u)) scale(u); the condition is its own `Subnet`'s result for u, known before any sample is.

    Args:
        subnet: from u to shift and scale.
    """

    def __init__(self, subnet: Subnet) -> None:
        super().__init__()
        self.subnet = subnet

    def encode(self, x: Tensor, condition: Affine) -> tuple[Tensor, Tensor]:
        shift, scale = condition
        log_det = condition.log_det().repeat(len(x) // len(shift))
        return ((by_image(x, shift) + shift) * scale).flatten(0, 1), log_det

    def decode(self, z: Tensor, condition: Affine) -> tuple[Tensor, Tensor]:
        shift, scale = condition
        log_det = condition.log_det().repeat(len(z) // len(shift))
        return (by_image(z, shift) / scale - shift).flatten(0, 1), -log_det
