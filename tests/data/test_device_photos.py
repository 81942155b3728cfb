"""Photographs that lie on a device: the crops of the CPU path, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ncsr.data.crops import CropSettings
from ncsr.data.device_photos import photos_on
from ncsr.data.loader import make_batch
from ncsr.data.photos import open_photos
from ncsr.errors import InputError
from tests.data.conftest import photo_folder


def test_crops_are_those_of_the_cpu_path(tmp_path: Path, device: torch.device) -> None:
    photos, _ = open_photos([photo_folder(tmp_path)], 16)
    lying = photos_on(device, photos)
    assert len(lying) == len(photos)
    assert sum(photo.numel() for photo in lying) == photos.decoded_bytes
    settings = CropSettings(crop=16, seed=1, noise=0.05, noise_mix_probability=0.5, dequantise=True)
    for step in range(3):
        expected, actual = (make_batch(source, settings, 4, step, range(4)) for source in (photos, lying))
        assert actual.hr.device.type == device.type
        assert torch.equal(actual.lr.cpu(), expected.lr)
        assert actual.std is not None
        assert expected.std is not None
        assert torch.equal(actual.std.cpu(), expected.std)


def test_broken_photographs_are_left_out(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path)
    for names, left in ((["0.png"], 3), (["1.png", "2.png", "3.png"], 0)):
        photos, _ = open_photos([folder], 16, budget=0, warn=lambda message: None)
        for name in names:
            (folder / name).write_bytes(b"broken")
        if left:
            assert len(photos_on(torch.device("cpu"), photos)) == left
        else:
            with pytest.raises(InputError, match="none of the photographs can be read: check the disk"):
                photos_on(torch.device("cpu"), photos)
