"""LR-PSNR: its laws, and the NTIRE 2021 golden numbers."""

from __future__ import annotations

import math

import pytest
import torch

from ncsr import metrics
from ncsr.ops.resize import imresize
from tests.metrics.made import Measure, assert_one_sentence, gray_levels, ntire_images, random_images


@pytest.mark.parametrize("as_float", [False, True])
def test_ntire_lr_psnr_golden(as_float: bool) -> None:
    samples, hr, expected = ntire_images()
    if as_float:
        samples, hr = samples.float() / 255, hr.float() / 255
    values = metrics.ntire_lr_psnr(samples, hr, 4)
    torch.testing.assert_close(values, expected["lr_psnr"], rtol=0, atol=1e-5)
    summary = metrics.mean_and_worst(values[:, None])
    assert summary.mean == pytest.approx(expected["LRPSNR_mean"].item(), abs=1e-5)
    assert summary.worst == pytest.approx(expected["LRPSNR_worst"].item(), abs=1e-5)


def test_mean_and_worst_takes_the_least_per_image() -> None:
    assert metrics.mean_and_worst(torch.tensor([[50.0, 30.0], [40.0, 44.0]])) == (41.0, 35.0)


def test_lr_psnr_of_a_batch() -> None:
    samples, lr = random_images(3, 2, 3, 32, 40), random_images(2, 3, 8, 10, seed=1)
    values = metrics.lr_psnr(samples, lr)
    assert values.shape == (3, 2)
    reduced = imresize((samples[2, 1] * 255).round().to(torch.uint8), 0.25).double()
    error = (reduced - (lr[1] * 255).round().double()).square().mean().item()
    assert values[2, 1].item() == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)


def test_lr_psnr_rounds_or_truncates() -> None:
    sr = gray_levels(torch.full((16, 16), 100.6))
    lr = gray_levels(torch.full((4, 4), 101.0))
    assert metrics.lr_psnr(sr, lr) == math.inf
    assert metrics.lr_psnr(sr, lr, truncate=True).item() == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda x: metrics.lr_psnr(x, x[:, :3, :3]), "whole multiple"),
        (lambda x: metrics.lr_psnr(x, x[:, :2, :4]), "whole multiple"),
        (lambda x: metrics.ntire_lr_psnr(x[None], x, 0), "scale must be 4 or 8, got 0"),
        (lambda x: metrics.ntire_lr_psnr(x[None, :, :7], x[:, :7], 4), "need 8 x 8 pixels, got 8 x 7"),
    ],
)
def test_wrong_input_is_one_sentence(measure: Measure, words: str) -> None:
    assert_one_sentence(measure, words)
