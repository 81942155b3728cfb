"""The kernels for GPUs against the functions that they are, forward and backward; without a GPU, interpreted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr.config import ScaleBound
from ncsr.flow import triton_kernels
from ncsr.flow.elementwise import UNFUSED
from ncsr.flow.triton_kernels import TRITON
from ncsr.ops.conv import channels_last
from tests.flow.test_elementwise import BOUNDS

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = [
    pytest.param((torch.float64, torch.float64, 1e-7), id="float64"),  # constants are float32, and so is the arctangent
    pytest.param((torch.float32, torch.float32, 1e-5), id="float32"),
    pytest.param((torch.bfloat16, torch.float32, 2**-6), id="bfloat16"),  # sums of it, in another order
]
"""Of what convolutions give, of the flow variable and what is learned, and how near results are."""


def randn(*shape: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (scale * torch.randn(shape, dtype=torch.float64, generator=generator)).to(DEVICE, dtype).requires_grad_()


def outputs_and_gradients(function: Callable[..., Any], *arguments: Any) -> list[Tensor]:
    outputs = function(*arguments)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [argument for argument in arguments if isinstance(argument, Tensor)]
    weights = [randn(*output.shape, dtype=torch.float64).detach() for output in outputs]
    total = sum((output.double() * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    assert isinstance(total, Tensor)
    return [*outputs, *torch.autograd.grad(total, wanted)]


def assert_same(one: Callable[..., Any], other: Callable[..., Any], near: float, *arguments: Any) -> None:
    found, expected = (outputs_and_gradients(function, *arguments) for function in (one, other))
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert (a.double() - b.double()).abs().max() <= near * b.double().abs().max()


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("channels", [3, 64])
def test_normalise(dtypes: tuple[torch.dtype, torch.dtype, float], relu: bool, channels: int) -> None:
    low, high, near = dtypes
    x, addend = (channels_last(randn(2, channels, h, w, dtype=low).detach()) for h, w in ((5, 7), (7, 5)))
    of_channels = randn(channels, dtype=high), randn(channels, dtype=high, scale=0.3)
    for other in (None, addend.mT.requires_grad_()):  # which lies in another order
        for dtype in {low, high}:
            arguments = (x.requires_grad_(), other, *of_channels, relu, dtype)
            assert_same(TRITON.normalise, UNFUSED.normalise, near, *arguments)


@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("injects", [True, False])
def test_shift_and_scale(dtypes: tuple[torch.dtype, torch.dtype, float], bound: ScaleBound, injects: bool) -> None:
    """Of more pixels than one program takes, in both memory formats, with raw scales far from and near zero."""
    low, high, near = dtypes
    channels = 6 if injects else 3
    x, raw = randn(2, 6, 30, 20, dtype=high), randn(2, 2 * channels, 30, 20, dtype=low, scale=2)
    of_channels = randn(2 * channels, dtype=high), randn(2 * channels, dtype=high, scale=0.1)
    for layout in (Tensor.contiguous, channels_last):
        image, its_raw = layout(x.detach()).requires_grad_(), layout(raw.detach()).requires_grad_()
        assert_same(TRITON.shift_and_scale, UNFUSED.shift_and_scale, near, image, its_raw, *of_channels, bound)


def test_few_programs_share_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each then takes some rows, and some more."""
    monkeypatch.setattr(triton_kernels, "_PROGRAMS", 2)
    x = channels_last(randn(1, 4, 30, 40, dtype=torch.float32).detach()).requires_grad_()
    of_channels = randn(4, dtype=torch.float32), randn(4, dtype=torch.float32, scale=0.3)
    assert_same(TRITON.normalise, UNFUSED.normalise, 1e-5, x, None, *of_channels, True, torch.float32)
    raw = randn(1, 4, 30, 40, dtype=torch.float32).detach().requires_grad_()
    of_raw = randn(4, dtype=torch.float32), randn(4, dtype=torch.float32, scale=0.1)
    assert_same(TRITON.shift_and_scale, UNFUSED.shift_and_scale, 1e-5, x, raw, *of_raw, "atan")


def test_images_may_share_a_gradient_of_log_determinants() -> None:
    """As in training: it is one number in memory, expanded."""
    arguments = randn(3, 4, 6, 6, dtype=torch.float32), randn(3, 4, 6, 6, dtype=torch.float32)
    of_raw = randn(4, dtype=torch.float32), randn(4, dtype=torch.float32, scale=0.1)
    found, expected = (
        torch.autograd.grad(f.shift_and_scale(*arguments, *of_raw, "atan")[1].sum(), (arguments[1], *of_raw))
        for f in (TRITON, UNFUSED)
    )
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()
