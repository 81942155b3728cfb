"""Split: half of the channels leave the flow as a latent, with a prior that the other half predicts (Glow; SRFlow)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncsr.flow.bijection import sum_except_batch
from ncsr.flow.subnet import ZeroConv


class Split(nn.Module):
    """x = (kept, x2), latent = (x2 - mean(kept)) / sigma(kept): x2 ~ N(mean, sigma^2) makes the latent standard normal.

    The log-determinant -sum log sigma and the latent's standard normal log-density add up to log N(x2; mean, sigma).

    Args:
        channels: of the input, even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.prior = ZeroConv(channels // 2, channels)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, C, H, W) to kept and latent, (N, C / 2, H, W) each, and the log-determinant (N,)."""
        kept, latent, log_sigma = self._encode(x)
        return kept, latent, -sum_except_batch(log_sigma)

    def encode_by_pixel(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`encode` with the share of each pixel in the log-determinant, (N, H, W)."""
        kept, latent, log_sigma = self._encode(x)
        return kept, latent, -log_sigma.sum(1)

    def decode(self, kept: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `encode`, with its own log-determinant (N,)."""
        mean, log_sigma = self._prior(kept)
        return torch.cat((kept, latent * log_sigma.exp() + mean), 1), sum_except_batch(log_sigma)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Kept, latent and log sigma."""
        kept, x2 = x.chunk(2, 1)
        mean, log_sigma = self._prior(kept)
        return kept, (x2 - mean) * (-log_sigma).exp(), log_sigma

    def _prior(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(kept.device.type, enabled=False):
            y = self.prior(kept)
        return y[:, 0::2], y[:, 1::2]
