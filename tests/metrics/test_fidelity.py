"""PSNR against values worked out by hand, and against torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from ncsr import metrics
from ncsr.ops.resize import imresize
from tests.metrics.made import Measure, assert_one_sentence, gray_levels, random_images


def test_luma() -> None:
    colours = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    y = 255 * metrics.luma(colours.T[:, None, :])
    assert y.shape == (1, 1, 5)
    torch.testing.assert_close(y[0, 0], torch.tensor([16, 235, 81.481, 144.553, 40.966]))


def test_psnr() -> None:
    a = torch.zeros(2, 3, 8, 8)
    b = torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), 0.01)])
    torch.testing.assert_close(metrics.psnr(a, b), torch.tensor([20.0, 40.0], dtype=torch.float64))
    assert metrics.psnr(a[0], a[0]) == math.inf
    pooled_pixels = torch.zeros(3, 8, 8)
    pooled_pixels[0, :, 0] = 0.5  # an eighth of one of three channels: MSE 1/96
    torch.testing.assert_close(metrics.psnr(a[0], pooled_pixels).item(), 10 * math.log10(96))
    assert metrics.psnr(a[0], pooled_pixels, shave=1) == math.inf


def test_psnr_of_samples_broadcasts() -> None:
    samples, hr = random_images(4, 2, 3, 8, 8), random_images(2, 3, 8, 8, seed=1)
    values = metrics.psnr(samples, hr)
    assert values.shape == (4, 2)
    assert values[3, 1] == metrics.psnr(samples[3, 1], hr[1])


def test_table_psnr_rounds_and_shaves() -> None:
    hr = gray_levels(torch.full((16, 16), 100.0))
    sr = gray_levels(torch.full((16, 16), 110.4))  # saved as 110
    sr = torch.cat([torch.zeros(3, 4, 16), sr[:, 4:]], 1)  # the black border is shaved off
    torch.testing.assert_close(metrics.rgb_psnr(sr, hr, 4).item(), 20 * math.log10(255 / 10))
    torch.testing.assert_close(metrics.luma_psnr(sr, hr, 4).item(), 20 * math.log10(255 / (10 * 219 / 255)))
    assert metrics.rgb_psnr(sr, hr, 3) < 20


def test_luma_psnr_weighs_channels() -> None:
    hr = torch.full((3, 8, 8), 0.4)
    sr = hr + torch.tensor([0.0, 0.2, 0.0])[:, None, None]
    torch.testing.assert_close(metrics.luma_psnr(sr, hr, 2).item(), 20 * math.log10(255 / (0.2 * 128.553)))


def test_psnr_is_that_of_torchmetrics() -> None:
    a, b = random_images(4, 3, 24, 32).double(), random_images(4, 3, 24, 32, seed=1).double()
    expected = peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="none")
    torch.testing.assert_close(metrics.psnr(a, b), expected, rtol=0, atol=1e-6)  # its log(10) is float32


def test_measures_of_samples_are_those_of_single_images() -> None:
    samples, hr = random_images(3, 2, 3, 24, 32), random_images(2, 3, 24, 32, seed=1)
    lr = imresize(hr, 0.25)
    for values, single in (
        (metrics.luma_psnr(samples, hr, 4), metrics.luma_psnr(samples[2, 1], hr[1], 4)),
        (metrics.rgb_psnr(samples, hr, 4), metrics.rgb_psnr(samples[2, 1], hr[1], 4)),
        (metrics.lr_psnr(samples, lr), metrics.lr_psnr(samples[2, 1], lr[1])),
    ):
        assert values.shape == (3, 2)
        assert values[2, 1] == single


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda x: metrics.psnr(x, x[..., :4, :]), "same .* got"),
        (lambda x: metrics.psnr(metrics.eight_bit(x), x), "floating-point"),
        (lambda x: metrics.psnr(x, x, shave=4), "shaving 4"),
        (lambda x: metrics.luma_psnr(x[:1], x[:1], 1), r"\(\.\.\., 3, H, W\), got \(1, 8, 8\)"),
        (lambda x: metrics.rgb_psnr(x / 0, x, 1), "finite"),
        (lambda x: metrics.rgb_psnr(x.long(), x, 1), "int64"),
    ],
)
def test_wrong_input_is_one_sentence(measure: Measure, words: str) -> None:
    assert_one_sentence(measure, words)
