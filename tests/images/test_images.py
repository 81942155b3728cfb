"""Photographs of every kind: what is read is what was stored, what is written is what was read, and what cannot be."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from ncsr import images
from ncsr.errors import InputError
from ncsr.images import (
    Photo,
    check_writable_size,
    find_photos,
    photo_from_array,
    photo_from_pil,
    premultiplied,
    read_photo,
    straight,
    to_array,
    to_pil,
    write_photo,
)

pytestmark = pytest.mark.filterwarnings("error")

_H, _W = 5, 7
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _noise(channels: int, dtype: type = np.uint8, seed: int = 0) -> NDArray[np.integer]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (_H, _W, channels), dtype=dtype, endpoint=True)


def _pil(mode: str) -> Image.Image:
    """A noise image of a mode, made without the code under test."""
    if mode == "P":
        return Image.fromarray(_noise(3)).quantize(16)
    if mode == "P+tRNS":
        image = Image.fromarray(_noise(3)).quantize(16)
        image.info["transparency"] = 3
        return image
    if mode == "1":
        return Image.fromarray(_noise(1)[..., 0]).convert("1")
    if mode == "I;16":
        return Image.fromarray(_noise(1, np.uint16)[..., 0])
    channels = len(mode)
    return (
        Image.fromarray(_noise(channels).squeeze(), "CMYK")
        if mode == "CMYK"
        else Image.fromarray(_noise(channels).squeeze())
    )


def _exif(orientation: int = 1, suffix: str = "") -> Image.Exif:
    exif = Image.Exif()
    exif.update({0x010F: "Maker of cameras", 0x0112: orientation})
    if suffix != ".tif":  # there these would be the sizes of the file itself
        exif.update({0x0100: 999, 0x0101: 998})
    exif[0x8769] = {0xA002: 999, 0xA003: 998, 0x9003: "2024:01:02 03:04:05", 0x927C: b"maker's note"}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    block = exif.tobytes()
    exif = Image.Exif()
    exif.load(block)  # Pillow saves inner directories into TIFF only when they were loaded
    return exif


def _block(exif: Image.Exif) -> bytes:
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _levels(photo: Photo) -> NDArray[np.integer]:
    return to_array(photo, np.uint16 if photo.bits == 16 else np.uint8)


# reading


_STORABLE = {
    ".png": ["1", "L", "LA", "P", "P+tRNS", "RGB", "RGBA", "I;16"],
    ".tif": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"],
    ".bmp": ["1", "L", "P", "RGB"],
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in _STORABLE.items() for mode in modes])
def test_reads_every_kind(tmp_path: Path, suffix: str, mode: str) -> None:
    image = _pil(mode)
    image.save(tmp_path / f"photo{suffix}")
    photo = read_photo(tmp_path / f"photo{suffix}")
    kept = {"1": "L", "P": "RGB", "P+tRNS": "RGBA", "CMYK": "RGB"}.get(mode, mode)
    expected = np.asarray(image if kept == mode else image.convert(kept))
    np.testing.assert_array_equal(_levels(photo), expected)
    assert photo.gray == (kept in {"L", "LA", "I;16"})
    assert photo.bits == (16 if mode == "I;16" else 8)
    assert (photo.alpha is not None) == kept.endswith("A")
    assert photo.format == suffix
    assert photo.rgb.dtype == torch.float32
    assert photo.rgb.shape == (3, _H, _W)
    assert photo.exif is None


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_reads_16_bit_png(tmp_path: Path, channels: int) -> None:
    stored = _noise(channels, np.uint16)
    (tmp_path / "photo.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(stored.squeeze())))
    photo = read_photo(tmp_path / "photo.png")
    assert photo.bits == 16
    np.testing.assert_array_equal(to_array(photo, np.uint16, flat_gray=False), stored)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "extra", [{}, {"compression": "zlib", "predictor": True}, {"compression": "lzw"}, {"tile": (16, 16)}]
)
def test_reads_16_bit_tiff(tmp_path: Path, order: str, layout: str, channels: int, extra: dict[str, object]) -> None:
    stored = _noise(channels, np.uint16)
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


def test_arrays_of_the_other_byte_order() -> None:
    stored = _noise(3, np.uint16)
    swapped = stored.astype(stored.dtype.newbyteorder())
    back = to_array(photo_from_array(swapped), swapped.dtype)
    np.testing.assert_array_equal(back, stored)
    assert back.dtype == np.uint16


def test_reads_bigtiff_and_the_first_page_only(tmp_path: Path) -> None:
    pages = np.stack([_noise(1)[..., 0], _noise(1, seed=1)[..., 0]])
    tifffile.imwrite(tmp_path / "photo.tif", pages, photometric="minisblack", bigtiff=True)
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.tif")), pages[0])


def test_tiff_in_which_white_is_zero(tmp_path: Path) -> None:
    stored = _noise(1)[..., 0]
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
    packed = imagecodecs.packints_encode(stored.ravel(), bits)
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(packed)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = packed + bytes(len(packed) % 2)
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    path = tmp_path / "photo.tif"
    path.write_bytes(header + data + struct.pack("<H", len(tags)) + directory + bytes(4))
    photo = read_photo(path)
    expected = np.rint(stored * (full / (2**bits - 1)))
    np.testing.assert_array_equal(_levels(photo), expected)


def test_tiff_of_jpeg_in_ycbcr(tmp_path: Path) -> None:
    stored = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    converted = np.asarray(Image.fromarray(stored).convert("YCbCr"))
    tifffile.imwrite(tmp_path / "photo.tif", converted, photometric="ycbcr", compression="jpeg")
    levels = to_array(read_photo(tmp_path / "photo.tif")).astype(int)
    assert np.abs(levels - stored).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_palette_is_gray_unless_it_has_a_profile(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(_noise(1)[..., 0]).convert("P", palette=Image.Palette.ADAPTIVE)
    image.putpalette([value // 3 for value in range(768)])
    image.save(tmp_path / f"gray{suffix}")
    image.save(tmp_path / f"tagged{suffix}", icc_profile=_SRGB)
    assert read_photo(tmp_path / f"gray{suffix}").gray
    assert not read_photo(tmp_path / f"tagged{suffix}").gray


@pytest.mark.parametrize(("mode", "transparent"), [("L", 90), ("RGB", (90, 90, 90)), ("1", 255)])
def test_png_with_one_transparent_colour(tmp_path: Path, mode: str, transparent: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1), transparent)
    image.putpixel((1, 0), 0 if mode != "RGB" else (0, 0, 0))
    image.save(tmp_path / "photo.png", transparency=transparent)
    for photo in (read_photo(tmp_path / "photo.png"), photo_from_pil(Image.open(tmp_path / "photo.png"))):
        assert photo.alpha is not None
        assert photo.alpha.tolist() == [[[0, 1]]]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_reads_jpeg(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (16, 16), {"L": 90, "RGB": (200, 100, 50), "CMYK": (0, 128, 204, 51)}[mode])
    image.save(tmp_path / "photo.jpg", quality=100, subsampling=0)
    photo = read_photo(tmp_path / "photo.jpg")
    expected = np.asarray(image.convert("RGB") if mode == "CMYK" else image).astype(int)
    assert np.abs(to_array(photo).astype(int) - expected).max() <= 2
    assert photo.gray == (mode == "L")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_reads_webp(tmp_path: Path, mode: str) -> None:
    image = _pil(mode)
    image.save(tmp_path / "photo.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.webp")), np.asarray(image))


def test_kind_is_told_by_content_and_names_may_be_anything(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / ("name" * 25) / ("path" * 25)
    folder.mkdir(parents=True)
    path = folder / "日本 é.PNG"
    Image.new("RGB", (8, 8), (9, 9, 9)).save(path, "JPEG")
    photo = read_photo(path)
    assert photo.format == ".png"
    write_photo(path, photo)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert os.listdir(folder) == [path.name]


# CMYK


def _cmyk_profile() -> bytes:
    """A CMYK profile that knows one thing: paper is white, a full ink of any kind is black, linear (in L*) between."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    ramp = bytes(range(256))
    grid = bytes([255, 128, 128]) + bytes([0, 128, 128]) * 15
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78 + 1),
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249),
        b"A2B0": b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s12x4s28x", offset + len(body), 0x02100000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    return (header + fixed(0.9642, 1, 0.8249)).ljust(128, b"\0") + table + body


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_goes_through_its_profile_which_is_then_spent(tmp_path: Path, suffix: str) -> None:
    image = Image.new("CMYK", (16, 16), (0, 127, 0, 0))
    image.save(
        tmp_path / f"photo{suffix}", icc_profile=_cmyk_profile(), **({"quality": 100} if suffix == ".jpg" else {})
    )
    for photo in (read_photo(tmp_path / f"photo{suffix}"), photo_from_pil(Image.open(tmp_path / f"photo{suffix}"))):
        assert photo.icc is None
        assert np.abs(to_array(photo).astype(int) - 119).max() <= 1  # L* = 50; without the profile, (255, 128, 255)


