"""The flow as sampling runs it: `Flow.condition_on_lr` and `Flow.decode` with the constants of the weights folded.

Nothing new is computed here: without gradients, noise and log-determinants it is what the layers state, and the tests
of the layers' laws hold both to the same numbers. Of one conditional step,

    layer                   folded here into
    coupling, noise layer   h2 / scale + (-shift); the last convolution gives -shift and raw + 2, its actnorms, gains,
                            the minus sign and the 2 folded in
    injector                z / scale - shift, computed as -(shift - z / scale), in one pass
    actnorm, 1x1            M h + offset, one affine map of the channels with both inverses and the injector's minus
                            sign; a level's first step and its two transition steps share one

The flow variable changes in place. Each level decodes only so many samples at a time that what lies between its
convolutions stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.encoder import Features
from ncsr.flow.elementwise import ATAN_BOUND
from ncsr.flow.flow import Flow
from ncsr.flow.level import Level
from ncsr.flow.step import ConditionalStep, TransitionStep
from ncsr.flow.subnet import NormedConv, Subnet
from ncsr.ops.conv import by_image, channels_last
from ncsr.ops.precision import float32_products
from ncsr.ops.prepacked_conv import PrepackedConv, copy_without_hooks
from ncsr.ops.upsampled_conv import LevelFeatures, split_kernel

_CACHE_BYTES = 12 * 2**20  # hidden activations of one convolution, on a CPU
_MEMORY_BYTES = 256 * 2**20  # the same on devices without such a cache


class FoldedCondition(NamedTuple):
    """The condition of one folded step, computed from the LR images.

    Attributes:
        shift: the injector's, (B, C, H, W).
        scale: the injector's, (B, C, H, W).
        coupling: the share of the features in the LR coupling's first convolution, (B, hidden, H, W).
    """

    shift: Tensor
    scale: Tensor
    coupling: Tensor


FoldedConditions = Sequence[Sequence[FoldedCondition]]
"""The conditions of all steps of all levels, finest first."""


class FoldedFlow:
    """A flow with its constants folded; a later change of its weights has no effect here.

    Args:
        flow: as it is now.
        dtype: of the convolutions. The flow variable, its shifts and scales have the dtype of the weights.
    """

    @torch.no_grad()
    def __init__(self, flow: Flow, dtype: torch.dtype) -> None:
        # Neither uses the flow's weights.
        self.features, self.feature_pairs = flow.features, flow.feature_pairs
        self.splits = [copy_without_hooks(split) for split in flow.splits]
        self.levels = [
            FoldedLevel(level, flow.scale >> (i + 1) > 1, dtype)  # the stack has the LR size, or half of it
            for i, level in enumerate(flow.levels)
        ]

    @torch.no_grad()
    def condition_on_lr(self, features: Features) -> FoldedConditions:
        """As `Flow.condition_on_lr`, with the injectors' shifts and scales."""
        levels = zip(self.levels, self.feature_pairs(features), strict=True)
        return [level.condition_on_lr(LevelFeatures(*pair)) for level, pair in levels]

    @torch.no_grad()
    def decode(self, latents: Sequence[Tensor], conditions: FoldedConditions) -> Tensor:
        """The HR images (n B, 3, H, W) of latents (n B, C, H, W), fine to coarse; not clamped."""
        h = latents[-1]
        for index in reversed(range(len(self.levels))):
            if index < len(self.splits):
                h, _ = self.splits[index].decode(h, latents[index])
            h = self.levels[index].decode(h, conditions[index])
        return h


class FoldedLevel:
    """All steps of a level as it is now, transitions and squeeze included; for the arguments see `FoldedStep`."""

    def __init__(self, level: Level, enlarged: bool, dtype: torch.dtype) -> None:
        self.steps = [
            FoldedStep(step, () if i else level.transitions, level.up, enlarged, dtype)
            for i, step in enumerate(level.steps)
        ]

    def condition_on_lr(self, features: LevelFeatures) -> Sequence[FoldedCondition]:
        """The conditions of all steps from the level's features."""
        return [step.condition_on_lr(features) for step in self.steps]

    def decode(self, z: Tensor, conditions: Sequence[FoldedCondition]) -> Tensor:
        """(n B, 4 C, H / 2, W / 2) to (n B, C, H, W)."""
        parts = []
        for part in z.split(chunk_size(conditions) * len(conditions[0].coupling)):
            h = part.clone(memory_format=torch.channels_last)
            for step, condition in zip(reversed(self.steps), reversed(conditions), strict=True):
                h = step.decode(h, condition)
            parts.append(F.pixel_shuffle(h, 2))
        return torch.cat(parts)


