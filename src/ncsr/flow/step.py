"""The conditional flow step (paper, figure 4): actnorm, 1x1 convolution, injector, noise layer, LR coupling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.config import ScaleBound
from ncsr.flow.actnorm import ActNorm
from ncsr.flow.bijection import Bijection, Chain, decode_chain, encode_chain
from ncsr.flow.conv1x1 import Conv1x1
from ncsr.flow.coupling import AffineCoupling
from ncsr.flow.injector import AffineInjector
from ncsr.flow.subnet import Affine, Subnet
from ncsr.ops.conv import channels_last
from ncsr.ops.upsampled_conv import Seen


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

    @property
    def size(self) -> torch.Size:
        """(H, W)."""
        return self.coupling.shape[-2:]


class Unseen(NamedTuple):
    """A condition whose share of the features is computed inside the step, which forgets it (activation checkpointing).

    Attributes:
        seen: the features.
        dtype: of the injector's shift and scale.
        noise: as of `StepCondition`.
    """

    seen: Seen
    dtype: torch.dtype
    noise: Tensor | None = None

    @property
    def size(self) -> torch.Size:
        """(H, W)."""
        return self.seen.up.shape[-2:]


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

    def encode(self, x: Tensor, condition: StepCondition | Unseen) -> tuple[Tensor, Tensor]:
        return encode_chain(self._chain(condition), x)

    def decode(self, z: Tensor, condition: StepCondition | Unseen) -> tuple[Tensor, Tensor]:
        return decode_chain(self._chain(condition), z)

    def known(self, condition: StepCondition | Unseen) -> StepCondition:
        """`condition` with everything computed."""
        if isinstance(condition, StepCondition):
            return condition
        return see_together([self], condition.seen, condition.dtype)[0]._replace(noise=condition.noise)

    def _chain(self, condition: StepCondition | Unseen) -> Chain:
        condition = self.known(condition)
        noise_layer = [] if self.noise_layer is None else [(self.noise_layer, condition.noise)]
        return [
            (self.actnorm, None),
            (self.conv1x1, None),
            (self.injector, condition.injection),
            *noise_layer,
            (self.coupling, condition.coupling),
        ]


def see_together(steps: Sequence[ConditionalStep], seen: Seen, dtype: torch.dtype) -> list[StepCondition]:
    """The conditions of some steps, without noise, by one convolution.

    Args:
        steps: of one level.
        seen: the level's features.
        dtype: of the injectors' shifts and scales.
    """
    weights = [s.first.context_weight() for step in steps for s in (step.injector.subnet, step.coupling.subnet)]
    wide = seen.conv3x3(torch.cat(weights)).chunk(len(weights), 1)
    # A part of its own is read faster than a slice of wide rows.
    parts = iter([channels_last(part) for part in wide])
    conditions = []
    for step, injector, coupling in zip(steps, parts, parts, strict=True):
        with torch.autocast(injector.device.type, enabled=False):  # rounded shifts would move the image's local means
            shift, scale = step.injector.subnet(None, injector.to(dtype), dtype)
        conditions.append(StepCondition(Affine(channels_last(shift), scale), coupling))
    return conditions