@pytest.mark.parametrize("profile", [None, _cmyk_profile(), _cmyk_profile()[:300], _SRGB])
def test_cmyk_of_16_bits(tmp_path: Path, profile: bytes | None) -> None:
    stored = np.array([[[0, 0, 0, 0], [0, 32768, 0, 0], [65535, 0, 0, 0], [0, 0, 0, 65535]]], np.uint16)
    tifffile.imwrite(tmp_path / "photo.tif", stored, photometric="separated", iccprofile=profile)
    photo = read_photo(tmp_path / "photo.tif")
    levels = to_array(photo, np.uint16)[0].astype(int).tolist()
    assert (photo.bits, photo.icc) == (16, None)
    assert levels[0] == [65535] * 3
    assert levels[3] == [0] * 3
    if profile == _cmyk_profile():
        assert levels[2] == [0] * 3
        assert all(30300 < level < 30800 for level in levels[1])
    else:
        assert levels[1:3] == [[65535, 32767, 65535], [0, 65535, 65535]]


# metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"photo{suffix}"
    image = _pil("RGBA" if suffix in {".png", ".webp"} else "RGB")
    image.save(
        path, exif=_exif(orientation, suffix), **({"lossless": True, "exact": True} if suffix == ".webp" else {})
    )
    with Image.open(path) as stored:
        upright = stored if suffix == ".tif" else ImageOps.exif_transpose(stored)  # Pillow turns TIFF while loading
        upright.load()
        expected = np.asarray(upright)
    photo = read_photo(path)
    np.testing.assert_array_equal(to_array(photo), expected)
    write_photo(tmp_path / "again.png", photo)
    with Image.open(tmp_path / "again.png") as again:
        assert again.getexif().get(0x0112, 1) == 1
        np.testing.assert_array_equal(np.asarray(again), expected)


