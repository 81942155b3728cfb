"""SSIM against its formula, window by window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ncsr import metrics
from tests.metrics.made import Measure, assert_one_sentence, random_images


def ssim_by_hand(a: Tensor, b: Tensor) -> float:
    """Of one channel (H, W), by the formula: the windows wholly inside, one by one."""
    taps = torch.exp(-((torch.arange(11) - 5).double() ** 2) / (2 * 1.5**2))
    window = taps[:, None] * taps / taps.sum() ** 2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = (image[top : top + 11, left : left + 11].double() for image in (a, b))
            mean_x, mean_y = (window * x).sum(), (window * y).sum()
            xx, yy, xy = ((window * u * v).sum() for u, v in ((x, x), (y, y), (x, y)))
            c1, c2 = 0.01**2, 0.03**2
            luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
            values.append(luminance * structure)
    return torch.stack(values).mean().item()


def test_ssim_by_hand() -> None:
    a = random_images(2, 14, 17)
    b = 0.6 * a + 0.3 * random_images(2, 14, 17, seed=1)
    expected = (ssim_by_hand(a[0], b[0]) + ssim_by_hand(a[1], b[1])) / 2
    assert metrics.ssim(a, b).item() == pytest.approx(expected, abs=1e-5)
    assert metrics.ssim(a, a).item() == pytest.approx(1, abs=1e-6)
    assert metrics.ssim(a, b, shave=1) == metrics.ssim(a[:, 1:-1, 1:-1], b[:, 1:-1, 1:-1])


def test_ssim_of_samples() -> None:
    samples, hr = random_images(3, 2, 3, 24, 28), random_images(2, 3, 24, 28, seed=1)
    for measure, of_image in ((metrics.luma_ssim, metrics.luma), (metrics.rgb_ssim, lambda x: x)):
        values = measure(samples, hr, 4)
        assert values.shape == (3, 2)
        a, b = (of_image((x * 255).round() / 255) for x in (samples[2, 1], hr[1]))
        assert values[2, 1].item() == pytest.approx(metrics.ssim(a, b, shave=4).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda x: metrics.ssim(x, x), "11 x 11 pixels or more, got 8 x 8"),
        (lambda x: metrics.ssim(metrics.eight_bit(x), x), "floating-point"),
        (lambda x: metrics.luma_ssim(x, x[..., :4, :], 1), "same .* got"),
    ],
)
def test_wrong_input_is_one_sentence(measure: Measure, words: str) -> None:
    assert_one_sentence(measure, words)
