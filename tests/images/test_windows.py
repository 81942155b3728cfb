"""Photographs that are looked at in windows: the same values as when they are read whole, and no more decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from ncsr.errors import InputError
from ncsr.images import Photo, Source, open_photo, photo_from_array, read_photo, source_of

pytestmark = pytest.mark.filterwarnings("error")

_H, _W = 70, 90
_WINDOWS = [(0, 0, _H, _W), (0, 0, 1, 1), (30, 41, 35, 60), (15, 0, 49, 33), (64, 80, 70, 90)]


def _noise(channels: int, dtype: str = "uint16") -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, (_H, _W, channels), dtype=dtype, endpoint=True)


def _check(source: Source, photo: Photo) -> None:
    assert (source.size, source.gray, source.bits) == (photo.size, photo.gray, photo.bits)
    assert (source.icc, source.exif, source.format) == (photo.icc, photo.exif, photo.format)
    assert source.transparent == (photo.alpha is not None)
    for top, left, bottom, right in _WINDOWS:
        window = source.window(top, left, bottom, right)
        assert torch.equal(window.rgb, photo.rgb[:, top:bottom, left:right])
        assert (window.alpha is None) == (photo.alpha is None)
        if window.alpha is not None and photo.alpha is not None:
            assert torch.equal(window.alpha, photo.alpha[:, top:bottom, left:right])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"rowsperstrip": 7},
        {"rowsperstrip": 7, "compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"tile": (16, 32)},
        {"tile": (16, 32), "compression": "zlib"},
    ],
)
def test_windows_of_tiff(
    tmp_path: Path, order: str, layout: str, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = _noise(4)
    tifffile.imwrite(
        tmp_path / "photo.tif",
        stored if layout == "contig" else np.ascontiguousarray(np.moveaxis(stored, -1, 0)),
        photometric="rgb",
        planarconfig=layout,
        byteorder=order,
        extrasamples=["unassalpha"],
        description="a description",
        **how,
    )
    photo = read_photo(tmp_path / "photo.tif")
    monkeypatch.setattr("ncsr.images.reading.read_photo", None)  # not read as a whole
    _check(open_photo(tmp_path / "photo.tif"), photo)


@pytest.mark.parametrize(
    ("channels", "dtype", "how"),
    [
        (1, "uint8", {"photometric": "miniswhite"}),
        (1, "uint16", {"photometric": "minisblack"}),
        (2, "uint8", {"photometric": "minisblack", "extrasamples": ["assocalpha"], "planarconfig": "contig"}),
        (4, "uint8", {"photometric": "separated"}),
        (4, "uint16", {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
        (3, "uint8", {"photometric": "ycbcr", "compression": "jpeg"}),
    ],
)
def test_windows_of_every_kind(tmp_path: Path, channels: int, dtype: str, how: dict[str, Any]) -> None:
    stored = _noise(channels, dtype)
    if channels == 3:  # JPEG noise would test the decoder
        stored = np.broadcast_to(np.uint8([200, 100, 50]), stored.shape)
    tifffile.imwrite(tmp_path / "photo.tif", stored if channels > 1 else stored[..., 0], tile=(32, 32), **how)
    _check(open_photo(tmp_path / "photo.tif"), read_photo(tmp_path / "photo.tif"))


def test_first_level_of_a_pyramid(tmp_path: Path) -> None:
    stored = _noise(3)
    with tifffile.TiffWriter(tmp_path / "photo.tif", bigtiff=True) as file:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}
        file.write(stored, subifds=2, **options)
        for step in (2, 4):
            file.write(stored[::step, ::step], subfiletype=1, **options)
    source = open_photo(tmp_path / "photo.tif")
    _check(source, read_photo(tmp_path / "photo.tif"))
    np.testing.assert_array_equal((source.window(0, 0, _H, _W).rgb * 65535).round(), np.moveaxis(stored, -1, 0))


def test_only_the_tiles_under_a_window_are_decoded(tmp_path: Path) -> None:
    """The others are damaged, and there are more pixels than may be read as a whole."""
    path = tmp_path / "photo.tif"
    stored = _noise(3)
    tifffile.imwrite(path, stored, photometric="rgb", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    with path.open("r+b") as target:
        for index, (start, length) in enumerate(places):
            if index not in (0, 7, 8):  # the corner, and the second row's second and third
                target.seek(start)
                target.write(bytes(length))
    source = open_photo(path, max_pixels=100)
    window = source.window(16, 20, 30, 48)
    np.testing.assert_array_equal((window.rgb * 65535).round(), np.moveaxis(stored[16:30, 20:48], -1, 0))
    with pytest.raises(InputError, match=r"cannot read .*photo\.tif: it is damaged"):
        source.window(16, 20, 33, 48)


def test_what_cannot_be_read_in_windows_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned, palette = tmp_path / "turned.tif", tmp_path / "palette.tif"
    tifffile.imwrite(turned, _noise(3), photometric="rgb", tile=(16, 16), extratags=[(274, 3, 1, 6, True)])
    Image.fromarray(_noise(3, "uint8")).quantize(16).save(palette)
    Image.fromarray(_noise(3, "uint8")).save(tmp_path / "photo.png")
    Image.fromarray(_noise(4, "uint8")).save(tmp_path / "photo.webp", lossless=True)
    for path in (turned, palette, tmp_path / "photo.png", tmp_path / "photo.webp"):
        photo = read_photo(path)
        source = open_photo(path)
        assert source.size == photo.size
        assert torch.equal(source.window(3, 5, 40, 50).rgb, photo.rgb[:, 3:40, 5:50])
        with pytest.raises(InputError, match="90 x 70 pixels, over the limit of 100"):
            open_photo(path, max_pixels=100)
    tifffile.imwrite(tmp_path / "one.tif", _noise(3), photometric="rgb", compression="zlib", rowsperstrip=_H)
    monkeypatch.setattr("ncsr.images.tiff._LARGEST_SEGMENT", 100)
    with pytest.raises(InputError, match="over the limit of 100"):
        open_photo(tmp_path / "one.tif", max_pixels=100)


def test_a_photo_in_memory() -> None:
    photo = photo_from_array(_noise(4, "uint8"))
    _check(source_of(photo), photo)
    assert source_of(photo).channels == 4
    assert source_of(photo_from_array(_noise(1, "uint8"))).channels == 1


@pytest.mark.parametrize(("name", "reason"), [("none.tif", "no such file"), ("text.tif", "its content is no PNG")])
def test_wrong_files(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "text.tif").write_text("text")
    with pytest.raises(InputError, match=rf"cannot read .*{name}: .*{reason}"):
        open_photo(tmp_path / name)


def test_tiffs_that_are_no_photographs(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((20, 20), np.float32))
    with pytest.raises(InputError, match=r"cannot read .*photo\.tif: its values are floating-point"):
        open_photo(tmp_path / "photo.tif")