@pytest.mark.parametrize("source", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
def test_profile_and_exif_are_kept(tmp_path: Path, source: str, target: str) -> None:
    _pil("RGB").save(tmp_path / f"photo{source}", exif=_exif(6, source), icc_profile=_SRGB)
    photo = read_photo(tmp_path / f"photo{source}")
    assert photo.size == (_W, _H)
    larger = replace(photo, rgb=photo.rgb.repeat(1, 2, 2))
    write_photo(tmp_path / f"larger{target}", larger)
    with Image.open(tmp_path / f"larger{target}") as image:
        exif = image.getexif()
        assert image.info["icc_profile"] == _SRGB
        assert exif[0x010F] == "Maker of cameras"
        assert exif.get(0x0112, 1) == 1
        camera, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
        assert (camera[0xA002], camera[0xA003]) == (2 * _H, 2 * _W)
        assert exif.get(0x0100, 2 * _H) == 2 * _H
        assert exif.get(0x0101, 2 * _W) == 2 * _W
        assert camera[0x9003] == "2024:01:02 03:04:05"
        assert camera[0x927C] == b"maker's note"
        assert place == {1: "N", 2: (1.0, 2.0, 3.0)}
    again = read_photo(tmp_path / f"larger{target}")
    assert again.exif is not None
    assert again.icc == _SRGB
    assert again.size == larger.size
    write_photo(tmp_path / f"bare{target}", replace(larger, icc=None, exif=None))
    bare = read_photo(tmp_path / f"bare{target}")
    assert (bare.icc, bare.exif) == (None, None)


@pytest.mark.parametrize("endian", ["<", ">"])
def test_exif_keeps_every_byte_but_orientation_sizes_and_preview(tmp_path: Path, endian: str) -> None:
    exif = _exif(3)
    exif.endian = endian
    block = _block(exif)
    preview = struct.pack(endian + "HHHII", 1, 0x0103, 4, 1, 6) + bytes(4)
    (start,) = struct.unpack_from(endian + "I", block, 4)
    (count,) = struct.unpack_from(endian + "H", block, start)
    link = start + 2 + 12 * count
    linked = block[:link] + struct.pack(endian + "I", len(block)) + block[link + 4 :] + preview
    image = Image.new("RGB", (_W, _H))
    image.info["exif"] = b"Exif\0\0" + linked
    kept = photo_from_pil(image).exif
    assert kept is not None
    assert kept[link : link + 4] == bytes(4)
    changed = [i for i, (a, b) in enumerate(zip(linked, kept, strict=True)) if a != b]
    assert len(changed) <= 4 + 1 + 4 * 7  # link, orientation, four sizes (type and value)
    for suffix in (".tif", ".png"):
        write_photo(tmp_path / f"photo{suffix}", replace(photo_from_pil(image), exif=kept))
        with Image.open(tmp_path / f"photo{suffix}") as again:
            assert again.getexif().get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"


@pytest.mark.parametrize("cut", [1, 4, 9, 40, 60, 120])
def test_damaged_exif_is_left_out_without_a_warning(tmp_path: Path, cut: int) -> None:
    block = b"Exif\0\0" + _block(_exif(1))[:cut]
    image = Image.new("RGB", (_W, _H))
    for suffix in (".jpg", ".png", ".webp"):
        image.save(tmp_path / f"photo{suffix}", exif=block)
        photo = read_photo(tmp_path / f"photo{suffix}")
        assert photo.size == (_H, _W)
        write_photo(tmp_path / "again.jpg", photo)


def test_exif_made_to_fill_the_memory_is_left_out() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 7, 4000, 8) for tag in range(1000, 1400))
    block = b"II*\0" + struct.pack("<IH", 8, 400) + entries + bytes(4)
    image = Image.new("RGB", (_W, _H))
    image.info["exif"] = block
    assert photo_from_pil(image).exif is None


