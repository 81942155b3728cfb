"""Every measure gives the same number whatever autocast, dtype, device or mode its caller has switched on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr import metrics
from ncsr.metrics import streaming
from ncsr.ops.projection import project
from ncsr.ops.resize import imresize
from tests.ambient import AMBIENT
from tests.metrics.made import random_images
from tests.models import lively_model

SAMPLES, HR = random_images(2, 1, 3, 48, 40), random_images(1, 3, 48, 40, seed=1).mul(0.01).add(0.5)
LR = random_images(1, 3, 12, 10, seed=2)
MODEL = lively_model(dtype=torch.float32)


def measured() -> dict[str, Any]:
    """Figures of all classes of `streaming`, but of likelihoods."""
    measures = streaming.all_measures(4, metrics.LPIPS())
    measures.update(SAMPLES, HR, LR)
    return dict(measures.compute())


def patches(images: Tensor) -> Tensor:
    table = metrics.TexturePatches()
    table.add(images)
    return table.patches()


NUMBERS: dict[str, Callable[[], Any]] = {
    "coverage": lambda: metrics.coverage(metrics.pit_histogram(SAMPLES, HR)),
    "crop_to_multiple": lambda: metrics.crop_to_multiple(HR, 32),
    "crps": lambda: metrics.crps(SAMPLES, HR),
    "dequantised": lambda: metrics.dequantised(HR),
    "dequantised_bits_per_dim": lambda: metrics.dequantised_bits_per_dim(MODEL.space(LR), HR),
    "diversity": lambda: metrics.diversity(SAMPLES[:, 0]),
    "diversity_squared_error": lambda: metrics.diversity_squared_error(SAMPLES, HR),
    "eight_bit": lambda: metrics.eight_bit(HR),
    "grain": lambda: metrics.grain(SAMPLES, HR),
    "imresize": lambda: [imresize(HR, 0.25), imresize(HR, 3), imresize(metrics.eight_bit(HR), 0.125)],
    "LPIPS": lambda: metrics.LPIPS().reference(HR).compare(SAMPLES),
    "lr_psnr": lambda: metrics.lr_psnr(SAMPLES, LR),
    "luma": lambda: metrics.luma(HR),
    "luma_psnr": lambda: metrics.luma_psnr(SAMPLES, HR, 4),
    "luma_ssim": lambda: metrics.luma_ssim(SAMPLES, HR, 4),
    "mean_and_worst": lambda: metrics.mean_and_worst(SAMPLES[:, 0, 0, 0]),
    "ntire_lpips": lambda: metrics.ntire_lpips(metrics.LPIPS(), SAMPLES, HR),
    "ntire_lr_psnr": lambda: metrics.ntire_lr_psnr(SAMPLES, HR, 4),
    "pit_histogram": lambda: metrics.pit_histogram(SAMPLES, HR),
    "pixel_deviation": lambda: metrics.pixel_deviation(SAMPLES),
    "project": lambda: [project(HR, LR), project(HR, LR, 8)],
    "psnr": lambda: metrics.psnr(SAMPLES, HR),
    "rgb_psnr": lambda: metrics.rgb_psnr(SAMPLES, HR, 4),
    "rgb_ssim": lambda: metrics.rgb_ssim(SAMPLES, HR, 4),
    "smooth_block_deviations": lambda: metrics.smooth_block_deviations(SAMPLES, HR),
    "smooth_block_grain": lambda: metrics.smooth_block_grain(SAMPLES, HR),
    "spread_and_error": lambda: metrics.spread_and_error(SAMPLES, HR),
    "ssim": lambda: metrics.ssim(SAMPLES, HR),
    "streaming": measured,
    "TexturePatches": lambda: patches(HR),
    "texture_distance": lambda: metrics.texture_distance(patches(SAMPLES), patches(HR)),
}


def test_every_measure_is_here() -> None:
    named_tuples = {"Grain", "LPIPSReference", "LPIPSScores", "MeanAndWorst"}
    assert set(metrics.__all__) - named_tuples <= set(NUMBERS)


@pytest.fixture(scope="module", autouse=True)
def _few_directions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ncsr.metrics.texture.DIRECTIONS", 16)
        patch.setattr("ncsr.metrics.texture.PATCHES", 256)
        yield


@pytest.mark.parametrize("name", NUMBERS)
def test_the_number_is_the_same(name: str) -> None:
    expected = NUMBERS[name]()
    for ambient, enter in AMBIENT.items():
        if (name, ambient) == ("streaming", "another default device"):  # where torchmetrics keeps its sums
            continue
        with enter():
            number = NUMBERS[name]()
        torch.testing.assert_close(number, expected, rtol=0, atol=0, equal_nan=True, msg=f"{name}, {ambient}")
    torch.testing.assert_close(NUMBERS[name](), expected, rtol=0, atol=0, equal_nan=True)  # nothing was kept of them
