"""Crops follow from (seed, step, index) alone, come from everywhere, and some are mixed with noise."""

from __future__ import annotations

import torch
from torch import Tensor

from ncsr.data.crops import CropSettings, mix_noise, random_crop, random_stream
from tests.data.conftest import (
    place_photos,
)


def test_random_streams_are_reproducible_and_differ() -> None:
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    first = [random_stream(*key).random() for key in keys]
    assert first == [random_stream(*key).random() for key in keys]
    assert len(set(first)) == len(keys)


def test_crops_come_from_everywhere_in_all_orientations() -> None:
    photos = place_photos()
    places, orientations, sources = set(), set(), set()
    for i in range(600):
        crop = random_crop(photos, CropSettings(crop=8), random_stream(0, 0, i)).int()
        assert crop.shape == (3, 8, 8)
        place = crop[0] * 256 + crop[1]
        top, left = divmod(int(place.min()), 24)
        source = int(crop[2, 0, 0])
        original = photos[source][:, top : top + 8, left : left + 8].int()
        turned = [torch.rot90(flipped, k, (1, 2)) for flipped in (original, original.flip(2)) for k in range(4)]
        orientation = [k for k, image in enumerate(turned) if torch.equal(crop, image)]
        assert len(orientation) == 1
        orientations.add(orientation[0])
        places.add((top, left))
        sources.add(source)
    assert orientations == set(range(8))
    assert sources == {0, 1}
    assert {top for top, _ in places} == set(range(13))
    assert {left for _, left in places} == set(range(17))


def test_flips_alone_as_in_the_published_code() -> None:
    photos, turned = place_photos(), 0
    for i in range(60):
        crop = random_crop(photos, CropSettings(crop=8, rotations=False), random_stream(0, 0, i))
        original = random_crop(photos, CropSettings(crop=8), random_stream(0, 0, i))
        assert any(torch.equal(original, torch.rot90(crop, k, (1, 2))) for k in range(4))
        turned += not torch.equal(crop, original)
        place = crop[0].int() * 256 + crop[1].int()
        assert (place.diff(dim=0) == 24).all()  # upright
        assert (place.diff(dim=1).abs() == 1).all()
    assert turned > 30


def test_noise_that_is_mixed_in_is_coarse_or_fine_and_weak_or_strong() -> None:
    grey, grains, ranges = torch.full((3, 20, 20), 128, dtype=torch.uint8), set(), []
    for i in range(300):
        crop = mix_noise(grey, random_stream(0, 0, i)).int()
        assert crop.shape == (3, 20, 20)
        same = [g for g in (1, 2, 4, 8) if torch.equal(crop[:, :16, :16], _coarse(crop[:, :16, :16], g))]
        grains.add(max(same))
        ranges.append(int(crop.max() - crop.min()))
    assert grains >= {1, 2, 4, 8}
    assert min(ranges) < 10
    assert max(ranges) > 240


def _coarse(crop: Tensor, grain: int) -> Tensor:
    """The crop made of squares, each of the colour of its first pixel."""
    return crop[:, ::grain, ::grain].repeat_interleave(grain, 1).repeat_interleave(grain, 2)
