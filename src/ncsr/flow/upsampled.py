"""A 3x3 convolution of a nearest-neighbour enlargement, done at the small size.

Enlarged by two, the three rows under the kernel are two rows of the small image: at an even output row i = 2 k, the
rows
k - 1, k, k with weights w0, w1, w2, so a two-row kernel (w0, w1 + w2) at k - 1; at an odd one, (w0 + w1, w2) at k.
The same along
columns: each of the four output phases is a 2x2 convolution, 4/9 of the arithmetic, and the border's zeros agree.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv3x3_enlarged(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    """conv3x3 (zero padding, no bias) of x enlarged by `factor` with nearest neighbours, which is never made.

    Args:
        x: (B, C, h, w).
        weight: (O, C, 3, 3).
        factor: a power of two; above 2, all but the last doubling are done by copying.

    Returns:
        (B, O, factor h, factor w).
    """
    if factor == 1:
        return F.conv2d(x, weight, padding=1)
    if factor > 2:
        x = F.interpolate(x, scale_factor=factor // 2, mode="nearest")
    h, w = x.shape[-2:]
    x = F.pad(x, (1, 1, 1, 1))
    kernels = _phase_kernels(_phase_kernels(weight, -1), -2)  # (dy, dx, O, C, 2, 2)
    rows = []
    for dy in (0, 1):
        phases = [F.conv2d(x[..., dy : dy + h + 1, dx : dx + w + 1], kernels[dy, dx]) for dx in (0, 1)]
        rows.append(torch.stack([phase.permute(0, 2, 3, 1) for phase in phases], 3).flatten(2, 3))  # (B, h, w dx, O)
    return torch.stack(rows, 2).flatten(1, 2).permute(0, 3, 1, 2)  # channels last, as the convolutions gave it


def _phase_kernels(weight: Tensor, axis: int) -> Tensor:
    """(2, ...): the two-tap kernels along `axis` of the even and of the odd phase."""
    first, middle, last = weight.unbind(axis)
    return torch.stack((torch.stack((first, middle + last), axis), torch.stack((first + middle, last), axis)))
