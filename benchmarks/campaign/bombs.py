"""Small files of large pictures, and files that lie about themselves: within the plan's memory, or one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
from PIL import Image

from benchmarks.campaign.child import faults, run
from benchmarks.campaign.files import chunk, picture, png
from benchmarks.campaign.inputs import contents, litter, make_model, make_photo
from benchmarks.campaign.trial import Campaign, Outcome, Random

_SIDE = 13_000  # a square of which is just below the limit of pixels


def prepare(folder: Path) -> Path:
    return make_model(folder / "model")


def trial(model: Path, index: int, random: Random, folder: Path) -> Outcome:
    """Beside a whole photograph, which is enlarged whatever the bomb does."""
    make, ending = _BOMBS[index % len(_BOMBS)]
    what = make.__name__.strip("_").replace("_", " ")
    name = f"bomb{ending}"
    make_photo(folder / "photos" / "whole.png")
    (folder / "photos" / name).write_bytes(make())
    arguments = ("--tile", 64, "--device", "cpu") if index >= len(_BOMBS) else ("--device", "cpu")
    ended = run(folder, "upscale", "photos", "-m", model, "-o", "out", "-t", 0, *arguments, before=_little_disk)
    found, made = faults(ended, 1) + litter(folder), list(contents(folder / "out"))
    if made != ["whole.png"]:
        found.append(f"lost: expected whole.png alone, found {made}")
    return Outcome(f"{what}, {' '.join(map(str, arguments))}", "refused" if ended.code == 1 else "enlarged", found)


def _little_disk() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))


def _jpeg_without_data() -> bytes:
    return _jpeg_of_size(_SIDE, _SIDE)


def _jpeg_of_65500_pixels() -> bytes:
    return _jpeg_of_size(65500, 65500)


def _jpeg_of_3000_scans() -> bytes:
    """The last scan of a progressive file, over and over, in a picture said to be larger than it is."""
    image = Image.fromarray(picture(64, 64, 3))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", progressive=True)
    data = _with_size(buffer.getvalue(), 4000, 4000)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * 3000 + data[-2:]


def _jpeg_that_ends_early() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(80, 80, 3)).save(buffer, "JPEG", quality=97)
    return buffer.getvalue()[: buffer.tell() // 2] + b"\xff\xd9"


def _webp_of_one_colour() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 9, 9)).save(buffer, "WEBP", lossless=True)
    data = bytearray(buffer.getvalue())
    size = _SIDE - 1
    data[21:25] = struct.pack("<I", size | size << 14)  # behind the signature of VP8L
    return bytes(data)


def _png_of_zeros() -> bytes:
    """20000 x 20000 pixels in 400 kB, over the limit."""
    squeeze, rows = zlib.compressobj(9), bytes(20_001)
    body = b"".join(squeeze.compress(rows) for _ in range(20_000)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _png_without_data() -> bytes:
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 16, 6, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _png_of_no_width() -> bytes:
    header = struct.pack(">IIBBBBB", 0, 7, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _png_that_ends_early() -> bytes:
    return png(picture(40, 40, 3), 2, 8)[:1500]


def _bmp_of_size() -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, _SIDE, _SIDE, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(9)


def _bmp_of_runs() -> bytes:
    body = b"\xff\x01" * 40
    head = struct.pack(
        "<IHHIIiiHHIIiiII", 1078 + len(body), 0, 0, 1078, 40, _SIDE, _SIDE, 1, 8, 1, len(body), 0, 0, 256, 0
    )
    return b"BM" + head + bytes(1024) + body


def _tiff_with_a_jpeg_tile_of_65500() -> bytes:
    """The tile inside says another size than the file."""
    return _tiff_around(_jpeg_of_size(65500, 65500), 7, 64, 64, tile=64)


def _tiff_with_a_jpeg_that_ends() -> bytes:
    whole = bytes(imagecodecs.jpeg8_encode(picture(64, 64, 3), level=95))
    return _tiff_around(whole[: len(whole) // 2], 7, 64, 64, tile=64)


def _tiff_of_one_deflated_strip() -> bytes:
    return _tiff_around(zlib.compress(bytes(2**26), 9), 8, _SIDE, _SIDE)


def _tiff_tiles_of_zero_bytes() -> bytes:
    return _tiff_around(b"", 8, 60_000, 60_000, tile=4096)


def _tiff_with_huge_tile() -> bytes:
    return _tiff_around(zlib.compress(bytes(999)), 8, 64, 64, tile=2**20)


def _tiff_with_a_width_of_texts() -> bytes:
    """The type of the width's field is text."""
    data = bytearray(_tiff_around(picture(24, 20, 3).tobytes(), 1, 24, 20))
    start = int.from_bytes(data[4:8], "little")
    data[start + 4 : start + 6] = struct.pack("<H", 2)
    return bytes(data)


