"""Where a photograph is looked at close up."""

from __future__ import annotations

import torch

from ncsr.evaluation.crops import find_crops, find_textured_crop


def test_crops_of_errors() -> None:
    hr = torch.full((3, 200, 240), 128, dtype=torch.uint8)
    hr[:, :, 120:] = torch.randint(256, (3, 200, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    error = torch.ones(200, 240)
    error[:, :110] = 0  # where nothing can be wrong
    error[8:72, 160:224] = 9
    error[120:184, 168:232] = 0.5
    assert find_crops(error, hr) == {"worst": (8, 160, 64), "best": (120, 168, 64)}


def test_textured_crop_is_where_the_photograph_varies() -> None:
    hr = torch.full((3, 256, 320), 100, dtype=torch.uint8)
    noise = torch.randint(256, (1, 120, 120), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    hr[:, 64:184, 128:248] = noise
    top, left, side = find_textured_crop(hr, 4)
    assert side == 128
    assert abs(left - 124) <= 4
    assert abs(top - 60) <= 4
    assert find_textured_crop(hr[:, :40, :60], 4).side == 40
