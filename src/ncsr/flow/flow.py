"""The whole flow f: image to latents, given the LR image's features and the noise (paper, section 3).

The layout is SRFlow's:

    encode, for l = 1..L: level l; if l < L - 1, split.            decode: the same backwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsr.config import ModelConfig
from ncsr.encoder import Encoder, Features
from ncsr.flow.level import Level, LevelCondition
from ncsr.flow.split import Split
from ncsr.flow.step import DeferredCondition
from ncsr.ops.upsampled_conv import LevelFeatures

Conditions = Sequence[LevelCondition]
"""The condition of every level, finest first."""


class Flow(nn.Module):
    """f and its inverse.

    Args:
        config: of the model; its `flow` must not be None.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.flow is not None
        self.scale, self.stacked_blocks = config.scale, config.flow.stacked_blocks
        nf = config.encoder.features
        stack = nf * len(config.flow.stacked_blocks)
        levels, splits, channels = [], [], 3
        for index, noise_steps in enumerate(config.flow.noise_steps):
            levels.append(Level(channels, nf, stack, noise_steps, config.flow))
            channels *= 4
            if index + 2 < config.flow.levels:
                splits.append(Split(channels))
                channels //= 2
        self.levels: Sequence[Level] = nn.ModuleList(levels)  # type: ignore[assignment]
        self.splits: Sequence[Split] = nn.ModuleList(splits)  # type: ignore[assignment]

    def latent_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(C, H, W) of every latent of an HR image of height x width, fine to coarse."""
        shapes, channels = [], 3
        for index in range(len(self.levels)):
            channels, height, width = 4 * channels, height // 2, width // 2
            if index < len(self.splits):
                channels //= 2
                shapes.append((channels, height, width))
        return [*shapes, (channels, height, width)]

    def features(self, encoder: Encoder, lr: Tensor) -> Features:
        """The features of LR images (B, 3, h, w) that `condition_on_lr` takes."""
        return encoder.features(lr, stacked=self.stacked_blocks, largest=self.scale // 2)

    def condition_on_lr(self, features: Features) -> Conditions:
        """Everything that depends on the LR image alone, for all steps of all levels.

        Args:
            features: as `features` gives them.
        """
        levels = zip(self.levels, self.feature_pairs(features), strict=True)
        return [level.condition_on_lr(LevelFeatures(*pair)) for level, pair in levels]

    def feature_pairs(self, features: Features) -> Iterator[tuple[Tensor, Tensor]]:
        """u of every level, finest first: enlarged features at its size, and stacked blocks there or smaller."""
        stack = torch.cat(features.blocks, 1)
        for index in range(len(self.levels)):
            factor = self.scale / 2 ** (index + 1)
            if factor < 1:  # up0, half the LR size
                up = F.interpolate(features.ups[1], scale_factor=0.5, mode="bilinear", align_corners=False)
                yield up, stack[..., ::2, ::2]
            else:
                yield features.ups[int(factor)], stack

    def add_noise_condition(self, conditions: Conditions, noise: Tensor) -> Conditions:
        """`conditions` with the share of the noise added.

        Args:
            conditions: as `condition_on_lr` gives them.
            noise: (B, 3, H, W) noise image of HR size, brought to each level's size by PyTorch's bicubic interpolation
                without antialiasing; or (B,) standard deviations.
        """
        noisy = []
        for level, condition in zip(self.levels, conditions, strict=True):
            first = condition[0]
            height, width = (first.features.up if isinstance(first, DeferredCondition) else first.coupling).shape[-2:]
            if noise.dim() == 1:
                n = noise[:, None, None, None].expand(-1, 1, height, width)
            else:
                n = F.interpolate(noise, (height, width), mode="bicubic", align_corners=False)
            noisy.append(level.add_noise_condition(condition, n))
        return noisy

    def encode(self, hr: Tensor, conditions: Conditions) -> tuple[list[Tensor], Tensor]:
        """(N, 3, H, W) to the latents, fine to coarse, and the log-determinant (N,)."""
        h, latents, log_det = hr, [], hr.new_zeros(hr.shape[0])
        for index, (level, condition) in enumerate(zip(self.levels, conditions, strict=True)):
            h, change = level.encode(h, condition)
            log_det = log_det + change
            if index < len(self.splits):
                h, latent, change = self.splits[index].encode(h)
                latents.append(latent)
                log_det = log_det + change
        return [*latents, h], log_det

    def encode_by_pixel(self, hr: Tensor, conditions: Conditions) -> tuple[list[Tensor], list[Tensor]]:
        """`encode` with the log-determinants of all levels by their pixels, (N, H / 2^l, W / 2^l), finest first."""
        h, latents, shares = hr, [], []
        for index, (level, condition) in enumerate(zip(self.levels, conditions, strict=True)):
            h, share = level.encode_by_pixel(h, condition)
            if index < len(self.splits):
                h, latent, change = self.splits[index].encode_by_pixel(h)
                latents.append(latent)
                share = share + change
            shares.append(share)
        return [*latents, h], shares

    def decode(self, latents: Sequence[Tensor], conditions: Conditions) -> tuple[Tensor, Tensor]:
        """The inverse of `encode`, with its own log-determinant (N,)."""
        h = latents[-1]
        log_det = h.new_zeros(h.shape[0])
        for index in reversed(range(len(self.levels))):
            if index < len(self.splits):
                h, change = self.splits[index].decode(h, latents[index])
                log_det = log_det + change
            h, change = self.levels[index].decode(h, conditions[index])
            log_det = log_det + change
        return h, log_det
