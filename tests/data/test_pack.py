"""Packed photographs give the crops of their folders, bit for bit; damaged packed files are refused."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ncsr.data.crops import CropSettings
from ncsr.data.listing import list_photos
from ncsr.data.loader import batches
from ncsr.data.pack import INDEX, tile_key
from ncsr.data.packing import pack_photos
from ncsr.data.photos import Photos, open_photos
from ncsr.errors import InputError
from tests.conftest import scene8
from tests.data.conftest import (
    PACKED_SIZES,
    assert_equal_crops,
    open_all,
    packed_crops,
    save_photo,
)


def test_packed_photographs_are_the_folders(folder: Path, pack: Path) -> None:
    plain, packed = open_all(folder), open_all(pack)
    assert len(plain) == len(packed) == len(PACKED_SIZES) + 1
    for index in range(len(plain)):
        assert tuple(plain[index].shape) == packed[index].shape
        assert packed[index][:, :, :].dtype == torch.uint8
        assert torch.equal(plain[index][:, :, :], packed[index][:, :, :])
        for top, left, side in ((0, 0, 1), (15, 15, 2), (16, 16, 14), (3, 1, 30), (0, 0, 17)):
            window = (slice(None), slice(top, top + side), slice(left, left + side))
            assert torch.equal(plain[index][window], packed[index][window])


def test_a_photograph_on_its_side_is_packed_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save_photo(tmp_path / "photos" / "0.jpg", scene8(40, 56), exif=exif)
    pack_photos(list_photos(tmp_path / "photos")[0], tmp_path / "pack.lmdb", side=16)
    plain, packed = open_all(tmp_path / "photos"), open_all(tmp_path / "pack.lmdb")
    assert packed[0].shape == (3, 56, 40)
    assert torch.equal(plain[0][:, :, :], packed[0][:, :, :])
    assert plain.fingerprint() == packed.fingerprint()


@pytest.mark.parametrize("how", ["cut", "rewritten", "removed"])
def test_a_pack_that_is_changed_while_it_is_in_use(how: str, pack: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(pack, tmp_path / "photos.lmdb"))
    warnings: list[str] = []
    photos = open_all(path, warn=warnings.append)
    expected = packed_crops(photos, 3)
    if how == "removed":  # which leaves what is open as it was
        path.unlink()
        assert_equal_crops(packed_crops(photos, 3), expected)
        return
    with path.open("r+b") as file:
        if how == "cut":
            file.truncate(4096)
        else:
            file.write(bytes(path.stat().st_size))
    os.utime(path, ns=(0, 0))
    with pytest.raises(InputError, match=f"100 photographs in a row.*{path} was written to while it is in use"):
        packed_crops(photos)
    assert set(warnings) == {f"{path} was written to while it is in use: pack into another file"}


def test_packed_photographs_give_the_folders_batches(folder: Path, pack: Path) -> None:
    def first(photos: Photos, workers: int) -> list[Tensor]:
        made = batches(photos, CropSettings(crop=28), 4, range(10), range(6), workers)
        return [batch.hr for batch in made]

    assert_equal_crops(first(open_all(folder), 0), first(open_all(pack), 0))
    assert_equal_crops(first(open_all(folder), 0), first(open_all(pack), 2))


def test_packed_photographs_that_are_too_small_are_named(folder: Path, pack: Path) -> None:
    photos, left_out = open_photos([pack, folder], 33)
    assert len(photos) == 2 * 3
    assert left_out[0] == f"2.png in {pack}: 32 x 32 pixels, smaller than 33 x 33"
    assert len(left_out) == 4


def test_a_pack_takes_no_lock_leaks_nothing_and_opens_twice(folder: Path, pack: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0

    before = open_files()
    one, other = open_all(pack), open_all(pack)
    twice, _ = open_photos([pack, pack], 30)
    assert len(twice) == 2 * len(one)
    expected = packed_crops(one)
    del one, twice
    assert_equal_crops(packed_crops(other), expected)
    del other
    assert open_files() == before
    assert list(pack.parent.iterdir()) == [pack]


@pytest.mark.parametrize("method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods())))
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_pack_in_other_processes(pack: Path, method: str) -> None:
    photos = open_all(pack)
    expected = packed_crops(photos)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as processes:
        for crops in processes.map(_crops_as_arrays, [photos, photos]):
            np.testing.assert_array_equal(crops, torch.stack(expected))
    assert_equal_crops(packed_crops(photos), expected)


def _crops_as_arrays(photos: Photos) -> np.ndarray:
    return torch.stack(packed_crops(photos)).numpy()


def test_a_damaged_tile_ends_no_run(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos.lmdb"
    pack_photos(list_photos(folder)[0], path, side=16)
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as writing:
        writing.put(tile_key(1, 1, 1), b"no tile")
        writing.delete(tile_key(2, 1, 1))
    warnings: list[str] = []
    crops = packed_crops(open_all(path, warn=warnings.append))
    assert sorted(warnings) == [f"{i}.png in {path} is damaged: pack the photographs again" for i in (1, 2)]
    same = sum(torch.equal(a, b) for a, b in zip(crops, packed_crops(open_all(folder)), strict=True))
    assert 0.4 * len(crops) < same < len(crops)


@pytest.mark.parametrize("size", [0, 100, 4096, 3 * 4096, -1])
def test_a_truncated_pack(pack: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "photos.lmdb"
    path.write_bytes(pack.read_bytes()[:size])
    with pytest.raises(InputError, match=r"photos\.lmdb is (truncated|no file that ncsr prepare packed)"):
        open_all(path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b'{"format": 1, "side": 0, "photos": []}', "no file that ncsr prepare packed"),
        (b'{"format": 1, "side": 16, "photos": [[1, "x", 2]]}', "no file that ncsr prepare packed"),
        (None, "no file that ncsr prepare packed"),
        (b"[]", "no file that ncsr prepare packed"),
        (b"\xff", "no file that ncsr prepare packed"),
        (b'{"format": 2}', r"another version of ncsr \(format 2, this one reads 1\)"),
    ],
)
def test_a_pack_of_something_else(tmp_path: Path, index: bytes | None, message: str) -> None:
    path = tmp_path / "other.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as writing:
        writing.put(b"key" if index is None else INDEX, index or b"value")
    with pytest.raises(InputError, match=message):
        open_all(path)


def test_no_pack_at_all(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.png is no file that ncsr prepare packed: give such a file, or a folder"):
        open_all(folder / "0.png")
    with pytest.raises(InputError, match="is not a folder"):
        open_all(tmp_path / "missing.lmdb")


def test_without_the_lmdb_package(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match=r"need the lmdb package: pip install 'ncsr\[train\]'"):
        open_all(pack)
    with pytest.raises(InputError, match="need the lmdb package"):
        pack_photos([], pack.with_name("other.lmdb"))
