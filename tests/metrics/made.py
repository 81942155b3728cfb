"""Images and golden numbers that the tests of the measures share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ncsr.errors import InputError
from tests.parity import golden

Measure = Callable[[Tensor], object]


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def gray_levels(levels: Tensor) -> Tensor:
    """(..., H, W) of 0..255 as RGB images in [0, 1]."""
    return (levels.float() / 255).unsqueeze(-3).expand(*levels.shape[:-2], 3, *levels.shape[-2:])


def ntire_images() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    arrays = golden("ntire_metrics_x4")
    return arrays["samples"].movedim(-1, -3), arrays["gt"].movedim(-1, -3), arrays


def assert_one_sentence(measure: Measure, words: str) -> None:
    """Assert that a measure of a random image (3, 8, 8) is refused in one sentence."""
    with pytest.raises(InputError, match=words) as error:
        measure(random_images(3, 8, 8))
    assert "\n" not in str(error.value)