class FoldedStep:
    """A conditional step, and the transition steps before it.

    Args:
        step: as it is now.
        transitions: the transition steps that come before it when encoding.
        up: channels of the features that have the level's size.
        enlarged: whether the stacked blocks are smaller than the level.
        dtype: of the convolutions.
    """

    def __init__(
        self, step: ConditionalStep, transitions: Sequence[TransitionStep], up: int, enlarged: bool, dtype: torch.dtype
    ) -> None:
        self.dtype, weights = dtype, step.conv1x1.weight.dtype
        injector, coupling = step.injector.subnet, step.coupling.subnet
        # Rounded shifts would move the image's local means, so the injector keeps the dtype of the weights.
        self.injector = FoldedSubnet(injector, weights, sign=1)
        layers = [coupling] if step.noise_layer is None else [coupling, step.noise_layer.subnet]
        self.couplings = [
            (PrepackedConv(*layer.first.folded(), dtype, slope=0), FoldedSubnet(layer, dtype, sign=-1))
            for layer in layers
        ]
        self.context_convs = [_context_convs(net.first, up, enlarged, dtype) for net in (injector, coupling)]
        matrix, offset = inverse_affine(step)
        matrix = -matrix
        for transition in reversed(transitions):
            m, v = inverse_affine(transition)
            matrix, offset = m @ matrix, m @ offset + v
        like = step.conv1x1.weight  # on its device again
        self.affine = PrepackedConv(matrix[:, :, None, None].to(like), offset.to(like), weights)

    def condition_on_lr(self, features: LevelFeatures) -> FoldedCondition:
        """The condition of the step from its level's features."""
        injector, coupling = (features.apply(convs, self.injector.exact) for convs in self.context_convs)
        with float32_products():
            shift, scale = self.injector(injector.relu_())
        return FoldedCondition(channels_last(shift), channels_last(scale), coupling.to(self.dtype))

    def decode(self, h: Tensor, condition: FoldedCondition) -> Tensor:
        """(n B, C, H, W) to the same shape; `h` is overwritten."""
        h1, h2 = h.chunk(2, 1)
        h1 = channels_last(h1.to(self.dtype))
        # The noise layer, if there is one, has no context: in sampling the noise is zero.
        for (first, affine), context in zip(self.couplings, (condition.coupling, None), strict=False):
            minus_shift, scale = affine(first(h1, context))
            torch.addcdiv(minus_shift, h2, scale, out=h2)
        images = by_image(h, condition.shift)
        torch.addcdiv(condition.shift, images, condition.scale, value=-1, out=images)
        with float32_products():
            return self.affine(h)  # type: ignore[no-any-return]


class FoldedSubnet:
    """A subnet after its first convolution and ReLU: the shift times `sign`, and the scale, in the weights' dtype."""

    def __init__(self, subnet: Subnet, dtype: torch.dtype, sign: int) -> None:
        weight, bias = subnet.last.folded()
        shift, raw = (slice(0, None, 2), slice(1, None, 2))
        self.exact, self.sigmoid, self.outputs = weight.dtype, subnet.bound == "sigmoid", len(bias) // 2
        spare = -len(bias) % 8  # whole vectors are faster
        weights = (sign * weight[shift], weight[raw], weight.new_zeros(spare, *weight.shape[1:]))
        biases = (sign * bias[shift], bias[raw] + 2 if self.sigmoid else bias[raw], bias.new_zeros(spare))
        self.second = PrepackedConv(*subnet.second.folded(), dtype, slope=0)
        self.last = PrepackedConv(torch.cat(weights), torch.cat(biases), dtype)

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(N, hidden, H, W) to the signed shift and the scale, (N, outputs, H, W) each."""
        y = self.last(self.second(y)).to(self.exact)
        scale = y.sigmoid().add_(1e-4) if self.sigmoid else y.mul(2).atan_().mul_(ATAN_BOUND).exp_()
        return y[:, : self.outputs], scale[:, self.outputs : 2 * self.outputs]


def chunk_size(conditions: Sequence[FoldedCondition]) -> int:
    """The number of samples of each image that a level decodes at a time: their hidden activations fit into a cache."""
    context = conditions[0].coupling
    budget = _CACHE_BYTES if context.device.type == "cpu" else _MEMORY_BYTES
    return max(1, budget // (context.numel() * context.itemsize))


def _context_convs(layer: NormedConv, up: int, enlarged: bool, dtype: torch.dtype) -> list[PrepackedConv]:
    """The convolutions of the context in a subnet's first layer, as `LevelFeatures.apply` takes them.

    The bias of a layer without other inputs (the injector's) is added here, too. Where features are enlarged, it and
    the largest product have the dtype of the weights: a rounded bias has the same error everywhere, and both cost
    little.
    """
    weight, bias = layer.context_weight(), None if layer.inputs else layer.folded()[1]
    first, *products = split_kernel(weight, up, enlarged=enlarged)
    if not products:
        return [PrepackedConv(first, bias, dtype)]
    values = PrepackedConv(products[0], bias, dtype if layer.inputs else weight.dtype)
    return [PrepackedConv(first, None, dtype), values, *(PrepackedConv(kernel, None, dtype) for kernel in products[1:])]


def inverse_affine(step: ConditionalStep | TransitionStep) -> tuple[Tensor, Tensor]:
    """The inverses of 1x1 convolution and actnorm, one after the other, as x = matrix z + offset, in float64."""
    actnorm = step.actnorm
    inverse = step.conv1x1.inverse()
    return inverse * (-actnorm.log_scale).exp().to(inverse)[:, None], -actnorm.bias.to(inverse)