def test_exif_too_long_for_jpeg_is_left_out(tmp_path: Path) -> None:
    exif = _exif()
    exif[0x010E] = "long " * 14000
    photo = replace(photo_from_array(_noise(3)), exif=_block(exif))
    write_photo(tmp_path / "photo.jpg", photo)
    write_photo(tmp_path / "photo.png", photo)
    assert read_photo(tmp_path / "photo.jpg").exif is None
    assert read_photo(tmp_path / "photo.png").exif is not None


def test_png_chunks_that_libpng_dislikes_do_not_matter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = imagecodecs.png_encode(_noise(3))
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [(b"iCCP", b"junk\0\0junk"), (b"gAMA", b"x"), (b"cHRM", b"y"), (b"eXIf", b"z")]
    )
    (tmp_path / "photo.png").write_bytes(data[:33] + chunks + data[33:])
    photo = read_photo(tmp_path / "photo.png")
    np.testing.assert_array_equal(to_array(photo), _noise(3))
    assert (photo.icc, photo.exif) == (None, None)
    assert capfd.readouterr() == ("", "")


# writing


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(_H, _W), (1, 1), (3, 3), (4, 1)])
def test_lossless_formats_keep_every_bit(
    tmp_path: Path, size: tuple[int, int], channels: int, dtype: type, suffix: str
) -> None:
    stored = _noise(channels, dtype)[: size[0], : size[1]]
    photo = photo_from_array(stored)
    write_photo(tmp_path / f"photo{suffix}", photo)
    again = read_photo(tmp_path / f"photo{suffix}")
    deep = dtype == np.uint16 and suffix not in {".bmp", ".webp"}
    assert again.bits == (16 if deep else 8)
    assert again.gray == (channels < 3 and suffix != ".webp")
    assert (again.alpha is None) == (channels in (1, 3) or suffix == ".bmp")
    if suffix == ".bmp" and photo.alpha is not None:
        photo = replace(photo, rgb=photo.rgb * photo.alpha + 1 - photo.alpha, alpha=None)
    kind = np.uint16 if deep else np.uint8
    np.testing.assert_array_equal(to_array(replace(again, gray=photo.gray), kind), to_array(photo, kind))


