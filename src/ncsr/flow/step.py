"""The conditional flow step (paper, figure 4): actnorm, 1x1 convolution, injector, noise layer, LR coupling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.config import ScaleBound
from ncsr.flow.actnorm import ActNorm
from ncsr.flow.bijection import Chain, Composite
from ncsr.flow.conv1x1 import Conv1x1
from ncsr.flow.coupling import AffineCoupling
from ncsr.flow.injector import AffineInjector
from ncsr.flow.subnet import Subnet
from ncsr.ops.conv import channels_last
from ncsr.ops.upsampled_conv import LevelFeatures


class StepCondition(NamedTuple):
    """The condition of one step: the context's share of the first convolution of each of its subnets, conv_u(u).

    Attributes:
        injector: conv_u(u) of the injector's first convolution, (B, hidden, H, W).
        coupling: conv_u(u) of the LR coupling's first convolution, (B, hidden, H, W).
        noise: conv_n(n) of the noise layer's first convolution, (B, hidden, H, W); None for no noise.
    """

    injector: Tensor
    coupling: Tensor
    noise: Tensor | None = None


class DeferredCondition(NamedTuple):
    """A condition that the step computes from the features itself, and forgets (activation checkpointing).

    Attributes:
        features: of the level.
        noise: as of `StepCondition`.
    """

    features: LevelFeatures
    noise: Tensor | None = None


class TransitionStep(Composite):
    """Actnorm and 1x1 convolution, which mix the channels that a squeeze just made."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.conv1x1 = Conv1x1(channels)

    def chain(self, condition: None) -> Chain:
        return [(self.actnorm, None), (self.conv1x1, None)]


class ConditionalStep(Composite):
    """One conditional flow step.

    Args:
        channels: C, even.
        features: channels of u.
        noise: channels of the noise condition, 0 for a step without noise conditional layer.
        hidden: channels inside the subnets.
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

    def chain(self, condition: StepCondition | DeferredCondition) -> Chain:
        if isinstance(condition, DeferredCondition):
            condition = step_conditions([self], condition.features)[0]._replace(noise=condition.noise)
        noise_layer = [] if self.noise_layer is None else [(self.noise_layer, condition.noise)]
        return [
            (self.actnorm, None),
            (self.conv1x1, None),
            (self.injector, condition.injector),
            *noise_layer,
            (self.coupling, condition.coupling),
        ]


def step_conditions(steps: Sequence[ConditionalStep], features: LevelFeatures) -> list[StepCondition]:
    """The conditions of several steps of one level, without noise, by one wide convolution of the level's features."""
    subnets = [layer.subnet for step in steps for layer in (step.injector, step.coupling)]
    weight = torch.cat([subnet.context_weight() for subnet in subnets])
    # A part of its own is read faster than a slice of wide rows.
    parts = iter([channels_last(part) for part in features.conv3x3(weight).chunk(len(subnets), 1)])
    return [StepCondition(injector, coupling) for injector, coupling in zip(parts, parts, strict=True)]
