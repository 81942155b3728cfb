"""The encoder: RRDB, ESRGAN's generator (Wang et al. 2018), which NCSR reads features from (paper, section 4.2).

With nearest-neighbour enlargement N and LeakyReLU a of slope 0.2:

    f_0 = conv(LR);  f_i = RRDB_i(f_{i-1});  t = f_nb + conv(f_nb)         (ESRGAN itself: t = f_0 + conv(f_nb))
    up1 = t;  up2 = a(conv(N(up1)));  up4 = a(conv(N(up2)));  up8 likewise;  up0 = up1 reduced bilinearly by two
    SR  = conv(a(conv(last up)))

With autocast or TF32 the convolutions are low in precision, but neither the first, which sees the image (bfloat16
rounds it by half a grey level), nor the sums f_i.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsr.config import EncoderConfig
from ncsr.ops.checkpointing import checkpointed
from ncsr.ops.conv import conv2d
from ncsr.ops.dense_block import RESIDUAL, SLOPE, dense_block
from ncsr.ops.precision import full_precision

Noise: TypeAlias = Iterator[Tensor]
"""Fields of standard normal numbers, each (nf, h, w)."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with zero padding, and its activation.

    Args:
        inputs: channels in.
        outputs: channels out.
        slope: of the LeakyReLU; 1 for none.
        gain: the weights start at Kaiming fan-in times this; the bias starts at zero.
    """

    def __init__(self, inputs: int, outputs: int, slope: float = 1.0, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, 3, padding=1, dtype=torch.float32)
        self.slope = slope
        nn.init.kaiming_normal_(self.weight)
        with torch.no_grad():
            self.weight.mul_(gain)
            self.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        y = conv2d(x, self.weight, self.bias)
        return y if self.slope == 1 else F.leaky_relu(y, self.slope, inplace=True)


def perturb(x: Tensor, noise: Noise | None) -> Tensor:
    """ESRGAN+'s noise, x + 0.1 x N(0, 1), the same for every image of the batch; None: x itself."""
    return x if noise is None else x + 0.1 * x * next(noise).to(x)


class DenseBlock(nn.Module):
    """Five densely connected convolutions; the result is scaled by 0.2 and added to the input.

    Its convolutions start at a tenth of Kaiming's. The reference starts every convolution so; outside the blocks
    that only delays: L1 after 70 steps 0.108 against 0.088 with Kaiming's own (8 crops of 128, 6 blocks).

    With `plus` (ESRGAN+, Rakotonirina and Rasoanaivo 2020): x2 gains a 1x1 convolution of the input, x4 gains x2.
    """

    def __init__(self, features: int, growth: int, *, plus: bool = False) -> None:
        super().__init__()
        inner = [Conv3x3(features + i * growth, growth, SLOPE, gain=0.1) for i in range(4)]
        self.convs = nn.ModuleList([*inner, Conv3x3(features + 4 * growth, features, gain=0.1)])
        self.skip = nn.Conv2d(features, growth, 1, bias=False, dtype=torch.float32) if plus else None

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, features, h, w) to the same shape."""
        on_cpu = x.device.type == "cpu" and not torch.compiler.is_compiling()
        if on_cpu and torch.is_grad_enabled() and self.skip is None and noise is None:
            parameters = list(self.convs.parameters())  # weight, bias, weight, ...
            return dense_block(x, parameters[::2], parameters[1::2])
        features, second = x, x
        for i, conv in enumerate(self.convs[:4]):
            new = conv(features)
            if self.skip is not None and i == 1:
                second = new = new + self.skip(x)
            if self.skip is not None and i == 3:
                new = new + second
            features = torch.cat((features.to(new.dtype), new), 1)  # of two: channels-last copies of more are slower
        return perturb(torch.add(x, self.convs[4](features), alpha=RESIDUAL), noise)


class RRDB(nn.Module):
    """Residual-in-residual dense block: three dense blocks, scaled by 0.2, added to the input."""

    def __init__(self, features: int, growth: int, *, plus: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DenseBlock(features, growth, plus=plus) for _ in range(3))

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, features, h, w) to the same shape."""
        y = x
        for block in self.blocks:
            y = block(y, noise)
        return perturb(torch.add(x, y, alpha=RESIDUAL), noise)


@dataclass(frozen=True)
class Features:
    """The features of LR images.

    Attributes:
        blocks: the outputs of the RRDB blocks that were asked for, each (B, nf, h, w).
        ups: enlargement factor to features: 1, 2, 4 (and 8), each (B, nf, factor h, factor w).
    """

    blocks: list[Tensor]
    ups: dict[int, Tensor]


class Encoder(nn.Module):
    """RRDB network: LR image to features, and (alone) the PSNR-oriented super-resolution.

    Args:
        config: widths, depth and variant.
        scale: 4 or 8.

    Attributes:
        recompute: whether backward computes the inside of every block again instead of keeping it.
    """

    def __init__(self, config: EncoderConfig, scale: int) -> None:
        super().__init__()
        nf, plus = config.features, config.dense_block == "esrgan+"
        self.recompute = False
        self.trunk_skip = config.trunk_skip
        self.first = Conv3x3(3, nf)
        self.blocks = nn.ModuleList(RRDB(nf, config.growth, plus=plus) for _ in range(config.blocks))
        self.trunk = Conv3x3(nf, nf)
        self.ups = nn.ModuleList(Conv3x3(nf, nf, SLOPE) for _ in range(scale.bit_length() - 1))
        self.hr = Conv3x3(nf, nf, SLOPE)
        self.last = Conv3x3(nf, 3)

    def features(
        self, lr: Tensor, *, stacked: Sequence[int] = (), largest: int | None = None, noise: Noise | None = None
    ) -> Features:
        """(B, 3, h, w) in [0, 1] to the features of the blocks `stacked` and of the enlargements 1, 2, 4, ...

        Args:
            lr: LR images.
            stacked: zero-based blocks whose outputs are kept.
            largest: the last enlargement to compute; None: the scale.
            noise: ESRGAN+'s, a field for each `perturb`; None switches it off.
        """
        with full_precision(lr.device):
            first = self.first(lr)
        x, kept = first, {}
        for i, block in enumerate(self.blocks):
            x = checkpointed(block, x, noise, enabled=self.recompute and noise is None)
            if i in stacked:
                kept[i] = x
        trunk = self.trunk(x)
        up = (trunk + (x if self.trunk_skip == "last" else first)).to(trunk.dtype)
        kept = {i: x.to(trunk.dtype) for i, x in kept.items()}
        ups = {1: up}
        for i, conv in enumerate(self.ups):
            if largest is not None and 2**i >= largest:
                break
            up = conv(F.interpolate(up, scale_factor=2, mode="nearest"))
            ups[2 ** (i + 1)] = up
        return Features([kept[i] for i in stacked], ups)

    def forward(self, lr: Tensor, noise: Noise | None = None) -> Tensor:
        """The encoder's own super-resolution: (B, 3, h, w) in [0, 1] to (B, 3, s h, s w), not clamped."""
        ups = self.features(lr, noise=noise).ups
        image: Tensor = self.last(self.hr(ups[max(ups)]))
        return image
