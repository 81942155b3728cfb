"""Gradients that are computed in ways of their own are autograd's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ncsr.ops.conv
from ncsr import NCSR
from ncsr.encoder import DenseBlock
from ncsr.ops.conv import conv3x3
from tests.models import enliven, lively_encoder, lively_model


@pytest.fixture(params=["AVX2", "AVX512"])
def _processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight gradients as both kinds of processors have them."""
    monkeypatch.setattr(ncsr.ops.conv, "_BY_TAPS", request.param == "AVX2")


processors = pytest.mark.usefixtures("_processors")


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def lively_block(features: int, growth: int) -> DenseBlock:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return enliven(DenseBlock(features, growth))


def plain_dense_block(block: DenseBlock, x: Tensor) -> Tensor:
    known = x
    for conv in block.convs[:4]:
        known = torch.cat((known, F.leaky_relu(F.conv2d(known, conv.weight, conv.bias, padding=1), 0.2)), 1)
    return x + 0.2 * F.conv2d(known, block.convs[4].weight, block.convs[4].bias, padding=1)


@processors
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 1, 1), (3, 3, 2, 7)])
def test_convolution(shape: tuple[int, int, int, int]) -> None:
    x, weight = drawn(*shape).requires_grad_(), drawn(4, 3, 3, 3, seed=1).requires_grad_()
    expected, actual = F.conv2d(x, weight, padding=1), conv3x3(x, weight)
    torch.testing.assert_close(actual, expected)
    direction = drawn(*expected.shape, seed=2)
    gradients = [torch.autograd.grad(y, (x, weight), direction) for y in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_convolution_of_what_needs_no_gradient() -> None:
    x, weight = drawn(2, 3, 5, 4), drawn(4, 3, 3, 3, seed=1)
    conv3x3(x.requires_grad_(), weight).sum().backward()
    assert x.grad is not None
    conv3x3(x.detach(), weight.requires_grad_()).sum().backward()
    assert weight.grad is not None
    with torch.no_grad():
        assert conv3x3(x, weight).grad_fn is None


@processors
def test_dense_block() -> None:
    block, x = lively_block(4, 2).double(), drawn(2, 4, 5, 3).requires_grad_()
    expected, actual = plain_dense_block(block, x), block(x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
    direction, inputs = drawn(*expected.shape, seed=2), [x, *block.parameters()]
    gradients = [torch.autograd.grad(y, inputs, direction) for y in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


@processors
@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_dense_block_of_which_a_part_is_trained(kind: str) -> None:
    block, x = lively_block(4, 2).double(), drawn(1, 4, 3, 3)
    for name, parameter in block.named_parameters():
        parameter.requires_grad_(name.endswith(kind))
    trained = [p for p in block.parameters() if p.requires_grad]
    gradients = [torch.autograd.grad(y.square().sum(), trained) for y in (block(x), plain_dense_block(block, x))]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)


def test_frozen_dense_block() -> None:
    block, x = DenseBlock(4, 2).requires_grad_(False), drawn(1, 4, 3, 3, dtype=torch.float32).requires_grad_()
    block(x).sum().backward()
    assert x.grad is not None
    assert not block(x.detach()).requires_grad


@processors
@pytest.mark.parametrize("part", ["convolution", "dense block"])
def test_bfloat16_is_near_float32(part: str) -> None:
    block = lively_block(8, 4)
    x, weight = drawn(1, 8, 6, 6, dtype=torch.float32), drawn(8, 8, 3, 3, dtype=torch.float32).requires_grad_()
    gradients = []
    for low in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y = conv3x3(x, weight) if part == "convolution" else block(x)
        inputs = [weight] if part == "convolution" else list(block.parameters())
        gradients.append(torch.autograd.grad(y.float().square().sum(), inputs))
    for low_gradient, gradient in zip(*gradients, strict=True):
        assert low_gradient.dtype == torch.float32
        assert low_gradient.sub(gradient).norm() < 0.2 * gradient.norm()


# Recomputing


def gradients_of(model: NCSR, recompute: bool) -> tuple[dict[str, Tensor], int]:
    """Of every parameter, and the bytes that the forward pass kept for them."""
    model.recompute = recompute
    model.zero_grad()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if model.flow is None:
            loss = model.encoder(drawn(2, 3, 8, 6)).square().mean()
        else:
            loss = model(drawn(2, 3, 32, 24), drawn(2, 3, 8, 6, seed=1), 0.1 * drawn(2, 3, 32, 24, seed=2)).mean()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients, sum(size for pointer, size in kept.items() if pointer not in known)


@pytest.mark.parametrize("make", [lively_model, lively_encoder])
def test_recomputing_changes_memory_alone(make: Callable[[], NCSR]) -> None:
    model = make()
    assert not model.recompute
    gradients, kept = gradients_of(model, recompute=False)
    again, kept_again = gradients_of(model, recompute=True)
    assert gradients.keys() == again.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[name], gradient, rtol=0, atol=1e-12)
    assert kept_again < 0.9 * kept
