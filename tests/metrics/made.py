"""Images and golden numbers that the tests of the measures share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ncsr.errors import InputError
from tests.parity import golden

ALEXNET = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
"""The shapes of the weights of torchvision's convolutions `features.0`, ..."""
Measure = Callable[[Tensor], object]


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def save_made_alexnet(path: Path) -> Path:
    """A file like torchvision's AlexNet, with made weights."""
    generator, state = torch.Generator().manual_seed(0), {}
    for layer, shape in ALEXNET.items():
        state[f"features.{layer}.weight"] = torch.randn(shape, generator=generator) / (shape[1] * shape[2] ** 2) ** 0.5
        state[f"features.{layer}.bias"] = torch.zeros(shape[0])
    torch.save(state, path)
    return path


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
