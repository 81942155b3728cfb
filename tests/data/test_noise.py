"""The noise of the noise conditional layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ncsr.data import noise
from ncsr.data.crops import random_stream
from ncsr.data.noise import draw_noise


def _streams(count: int, step: int = 0) -> list[np.random.Generator]:
    return [random_stream(0, step, i) for i in range(count)]


@pytest.mark.parametrize("by_torch", [False, True])
def test_noise_is_normal_with_a_uniform_standard_deviation(by_torch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also as GPUs draw it."""
    if by_torch:
        monkeypatch.setattr(noise, "draw_fields", noise._draw_on_device)
    v, std = draw_noise(_streams(200), 16, 24, 0.05)
    assert v.shape == (200, 3, 16, 24)
    assert v.dtype == std.dtype == torch.float32
    assert std.min() >= 0
    assert 0.045 < std.max() <= 0.05
    assert std.mean() == pytest.approx(0.025, abs=0.004)
    assert std.std() == pytest.approx(0.05 / 12**0.5, rel=0.15)
    measured = v.flatten(1).std(1) / std
    torch.testing.assert_close(measured, torch.ones(200), rtol=0, atol=0.1)
    assert v.mean().abs() < 0.001
    unit = (v / std[:, None, None, None]).flatten()
    assert unit.pow(4).mean() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("by_torch", [False, True])
def test_noise_does_not_depend_on_the_batch(by_torch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if by_torch:
        monkeypatch.setattr(noise, "draw_fields", noise._draw_on_device)
    (one, _), (three, _) = draw_noise(_streams(1), 8, 8, 0.05), draw_noise(_streams(3), 8, 8, 0.05)
    assert torch.equal(one[0], three[0])
    assert not torch.equal(one, draw_noise(_streams(1, step=1), 8, 8, 0.05)[0])
    assert not draw_noise(_streams(2), 8, 8, 0.0)[0].any()