def test_16_bit_colour_png_opens_elsewhere(tmp_path: Path) -> None:
    photo = replace(photo_from_array(_noise(3, np.uint16)), icc=_SRGB, exif=_block(_exif()))
    write_photo(tmp_path / "photo.png", photo)
    with Image.open(tmp_path / "photo.png") as image:
        assert image.info["icc_profile"] == _SRGB
        np.testing.assert_array_equal(np.asarray(image), _noise(3, np.uint16) >> 8)
    np.testing.assert_array_equal(imagecodecs.imread(str(tmp_path / "photo.png")), _noise(3, np.uint16))


def test_values_are_rounded_and_clipped(tmp_path: Path) -> None:
    values = torch.tensor([-0.5, 0.49 / 255, 0.51 / 255, 99.6 / 255, 254.6 / 255, 1.5])
    write_photo(tmp_path / "photo.png", Photo(values.expand(3, 1, -1)))
    assert to_array(read_photo(tmp_path / "photo.png"))[0, :, 0].tolist() == [0, 0, 1, 100, 255, 255]


def test_gray_is_the_mean_of_channels_and_transparency_lies_on_white(tmp_path: Path) -> None:
    rgb = torch.tensor([0.0, 0.3, 0.6]).reshape(3, 1, 1).expand(3, 8, 8)
    write_photo(tmp_path / "gray.jpg", Photo(rgb, gray=True))
    assert (to_array(read_photo(tmp_path / "gray.jpg")) == 76).all()  # 0.3 * 255 = 76.5, half to even
    write_photo(tmp_path / "flat.jpg", Photo(rgb, alpha=torch.full((1, 8, 8), 0.5)), quality=100)
    levels = to_array(read_photo(tmp_path / "flat.jpg")).astype(int)
    assert np.abs(levels - [128, 166, 204]).max() <= 2


