"""The noise of the noise conditional layer (paper, section 3.3).

For every training image: c ~ U(0, M), v ~ N(0, c^2 I) of HR size, and

    x+ = x + v,    y+ = y + bicubic(v, 1/s),    minimise -log p(x+ | y+, v).

The LR noise is the HR noise reduced as LR images are, never rounded. Sampling and evaluation use v = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ncsr.ops.transfer import to_device

CPU = torch.device("cpu")


def draw_noise(
    streams: Sequence[np.random.Generator], height: int, width: int, most: float, device: torch.device = CPU
) -> tuple[Tensor, Tensor]:
    """One noise image per random stream, its standard deviation uniform in [0, most] (M: 0.05 at x4, 0.03 at x8).

    Args:
        streams: one generator per image, so that an example's noise does not depend on its batch.
        height: H of the HR image.
        width: W of the HR image.
        most: M, the largest standard deviation.
        device: where v is drawn: on each kind of device other numbers, with the same standard deviations.

    Returns:
        v (B, 3, H, W) and its standard deviations c (B,), float32 in units of the image range [0, 1].
    """
    std = to_device(torch.tensor([most * stream.random() for stream in streams], dtype=torch.float32), device)
    return std[:, None, None, None] * draw_fields("normal", streams, height, width, device), std


def draw_fields(
    kind: Literal["normal", "uniform"],
    streams: Sequence[np.random.Generator],
    height: int,
    width: int,
    device: torch.device = CPU,
) -> Tensor:
    """Standard normal numbers, or uniform ones in [0, 1), (B, 3, H, W) in float32, one image per random stream."""
    if device.type != "cpu":
        return _draw_on_device(kind, streams, height, width, device)
    names = {"normal": "standard_normal", "uniform": "random"}
    draws = [getattr(stream, names[kind])((3, height, width), dtype=np.float32) for stream in streams]
    return torch.from_numpy(np.stack(draws))


def _draw_on_device(
    kind: str, streams: Sequence[np.random.Generator], height: int, width: int, device: torch.device
) -> Tensor:
    """`draw_fields` by a generator of the device, whose seeds are drawn from the streams."""
    draw = torch.randn if kind == "normal" else torch.rand
    generator = torch.Generator(device)
    seeds = [int(stream.integers(2**63)) for stream in streams]
    fields = [draw(3, height, width, generator=generator.manual_seed(seed), device=device) for seed in seeds]
    return torch.stack(fields)
