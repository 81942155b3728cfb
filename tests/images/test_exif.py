"""EXIF survives, but for orientation, sizes and preview."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ncsr.images import exif, photo_from_array, photo_from_pil, read_photo, to_array, write_photo
from tests.images.samples import HEIGHT, SRGB_PROFILE, WIDTH, exif_block, exif_fields, noise, pil_image

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_orientation_is_applied_and_reset(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"photo{suffix}"
    image = pil_image("RGBA" if suffix in {".png", ".webp"} else "RGB")
    image.save(
        path, exif=exif_fields(orientation, suffix), **({"lossless": True, "exact": True} if suffix == ".webp" else {})
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
    pil_image("RGB").save(tmp_path / f"photo{source}", exif=exif_fields(6, source), icc_profile=SRGB_PROFILE)
    photo = read_photo(tmp_path / f"photo{source}")
    assert photo.size == (WIDTH, HEIGHT)
    larger = replace(photo, rgb=photo.rgb.repeat(1, 2, 2))
    write_photo(tmp_path / f"larger{target}", larger)
    with Image.open(tmp_path / f"larger{target}") as image:
        exif = image.getexif()
        assert image.info["icc_profile"] == SRGB_PROFILE
        assert exif[0x010F] == "Maker of cameras"
        assert exif.get(0x0112, 1) == 1
        camera, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
        assert (camera[0xA002], camera[0xA003]) == (2 * HEIGHT, 2 * WIDTH)
        assert exif.get(0x0100, 2 * HEIGHT) == 2 * HEIGHT
        assert exif.get(0x0101, 2 * WIDTH) == 2 * WIDTH
        assert camera[0x9003] == "2024:01:02 03:04:05"
        assert camera[0x927C] == b"maker's note"
        assert place == {1: "N", 2: (1.0, 2.0, 3.0)}
    again = read_photo(tmp_path / f"larger{target}")
    assert again.exif is not None
    assert again.icc == SRGB_PROFILE
    assert again.size == larger.size
    write_photo(tmp_path / f"bare{target}", replace(larger, icc=None, exif=None))
    bare = read_photo(tmp_path / f"bare{target}")
    assert (bare.icc, bare.exif) == (None, None)


@pytest.mark.parametrize("endian", ["<", ">"])
def test_exif_keeps_every_byte_but_orientation_sizes_and_preview(tmp_path: Path, endian: str) -> None:
    exif = exif_fields(3)
    exif.endian = endian
    block = exif_block(exif)
    preview = struct.pack(endian + "HHHII", 1, 0x0103, 4, 1, 6) + bytes(4)
    (start,) = struct.unpack_from(endian + "I", block, 4)
    (count,) = struct.unpack_from(endian + "H", block, start)
    link = start + 2 + 12 * count
    linked = block[:link] + struct.pack(endian + "I", len(block)) + block[link + 4 :] + preview
    image = Image.new("RGB", (WIDTH, HEIGHT))
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
    block = b"Exif\0\0" + exif_block(exif_fields(1))[:cut]
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for suffix in (".jpg", ".png", ".webp"):
        image.save(tmp_path / f"photo{suffix}", exif=block)
        photo = read_photo(tmp_path / f"photo{suffix}")
        assert photo.size == (HEIGHT, WIDTH)
        write_photo(tmp_path / "again.jpg", photo)


def test_exif_made_to_fill_the_memory_is_left_out() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 7, 4000, 8) for tag in range(1000, 1400))
    block = b"II*\0" + struct.pack("<IH", 8, 400) + entries + bytes(4)
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.info["exif"] = block
    assert photo_from_pil(image).exif is None


def test_exif_too_long_for_jpeg_is_left_out(tmp_path: Path) -> None:
    exif = exif_fields()
    exif[0x010E] = "long " * 14000
    photo = replace(photo_from_array(noise(3)), exif=exif_block(exif))
    write_photo(tmp_path / "photo.jpg", photo)
    write_photo(tmp_path / "photo.png", photo)
    assert read_photo(tmp_path / "photo.jpg").exif is None
    assert read_photo(tmp_path / "photo.png").exif is not None


def test_names_and_types_of_fields_survive_tiff(tmp_path: Path) -> None:
    artist = "José Müller ©".encode()
    exif = exif_fields()
    exif[0x013B] = artist
    exif_in_jpeg = exif_block(exif).replace(struct.pack(">HH", 0x927C, 1), struct.pack(">HH", 0x927C, 7))
    write_photo(tmp_path / "photo.tif", replace(photo_from_array(noise(3)), exif=exif_in_jpeg))
    again = read_photo(tmp_path / "photo.tif").exif
    assert again is not None
    assert artist + b"\0" in again
    assert struct.pack(">HH", 0x927C, 7) in again  # the maker's note is of type UNDEFINED


@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_block_without_orientation_has_all_else_in_its_place(endian: str) -> None:
    fields = exif_fields(6)
    fields.endian = endian
    block = exif_block(fields)
    without = exif.without_orientation(block)
    assert exif.orientation(block) == 6
    assert exif.orientation(without) is None
    assert without.index(b"maker's note") == block.index(b"maker's note")
    read = Image.Exif()
    read.load(without)
    assert read[0x010F] == "Maker of cameras"
    assert read.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
    assert exif.without_orientation(without) == without
    assert exif.without_orientation(None) == b""


@pytest.mark.parametrize("pointer", [0, 38, 2**32 - 1])
def test_a_pointer_that_leads_nowhere_costs_only_what_it_leads_to(tmp_path: Path, pointer: int) -> None:
    """As of a GPS directory that some tool cut off: the photograph is upright all the same."""
    orientation, gps = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0), struct.pack("<HHII", 0x8825, 4, 1, pointer)
    block = b"II*\0" + struct.pack("<IH", 8, 2) + orientation + gps + bytes(4)
    assert exif.orientation(block) == 6
    Image.fromarray(noise(3)).save(tmp_path / "photo.jpg", exif=b"Exif\0\0" + block)
    photo = read_photo(tmp_path / "photo.jpg")
    assert photo.size == (WIDTH, HEIGHT)
    assert photo.exif is not None
    write_photo(tmp_path / "again.tif", photo)
    assert read_photo(tmp_path / "again.tif").size == (WIDTH, HEIGHT)


def test_the_orientation_is_found_in_a_block_that_is_damaged_elsewhere() -> None:
    overlapping = b"".join(struct.pack("<HHII", tag, 2, 60, 0) for tag in (0x010F, 0x0110, 0x0131))
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 8, 0)
    block = b"II*\0" + struct.pack("<IH", 8, 4) + overlapping + orientation + bytes(4)
    assert exif.orientation(block) == 8
    assert exif.with_size(block, 4, 4) is None


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_the_resolution_turns_with_the_photograph(tmp_path: Path, suffix: str) -> None:
    """In EXIF as well, which many programs look at first."""
    image = Image.fromarray(noise(3))
    image.save(tmp_path / "photo.tif", dpi=(300, 150), tiffinfo={0x0112: 6, 0x010F: "Maker"})
    photo = read_photo(tmp_path / "photo.tif")
    write_photo(tmp_path / f"again{suffix}", photo)
    with Image.open(tmp_path / f"again{suffix}") as again:
        assert again.info["dpi"] == pytest.approx((150, 300), rel=1e-3)
        fields = again.getexif()
        assert (fields[0x011A], fields[0x011B]) == (150, 300)
