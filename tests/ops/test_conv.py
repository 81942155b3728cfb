"""Convolutions: their numbers and derivatives on every kind of processor."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.ops import conv
from ncsr.ops.conv import conv2d


@pytest.fixture(params=["AVX2", "AVX512"])
def _processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight gradients as both kinds of processors have them."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)
    monkeypatch.setattr(conv, "MIN_CHANNELS", 1)


processors = pytest.mark.usefixtures("_processors")


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@processors
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 1, 1), (3, 3, 2, 7)])
def test_values_and_derivatives(shape: tuple[int, int, int, int], kernel: int) -> None:
    x, weight, bias = drawn(*shape), drawn(4, 3, kernel, kernel, seed=1), drawn(4, seed=2)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    expected, actual = F.conv2d(*inputs, padding=kernel // 2), conv2d(*inputs)
    torch.testing.assert_close(actual, expected)
    with torch.no_grad():
        torch.testing.assert_close(conv2d(*inputs), expected)
    gradients = [torch.autograd.grad(y.square().sum(), inputs, create_graph=True) for y in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)
    penalties = [torch.stack([g.square().sum() for g in found]).sum() for found in gradients]
    second = [torch.autograd.grad(penalty, inputs) for penalty in penalties]
    torch.testing.assert_close(*second, rtol=1e-11, atol=1e-9)


@processors
def test_derivatives_of_a_batch_of_directions() -> None:
    """As Jacobians are taken."""
    inputs = [drawn(*shape, seed=i).requires_grad_() for i, shape in enumerate(((2, 3, 3, 2), (4, 3, 3, 3), (4,)))]
    jacobians = []
    for y in (conv2d(*inputs), F.conv2d(*inputs, padding=1)):
        directions = torch.eye(y.numel()).double().view(-1, *y.shape)
        jacobians.append(torch.autograd.grad(y, inputs, directions, is_grads_batched=True))
    torch.testing.assert_close(*jacobians, rtol=0, atol=1e-11)


@processors
def test_what_needs_no_gradient() -> None:
    x, weight, bias = (drawn(*shape, dtype=torch.float32) for shape in ((2, 3, 5, 4), (4, 3, 3, 3), (4,)))
    assert conv2d(x, weight, bias).grad_fn is None
    for wanted in (x, weight, bias):
        wanted.requires_grad_()
        conv2d(x, weight, bias).sum().backward()
        assert wanted.grad is not None
        with torch.no_grad():
            assert conv2d(x, weight, bias).grad_fn is None
        wanted.requires_grad_(False)


@processors
def test_bfloat16_is_near_float32() -> None:
    x, weight = drawn(1, 8, 6, 6, dtype=torch.float32), drawn(8, 8, 3, 3, dtype=torch.float32).requires_grad_()
    gradients = []
    for low in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y = conv2d(x, weight)
        gradients.append(torch.autograd.grad(y.float().square().sum(), weight)[0])
    assert gradients[0].dtype == torch.float32
    assert gradients[0].sub(gradients[1]).norm() < 0.2 * gradients[1].norm()
