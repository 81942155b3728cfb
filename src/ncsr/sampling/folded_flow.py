"""Sampling fast: `Flow.see` and `Flow.decode` without gradients, noise and log-determinants, constants folded.

Nothing new is computed here, and tests hold it equal to the flow. `FastFlow` holds what the weights alone decide:

    coupling, noise layer   actnorms and gains folded; the last convolution gives -shift and raw + 2, each in one piece
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

from ncsr.encoder import Features
from ncsr.flow.flow import Flow
from ncsr.flow.level import Level
from ncsr.flow.step import ConditionalStep, StepCondition, TransitionStep
from ncsr.flow.subnet import ATAN_BOUND, Affine, NormedConv, Subnet
from ncsr.ops.conv import by_image, channels_last
from ncsr.ops.prepacked_conv import FixedConv, copy_of
from ncsr.ops.upsampled_conv import Seen, split_kernel

_CACHE_BYTES = 12 * 2**20  # hidden activations of one convolution, on a CPU
_MEMORY_BYTES = 256 * 2**20  # the same where there is no such cache to stay in


class FastFlow:
    """The constants of a flow; a later change of its weights is not seen.

    Args:
        flow: as it is now.
        dtype: of the convolutions. The flow variable, its shifts and scales are as the weights are.
    """

    @torch.no_grad()
    def __init__(self, flow: Flow, dtype: torch.dtype) -> None:
        self.sights, self.splits = flow.sights, [copy_of(split) for split in flow.splits]
        self.levels = [
            _FastLevel(level, flow.scale >> (i + 1) > 1, dtype)  # the stack has the LR size, or half of it
            for i, level in enumerate(flow.levels)
        ]

    @torch.no_grad()
    def see(self, features: Features) -> list[list[StepCondition]]:
        """`Flow.see`."""
        return [level.see(Seen(*seen)) for level, seen in zip(self.levels, self.sights(features), strict=True)]


class FastDecoder:
    """Latents to images, for the LR images of one space.

    Args:
        fast: the flow.
        conditions: from `FastFlow.see`.
    """

    def __init__(self, fast: FastFlow, conditions: Sequence[Sequence[StepCondition]]) -> None:
        self.fast, self.conditions = fast, conditions

    @property
    def together(self) -> int:
        """How many samples are worth decoding at a time."""
        return _together(self.conditions[-1][0].coupling)

    @torch.no_grad()
    def __call__(self, latents: Sequence[Tensor]) -> Tensor:
        """The HR images (n B, 3, H, W) of latents (n B, C, H, W), fine to coarse; not clamped."""
        h, splits = latents[-1], self.fast.splits
        with torch.autocast(h.device.type, enabled=False):
            for index in reversed(range(len(self.conditions))):
                if index < len(splits):
                    h, _ = splits[index].decode(h, latents[index])
                h = self.fast.levels[index].decode(h, self.conditions[index])
        return h


class _FastLevel:
    def __init__(self, level: Level, enlarged: bool, dtype: torch.dtype) -> None:
        self.steps = [
            _FastStep(step, () if i else level.transitions, level.up, enlarged, dtype)
            for i, step in enumerate(level.steps)
        ]

    def see(self, seen: Seen) -> list[StepCondition]:
        return [step.see(seen) for step in self.steps]

    def decode(self, z: Tensor, conditions: Sequence[StepCondition]) -> Tensor:
        parts = []
        for part in z.split(_together(conditions[0].coupling) * len(conditions[0].coupling)):
            h = part.clone(memory_format=torch.channels_last)
            for step, condition in zip(reversed(self.steps), reversed(conditions), strict=True):
                h = step.decode(h, condition)
            parts.append(F.pixel_shuffle(h, 2))
        return torch.cat(parts)


class _FastStep:
    def __init__(
        self, step: ConditionalStep, before: Sequence[TransitionStep], up: int, enlarged: bool, dtype: torch.dtype
    ) -> None:
        self.dtype, exact = dtype, step.conv1x1.weight
        injector, coupling = step.injector.subnet, step.coupling.subnet
        # Rounded shifts would move the image's local means: the injector goes on as the weights are.
        self.injector = _Affine(injector, exact.dtype, sign=1)
        layers = [coupling] if step.noise_layer is None else [coupling, step.noise_layer.subnet]
        self.couplings = [
            (FixedConv(*layer.first.folded(), dtype, slope=0), _Affine(layer, dtype, sign=-1)) for layer in layers
        ]
        self.seeing = [_seeing(net.first, up, enlarged, dtype) for net in (injector, coupling)]
        matrix, offset = _inverse(step)
        matrix = -matrix
        for transition in reversed(before):
            m, v = _inverse(transition)
            matrix, offset = m @ matrix, m @ offset + v
        self.affine = FixedConv(matrix[:, :, None, None].to(exact), offset.to(exact), exact.dtype)

    def see(self, seen: Seen) -> StepCondition:
        by_injector, by_coupling = self.seeing
        shift, scale = self.injector(seen.convolve(by_injector, self.injector.exact).relu_())
        injection = Affine(channels_last(shift), channels_last(scale))
        return StepCondition(injection, seen.convolve(by_coupling, self.injector.exact).to(self.dtype))

    def decode(self, h: Tensor, condition: StepCondition) -> Tensor:
        h1, h2 = h.chunk(2, 1)
        h1 = channels_last(h1.to(self.dtype))
        for (first, affine), context in zip(self.couplings, (condition.coupling, None), strict=False):
            minus_shift, scale = affine(first(h1, context))
            torch.addcdiv(minus_shift, h2, scale, out=h2)
        shift, scale = condition.injection
        images = by_image(h, shift)
        torch.addcdiv(shift, images, scale, value=-1, out=images)
        return self.affine(h)  # type: ignore[no-any-return]


def _seeing(layer: NormedConv, up: int, enlarged: bool, dtype: torch.dtype) -> list[FixedConv]:
    """For `Seen.convolve`. Of a layer without inputs the bias is seen, too, and is exact, as the largest product is.

    Both cost little where features are enlarged. A rounded bias has the same error everywhere.
    """
    weight, bias = layer.context_weight(), None if layer.inputs else layer.folded()[1]
    first, *products = split_kernel(weight, up, enlarged=enlarged)
    if not products:
        return [FixedConv(first, bias, dtype)]
    values = FixedConv(products[0], bias, dtype if layer.inputs else weight.dtype)
    return [FixedConv(first, None, dtype), values, *(FixedConv(kernel, None, dtype) for kernel in products[1:])]


class _Affine:
    """A subnet after its first convolution and ReLU: the shift times `sign`, and the scale, both as its weights are."""

    def __init__(self, subnet: Subnet, dtype: torch.dtype, sign: int) -> None:
        weight, bias = subnet.last.folded()
        shift, raw = (slice(0, None, 2), slice(1, None, 2))
        self.exact, self.sigmoid, self.outputs = weight.dtype, subnet.bound == "sigmoid", len(bias) // 2
        spare = -len(bias) % 8  # whole vectors are faster
        weights = (sign * weight[shift], weight[raw], weight.new_zeros(spare, *weight.shape[1:]))
        biases = (sign * bias[shift], bias[raw] + 2 if self.sigmoid else bias[raw], bias.new_zeros(spare))
        self.second = FixedConv(*subnet.second.folded(), dtype, slope=0)
        self.last = FixedConv(torch.cat(weights), torch.cat(biases), dtype)

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        y = self.last(self.second(y)).to(self.exact)
        scale = y.sigmoid().add_(1e-4) if self.sigmoid else y.mul(2).atan_().mul_(ATAN_BOUND).exp_()
        return y[:, : self.outputs], scale[:, self.outputs : 2 * self.outputs]


def _inverse(step: ConditionalStep | TransitionStep) -> tuple[Tensor, Tensor]:
    """The inverses of 1x1 convolution and actnorm, one after the other, as x = matrix z + offset, in float64."""
    actnorm = step.actnorm
    inverse = step.conv1x1.inverse()
    return inverse * (-actnorm.log_scale).exp().to(inverse)[:, None], -actnorm.bias.to(inverse)


def _together(context: Tensor) -> int:
    """How many samples' hidden activations, of one image each as large as the context, are worth having at a time."""
    budget = _CACHE_BYTES if context.device.type == "cpu" else _MEMORY_BYTES
    return max(1, budget // (context.numel() * context.itemsize))
