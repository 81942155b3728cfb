"""What tests of photographs share: files of photographs, broken ones, and a packed file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ncsr.data.crops import CropSettings, random_crop, random_stream
from ncsr.data.listing import list_photos
from ncsr.data.packing import pack_photos
from ncsr.data.photos import Photos, open_photos
from tests.conftest import scene8

PACKED_SIZES = [(40, 56), (33, 47), (32, 32), (70, 31)]


def place_photos() -> list[Tensor]:
    """Two photographs in which every pixel's colour is its place."""
    place = torch.arange(20 * 24, dtype=torch.int32).reshape(20, 24)
    return [torch.stack([place // 256, place % 256, torch.full_like(place, i)]).to(torch.uint8) for i in range(2)]


def save_photo(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def photo_folder(folder: Path, count: int = 4, side: int = 24) -> Path:
    for i in range(count):
        save_photo(folder / f"{i}.png", scene8(side, side + 2 * i, seed=i))
    return folder


def spoil(path: Path) -> None:
    """Damage a file in its middle, where neither header nor end shows it."""
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 40] = bytes(40)
    path.write_bytes(whole)


def fill_folder(folder: Path) -> Path:
    """Photographs of sizes that are and are not multiples of the tiles of 16, the last one noise and gray."""
    for i, (height, width) in enumerate(PACKED_SIZES):
        save_photo(folder / f"{i}.png", scene8(height, width, seed=i))
    save_photo(folder / "noise.png", np.random.default_rng(0).integers(0, 256, (35, 35), dtype=np.uint8))
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def pack(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, packed."""
    path = tmp_path_factory.mktemp("pack") / "photos.lmdb"
    assert pack_photos(list_photos(folder)[0], path, side=16) == []
    return path


def open_all(path: Path, **options: object) -> Photos:
    photos, left_out = open_photos([path], 30, **options)  # type: ignore[arg-type]
    assert left_out == []
    return photos


def packed_crops(photos: Photos, count: int = 40) -> list[Tensor]:
    return [random_crop(photos, CropSettings(crop=25), random_stream(0, step, 0)) for step in range(count)]


def assert_equal_crops(one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
