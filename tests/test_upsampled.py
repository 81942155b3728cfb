"""The convolution of an enlargement, done at the small size, is that convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.flow.upsampled import conv3x3_enlarged


def plain(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=factor, mode="nearest"), weight, padding=1)


@pytest.mark.parametrize("size", [(5, 4), (1, 1)])
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_equals_the_plain_convolution(factor: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    expected, actual = plain(x, weight, factor), conv3x3_enlarged(x, weight, factor)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    direction = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    expected_gradients = torch.autograd.grad(expected, (x, weight), direction)
    torch.testing.assert_close(
        torch.autograd.grad(actual, (x, weight), direction), expected_gradients, rtol=0, atol=1e-11
    )


def test_channels_last_and_single_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 8, 6, 5, generator=generator).to(memory_format=torch.channels_last)
    weight = torch.randn(4, 8, 3, 3, generator=generator).to(memory_format=torch.channels_last)
    torch.testing.assert_close(conv3x3_enlarged(x, weight, 4), plain(x, weight, 4), rtol=0, atol=1e-4)
