"""The conditional flow step (paper, figure 4): actnorm, 1x1 convolution, injector, noise layer, LR coupling."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ncsr.config import ScaleBound
from ncsr.flow.actnorm import ActNorm
from ncsr.flow.bijection import Bijection, Chain, decode_chain, encode_chain
from ncsr.flow.conv1x1 import Conv1x1
from ncsr.flow.coupling import AffineCoupling
from ncsr.flow.injector import AffineInjector
from ncsr.flow.subnet import Affine, Subnet


class StepCondition(NamedTuple):
    """What one step knows besides its input.

    Attributes:
        injection: the injector's shift and scale, (B, C, H, W).
        coupling: the features' share of the LR coupling's first convolution, (B, hidden, H, W).
        noise: the noise image's share of the noise layer's, (B, hidden, H, W); None for no noise.
    """

    injection: Affine
    coupling: Tensor
    noise: Tensor | None = None


class TransitionStep(Bijection):
    """Actnorm and 1x1 convolution: lets a level mix what the squeeze just made channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.conv1x1 = Conv1x1(channels)

    def encode(self, x: Tensor, condition: object = None) -> tuple[Tensor, Tensor]:
        return encode_chain(self._chain(), x)

    def decode(self, z: Tensor, condition: object = None) -> tuple[Tensor, Tensor]:
        return decode_chain(self._chain(), z)

    def _chain(self) -> Chain:
        return [(self.actnorm, None), (self.conv1x1, None)]


class ConditionalStep(Bijection):
    """One conditional flow step.

    Args:
        channels: C, even.
        features: channels of u.
        noise: channels of the noise condition, 0 for a step without noise conditional layer.
        hidden: of the subnets.
        bound: of the subnets' scales.
    """

    def __init__(self, channels: int, features: int, noise: int, hidden: int, bound: ScaleBound) -> None:
        super().__init__()
        half = channels // 2
        self.actnorm = ActNorm(channels)
        self.conv1x1 = Conv1x1(channels)
        self.injector = AffineInjector(Subnet(0, features, channels, hidden, bound))
        self.noise_layer = AffineCoupling(Subnet(half, noise, half, hidden, bound)) if noise else None
        self.coupling = AffineCoupling(Subnet(half, features, half, hidden, bound))

    def encode(self, x: Tensor, condition: StepCondition) -> tuple[Tensor, Tensor]:
        return encode_chain(self._chain(condition), x)

    def decode(self, z: Tensor, condition: StepCondition) -> tuple[Tensor, Tensor]:
        return decode_chain(self._chain(condition), z)

    def _chain(self, condition: StepCondition) -> Chain:
        noise_layer = [] if self.noise_layer is None else [(self.noise_layer, condition.noise)]
        return [
            (self.actnorm, None),
            (self.conv1x1, None),
            (self.injector, condition.injection),
            *noise_layer,
            (self.coupling, condition.coupling),
        ]
