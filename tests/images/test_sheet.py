"""Pictures that compare samples: the contact sheet, its panels, and the standard-deviation map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from ncsr import InputError
from ncsr.images.sheet import FULL_WHITE, contact_sheet, deviation_map, grid, panel_of


def test_the_map_of_a_deviation() -> None:
    picture = deviation_map(torch.full((2, 3), 2 / 255))
    assert (picture.mode, picture.size) == ("L", (3, 2))
    assert picture.getextrema() == (round(255 * 2 / FULL_WHITE),) * 2
    assert deviation_map(torch.ones(2, 2)).getextrema() == (255, 255)


def test_contact_sheet_shows_all_at_one_size() -> None:
    small, large = Image.new("RGB", (10, 8), "red"), Image.new("L", (40, 32), 0)
    sheet = contact_sheet([("input", small), *[("sample", large)] * 4], columns=4)
    pixels = np.asarray(sheet)
    red = (pixels == (255, 0, 0)).all(2)
    assert red.sum() == 40 * 32
    ys, xs = np.nonzero(red)
    assert (np.ptp(ys), np.ptp(xs)) == (31, 39)
    assert sheet.width < sheet.height * 3  # four in the first row, one in the second
    large_panels = contact_sheet([("a", Image.new("RGB", (2000, 1000)))] * 2)
    assert large_panels.width < 1100


def test_panels_of_unusual_photographs() -> None:
    assert panel_of(np.full((2, 2, 1), 40000, np.uint16)).getpixel((0, 0)) == (round(40000 / 257),) * 3
    assert panel_of(np.zeros((2, 2, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)
    assert panel_of(np.zeros((1024, 256, 3), np.uint8)).size == (128, 512)


def test_a_grid_shows_every_pixel() -> None:
    images = torch.rand(5, 1, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, 0, 0] = 1.2
    picture = grid(images, columns=3)
    assert (picture.mode, picture.size) == ("RGB", (3 * 16 + 12, 2 * 18 + 12))
    pixels = np.asarray(picture)
    for i in range(5):
        x, y = 12 + i % 3 * 16, 12 + i // 3 * 18
        expected = (images[i, 0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(pixels[y : y + 6, x : x + 4], expected)
    assert (pixels[18:30] == 255).all()
    assert grid(images.byte()[0], 4).size == (28, 30)
    assert grid(images[:, :, :1]).size == (4 * 16 + 12, 48)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(4, 4), torch.zeros(0, 3, 4, 4), torch.zeros(2, 4, 4), torch.zeros(3, 0, 4)]
)
def test_what_is_no_image_is_no_grid(wrong: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"a grid has at least one column of images \(\.\.\., 3, H, W\), got"):
        grid(wrong)
    with pytest.raises(InputError, match=r"a grid is made of a tensor \(\.\.\., 3, H, W\), .* got list"):
        grid([torch.zeros(3, 4, 4)])  # type: ignore[arg-type]
    for values in (torch.full((3, 2, 2), math.nan), torch.ones(3, 2, 2).int()):
        with pytest.raises(InputError, match="a grid shows images in uint8 or finite floating point"):
            grid(values)
