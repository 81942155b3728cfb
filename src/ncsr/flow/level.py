"""A level of the flow: squeeze, two transition steps, K conditional steps, and what these see besides the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.config import FlowConfig
from ncsr.flow.bijection import Bijection, Chain, decode_chain, encode_chain
from ncsr.flow.squeeze import Squeeze
from ncsr.flow.step import ConditionalStep, StepCondition, TransitionStep, Unseen, see_together
from ncsr.ops.upsampled_conv import Seen

_GROUP_STEPS = 4  # whose shares of the features one convolution computes: wide enough to be fast,
_GROUP_BYTES = 16 * 2**20  # and its output small enough to stay in a cache

LevelCondition = Sequence[StepCondition | Unseen]
"""One for each step."""

NOISE_CHANNELS = {"noise": 3, "std": 1, "none": 0}


class Level(Bijection):
    """(N, C, H, W) to (N, 4 C, H / 2, W / 2) through all steps; the condition is a `StepCondition` for each.

    Args:
        channels: C, before the squeeze.
        up: channels of the enlarged features.
        stack: channels of the stacked block outputs.
        noise_steps: how many of the steps, counted from the last, have a noise conditional layer.
        config: of the flow.

    Attributes:
        up: as given.
        recompute: keep only what steps exchange, and compute the rest again in backward.
    """

    def __init__(self, channels: int, up: int, stack: int, noise_steps: int, config: FlowConfig) -> None:
        super().__init__()
        self.recompute, self.up = False, up
        self.squeeze = Squeeze()
        self.transitions: Sequence[TransitionStep] = torch.nn.ModuleList(  # type: ignore[assignment]
            TransitionStep(4 * channels) for _ in range(2)
        )
        noise = NOISE_CHANNELS[config.condition]
        self.steps: Sequence[ConditionalStep] = torch.nn.ModuleList(  # type: ignore[assignment]
            ConditionalStep(
                4 * channels,
                up + stack,
                noise if i >= config.steps - noise_steps else 0,
                config.hidden,
                config.scale_bound,
            )
            for i in range(config.steps)
        )

    def encode(self, x: Tensor, condition: LevelCondition) -> tuple[Tensor, Tensor]:
        return encode_chain(self._chain(condition), x, self.recompute)

    def decode(self, z: Tensor, condition: LevelCondition) -> tuple[Tensor, Tensor]:
        return decode_chain(self._chain(condition), z)

    def _chain(self, condition: LevelCondition) -> Chain:
        return [
            (self.squeeze, None),
            *((transition, None) for transition in self.transitions),
            *zip(self.steps, condition, strict=True),
        ]

    def see(self, up: Tensor, stack: Tensor, dtype: torch.dtype) -> LevelCondition:
        """The conditions of all steps from u = cat(up, enlarged stack), by few wide convolutions.

        Args:
            up: (B, nf, H, W) features at this level's size.
            stack: (B, m nf, h, w) block outputs at this level's size or a power of two smaller.
            dtype: of the injectors' shifts and scales.
        """
        seen = Seen(up, stack)
        if self.recompute and torch.is_grad_enabled():
            return [Unseen(seen, dtype) for _ in self.steps]
        step_bytes = up[:, :1].numel() * 2 * len(self.steps[0].coupling.subnet.first.weight) * up.element_size()
        together = max(1, min(_GROUP_STEPS, _GROUP_BYTES // step_bytes))
        groups = [self.steps[first : first + together] for first in range(0, len(self.steps), together)]
        return [condition for group in groups for condition in see_together(group, seen, dtype)]

    def feel(self, condition: LevelCondition, noise: Tensor) -> LevelCondition:
        """`condition` with the noise's share added.

        Args:
            condition: from `see`.
            noise: (B, 3, H, W) noise image, or (B, 1, H, W) standard deviation, at this level's size.
        """
        layers = [step.noise_layer for step in self.steps]
        weights = [layer.subnet.first.context_weight() for layer in layers if layer is not None]
        if not weights:
            return condition
        parts = iter(F.conv2d(noise, torch.cat(weights), padding=1).chunk(len(weights), 1))
        return [
            c if layer is None else c._replace(noise=next(parts)) for c, layer in zip(condition, layers, strict=True)
        ]
