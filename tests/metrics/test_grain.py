"""Grain in smooth blocks against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ncsr import metrics
from ncsr.metrics import streaming
from tests.metrics.made import Measure, assert_one_sentence, gray_levels, random_images


def test_smooth_block_grain() -> None:
    column = torch.arange(16.0).expand(16, 16)
    stripes = 2 * (column % 2) - 1  # standard deviation 1
    blocks = torch.cat([100 + stripes, 100 + 2 * stripes, 100 + 50 * stripes], 1)  # the last is not smooth
    hr = torch.nn.functional.pad(blocks, (0, 5, 0, 3), value=0)
    sample = torch.nn.functional.pad(100 + 3 * torch.cat(3 * [stripes], 1), (0, 5, 0, 3), value=0)
    result = metrics.smooth_block_grain(gray_levels(sample.expand(2, -1, -1)), gray_levels(hr))
    luma_gain = 219 / 255
    assert result.photograph == pytest.approx(luma_gain, abs=1e-4)
    assert result.samples == pytest.approx(3 * luma_gain, abs=1e-4)
    assert result.ratio == pytest.approx(3, abs=1e-4)


def test_grain_of_a_set_is_gathered_piece_by_piece() -> None:
    hr = 0.5 + 0.01 * random_images(2, 3, 48, 64)
    samples = 0.5 + 0.02 * random_images(3, 2, 3, 48, 64, seed=1)
    pieces = [metrics.smooth_block_deviations(samples[:, b], hr[b]) for b in range(2)]
    assert pieces[0][0].shape == (3, 12)
    together = metrics.grain(torch.cat([p[0] for p in pieces], 1), torch.cat([p[1] for p in pieces]))
    assert together == metrics.smooth_block_grain(samples, hr)
    assert together.ratio > 1.5


@pytest.mark.parametrize("level", [0, 0.5, 1])
def test_grain_of_what_is_constant_is_nan(level: float) -> None:
    """Where half of the smooth blocks are of one colour; where they are fewer, the median is of the others."""
    hr = torch.cat((torch.full((3, 32, 64), level), 0.5 + 0.01 * random_images(3, 64, 64)), 1)
    samples = (hr + 0.02 * random_images(3, 3, 96, 64, seed=1)).clamp(0, 1)
    for rows, undefined in ((slice(32), True), (slice(64), True), (slice(96), False)):
        found = metrics.smooth_block_grain(samples[:, :, rows], hr[:, rows])
        assert math.isnan(found.ratio) == undefined
        assert (found.photograph < 1e-9) == undefined
        metric = streaming.SmoothBlockGrain()
        metric.update(samples[:, None, :, rows], hr[None, :, rows])
        assert metric.compute()["grain"].item() == pytest.approx(found.ratio, rel=2e-3, nan_ok=True)


def test_grain_without_smooth_blocks_is_nan() -> None:
    rough = random_images(2, 3, 32, 32)
    assert math.isnan(metrics.smooth_block_grain(rough, rough[0]).ratio)
    small = rough[..., :8, :8]
    assert math.isnan(metrics.smooth_block_grain(small, small[0]).ratio)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda x: metrics.smooth_block_grain(x[None, None], x), "photograph"),
    ],
)
def test_wrong_input_is_one_sentence(measure: Measure, words: str) -> None:
    assert_one_sentence(measure, words)
