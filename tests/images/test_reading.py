"""Reading: what is read is what was stored; whatever else a file holds is one sentence that names it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ncsr.errors import InputError
from ncsr.images import (
    find_photos,
    open_photo,
    photo_from_array,
    photo_from_pil,
    read_eight_bit,
    read_photo,
    to_array,
    write_photo,
)
from tests.images.samples import (
    HEIGHT,
    LARGE,
    SRGB_PROFILE,
    WIDTH,
    encoded,
    exif_fields,
    large_noise,
    levels,
    noise,
    pil_image,
)

pytestmark = pytest.mark.filterwarnings("error")


_STORABLE = {
    ".png": ["1", "L", "LA", "P", "P+tRNS", "RGB", "RGBA", "I;16"],
    ".tif": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"],
    ".bmp": ["1", "L", "P", "RGB"],
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in _STORABLE.items() for mode in modes])
def test_reads_every_kind(tmp_path: Path, suffix: str, mode: str) -> None:
    image = pil_image(mode)
    image.save(tmp_path / f"photo{suffix}")
    photo = read_photo(tmp_path / f"photo{suffix}")
    kept = {"1": "L", "P": "RGB", "P+tRNS": "RGBA", "CMYK": "RGB"}.get(mode, mode)
    expected = np.asarray(image if kept == mode else image.convert(kept))
    np.testing.assert_array_equal(levels(photo), expected)
    assert photo.gray == (kept in {"L", "LA", "I;16"})
    assert photo.bits == (16 if mode == "I;16" else 8)
    assert (photo.alpha is not None) == kept.endswith("A")
    assert photo.rgb.dtype == torch.float32
    assert photo.rgb.shape == (3, HEIGHT, WIDTH)
    assert photo.exif is None


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
    image = pil_image(mode)
    image.save(tmp_path / "photo.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(to_array(read_photo(tmp_path / "photo.webp")), np.asarray(image))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_palette_is_gray_unless_it_has_a_profile(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(noise(1)[..., 0]).convert("P", palette=Image.Palette.ADAPTIVE)
    image.putpalette([value // 3 for value in range(768)])
    image.save(tmp_path / f"gray{suffix}")
    image.save(tmp_path / f"tagged{suffix}", icc_profile=SRGB_PROFILE)
    assert read_photo(tmp_path / f"gray{suffix}").gray
    assert not read_photo(tmp_path / f"tagged{suffix}").gray


def test_kind_is_told_by_content_and_names_may_be_anything(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / ("name" * 25) / ("path" * 25)
    folder.mkdir(parents=True)
    path = folder / "日本 é.PNG"
    Image.new("RGB", (8, 8), (9, 9, 9)).save(path, "JPEG")
    photo = read_photo(path)
    write_photo(path, photo)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert os.listdir(folder) == [path.name]


_KINDS = ["png", "png16", "jpg", "webp", "bmp", "tif", "tif-zlib"]


@pytest.mark.parametrize("kept", [0.0003, 0.002, 0.5, 0.95])
@pytest.mark.parametrize("kind", _KINDS)
def test_truncated_files(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, kept: float) -> None:
    data = encoded(kind)
    path = tmp_path / f"photo.{kind[:3]}"
    path = path.with_suffix(".webp") if kind == "webp" else path
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=rf"^cannot read .*{path.name}: it"):
        read_photo(path)
    assert capfd.readouterr() == ("", "")


def _bomb(kind: str) -> bytes:
    """A small file whose header claims 60000 x 60000 pixels."""
    data = bytearray(encoded(kind))
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
    path.write_bytes(encoded(kind))
    read_photo(path, max_pixels=64 * 64)
    with pytest.raises(InputError, match="64 x 64 pixels, over the limit of 4095: raise max_pixels"):
        read_photo(path, max_pixels=64 * 64 - 1)


def test_pillows_own_limit_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind in ("png", "jpg", "bmp", "tif"):
        (tmp_path / f"photo.{kind}").write_bytes(encoded(kind))
        read_photo(tmp_path / f"photo.{kind}")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "it is empty"),
        ("text.png", b"The quick brown fox", "its content is no PNG"),
        ("short.bmp", b"BM", "damaged"),
        ("words.bmp", b"BMW drives past the house and on", "damaged"),
        ("photo.psd", b"8BPS", "its suffix is none of"),
        ("photo", b"", "it is empty"),
        ("words", b"The quick brown fox", "its content is no PNG"),
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


def test_nothing_is_printed_outside_pytest(tmp_path: Path) -> None:
    for kind in _KINDS:
        for kept in (40, 300, 5000):
            suffix = "." + kind.removesuffix("16").removesuffix("-zlib")
            (tmp_path / f"{kind}{kept}").with_suffix(suffix).write_bytes(encoded(kind)[:kept])
    code = (
        "import sys, ncsr.images as i\n"
        "for path in i.find_photos(sys.argv[1]):\n"
        "    try: i.read_photo(path)\n"
        "    except i.reading.InputError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


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


def test_what_cannot_be_read_in_windows_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turned, palette = tmp_path / "turned.tif", tmp_path / "palette.tif"
    tifffile.imwrite(turned, large_noise(3), photometric="rgb", tile=(16, 16), extratags=[(274, 3, 1, 6, True)])
    Image.fromarray(large_noise(3, "uint8")).quantize(16).save(palette)
    Image.fromarray(large_noise(3, "uint8")).save(tmp_path / "photo.png")
    Image.fromarray(large_noise(4, "uint8")).save(tmp_path / "photo.webp", lossless=True)
    for path in (turned, palette, tmp_path / "photo.png", tmp_path / "photo.webp"):
        photo = read_photo(path)
        source = open_photo(path)
        assert source.size == photo.size
        assert torch.equal(source.window(3, 5, 40, 50).rgb, photo.rgb[:, 3:40, 5:50])
        with pytest.raises(InputError, match="90 x 70 pixels, over the limit of 100"):
            open_photo(path, max_pixels=100)
    tifffile.imwrite(tmp_path / "one.tif", large_noise(3), photometric="rgb", compression="zlib", rowsperstrip=LARGE[0])
    monkeypatch.setattr("ncsr.images.tiff._LARGEST_SEGMENT", 100)
    with pytest.raises(InputError, match="over the limit of 100"):
        open_photo(tmp_path / "one.tif", max_pixels=100)


@pytest.mark.parametrize(("name", "reason"), [("none.tif", "no such file"), ("text.tif", "its content is no PNG")])
def test_wrong_files(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "text.tif").write_text("text")
    with pytest.raises(InputError, match=rf"cannot read .*{name}: .*{reason}"):
        open_photo(tmp_path / name)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 GiB"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
        TypeError("bug"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_neither_want_of_memory_nor_a_bug_is_called_damage(
    tmp_path: Path, suffix: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encoded(suffix[1:]))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ncsr.images.raster.photo_from_array", fail)
    for read in (read_photo, lambda path: open_photo(path).window(0, 0, 1, 1)):
        if isinstance(error, TypeError):
            with pytest.raises(TypeError, match="bug"):
                read(path)
        else:
            with pytest.raises(MemoryError, match=rf"^cannot read .*photo\{suffix}: there is not enough memory"):
                read(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("depth", [8, 16])
def test_eight_bits_are_laid_on_black(tmp_path: Path, suffix: str, depth: int) -> None:
    """What a file holds where it is transparent does not count."""
    pixels = noise(4, np.uint16) if depth == 16 and suffix != ".webp" else noise(4)
    pixels[:2, :, 3] = 0
    top = np.iinfo(pixels.dtype).max
    path = tmp_path / f"photo{suffix}"
    write_photo(path, photo_from_array(pixels))
    expected = np.rint(pixels[..., :3] / top * (pixels[..., 3:] / top) * 255)
    seen = read_eight_bit(path)
    assert seen.dtype == torch.uint8
    assert np.abs(np.moveaxis(seen.numpy(), 0, -1) - expected).max() <= 1e-3 + (depth == 16)
    hidden = pixels.copy()
    hidden[:2, :, :3] = top - hidden[:2, :, :3]
    write_photo(path, photo_from_array(hidden))
    assert torch.equal(read_eight_bit(path), seen)


def test_reading_takes_little_more_memory_than_the_pixels(tmp_path: Path) -> None:
    """12 bytes a pixel of 8 bits, of which 3 stay: for each kind, in a process of its own."""
    side = 2000
    code = (
        "import resource, sys, torch\n"
        "from ncsr.images import open_photo\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "open_photo(sys.argv[2]).window(0, 0, 9, 9)\n"
        "before = peak()\n"
        "source = open_photo(sys.argv[1])\n"
        "print((peak() - before) / (source.size[0] * source.size[1]))\n"
    )
    flat = Image.new("RGB", (side, side), (10, 200, 30))
    for name, options in {
        "a.jpg": {"progressive": True, "subsampling": 0},
        "a.webp": {"lossless": True},
        "a.png": {},
        "a.bmp": {},
    }.items():
        flat.save(tmp_path / name, **options)
        flat.resize((9, 9)).save(tmp_path / f"small_{name}", **options)
        command = [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / f"small_{name}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert float(done.stdout) < 12.5, name


def test_a_note_on_further_pages_and_frames(tmp_path: Path) -> None:
    first, second = (Image.fromarray(noise(3, seed=seed)) for seed in (0, 1))
    for suffix, options in {".tif": {}, ".webp": {"lossless": True}, ".png": {}}.items():
        path = tmp_path / f"photo{suffix}"
        first.save(path, **options)
        assert open_photo(path).notes == ()
        first.save(path, save_all=True, append_images=[second], **options)
        for photo in (read_photo(path), open_photo(path)):
            assert "first" in photo.notes[0]
        np.testing.assert_array_equal(to_array(read_photo(path)), noise(3))


_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation=%s</x:xmpmeta>'


@pytest.mark.parametrize("packet", [_XMP % b'"6"/>', _XMP.replace(b"=%s", b">6</tiff:Orientation>")])
def test_orientation_in_xmp(tmp_path: Path, packet: bytes) -> None:
    image = Image.fromarray(noise(3))
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=b"=" in packet[60:70])
    image.save(tmp_path / "photo.png", pnginfo=text)
    image.save(tmp_path / "photo.webp", lossless=True, xmp=packet)
    image.save(tmp_path / "photo.jpg", xmp=packet)
    tifffile.imwrite(tmp_path / "photo.tif", noise(3), photometric="rgb", extratags=[(700, 1, None, packet, True)])
    for suffix in (".png", ".webp", ".tif", ".jpg"):
        path = tmp_path / f"photo{suffix}"
        assert read_photo(path).size == open_photo(path).size == (WIDTH, HEIGHT)
        if suffix != ".jpg":
            np.testing.assert_array_equal(to_array(read_photo(path)), np.rot90(noise(3), -1))
    with Image.open(tmp_path / "photo.png") as opened:
        assert photo_from_pil(opened).size == (WIDTH, HEIGHT)
    upright = exif_fields(1)  # EXIF counts for more
    image.save(tmp_path / "photo.jpg", xmp=packet, exif=upright)
    assert read_photo(tmp_path / "photo.jpg").size == (HEIGHT, WIDTH)


def test_a_large_file_of_another_kind_inside_webp(tmp_path: Path) -> None:
    """The canvas says 8 x 8, the picture on it 5000 x 5000."""
    image = Image.new("RGB", (5000, 5000))
    image.save(tmp_path / "photo.webp", lossless=True)
    inner = (tmp_path / "photo.webp").read_bytes()[12:]
    data = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\7\0\0\7\0\0" + inner
    (tmp_path / "photo.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WEBP" + data)
    with pytest.raises(InputError, match="its first picture is not of the 8 x 8 pixels"):
        read_photo(tmp_path / "photo.webp")