def test_jpeg_has_full_colour_resolution_and_quality(tmp_path: Path) -> None:
    photo = photo_from_array(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    write_photo(tmp_path / "fine.jpg", photo)
    write_photo(tmp_path / "coarse.jpg", photo, quality=20)
    assert (tmp_path / "coarse.jpg").stat().st_size < (tmp_path / "fine.jpg").stat().st_size / 2
    with Image.open(tmp_path / "fine.jpg") as image:
        assert {component[1:3] for component in image.layer} == {(1, 1)}


def test_large_tiff_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.images.tiff._CLASSIC_LIMIT", 10)
    write_photo(tmp_path / "photo.tif", replace(photo_from_array(_noise(3)), exif=_block(_exif())))
    with tifffile.TiffFile(tmp_path / "photo.tif") as file:
        assert file.is_bigtiff
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.tif")), _noise(3))


@pytest.mark.parametrize(
    ("name", "width", "height", "fits"),
    [
        ("a.webp", 16383, 16383, True),
        ("a.webp", 16384, 1, False),
        ("a.JPG", 65500, 1, True),
        ("a.jpeg", 1, 65501, False),
        ("a.png", 1_000_000, 9, True),
        ("a.png", 1, 1_000_001, False),
        ("a.bmp", 30_000, 40_000, True),
        ("a.bmp", 40_000, 40_000, False),
        ("a.tif", 2_000_000, 2_000_000, True),
        ("a.gif", 1, 1, False),
        ("a", 1, 1, False),
    ],
)
def test_what_a_format_cannot_hold_is_said_first(name: str, width: int, height: int, fits: bool) -> None:
    if fits:
        check_writable_size(name, width, height)
    else:
        with pytest.raises(InputError, match=rf"cannot write {name}"):
            check_writable_size(name, width, height)


@pytest.mark.parametrize("name", ["a.webp", "a.jpg", "a.png"])
def test_the_largest_sides_are_true(tmp_path: Path, name: str) -> None:
    longest = {".webp": 16_383, ".jpg": 65_500, ".png": 1_000_000}[Path(name).suffix]
    check_writable_size(name, longest, 1)
    write_photo(tmp_path / name, Photo(torch.zeros(3, 1, longest)))
    assert read_photo(tmp_path / name).size == (1, longest)


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="not finite"):
        write_photo(path, Photo(torch.full((3, 2, 2), float("nan"))))
    with pytest.raises(InputError, match="quality"):
        write_photo(path, Photo(torch.zeros(3, 2, 2)), quality=0)

    def full_disk(temporary: Path, *_: object) -> None:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ncsr.images.writing._write", full_disk)
    with pytest.raises(InputError, match=r"cannot write .*photo\.png: No space left on device"):
        write_photo(path, Photo(torch.zeros(3, 2, 2)))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["photo.png"]


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "missing" / "a.png", tmp_path / "folder.png"):
        with pytest.raises(InputError, match="cannot write"):
            write_photo(path, Photo(torch.zeros(3, 2, 2)))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


# what cannot be read


def _encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    if kind == "png16":
        return bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 257))
    if kind in ("tif", "tif-zlib"):
        tifffile.imwrite(buffer, pixels, photometric="rgb", compression="zlib" if kind == "tif-zlib" else None)
    else:
        Image.fromarray(pixels).save(buffer, {"jpg": "JPEG"}.get(kind, kind))
    return buffer.getvalue()


_KINDS = ["png", "png16", "jpg", "webp", "bmp", "tif", "tif-zlib"]


@pytest.mark.parametrize("kept", [0.0003, 0.002, 0.5, 0.95])
@pytest.mark.parametrize("kind", _KINDS)
def test_truncated_files(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, kept: float) -> None:
    data = _encoded(kind)
    path = tmp_path / f"photo.{kind[:3]}"
    path = path.with_suffix(".webp") if kind == "webp" else path
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=rf"^cannot read .*{path.name}: it"):
        read_photo(path)
    assert capfd.readouterr() == ("", "")


def _bomb(kind: str) -> bytes:
    """A small file whose header claims 60000 x 60000 pixels."""
    data = bytearray(_encoded(kind))
    side = 60_000
    if kind.startswith("png"):
        struct.pack_into(">II", data, 16, side, side)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif kind == "bmp":
        struct.pack_into("<II", data, 18, side, side)
    elif kind == "jpg":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    elif kind == "webp":
        canvas = (16383).to_bytes(3, "little") * 2  # stored less one; the most that WebP can say
        extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
        return b"RIFF" + struct.pack("<I", len(data) - 8 + 18) + b"WEBP" + extended + bytes(data[12:])
    else:
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from("<H", data, entry)[0] in (256, 257):
                struct.pack_into("<HII", data, entry + 2, 4, 1, side)
    return bytes(data)


@pytest.mark.parametrize("kind", _KINDS)
def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("photo." + kind.removesuffix("16").removesuffix("-zlib"))
    path.write_bytes(_bomb(kind))
    with pytest.raises(InputError, match=rf"cannot read .*{path.name}: .*(over the limit|exceeds limit)"):
        read_photo(path)
    path.write_bytes(_encoded(kind))
    read_photo(path, max_pixels=64 * 64)
    with pytest.raises(InputError, match="64 x 64 pixels, over the limit of 4095: raise max_pixels"):
        read_photo(path, max_pixels=64 * 64 - 1)


