"""The encoder: its dense blocks' numbers and derivatives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.encoder import DenseBlock
from tests.models import enliven


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def lively_block(features: int = 4, growth: int = 2) -> DenseBlock:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return enliven(DenseBlock(features, growth))


def plain_dense_block(block: DenseBlock, x: Tensor) -> Tensor:
    """The block as ESRGAN's paper draws it, without a shortcut anywhere."""
    features = x
    for conv in block.convs[:4]:
        new = F.leaky_relu(F.conv2d(features, conv.weight, conv.bias, padding=1), 0.2)
        features = torch.cat((features, new), 1)
    return x + 0.2 * F.conv2d(features, block.convs[4].weight, block.convs[4].bias, padding=1)


@pytest.fixture(params=["AVX2", "AVX512"])
def _processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight gradients as both kinds of processors have them."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)


processors = pytest.mark.usefixtures("_processors")


@processors
def test_dense_block() -> None:
    block, x = lively_block().double(), drawn(2, 4, 5, 3).requires_grad_()
    expected, actual = plain_dense_block(block, x), block(x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
    direction, inputs = drawn(*expected.shape, seed=2), [x, *block.parameters()]
    gradients = [torch.autograd.grad(y, inputs, direction) for y in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


@processors
def test_dense_block_has_second_derivatives() -> None:
    """d |dL/dW|^2 / dx, as a penalty on gradients takes it."""
    block, x = lively_block().double(), drawn(1, 4, 5, 3).requires_grad_()
    penalties = []
    for y in (block(x), plain_dense_block(block, x)):
        gradients = torch.autograd.grad(y.square().sum(), list(block.parameters()), create_graph=True)
        penalty = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        penalties.append(torch.autograd.grad(penalty, x)[0])
    torch.testing.assert_close(*penalties, rtol=1e-10, atol=0)


@processors
@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_dense_block_of_which_a_part_is_trained(kind: str) -> None:
    block, x = lively_block().double(), drawn(1, 4, 3, 3)
    for name, parameter in block.named_parameters():
        parameter.requires_grad_(name.endswith(kind))
    trained = [p for p in block.parameters() if p.requires_grad]
    gradients = [torch.autograd.grad(y.square().sum(), trained) for y in (block(x), plain_dense_block(block, x))]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


@processors
def test_dense_block_that_is_not_trained() -> None:
    block, x = DenseBlock(4, 2).requires_grad_(False), drawn(1, 4, 3, 3, dtype=torch.float32).requires_grad_()
    block(x).sum().backward()
    assert x.grad is not None
    assert not block(x.detach()).requires_grad


@processors
def test_dense_block_in_bfloat16_is_near_float32() -> None:
    block, x = lively_block(8, 4), drawn(1, 8, 6, 6, dtype=torch.float32)
    gradients = []
    for low in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y = block(x)
        gradients.append(torch.autograd.grad(y.float().square().sum(), list(block.parameters())))
    for low_gradient, gradient in zip(*gradients, strict=True):
        assert low_gradient.dtype == torch.float32
        assert low_gradient.sub(gradient).norm() < 0.2 * gradient.norm()
