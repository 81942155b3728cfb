"""PNG files: all 16 bits, transparent colours, profile and EXIF chunks."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ncsr.errors import InputError
from ncsr.images import photo_from_array, photo_from_pil, png, read_photo, to_array, write_photo
from ncsr.images.colour import described_colours
from tests.conftest import scene8
from tests.images.samples import SRGB_PROFILE, exif_block, exif_fields, levels, noise

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


_KINDS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
    (6, 8),
    (6, 16),
]
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(
    values: NDArray[Any], colour: int, bits: int, interlaced: bool, *, extra: bytes = b"", header: bytes = b""
) -> bytes:
    """A file of (h, w, c) integers, each row unfiltered."""
    height, width = values.shape[:2]
    rows = b""
    for y, x, down, across in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        for row in values[y::down, x::across] if x < width else ():
            digits = (row.reshape(-1, 1).astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
            rows += b"\0" + np.packbits(digits.astype(np.uint8).ravel()).tobytes()
    header = header or struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    data = _chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + extra + data + _chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (24, 21)])
@pytest.mark.parametrize(("colour", "bits"), _KINDS)
def test_interlaced_files(
    tmp_path: Path, colour: int, bits: int, size: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    values = np.random.default_rng(0).integers(0, 2**bits, (*size, channels))
    palette = _chunk(b"PLTE", np.random.default_rng(1).bytes(3 * 2**bits)) if colour == 3 else b""
    for extra in (palette, palette + _chunk(b"tRNS", {0: b"\0\1", 2: bytes(6), 3: b"\0"}.get(colour, b""))):
        photos = []
        for interlaced in (False, True):
            path = tmp_path / f"{interlaced}.png"
            path.write_bytes(_png(values, colour, bits, interlaced, extra=extra if extra[8:] else b""))
            photos.append(read_photo(path))
        plain, interlaced_photo = photos
        assert (plain.gray, plain.bits, plain.alpha is None) == (
            interlaced_photo.gray,
            interlaced_photo.bits,
            interlaced_photo.alpha is None,
        )
        np.testing.assert_array_equal(levels(plain), levels(interlaced_photo))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("sum", "incorrect data check"),
        ("crc", "a checksum is wrong"),
        ("short", "its data end early"),
        ("palette", "its palette is missing"),
        ("depth", "its header makes no sense"),
        ("wide", "its header makes no sense"),
        ("packing", "its header makes no sense"),
    ],
)
def test_what_libpng_would_complain_of_on_the_terminal(
    tmp_path: Path, what: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    values = noise(1).astype(int)
    height, width = values.shape[:2]
    for interlaced in (False, True):
        kind = {"palette": 3}.get(what, 0)
        header = struct.pack(
            ">IIBBBBB",
            2_000_000 if what == "wide" else width,
            height + 5 * (what == "short"),
            3 if what == "depth" else 8,
            kind,
            int(what == "packing"),
            0,
            interlaced,
        )
        data = bytearray(_png(values, kind, 8, interlaced, header=header))
        end = data.index(b"IEND") - 4
        if what in ("sum", "crc"):
            data[end - 5] ^= 1  # of the sum behind the packed data
        if what == "sum":
            start = data.index(b"IDAT")
            data[end - 4 : end] = struct.pack(">I", zlib.crc32(data[start : end - 4]))
        (tmp_path / "photo.png").write_bytes(data)
        with pytest.raises(InputError, match=reason):
            read_photo(tmp_path / "photo.png")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("keyword", ["Raw profile type exif", "Raw profile type APP1"])
@pytest.mark.parametrize("packed", [False, True])
def test_exif_in_imagemagicks_text(tmp_path: Path, keyword: str, packed: bool) -> None:
    block = b"Exif\0\0" + exif_block(exif_fields(6))
    digits = block.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    text = PngInfo()
    text.add_text(keyword, f"\nexif\n{len(block):8d}\n{lines}\n", zip=packed)
    Image.fromarray(noise(3)).save(tmp_path / "photo.png", pnginfo=text)
    photo = read_photo(tmp_path / "photo.png")
    np.testing.assert_array_equal(to_array(photo), np.rot90(noise(3), -1))
    assert photo.exif is not None
    with Image.open(tmp_path / "photo.png") as image:
        if keyword.endswith("exif"):
            assert photo_from_pil(image).exif == photo.exif
    text.add_text(keyword, "\nexif\n 9\nnot hexadecimal", zip=packed)
    Image.fromarray(noise(3)).save(tmp_path / "photo.png", pnginfo=text)
    assert read_photo(tmp_path / "photo.png").exif is None


def _with_chunk(path: Path, name: bytes, body: bytes) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:33] + png._chunk(name, body) + data[33:])


def test_colours_told_by_numbers_become_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(scene8(8, 8)).save(path, icc_profile=SRGB_PROFILE)
    _with_chunk(path, b"cICP", bytes([12, 13, 0, 1]))
    assert read_photo(path).icc == described_colours(12, 13)[0]  # it goes before the profile
    Image.fromarray(scene8(8, 8)).save(path)
    _with_chunk(path, b"cICP", bytes([9, 16, 0, 1]))
    assert read_photo(path).notes == ("its values are those of an HDR screen, and are taken for sRGB",)
    Image.fromarray(scene8(8, 8)).save(path, icc_profile=SRGB_PROFILE)
    _with_chunk(path, b"cICP", bytes([9, 16, 0, 1]))
    assert (read_photo(path).icc, read_photo(path).notes) == (SRGB_PROFILE, ())
    Image.fromarray(scene8(8, 8)[..., 0]).save(path)
    _with_chunk(path, b"cICP", bytes([12, 13, 0, 1]))
    assert read_photo(path).icc is None


@pytest.mark.parametrize("page", [None, 1, 2])
@pytest.mark.parametrize("keyword", ["Raw profile type exif", "Raw profile type APP1"])
def test_every_frame_has_what_its_file_says(tmp_path: Path, page: int | None, keyword: str) -> None:
    texts, block = PngInfo(), exif_fields(6, ".png").tobytes()
    texts.add_text("Author", "Me")
    texts.add_text(keyword, f"\nexif\n{len(block):8}\n{block.hex()}\n")
    first = Image.fromarray(scene8(8, 12))
    first.save(tmp_path / "photo.png", save_all=True, append_images=[first.rotate(180)], pnginfo=texts)
    photo = read_photo(tmp_path / "photo.png", page=page)
    assert photo.size == (12, 8)
    assert photo.texts == (b"tEXtAuthor\0Me",)
