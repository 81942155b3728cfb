"""Writing: what is written is what is read again, and what cannot be written is said first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image

from ncsr.errors import InputError
from ncsr.images import Photo, check_writable_size, open_photo, photo_from_array, read_photo, to_array, write_photo
from tests.images.samples import HEIGHT, WIDTH, noise

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (1, 1), (3, 3), (4, 1)])
def test_lossless_formats_keep_every_bit(
    tmp_path: Path, size: tuple[int, int], channels: int, dtype: type, suffix: str
) -> None:
    stored = noise(channels, dtype)[: size[0], : size[1]]
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


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_is_kept(tmp_path: Path, source: str, target: str) -> None:
    Image.fromarray(noise(3)).save(tmp_path / f"a{source}", dpi=(300, 150))
    write_photo(tmp_path / f"b{target}", read_photo(tmp_path / f"a{source}"))
    with Image.open(tmp_path / f"b{target}") as image:
        assert [round(float(value)) for value in image.info["dpi"]] == [300, 150]
    assert open_photo(tmp_path / f"b{target}").dpi == pytest.approx((300, 150), abs=0.02)


def test_no_profile_for_gray_beside_colours(tmp_path: Path) -> None:
    gray = imagecodecs.cms_profile("gray", gamma=1.0)
    pixels = np.full((8, 8, 1), 128, np.uint8)
    write_photo(tmp_path / "a.webp", replace(photo_from_array(pixels), icc=gray))
    with Image.open(tmp_path / "a.webp") as image:
        assert "icc_profile" not in image.info
        assert image.getpixel((0, 0)) == pytest.approx((188, 188, 188), abs=1)  # half the light, in sRGB
    write_photo(tmp_path / "b.png", replace(photo_from_array(noise(3)), icc=gray))
    assert read_photo(tmp_path / "b.png").icc is None
