"""Pictures that compare samples: the contact sheet, its panels, and the standard-deviation map."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ncsr.images.sheet import FULL_WHITE, contact_sheet, deviation_map, panel_of


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
