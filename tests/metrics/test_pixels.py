"""Images as they are saved, and their crops."""

from __future__ import annotations

import torch

from ncsr import metrics
from tests.metrics.made import random_images


def test_eight_bit() -> None:
    levels = torch.tensor([-3.0, 0.4, 0.6, 99.5 + 1e-3, 254.9, 300.0]).expand(3, 1, 6) / 255
    assert metrics.eight_bit(levels)[0, 0].tolist() == [0, 0, 1, 100, 255, 255]
    assert metrics.eight_bit(levels, truncate=True)[0, 0].tolist() == [0, 0, 0, 99, 254, 255]
    stored = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    assert torch.equal(metrics.eight_bit(stored, truncate=True), stored)
    assert torch.equal(metrics.eight_bit(stored.float() / 255), stored)


def test_crop_to_multiple_keeps_the_top_left() -> None:
    image = random_images(3, 13, 17)
    assert torch.equal(metrics.crop_to_multiple(image, 8), image[:, :8, :16])
