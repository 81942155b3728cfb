"""AVIF, JPEG XL, JPEG 2000, HEIC and GIF: what other programs wrote is read as it was meant, and nothing else is."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from benchmarks.campaign.files import SIZE, newer_files, picture
from ncsr.errors import InputError
from ncsr.images import (
    count_pages,
    jxl,
    open_photo,
    photo_size,
    read_photo,
    read_record,
    to_array,
    write_photo,
    write_pixels,
)
from ncsr.images.colour import described_colours
from ncsr.images.convert import photo_from_array
from tests.conftest import scene8
from tests.images.samples import SRGB_PROFILE, exif_block, exif_fields, levels

pytestmark = pytest.mark.filterwarnings("error")

_FILES = {kind: (suffix, data) for kind, suffix, data in newer_files()}
_RGB, _GRAY, _RGBA = (picture(*SIZE, channels).squeeze() for channels in (3, 1, 4))
_DEEP = picture(*SIZE, 3, 16)


def _stretched(values: NDArray[Any], bits: int) -> NDArray[Any]:
    return np.rint(values * (65535 / (2**bits - 1))).astype(np.uint16)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("avif lossless", _RGB),
        ("avif gray", _GRAY),
        ("avif alpha", _RGBA),
        ("avif 10 bits", _stretched(_DEEP >> 6, 10)),
        ("avif 12 bits gray", _stretched(_DEEP[..., 0] >> 4, 12)),
        ("jxl lossless", _RGB),
        ("jxl gray", _GRAY),
        ("jxl alpha", _RGBA),
        ("jxl 16 bits", _DEEP),
        ("jp2 lossless", _RGB),
        ("jp2 gray", _GRAY),
        ("jp2 alpha", _RGBA),
        ("jp2 12 bits", _stretched(_DEEP >> 4, 12)),
        ("jp2 stream", _DEEP),
    ],
)
def test_lossless_files_are_read_to_the_bit(tmp_path: Path, kind: str, expected: NDArray[Any]) -> None:
    suffix, data = _FILES[kind]
    for path in (tmp_path / f"photo{suffix}", tmp_path / "photo", tmp_path / "photo.jpg"):
        path.write_bytes(data)
        photo = read_photo(path)
        np.testing.assert_array_equal(levels(photo), expected)
        assert photo.bits == (16 if expected.dtype == np.uint16 else 8)
        assert photo_size(path) == photo.size == SIZE


@pytest.mark.parametrize("kind", ["heic gray", "heic alpha", "heic 10 bits", "heic lossy"])
def test_heic(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    path.write_bytes(_FILES[kind][1])
    photo = read_photo(path)
    expected = {"heic gray": _GRAY, "heic alpha": _RGBA, "heic 10 bits": _DEEP, "heic lossy": picture(90, 70, 3)}[kind]
    turned = np.rot90(expected, -1)  # pillow-heif makes EXIF's orientation the container's, which counts
    assert photo.bits == (16 if kind == "heic 10 bits" else 8)
    difference = levels(photo).astype(float) - turned
    # grain in colour, which is lost: another picture would differ by five times as much
    assert np.abs(difference).mean() < 0.05 * np.iinfo(expected.dtype).max
    assert photo_size(path) == photo.size
    assert photo.exif is not None


def test_heic_without_the_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (read_photo, photo_size, read_record):
        with pytest.raises(InputError, match=r"photo\.heic: HEIC needs pillow-heif: pip install 'ncsr\[heif\]'$"):
            read(tmp_path / "photo.heic")


def test_old_libraries_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("avif lossless", "jxl lossless"):
        (tmp_path / f"photo{_FILES[kind][0]}").write_bytes(_FILES[kind][1])
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    monkeypatch.setattr(imagecodecs.JPEGXL, "available", False)
    for suffix, remedy in ((".avif", "pip install -U pillow imagecodecs"), (".jxl", "pip install -U imagecodecs")):
        with pytest.raises(InputError, match=rf"cannot read .*photo\{suffix}: .*{remedy}$"):
            read_photo(tmp_path / f"photo{suffix}")
        with pytest.raises(InputError, match=rf"cannot write .*new\{suffix}: .*{remedy}$"):
            write_photo(tmp_path / f"new{suffix}", photo_from_array(_RGB))


def test_the_first_frame_of_a_gif(tmp_path: Path) -> None:
    path = tmp_path / "photo.gif"
    path.write_bytes(_FILES["gif animated"][1])
    photo = read_photo(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(to_array(photo), np.asarray(image.convert("RGB")))
    assert photo.notes == ("it is an animation, of which the first frame is taken (--page)",)
    path.write_bytes(_FILES["gif transparent"][1])
    photo = read_photo(path)
    assert photo.notes == ()
    assert photo.alpha is not None
    assert set(photo.alpha.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif"])
def test_every_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    """A frame that changes a corner alone is put together with what was there before."""
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path, frames = tmp_path / f"photo{suffix}", [np.full((*SIZE, 3), level, np.uint8) for level in (0, 0, 250)]
    frames[1][:8, :8] = 250
    how = {} if suffix == ".gif" else {"quality": 100, "lossless": True} if suffix == ".webp" else {"quality": 100}
    first, *others = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=others, duration=100, **how)
    assert count_pages(path) == 3
    for page, frame in enumerate(frames, 1):
        photo = read_photo(path, page=page)
        assert photo.notes == ()
        assert np.abs(to_array(photo, flat_gray=False)[..., :3].astype(int) - frame).max() <= 2
        assert photo.size == photo_size(path, page) == SIZE
    assert "(--page)" in read_photo(path).notes[0]
    for wrong in (0, 4):
        with pytest.raises(InputError, match=rf"cannot read .*{suffix}: it has no page {wrong}, only 3"):
            read_photo(path, page=wrong)
    with pytest.raises(InputError, match=r"over the limit of 10:"):
        read_photo(path, page=2, max_pixels=10)


def test_of_other_kinds_the_first_picture_is_all(tmp_path: Path) -> None:
    Image.fromarray(_RGB).save(tmp_path / "photo.jpg")
    assert count_pages(tmp_path / "photo.jpg") == 1
    assert read_photo(tmp_path / "photo.jpg", page=1).size == SIZE
    with pytest.raises(InputError, match="of JPEG files only the first picture is read: leave --page out"):
        read_photo(tmp_path / "photo.jpg", page=2)


@pytest.mark.parametrize("kind", ["avif animated", "avif with exif"])
def test_pictures_and_orientation_of_avif(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.avif"
    path.write_bytes(_FILES[kind][1])
    photo = read_photo(path)
    animated = kind == "avif animated"
    assert bool(photo.notes) == animated
    assert photo.size == (SIZE if animated else SIZE[::-1])
    expected = _RGB if animated else np.rot90(_RGB, -1)
    assert np.abs(to_array(photo).astype(int) - expected).mean() < 13  # as in HEIC


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", sorted(kind for kind in _FILES if "animated" not in kind))
def test_truncated_files(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, kept: float) -> None:
    suffix, data = _FILES[kind]
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(data[: int(len(data) * kept)])
    if kind.startswith("gif") and kept == 0.99:
        return  # what lacks may be what says that nothing more comes
    with pytest.raises(InputError, match=rf"^cannot read .*photo\{suffix}: it"):
        read_photo(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", sorted(_FILES))
def test_the_limit_counts_before_anything_is_decoded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix, data = _FILES[kind]
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(data)
    height, width = read_photo(path).size
    for name in ("avif_decode", "jpegxl_decode", "jpeg2k_decode"):
        monkeypatch.setattr(imagecodecs, name, lambda *_: pytest.fail("it was decoded"))
    monkeypatch.setattr(np, "asarray", lambda *_: pytest.fail("it was decoded"))
    for read in (read_photo, open_photo):
        with pytest.raises(InputError, match=f"over the limit of {height * width - 1}: raise max_pixels"):
            read(path, max_pixels=height * width - 1)


def _p3() -> bytes:
    return bytes(
        imagecodecs.cms_profile(
            "rgb",
            whitepoint=(0.3127, 0.3290, 1.0),
            primaries=(0.68, 0.32, 1.0, 0.265, 0.69, 1.0, 0.15, 0.06, 1.0),
            gamma=2.2,
        )
    )


def test_colours_told_by_numbers_become_a_profile(tmp_path: Path) -> None:
    """Display P3, as cameras and telephones tell it in AVIF."""
    data = bytes(imagecodecs.avif_encode(_RGB, 100))
    codes = data.index(b"nclx") + 4
    (tmp_path / "a.avif").write_bytes(data[:codes] + b"\0\x0c\0\x0d" + data[codes + 4 :])
    photo = read_photo(tmp_path / "a.avif")
    assert photo.icc is not None
    wide, narrow = np.array([[[200, 100, 50]]], np.uint8), imagecodecs.cms_profile("srgb")
    seen = imagecodecs.cms_transform(wide, photo.icc, narrow, colorspace="rgb", outcolorspace="rgb")
    assert np.abs(seen[0, 0].astype(int) - [215, 93, 31]).max() <= 1  # by the matrices and the curve of sRGB
    (tmp_path / "a.avif").write_bytes(data[:codes] + b"\0\x09\0\x10" + data[codes + 4 :])
    assert "HDR" in read_photo(tmp_path / "a.avif").notes[0]


def test_jxl_is_written_in_srgb(tmp_path: Path) -> None:
    """Colours of a profile are converted, gray stays gray, and sixteen bits are not said to be linear."""
    profile = _p3()
    expected = imagecodecs.cms_transform(
        _RGB, profile, imagecodecs.cms_profile("srgb"), colorspace="rgb", outcolorspace="rgb"
    )
    write_pixels(tmp_path / "a.jxl", np.dstack([_RGB, _GRAY]), profile, None)
    pixels = to_array(read_photo(tmp_path / "a.jxl"))
    assert np.abs(pixels[..., :3].astype(int) - expected).max() <= 2  # intents of two libraries' calls
    np.testing.assert_array_equal(pixels[..., 3], _GRAY)
    gray_profile = bytes(imagecodecs.cms_profile("gray", whitepoint=(0.3127, 0.3290, 1.0), gamma=1.0))
    write_pixels(tmp_path / "g.jxl", _GRAY[..., None], gray_profile, None)
    photo = read_photo(tmp_path / "g.jxl")
    assert photo.gray
    assert to_array(photo).mean() > _GRAY.mean() + 30  # linear light looks brighter on a screen
    for pixels in (_DEEP, _DEEP[..., :1]):
        write_pixels(tmp_path / "d.jxl", pixels, None, None)
        photo = read_photo(tmp_path / "d.jxl")
        np.testing.assert_array_equal(levels(photo), pixels.squeeze())
        assert (photo.icc, photo.notes) == (None, ())
    (tmp_path / "linear.jxl").write_bytes(imagecodecs.jpegxl_encode(_DEEP, lossless=True))
    assert read_photo(tmp_path / "linear.jxl").icc is not None


def test_an_embedded_profile_of_jxl_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As imagecodecs does not hand it on, nor write any, the header of 8 x 8 pixels is made bit by bit."""
    size, depth, further, xyb, colours = "1 00000 100", "0 00 1", "00", "0", "0 1"
    fields = f"{size} 0 0 {depth} {further} {xyb} {colours}".replace(" ", "")
    stream = b"\xff\x0a" + int(fields[::-1], 2).to_bytes(8, "little")
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", lambda data, index: np.zeros((8, 8, 3), np.uint8))
    raster = jxl.read_jxl(stream, lambda width, height: None)
    assert (raster.icc, raster.notes) == (None, ("its colour profile is not read: its colours are taken for sRGB",))


