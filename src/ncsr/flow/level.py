"""A level of the flow: squeeze, two transition steps, K conditional steps, and what these see besides the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.config import FlowConfig
from ncsr.flow.bijection import Bijection, Chain, decode_chain, encode_chain
from ncsr.flow.squeeze import Squeeze
from ncsr.flow.step import ConditionalStep, StepCondition, TransitionStep
from ncsr.flow.upsampled import conv3x3_enlarged

NOISE_CHANNELS = {"noise": 3, "std": 1, "none": 0}


class Level(Bijection):
    """(N, C, H, W) to (N, 4 C, H / 2, W / 2) through all steps; the condition is a `StepCondition` for each.

    Args:
        channels: C, before the squeeze.
        up: channels of the enlarged features.
        stack: channels of the stacked block outputs.
        noise_steps: how many of the steps, counted from the last, have a noise conditional layer.
        config: of the flow.
    """

    def __init__(self, channels: int, up: int, stack: int, noise_steps: int, config: FlowConfig) -> None:
        super().__init__()
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

    def encode(self, x: Tensor, condition: Sequence[StepCondition]) -> tuple[Tensor, Tensor]:
        return encode_chain(self._chain(condition), x)

    def decode(self, z: Tensor, condition: Sequence[StepCondition]) -> tuple[Tensor, Tensor]:
        return decode_chain(self._chain(condition), z)

    def _chain(self, condition: Sequence[StepCondition]) -> Chain:
        return [
            (self.squeeze, None),
            *((transition, None) for transition in self.transitions),
            *zip(self.steps, condition, strict=True),
        ]

    def see(self, up: Tensor, stack: Tensor, dtype: torch.dtype) -> list[StepCondition]:
        """The conditions of all steps from u = cat(up, enlarged stack), by one wide convolution.

        Args:
            up: (B, nf, H, W) features at this level's size.
            stack: (B, m nf, h, w) block outputs at this level's size or a power of two smaller.
            dtype: of the injectors' shifts and scales.
        """
        subnets = [subnet for step in self.steps for subnet in (step.injector.subnet, step.coupling.subnet)]
        weight = torch.cat([subnet.first.context_weight() for subnet in subnets])
        nf, factor = up.shape[1], up.shape[-1] // stack.shape[-1]
        if factor == 1:
            wide = F.conv2d(torch.cat((up, stack), 1), weight, padding=1)
        else:
            wide = F.conv2d(up, weight[:, :nf], padding=1) + conv3x3_enlarged(stack, weight[:, nf:], factor)
        # Each part is added to every sample: a copy of its own is read faster than a slice of wide rows.
        parts = iter([part.contiguous(memory_format=torch.channels_last) for part in wide.chunk(len(subnets), 1)])
        return [
            StepCondition(step.injector.subnet(None, injector, dtype), coupling)
            for step, injector, coupling in zip(self.steps, parts, parts, strict=True)
        ]

    def feel(self, condition: Sequence[StepCondition], noise: Tensor) -> list[StepCondition]:
        """`condition` with the noise's share added.

        Args:
            condition: from `see`.
            noise: (B, 3, H, W) noise image, or (B, 1, H, W) standard deviation, at this level's size.
        """
        layers = [step.noise_layer for step in self.steps]
        weights = [layer.subnet.first.context_weight() for layer in layers if layer is not None]
        if not weights:
            return list(condition)
        parts = iter(F.conv2d(noise, torch.cat(weights), padding=1).chunk(len(weights), 1))
        return [
            c if layer is None else c._replace(noise=next(parts)) for c, layer in zip(condition, layers, strict=True)
        ]
