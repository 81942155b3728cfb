"""A level of the flow: squeeze, two transition steps, K conditional steps, and the conditions of these."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.config import NOISE_CHANNELS, FlowConfig
from ncsr.flow.bijection import Chain, Composite
from ncsr.flow.squeeze import Squeeze
from ncsr.flow.step import ConditionalStep, DeferredCondition, StepCondition, TransitionStep, step_conditions
from ncsr.ops.upsampled_conv import LevelFeatures

# Steps whose conditions one convolution computes: wide enough to be fast, its output small enough to stay in a cache.
_GROUP_STEPS, _GROUP_BYTES = 4, 16 * 2**20

LevelCondition = Sequence[StepCondition | DeferredCondition]
"""A condition for each step."""


class Level(Composite):
    """(N, C, H, W) to (N, 4 C, H / 2, W / 2) through all steps; the condition holds one for each step.

    Args:
        channels: C, before the squeeze.
        up: channels of the enlarged features.
        stack: channels of the stacked block outputs.
        noise_steps: how many of the steps, counted from the last, have a noise conditional layer.
        config: of the flow.

    Attributes:
        up: channels of the enlarged features.
    """

    def __init__(self, channels: int, up: int, stack: int, noise_steps: int, config: FlowConfig) -> None:
        super().__init__()
        self.up = up
        self.squeeze = Squeeze()
        transitions = [TransitionStep(4 * channels) for _ in range(2)]
        noise = [0] * (config.steps - noise_steps) + [NOISE_CHANNELS[config.condition]] * noise_steps
        steps = [ConditionalStep(4 * channels, up + stack, n, config.hidden, config.scale_bound) for n in noise]
        self.transitions: Sequence[TransitionStep] = torch.nn.ModuleList(transitions)  # type: ignore[assignment]
        self.steps: Sequence[ConditionalStep] = torch.nn.ModuleList(steps)  # type: ignore[assignment]

    def chain(self, condition: LevelCondition) -> Chain:
        return [
            (self.squeeze, None),
            *((transition, None) for transition in self.transitions),
            *zip(self.steps, condition, strict=True),
        ]

    def condition_on_lr(self, features: LevelFeatures) -> LevelCondition:
        """The conditions of all steps from the level's features, by few wide convolutions."""
        if self.recompute and torch.is_grad_enabled():
            return [DeferredCondition(features) for _ in self.steps]
        up = features.up
        step_bytes = up[:, :1].numel() * 2 * len(self.steps[0].coupling.subnet.first.weight) * up.element_size()
        group = max(1, min(_GROUP_STEPS, _GROUP_BYTES // step_bytes))
        conditions: list[StepCondition] = []
        for first in range(0, len(self.steps), group):
            conditions += step_conditions(self.steps[first : first + group], features)
        return conditions

    def add_noise_condition(self, condition: LevelCondition, noise: Tensor) -> LevelCondition:
        """`condition` with the share of the noise added.

        Args:
            condition: as `condition_on_lr` gives it.
            noise: (B, 3, H, W) noise image, or (B, 1, H, W) standard deviation, at this level's size.
        """
        layers = [step.noise_layer for step in self.steps]
        weights = [layer.subnet.context_weight() for layer in layers if layer is not None]
        if not weights:
            return condition
        parts = iter(F.conv2d(noise, torch.cat(weights), padding=1).chunk(len(weights), 1))
        return [
            c if layer is None else c._replace(noise=next(parts)) for c, layer in zip(condition, layers, strict=True)
        ]