def test_bomb_of_one_tile(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "photo.tif", _noise(3), photometric="rgb", tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "photo.tif", mode="r+") as file:
        file.pages[0].tags[322].overwrite(60_000)
        file.pages[0].tags[323].overwrite(60_000)
    with pytest.raises(InputError, match="over the limit"):
        read_photo(tmp_path / "photo.tif")


def test_pillows_own_limit_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind in ("png", "jpg", "bmp", "tif"):
        (tmp_path / f"photo.{kind}").write_bytes(_encoded(kind))
        read_photo(tmp_path / f"photo.{kind}")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "it is empty"),
        ("text.png", b"The quick brown fox", "its content is no PNG"),
        ("short.bmp", b"BM", "damaged"),
        ("words.bmp", b"BMW drives past the house and on", "damaged"),
        ("photo.gif", b"GIF89a", "its suffix is none of"),
        ("photo", b"", "its suffix is none of"),
        ("photo.png", None, "there is no such file"),
    ],
)
def test_files_that_are_no_photographs(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^cannot read .*{name}: .*{reason}"):
        read_photo(path)


def test_a_folder_is_not_a_photograph(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"folder\.png: it is not a file"):
        read_photo(tmp_path / "folder.png")


@pytest.mark.parametrize(
    ("pixels", "options", "reason"),
    [
        (_noise(1)[..., 0].astype(np.float32), {}, "floating-point"),
        (_noise(1)[..., 0].astype(np.int16), {}, "signed"),
        (_noise(1)[..., 0].astype(np.uint32), {}, "32 bits"),
        (_noise(4), {"photometric": "rgb", "extrasamples": ["unspecified"]}, "4 channels"),
        (_noise(6), {"photometric": "rgb", "planarconfig": "contig"}, "6 channels"),
        (_noise(3), {"photometric": "cielab"}, "colours"),
    ],
)
def test_tiffs_that_are_no_photographs(
    tmp_path: Path, pixels: NDArray[np.generic], options: dict[str, object], reason: str
) -> None:
    tifffile.imwrite(tmp_path / "photo.tif", pixels, **options)
    with pytest.raises(InputError, match=rf"cannot read .*photo\.tif: .*{reason}"):
        read_photo(tmp_path / "photo.tif")


def test_nothing_is_printed_outside_pytest(tmp_path: Path) -> None:
    for kind in _KINDS:
        for kept in (40, 300, 5000):
            suffix = "." + kind.removesuffix("16").removesuffix("-zlib")
            (tmp_path / f"{kind}{kept}").with_suffix(suffix).write_bytes(_encoded(kind)[:kept])
    code = (
        "import sys, ncsr.images as i\n"
        "for path in i.find_photos(sys.argv[1]):\n"
        "    try: i.read_photo(path)\n"
        "    except i.reading.InputError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# folders, arrays, PIL images


def test_find_photos(tmp_path: Path) -> None:
    for name in ["b.PNG", "a.jpg", "note.txt", ".hidden.png", "in/c.tif", "in/.d.tif", ".dir/e.png", "f.png/g.webp"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    def names(**options: bool) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in find_photos(tmp_path, **options)]

    assert names() == ["a.jpg", "b.PNG"]
    assert names(recursive=True) == ["a.jpg", "b.PNG", "f.png/g.webp", "in/c.tif"]
    (tmp_path / "none").mkdir()
    for folder in (tmp_path / "none", tmp_path / "a.jpg", tmp_path / "missing"):
        with pytest.raises(InputError, match=folder.name):
            find_photos(folder)
    hidden = find_photos(tmp_path / ".dir")
    assert len(hidden) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, ">u2"])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays_come_back_as_they_went(dtype: str | type, channels: int | None) -> None:
    array = _noise(channels or 1, np.uint16)
    array = (array >> 8).astype(dtype) if dtype == np.uint8 else array.astype(dtype)
    array = array / 65536 if array.dtype.kind == "f" else array
    array = array[..., 0] if channels is None else array
    before = array.copy()
    photo = photo_from_array(array)
    assert photo.bits == (8 if dtype == np.uint8 else 16)
    assert photo.rgb.min() >= 0
    assert photo.rgb.max() <= 1
    assert photo.rgb.max() > 0.9
    photo.rgb.add_(0)  # its own memory, writable
    again = to_array(photo, array.dtype.newbyteorder("="), flat_gray=array.ndim == 2)
    np.testing.assert_allclose(again, array, atol=1e-6 if array.dtype.kind == "f" else 0)
    assert again.shape == array.shape
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4,)), "shape"),
        (np.zeros((4, 4, 5)), "shape"),
        (np.zeros((0, 4, 3)), "shape"),
        (np.zeros((1, 4, 4, 3)), "shape"),
        (np.full((4, 4), 255.0), r"\[0, 1\]"),
        (np.full((4, 4), np.nan), r"\[0, 1\]"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), np.complex64), "complex64"),
    ],
)
def test_arrays_that_are_no_photographs(array: NDArray[np.generic], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        photo_from_array(array)
    with pytest.raises(InputError, match="int32"):
        to_array(Photo(torch.zeros(3, 2, 2)), np.int32)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "P+tRNS", "RGB", "RGBA", "I;16", "I;16B", "CMYK", "YCbCr", "RGBa", "La"]
)
def test_pil_images(mode: str) -> None:
    image = _pil({"I;16B": "I;16", "YCbCr": "RGB", "RGBa": "RGBA", "La": "LA"}.get(mode, mode))
    if mode == "I;16B":
        image = Image.frombytes("I;16B", image.size, np.asarray(image).astype(">u2").tobytes())
    elif mode in ("YCbCr", "RGBa", "La"):
        image = image.convert(mode)
    photo = photo_from_pil(image)
    again = to_pil(photo)
    kept = {
        "1": "L",
        "P": "RGB",
        "P+tRNS": "RGBA",
        "I;16B": "I;16",
        "CMYK": "RGB",
        "YCbCr": "RGB",
        "RGBa": "RGBA",
        "La": "LA",
    }
    assert again.mode == kept.get(mode, mode)
    expected = np.asarray(image) if mode == "I;16B" else np.asarray(image.convert(again.mode))
    np.testing.assert_array_equal(np.asarray(again), expected)


