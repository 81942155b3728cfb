"""The noise of the noise conditional layer (paper, section 3.3).

For every training image: c ~ U(0, M), v ~ N(0, c^2 I) of HR size, and

    x+ = x + v,    y+ = y + bicubic(v, 1/s),    minimise -log p(x+ | y+, v).

The LR noise is the HR noise reduced as LR images are, never rounded. Sampling and evaluation use v = 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def draw_noise(streams: Sequence[np.random.Generator], height: int, width: int, most: float) -> tuple[Tensor, Tensor]:
    """One noise image per random stream, its standard deviation uniform in [0, most] (M: 0.05 at x4, 0.03 at x8).

    Args:
        streams: one generator per image, so that an example's noise does not depend on its batch.
        height: H of the HR image.
        width: W of the HR image.
        most: M, the largest standard deviation.

    Returns:
        v (B, 3, H, W) and its standard deviations c (B,), float32 in units of the image range [0, 1].
    """
    std = torch.tensor([most * stream.random() for stream in streams], dtype=torch.float32)
    unit = np.stack([stream.standard_normal((3, height, width), dtype=np.float32) for stream in streams])
    return std[:, None, None, None] * torch.from_numpy(unit), std
