"""PNG files: all 16 bits, transparent colours, profile and EXIF chunks."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from ncsr.images import photo_from_array, photo_from_pil, read_photo, to_array, write_photo
from tests.images.samples import SRGB_PROFILE, exif_block, exif_fields, noise

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_reads_16_bit_png(tmp_path: Path, channels: int) -> None:
    stored = noise(channels, np.uint16)
    (tmp_path / "photo.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(stored.squeeze())))
    photo = read_photo(tmp_path / "photo.png")
    assert photo.bits == 16
    np.testing.assert_array_equal(to_array(photo, np.uint16, flat_gray=False), stored)


@pytest.mark.parametrize(("mode", "transparent"), [("L", 90), ("RGB", (90, 90, 90)), ("1", 255)])
def test_png_with_one_transparent_colour(tmp_path: Path, mode: str, transparent: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1), transparent)
    image.putpixel((1, 0), 0 if mode != "RGB" else (0, 0, 0))
    image.save(tmp_path / "photo.png", transparency=transparent)
    for photo in (read_photo(tmp_path / "photo.png"), photo_from_pil(Image.open(tmp_path / "photo.png"))):
        assert photo.alpha is not None
        assert photo.alpha.tolist() == [[[0, 1]]]


def test_png_chunks_that_libpng_dislikes_do_not_matter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = imagecodecs.png_encode(noise(3))
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [(b"iCCP", b"junk\0\0junk"), (b"gAMA", b"x"), (b"cHRM", b"y"), (b"eXIf", b"z")]
    )
    (tmp_path / "photo.png").write_bytes(data[:33] + chunks + data[33:])
    photo = read_photo(tmp_path / "photo.png")
    np.testing.assert_array_equal(to_array(photo), noise(3))
    assert (photo.icc, photo.exif) == (None, None)
    assert capfd.readouterr() == ("", "")


def test_16_bit_colour_png_opens_elsewhere(tmp_path: Path) -> None:
    photo = replace(photo_from_array(noise(3, np.uint16)), icc=SRGB_PROFILE, exif=exif_block(exif_fields()))
    write_photo(tmp_path / "photo.png", photo)
    with Image.open(tmp_path / "photo.png") as image:
        assert image.info["icc_profile"] == SRGB_PROFILE
        np.testing.assert_array_equal(np.asarray(image), noise(3, np.uint16) >> 8)
    np.testing.assert_array_equal(imagecodecs.imread(str(tmp_path / "photo.png")), noise(3, np.uint16))
