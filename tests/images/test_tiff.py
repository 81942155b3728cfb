"""TIFF files of every layout, whole and in windows: the same values, and no more decoded."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from ncsr.errors import InputError
from ncsr.images import count_pages, open_photo, photo_from_array, photo_size, read_photo, to_array, write_photo
from tests.images.samples import (
    HEIGHT,
    LARGE,
    WIDTH,
    check_windows,
    exif_block,
    exif_fields,
    large_noise,
    levels,
    noise,
)

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "extra", [{}, {"compression": "zlib", "predictor": True}, {"compression": "lzw"}, {"tile": (16, 16)}]
)
def test_reads_16_bit_tiff(tmp_path: Path, order: str, layout: str, channels: int, extra: dict[str, object]) -> None:
    stored = noise(channels, np.uint16)
    tifffile.imwrite(
        tmp_path / "photo.tiff",
        stored if layout == "contig" else np.ascontiguousarray(np.moveaxis(stored, -1, 0)),
        photometric="rgb",
        planarconfig=layout,
        byteorder=order,
        extrasamples=["unassalpha"] if channels == 4 else None,
        **extra,
    )
    photo = read_photo(tmp_path / "photo.tiff")
    assert photo.bits == 16
    np.testing.assert_array_equal(to_array(photo, np.uint16), stored)


def test_reads_bigtiff_and_the_first_page_only(tmp_path: Path) -> None:
    pages = np.stack([noise(1)[..., 0], noise(1, seed=1)[..., 0]])
    tifffile.imwrite(tmp_path / "photo.tif", pages, photometric="minisblack", bigtiff=True)
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.tif")), pages[0])


def test_tiff_in_which_white_is_zero(tmp_path: Path) -> None:
    stored = noise(1)[..., 0]
    tifffile.imwrite(tmp_path / "photo.tif", stored, photometric="miniswhite")
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.tif")), 255 - stored)


def test_premultiplied_tiff_becomes_straight(tmp_path: Path) -> None:
    pixels = np.array([[[32768, 0, 16384, 32768], [0, 0, 0, 0], [100, 65535, 0, 65535]]], np.uint16)
    tifffile.imwrite(tmp_path / "photo.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    expected = [[[65535, 0, 32768, 32768], [0, 0, 0, 0], [100, 65535, 0, 65535]]]
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.tif"), np.uint16), expected)


@pytest.mark.parametrize(("bits", "full"), [(4, 255), (12, 65535)])
def test_tiff_of_unusual_depth_fills_the_range(tmp_path: Path, bits: int, full: int) -> None:
    stored = np.array([[0, 1, 2**bits - 1, 2**bits - 2]], np.uint8 if bits < 8 else np.uint16)
    packed = np.packbits(stored.ravel()[:, None] >> np.arange(bits)[::-1] & 1).tobytes()
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(packed)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = packed + bytes(len(packed) % 2)
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    path = tmp_path / "photo.tif"
    path.write_bytes(header + data + struct.pack("<H", len(tags)) + directory + bytes(4))
    photo = read_photo(path)
    expected = np.rint(stored * (full / (2**bits - 1)))
    np.testing.assert_array_equal(levels(photo), expected)


def test_tiff_of_jpeg_in_ycbcr(tmp_path: Path) -> None:
    stored = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    converted = np.asarray(Image.fromarray(stored).convert("YCbCr"))
    tifffile.imwrite(tmp_path / "photo.tif", converted, photometric="ycbcr", compression="jpeg")
    levels = to_array(read_photo(tmp_path / "photo.tif")).astype(int)
    assert np.abs(levels - stored).max() <= 3


def test_large_tiff_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.images.tiff._CLASSIC_LIMIT", 10)
    write_photo(tmp_path / "photo.tif", replace(photo_from_array(noise(3)), exif=exif_block(exif_fields())))
    with tifffile.TiffFile(tmp_path / "photo.tif") as file:
        assert file.is_bigtiff
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.tif")), noise(3))


def test_bomb_of_one_tile(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "photo.tif", noise(3), photometric="rgb", tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "photo.tif", mode="r+") as file:
        file.pages[0].tags[322].overwrite(60_000)
        file.pages[0].tags[323].overwrite(60_000)
    with pytest.raises(InputError, match="over the limit"):
        read_photo(tmp_path / "photo.tif")


@pytest.mark.parametrize(
    ("pixels", "options", "reason"),
    [
        (noise(1)[..., 0].astype(np.float32), {}, "floating-point"),
        (noise(1)[..., 0].astype(np.int16), {}, "signed"),
        (noise(1)[..., 0].astype(np.uint32), {}, "32 bits"),
        (noise(5), {"photometric": "rgb", "extrasamples": ["unassalpha", "unspecified"]}, "5 channels"),
        (noise(6), {"photometric": "rgb", "planarconfig": "contig"}, "6 channels"),
        (noise(3), {"photometric": "cielab"}, "colours"),
    ],
)
def test_tiffs_that_are_no_photographs(
    tmp_path: Path, pixels: NDArray[np.generic], options: dict[str, object], reason: str
) -> None:
    tifffile.imwrite(tmp_path / "photo.tif", pixels, **options)
    with pytest.raises(InputError, match=rf"cannot read .*photo\.tif: .*{reason}"):
        read_photo(tmp_path / "photo.tif")


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
    stored = large_noise(4)
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
    check_windows(open_photo(tmp_path / "photo.tif"), photo)


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
    stored = large_noise(channels, dtype)
    if channels == 3:  # JPEG noise would test the decoder
        stored = np.broadcast_to(np.uint8([200, 100, 50]), stored.shape)
    tifffile.imwrite(tmp_path / "photo.tif", stored if channels > 1 else stored[..., 0], tile=(32, 32), **how)
    check_windows(open_photo(tmp_path / "photo.tif"), read_photo(tmp_path / "photo.tif"))


def test_first_level_of_a_pyramid(tmp_path: Path) -> None:
    stored = large_noise(3)
    with tifffile.TiffWriter(tmp_path / "photo.tif", bigtiff=True) as file:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}
        file.write(stored, subifds=2, **options)
        for step in (2, 4):
            file.write(stored[::step, ::step], subfiletype=1, **options)
    source = open_photo(tmp_path / "photo.tif")
    check_windows(source, read_photo(tmp_path / "photo.tif"))
    np.testing.assert_array_equal((source.window(0, 0, *LARGE).rgb * 65535).round(), np.moveaxis(stored, -1, 0))


def test_only_the_tiles_under_a_window_are_decoded(tmp_path: Path) -> None:
    """The others are damaged, and there are more pixels than may be read as a whole."""
    path = tmp_path / "photo.tif"
    stored = large_noise(3)
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


def test_tiffs_that_are_no_photographs_in_windows(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((20, 20), np.float32))
    with pytest.raises(InputError, match=r"cannot read .*photo\.tif: its values are floating-point"):
        open_photo(tmp_path / "photo.tif")


def test_tiff_whose_header_tells_of_no_number(tmp_path: Path) -> None:
    """Width, height and orientation are given as two numbers each."""
    path = tmp_path / "photo.tif"
    for tag in (256, 257, 274):
        tifffile.imwrite(path, noise(3), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
        data = bytearray(path.read_bytes())
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from("<H", data, entry)[0] == tag:
                struct.pack_into("<HIHH", data, entry + 2, 3, 2, 5, 5)
        path.write_bytes(data)
        if tag == 274:
            assert read_photo(path).size == (HEIGHT, WIDTH)
        else:
            with pytest.raises(InputError, match=r"^cannot read .*photo\.tif: it is damaged"):
                read_photo(path)


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_channel_of_unspecified_meaning_is_transparency(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    pixels = large_noise(4, "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"], tile=tile)
    photo, source = read_photo(tmp_path / "a.tif"), open_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(to_array(photo), pixels)
    assert "last channel" in photo.notes[0]
    assert source.notes == photo.notes
    check_windows(source, photo)


def _pages(path: Path) -> None:
    """Three pages of which the second is the first in small; the last is larger, deep and on its side."""
    with tifffile.TiffWriter(path) as file:
        file.write(noise(3), photometric="rgb", software="one", metadata=None)
        file.write(noise(3)[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(large_noise(1)[..., 0], photometric="minisblack", software="two", extratags=[(274, 3, 1, 6, True)])


def test_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    _pages(path)
    assert count_pages(path) == 2
    for photo in (read_photo(path, page=1), read_photo(path)):
        np.testing.assert_array_equal(to_array(photo), noise(3))
        assert b"one" in (photo.exif or b"")
    assert read_photo(path, page=1).notes == open_photo(path, page=1).notes == ()
    assert "several pages" in read_photo(path).notes[0]
    second, source = read_photo(path, page=2), open_photo(path, page=2)
    np.testing.assert_array_equal(to_array(second, np.uint16), np.rot90(large_noise(1)[..., 0], -1))
    assert photo_size(path, 2) == LARGE
    assert b"two" in (second.exif or b"")
    assert source.exif == second.exif
    for number in (0, 3, -1):
        with pytest.raises(InputError, match=f"it has no page {number}, only 2"):
            read_photo(path, page=number)
    tifffile.imwrite(tmp_path / "b.tif", np.stack([large_noise(3)] * 2), photometric="rgb", tile=(16, 16))
    check_windows(open_photo(tmp_path / "b.tif", page=2), read_photo(tmp_path / "b.tif", page=2))
    Image.fromarray(noise(3)).save(tmp_path / "c.png")
    assert count_pages(tmp_path / "c.png") == 1
    assert read_photo(tmp_path / "c.png", page=1).size == (HEIGHT, WIDTH)
    with pytest.raises(InputError, match=r"c\.png: it has no page 2, only 1"):
        open_photo(tmp_path / "c.png", page=2)