def _tiff_of_one_sample() -> bytes:
    """RGB, in a strip of a third of the bytes."""
    return _tiff_around(picture(24, 20, 1).tobytes(), 1, 24, 20)


def _tiff_whose_pages_go_round() -> bytes:
    data = _tiff_around(b"", 1, 24, 20)
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    place = start + 2 + 12 * count
    return data[:place] + struct.pack("<I", start) + data[place + 4 :]


def _profile_that_unpacks() -> bytes:
    body = b"x\0\0" + zlib.compress(bytes(2**30), 9)
    return png(picture(24, 20, 3), 9, 8, between=chunk(b"iCCP", body))


def _text_instead() -> bytes:
    return b"GIF89a" + bytes(99)


def _nothing() -> bytes:
    return b""


def _jpeg_of_size(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(16, 16, 3)).save(buffer, "JPEG")
    return _with_size(buffer.getvalue(), height, width)


def _with_size(jpeg: bytes, height: int, width: int) -> bytes:
    """A JPEG file whose frame tells of another size."""
    frame = next(place for mark in (b"\xff\xc0", b"\xff\xc2") if (place := jpeg.find(mark)) > 0)
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


def _tiff_around(data: bytes, compression: int, height: int, width: int, tile: int = 0) -> bytes:
    """A TIFF of RGB around the data of one strip, or of one tile (given again for each)."""
    fields = {256: width, 257: height, 258: 8, 259: compression, 262: 2, 277: 3}
    if tile:
        count = -(-height // tile) * -(-width // tile)
        fields |= {322: tile, 323: tile, 324: [8] * count, 325: [len(data)] * count}
    else:
        fields |= {273: 8, 278: height, 279: len(data)}
    start = 8 + len(data) + len(data) % 2
    behind, entries = start + 2 + 12 * len(fields) + 4, b""
    lists = b""
    for tag, value in sorted(fields.items()):
        values = value if isinstance(value, list) else [value]
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(packed) > 4:
            packed, lists = struct.pack("<I", behind + len(lists)), lists + packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    head = b"II*\0" + struct.pack("<I", start) + data + bytes(len(data) % 2)
    return head + struct.pack("<H", len(fields)) + entries + bytes(4) + lists


_BOMBS: list[tuple[Callable[[], bytes], str]] = [
    (_jpeg_without_data, ".jpg"),
    (_jpeg_of_65500_pixels, ".jpg"),
    (_jpeg_of_3000_scans, ".jpg"),
    (_jpeg_that_ends_early, ".jpg"),
    (_webp_of_one_colour, ".webp"),
    (_png_of_zeros, ".png"),
    (_png_without_data, ".png"),
    (_png_of_no_width, ".png"),
    (_png_that_ends_early, ".png"),
    (_bmp_of_size, ".bmp"),
    (_bmp_of_runs, ".bmp"),
    (_tiff_with_a_jpeg_tile_of_65500, ".tif"),
    (_tiff_with_a_jpeg_that_ends, ".tif"),
    (_tiff_of_one_deflated_strip, ".tif"),
    (_tiff_tiles_of_zero_bytes, ".tif"),
    (_tiff_with_huge_tile, ".tif"),
    (_tiff_with_a_width_of_texts, ".tif"),
    (_tiff_of_one_sample, ".tif"),
    (_tiff_whose_pages_go_round, ".tif"),
    (_profile_that_unpacks, ".png"),
    (_text_instead, ".png"),
    (_nothing, ".jpg"),
]

CAMPAIGN = Campaign("bombs", 2 * len(_BOMBS), 3, prepare, trial)
