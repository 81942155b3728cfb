"""A photograph in memory, its transparency and its windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ncsr import images
from ncsr.images import Photo, photo_from_array, premultiplied, source_of, straight
from tests.images.samples import check_windows, large_noise, noise

pytestmark = pytest.mark.filterwarnings("error")


def test_premultiplied_and_straight_undo_each_other() -> None:
    photo = photo_from_array(np.maximum(noise(4, np.uint16), 1))
    assert photo.alpha is not None
    torch.testing.assert_close(straight(premultiplied(photo), photo.alpha), photo.rgb, rtol=1e-5, atol=1e-6)
    gone = straight(torch.full((2, 3, 1, 1), 0.5), torch.zeros(2, 1, 1, 1))
    assert gone.abs().max() == 0
    overshoot = straight(torch.full((3, 1, 1), 0.5), torch.full((1, 1, 1), 0.25))
    assert overshoot.max() == 1
    opaque = photo_from_array(noise(3))
    assert premultiplied(opaque) is opaque.rgb


def test_photo_refuses_planes_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="rgb"):
        Photo(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="alpha"):
        Photo(torch.zeros(3, 4, 4), alpha=torch.zeros(1, 2, 2))


def test_public_names() -> None:
    assert all(hasattr(images, name) for name in images.__all__)


def test_a_photo_in_memory() -> None:
    photo = photo_from_array(large_noise(4, "uint8"))
    check_windows(source_of(photo), photo)
    assert source_of(photo).channels == 4
    assert source_of(photo_from_array(large_noise(1, "uint8"))).channels == 1
