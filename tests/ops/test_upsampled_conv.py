"""The convolution of what a level sees, done at the small size, is that convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.ops.upsampled_conv import LevelFeatures


def plain(up: Tensor, stack: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(torch.cat((up, F.interpolate(stack, up.shape[-2:], mode="nearest")), 1), weight, padding=1)


def drawn(factor: int, size: tuple[int, int], dtype: torch.dtype) -> list[Tensor]:
    """up, stack and weight."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    shapes = [(2, 2, factor * height, factor * width), (2, 3, height, width), (4, 5, 3, 3)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("size", [(5, 4), (1, 1)])
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_equals_the_plain_convolution(factor: int, size: tuple[int, int]) -> None:
    up, stack, weight = (x.requires_grad_() for x in drawn(factor, size, torch.float64))
    expected, actual = plain(up, stack, weight), LevelFeatures(up, stack).conv3x3(weight)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = [torch.autograd.grad(y, (up, stack, weight), direction) for y in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


def test_serves_many_weights() -> None:
    up, stack, weight = drawn(2, (6, 5), torch.float64)
    seen = LevelFeatures(up, stack)
    for scale in (1, 2):
        torch.testing.assert_close(seen.conv3x3(scale * weight), plain(up, stack, scale * weight))


def test_channels_last_and_single_precision() -> None:
    up, stack, weight = (x.to(memory_format=torch.channels_last) for x in drawn(4, (6, 5), torch.float32))
    y = LevelFeatures(up, stack).conv3x3(weight)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, plain(up, stack, weight), rtol=0, atol=1e-4)
