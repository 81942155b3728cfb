"""Decoding samples fast: `Flow.decode` without noise and without log-determinants, its constants folded.

Nothing new is computed here, and tests hold it equal to the flow. What is saved, in decoding order:

    coupling, noise layer   weights folded; the last convolution gives -shift and raw + 2, each in one piece
    injector                shift - z / scale, in one pass
    1x1 convolution         its inverse, the actnorm's and that minus sign are one affine map of the channels, M h + v;
                            a level's first step and its two transitions share one

The flow variable changes in place. Each level decodes only so many samples at a time that what lies between its
convolutions stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.convolution import conv2d
from ncsr.flow.bijection import by_image
from ncsr.flow.flow import Conditions, Flow
from ncsr.flow.level import Level, LevelCondition
from ncsr.flow.step import ConditionalStep, StepCondition, TransitionStep
from ncsr.flow.subnet import ATAN_BOUND, Subnet

_CACHE_BYTES = 12 * 2**20  # hidden activations of one convolution, on a CPU
_MEMORY_BYTES = 256 * 2**20  # the same where there is no such cache to stay in


class FastDecoder:
    """Latents to images, for the LR images of one space.

    Args:
        flow: as it is now; a later change of its weights is not seen.
        conditions: of the LR images, without noise.
        dtype: of the subnets' convolutions.
    """

    @torch.no_grad()
    def __init__(self, flow: Flow, conditions: Conditions, dtype: torch.dtype) -> None:
        self.flow = flow
        self.levels = [_FastLevel(level, c, dtype) for level, c in zip(flow.levels, conditions, strict=True)]

    @property
    def together(self) -> int:
        """How many samples are worth decoding at a time."""
        return self.levels[-1].together

    @torch.no_grad()
    def __call__(self, latents: Sequence[Tensor]) -> Tensor:
        """The HR images (n B, 3, H, W) of latents (n B, C, H, W), fine to coarse; not clamped."""
        h = latents[-1]
        with torch.autocast(h.device.type, enabled=False):
            for index in reversed(range(len(self.levels))):
                if index < len(self.flow.splits):
                    h, _ = self.flow.splits[index].decode(h, latents[index])
                h = self.levels[index](h)
        return h


class _FastLevel:
    def __init__(self, level: Level, condition: LevelCondition, dtype: torch.dtype) -> None:
        known = [step.known(c) for step, c in zip(level.steps, condition, strict=True)]
        self.steps = [
            _FastStep(step, () if i else level.transitions, c, dtype)
            for i, (step, c) in enumerate(zip(level.steps, known, strict=True))
        ]
        seen = known[0].coupling
        budget = _CACHE_BYTES if seen.device.type == "cpu" else _MEMORY_BYTES
        self.together, self.batch = max(1, budget // (seen.numel() * dtype.itemsize)), len(seen)

    def __call__(self, z: Tensor) -> Tensor:
        parts = []
        for part in z.split(self.together * self.batch):
            h = part.clone(memory_format=torch.channels_last)
            for step in reversed(self.steps):
                h = step(h)
            parts.append(F.pixel_shuffle(h, 2))
        return torch.cat(parts)


class _FastStep:
    def __init__(
        self, step: ConditionalStep, before: Sequence[TransitionStep], condition: StepCondition, dtype: torch.dtype
    ) -> None:
        self.shift, self.scale, _ = condition.injection
        self.couplings: list[tuple[_FastSubnet, Tensor | None]] = [
            (_FastSubnet(step.coupling.subnet, dtype), condition.coupling)
        ]
        if step.noise_layer is not None:
            self.couplings.append((_FastSubnet(step.noise_layer.subnet, dtype), None))
        matrix, offset = _inverse(step)
        matrix = -matrix
        for transition in reversed(before):
            m, v = _inverse(transition)
            matrix, offset = m @ matrix, m @ offset + v
        self.matrix, self.offset = _laid_out(matrix[:, :, None, None].to(self.shift)), offset.to(self.shift)

    def __call__(self, h: Tensor) -> Tensor:
        h1, h2 = h.chunk(2, 1)
        for subnet, context in self.couplings:
            minus_shift, scale = subnet(h1, context)
            torch.addcdiv(minus_shift, h2, scale, out=h2)
        images = by_image(h, self.shift)
        torch.addcdiv(self.shift, images, self.scale, value=-1, out=images)
        return conv2d(h, self.matrix, self.offset)


class _FastSubnet:
    def __init__(self, subnet: Subnet, dtype: torch.dtype) -> None:
        weight, bias = subnet.last.folded()
        shift, raw = (slice(0, None, 2), slice(1, None, 2))
        self.sigmoid, self.outputs = subnet.bound == "sigmoid", len(bias) // 2
        spare = -len(bias) % 8  # whole vectors are faster
        weights = (-weight[shift], weight[raw], weight.new_zeros(spare, *weight.shape[1:]))
        biases = (-bias[shift], bias[raw] + 2 if self.sigmoid else bias[raw], bias.new_zeros(spare))
        layers = (subnet.first.folded(), subnet.second.folded(), (torch.cat(weights), torch.cat(biases)))
        self.layers = [(_laid_out(weight.to(dtype)), bias.to(dtype)) for weight, bias in layers]

    def __call__(self, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Minus the shift, and the scale."""
        first, second, last = self.layers
        y = conv2d(h.to(first[0].dtype), *first)
        if context is not None:
            by_image(y, context).add_(context)
        y = conv2d(y.relu_(), *second).relu_()
        y = conv2d(y, *last).to(h.dtype)
        scale = y.sigmoid().add_(1e-4) if self.sigmoid else y.mul(2).atan_().mul_(ATAN_BOUND).exp_()
        return y[:, : self.outputs], scale[:, self.outputs : 2 * self.outputs]


def _inverse(step: ConditionalStep | TransitionStep) -> tuple[Tensor, Tensor]:
    """The inverses of 1x1 convolution and actnorm, one after the other, as x = matrix z + offset, in float64."""
    actnorm = step.actnorm
    inverse = step.conv1x1.inverse()
    return inverse * (-actnorm.log_scale).exp().to(inverse)[:, None], -actnorm.bias.to(inverse)


def _laid_out(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last)
