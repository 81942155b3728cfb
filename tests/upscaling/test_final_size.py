"""Results of any size: enlarged by the model, then reduced."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ncsr
from ncsr.images import photo_from_array, source_of
from ncsr.ops.resize import imresize
from ncsr.upscaling.estimate import estimate
from ncsr.upscaling.final_size import FinalSize
from ncsr.upscaling.image import enlarge
from ncsr.upscaling.tiling import SampleRequest
from tests.conftest import scene8


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        (FinalSize(3), (30, 36)),
        (FinalSize(2.5), (25, 30)),
        (FinalSize(3.3), (33, 40)),  # 39.6, as MATLAB rounds up
        (FinalSize(1), (10, 12)),
        (FinalSize(4), None),
        (FinalSize(width=36), (30, 36)),
        (FinalSize(width=13), (11, 13)),
        (FinalSize(height=25), (25, 30)),
        (FinalSize(width=37, height=30), (30, 37)),  # by a factor of 3.04, to within a pixel
        (FinalSize(width=48, height=40), None),
    ],
)
def test_sizes(asked: FinalSize, size: tuple[int, int] | None) -> None:
    asked.check(4, False)
    assert asked.of((10, 12), 4) == size


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (FinalSize(width=36, height=36), "12 x 10 pixels, and 36 x 36 are asked for, which would distort it: .*36x"),
        (FinalSize(width=11), "12 x 10 pixels, and 11 x 10 are asked for: there is nothing to enlarge"),
        (
            FinalSize(width=49),
            "49 x 41 are asked for, and the model enlarges by 4: take scale 8, or ask for at most",
        ),
        (FinalSize(height=81), "98 x 81 are asked for, and the model enlarges by 4: ask for at most 48 x 40"),
    ],
)
def test_sizes_that_a_photograph_cannot_get(asked: FinalSize, sentence: str) -> None:
    asked.check(4, False)
    with pytest.raises(ncsr.InputError, match=sentence):
        asked.of((10, 12), 4)


@pytest.mark.parametrize(
    ("asked", "scale", "sentence"),
    [
        (FinalSize(), 4, "either a factor, or a width or a height"),
        (FinalSize(2, 3), 4, "either a factor, or a width or a height"),
        (FinalSize(width=0), 4, "from 1 pixel up"),
        (FinalSize(0.9), 4, "factor must be from 1 to 4, the model's scale, got 0.9$"),
        (FinalSize(float("nan")), 4, "got nan"),
        (FinalSize(5), 4, "got 5; scale 8 gives more"),
        (FinalSize(9), 8, "factor must be from 1 to 8, the model's scale, got 9$"),
    ],
)
def test_sizes_that_none_can_get(asked: FinalSize, scale: int, sentence: str) -> None:
    with pytest.raises(ncsr.InputError, match=sentence):
        asked.check(scale, False)


def test_consistent_images_have_one_size() -> None:
    with pytest.raises(ncsr.InputError, match="leave out the final size, or consistent"):
        FinalSize(2).check(4, True)


def test_every_factor_gives_sizes_that_can_be_asked_for() -> None:
    """As provenance records them, long photographs too."""
    for factor in np.linspace(1, 4, 37):
        for size in ((4, 1000), (7, 9), (333, 50)):
            new = FinalSize(factor).of(size, 4)
            assert new is None or FinalSize(None, new[1], new[0]).of(size, 4) == new


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_levels_are_those_of_the_enlarged_file_reduced(tiny_model: ncsr.NCSR, channels: int) -> None:
    """But for ties, whose sums may round either way; where there is alpha, colours count times it."""
    source = source_of(photo_from_array(scene8(20, 24, channels)))
    request = SampleRequest(1, 0.8, 0)
    whole, final = (enlarge([source], tiny_model, request, 24, [np.uint8], size=size)[0] for size in (None, (60, 72)))
    assert final.shape == (60, 72, channels)
    pixels = torch.from_numpy(whole.pixels(0, whole.rows(0))[0].copy()).permute(2, 0, 1)
    made = torch.from_numpy(final.pixels(0, final.rows(0))[0].copy()).permute(2, 0, 1)
    if channels < 4:
        expected = imresize(pixels, 0.75)
    else:
        planes = pixels / 255
        planes = imresize(torch.cat((planes[:3] * planes[3:], planes[3:])).double(), 0.75).clamp(0, 1)
        expected = (torch.cat((planes[:3] / planes[3:], planes[3:])).clamp(0, 1) * 255).round()
    difference = (made.int() - expected.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.01


def test_plans_count_the_reduction(tiny_model: ncsr.NCSR) -> None:
    source = source_of(photo_from_array(scene8(40, 50)))
    request = SampleRequest(2, 0.8, 0, 16)
    whole, final = (estimate(source, tiny_model, request, ".png", size) for size in (None, (100, 125)))
    assert (final.tiles, final.scratch) == (whole.tiles, whole.scratch)  # drawn as they are
    assert final.memory > whole.memory - 2**25  # strips; the process itself may have shrunk
