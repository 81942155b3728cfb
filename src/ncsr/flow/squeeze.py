"""Squeeze: every 2 x 2 block of pixels becomes four channels.

Channel c of the input goes to channels 4 c + 2 dy + dx, dy and dx the row and column within the block: of one channel

    1 2
    3 4      becomes four channels of one pixel, 1, 2, 3, 4.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ncsr.flow.bijection import Bijection


class Squeeze(Bijection):
    """(N, C, H, W) to (N, 4 C, H / 2, W / 2); volume is preserved."""

    def encode(self, x: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(x.shape[0])

    def decode(self, z: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return F.pixel_shuffle(z, 2), z.new_zeros(z.shape[0])