@pytest.mark.parametrize("suffix", [".avif", ".jxl"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_describes_a_photograph_goes_through(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"photo{suffix}"
    block = exif_block(exif_fields(6))
    pixels = picture(*SIZE, channels)
    icc = SRGB_PROFILE if channels > 2 else None
    write_pixels(path, pixels, icc, block, (300.0, 300.0), '{"ncsr":"1"}', xmp=_PACKET)
    photo = read_photo(path)
    assert photo.size == SIZE
    assert photo.gray == (channels == 1 or (channels == 2 and suffix == ".jxl"))
    assert (photo.alpha is not None) == (channels in (2, 4))
    assert (photo.icc is not None) == (icc is not None and suffix == ".avif")
    assert photo.exif is not None
    exif = Image.Exif()
    exif.load(photo.exif)
    assert exif[0x010F] == "Maker of cameras"
    assert exif.get_ifd(0x8769)[0x927C] == b"maker's note"
    assert photo.exif.index(b"maker's note") == block.index(b"maker's note")  # which holds offsets of its own
    assert b"A photographer" in (photo.xmp or b"")
    assert read_record(path) == '{"ncsr":"1"}'
    seen = to_array(photo, flat_gray=False)[..., [0, -1]].astype(int)
    assert np.abs(seen - pixels[..., [0, -1]]).mean() <= (0 if suffix == ".jxl" else 3)


_PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>A photographer'
    b"</dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".jxl"])
def test_quality(tmp_path: Path, suffix: str) -> None:
    sizes, errors = [], []
    for quality in (10, 60, 95):
        write_pixels(tmp_path / f"a{suffix}", picture(90, 70, 3), None, None, quality=quality)
        sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        read = to_array(read_photo(tmp_path / f"a{suffix}")).astype(int)
        errors.append(np.abs(read - picture(90, 70, 3)).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    for wrong in (0, 101):
        with pytest.raises(InputError, match=f"quality must be 1 to 100, got {wrong}"):
            write_pixels(tmp_path / f"a{suffix}", _RGB, None, None, quality=wrong)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_formats_without_quality(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match=rf"\{suffix} has no quality"):
        write_pixels(tmp_path / f"a{suffix}", _RGB, None, None, quality=90)


def test_jpeg_2000_of_colours_that_are_not_known(tmp_path: Path) -> None:
    data = _FILES["jp2 lossless"][1]
    (tmp_path / "a.jp2").write_bytes(data.replace(b"colr\1\0\0\0\0\0\x10", b"colr\1\0\0\0\0\0\x0c"))
    with pytest.raises(InputError, match="its colours are of kind 12"):
        read_photo(tmp_path / "a.jp2")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(SRGB_PROFILE)).tobytes()
    colr = b"colr\1\0\0\0\0\0\x10"
    start = data.index(colr) - 4
    boxed = (len(profile) + 11).to_bytes(4, "big") + b"colr\2\0\0" + profile
    header = data.index(b"jp2h") - 4
    longer = int.from_bytes(data[header : header + 4], "big") + len(boxed) - 15
    data = data[:header] + longer.to_bytes(4, "big") + data[header + 4 : start] + boxed + data[start + 15 :]
    (tmp_path / "a.jp2").write_bytes(data)
    photo = read_photo(tmp_path / "a.jp2")
    assert photo.icc == profile
    np.testing.assert_array_equal(to_array(photo), _RGB)


def _nclx(path: Path, primaries: int) -> None:
    """Change the colours that an AVIF file tells by numbers."""
    data = path.read_bytes()
    at = data.index(b"nclx") + 4
    path.write_bytes(data[:at] + primaries.to_bytes(2, "big") + data[at + 2 :])


@pytest.mark.parametrize("page", [None, 1, 2])
def test_every_frame_has_the_colours_of_its_file(tmp_path: Path, page: int | None) -> None:
    first = Image.fromarray(scene8(16, 16))
    first.save(tmp_path / "photo.avif", save_all=True, append_images=[first.rotate(180)])
    data = (tmp_path / "photo.avif").read_bytes()
    for at in [at for at in range(len(data)) if data[at : at + 4] == b"nclx"]:
        data = data[: at + 4] + bytes([0, 12]) + data[at + 6 :]
    (tmp_path / "photo.avif").write_bytes(data)
    assert read_photo(tmp_path / "photo.avif", page=page).icc == described_colours(12, 13)[0]


def test_gray_gets_no_profile_of_colours(tmp_path: Path) -> None:
    """PNG forbids it, and primaries say nothing of gray."""
    (tmp_path / "photo.avif").write_bytes(imagecodecs.avif_encode(scene8(16, 16)[..., 0]))
    _nclx(tmp_path / "photo.avif", 12)
    assert read_photo(tmp_path / "photo.avif").icc is None
    profile, notes = described_colours(12, 8, gray=True)
    assert profile is not None
    assert (profile[16:20], notes) == (b"GRAY", ())