def test_pil_images_carry_metadata_and_are_turned_upright() -> None:
    image = _pil("RGB")
    image.info.update(icc_profile=_SRGB, exif=_exif(6).tobytes())
    again = to_pil(photo_from_pil(image))
    assert again.size == (_H, _W)
    assert again.info["icc_profile"] == _SRGB
    assert again.getexif()[0x0112] == 1
    for mode in ("F", "I", "HSV"):
        with pytest.raises(InputError, match=f"mode {mode}"):
            photo_from_pil(Image.new(mode, (2, 2)))
    with pytest.raises(InputError, match="cannot be decoded"):
        photo_from_pil(Image.open(io.BytesIO(_encoded("png")[:5000])))


def test_premultiplied_and_straight_undo_each_other() -> None:
    photo = photo_from_array(np.maximum(_noise(4, np.uint16), 1))
    assert photo.alpha is not None
    torch.testing.assert_close(straight(premultiplied(photo), photo.alpha), photo.rgb, rtol=1e-5, atol=1e-6)
    gone = straight(torch.full((2, 3, 1, 1), 0.5), torch.zeros(2, 1, 1, 1))
    assert gone.abs().max() == 0
    overshoot = straight(torch.full((3, 1, 1), 0.5), torch.full((1, 1, 1), 0.25))
    assert overshoot.max() == 1
    opaque = photo_from_array(_noise(3))
    assert premultiplied(opaque) is opaque.rgb


def test_photo_refuses_planes_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="rgb"):
        Photo(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="alpha"):
        Photo(torch.zeros(3, 4, 4), alpha=torch.zeros(1, 2, 2))


def test_public_names() -> None:
    assert all(hasattr(images, name) for name in images.__all__)
