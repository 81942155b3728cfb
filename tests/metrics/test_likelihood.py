"""Dequantised photographs and their bits per dimension."""

from __future__ import annotations

import torch

import ncsr
from ncsr import metrics
from ncsr.ops.resize import imresize
from tests.conftest import scene
from tests.metrics.made import random_images


def test_dequantised_is_half_a_grey_level_around() -> None:
    hr = random_images(2, 3, 16, 16)
    noise = 255 * metrics.dequantised(hr) - metrics.eight_bit(hr)
    assert -0.5 - 1e-4 < noise.min() < -0.45
    assert 0.45 < noise.max() < 0.5 + 1e-4
    assert abs(noise.mean()) < 0.05
    torch.testing.assert_close(noise[0], noise[1], rtol=0, atol=1e-4)  # an image's own, whatever the batch
    assert torch.equal(metrics.dequantised(hr[1]), metrics.dequantised(hr)[1])
    assert not torch.equal(metrics.dequantised(hr, seed=1), metrics.dequantised(hr))


def test_dequantised_bits_per_dim(tiny_model: ncsr.NCSR) -> None:
    hr = torch.from_numpy(scene(32, 40)).movedim(-1, 0).float()[None]
    space = tiny_model.space(imresize(hr, 0.25))
    bits = metrics.dequantised_bits_per_dim(space, hr)
    assert bits.shape == (1,)
    expected = space.bits_per_dim(metrics.dequantised(hr)) + 8
    torch.testing.assert_close(bits, expected.double())
    assert bits != space.bits_per_dim(hr) + 8
