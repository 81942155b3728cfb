"""Convolutions with constant weights are what plain ones are, whatever oneDNN has here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.ops import prepacked_conv
from ncsr.ops.prepacked_conv import PrepackedConv
from ncsr.runtime.timing import gigaflops


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def probed_anew() -> Iterator[None]:
    """oneDNN's operators are looked at again, before the test and after it."""
    prepacked_conv._fuses.cache_clear()
    yield
    prepacked_conv._fuses.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("slope", [0, 0.2, 1])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("onednn", [True, False])
@torch.no_grad()
def test_convolution(
    dtype: torch.dtype, slope: float, kernel: int, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", onednn)
    weight, bias = drawn(8, 5, kernel, kernel), drawn(8)
    layer = PrepackedConv(weight, bias, dtype, slope)
    for side in (6, 6, 6, 9, 9, 9, 6, 1):  # every size alone, again, and after another
        wide = drawn(4, 7, side, side + 1, seed=side)
        given = wide.clone()
        expected = F.conv2d(wide[:, 1:6].to(dtype), weight.to(dtype), bias.to(dtype), padding=kernel // 2).float()
        for addends in (0, 2, 4):  # for each of two images, two samples; for each sample
            addend = drawn(addends, 8, side, side + 1, seed=1).to(dtype)
            actual = layer(wide[:, 1:6], addend) if addends else layer(wide[:, 1:6])
            total = expected + addend.float().repeat(4 // addends, 1, 1, 1) if addends else expected
            assert actual.dtype == dtype
            assert actual.is_contiguous(memory_format=torch.channels_last)
            tolerance = 0.03 if dtype == torch.bfloat16 else 1e-5
            torch.testing.assert_close(actual.float(), F.leaky_relu(total, slope), rtol=tolerance, atol=tolerance)
        assert torch.equal(wide, given)


@pytest.mark.usefixtures("probed_anew")
@pytest.mark.parametrize("fault", ["signature", "numbers", "missing"])
@torch.no_grad()
def test_operators_of_another_version_are_not_used(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, bias, x, addend = drawn(8, 5, 3, 3), drawn(8), drawn(2, 5, 6, 7), drawn(2, 8, 6, 7)

    def pointwise(x: Tensor, weight: Tensor, *arguments: object) -> Tensor:
        if fault == "signature":
            raise RuntimeError("mkldnn::_convolution_pointwise() is missing value for argument 'fused'")
        return x.sum() + torch.zeros(len(x), len(weight), *x.shape[2:])

    operators = SimpleNamespace() if fault == "missing" else SimpleNamespace(_convolution_pointwise=pointwise)
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    layer = PrepackedConv(weight, bias, torch.float32, 0.2)
    assert not layer.fused
    expected = F.leaky_relu(F.conv2d(x, weight, bias, padding=1) + addend, 0.2)
    torch.testing.assert_close(layer(x, addend), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_threads_share_a_convolution() -> None:
    layer = PrepackedConv(drawn(8, 5, 3, 3), None, torch.float32)
    images = [drawn(1, 5, side, side, seed=side) for side in (6, 7, 8)]
    expected = [layer(x) for x in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: layer(images[i % 9 // 3]).sub(expected[i % 9 // 3]).abs().max(), range(600)))
    assert max(found) < 1e-5


def test_counts_its_arithmetic() -> None:
    x, weight = drawn(2, 5, 6, 6), drawn(8, 5, 3, 3)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        layer, addend = PrepackedConv(weight, None, dtype, 0), drawn(1, 8, 6, 6).to(dtype)
        for _ in range(3):
            expected = 2 * 2 * 8 * 36 * 5 * 9 / 1e9
            assert gigaflops(lambda layer=layer: layer(x)) == pytest.approx(expected)  # type: ignore[misc]
            assert gigaflops(lambda layer=layer, a=addend: layer(x, a)) == pytest.approx(expected)  # type: ignore[misc]
