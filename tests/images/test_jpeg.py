"""JPEG files whose data end early, and those made to take time and memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from ncsr.errors import InputError
from ncsr.images import open_photo, read_photo, to_array

pytestmark = pytest.mark.filterwarnings("error")

_END = b"\xff\xd9"
_KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RGB", {}),
    ("RGB", {"subsampling": 0, "quality": 95}),
    ("RGB", {"progressive": True}),
    ("RGB", {"restart_marker_blocks": 2}),
    ("L", {"optimize": True}),
    ("L", {"progressive": True, "quality": 20}),
    ("CMYK", {}),
]


def _picture(mode: str, size: tuple[int, int] = (90, 70)) -> Image.Image:
    shape = (size[1], size[0], len(mode)) if mode != "L" else (size[1], size[0])
    levels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(levels, "CMYK") if mode == "CMYK" else Image.fromarray(levels)


def _encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("mode", "options"), _KINDS)
def test_whole_files_have_pillows_pixels(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    for image in (_picture(mode), _picture(mode, (1, 1)), Image.new(mode, (33, 65))):
        data = _encoded(image, **options)
        for tail in (b"", b"\0" * 100 + data):  # phones append a film or a second picture
            (tmp_path / "photo.jpg").write_bytes(data + tail)
            pixels = to_array(read_photo(tmp_path / "photo.jpg"))
            if mode != "CMYK":
                np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("end", [_END, _END * 2 + b"trailing", b"\xff\xfe\0\4ab" + _END])
@pytest.mark.parametrize(("mode", "options"), _KINDS)
def test_data_that_end_early(tmp_path: Path, mode: str, options: dict[str, Any], end: bytes, kept: float) -> None:
    data = _encoded(_picture(mode), **options)
    path = tmp_path / "photo.jpg"
    scan = data.index(b"\xff\xda")
    path.write_bytes(data[: scan + int(kept * (len(data) - scan))].rstrip(b"\xff") + end)
    for read in (read_photo, open_photo):
        with pytest.raises(InputError, match=r"^cannot read .*photo\.jpg: its data end early.*--allow-incomplete"):
            read(path)
    photo = read_photo(path, allow_incomplete=True)
    assert photo.size == (70, 90)
    assert photo.notes == open_photo(path, allow_incomplete=True).notes
    assert "end early" in photo.notes[0]


@pytest.mark.parametrize("end", [_END, b"", b"\xff", bytes(5)], ids=["end", "none", "half", "filled up"])
@pytest.mark.parametrize(("mode", "options"), [*_KINDS, ("RGB", {"restart_marker_rows": 1})])
def test_a_few_bytes_less(tmp_path: Path, mode: str, options: dict[str, Any], end: bytes) -> None:
    """Whatever is taken without a word has all its pixels, also if what is missing is of the last block."""
    data = _encoded(_picture(mode), **options)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    whole = to_array(read_photo(path))
    refused = 0
    for cut in range(1, 40):
        path.write_bytes(data[: -len(_END) - cut] + end)
        photo = read_photo(path, allow_incomplete=True)
        if photo.notes:
            refused += 1
            with pytest.raises(InputError, match="its data end early"):
                read_photo(path)
        else:
            np.testing.assert_array_equal(to_array(photo), whole)
    assert refused >= 35  # a last byte may hold no visible pixel


@pytest.mark.parametrize(("mode", "options"), _KINDS)
def test_without_the_end_marker_alone(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    data = _encoded(_picture(mode), **options)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    whole = to_array(read_photo(path))
    for end in (b"", b"\xff"):
        path.write_bytes(data[: -len(_END)] + end)
        photo = read_photo(path)
        assert photo.notes == ()
        np.testing.assert_array_equal(to_array(photo), whole)
    path.write_bytes(data[: -len(_END)] + bytes(50))  # as of a download that made room first
    with pytest.raises(InputError, match="its data end early"):
        read_photo(path)


def test_no_interval_between_restarts_is_missing(tmp_path: Path) -> None:
    data = _encoded(Image.new("RGB", (90, 70), (200, 30, 60)), restart_marker_blocks=2)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    assert read_photo(path).notes == ()
    path.write_bytes(data[: max(data.rindex(bytes([0xFF, 0xD0 + i])) for i in range(8))] + _END)
    with pytest.raises(InputError, match="its data end early"):
        read_photo(path)


def test_the_upper_part_of_an_incomplete_file_is_kept(tmp_path: Path) -> None:
    image = _picture("RGB", (64, 256))
    data = _encoded(image)
    for end in (_END, b""):
        (tmp_path / "photo.jpg").write_bytes(data[: len(data) // 2] + end)
        pixels = to_array(read_photo(tmp_path / "photo.jpg", allow_incomplete=True))
        np.testing.assert_array_equal(pixels[:64], np.asarray(Image.open(io.BytesIO(data)))[:64])
        assert np.ptp(pixels[-32:].reshape(-1, 3), axis=0).max() <= 1


def test_a_progressive_file_without_its_last_scans(tmp_path: Path) -> None:
    data = _encoded(_picture("RGB"), progressive=True)
    (tmp_path / "photo.jpg").write_bytes(data[: data.rindex(b"\xff\xc4")] + _END)
    with pytest.raises(InputError, match="its data end early"):
        read_photo(tmp_path / "photo.jpg")


def test_a_large_picture_of_hardly_any_data_is_refused_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(_encoded(Image.new("RGB", (16, 16))))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (13_000).to_bytes(2, "big") * 2
    (tmp_path / "photo.jpg").write_bytes(data)
    monkeypatch.setattr("ncsr.images.jpeg.JpegFile.decode", None)
    with pytest.raises(InputError, match="its data end early"):
        read_photo(tmp_path / "photo.jpg")


def test_scans_are_bounded(tmp_path: Path) -> None:
    data = _encoded(_picture("RGB"), progressive=True)[: -len(_END)]
    last = data[data.rindex(b"\xff\xda") :]
    (tmp_path / "photo.jpg").write_bytes(data + 3000 * last + _END)
    with pytest.raises(InputError, match="more than 100 scans"):
        read_photo(tmp_path / "photo.jpg")


def _tiles(tmp_path: Path, options: dict[str, Any]) -> tuple[Path, list[tuple[int, int]]]:
    """A TIFF file of four tiles or strips in JPEG, and where they lie."""
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, np.asarray(_picture("RGB", (64, 64))), photometric="rgb", compression="jpeg", **options)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        return path, list(zip(page.dataoffsets, page.databytecounts, strict=True))


@pytest.mark.parametrize("options", [{"tile": (32, 32)}, {"rowsperstrip": 16}])
@pytest.mark.parametrize("damage", ["cut", "ended", "larger", "flag"])
def test_jpeg_in_tiff(tmp_path: Path, options: dict[str, Any], damage: str) -> None:
    path, places = _tiles(tmp_path, options)
    whole = read_photo(path)
    assert whole.size == (64, 64)
    data = bytearray(path.read_bytes())
    start, length = places[1]
    middle = start + length // 2
    if damage == "cut":
        data[middle : start + length] = bytes(length - length // 2)
    elif damage == "ended":
        data[middle : start + length] = _END + bytes(length - length // 2 - 2)
    elif damage == "larger":
        frame = data.index(b"\xff\xc0", start)
        data[frame + 5 : frame + 9] = (65_500).to_bytes(2, "big") * 2
    else:
        data = data[:-100] if places[-1][0] + places[-1][1] > len(data) - 8 else data[: places[-1][0] + 100]
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"^cannot read .*photo\.tif: it is damaged"):
        read_photo(path)
    if damage != "flag":
        source = open_photo(path)
        with pytest.raises(InputError, match=r"^cannot read .*photo\.tif: it is damaged"):
            source.window(0, 0, 64, 64)
