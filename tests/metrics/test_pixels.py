"""Images as they are saved, and their crops."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ncsr import metrics
from ncsr.errors import InputError
from ncsr.ops.resize import imresize
from tests.metrics.made import random_images


def test_eight_bit() -> None:
    levels = torch.tensor([0.0, 0.4, 0.6, 99.5 + 1e-3, 254.9, 255.0]).expand(3, 1, 6) / 255
    assert metrics.eight_bit(levels)[0, 0].tolist() == [0, 0, 1, 100, 255, 255]
    assert metrics.eight_bit(levels, truncate=True)[0, 0].tolist() == [0, 0, 0, 99, 254, 255]
    stored = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    assert torch.equal(metrics.eight_bit(stored, truncate=True), stored)
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert torch.equal(metrics.eight_bit((stored.double() / 255).to(dtype)), stored)


def test_crop_to_multiple_keeps_the_top_left() -> None:
    image = random_images(3, 13, 17)
    assert torch.equal(metrics.crop_to_multiple(image, 8), image[:, :8, :16])


def test_half_precision_is_measured_in_float32() -> None:
    """Squared differences below 2^-24 are zero in float16."""
    a = random_images(3, 16, 16).mul(0.001).half()
    b = a + torch.tensor(2.0**-13).half()
    assert metrics.psnr(a, b) == metrics.psnr(a.double(), b.double())
    torch.testing.assert_close(metrics.ssim(a, b), metrics.ssim(a.float(), b.float()), rtol=0, atol=0)
    low, full = (random_images(3, 32, 32).half(), random_images(3, 32, 32).half().float())
    assert torch.equal(imresize(low, 0.25), imresize(full, 0.25).half())


RGB = random_images(2, 1, 3, 40, 48)
TAKE_IMAGES: dict[str, Callable[[Tensor], object]] = {
    "eight_bit": metrics.eight_bit,
    "luma": metrics.luma,
    "psnr": lambda x: metrics.psnr(x, RGB),
    "psnr of a photograph": lambda x: metrics.psnr(RGB, x),
    "ssim": lambda x: metrics.ssim(x, RGB),
    "luma_psnr": lambda x: metrics.luma_psnr(x, RGB[0], 4),
    "luma_psnr of a photograph": lambda x: metrics.luma_psnr(RGB, x[0], 4),
    "rgb_psnr": lambda x: metrics.rgb_psnr(x, RGB[0], 4),
    "luma_ssim": lambda x: metrics.luma_ssim(x, RGB[0], 4),
    "rgb_ssim": lambda x: metrics.rgb_ssim(x, RGB[0], 4),
    "lr_psnr": lambda x: metrics.lr_psnr(x, RGB[0, ..., :10, :12]),
    "lr_psnr of an LR image": lambda x: metrics.lr_psnr(RGB, x[0, ..., :10, :12]),
    "ntire_lr_psnr": lambda x: metrics.ntire_lr_psnr(x, RGB[0], 4),
    "pixel_deviation": metrics.pixel_deviation,
    "diversity_squared_error": lambda x: metrics.diversity_squared_error(x, RGB[0]),
    "smooth_block_grain": lambda x: metrics.smooth_block_grain(x, RGB[0]),
    "texture": lambda x: metrics.TexturePatches().add(x),
    "dequantised": metrics.dequantised,
    "ntire_lpips": lambda x: metrics.ntire_lpips(metrics.LPIPS(), x, RGB[0]),
    "LPIPS": lambda x: metrics.LPIPS().reference(x),
}
WRONG = {
    "[-1, 1]": (lambda x: 2 * x - 1, r"got values from -.*: bring \[-1, 1\] to \(x \+ 1\) / 2, divide 0..255 by 255"),
    "0..255": (lambda x: 255 * x, r"got values from .* to 25"),
    "just beyond": (lambda x: x.new_ones(x.shape) + 2e-7, r"to 1\.00000024.*clamp"),
    "NaN": (lambda x: x * math.nan, "finite images, got infinities or NaN"),
    "infinity": (lambda x: x / 0, "finite images"),
    "int64": (lambda x: (255 * x).long(), "int64"),
    "bool": (lambda x: x > 0.5, "bool"),
    "NumPy": (lambda x: x.numpy(), "a measure needs images as tensors, got ndarray"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("measure", TAKE_IMAGES)
def test_other_ranges_are_refused(measure: str, name: str) -> None:
    spoil, words = WRONG[name]
    with pytest.raises(InputError, match=words) as error:
        TAKE_IMAGES[measure](spoil(RGB))
    assert "\n" not in str(error.value)


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    for wrong in (
        lambda: metrics.psnr(RGB[:, 0], RGB[0, 0].expand(3, -1, -1, -1)),
        lambda: metrics.psnr(RGB[0, 0, 0], RGB[0, 0, 0]),
        lambda: metrics.lr_psnr(RGB[..., :5, :5], RGB[0]),
        lambda: metrics.lr_psnr(RGB, RGB[0, ..., :0, :0]),
        lambda: metrics.lr_psnr(RGB[:0], RGB[0, ..., :10, :12]),
        lambda: metrics.lr_psnr(RGB[0, 0, 0, 0], RGB[0]),
        lambda: metrics.luma_psnr(RGB[:0], RGB[0], 4),
        lambda: metrics.diversity_squared_error(RGB[:0], RGB[0]),
        lambda: metrics.luma(RGB[..., :1, :, :]),
        lambda: metrics.luma(metrics.eight_bit(RGB)),
    ):
        with pytest.raises(InputError):
            wrong()


def test_measuring_does_not_wait_for_sympy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.broadcast_shapes` imports it at its first call, for most of a second."""
    monkeypatch.delattr(torch, "broadcast_shapes")
    hr = random_images(1, 3, 16, 16)
    samples = torch.stack([hr, hr * 0.5])
    assert metrics.psnr(samples, hr).shape == (2, 1)
    assert metrics.ssim(samples, hr).shape == (2, 1)
