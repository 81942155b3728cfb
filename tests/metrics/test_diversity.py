"""The spread of samples against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from ncsr import metrics
from tests.metrics.made import Measure, assert_one_sentence, gray_levels, random_images


def test_pixel_deviation() -> None:
    samples = torch.stack([gray_levels(torch.full((8, 8), level)) for level in (100.0, 102.0, 104.0)])
    assert metrics.pixel_deviation(samples).item() == pytest.approx(2.0, abs=1e-6)
    half_constant = samples.clone()
    half_constant[:, :, :4] = 0.3
    both = torch.stack([samples, half_constant], 1)  # (n, B, 3, H, W)
    torch.testing.assert_close(metrics.pixel_deviation(both), torch.tensor([2.0, 1.0], dtype=torch.float64))


def test_diversity_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3.0]], [[4.0, 2.0]]])  # means 2 and 3; pixelwise best 1 and 2
    assert metrics.diversity(maps).item() == pytest.approx(100 * (2 - 1.5) / 2)
    assert metrics.diversity(maps[:1]) == 0
    assert metrics.diversity(torch.stack([maps, 7 * maps], 1)).tolist() == pytest.approx([25.0, 25.0])
    assert metrics.diversity(torch.zeros(2, 4, 4)) == 0


def test_diversity_squared_error() -> None:
    hr = gray_levels(torch.full((8, 16), 100.0))
    samples = hr.repeat(2, 1, 1, 1)
    samples[0, 0, :, :8] += 10 / 255  # red only: 100 / 3 over the left half
    samples[1, :, :, 8:] += 10 / 255  # 100 over the right half; pixelwise there is no error
    assert metrics.diversity_squared_error(samples, hr).item() == pytest.approx(100.0)
    samples[1] += 5.2 / 255  # saved as 5: 25 left and 225 right; the best image is still the first, 100 / 6
    expected = 100 * (100 / 6 - 25 / 2) / (100 / 6)
    assert metrics.diversity_squared_error(samples, hr).item() == pytest.approx(expected, rel=1e-5)


def test_diversity_squared_error_crops_to_eight() -> None:
    samples, hr = random_images(3, 2, 3, 21, 30), random_images(2, 3, 21, 30, seed=1)
    cropped = metrics.diversity_squared_error(samples[..., :16, :24], hr[..., :16, :24])
    torch.testing.assert_close(metrics.diversity_squared_error(samples, hr), cropped, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda x: metrics.pixel_deviation(x[None]), "two samples"),
        (lambda x: metrics.diversity_squared_error(x, x), "photograph"),
        (lambda x: metrics.diversity_squared_error(x[None, :, :7, :7], x[:, :7, :7]), "need 8 x 8 pixels, got 7 x 7"),
        (lambda x: metrics.diversity(x[:0]), "score maps"),
    ],
)
def test_wrong_input_is_one_sentence(measure: Measure, words: str) -> None:
    assert_one_sentence(measure, words)
