"""Listing photographs by their headers, and finding the broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncsr.data.photos import open_photos
from ncsr.images import photo_size, read_photo
from tests.conftest import scene8
from tests.data.conftest import (
    photo_folder,
    save_photo,
)

_KINDS = [".png", ".jpg", ".webp", ".tif", ".bmp"]


@pytest.mark.parametrize("suffix", _KINDS)
def test_sizes_are_read_from_headers(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_photo(tmp_path / f"photo{suffix}", scene8(20, 24))
    assert photo_size(path) == (20, 24) == read_photo(path).size
    if suffix in (".png", ".jpg", ".webp"):  # whole files of these are not even decoded
        monkeypatch.setattr("ncsr.data.listing.read_photo", None)
    assert len(open_photos([tmp_path], 16)[0]) == 1


@pytest.mark.parametrize("suffix", _KINDS)
def test_files_cut_short_are_left_out_at_once(tmp_path: Path, suffix: str) -> None:
    photo_folder(tmp_path, 1)
    path = save_photo(tmp_path / f"photo{suffix}", scene8(40, 48))
    path.write_bytes(path.read_bytes()[:-20])
    photos, left_out = open_photos([tmp_path], 16)
    assert len(photos) == 1
    assert len(left_out) == 1
    assert f"photo{suffix}" in left_out[0]


def test_a_bomb_is_left_out_at_once(tmp_path: Path) -> None:
    photo_folder(tmp_path, 1)
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "bomb.png").write_bytes(whole[:16] + (30000).to_bytes(4, "big") * 2 + whole[24:])
    assert "30000 x 30000 pixels" in open_photos([tmp_path], 16)[1][0]
